//! `onehold-lab sweep` and `onehold-lab merge`.

use super::draw::Draw;
use super::judge::{self, Judged, Violation};
use super::report::{Found, Report};
use super::shrink::ddmin;
use crate::error::{Context, Error, Result, err};
use crate::properties::PropertyId;
use crate::screen::Screen;
use crate::simulator::incidents::Incident;
use crate::simulator::transcript::Transcript;
use clap::Args;
use std::fs::File;
use std::io::BufWriter;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

/// Shrink at most this many failing seeds.
const MOST_SHRUNK: usize = 5;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Which seeds: from the first up to, but not with, the last.
    #[arg(long, default_value = "0..1000", value_name = "A..B", value_parser = range)]
    pub seeds: (u64, u64),
    /// One seed, printed as a story.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "shard", "minutes", "json"])]
    pub seed: Option<u64>,
    /// The ith (from 0) of n shares of the seeds.
    #[arg(long, default_value = "0/1", value_name = "I/N", value_parser = shard)]
    pub shard: (u64, u64),
    /// Stop after this many minutes, whatever is left.
    #[arg(long, value_name = "M")]
    pub minutes: Option<f64>,
    /// Write the run of that one seed as a trace, for `replay` and `report`.
    #[arg(long, requires = "seed", value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Stop at the first seed that breaks a promise.
    #[arg(long)]
    pub stop_at_first: bool,
    /// How many run at once.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Write what came of it as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Directory for scenarios with the fewest faults that break a promise.
    #[arg(long, default_value = "target/lab", value_name = "DIR")]
    pub scenarios: PathBuf,
}

/// Reports of shards to be added up.
#[derive(Args, Clone, Debug)]
pub struct Merge {
    /// What `sweep --json` wrote.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write the sum as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Default for Options {
    /// What the command line without any option says.
    fn default() -> Self {
        Self {
            seeds: (0, 1_000),
            seed: None,
            shard: (0, 1),
            minutes: None,
            trace: None,
            stop_at_first: false,
            jobs: None,
            json: None,
            scenarios: PathBuf::from("target/lab"),
        }
    }
}

fn range(text: &str) -> std::result::Result<(u64, u64), String> {
    let parsed = text
        .split_once("..")
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.filter(|(a, b)| a < b).ok_or_else(|| {
        "write the first seed and the one after the last, such as 0..1000".to_owned()
    })
}

fn shard(text: &str) -> std::result::Result<(u64, u64), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    parsed
        .filter(|(i, n)| i < n)
        .ok_or_else(|| "write which share, from 0, of how many, such as 0/4 to 3/4".to_owned())
}

/// Runs what was asked for. `Ok(true)` if every promise was kept.
///
/// # Errors
/// If the simulator failed, or a file can't be written.
pub fn run(options: &Options) -> Result<bool> {
    if let Some(seed) = options.seed {
        return tell(seed, options);
    }
    let mut screen = Screen::new();
    let report = sweep(options, &mut screen)?;
    report.lines().iter().for_each(|l| screen.line(l));
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    Ok(report.violations.is_empty())
}

/// Adds up what shards have written. `Ok(true)` if every promise was kept.
///
/// # Errors
/// If a file can't be read or written.
pub fn merge(options: &Merge) -> Result<bool> {
    let shards: Result<Vec<Report>> = options.files.iter().map(|f| Report::read(f)).collect();
    let report = Report::merged(&shards?);
    for found in &report.violations {
        println!("{}", broken(&found.violation));
        println!("    {}", found.command);
    }
    report.lines().iter().for_each(|l| println!("{l}"));
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    Ok(report.violations.is_empty())
}

/// Runs all seeds that were asked for, and says what came of them.
///
/// # Errors
/// If the simulator failed, or a scenario can't be written.
pub fn sweep(options: &Options, screen: &mut Screen) -> Result<Report> {
    let began = Instant::now();
    let span = |m: f64| Duration::try_from_secs_f64(60.0 * m.max(0.0)).unwrap_or(Duration::MAX);
    let limit = options.minutes.map(span);
    let (from, to) = options.seeds;
    let (share, of) = options.shard;
    let next = AtomicU64::new(from.saturating_add(share));
    let stop = AtomicBool::new(false);
    let jobs = options
        .jobs
        .unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    let mut report = Report::default();
    let mut broke: Vec<Violation> = Vec::new();
    let all = (to - from).saturating_sub(share).div_ceil(of);
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..jobs.max(1) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(of, Ordering::Relaxed);
                    let Some(seen) = (seed < to).then(|| run_named(seed)) else {
                        return;
                    };
                    let broke = seen.as_ref().is_ok_and(|s| !s.violations.is_empty());
                    if broke && options.stop_at_first {
                        stop.store(true, Ordering::Relaxed);
                    }
                    if sender.send(seen).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for seen in receiver {
            let seen = seen.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            report.add(&seen);
            if let Some(first) = seen.violations.first() {
                screen.line(&broken(first));
                screen.line(&format!("    {}", command(first.seed)));
                broke.push(first.clone());
            }
            if limit.is_some_and(|limit| began.elapsed() >= limit) {
                stop.store(true, Ordering::Relaxed);
            }
            screen.passing(&progress(&report, broke.len(), all, began.elapsed()));
        }
        Ok::<(), Error>(())
    })?;
    report.took(began.elapsed().as_secs_f64());
    broke.sort_by_key(|v| v.seed); // with several jobs, a later one may end first
    for (n, violation) in broke.into_iter().enumerate() {
        let ends = violation.property != PropertyId::NoPanic;
        let shrunk = ends && n < MOST_SHRUNK && !options.stop_at_first;
        let scenario = shrunk
            .then(|| shrink(&violation, &options.scenarios, screen))
            .transpose()?;
        report.violations.push(Found {
            command: command(violation.seed),
            violation,
            scenario,
        });
    }
    Ok(report)
}

