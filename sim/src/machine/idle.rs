//! `onehold-lab idle`: what the daemons cost while nothing happens, and whether the address stays.

use crate::error::{Context, Result, err};
use crate::machine::demo::{Beside, ClusterOptions, Keepalived};
use crate::machine::netns::privilege::Privilege;
use crate::machine::netns::{CANDIDATES, Cluster, FLOATING, Host, Setup, Sightings, Web};
use crate::screen::Screen;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// How often the observer asks: often enough to see any move, seldom enough to cost little.
const PERIOD: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(3);
const BOUND: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub seconds: u64,
    /// With this many checks on each candidate, each of which fetches a page every second.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=64))]
    pub checks: u8,
    /// Beside this many busy loops.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub busy: usize,
    /// Lose so many percent of the frames between the candidates.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub loss: f64,
    /// And then measure another program for as long, on the same hosts, at the same interval.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub beside: Option<Beside>,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The counters of one member at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    packets: u64,
    used: Used,
    agent: Option<Duration>,
}

/// What a process has used up so far: of all its threads.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    cpu: Duration,
    /// How often one of them waited, and was woken up.
    waits: u64,
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.waits += other.waits;
    }
}

/// What is resident of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Memory {
    /// All of it.
    rss_kib: u64,
    /// Its own: what no file has.
    own_kib: u64,
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.rss_kib += other.rss_kib;
        self.own_kib += other.own_kib;
    }
}

/// What one member's daemon cost.
#[derive(Clone, Debug, Serialize)]
struct Cost {
    member: String,
    packets_per_second: f64,
    cpu_seconds_per_hour: f64,
    wakeups_per_second: f64,
    #[serde(flatten)]
    memory: Memory,
    agent: Option<AgentCost>,
}

impl Cost {
    fn new(member: &str, before: Sample, after: Sample, seconds: f64, memory: Memory) -> Self {
        let cpu = after.used.cpu.saturating_sub(before.used.cpu);
        Self {
            member: member.to_owned(),
            packets_per_second: (after.packets - before.packets) as f64 / seconds,
            cpu_seconds_per_hour: cpu.as_secs_f64() / seconds * 3600.0,
            wakeups_per_second: after.used.waits.saturating_sub(before.used.waits) as f64 / seconds,
            memory,
            agent: None,
        }
    }
}

/// What the agent beside it cost.
#[derive(Clone, Debug, Serialize)]
struct AgentCost {
    percent_of_a_core: f64,
    rss_kib: u64,
}

/// Starts a cluster, leaves it alone, and reports. Returns whether the address never moved.
///
/// # Errors
/// If the lab itself fails, no holder comes, or `stop` was set.
pub fn measure(
    options: &Options,
    binary: PathBuf,
    privilege: Privilege,
    stop: &AtomicBool,
) -> Result<bool> {
    let beside = match options.beside {
        Some(Beside::Keepalived) => Some(Keepalived::find(privilege, Web::Embedded)?),
        None => None,
    };
    let mut screen = Screen::new();
    let mut setup = options.cluster.setup();
    if options.checks > 0 {
        let checks = (1..=options.checks)
            .map(|n| format!("[groups.web.checks.page{n}]\nhttp = \"http://127.0.0.1/\"\n"));
        setup = setup.web(Web::Embedded).checks(&checks.collect::<String>());
    }
    let mut cluster = Cluster::new(setup, &binary)?;
    let observer = cluster.observe(FLOATING, PERIOD)?;
    cluster.start_all()?;
    let began = Instant::now();
    while observer.holders() != ["lb0"] {
        if began.elapsed() > BOUND {
            let log = cluster.log("lb0");
            return Err(err(format!(
                "lb0 did not take hold within {BOUND:?}; its log says:\n{log}"
            )));
        }
        pause(Duration::from_millis(20), stop)?;
    }
    if options.loss > 0.0 {
        cluster.lan().lose(options.loss, &CANDIDATES)?;
    }
    pause(SETTLE, stop)?;

    let load = Load::start(options.busy);
    let from = Instant::now();
    let before = sample_all(&mut cluster)?;
    wait(options, from, &mut screen, stop)?;
    let after = sample_all(&mut cluster)?;
    let to = Instant::now();
    drop(load);

    let seconds = (to - from).as_secs_f64();
    let mut costs = Vec::new();
    for ((name, a), b) in cluster.members().iter().zip(before).zip(after) {
        let memory = memory(cluster.id(name)?)?;
        let agent = match (a.agent, b.agent, cluster.agent_id(name)) {
            (Some(a), Some(b), Some(id)) => Some(AgentCost {
                percent_of_a_core: b.saturating_sub(a).as_secs_f64() / seconds * 100.0,
                rss_kib: rss(id)?,
            }),
            _ => None,
        };
        costs.push(Cost {
            agent,
            ..Cost::new(name, a, b, seconds, memory)
        });
    }
    let seen = observer.sightings(from, to);
    let status = cluster.status("lb0").unwrap_or_default();
    report(&mut screen, &costs, &seen, seconds, options);
    if let Some(wrong) = failing(&status, options.checks) {
        return Err(err(wrong));
    }
    let moved = seen.changes > 0 || observer.holders() != ["lb0"];
    drop((observer, cluster));
    let version = beside.as_ref().map(|it| it.version.clone());
    let others = match beside {
        Some(keepalived) => measure_other(keepalived, options, &mut screen, stop)?,
        None => Vec::new(),
    };
    if let Some(path) = &options.json {
        let mut all = figures(options, &binary, &costs, &seen, seconds, &status);
        all["beside"] = json!(version);
        all["others"] = json!(others);
        let text = serde_json::to_string_pretty(&all).context(|| "writing JSON")?;
        fs::write(path, text + "\n").context(|| path.display())?;
    }
    Ok(!moved)
}

