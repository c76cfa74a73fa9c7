//! `onehold-lab idle`: what the daemons cost while nothing happens, and whether the address stays.

use crate::error::{Context, Result, err};
use crate::machine::demo::ClusterOptions;
use crate::machine::netns::{Cluster, FLOATING, Host, Sightings, Web};
use crate::screen::Screen;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
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
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The counters of one member at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    packets: u64,
    cpu: Duration,
    agent: Option<Duration>,
}

/// What one member's daemon cost.
#[derive(Clone, Debug, Serialize)]
struct Cost {
    member: String,
    packets_per_second: f64,
    cpu_seconds_per_hour: f64,
    rss_kib: u64,
    agent: Option<AgentCost>,
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
pub fn measure(options: &Options, binary: PathBuf, stop: &AtomicBool) -> Result<bool> {
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
    pause(SETTLE, stop)?;

    let load = Load::start(options.busy);
    let from = Instant::now();
    let before = sample_all(&mut cluster)?;
    let length = Duration::from_secs(options.seconds);
    while from.elapsed() < length {
        let left = length.saturating_sub(from.elapsed()).as_secs();
        screen.passing(&format!("idle: {left} s left"));
        pause(Duration::from_millis(200).min(length), stop)?;
    }
    let after = sample_all(&mut cluster)?;
    let to = Instant::now();
    drop(load);

    let seconds = (to - from).as_secs_f64();
    let mut costs = Vec::new();
    for ((name, a), b) in cluster.members().iter().zip(before).zip(after) {
        costs.push(Cost {
            member: (*name).to_owned(),
            packets_per_second: (b.packets - a.packets) as f64 / seconds,
            cpu_seconds_per_hour: (b.cpu.saturating_sub(a.cpu)).as_secs_f64() / seconds * 3600.0,
            rss_kib: rss(cluster.id(name)?)?,
            agent: match (a.agent, b.agent, cluster.agent_id(name)) {
                (Some(a), Some(b), Some(id)) => Some(AgentCost {
                    percent_of_a_core: b.saturating_sub(a).as_secs_f64() / seconds * 100.0,
                    rss_kib: rss(id)?,
                }),
                _ => None,
            },
        });
    }
    let seen = observer.sightings(from, to);
    let status = cluster.status("lb0").unwrap_or_default();
    report(&mut screen, &costs, &seen, seconds, options);
    if let Some(wrong) = failing(&status, options.checks) {
        return Err(err(wrong));
    }
    if let Some(path) = &options.json {
        let all = figures(options, &binary, &costs, &seen, seconds, &status);
        let text = serde_json::to_string_pretty(&all).context(|| "writing JSON")?;
        fs::write(path, text + "\n").context(|| path.display())?;
    }
    Ok(seen.changes == 0 && observer.holders() == ["lb0"])
}

fn report(screen: &mut Screen, costs: &[Cost], seen: &Sightings, seconds: f64, options: &Options) {
    screen.line(&format!(
        "{seconds:.0} s idle{}: the address moved {} times, was unanswered for {:.0} ms at most",
        match options.busy {
            0 => String::new(),
            n => format!(" under {n} busy loops"),
        },
        seen.changes,
        seen.outage.as_secs_f64() * 1e3
    ));
    for cost in costs {
        screen.line(&format!(
            "  {:<8} {:>6.1} packets/s sent  {:>6.2} CPU s/h  {:>6.1} MiB",
            cost.member,
            cost.packets_per_second,
            cost.cpu_seconds_per_hour,
            cost.rss_kib as f64 / 1024.0
        ));
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
            cpu: cpu(cluster.id(name)?)?,
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
    let tasks = format!("/proc/{id}/task");
    let mut nanos = 0;
    for task in fs::read_dir(&tasks).context(|| &tasks)?.flatten() {
        let path = task.path().join("schedstat");
        let text = fs::read_to_string(&path).context(|| path.display())?;
        let ran = text
            .split(' ')
            .next()
            .and_then(|ran| ran.parse::<u64>().ok());
        nanos += ran.ok_or_else(|| err(format!("{} can't be parsed", path.display())))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The resident set of a process, in KiB.
pub(super) fn rss(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let text = fs::read_to_string(&path).context(|| &path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib = kib.and_then(|kib| kib.trim().parse().ok());
    kib.ok_or_else(|| err(format!("{path} has no VmRSS")))
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
