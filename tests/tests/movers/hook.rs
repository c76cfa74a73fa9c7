//! A mover as it is run by the agent: its environment, its `onehold`, its secret.

use crate::movers;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A secret that must be seen nowhere.
pub(crate) const TOKEN: &str = "s3cr3t-T0ken.of_the~test";

/// A program that a test needs.
///
/// # Panics
/// If it is missing.
#[track_caller]
pub(crate) fn need(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    assert!(
        there,
        "`{program}` is missing (package {package}): `cargo verify --install` installs it"
    );
}

/// A place for one test, with a fake `onehold`.
pub(crate) struct Hook {
    directory: PathBuf,
    addresses: String,
    state: &'static str,
    shell: &'static [&'static str],
}

/// How a mover ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Hook {
    /// A hook of a member that holds `addresses`.
    pub(crate) fn new(test: &str, addresses: &str) -> Self {
        for (program, package) in [("curl", "curl"), ("jq", "jq")] {
            need(program, package);
        }
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("movers-{test}"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("bin")).expect("a directory");
        let hook = Self {
            directory,
            addresses: addresses.into(),
            state: "holding",
            shell: &[],
        };
        // Says what the file's lines say, one after the other, and the last one from then on.
        hook.program(
            "onehold",
            "echo \"$*\" >>\"$0.asked\"\n\
             line=$(wc -l <\"$0.asked\")\n\
             says=$(sed -n \"${line}p\" \"$0.says\")\n\
             exit \"${says:-$(sed -n '$p' \"$0.says\")}\"",
        );
        hook.holds(&[0]);
        hook.secret("token", TOKEN);
        hook
    }

    /// Runs it in another state than `holding`.
    pub(crate) fn state(mut self, state: &'static str) -> Self {
        self.state = state;
        self
    }

    /// Runs it by another shell than `/bin/sh`.
    pub(crate) fn shell(mut self, words: &'static [&'static str]) -> Self {
        self.shell = words;
        self
    }

    /// What `onehold holds` will say: its exit statuses, the last one again and again.
    pub(crate) fn holds(&self, says: &[u8]) {
        let lines: String = says.iter().map(|code| format!("{code}\n")).collect();
        fs::write(self.path("bin/onehold.says"), lines).expect("a file");
        fs::write(self.path("bin/onehold.asked"), "").expect("a file");
    }

    /// The arguments that `onehold` was called with, call by call.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.path("bin/onehold.asked")).expect("a file");
        asked.lines().map(str::to_owned).collect()
    }

    /// Puts a program of that name in front of the path.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path(&format!("bin/{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("{text}\n")).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        path
    }

    /// A path in the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The options that say where the token is.
    pub(crate) fn token(&self) -> [String; 2] {
        let path = self.path("token").display().to_string();
        ["--token-file".into(), path]
    }

    /// Runs a mover to its end.
    pub(crate) fn run(&self, mover: &str, options: &[impl AsRef<str>]) -> Ended {
        let mut words: Vec<&str> = self.shell.to_vec();
        let mover = movers().join(mover).display().to_string();
        words.push(&mover);
        words.extend(options.iter().map(AsRef::as_ref));
        let bin = self.path("bin").display().to_string();
        let output = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"))
            .env("LANG", "C.UTF-8")
            .env("ONEHOLD_CLUSTER", "shop")
            .env("ONEHOLD_GROUP", "web")
            .env("ONEHOLD_ADDRESSES", &self.addresses)
            .env("ONEHOLD_INTERFACE", "lo")
            .env("ONEHOLD_STATE", self.state)
            .env("ONEHOLD_SOCKET", "/run/onehold/control.sock")
            .output()
            .expect("a mover is a program");
        let ended = Ended {
            code: output.status.code().expect("it exits"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!ended.out.contains(TOKEN), "{}", ended.out);
        assert!(!ended.err.contains(TOKEN), "{}", ended.err);
        ended
    }
}

impl Ended {
    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        assert_eq!(self.err, "");
        self
    }

    /// It must have failed, with one line that has these words.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &str) -> Self {
        assert!(self.err.contains(words), "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert_eq!(self.code, code, "{}", self.err);
        self
    }

    /// It must have printed these words.
    #[track_caller]
    pub(crate) fn said(self, words: &str) -> Self {
        assert!(self.out.contains(words), "{}", self.out);
        self
    }
}