fn wait(options: &Options, from: Instant, screen: &mut Screen, stop: &AtomicBool) -> Result<()> {
    let length = Duration::from_secs(options.seconds);
    while from.elapsed() < length {
        let left = length.saturating_sub(from.elapsed()).as_secs();
        screen.passing(&format!("idle: {left} s left"));
        pause(Duration::from_millis(200).min(length), stop)?;
    }
    Ok(())
}

/// Measures keepalived on the same hosts: all of its processes there, which look at nothing but each
/// other.
fn measure_other(
    keepalived: Keepalived,
    options: &Options,
    screen: &mut Screen,
    stop: &AtomicBool,
) -> Result<Vec<Cost>> {
    let mut cluster = Cluster::new(Setup::survivor(), "keepalived".as_ref())?;
    let version = keepalived.version.clone();
    let observer = cluster.observe(FLOATING, PERIOD)?;
    let interval = interval(&options.cluster)?;
    keepalived.start(&mut cluster, interval, false)?;
    let began = Instant::now();
    while observer.holders() != ["lb0"] {
        if began.elapsed() > BOUND {
            return Err(err(format!("keepalived did not begin within {BOUND:?}")));
        }
        pause(Duration::from_millis(20), stop)?;
    }
    pause(SETTLE, stop)?;
    let load = Load::start(options.busy);
    let from = Instant::now();
    let all = CANDIDATES.map(|name| cluster.id(name).map(with_children));
    let all = all.into_iter().collect::<Result<Vec<_>>>()?;
    let sample = |ids: &Vec<u32>| -> Result<Sample> {
        let mut used = Used::default();
        for id in ids {
            used += used_by(*id)?;
        }
        // It sends no UDP.
        Ok(Sample {
            packets: 0,
            used,
            agent: None,
        })
    };
    let before = all.iter().map(sample).collect::<Result<Vec<_>>>()?;
    wait(options, from, screen, stop)?;
    let after = all.iter().map(sample).collect::<Result<Vec<_>>>()?;
    let seconds = from.elapsed().as_secs_f64();
    let seen = observer.sightings(from, Instant::now());
    drop(load);
    let mut costs = Vec::new();
    for (((name, ids), a), b) in CANDIDATES.iter().zip(&all).zip(before).zip(after) {
        let mut resident = Memory::default();
        for id in ids {
            resident += memory(*id)?;
        }
        costs.push(Cost::new(name, a, b, seconds, resident));
    }
    let every = interval.as_secs_f64() * 1e3;
    screen.line(&format!(
        "{version}, an advertisement every {every:.0} ms: the address moved {} times",
        seen.changes
    ));
    costs.iter().for_each(|cost| line(screen, cost));
    Ok(costs)
}

/// The interval of the cluster that is described.
pub(super) fn interval(cluster: &ClusterOptions) -> Result<Duration> {
    let text = match (&cluster.interval, cluster.profile.as_deref()) {
        (Some(text), _) => text.as_str(),
        (None, Some("fast")) => "20ms",
        (None, _) => "100ms",
    };
    let ms = text.trim().strip_suffix("ms");
    let ms = ms.and_then(|ms| ms.trim().parse().ok());
    let ms = ms.ok_or_else(|| err(format!("--beside needs an interval in ms, not {text}")))?;
    Ok(Duration::from_millis(ms))
}

/// A process, and those that it started.
fn with_children(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    for number in numbers {
        let text = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // pid (name) state parent …
        let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let parent = rest.split(' ').nth(1).and_then(|word| word.parse().ok());
        if parent.is_some_and(|parent| all.contains(&parent)) {
            all.push(number);
        }
    }
    all
}

fn report(screen: &mut Screen, costs: &[Cost], seen: &Sightings, seconds: f64, options: &Options) {
    let mut under = String::new();
    if options.busy > 0 {
        under += &format!(" under {} busy loops", options.busy);
    }
    if options.loss > 0.0 {
        under += &format!(
            " with {} % of the candidates' frames to each other lost",
            options.loss
        );
    }
    screen.line(&format!(
        "{seconds:.0} s idle{under}: the address moved {} times, was unanswered for {:.0} ms at most",
        seen.changes,
        seen.outage.as_secs_f64() * 1e3
    ));
    for cost in costs {
        line(screen, cost);
        if let Some(agent) = &cost.agent {
            screen.line(&format!(
                "  {:<8} {:>6} checks/s       {:>6.2} % of a core  {:>3.1} MiB",
                " agent",
                options.checks,
                agent.percent_of_a_core,
                agent.rss_kib as f64 / 1024.0
            ));
        }
    }
}

