//! `onehold-lab load`: many clusters against one real witness, over this machine's loopback; or a
//! flood against a holder, in network namespaces.

mod candidates;
mod flood;
mod holder;
mod process;
mod qnetd;
mod witness;

use crate::error::{Context, Result, err};
use crate::machine::demo::ClusterOptions;
use crate::screen::Screen;
use candidates::{Candidates, Counts};
use flood::Flood;
use process::{Running, Used};
use qnetd::Qnetd;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use witness::Witness;

/// How long it may take until every cluster has a holder.
const BOUND: Duration = Duration::from_secs(120);
/// How long they are left alone before anything is counted.
const SETTLE: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The cluster; all of them, if there are many.
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// So many clusters at one witness, over loopback. Without it, one in network namespaces.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub clusters: Option<u32>,
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub seconds: u64,
    /// So many holders lose their power in each second, and come back five seconds later.
    #[arg(long, value_name = "K", default_value_t = 0, requires = "clusters")]
    pub failing: u32,
    /// So many per cent of the time the witness is stopped while it is measured, for some of each 10
    /// ms: as on a machine that is too slow, or that others use.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, requires = "clusters",
        value_parser = clap::value_parser!(u32).range(..=90))]
    pub slowed: u32,
    /// So many datagrams in each second that no member sends: forged, replayed, cut short, foreign.
    /// At the witness, or else at the holder.
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub flood: u32,
    /// The flood comes from the members' own addresses and ports.
    #[arg(long, requires = "flood")]
    pub spoofed: bool,
    /// And then measure another witness for as long, with as many clusters, on this host.
    #[arg(long, value_enum, value_name = "PROGRAM", requires = "clusters")]
    pub beside: Option<Beside>,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What can be measured beside Onehold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Beside {
    /// corosync-qnetd, the witness of corosync's clusters, from PATH.
    Qnetd,
}

/// Measures. Returns whether no address moved that should not.
///
/// # Errors
/// If the lab itself fails, a holder does not come, or `stop` was set.
pub fn measure(options: &Options, binary: &Path, stop: &AtomicBool) -> Result<bool> {
    let (figures, well) = match options.clusters {
        Some(clusters) => at_witness(options, clusters, binary, stop)?,
        None => holder::flood(options, binary, stop)?,
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&figures).context(|| "writing JSON")?;
        fs::write(path, text + "\n").context(|| path.display())?;
    }
    Ok(well)
}

fn at_witness(
    options: &Options,
    clusters: u32,
    binary: &Path,
    stop: &AtomicBool,
) -> Result<(Value, bool)> {
    let beside = match options.beside {
        Some(Beside::Qnetd) => Some(Qnetd::find()?),
        None => None,
    };
    let mut screen = Screen::new();
    screen.passing(&format!("writing {clusters} files"));
    let mut witness = Witness::prepare(clusters, &options.cluster)?;
    let mut candidates = Candidates::load(&witness)?;
    screen.passing("starting the witness");
    let began = Instant::now();
    witness.start(binary)?;
    let loaded = began.elapsed();
    let began = Instant::now();
    while candidates.held() < clusters as usize {
        candidates.run(Duration::from_millis(100))?;
        screen.passing(&format!("{} of {clusters} held", candidates.held()));
        alive(&mut witness.process, stop)?;
        if began.elapsed() > BOUND {
            let log = witness.process.log();
            return Err(err(format!(
                "only {} of {clusters} clusters have a holder after {BOUND:?}, in which nodes of the lab overslept \
                 {} times: if that is many, this machine can't carry so many clusters.{}\nthe witness's log ends \
                 with:\n{log}",
                candidates.held(),
                candidates.counts().overslept,
                candidates.first_without_a_holder()
            )));
        }
    }
    let formed = began.elapsed();
    candidates.run(SETTLE)?;

    let mut flood = Flood::start(options, &candidates, witness.address())?;
    let slowed = witness.process.slow_down(options.slowed)?;
    candidates.run(Duration::from_millis(500))?;
    let (from, before) = (Instant::now(), witness.process.used()?);
    let load_before = cpu_of_this_process()?;
    candidates.count_from_here();
    let flooded_before = flood.sent();
    let length = Duration::from_secs(options.seconds);
    let mut second = 0;
    while from.elapsed() < length {
        if from.elapsed().as_secs() >= second {
            second += 1;
            candidates.fail(options.failing as usize);
        }
        candidates.run(Duration::from_millis(100).min(length.saturating_sub(from.elapsed())))?;
        screen.passing(&format!(
            "{} s left",
            (length.saturating_sub(from.elapsed())).as_secs()
        ));
        alive(&mut witness.process, stop)?;
    }
    drop(slowed);
    let (after, seconds) = (witness.process.used()?, from.elapsed().as_secs_f64());
    let load_after = cpu_of_this_process()?;
    let flooded = flood.sent() - flooded_before;
    let counts = candidates.counts();
    flood.stop();
    flood.was_sent()?;

    let used = after.since(&before);
    let figures = figures(options, clusters, seconds, loaded, formed, &used, &counts);
    let own = (load_after - load_before).as_secs_f64() / seconds;
    let figures = with(figures, "lab_cores", json!(own));
    let figures = with(figures, "flood_per_second", json!(flooded as f64 / seconds));
    print(&mut screen, &figures);
    drop((candidates, witness));
    let figures = match beside {
        Some(qnetd) => {
            let others = qnetd.measure(clusters, options, &mut screen, stop)?;
            let figures = with(figures, "beside", json!(qnetd.version));
            with(figures, "others", json!(others))
        }
        None => figures,
    };
    Ok((figures, counts.unwanted() == 0))
}

