use super::*;
use crate::config_file::tests::Etc;
use crate::control::{CLIENT_TIMEOUT, PendingRequest, Request, Ways, serve};
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(test);
}

/// A control socket and the shell's end of its sessions.
struct Daemon {
    etc: Etc,
    post: Post,
    _server: JoinSet<()>,
    _asked: mpsc::Receiver<PendingRequest>,
}

impl Daemon {
    fn start() -> Self {
        let etc = Etc::new();
        let (desk, post) = desk();
        let (tell, asked) = mpsc::channel(1);
        let mut server = JoinSet::new();
        server.spawn(serve(
            etc.0.join("control.sock"),
            crate::control::Access::Orders { readers: None },
            Ways {
                requests: tell,
                upgrades: mpsc::channel(1).0,
            },
            desk,
            CLIENT_TIMEOUT,
        ));
        Self {
            etc,
            post,
            _server: server,
            _asked: asked,
        }
    }

    async fn connect(&self) -> UnixStream {
        loop {
            // It is made a moment after the server starts.
            match UnixStream::connect(self.etc.0.join("control.sock")).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn agent(&self) -> BufReader<UnixStream> {
        let mut stream = self.connect().await;
        say(&mut stream, &Request::Agent { version: VERSION }).await;
        BufReader::new(stream)
    }

    /// An agent, when the session before it is quite over.
    async fn after_another(&self) -> BufReader<UnixStream> {
        tokio::time::sleep(2 * BETWEEN).await;
        self.agent().await
    }

    fn show(&self, epoch: u64) {
        self.post.shown.send_replace(Arc::new(Shown {
            version: VERSION,
            at_ms: epoch,
            groups: vec![group(epoch)],
        }));
    }

    /// As the driver does when an agent is there.
    async fn begun(&mut self, epoch: u64) {
        let heard = self.heard().await;
        assert!(matches!(heard, Heard::Begun { .. }), "{heard:?}");
        self.show(epoch);
    }

    async fn heard(&mut self) -> Heard {
        timeout(CLIENT_TIMEOUT, self.post.heard.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

fn group(epoch: u64) -> GroupShown {
    GroupShown {
        cluster: "pair".to_owned(),
        member: "lb0".to_owned(),
        group: "web".to_owned(),
        addresses: vec!["10.0.0.50".to_owned()],
        interface: Some("eth0".to_owned()),
        role: "holder".to_owned(),
        open: true,
        preparing: false,
        why: "votes of a majority".to_owned(),
        rule: "R-7".to_owned(),
        peer: Some("lb1".to_owned()),
        lease_left_ms: Some(400),
        epoch,
    }
}

async fn say<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), what: &T) {
    let mut line = serde_json::to_vec(what).unwrap();
    line.push(b'\n');
    to.write_all(&line).await.unwrap();
}

async fn line(from: &mut BufReader<impl AsyncRead + Unpin>) -> String {
    let mut line = String::new();
    timeout(CLIENT_TIMEOUT, from.read_line(&mut line))
        .await
        .unwrap()
        .unwrap();
    line
}

async fn shown(from: &mut BufReader<impl AsyncRead + Unpin>) -> u64 {
    let shown: Shown = serde_json::from_str(&line(from).await).unwrap();
    shown.groups[0].epoch
}

fn health(said: &str) -> Said {
    Said::Health(vec![GroupHealth {
        cluster: "pair".to_owned(),
        group: "web".to_owned(),
        healthy: Some(false),
        checks: vec![CheckReport {
            name: "http".to_owned(),
            passing: Some(false),
            since_ms: 12,
            said: said.to_owned(),
        }],
        hooks: Vec::new(),
    }])
}

#[test]
fn an_agent_is_shown_every_newest_state_and_says_how_its_service_is() {
    run(async {
        let mut d = Daemon::start();
        let mut agent = d.agent().await;
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(d.heard().await, Heard::Begun { pid });
        d.show(1);
        assert_eq!(shown(&mut agent).await, 1);
        d.show(2);
        assert_eq!(shown(&mut agent).await, 2);
        say(&mut agent, &health("502")).await;
        assert_eq!(d.heard().await, Heard::Said(health("502")));
        drop(agent);
        assert_eq!(d.heard().await, Heard::Ended("it hung up".to_owned()));
        assert_eq!(
            serde_json::to_string(&Request::Agent { version: 1 }).unwrap(),
            r#"{"request":"agent","version":1}"#
        );
        assert_eq!(
            serde_json::to_string(&health("x")).unwrap(),
            r#"{"health":[{"cluster":"pair","group":"web","healthy":false,"checks":[{"name":"http","passing":false,"since_ms":12,"said":"x"}],"hooks":[]}]}"#
        );
    });
}

#[test]
fn a_slow_reader_misses_states_and_gets_the_newest() {
    run(async {
        let mut d = Daemon::start();
        let mut agent = d.agent().await;
        d.begun(0).await;
        assert_eq!(shown(&mut agent).await, 0);
        for epoch in 1..=20_000 {
            d.show(epoch);
            if epoch % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut seen = 0;
        let mut last = 0;
        while last < 20_000 {
            let now = shown(&mut agent).await;
            assert!(now > last, "{now} after {last}");
            (last, seen) = (now, seen + 1);
        }
        assert!(seen < 5_000, "{seen} states were kept for it");
    });
}

#[test]
fn there_is_one_agent_at_a_time_and_the_second_is_told_which() {
    run(async {
        let mut d = Daemon::start();
        let mut first = d.agent().await;
        d.begun(1).await;
        shown(&mut first).await;
        let mut second = d.agent().await;
        let said = line(&mut second).await;
        assert!(
            said.contains(&format!("another agent (process {})", std::process::id())),
            "{said}"
        );
        drop(first);
        d.heard().await;
        let mut third = d.after_another().await;
        d.begun(2).await;
        assert_eq!(shown(&mut third).await, 2);
        let mut other = d.connect().await;
        say(&mut other, &Request::Agent { version: 7 }).await;
        let said = line(&mut BufReader::new(other)).await;
        assert!(said.contains("an agent of version 7"), "{said}");
    });
}

#[test]
fn garbage_ends_the_session_and_nothing_else() {
    run(async {
        let mut d = Daemon::start();
        let big = vec![b'x'; usize::try_from(MAX_LINE).unwrap() + 9];
        for (bytes, why) in [
            (&b"{}\n"[..], "does not know"),
            (b"\n", "does not know"),
            (b"{\"reboot\":{}}\n", "does not know"),
            (b"\xff\xfe\n", "does not know"),
            (&big, "a line of more than"),
        ] {
            let mut agent = d.after_another().await;
            d.begun(1).await;
            shown(&mut agent).await;
            let _ = agent.write_all(bytes).await; // it may hang up meanwhile
            match d.heard().await {
                Heard::Ended(said) => assert!(said.contains(why), "{said}"),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn what_is_said_is_bounded_and_printable() {
    let long = format!("  \x1b[31mred\n{}", "é".repeat(500));
    let Said::Health(groups) = health(&long).cleaned() else {
        panic!("it is health");
    };
    let said = &groups[0].checks[0].said;
    assert!(
        said.len() <= MAX_WORDS && said.starts_with("[31mred éé"),
        "{said}"
    );
    let many = GroupHealth {
        checks: vec![groups[0].checks[0].clone(); 1000],
        ..groups[0].clone()
    };
    let Said::Health(groups) = Said::Health(vec![many; 1000]).cleaned() else {
        panic!("it is health");
    };
    assert_eq!((groups.len(), groups[0].checks.len()), (255, MAX_CHECKS));
}

/// What the last agent was shown may be of long ago.
#[test]
fn an_agent_is_first_shown_what_is_true_when_it_is_there() {
    run(async {
        let mut d = Daemon::start();
        let mut first = d.agent().await;
        d.begun(1).await;
        shown(&mut first).await;
        d.show(2);
        drop(first);
        d.heard().await;
        let mut second = d.after_another().await;
        assert!(matches!(d.heard().await, Heard::Begun { .. }));
        let early = timeout(Duration::from_millis(200), second.fill_buf()).await;
        assert!(
            early.is_err(),
            "it is shown something before the driver has: {early:?}"
        );
        d.show(3);
        assert_eq!(shown(&mut second).await, 3);
    });
}

#[test]
fn one_whose_number_is_not_known_is_an_agent_like_others() {
    run(async {
        let (desk, mut post) = desk();
        let (mut one, _its) = UnixStream::pair().unwrap();
        let (mut two, _other) = UnixStream::pair().unwrap();
        let first = desk.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { first.hold(&mut one, VERSION, 0).await });
        assert_eq!(post.heard.recv().await, Some(Heard::Begun { pid: 0 }));
        let Err(Reply::Refused { why }) = desk.hold(&mut two, VERSION, 0).await else {
            panic!("there are two");
        };
        assert!(why.contains("a process of another PID namespace"), "{why}");
        post.leave().await;
        assert!(process(&post.taken).is_none());
        assert!(tasks.join_next().await.unwrap().unwrap().is_ok());
    });
}
