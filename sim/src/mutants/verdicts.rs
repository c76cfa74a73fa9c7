//! `sim/verdicts.json`: what noticed each mutant when it was last run. `cargo lab mutants` writes
//! what it ran and leaves the rest; `cargo lab tables` writes the book's tables from it. It proves
//! nothing of today's sources: only a run does.

use super::engine::{Trial, TrialResult};
use super::list::{Mutant, SWEEP, TESTS};
use super::report::Finding;
use crate::error::{Context, Result, err};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where they are, in the workspace.
pub const VERDICTS: &str = "sim/verdicts.json";

/// What was found of each mutant, by name.
pub type Verdicts = BTreeMap<String, Noticed>;

/// What noticed a mutant, for each way to look; `None` where nobody has looked that way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noticed {
    /// Walks of the model checker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walk: Option<Verdict>,
    /// The core's own tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Verdict>,
    /// A sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Verdict>,
}

/// One way to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The property or the test that noticed it; `None`: nothing did.
    pub by: Option<String>,
    /// Where, if it was a walk; if nothing did, where it was looked for.
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The length of the shortest trace that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// How many worlds or seeds had been looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<u64>,
}

/// Reads what is kept.
///
/// # Errors
/// If it can't be read, or speaks of a mutant that is not in the list: with the remedy.
pub fn read(workspace: &Path, mutants: &[Mutant]) -> Result<Verdicts> {
    let text = fs::read_to_string(workspace.join(VERDICTS)).context(|| VERDICTS)?;
    let verdicts: Verdicts = serde_json::from_str(&text).context(|| VERDICTS)?;
    let gone = verdicts
        .keys()
        .find(|name| !mutants.iter().any(|m| m.name == **name));
    match gone {
        Some(name) => Err(err(format!(
            "{VERDICTS}: there is no mutant `{name}` any more: rename its entry, or remove it"
        ))),
        None => Ok(verdicts),
    }
}

/// Keeps what was found, beside what is kept of others.
///
/// # Errors
/// If the file can't be read or written.
pub fn keep(workspace: &Path, mutants: &[Mutant], findings: &[Finding]) -> Result<()> {
    let mut all = read(workspace, mutants)?;
    for finding in findings {
        let kept = all.entry(finding.name.clone()).or_default();
        let found = finding.noticed.clone();
        *kept = Noticed {
            walk: found.walk.or_else(|| kept.walk.take()),
            tests: found.tests.or_else(|| kept.tests.take()),
            seeds: found.seeds.or_else(|| kept.seeds.take()),
        };
    }
    let text = serde_json::to_string_pretty(&all).context(|| VERDICTS)?;
    fs::write(workspace.join(VERDICTS), text + "\n").context(|| VERDICTS)
}

impl Noticed {
    /// What these trials of one mutant say.
    pub(super) fn of(tried: &[Trial]) -> Self {
        let mut noticed = Self::default();
        tried.iter().for_each(|trial| noticed.add(trial));
        noticed
    }

    /// The first verdict by which it was noticed.
    pub(super) fn first(&self) -> Option<&Verdict> {
        let all = [&self.walk, &self.seeds, &self.tests];
        let mut noticed = all.into_iter().flatten().filter(|v| v.by.is_some());
        noticed.next()
    }

    /// A trial in a later configuration replaces one that noticed nothing; so the last one counts.
    fn add(&mut self, trial: &Trial) {
        let to = match trial.configuration.as_str() {
            TESTS => &mut self.tests,
            sweep if sweep.starts_with(SWEEP) => &mut self.seeds,
            _ => &mut self.walk,
        };
        let place = Some(trial.configuration.clone()).filter(|c| c != TESTS);
        *to = Some(match &trial.result {
            TrialResult::Broke { property, steps } => Verdict {
                by: Some(property.clone()),
                place,
                steps: *steps,
                looked: trial.states,
            },
            TrialResult::Passed => Verdict {
                by: None,
                place,
                steps: None,
                looked: trial.states,
            },
            TrialResult::OutOfTime => Verdict {
                by: None,
                place: Some(format!("{} (out of time)", trial.configuration)),
                steps: None,
                looked: None,
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(configuration: &str, result: TrialResult) -> Trial {
        Trial {
            configuration: configuration.to_owned(),
            result,
            states: Some(7),
            exhaustive: true,
            seconds: 0.0,
        }
    }

    #[test]
    fn each_way_to_look_has_a_verdict_of_its_own() {
        let steady = trial("steady", TrialResult::Passed);
        assert_eq!(Noticed::of(std::slice::from_ref(&steady)).first(), None);
        let property = "S1".to_owned();
        let steps = Some(3);
        let noticed = Noticed::of(&[
            steady,
            trial("failback", TrialResult::Broke { property, steps }),
            trial("sweep 0..9", TrialResult::OutOfTime),
        ]);
        let walk = noticed.first().unwrap();
        assert_eq!(walk.by.as_deref(), Some("S1"));
        assert_eq!(walk.place.as_deref(), Some("failback"));
        assert_eq!(noticed.seeds.as_ref().unwrap().looked, None);
        assert_eq!(noticed.tests, None, "nobody has looked");
    }

    #[test]
    fn what_is_kept_is_of_mutants_that_there_are() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mutants = super::super::list::read(workspace).unwrap();
        assert!(read(workspace, &mutants).is_ok());
        let e = read(workspace, &[]).unwrap_err().to_string();
        assert!(e.contains("there is no mutant"), "{e}");
    }
}
