use super::bound::CHECK_EVERY;
use super::*;
use crate::config_file::tests::{Etc, TWO, cluster};
use crate::orders::Until;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

const ORDERS: Access = Access::Orders { readers: None };

/// A daemon of a kind: answers each request with `answer`, in a thread of its own.
fn daemon(etc: &Etc, answer: impl Fn(Request) -> Option<Reply> + Send + 'static) -> PathBuf {
    daemon_for(etc, ORDERS, answer)
}

/// The ways to a driver that knows no upgrade.
fn ways(requests: mpsc::Sender<PendingRequest>) -> Ways {
    let upgrades = mpsc::channel(1).0;
    Ways { requests, upgrades }
}

/// The same, whose socket is for others.
fn daemon_for(
    etc: &Etc,
    access: Access,
    answer: impl Fn(Request) -> Option<Reply> + Send + 'static,
) -> PathBuf {
    let path = etc.0.join("run/control.sock");
    let socket = path.clone();
    let (up, is_up) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let (requests, mut asked) = mpsc::channel(4);
            let driver = ways(requests);
            tokio::select! {
                () = serve(socket.clone(), access, driver, session::desk().0, CLIENT_TIMEOUT) => {}
                () = async {
                    made(&socket).await;
                    up.send(()).unwrap();
                    std::future::pending().await
                } => {}
                () = async {
                    while let Some(PendingRequest { request, reply }) = asked.recv().await {
                        if let Some(answer) = answer(request) {
                            let _ = reply.send(answer);
                        }
                    }
                } => {}
            }
        });
    });
    is_up.recv().unwrap();
    path
}

async fn made(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn done(line: &str) -> Reply {
    Reply::Done {
        lines: vec![line.to_owned()],
    }
}

#[test]
fn a_request_reaches_the_driver_and_its_reply_the_client() {
    let etc = Etc::new();
    let path = daemon(&etc, |request| match request {
        Request::Status { .. } => Some(Reply::Status(Report::default())),
        Request::Agent { .. }
        | Request::History { .. }
        | Request::Reload { .. }
        | Request::Upgrade {} => None,
        Request::Command { command, group, .. } => Some(done(&format!("{command:?} {group:?}"))),
    });
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        ask(&path, &Request::STATUS, CLIENT_TIMEOUT),
        Ok(Reply::Status(Report::default()))
    );
    let request = Request::Command {
        command: Order::PresumeDead,
        cluster: None,
        group: Some("web".to_owned()),
        said: Said::default(),
    };
    assert_eq!(
        ask(&path, &request, CLIENT_TIMEOUT),
        Ok(done("PresumeDead Some(\"web\")"))
    );
    assert_eq!(
        serde_json::to_string(&request).unwrap(),
        r#"{"request":"command","command":"presume-dead","cluster":null,"group":"web"}"#
    );
}

#[test]
fn garbage_is_refused_and_affects_no_other_client() {
    let etc = Etc::new();
    let path = daemon(&etc, |_| None);
    let say = |bytes: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply.trim().to_owned()
    };
    let said = [
        say(b""),
        say(b"\n"),
        say(b"{\"request\":\"reboot\"}\n"),
        say(b"{\"request\":\"status\""),
        say(&[b'x'; 5000]),
        say(&[0xff, b'\n']),
        // The driver dropped it.
        say(b"{\"request\":\"status\"}\n"),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let etc = Etc::new();
    let path = etc.0.join("control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = listen(&path, ORDERS).unwrap();
        let e = listen(&path, ORDERS).unwrap_err();
        insta::assert_snapshot!(etc.said(e), @"/etc/onehold/control.sock: another daemon listens there; stop it, or name another place with --socket");
        drop(first);
        listen(&path, ORDERS).unwrap();
        let file = etc.write("file", "");
        assert!(listen(&file, ORDERS).unwrap_err().contains("is not a socket"));
        assert!(file.exists());
    });
}

#[test]
fn without_a_daemon_the_client_says_where_to_look() {
    let etc = Etc::new();
    let path = etc.0.join("control.sock");
    let missing = ask(&path, &Request::STATUS, CLIENT_TIMEOUT).unwrap_err();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(
        ask(&path, &Request::STATUS, CLIENT_TIMEOUT).unwrap_err(),
        missing
    );
    insta::assert_snapshot!(etc.said(missing), @"no daemon listens at /etc/onehold/control.sock: is it running? (`systemctl status onehold`; if it listens elsewhere, name it with --socket)");
}

