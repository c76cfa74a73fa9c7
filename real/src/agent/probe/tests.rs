use super::super::command::tests::{block_on, nursery};
use super::*;
use crate::config_file::checks::{Authority, BeforeFirst, Http, Process as Watched};
use crate::config_file::hooks::User;
use crate::config_file::tests::Etc;
use onehold_core::time::Span;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use tokio::time::timeout;

fn probe(kind: Kind) -> Probe {
    let check = Check {
        name: "a".to_owned(),
        kind,
        every: Span::from_millis(1_000),
        timeout: Span::from_millis(500),
        rise: 1,
        fall: 1,
        before_first: BeforeFirst::Failing,
    };
    Probe::new(&check, nursery())
}

fn look(kind: Kind) -> Look {
    block_on(probe(kind).look())
}

fn at(port: u16) -> Authority {
    Authority {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

fn sleeper() -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("600").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn tcp_passes_where_somebody_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(
        look(Kind::Tcp(at(port))),
        Ok(format!("127.0.0.1:{port} accepts"))
    );
    drop(listener);
    let why = look(Kind::Tcp(at(port))).unwrap_err();
    assert!(why.contains("Connection refused"), "{why}");
}

/// A web server that answers once; and what it was asked.
fn answering(answer: &'static [u8]) -> (Authority, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 1024];
        let n = stream.read(&mut asked).unwrap();
        let _ = stream.write_all(answer);
        String::from_utf8_lossy(&asked[..n]).into_owned()
    });
    (at(port), server)
}

#[test]
fn http_passes_by_status_and_text() {
    let fine = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nall is well";
    let bad = b"HTTP/1.1 502 Bad Gateway\r\n\r\n";
    let text = |text: &str| Some(text.to_owned());
    for (answer, status, expect, words) in [
        (&fine[..], None, None, Ok("200 OK")),
        (fine, Some(204), None, Err("200 OK")),
        (fine, None, text("is well"), Ok("200 OK")),
        (
            fine,
            None,
            text("X: y"),
            Err("200 OK, and the page has no `X: y`"),
        ),
        (bad, None, None, Err("502 Bad Gateway")),
        (bad, Some(502), None, Ok("502 Bad Gateway")),
        (b"220 ftp\r\n", None, None, Err("does not answer by HTTP")),
        (b"", None, None, Err("does not answer by HTTP")),
    ] {
        let (at, server) = answering(answer);
        let looked = look(Kind::Http(Http {
            at,
            path: "/healthz".to_owned(),
            host: "www.example.org".to_owned(),
            status,
            expect,
        }));
        match (&looked, words) {
            (Ok(said), Ok(words)) => assert_eq!(said, words),
            (Err(said), Err(words)) => assert!(said.ends_with(words), "{said}"),
            _ => panic!("{looked:?} {words:?}"),
        }
        let asked = server.join().unwrap();
        assert!(
            asked.starts_with("GET /healthz HTTP/1.0\r\nHost: www.example.org\r\n"),
            "{asked}"
        );
    }
}

#[test]
fn one_that_accepts_and_says_nothing_has_failed_at_its_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = Http {
        at: at(listener.local_addr().unwrap().port()),
        path: "/".to_owned(),
        host: "x".to_owned(),
        status: None,
        expect: None,
    };
    assert_eq!(
        look(Kind::Http(http)),
        Err("no answer within 500ms".to_owned())
    );
}

#[test]
fn ping_asks_and_is_answered() {
    let loopback = "127.0.0.1".parse().unwrap();
    let allowed =
        std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    if !rustix::process::geteuid().is_root() && allowed.starts_with('1') {
        return; // it may not ask
    }
    assert_eq!(
        look(Kind::Ping(loopback)),
        Ok("127.0.0.1 answers".to_owned())
    );
    assert!(look(Kind::Ping("240.0.0.1".parse().unwrap())).is_err());
}

#[test]
fn a_file_is_there_or_not() {
    let etc = Etc::new();
    let path = etc.write("maintenance", "");
    let file = |present| Kind::File {
        path: path.clone(),
        present,
    };
    assert!(look(file(true)).is_ok());
    assert!(look(file(false)).unwrap_err().ends_with("is there"));
    std::fs::remove_file(&path).unwrap();
    assert!(look(file(true)).unwrap_err().ends_with("is not there"));
    assert!(look(file(false)).is_ok());
}

#[test]
fn exec_passes_by_its_status_and_what_others_can_change_is_not_run() {
    let etc = Etc::new();
    std::fs::set_permissions(&etc.0, PermissionsExt::from_mode(0o755)).unwrap();
    let script = etc.write("check", "#!/bin/sh\necho $1; exit $2\n");
    let exec = |words: &[&str]| Kind::Exec {
        command: words.iter().map(|w| (*w).to_owned()).collect(),
        user: User::default(),
    };
    let script = script.to_str().unwrap();
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(look(exec(&[script, "fine", "0"])), Ok("fine".to_owned()));
    assert_eq!(
        look(exec(&[script, "sick", "2"])),
        Err("sick (exit status 2)".to_owned())
    );
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o757)).unwrap();
    let why = look(exec(&[script, "fine", "0"])).unwrap_err();
    assert!(why.contains("others than its owner can write"), "{why}");
    let why = look(exec(&["/bin/sleep", "9"])).unwrap_err();
    assert_eq!(why, "not done within 500ms, and killed");
}