/// Runs a seed in a thread of its name, so that a panic says which it was.
fn run_named(seed: u64) -> Result<Judged> {
    let each = move || {
        let draw = Draw::of(seed);
        judge::run(&draw, &draw.incidents, |_, _| {})
    };
    let thread = thread::Builder::new().name(format!("seed {seed}"));
    let thread = thread.spawn(each).map_err(err)?;
    let seen = thread.join().map_err(|_| err("the run panicked"));
    Ok(seen
        .flatten()
        .unwrap_or_else(|what| Judged::panicked(seed, what.to_string())))
}

fn progress(report: &Report, broken: usize, all: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    format!(
        "{} of {all} seeds, {broken} broken, {:.1} seeds a second, {:.0} times as fast as real time",
        report.seeds,
        report.seeds as f64 / seconds,
        report.simulated_s / seconds
    )
}

fn command(seed: u64) -> String {
    format!("cargo lab sweep --seed {seed}")
}

fn broken(v: &Violation) -> String {
    format!("seed {}: {:.3} s: {}", v.seed, v.at_ms as f64 / 1e3, v.what)
}

/// Looks for the fewest faults that break the same property; says in which file they are.
fn shrink(violation: &Violation, place: &Path, screen: &mut Screen) -> Result<PathBuf> {
    let draw = Draw::of(violation.seed);
    let mut runs = 0;
    let left = ddmin(&draw.incidents, |incidents| {
        runs += 1;
        screen.passing(&format!("seed {}: shrinking, run {runs}", violation.seed));
        judge::breaks(&draw, incidents, violation.property)
    });
    std::fs::create_dir_all(place).context(|| place.display())?;
    let file = place.join(format!("seed-{}.toml", violation.seed));
    std::fs::write(&file, draw.scenario(&left)).context(|| file.display())?;
    let trace = file.with_extension("jsonl");
    write_trace(&draw, &left, &trace)?;
    screen.line(&format!(
        "    {} of {} incidents are enough, in {runs} runs: cargo lab sim {}",
        left.len(),
        draw.incidents.len(),
        file.display()
    ));
    screen.line(&format!("    as a trace: {}", trace.display()));
    for incident in &left {
        let at = incident.at as f64 / 1e6;
        screen.line(&format!("    {at:>10.3}  {incident}"));
    }
    Ok(file)
}

fn write_trace(draw: &Draw, incidents: &[Incident], file: &Path) -> Result<()> {
    let to = File::create(file).context(|| file.display())?;
    judge::trace(draw, incidents, BufWriter::new(to))
        .context(|| file.display())
        .map(drop)
}

/// Prints one seed's run as a story.
fn tell(seed: u64, options: &Options) -> Result<bool> {
    let draw = Draw::of(seed);
    if let Some(file) = &options.trace {
        write_trace(&draw, &draw.incidents, file)?;
    }
    println!("seed {seed}: {}", draw.cluster.promise.says());
    println!("{}", draw.about());
    let mut transcript = None;
    let seen = judge::run(&draw, &draw.incidents, |plan, record| {
        let story = transcript.get_or_insert_with(|| Transcript::new(Rc::new(plan.clone())));
        story.see(record).iter().for_each(|l| println!("{l}"));
    })?;
    if let Some(mut story) = transcript {
        story.end().iter().for_each(|l| println!("{l}"));
    }
    println!();
    for violation in &seen.violations {
        println!("{}", broken(violation));
    }
    match seen.violations.first() {
        None => println!("every promise was kept"),
        Some(first) => drop(shrink(first, &options.scenarios, &mut Screen::new())?),
    }
    Ok(seen.violations.is_empty())
}
