//! `onehold-lab sim`: runs scenarios and says what came of them.

use super::bench::bench;
use super::scenario::{self, Scenario};
use super::trace::RunTrace;
use super::transcript::{Transcript, time};
use super::verdict::{self, Outcome};
use super::watch::Served;
use crate::error::{Context, Result, err};
use clap::Args;
use onehold_core::time::Span;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// What to run.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Scenarios, by name or file; each is printed as a story. Without any: all but the slow ones,
    /// a line each.
    pub scenarios: Vec<String>,
    /// List the scenarios.
    #[arg(long)]
    pub list: bool,
    /// Another seed than the file's.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write what came of each as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write every record, datagrams too, a line each.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write the run of one scenario as a trace, for `replay` and `report`.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Compare the speed with turmoil's alone: the same hosts and ticks, and nothing in them.
    #[arg(long)]
    pub bench: bool,
}

/// Runs what was asked for. `Ok(true)` if everything was as expected.
///
/// # Errors
/// A scenario that can't be read, or a file that can't be written.
pub fn run(options: &Options) -> Result<bool> {
    let in_full = !options.scenarios.is_empty();
    let mut scenarios = if in_full {
        let read = |name: &String| scenario::read(&file_of(name)).map_err(err);
        options.scenarios.iter().map(read).collect::<Result<_>>()?
    } else {
        all()?
    };
    if options.list {
        for s in &scenarios {
            let slow = if s.slow { " (slow: by name only)" } else { "" };
            println!("{:<28} {}{slow}", s.name, s.title);
        }
        return Ok(true);
    }
    if !in_full {
        scenarios.retain(|s| !s.slow);
    }
    if options.bench {
        return bench(&scenarios);
    }
    if let Some(seed) = options.seed {
        scenarios = scenarios.into_iter().map(|s| with_seed(s, seed)).collect();
    }
    let mut log = match &options.log {
        Some(file) => Some((
            file,
            BufWriter::new(File::create(file).context(|| file.display())?),
        )),
        None => None,
    };
    if options.trace.is_some() && scenarios.len() != 1 {
        let what = "a trace is of one run: `--trace FILE` goes with the name of one scenario";
        return Err(err(what));
    }
    let mut outcomes = Vec::new();
    for mut scenario in scenarios {
        scenario.plan.traced = options.trace.is_some();
        let plan = Rc::new(scenario.plan.clone());
        let mut transcript = Transcript::new(Rc::clone(&plan));
        if in_full {
            println!(
                "{}: {}\n{}\n",
                scenario.name, scenario.title, scenario.about
            );
        }
        let mut trace = match &options.trace {
            Some(file) => {
                let to = BufWriter::new(File::create(file).context(|| file.display())?);
                let trace = RunTrace::new(to, Rc::clone(&plan)).context(|| file.display())?;
                Some((file, trace))
            }
            None => None,
        };
        let (mut result, mut traced) = (Ok(()), Ok(()));
        let outcome = verdict::run(scenario, |record| {
            if in_full {
                transcript.see(record).iter().for_each(|l| println!("{l}"));
            }
            if let (Some((_, log)), Ok(())) = (&mut log, &result) {
                result = writeln!(log, "{}", record.line(&plan));
            }
            if let (Some((_, trace)), Ok(())) = (&mut trace, &traced) {
                traced = trace.see(record);
            }
        })?;
        if let Some((file, log)) = &mut log {
            result
                .and_then(|()| log.flush())
                .context(|| file.display())?;
        }
        if let Some((file, trace)) = trace {
            traced
                .and_then(|()| trace.end().map(drop))
                .context(|| file.display())?;
        }
        if in_full {
            transcript.end().iter().for_each(|l| println!("{l}"));
            println!();
        }
        println!("{}", summary(&outcome));
        for failure in &outcome.failures {
            println!("    {}: {}", time(failure.at), failure.what);
        }
        outcomes.push(outcome);
    }
    if let Some(file) = &options.json {
        let all: Vec<Json> = outcomes.iter().map(Json::of).collect();
        let text = serde_json::to_string_pretty(&all).map_err(err)?;
        std::fs::write(file, text + "\n").context(|| file.display())?;
    }
    let bad = outcomes.iter().filter(|o| !o.is_good()).count();
    if !in_full {
        println!("{} scenarios, {bad} not as expected", outcomes.len());
    }
    Ok(bad == 0)
}

