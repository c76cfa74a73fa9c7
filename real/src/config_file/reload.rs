//! What a reload may change. R-0 fixes for a life what all members must agree on.

use super::{ConfigFile, FileError, Interface, LogLevel};
use onehold_core::time::Span;
use std::collections::BTreeMap;
use std::fmt;

/// What a reload changes in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The list of secret files. (Their contents may change too: take the keys anew in any case.)
    pub secret_files: bool,
    /// The new log level, if it is another one.
    pub log_level: Option<LogLevel>,
}

/// Why a reload was refused: the old configuration stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The new file is bad.
    File(FileError),
    /// A value that a reload can't change.
    Fixed {
        /// Which.
        key: String,
        /// In force.
        old: Option<String>,
        /// In the new file.
        new: Option<String>,
        /// How to change it.
        remedy: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(e) => e.fmt(f),
            Self::Fixed {
                key,
                old,
                new,
                remedy,
            } => {
                let or = |v: &Option<String>| v.clone().unwrap_or_else(|| "(not there)".to_owned());
                write!(
                    f,
                    "{key}: {} → {} can't change in a reload; {remedy}",
                    or(old),
                    or(new)
                )
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Who must stop for a value to change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All members, for Q: votes given under one value must not be counted under the other.
    All,
    /// This member alone.
    Me,
}

/// Compares the file in force with a new one. `quarantine` is Q.
///
/// # Errors
/// The first value that differs and can't change in place, and how to change it.
pub fn compare(old: &ConfigFile, new: &ConfigFile, quarantine: Span) -> Result<Changes, Refusal> {
    let (was, is) = (fixed(old), fixed(new));
    for key in was.keys().chain(is.keys()) {
        let (a, b) = (was.get(key), is.get(key));
        if a == b {
            continue;
        }
        let remedy = match a.or(b).map(|(scope, _)| *scope) {
            Some(Scope::All) => format!(
                "all members must agree on it, so one at a time is never safe: stop onehold on every \
                 member, put the new file on every member, wait {}, start them all",
                rounded_up(quarantine)
            ),
            Some(Scope::Me) | None => {
                "restart onehold on this member (`systemctl restart onehold`; the other one takes over \
                 meanwhile)"
                    .to_owned()
            }
        };
        return Err(Refusal::Fixed {
            key: key.clone(),
            old: a.map(|(_, v)| v.clone()),
            new: b.map(|(_, v)| v.clone()),
            remedy,
        });
    }
    Ok(Changes {
        secret_files: old.cluster.secret_file != new.cluster.secret_file
            || old.cluster.secret_files != new.cluster.secret_files,
        log_level: (old.log.level != new.log.level).then_some(new.log.level),
    })
}

fn rounded_up(span: Span) -> String {
    format!("{}s", span.as_nanos().div_ceil(1_000_000_000))
}

/// All values that a reload can't change, by key.
fn fixed(file: &ConfigFile) -> BTreeMap<String, (Scope, String)> {
    use Scope::{All, Me};
    let mut all = BTreeMap::new();
    let mut put = |key: String, scope, value: &dyn fmt::Debug| {
        all.insert(key, (scope, format!("{value:?}")));
    };
    let c = &file.cluster;
    put("cluster.name".into(), All, &c.name);
    put("cluster.arbitration".into(), All, &Plain(arbitration(file)));
    put("cluster.port".into(), All, &c.port);
    put(
        "cluster.guard".into(),
        Me,
        &Plain(format!("{:?}", c.guard).to_lowercase()),
    );
    for (name, m) in &file.members {
        let key = |k| format!("members.{name}.{k}");
        put(key("addresses"), All, &m.addresses);
        put(key("witness"), All, &m.witness);
        put(key("preferred"), All, &m.preferred);
    }
    for (name, g) in &file.groups {
        let key = |k| format!("groups.{name}.{k}");
        put(key("addresses"), All, &g.addresses);
        put(
            key("failback"),
            All,
            &Plain(format!("{:?}", g.failback).to_lowercase()),
        );
        put(key("failback_delay"), All, &Plain(g.failback_delay.0));
        put(
            key("release_when_unhealthy"),
            All,
            &g.release_when_unhealthy,
        );
        if let Some(preferred) = &g.preferred {
            put(key("preferred"), All, preferred);
        }
        match &g.interface {
            Some(Interface::Same(i)) => put(key("interface"), Me, i),
            Some(Interface::ByMember(i)) => put(key("interface"), Me, i),
            None => {}
        }
    }
    let t = file.timing.spec(file.cluster.arbitration);
    put("timing.interval".into(), Me, &Plain(t.interval));
    put("timing.lease".into(), All, &Plain(t.lease));
    put("timing.guard_slack".into(), All, &Plain(t.guard_slack));
    put("timing.drift_ppm".into(), All, &t.drift_ppm);
    put(
        "timing.profile".into(),
        Me,
        &Plain(format!("{:?}", file.timing.profile).to_lowercase()),
    );
    put(
        "log.format".into(),
        Me,
        &Plain(format!("{:?}", file.log.format).to_lowercase()),
    );
    all
}

/// Stated or not, it is the same.
fn arbitration(file: &ConfigFile) -> &'static str {
    match file.cluster.arbitration {
        Some(super::ArbitrationWord::Survivor) => "survivor",
        Some(super::ArbitrationWord::Majority) | None => "majority",
    }
}

/// Shown without quotes.
struct Plain<T>(T);

impl<T: fmt::Display> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
