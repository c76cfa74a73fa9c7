//! Runs what a seed drew: the scenario that it wrote, judged as `cargo lab sim` would and by
//! nothing else.

use super::cover::{Cover, Coverage};
use super::draw::Draw;
use crate::error::{Result, err};
use crate::properties::PropertyId;
use crate::simulator::incidents::Incident;
use crate::simulator::plan::Plan;
use crate::simulator::record::Record;
use crate::simulator::scenario::{self, Scenario};
use crate::simulator::trace::RunTrace;
use crate::simulator::verdict;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

/// A promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which seed's run.
    pub seed: u64,
    /// Which property.
    pub property: PropertyId,
    /// Of which group.
    pub group: String,
    /// When, in milliseconds of true time.
    pub at_ms: u64,
    /// What was true.
    pub what: String,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What it broke, in the order of time.
    pub violations: Vec<Violation>,
    /// What happened in it.
    pub coverage: Coverage,
    /// When a member last started or stopped answering, in percent of the bound after the faults
    /// had stopped.
    pub settled_percent: f64,
    /// How long it was, in microseconds.
    pub simulated: u64,
}

impl Judged {
    /// A run that could not go on: a process panicked.
    #[must_use]
    pub fn panicked(seed: u64, what: String) -> Self {
        let violation = Violation {
            seed,
            property: PropertyId::NoPanic,
            group: "any".to_owned(),
            at_ms: 0,
            what,
        };
        Self {
            violations: vec![violation],
            coverage: Coverage::new(),
            settled_percent: 0.0,
            simulated: 0,
        }
    }
}

/// Runs a seed with these of its incidents, and shows every record to `each`.
///
/// # Errors
/// If the simulator itself failed.
pub fn run(
    draw: &Draw,
    incidents: &[Incident],
    each: impl FnMut(&Plan, &Record),
) -> Result<Judged> {
    judge(draw, scenario(draw, incidents)?, each)
}

/// The same, and writes it as a trace.
///
/// # Errors
/// If the simulator itself failed, or `to` can't be written.
pub fn trace(draw: &Draw, incidents: &[Incident], to: impl Write) -> Result<Judged> {
    let mut scenario = scenario(draw, incidents)?;
    scenario.plan.traced = true;
    let said = |e: std::io::Error| e.to_string();
    let mut trace = RunTrace::new(to, Rc::new(scenario.plan.clone())).map_err(said)?;
    let mut written = Ok(());
    let seen = judge(draw, scenario, |_, record| {
        if written.is_ok() {
            written = trace.see(record);
        }
    })?;
    written.and_then(|()| trace.end()).map_err(said)?;
    Ok(seen)
}

fn scenario(draw: &Draw, incidents: &[Incident]) -> Result<Scenario> {
    let name = format!("seed-{}.toml", draw.seed);
    let scenario = scenario::parse(Path::new(&name), draw.scenario(incidents));
    scenario.map_err(err)
}

fn judge(draw: &Draw, scenario: Scenario, mut each: impl FnMut(&Plan, &Record)) -> Result<Judged> {
    let mut cover = Cover::default();
    let plan = scenario.plan.clone();
    let outcome = verdict::run(scenario, |record| {
        cover.see(record);
        each(&plan, record);
    })?;
    let last = outcome
        .watch
        .groups
        .iter()
        .filter_map(|g| g.answers.changes().last());
    let last = last.map(|(at, _)| at / 1_000).max().unwrap_or(0);
    let after = last.saturating_sub(draw.calm);
    let violation = |f: verdict::Failure| Violation {
        seed: draw.seed,
        property: f.property,
        group: plan.group_name(f.group).to_owned(),
        at_ms: f.at / 1_000_000,
        what: f.what,
    };
    Ok(Judged {
        violations: outcome.failures.into_iter().map(violation).collect(),
        settled_percent: 100.0 * after as f64 / draw.bound as f64,
        simulated: draw.length,
        coverage: cover.of(draw.seed),
    })
}

/// Whether a run with these incidents breaks the same property.
#[must_use]
pub fn breaks(draw: &Draw, incidents: &[Incident], property: PropertyId) -> bool {
    let seen = run(draw, incidents, |_, _| {});
    seen.is_ok_and(|s| s.violations.iter().any(|v| v.property == property))
}
