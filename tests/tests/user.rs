//! What an ordinary user gets from a clone: the demo, in a user namespace, with the nft guard.

use onehold_tests::{binaries, is_machine_root};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// "nobody", on every system.
const USER: u32 = 65_534;

/// A directory of that user's, with the binaries in it: the sources may be where it can't go.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("onehold-{name}-{}", std::process::id()));
        fs::create_dir(&home).unwrap();
        let home = Self(home);
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        for binary in [binaries::onehold(), binaries::onehold_lab()] {
            fs::copy(binary, home.path().join(binary.file_name().unwrap())).unwrap();
        }
        if is_machine_root() {
            chown(home.path(), Some(USER), Some(USER)).unwrap();
        }
        home
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Plays the demo as that user: whether all went well, what it printed, and its figures.
    fn demo(&self, options: &[&str]) -> (bool, String, Value) {
        let (lab, json) = (
            self.path().join("onehold-lab"),
            self.path().join("figures.json"),
        );
        let mut command = match is_machine_root() {
            true => Command::new("setpriv"),
            false => Command::new("env"), // this is an ordinary user already
        };
        if is_machine_root() {
            let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
            command.args([&uid, &gid, "--clear-groups", "--"]);
        }
        command.arg(lab).arg("demo").args(options);
        command.arg("--binary").arg(self.path().join("onehold"));
        command.arg("--json").arg(&json).current_dir(self.path());
        command.env("TMPDIR", self.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let figures = fs::read_to_string(&json).unwrap_or_default();
        (
            output.status.success(),
            said,
            serde_json::from_str(&figures).unwrap_or_default(),
        )
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What can't be removed is in a temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_ordinary_user_can_play_the_demo() {
    let home = Home::new("user");
    let (good, said, figures) = home.demo(&["--only", "start,stop"]);
    assert!(good, "{said}");
    assert_eq!(figures["guard"], "nft", "{said}");
    assert_eq!(figures["good"], true);
    if is_machine_root() {
        assert_eq!(figures["privilege"], "UserNamespace");
        assert!(said.contains("as an ordinary user"), "{said}");
    }
    let events = figures["events"].as_array().unwrap().iter();
    let holders: Vec<(&str, &str)> = events
        .map(|e| {
            (
                e["name"].as_str().unwrap(),
                e["holder_after"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        holders,
        [("start", "lb0"), ("stop", "lb1"), ("failback", "lb0")]
    );
    assert!(
        said.contains("turns the core does what the daemons did"),
        "{said}"
    );
    let page = fs::read_to_string(home.0.join("target/lab/demo.html")).unwrap();
    // What was done, that the kernels were watched, that two never answered.
    for text in [
        "stop lb0",
        "\"good\":true",
        "\"kernels\":true",
        "\"violations\":[]",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let left = |name: &str| name.starts_with("onehold-demo-");
    let temporary = fs::read_dir(&home.0).unwrap();
    let mut names = temporary.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| left(&name)), "its traces are removed");
}

#[test]
fn an_ordinary_user_s_guard_mutes_a_paused_and_a_killed_daemon() {
    let home = Home::new("guard");
    let options = ["--only", "pause,kill", "--arbitration", "survivor"];
    let (good, said, figures) = home.demo(&options);
    assert!(good, "{said}");
    assert_eq!(figures["guard"], "nft");
    let mut events = figures["events"].as_array().unwrap().iter();
    assert!(events.all(|event| event["dual_ms"] == 0.0), "{said}");
}

#[test]
fn the_demo_refuses_what_it_does_not_know() {
    let home = Home::new("unknown");
    let (good, said, _) = home.demo(&["--only", "flood"]);
    assert!(
        !good && said.contains("`flood`: there is no such event"),
        "{said}"
    );
    let (good, said, _) = home.demo(&["--only", "start", "--report", "/proc/nowhere/page.html"]);
    assert!(
        !good && said.contains("name another file with --report"),
        "{said}"
    );
}