/// The longest outage after a member first answered.
fn longest_outage(served: &Served, end: u64) -> Span {
    let first = served.answers.changes().next().map_or(0, |(at, _)| at);
    let outages = served.answers.outages(first, end);
    let longest = outages.iter().map(|(from, until)| until - from).max();
    Span::from_nanos(longest.unwrap_or(0))
}

/// Every scenario of the library, by name.
///
/// # Errors
/// The first that can't be read.
pub fn all() -> Result<Vec<Scenario>> {
    let entries = std::fs::read_dir(SCENARIOS).context(|| SCENARIOS)?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let read = |f: &PathBuf| scenario::read(f).map_err(err);
    files.iter().map(read).collect()
}

/// A scenario's file: as named, or in the library.
#[must_use]
pub fn file_of(name: &str) -> PathBuf {
    let named = Path::new(name);
    if named.extension().is_some() {
        return named.to_owned();
    }
    Path::new(SCENARIOS).join(name).with_added_extension("toml")
}

/// The same with another seed; what the chaos monkey does stays as the file's seed had it.
fn with_seed(mut scenario: Scenario, seed: u64) -> Scenario {
    scenario.plan.seed = seed;
    scenario
}

/// One line: name, simulated time, speed, how long two answered, verdict.
fn summary(o: &Outcome) -> String {
    let verdict = match (o.is_good(), o.two) {
        (true, Span::ZERO) => "as expected".to_owned(),
        (true, two) => format!("as expected: two for {two}"),
        (false, _) => "NOT AS EXPECTED".to_owned(),
    };
    let length = o.scenario.plan.length;
    let name = &o.scenario.name;
    format!("{name:<28} {length:>7}  {:>5.0}x  {verdict}", o.speedup())
}

#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    title: &'a str,
    seed: u64,
    simulated_s: f64,
    took_s: f64,
    speedup: f64,
    as_expected: bool,
    failures: Vec<JsonFailure<'a>>,
    two_ms: f64,
    groups: BTreeMap<&'a str, JsonGroup>,
    counts: &'a BTreeMap<super::file::Counted, u64>,
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    at_s: f64,
    what: &'a str,
}

#[derive(Serialize)]
struct JsonGroup {
    changes: usize,
    longest_outage_ms: f64,
}

impl<'a> Json<'a> {
    fn of(o: &'a Outcome) -> Self {
        let plan = &o.scenario.plan;
        let end = plan.length.as_nanos();
        let groups = (0u8..)
            .map(onehold_core::advert::GroupId)
            .zip(&o.watch.groups);
        Self {
            name: &o.scenario.name,
            title: &o.scenario.title,
            seed: plan.seed,
            simulated_s: plan.length.as_millis_f64() / 1e3,
            took_s: o.took.as_secs_f64(),
            speedup: o.speedup(),
            as_expected: o.is_good(),
            failures: (o.failures.iter())
                .map(|f| JsonFailure {
                    at_s: Span::from_nanos(f.at).as_millis_f64() / 1e3,
                    what: &f.what,
                })
                .collect(),
            two_ms: o.two.as_millis_f64(),
            groups: groups
                .map(|(id, g)| {
                    let group = JsonGroup {
                        changes: g.answers.changes().count(),
                        longest_outage_ms: longest_outage(g, end).as_millis_f64(),
                    };
                    (plan.group_name(id), group)
                })
                .collect(),
            counts: &o.watch.counts,
        }
    }
}