fn alive(process: &mut Running, stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(err("interrupted"));
    }
    process.alive()
}

fn with(mut figures: Value, key: &str, value: Value) -> Value {
    figures[key] = value;
    figures
}

fn figures(
    options: &Options,
    clusters: u32,
    seconds: f64,
    loaded: Duration,
    formed: Duration,
    used: &Used,
    counts: &Counts,
) -> Value {
    let each = |total: f64| total / f64::from(clusters);
    let cores = used.cpu.as_secs_f64() / seconds;
    let ms = |at: f64| counts.delays.at(at).map(|d| d.as_secs_f64() * 1e3);
    let datagrams = (counts.sent + counts.received).max(1) as f64;
    json!({
        "clusters": clusters,
        "seconds": seconds,
        "failing_per_second": options.failing,
        "slowed_percent": options.slowed,
        "loaded_seconds": loaded.as_secs_f64(),
        "formed_seconds": formed.as_secs_f64(),
        "sent_per_second": counts.sent as f64 / seconds,
        "received_per_second": counts.received as f64 / seconds,
        "lost_percent": 100.0 * (1.0 - counts.received as f64 / counts.sent.max(1) as f64),
        "witness_cores": cores,
        "witness_system_share": used.system_share(),
        "witness_us_per_datagram": used.cpu.as_secs_f64() * 1e6 / datagrams,
        "witness_ms_per_cluster_second": each(cores * 1e3),
        "witness_rss_kib": used.rss_kib,
        "witness_rss_kib_per_cluster": each(used.rss_kib as f64),
        "delay_ms_median": ms(0.5),
        "delay_ms_999": ms(0.999),
        "delay_ms_longest": ms(1.0),
        "failed": counts.failed,
        "taken_over": counts.outages.count(),
        "outage_ms_median": counts.outages.at(0.5).map(|d| d.as_secs_f64() * 1e3),
        "outage_ms_longest": counts.outages.at(1.0).map(|d| d.as_secs_f64() * 1e3),
        "unwanted_role_changes": counts.unwanted(),
        "two_holders": counts.dual,
        "lab_overslept": counts.overslept,
    })
}

fn print(screen: &mut Screen, f: &Value) {
    let n = |key: &str| f[key].as_f64().unwrap_or(f64::NAN);
    screen.line(&format!(
        "{} clusters, {:.0} s: {:.0} datagrams/s to the witness and {:.0} from it",
        n("clusters"),
        n("seconds"),
        n("sent_per_second"),
        n("received_per_second")
    ));
    let rows = [
        ("witness: of a core (%)", 100.0 * n("witness_cores"), 1),
        (
            "witness: of that in the kernel (%)",
            100.0 * n("witness_system_share"),
            0,
        ),
        (
            "witness: for a datagram (µs)",
            n("witness_us_per_datagram"),
            2,
        ),
        (
            "witness: for a cluster (ms/s)",
            n("witness_ms_per_cluster_second"),
            3,
        ),
        ("witness: memory (MiB)", n("witness_rss_kib") / 1024.0, 1),
        (
            "witness: memory for a cluster (KiB)",
            n("witness_rss_kib_per_cluster"),
            1,
        ),
        ("witness: files loaded in (s)", n("loaded_seconds"), 2),
        ("all have a holder after (s)", n("formed_seconds"), 1),
        ("delay of an answer, median (ms)", n("delay_ms_median"), 3),
        ("delay of an answer, 99.9 % (ms)", n("delay_ms_999"), 3),
        ("delay of an answer, longest (ms)", n("delay_ms_longest"), 3),
        ("flood (datagrams/s)", n("flood_per_second"), 0),
        ("the witness was stopped (%)", n("slowed_percent"), 0),
        ("holders that failed", n("failed"), 0),
        ("of these taken over", n("taken_over"), 0),
        ("outage, median (ms)", n("outage_ms_median"), 0),
        ("outage, longest (ms)", n("outage_ms_longest"), 0),
        ("role changes besides", n("unwanted_role_changes"), 0),
        ("two holders at once", n("two_holders"), 0),
        ("the lab: of a core (%)", 100.0 * n("lab_cores"), 0),
        ("the lab: late turns of its nodes", n("lab_overslept"), 0),
    ];
    table(screen, &rows);
}

/// What there is, a line each: what it is, its value, and with how many digits.
fn table(screen: &mut Screen, rows: &[(&str, f64, usize)]) {
    for (what, value, digits) in rows.iter().filter(|(_, value, _)| !value.is_nan()) {
        screen.line(&format!(
            "  {what:<38} {value:>12.digits$}",
            digits = *digits
        ));
    }
}

fn cpu_of_this_process() -> Result<Duration> {
    crate::machine::idle::cpu(std::process::id())
}
