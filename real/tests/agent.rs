//! The agent beside a daemon that is not as it should be: what was true long ago begins nothing.

use onehold::clock::boottime;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// For what comes at all.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what should not come.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// A directory with a file, a socket, and what the hooks wrote; and an agent.
struct Place {
    dir: PathBuf,
    agent: Option<Child>,
    daemon: UnixListener,
}

impl Place {
    /// Where each hook in `hooks` writes its name.
    fn new(hooks: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("onehold-agent-{}-{n}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let daemon = UnixListener::bind(dir.join("control.sock")).expect("a socket");
        let mut place = Self {
            dir,
            agent: None,
            daemon,
        };
        place.write(hooks);
        let agent = Command::new(env!("CARGO_BIN_EXE_onehold"))
            .arg("agent")
            .args(["--config".as_ref(), place.path("onehold.toml").as_os_str()])
            .args(["--socket".as_ref(), place.path("control.sock").as_os_str()])
            .stdout(std::fs::File::create(place.path("log")).expect("a log"))
            .stderr(std::fs::File::create(place.path("errors")).expect("a log"))
            .spawn();
        place.agent = Some(agent.expect("an agent"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, hooks: &str) {
        let mut text = "[cluster]\nname = \"pair\"\nsecret_file = \"secret\"\narbitration = \"survivor\"\n\
                        [members.lb0]\naddresses = [\"10.0.0.10\"]\n\
                        [members.lb1]\naddresses = [\"10.0.0.11\"]\n\
                        [groups.web]\naddresses = [\"10.0.0.50\"]\ninterface = \"eth0\"\npreferred = \"lb0\"\n"
            .to_owned();
        for hook in hooks.split_whitespace() {
            let out = self.path("hooks");
            let also = match hook {
                "before_hold" => ", failing = \"open\"",
                _ => "",
            };
            text.push_str(&format!(
                "[groups.web.hooks.{hook}]\nexec = [\"/bin/sh\", \"-c\", \"trap '' TERM; echo {hook} >>{}\"]\n\
                 deadline = \"5s\"\n",
                out.display()
            ));
            text.push_str(&also.replace(", ", ""));
            text.push('\n');
        }
        std::fs::write(self.path("onehold.toml"), text).expect("a file");
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.path("hooks")).unwrap_or_default()
    }

    fn said(&self, what: &str) {
        let from = boottime();
        let all = || {
            let read = |name| std::fs::read_to_string(self.path(name)).unwrap_or_default();
            read("log") + &read("errors")
        };
        while !all().contains(what) {
            assert!(
                boottime().since(from) < PATIENCE.into(),
                "no `{what}` in {}",
                all()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn session(&self) -> Session {
        self.daemon.set_nonblocking(true).expect("a poll");
        let from = boottime();
        let stream = loop {
            match self.daemon.accept() {
                Ok((stream, _)) => break stream,
                Err(e) => assert!(boottime().since(from) < PATIENCE.into(), "no agent: {e}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        stream.set_nonblocking(false).expect("a wait");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut session = Session {
            to: stream.try_clone().expect("the other direction"),
            from: BufReader::new(stream),
        };
        assert_eq!(session.said()["request"], "agent");
        session
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The daemon's end.
struct Session {
    from: BufReader<UnixStream>,
    to: UnixStream,
}

impl Session {
    /// Shows what the group was `age_ms` ago.
    fn show(&mut self, what: &str, epoch: u64, age_ms: u64) {
        let now = boottime().as_nanos() / 1_000_000;
        let holds = what != "standby";
        let state = json!({ "version": 1, "at_ms": now - age_ms, "groups": [{
            "cluster": "pair", "member": "lb0", "group": "web", "addresses": ["10.0.0.50"],
            "interface": "eth0", "role": if holds { "holder" } else { "standby" },
            "open": what == "open", "preparing": what == "preparing", "why": "w", "rule": "R-7",
            "peer": "lb1", "lease_left_ms": holds.then_some(400), "epoch": epoch,
        }]});
        writeln!(self.to, "{state}").expect("a reader");
    }

    fn said(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Answers as a daemon whose group is `what`, until `done`.
    fn answer(&mut self, what: &str, epoch: u64, mut done: impl FnMut(&Value) -> bool) {
        let from = boottime();
        loop {
            let said = self.said();
            if done(&said) {
                return;
            }
            assert!(boottime().since(from) < PATIENCE.into(), "never said");
            self.show(what, epoch, 0); // each line of an agent is one a second, or asks
        }
    }
}

fn lines_of(place: &Path) -> usize {
    std::fs::read_to_string(place).map_or(0, |text| text.lines().count())
}

/// A daemon that shows what was true a minute ago, and then is too busy for a while.
#[test]
fn what_was_shown_long_ago_begins_nothing() {
    for (old, now, wrong) in [
        ("standby", "open", "released"),
        ("preparing", "standby", "before_hold"),
    ] {
        let place = Place::new("before_hold holding released");
        let mut daemon = place.session();
        daemon.show(old, 3, 60_000);
        std::thread::sleep(A_WHILE);
        assert_eq!(place.written(), "", "by what was shown a minute ago");
        let begun = || lines_of(&place.path("hooks")) > 0;
        daemon.answer(now, 9, |_| begun());
        assert!(!place.written().contains(wrong), "{}", place.written());
    }
}

/// The daemon waits for `before_hold` by the file with which it was started.
#[test]
fn an_agent_without_before_hold_answers_a_daemon_that_waits_for_it_and_says_what_to_do() {
    let place = Place::new("");
    let mut daemon = place.session();
    daemon.show("preparing", 3, 0);
    daemon.answer("preparing", 3, |said| {
        let Some(prepared) = said.get("prepared") else {
            return false;
        };
        let why = prepared["done"]["Err"].as_str().unwrap_or_default();
        assert!(why.contains("restart onehold"), "{why}");
        true
    });
    // One more is waited for by the agent alone, after its reload.
    place.write("before_hold");
    let pid = place.agent.as_ref().map(Child::id).expect("it runs");
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a number"));
    rustix::process::kill_process(pid.expect("a number"), rustix::process::Signal::HUP)
        .expect("it runs");
    place.said("web: onehold itself takes over another before_hold, or none, when it starts");
}