#[test]
fn the_end_of_a_process_is_noticed_at_once_and_its_pidfile_is_followed() {
    let etc = Etc::new();
    let path = etc.0.join("run.pid");
    block_on(async {
        let mut probe = probe(Kind::Process(Watched::PidFile(path.clone())));
        assert!(probe.look().await.unwrap_err().ends_with("is not there"));
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(
            probe
                .look()
                .await
                .unwrap_err()
                .contains("no number of a process")
        );
        let mut first = sleeper();
        std::fs::write(&path, format!("{}\n", first.id())).unwrap();
        assert_eq!(
            probe.look().await,
            Ok(format!("process {} runs", first.id()))
        );
        let changed = timeout(Duration::from_millis(50), probe.changed()).await;
        assert!(changed.is_err(), "nothing has changed");
        // A new one takes over: the end of the old one is nobody's business.
        let mut second = sleeper();
        std::fs::write(&path, format!("{}\n", second.id())).unwrap();
        assert_eq!(
            probe.look().await,
            Ok(format!("process {} runs", second.id()))
        );
        first.kill().unwrap();
        let changed = timeout(Duration::from_millis(50), probe.changed()).await;
        assert!(changed.is_err(), "the one that is watched lives");
        second.kill().unwrap();
        timeout(Duration::from_secs(20), probe.changed())
            .await
            .expect("it is noticed");
        // A zombie is no process that runs.
        assert!(probe.look().await.is_err());
        let _ = (first.wait(), second.wait());
        assert!(probe.look().await.is_err());
    });
}

#[test]
fn of_several_of_a_name_one_is_enough() {
    let etc = Etc::new();
    let own = etc.0.join("onehold-t-named"); // 15 letters at most
    std::fs::copy("/bin/sleep", &own).unwrap();
    let start = || Command::new(&own).arg("600").spawn().unwrap();
    block_on(async {
        let mut probe = probe(Kind::Process(Watched::Named("onehold-t-named".to_owned())));
        let none = probe.look().await.unwrap_err();
        assert_eq!(none, "no process is called onehold-t-named");
        let (mut first, mut second) = (start(), start());
        for _ in 0..200 {
            if probe.look().await.is_ok() {
                break; // each has its name only once it was executed
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(probe.look().await.is_ok());
        first.kill().unwrap();
        let _ = first.wait();
        assert!(probe.look().await.is_ok());
        second.kill().unwrap();
        timeout(Duration::from_secs(20), probe.changed())
            .await
            .expect("it is noticed");
        let _ = second.wait();
        assert!(probe.look().await.is_err());
    });
}

/// What `systemctl show` says, by a file.
#[test]
fn a_unit_is_asked_for_once_and_then_its_process_is_watched() {
    let etc = Etc::new();
    let (state, count) = (etc.0.join("state"), etc.0.join("count"));
    let script = format!(
        "#!/bin/sh\necho \"$5\" >>{}; cat {}\n",
        count.display(),
        state.display()
    );
    let fake = etc.write("systemctl", &script);
    std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();
    let says = |active: &str, pid: u32| {
        let text = format!("ActiveState={active}\nSubState=x\nMainPID={pid}\n");
        std::fs::write(&state, text).unwrap();
    };
    let asked = || {
        std::fs::read_to_string(&count)
            .unwrap_or_default()
            .lines()
            .count()
    };
    block_on(async {
        let mut unit = unit::Unit::asking(fake.to_str().unwrap(), "nginx.service");
        let limit = Duration::from_secs(20);
        says("inactive", 0);
        assert_eq!(
            unit.look(&nursery(), limit).await,
            Err("inactive (x)".to_owned())
        );
        let mut main = sleeper();
        says("active", main.id());
        assert_eq!(
            unit.look(&nursery(), limit).await,
            Ok("active (x)".to_owned())
        );
        let before = asked();
        for _ in 0..5 {
            assert!(unit.look(&nursery(), limit).await.unwrap().contains("runs"));
        }
        assert_eq!(asked(), before);
        says("failed", 0);
        main.kill().unwrap();
        timeout(limit, unit.changed()).await.expect("it is noticed");
        assert_eq!(
            unit.look(&nursery(), limit).await,
            Err("failed (x)".to_owned())
        );
        let _ = main.wait();
        // Without a main process it is asked each time.
        says("active", 0);
        let before = asked();
        assert!(unit.look(&nursery(), limit).await.is_ok());
        assert!(unit.look(&nursery(), limit).await.is_ok());
        assert_eq!(asked(), before + 2);
    });
}

#[test]
fn links_and_routes_are_those_of_this_host() {
    assert!(look(Kind::Link("lo".to_owned())).is_ok());
    let none = look(Kind::Link("onehold-none".to_owned()));
    assert_eq!(none, Err("there is no onehold-none".to_owned()));
    let none = look(Kind::Route {
        to: "203.0.113.0".parse().unwrap(),
        length: 24,
    });
    assert_eq!(none, Err("there is no route to 203.0.113.0/24".to_owned()));
}