#[test]
fn an_order_is_refused_only_if_no_group_took_it() {
    let cluster = cluster(TWO, "lb0");
    let (api, web) = (GroupId(0), GroupId(1));
    assert_eq!(groups_meant(&cluster.config, None), Ok(vec![api, web]));
    assert_eq!(groups_meant(&cluster.config, Some("web")), Ok(vec![web]));
    let mut all = vec![
        groups_meant(&cluster.config, Some("wbe")).unwrap_err(),
        Reply::to_order(
            &cluster.config,
            Order::Switch,
            &Said::default(),
            &[(api, Err(Refusal::NotHolder)), (web, Ok(()))],
        ),
    ];
    for order in [
        Order::Switch,
        Order::Standby,
        Order::Resume,
        Order::Freeze,
        Order::Thaw,
        Order::PresumeDead,
    ] {
        let until = Some(Until {
            unix: 1,
            text: "06:00".to_owned(),
        });
        let ends = Said {
            until,
            ..Said::default()
        };
        for said in [Said::default(), ends] {
            all.push(Reply::to_order(
                &cluster.config,
                order,
                &said,
                &[(web, Ok(()))],
            ));
        }
    }
    for refusal in [
        Refusal::NotHolder,
        Refusal::NobodyReady,
        Refusal::Witness,
        Refusal::NotTwoMembers,
        Refusal::PeerHeard,
        Refusal::PeerAnswers,
        Refusal::VoteBound,
        Refusal::NotFrozen,
        Refusal::Stopping,
    ] {
        all.push(Reply::to_order(
            &cluster.config,
            Order::Switch,
            &Said::default(),
            &[(web, Err(refusal))],
        ));
    }
    let all: Vec<String> = all.iter().map(|r| format!("{r:?}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}

/// `--socket /dev/log`: its owner lives, and sees no client.
#[test]
fn a_socket_of_another_kind_is_left_alone_while_somebody_has_it() {
    let etc = Etc::new();
    let path = etc.0.join("log");
    let theirs = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let why = listen(&path, ORDERS).unwrap_err();
    assert!(why.contains("another daemon listens there"), "{why}");
    let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
    client.send_to(b"heard", &path).unwrap();
    drop(theirs);
    listen(&path, ORDERS).unwrap();
}

/// A paused daemon accepts nothing, and its queue fills up. It is asked without waiting: who asks
/// holds an address.
#[tokio::test]
async fn a_socket_whose_queue_is_full_is_left_to_whoever_listens_there() {
    let etc = Etc::new();
    let path = etc.0.join("control.sock");
    let new = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let (theirs, client) = (new(), new());
    theirs.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    theirs.listen(0).unwrap();
    client.connect(&SockAddr::unix(&path).unwrap()).unwrap();
    let why = listen(&path, ORDERS).unwrap_err();
    assert!(why.contains("another daemon listens there"), "{why}");
    drop((theirs, client));
    listen(&path, ORDERS).unwrap();
}

#[tokio::test]
async fn a_socket_that_is_removed_is_made_again_and_only_ones_own_is_removed_at_the_end() {
    let etc = Etc::new();
    let path = etc.0.join("control.sock");
    let (tell, _asked) = mpsc::channel(1);
    let (mut first, mut second) = (JoinSet::new(), JoinSet::new());
    first.spawn(serve(
        path.clone(),
        ORDERS,
        ways(tell.clone()),
        session::desk().0,
        CLIENT_TIMEOUT,
    ));
    made(&path).await;
    std::fs::remove_file(&path).unwrap();
    made(&path).await;
    std::fs::remove_file(&path).unwrap();
    // Another daemon has the same path, and is first.
    second.spawn(serve(
        path.clone(),
        ORDERS,
        ways(tell),
        session::desk().0,
        CLIENT_TIMEOUT,
    ));
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    let theirs = Bound::which(&path);
    tokio::time::sleep(CHECK_EVERY * 2).await;
    first.shutdown().await;
    assert_eq!(Bound::which(&path), theirs);
    second.shutdown().await;
    assert!(!path.exists());
}

#[test]
fn a_group_is_found_by_its_name() {
    let text = "root:x:0:\nonehold-agent:x:7:\nonehold:x:997:nagios,anna\nodd\n";
    assert_eq!(group_number(text, "onehold"), Some(997));
    assert_eq!(group_number(text, "odd"), None);
    assert_eq!(group_number(text, "hold"), None);
    assert_eq!(
        [
            for_readers(Path::new("/run/onehold/control.sock")),
            for_readers(Path::new("/x/b.sock"))
        ],
        [
            PathBuf::from("/run/onehold/status.sock"),
            PathBuf::from("/x/b-status.sock")
        ]
    );
}

/// Whoever may connect to the readers' socket may look there, and nothing else; root, too.
#[test]
fn who_may_look_neither_orders_anything_nor_is_the_agent() {
    let etc = Etc::new();
    let readers = rustix::process::getegid().as_raw();
    let path = daemon_for(&etc, Access::Looks { readers }, |request| match request {
        Request::Status { .. } => Some(Reply::Status(Report::default())),
        Request::History { .. }
        | Request::Command { .. }
        | Request::Reload { .. }
        | Request::Upgrade {}
        | Request::Agent { .. } => {
            panic!("it was let through")
        }
    });
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let say = |request: &Request| ask(&path, request, CLIENT_TIMEOUT);
    assert_eq!(say(&Request::STATUS), Ok(Reply::Status(Report::default())));
    let order = Request::Command {
        command: Order::Standby,
        cluster: None,
        group: None,
        said: crate::orders::Said::default(),
    };
    for request in [
        order,
        Request::Reload { now: false },
        Request::Upgrade {},
        Request::Agent {
            version: session::VERSION,
        },
    ] {
        let Ok(Reply::Refused { why }) = say(&request) else {
            panic!("{request:?} was not refused");
        };
        assert!(
            why.contains("may look here, and neither order anything nor be the agent"),
            "{why}"
        );
    }
}
