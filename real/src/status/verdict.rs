//! How bad it is, in one line, as monitoring plugins say it.

use super::{GroupStatus, Report, Status};

/// At most this many causes are in the line.
const MOST: usize = 3;
/// How alarms say that two hold.
const TWO_HOLD: &str = "two hold";

/// The exit status of a monitoring plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Every group is held, and nothing is wrong.
    Ok,
    /// It is held, and something needs a person: mostly, the next failure would be an outage.
    Warning,
    /// It is not known.
    Unknown,
    /// Nobody is known to answer, or two do; or the daemon here does not run.
    Critical,
}

impl Severity {
    /// Of monitoring plugins.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// How bad it is, why, and figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    causes: Vec<(Severity, String)>,
    figures: Vec<String>,
}

impl Verdict {
    /// Nothing is wrong yet.
    const fn new() -> Self {
        Self {
            severity: Severity::Ok,
            causes: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// The daemon does not answer.
    #[must_use]
    pub fn critical(why: String) -> Self {
        let mut verdict = Self::new();
        verdict.add(Severity::Critical, why);
        verdict
    }

    /// It could not be found out.
    #[must_use]
    pub fn unknown(why: String) -> Self {
        let mut verdict = Self::new();
        verdict.add(Severity::Unknown, why);
        verdict
    }

    fn add(&mut self, severity: Severity, why: String) {
        self.severity = self.severity.max(severity);
        self.causes.push((severity, why));
    }

    /// `ONEHOLD OK: …`, one line, with figures after a bar.
    #[must_use]
    pub fn line(&self) -> String {
        let mut causes = self.causes.clone();
        causes.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        let more = causes.len().saturating_sub(MOST);
        let mut words: Vec<String> = causes.into_iter().take(MOST).map(|(_, why)| why).collect();
        if more > 0 {
            words.push(format!("and {more} more; see `onehold status`"));
        }
        // A bar begins the figures.
        let words = words
            .join("; ")
            .replace(['\n', '\r'], " ")
            .replace('|', "/");
        let bar = if self.figures.is_empty() { "" } else { " | " };
        let figures = self.figures.join(" ");
        format!("ONEHOLD {}: {words}{bar}{figures}", self.severity.word())
    }
}

/// How bad a report is, or a group of it.
#[must_use]
pub fn verdict(report: &Report, group: Option<&str>) -> Verdict {
    let mut verdict = Verdict::new();
    for waiting in &report.waiting {
        verdict.add(Severity::Critical, waiting.to_string());
    }
    let mut held = Vec::new();
    for status in &report.clusters {
        judge(
            status,
            group,
            report.clusters.len() > 1,
            &mut verdict,
            &mut held,
        );
    }
    if held.is_empty() && verdict.causes.is_empty() {
        verdict.add(
            Severity::Unknown,
            match group {
                Some(name) => format!("there is no group `{name}` here"),
                None => "this daemon serves no cluster".to_owned(),
            },
        );
    }
    if verdict.causes.is_empty() {
        let many = held.len() > MOST;
        let words = if many {
            format!("{} groups are held", held.len())
        } else {
            held.join(", ")
        };
        verdict.causes.push((Severity::Ok, words));
    }
    verdict
}

/// Of alarms, those of a group, and those of no group.
pub fn of_group<'a>(
    alarms: &'a [String],
    status: &'a Status,
    group: Option<&'a str>,
) -> impl Iterator<Item = &'a String> {
    alarms.iter().filter(move |alarm| {
        let of = |g: &&GroupStatus| {
            let rest = alarm.strip_prefix(g.name.as_str());
            rest.is_some_and(|rest| rest.starts_with(": "))
        };
        let of = status.groups.iter().find(of);
        group.is_none_or(|name| of.is_none_or(|of| of.name == name))
    })
}

fn judge(
    status: &Status,
    group: Option<&str>,
    several: bool,
    verdict: &mut Verdict,
    held: &mut Vec<String>,
) {
    let of = if several {
        format!("{}: ", status.cluster)
    } else {
        String::new()
    };
    let meant = |g: &&GroupStatus| group.is_none_or(|name| name == g.name);
    for g in status.groups.iter().filter(meant) {
        match &g.holder {
            Some(holder) if !g.opening && !g.holder_mute => {
                held.push(format!("{of}{} on {holder}", g.name));
            }
            Some(holder) => {
                let why = format!("{of}{}: {holder} holds it, mute", g.name);
                verdict.add(Severity::Critical, why);
            }
            None if status.quarantine_left_ms.is_some() => {
                let why = format!("{of}{}: this member has just started", g.name);
                verdict.add(Severity::Warning, why);
            }
            None => {
                let why = format!("{of}{}: nobody is known to hold it", g.name);
                verdict.add(Severity::Critical, why);
            }
        }
        if !several {
            let left = g.lease_left_ms.unwrap_or(0.0);
            let holds = u8::from(g.role == "holder");
            let name = &g.name;
            verdict.figures.extend([
                format!("'{name} held here'={holds};;;0;1"),
                format!("'{name} lease left'={left:.0}ms;;;0"),
                format!("'{name} role changes'={}c", g.role_changes),
            ]);
        }
    }
    if status.stopped {
        verdict.add(Severity::Warning, format!("{of}this member has stopped"));
    }
    let alarms: Vec<&String> = of_group(&status.alarms, status, group).collect();
    for alarm in &alarms {
        let two = alarm.contains(TWO_HOLD);
        let severity = if two {
            Severity::Critical
        } else {
            Severity::Warning
        };
        // That nobody holds is said above.
        let said = alarm.contains("no member is known to hold it");
        if !said {
            verdict.add(severity, format!("{of}{alarm}"));
        }
    }
    if !several {
        let heard = status.peers.iter().filter(|p| p.two_way).count();
        verdict.figures.extend([
            format!("'members heard'={heard};;;0;{}", status.peers.len()),
            format!("alarms={};;;0", alarms.len()),
        ]);
    }
}
