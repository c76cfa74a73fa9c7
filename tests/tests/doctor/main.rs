//! `onehold doctor`: each fault is planted in a pair that is well, and found; without it there is
//! nothing to find.

mod cluster;
mod host;
mod kernel;
mod network;

use onehold_tests::{Cluster, binaries, is_machine_root, not_run};
use serde_json::Value;
use std::any::Any;

/// What one run found: `level id: what`, for all that is not fine.
#[derive(Debug)]
struct Found {
    status: Option<i32>,
    lines: Vec<String>,
}

impl Found {
    /// Whether something was found, as grave as that.
    fn has(&self, level: &str, id: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.starts_with(&format!("{level} {id}: ")))
    }
}

/// How it is run on a member's host, by a file of the lab.
fn words(host: &str, file: &str) -> Vec<String> {
    let config = format!("/run/lab/{file}.toml");
    [
        "doctor", "--config", &config, "--as", host, "--peer", "--json",
    ]
    .map(str::to_owned)
    .into()
}

/// Runs it on a host, by the member's file.
#[track_caller]
fn doctor(c: &Cluster, host: &str) -> Found {
    doctor_by(c, host, host, &[], &[])
}

/// The same by any file, with other words before and more words behind.
#[track_caller]
fn doctor_by(c: &Cluster, host: &str, file: &str, before: &[&str], more: &[&str]) -> Found {
    let binary = binaries::onehold().to_str().expect("a path");
    let all = words(host, file);
    let all: Vec<&str> = (before.iter().copied().chain([binary]))
        .chain(all.iter().map(String::as_str))
        .chain(more.iter().copied())
        .collect();
    let output = c.run(host, &all);
    let said = String::from_utf8_lossy(&output.stdout);
    let Ok(report) = serde_json::from_str::<Value>(&said) else {
        panic!(
            "{all:?} on {host}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let findings = report["findings"].as_array().expect("findings");
    assert!(!findings.is_empty(), "something was looked at");
    let text = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
    let lines = findings.iter().map(|f| {
        format!(
            "{} {}: {}",
            text(f, "level"),
            text(f, "id"),
            text(f, "what")
        )
    });
    let lines = lines.filter(|line| !line.starts_with("fine") && !line.starts_with("skipped"));
    Found {
        status: output.status.code(),
        lines: lines.collect(),
    }
}

/// Waits until there is nothing to find on a host; then nothing is printed.
#[track_caller]
fn well(c: &Cluster, host: &str) {
    let mut last = Vec::new();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(150);
    while std::time::Instant::now() < until {
        let found = doctor(c, host);
        if found.lines.is_empty() {
            assert_eq!(found.status, Some(0));
            let plain: Vec<String> = words(host, host)
                .into_iter()
                .filter(|w| w != "--json")
                .collect();
            let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
            assert_eq!(c.onehold(host, &plain), "");
            return;
        }
        last = found.lines;
    }
    panic!("{host} is well, and the doctor says {last:#?}");
}

/// What a fault needs for as long as it lasts.
type Kept = Box<dyn Any>;

/// A fault that is planted and taken away.
struct Fault {
    id: &'static str,
    level: &'static str,
    /// Where it is looked for.
    host: &'static str,
    plant: fn(&mut Cluster) -> Kept,
    end: fn(&mut Cluster),
    /// By which file, if not by the member's own.
    file: Option<&'static str>,
    before: &'static [&'static str],
    more: &'static [&'static str],
}

impl Fault {
    const fn new(
        id: &'static str,
        level: &'static str,
        host: &'static str,
        plant: fn(&mut Cluster) -> Kept,
    ) -> Self {
        Self {
            id,
            level,
            host,
            plant,
            end: |_| (),
            file: None,
            before: &[],
            more: &[],
        }
    }

    const fn ends(mut self, end: fn(&mut Cluster)) -> Self {
        self.end = end;
        self
    }

    const fn by(mut self, file: &'static str) -> Self {
        self.file = Some(file);
        self
    }

    const fn with(mut self, more: &'static [&'static str]) -> Self {
        self.more = more;
        self
    }

    const fn under(mut self, before: &'static [&'static str]) -> Self {
        self.before = before;
        self
    }
}

/// Plants each, one by one, and looks.
#[track_caller]
fn each(c: &mut Cluster, faults: &[Fault]) {
    let mut missed = Vec::new();
    for fault in faults {
        let kept = (fault.plant)(c);
        let mut last = Vec::new();
        // What only the daemon can see takes a moment.
        let found = (0..10).any(|_| {
            let file = fault.file.unwrap_or(fault.host);
            let found = doctor_by(c, fault.host, file, fault.before, fault.more);
            let is = found.has(fault.level, fault.id);
            let status = match fault.level {
                "problem" => Some(1),
                _ => found.status,
            };
            last = found.lines;
            is && found.status == status
        });
        drop(kept);
        (fault.end)(c);
        if !found {
            missed.push(format!(
                "{} {} on {}: {last:#?}",
                fault.level, fault.id, fault.host
            ));
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
}

/// Nothing need be kept.
fn nothing() -> Kept {
    Box::new(())
}

/// Runs a line of a shell on a host, which must succeed.
#[track_caller]
fn sh(c: &Cluster, host: &str, line: &str) -> Kept {
    c.ok(host, &["sh", "-ec", line]);
    nothing()
}

/// Another file for a member, made of its own: what is replaced, and by what.
#[track_caller]
fn other_file(c: &Cluster, host: &str, changes: &[(&str, &str)]) -> Kept {
    let mut text = c.read(&format!("{host}.toml"));
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in:\n{text}");
        text = text.replace(from, to);
    }
    c.file("other.toml", &text);
    nothing()
}

/// The machine's root sees everything; nobody else can be told that all is well.
fn may_look() -> bool {
    let may = is_machine_root();
    if !may {
        not_run("in a user namespace much can't be seen, and the doctor says so");
    }
    may
}

/// Waits until nothing is wrong on both candidates. (A stranger that is gone is an alarm for a
/// minute more.)
#[track_caller]
fn both_well(c: &Cluster) {
    for host in ["lb0", "lb1"] {
        well(c, host);
    }
}
