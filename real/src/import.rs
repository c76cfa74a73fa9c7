//! `onehold import`: a Heartbeat or keepalived configuration as our file, and a report of each of
//! its lines: carried over, changed in meaning, left out, or wrong, and why.
//!
//! Nothing here runs anything, asks the network or writes: the caller says what can be read
//! ([`Disk`]) and what is known of this machine ([`Here`]). A file is complete only if our own check
//! of its text says so.

mod command;
mod draft;
pub mod heartbeat;
mod input;
pub mod keepalived;
mod report;

pub use input::{Disk, Here, Opened, ThisDisk};
pub use report::{Report, Verdict};

use crate::config_file::{ConfigFile, Source, WrittenCluster, decided, for_member};
use draft::Draft;
use onehold_core::lease::{Timing, TimingSpec};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What came of an import.
#[derive(Debug)]
pub struct Imported {
    /// Our file.
    pub file: String,
    /// What became of each line, and what a person must do.
    pub report: Report,
    /// What our own check says against the file; nothing if it is complete.
    pub lacks: Vec<String>,
    /// A secret that can be carried over.
    pub secret: Option<String>,
}

/// What the command line says of an import.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The members that the operator names.
    pub members: Vec<NamedMember>,
    /// The secret's file.
    pub secret_file: PathBuf,
}

/// A member as the command line names it: `lb0` or `lb0=10.0.0.10,10.1.0.10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMember {
    /// Its name.
    pub name: String,
    /// Its own addresses, one for each path; none if it is only named.
    pub addresses: Vec<IpAddr>,
}

impl std::str::FromStr for NamedMember {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, addresses) = match text.split_once('=') {
            Some((name, addresses)) => (name, addresses.split(',').collect()),
            None => (text, Vec::new()),
        };
        if !draft::is_name(name) {
            return Err(format!(
                "`{name}` can't be a name; use 1 to 64 letters, digits and `.-_`"
            ));
        }
        let read = |text: &str| {
            (text.parse()).map_err(|_| {
                format!(
                    "`{text}` is not an IP address; write {name}=10.0.0.10, and more after commas"
                )
            })
        };
        Ok(Self {
            name: name.to_owned(),
            addresses: addresses.into_iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}

/// Writes the draft as our file, and asks our own check what it lacks.
fn finish(draft: &Draft, mut report: Report, secret: Option<String>) -> Imported {
    let file = draft.to_toml();
    let lacks = lacks(&file);
    for what in &lacks {
        report.needed(what);
    }
    Imported {
        file,
        report,
        lacks,
        secret,
    }
}

/// What our own check says against a file's text, on any host.
fn lacks(text: &str) -> Vec<String> {
    let source = Source::new(Path::new("onehold.toml"), text.to_owned());
    let mut wrong = match ConfigFile::parse(&source) {
        Err(wrong) => wrong,
        Ok(file) => {
            let cluster = WrittenCluster { source, file };
            let mut wrong = decided(&cluster).err().unwrap_or_default();
            for member in cluster.file.members.keys() {
                for e in for_member(&cluster, member, false) {
                    if !wrong.contains(&e) {
                        wrong.push(e);
                    }
                }
            }
            wrong
        }
    };
    wrong.sort_by_key(|e| e.line);
    wrong.iter().map(ToString::to_string).collect()
}

/// What is different from before, whatever the file says.
fn in_any_case(report: &mut Report, before: &str, draft: &Draft, secret: bool) {
    report.note(format!(
        "Never run both: `systemctl disable --now {before}` on both machines, and then start onehold. What is still \
         on an interface by then is mute, and `onehold status` names it."
    ));
    report.note(format!(
        "After a crash the outage is at most {} with the default timing; a planned move costs milliseconds.",
        outage()
    ));
    if draft.groups.iter().any(|g| !g.manual) {
        report.note(
            "The preferred member gets a group back when it has been ready for `failback_delay`, 5s unless the file \
             says otherwise, and longer after each crash in a row.",
        );
    }
    report.note(
        "An address is a /32 (/128) on its interface; its prefix is not put there. A host that has no address of its \
         own in that network needs a route: `onehold check` says so, and which.",
    );
    report.note(
        "arbitration = \"survivor\" is what two machines had before: both hold while the network between them is cut. \
         With a witness that can't be.",
    );
    report.note(
        "Members send to UDP port 6946 of each other's addresses: firewalls must let that pass, both ways.",
    );
    if draft
        .groups
        .iter()
        .any(|g| !g.checks.is_empty() || !g.hooks.is_empty())
    {
        report.note(
            "Checks and hooks are run by the agent, on both members: `systemctl enable --now onehold-agent`. It runs \
             as root what has no `user`.",
        );
    }
    report.note(match secret {
        true => {
            "The secret goes on: with `--secret FILE` it is written there, and the same command on the other machine \
             makes the same file and the same secret."
        }
        false => {
            "No secret is carried over. `--secret FILE` makes one (or run `onehold secret FILE`); copy it to every \
             member."
        }
    });
}

/// The longest outage after a crash with the timing that an imported file has.
fn outage() -> String {
    let spec = TimingSpec::default();
    let worst = Timing::prove(spec).map(|t| t.vote().plus(spec.interval.times(2)));
    worst.map_or_else(
        |_| String::new(),
        |worst| format!("{}ms", worst.as_nanos().div_ceil(1_000_000)),
    )
}

/// A number of seconds as our file writes it.
fn seconds(s: f64) -> String {
    let millis = (s * 1000.0).round().clamp(0.0, 1e12) as u64;
    match millis.is_multiple_of(1000) {
        true => format!("{}s", millis / 1000),
        false => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests;
