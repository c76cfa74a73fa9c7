//! What was found: as it is kept, printed, and turned into an exit status.

use crate::status::wrapped;
use serde::Serialize;
use std::fmt::Write as _;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Looked at, and as it should be.
    Fine,
    /// Not looked at, for it means nothing here.
    Skipped,
    /// It works; it would be better otherwise.
    Advice,
    /// It could not be looked at.
    Unknown,
    /// Something does not work, or won't when it must.
    Problem,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Its name, the same in every version.
    pub(crate) id: &'static str,
    pub(crate) level: Level,
    /// What is so.
    pub(crate) what: String,
    /// Why it matters, or nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) why: String,
    /// What mends it, mostly a command; or nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) mend: String,
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    pub(crate) findings: Vec<Finding>,
    /// What the examination that is under way can find.
    #[serde(skip)]
    may: &'static [&'static str],
}

impl Found {
    pub(super) const fn examining(&mut self, may: &'static [&'static str]) {
        self.may = may;
    }

    fn add(
        &mut self,
        level: Level,
        id: &'static str,
        what: impl Into<String>,
        why: &str,
        mend: impl Into<String>,
    ) {
        debug_assert!(self.may.contains(&id), "`{id}` is not in the table");
        let finding = Finding {
            id,
            level,
            what: what.into(),
            why: why.to_owned(),
            mend: mend.into(),
        };
        // Of several clusters one host is the same.
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub(super) fn problem(
        &mut self,
        id: &'static str,
        what: impl Into<String>,
        why: &str,
        mend: impl Into<String>,
    ) {
        self.add(Level::Problem, id, what, why, mend);
    }

    pub(super) fn advice(
        &mut self,
        id: &'static str,
        what: impl Into<String>,
        why: &str,
        mend: impl Into<String>,
    ) {
        self.add(Level::Advice, id, what, why, mend);
    }

    pub(super) fn unknown(
        &mut self,
        id: &'static str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(Level::Unknown, id, what, "", mend);
    }

    pub(super) fn fine(&mut self, id: &'static str, what: impl Into<String>) {
        self.add(Level::Fine, id, what, "", "");
    }

    pub(super) fn skipped(&mut self, id: &'static str, why: impl Into<String>) {
        self.add(Level::Skipped, id, why, "", "");
    }

    /// The gravest level.
    fn worst(&self) -> Level {
        let levels = self.findings.iter().map(|f| f.level);
        levels.max().unwrap_or(Level::Unknown)
    }

    /// 0: nothing needs to be done; 1: something does; 3: something could not be looked at.
    pub(crate) fn exit_status(&self) -> u8 {
        match self.worst() {
            Level::Fine | Level::Skipped | Level::Advice => 0,
            Level::Problem => 1,
            Level::Unknown => 3,
        }
    }
}

/// For people: what needs them, the gravest first; with `all`, what is fine, too.
pub(crate) fn render(found: &Found, all: bool) -> String {
    let mut out = String::new();
    for (level, word) in [
        (Level::Problem, "PROBLEM"),
        (Level::Unknown, "UNKNOWN"),
        (Level::Advice, "advice"),
        (Level::Skipped, "not looked at"),
        (Level::Fine, "fine"),
    ] {
        if !all && level <= Level::Skipped {
            continue;
        }
        for f in found.findings.iter().filter(|f| f.level == level) {
            wrapped(&mut out, &format!("{word} {}: ", f.id), &f.what);
            if !f.why.is_empty() {
                wrapped(&mut out, "    why: ", &f.why);
            }
            if !f.mend.is_empty() {
                let _ = writeln!(out, "    do:  {}", f.mend); // a String takes everything
            }
        }
    }
    out
}
