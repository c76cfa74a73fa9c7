//! Runs every mutant until something notices it.

use super::engine::{Engine, Trial, TrialResult};
use super::list::{self, Kind, Mutant, SWEEP, TESTS};
use super::report::{Finding, Report};
use super::{copy, list::LIST, verdicts};
use crate::error::{Context, Result, err};
use crate::model::configs::{self, Set};
use crate::screen::Screen;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// What is run.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// These mutants only; all if none is named.
    #[arg(value_name = "NAME")]
    pub only: Vec<String>,
    /// Sweep these seeds instead of what the list names, and say within how many the mutant is
    /// found. Only mutants that break what a sweep can see are run.
    #[arg(long, value_name = "A..B")]
    pub sweep: Option<String>,
    /// Run the core's own tests only, instead of what the list names.
    #[arg(long, conflicts_with = "sweep")]
    pub tests: bool,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub jobs: usize,
    /// Write what came of it as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Options {
    /// How long one configuration, or all seeds, may take with one mutant.
    const fn limit(&self) -> Duration {
        Duration::from_secs(if self.sweep.is_some() { 3_600 } else { 120 })
    }

    /// What must pass with no mutant on: the quick set, or what the named mutants name.
    fn baseline(&self) -> Vec<String> {
        if self.sweep.is_some() || self.tests || !self.only.is_empty() {
            return Vec::new();
        }
        // A property that is broken there anyway shows nothing.
        let quick = configs::all().into_iter();
        let quick = quick.filter(|c| c.set == Set::Quick && c.expected.is_none());
        quick.map(|c| c.name.to_owned()).collect()
    }
}

/// Runs what was asked for. `Ok(true)` if every mutant was noticed by what the list names; one that
/// a sweep or the tests alone do not notice is not wrong.
///
/// # Errors
/// As [`run`].
pub fn command(options: &Options) -> Result<bool> {
    let report = run(options, &AtomicBool::new(false))?;
    let as_listed = options.sweep.is_none() && !options.tests;
    Ok(!as_listed || report.unexpected().next().is_none())
}

/// Makes the mutated copy, builds it, and runs every mutant until something notices it. Prints the
/// table, keeps the verdicts, and writes the file that is asked for. [`Report::unexpected`] says
/// whether all is well.
///
/// # Errors
/// If the list does not fit the sources, the copy can't be built or does not behave as the
/// original, a run fails but not by a broken property, or `stop` was set.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Report> {
    let workspace = list::workspace()?;
    let all = list::read(&workspace)?;
    let target = workspace.join("target/mutants");
    let source = target.join("src");
    copy::lay_out(&workspace, &source, &all)?;
    let mut mutants = list::only(all.clone(), &options.only)?;
    if options.tests {
        let check = vec![TESTS.to_owned()];
        mutants.iter_mut().for_each(|m| m.check.clone_from(&check));
    }
    if let Some(seeds) = &options.sweep {
        mutants.retain(|m| matches!(m.kind, Kind::Safety | Kind::Liveness));
        let check = vec![format!("{SWEEP}{seeds}")];
        mutants.iter_mut().for_each(|m| m.check.clone_from(&check));
    }

    let mut screen = Screen::new();
    screen.passing("building the mutated copy (the first time takes some minutes)");
    let tests = mutants.iter().any(|m| m.check.iter().any(|c| c == TESTS));
    let built = target.join("build");
    let runs = target.join("runs");
    let engine = Engine::build(&source, &built, runs, tests, options.limit(), stop)?;
    check_baseline(&engine, options, &mutants, &mut screen)?;

    let findings = run_all(&engine, &mutants, options.jobs, &mut screen)?;
    let report = Report { mutants: findings };
    for line in report.table() {
        screen.line(&line);
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report).context(|| "writing JSON")?;
        fs::write(path, text + "\n").context(|| path.display())?;
    }
    verdicts::keep(&workspace, &all, &report.mutants)?;
    screen.line("the verdicts are kept; `cargo lab tables` writes the book's tables from them");
    Ok(report)
}

/// With no mutant on, the copy is the original.
fn check_baseline(
    engine: &Engine<'_>,
    options: &Options,
    mutants: &[Mutant],
    screen: &mut Screen,
) -> Result<()> {
    let named = mutants.iter().flat_map(|m| &m.check);
    let quick = options.baseline();
    let mut baseline: BTreeSet<&String> = match quick.is_empty() {
        true => named.clone().collect(),
        false => quick.iter().collect(),
    };
    baseline.extend(named.filter(|c| *c == TESTS));
    for configuration in baseline {
        screen.passing(&format!("no mutant: {configuration}"));
        let copy = engine.try_on(None, configuration)?;
        if copy.result != TrialResult::Passed {
            return Err(err(format!(
                "with no mutant on, the mutated copy does not pass {configuration} ({:?}): if the \
                 original does, some `replace` in {LIST} changes more than it should",
                copy.result
            )));
        }
        // A sweep says nothing of states.
        let compares = options.sweep.is_none() && configuration != TESTS;
        let original = std::env::current_exe().ok().filter(|_| compares);
        if let Some(original) = original {
            compare(&copy, &engine.try_with(&original, configuration)?)?;
        }
    }
    Ok(())
}

fn compare(copy: &Trial, original: &Trial) -> Result<()> {
    let both = copy.exhaustive && original.exhaustive;
    if both && copy.states != original.states {
        return Err(err(format!(
            "with no mutant on, the mutated copy has {:?} states in {} where the original has {:?}: \
             some `replace` in {LIST} changes more than it should",
            copy.states, copy.configuration, original.states
        )));
    }
    Ok(())
}

/// Runs the mutants, several at once; the findings are in the list's order.
fn run_all(
    engine: &Engine<'_>,
    mutants: &[Mutant],
    jobs: usize,
    screen: &mut Screen,
) -> Result<Vec<Finding>> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || work(engine, mutants, next, &sender));
        }
        drop(sender);
        let found = collect(&receiver, mutants.len(), screen);
        next.store(mutants.len(), Ordering::Relaxed); // after an error: no more
        found
    })
}

fn work(
    engine: &Engine<'_>,
    mutants: &[Mutant],
    next: &AtomicUsize,
    sender: &Sender<(usize, Result<Finding>)>,
) {
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let Some(mutant) = mutants.get(n) else { return };
        let found = run_one(engine, mutant);
        if sender.send((n, found)).is_err() {
            return;
        }
    }
}

fn run_one(engine: &Engine<'_>, mutant: &Mutant) -> Result<Finding> {
    let mut tried = Vec::new();
    for configuration in &mutant.check {
        let one = engine.try_on(Some(&mutant.name), configuration)?;
        let noticed = matches!(one.result, TrialResult::Broke { .. });
        tried.push(one);
        if noticed {
            break;
        }
    }
    Ok(Finding::of(mutant, tried))
}

fn collect(
    receiver: &Receiver<(usize, Result<Finding>)>,
    all: usize,
    screen: &mut Screen,
) -> Result<Vec<Finding>> {
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    let mut unexpected = 0;
    for (n, found) in receiver {
        let found = found?;
        unexpected += usize::from(!found.is_as_expected());
        let last = &found.name;
        let done = findings.len() + 1;
        screen.passing(&format!("{done} of {all}, {unexpected} unexpected: {last}"));
        findings.push((n, found));
    }
    findings.sort_by_key(|(n, _)| *n);
    Ok(findings.into_iter().map(|(_, f)| f).collect())
}
