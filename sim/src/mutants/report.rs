//! Who noticed which mutant: for people, for programs, for the book.

use super::engine::{Outcome, Tried};
use super::list::{Kind, Mutant, TESTS};
use serde::Serialize;
use std::fmt::Write as _;

/// All mutants that were run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In the list's order.
    pub mutants: Vec<Finding>,
}

/// What came of one mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The mutant.
    pub name: String,
    /// The rule that it breaks.
    pub rule: String,
    /// What of the rule.
    pub breaks: String,
    /// What that harms.
    pub kind: Kind,
    /// The property or the test that noticed it first.
    pub killed_by: Option<String>,
    /// In which configuration that was.
    pub configuration: Option<String>,
    /// The length of the shortest trace that shows it.
    pub steps: Option<u64>,
    /// How many states were looked at to find it.
    pub states: Option<u64>,
    /// Everything that was run.
    pub tried: Vec<Tried>,
}

impl Finding {
    pub(super) fn of(mutant: &Mutant, tried: Vec<Tried>) -> Self {
        let last = tried.last();
        let broke = last.and_then(|t| match &t.outcome {
            Outcome::Broke { property, steps } => Some((t, property.clone(), *steps)),
            Outcome::Passed | Outcome::OutOfTime => None,
        });
        Self {
            name: mutant.name.clone(),
            rule: mutant.rule.clone(),
            breaks: mutant.breaks.clone(),
            kind: mutant.kind,
            killed_by: broke.as_ref().map(|(_, property, _)| property.clone()),
            configuration: broke.as_ref().map(|(t, _, _)| t.configuration.clone()),
            steps: broke.as_ref().and_then(|(_, _, steps)| *steps),
            states: broke.as_ref().and_then(|(t, _, _)| t.states),
            tried,
        }
    }

    /// Nobody should notice it, for another rule implies what it breaks.
    fn is_redundant(&self) -> bool {
        self.kind == Kind::Redundant
    }

    /// It was noticed, or nobody should have noticed it and nobody did.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.killed_by.is_some() != self.is_redundant()
    }

    /// No walk noticed it: a named test did.
    fn by_tests(&self) -> bool {
        self.configuration.as_deref() == Some(TESTS)
    }

    /// What was run, and what came of it.
    fn tries(&self) -> String {
        let one = |t: &Tried| match t.outcome {
            Outcome::OutOfTime => format!("{} (out of time)", t.configuration),
            Outcome::Passed | Outcome::Broke { .. } => t.configuration.clone(),
        };
        self.tried.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Report {
    /// The mutants that should have been noticed and were not, and those that were and should not.
    pub fn unexpected(&self) -> impl Iterator<Item = &Finding> {
        self.mutants.iter().filter(|m| !m.is_as_expected())
    }

    /// The table for a terminal.
    #[must_use]
    pub fn table(&self) -> Vec<String> {
        let head = ["mutant", "rule", "noticed by", "in", "steps", "states"].map(str::to_owned);
        let mut rows = vec![head];
        for m in &self.mutants {
            rows.push(row(m));
        }
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|n| rows.iter().map(|r| r[n].chars().count()).max().unwrap_or(0))
            .collect();
        let mut lines: Vec<String> = rows
            .iter()
            .map(|row| {
                let cells = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}"));
                cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            })
            .collect();
        lines.extend(self.summary());
        lines
    }

    /// How many were noticed, and every one that was not as expected.
    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for kind in [Kind::Safety, Kind::Liveness, Kind::Hygiene, Kind::Redundant] {
            let of: Vec<&Finding> = self.mutants.iter().filter(|m| m.kind == kind).collect();
            let noticed = of.iter().filter(|m| m.killed_by.is_some());
            let by_tests = noticed.clone().filter(|m| m.by_tests()).count();
            if !of.is_empty() {
                lines.push(format!(
                    "{}: {} of {} noticed, {} by a property in a walk, {by_tests} by a named test",
                    kind.name(),
                    noticed.clone().count(),
                    of.len(),
                    noticed.count() - by_tests,
                ));
            }
        }
        for m in self.unexpected() {
            let what = match m.is_redundant() {
                true => "is noticed, though another rule should imply what it breaks",
                false => "survives",
            };
            lines.push(format!(
                "{} ({}: {}) {what}; tried {}",
                m.name,
                m.rule,
                m.breaks,
                m.tries()
            ));
        }
        lines
    }

    /// The table for the book.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| mutant | rule | what is broken | noticed by | in | steps | states |\n\
             |---|---|---|---|---|--:|--:|\n",
        );
        for m in &self.mutants {
            let [name, rule, by, place, steps, states] = row(m);
            let by = if m.by_tests() { format!("`{by}`") } else { by };
            let _ = writeln!(
                text,
                "| `{name}` | {rule} | {} | {by} | {place} | {steps} | {states} |",
                m.breaks
            );
        }
        text
    }
}

fn row(m: &Finding) -> [String; 6] {
    let by = match (&m.killed_by, m.is_redundant()) {
        (Some(property), _) => property.clone(),
        (None, true) => "(implied)".to_owned(),
        (None, false) => "**nobody**".to_owned(),
    };
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    [
        m.name.clone(),
        m.rule.clone(),
        by,
        m.configuration.clone().unwrap_or_default(),
        number(m.steps),
        number(m.states),
    ]
}
