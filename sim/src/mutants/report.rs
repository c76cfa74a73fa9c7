//! Who noticed which mutant: for people and for programs.

use super::engine::{Trial, TrialResult};
use super::list::{Kind, Mutant, TESTS};
use super::verdicts::Noticed;
use serde::Serialize;

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
    /// What kind of promise that breaks.
    pub kind: Kind,
    /// What noticed it.
    pub noticed: Noticed,
    /// Everything that was run.
    pub tried: Vec<Trial>,
}

impl Finding {
    pub(super) fn of(mutant: &Mutant, tried: Vec<Trial>) -> Self {
        Self {
            name: mutant.name.clone(),
            rule: mutant.rule.clone(),
            breaks: mutant.breaks.clone(),
            kind: mutant.kind,
            noticed: Noticed::of(&tried),
            tried,
        }
    }

    /// Nothing should notice it, for another rule implies what it breaks.
    fn is_redundant(&self) -> bool {
        self.kind == Kind::Redundant
    }

    /// It was noticed; or nothing should have noticed it, and nothing did.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.noticed.first().is_some() != self.is_redundant()
    }

    /// What was run, and what came of it.
    fn tries(&self) -> String {
        let one = |t: &Trial| match t.result {
            TrialResult::OutOfTime => format!("{} (out of time)", t.configuration),
            TrialResult::Passed | TrialResult::Broke { .. } => t.configuration.clone(),
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
            let noticed = of.iter().filter_map(|m| m.noticed.first());
            let by_tests = noticed.clone().filter(|v| v.place.is_none()).count();
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
}

fn row(m: &Finding) -> [String; 6] {
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let [by, place, steps, looked] = match (m.noticed.first(), m.is_redundant()) {
        (Some(v), _) => [
            v.by.clone().unwrap_or_default(),
            v.place.clone().unwrap_or_else(|| TESTS.to_owned()),
            number(v.steps),
            number(v.looked),
        ],
        (None, true) => ["(implied)", "", "", ""].map(str::to_owned),
        (None, false) => ["**nobody**", "", "", ""].map(str::to_owned),
    };
    [m.name.clone(), m.rule.clone(), by, place, steps, looked]
}