fn line(screen: &mut Screen, cost: &Cost) {
    let mib = |kib: u64| kib as f64 / 1024.0;
    screen.line(&format!(
        "  {:<8} {:>6.1} datagrams/s sent  {:>6.2} CPU s/h  {:>5.1} wake-ups/s  {:>5.1} MiB, {:.1} of them its own",
        cost.member,
        cost.packets_per_second,
        cost.cpu_seconds_per_hour,
        cost.wakeups_per_second,
        mib(cost.memory.rss_kib),
        mib(cost.memory.own_kib)
    ));
}

/// What is wrong with what was measured: not as many checks as were wanted pass.
fn failing(status: &Value, wanted: u8) -> Option<String> {
    let checks = status["groups"][0]["checks"].as_array();
    let passing = |check: &&Value| check["passing"] == true;
    let pass = checks.map_or(0, |all| all.iter().filter(passing).count());
    (pass != usize::from(wanted)).then(|| format!("{pass} of {wanted} checks pass on lb0"))
}

fn figures(
    options: &Options,
    binary: &PathBuf,
    costs: &[Cost],
    seen: &Sightings,
    seconds: f64,
    status: &Value,
) -> Value {
    json!({
        "binary": binary,
        "binary_bytes": fs::metadata(binary).map(|m| m.len()).ok(),
        "guard": status["guard"],
        "timing": status["timing"],
        "arbitration": options.cluster.arbitration,
        "seconds": seconds,
        "busy": options.busy,
        "loss_percent": options.loss,
        "checks": options.checks,
        "members": costs,
        "role_changes": seen.changes,
        "outage_ms": seen.outage.as_secs_f64() * 1e3,
        "dual_ms": seen.dual.as_secs_f64() * 1e3,
    })
}

fn pause(length: Duration, stop: &AtomicBool) -> Result<()> {
    sleep(length);
    match stop.load(Ordering::Relaxed) {
        true => Err(err("interrupted")),
        false => Ok(()),
    }
}

fn sample_all(cluster: &mut Cluster) -> Result<Vec<Sample>> {
    if let Some(died) = cluster.died()? {
        return Err(err(died));
    }
    let members = cluster.members().iter();
    let sample = |name: &&str| {
        Ok(Sample {
            packets: datagrams(cluster.host(name))?,
            used: used_by(cluster.id(name)?)?,
            agent: cluster.agent_id(name).map(cpu).transpose()?,
        })
    };
    members.map(sample).collect()
}

/// UDP datagrams that the host has sent: the daemon's alone, for nothing else there sends any.
fn datagrams(host: &Host) -> Result<u64> {
    host.call(|| {
        let path = "/proc/thread-self/net/snmp";
        let text = fs::read_to_string(path).context(|| path)?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let names = lines.next().unwrap_or_default().split(' ');
        let values = lines.next().unwrap_or_default().split(' ');
        let mut pairs = names.zip(values);
        let value = pairs.find(|(name, _)| *name == "OutDatagrams");
        let value = value.and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| err(format!("{path} has no Udp OutDatagrams")))
    })?
}

/// The processor time that all threads of a process have had, to the nanosecond.
pub(super) fn cpu(id: u32) -> Result<Duration> {
    used_by(id).map(|used| used.cpu)
}

fn used_by(id: u32) -> Result<Used> {
    let tasks = format!("/proc/{id}/task");
    let mut all = Used::default();
    for task in fs::read_dir(&tasks).context(|| &tasks)?.flatten() {
        let read = |name: &str| {
            let path = task.path().join(name);
            let text = fs::read_to_string(&path).context(|| path.display());
            text.map(|text| (path, text))
        };
        let (path, text) = read("schedstat")?;
        let ran = text.split(' ').next().and_then(|ran| ran.parse().ok());
        let ran = ran.ok_or_else(|| err(format!("{} can't be parsed", path.display())))?;
        let (path, text) = read("status")?;
        let waits = field(&text, "voluntary_ctxt_switches:");
        all += Used {
            cpu: Duration::from_nanos(ran),
            waits: waits.ok_or_else(|| err(format!("{} can't be parsed", path.display())))?,
        };
    }
    Ok(all)
}

/// The number in a line of a process's `status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The resident set of a process, in KiB.
pub(super) fn rss(id: u32) -> Result<u64> {
    memory(id).map(|memory| memory.rss_kib)
}

fn memory(id: u32) -> Result<Memory> {
    let path = format!("/proc/{id}/status");
    let text = fs::read_to_string(&path).context(|| &path)?;
    let (rss, own) = (field(&text, "VmRSS:"), field(&text, "RssAnon:"));
    let both = rss
        .zip(own)
        .map(|(rss_kib, own_kib)| Memory { rss_kib, own_kib });
    both.ok_or_else(|| err(format!("{path} has no VmRSS, or no RssAnon")))
}

/// Threads that do nothing as fast as they can, until they are dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A loop can't panic.
            let _ = thread.join();
        }
    }
}
