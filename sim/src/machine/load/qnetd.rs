//! Another witness of as many clusters, on the same host: Debian's corosync-qnetd, and two members of
//! each cluster that speak to it as corosync-qdevice does, each over a TCP connection of its own.

mod members;
mod message;

use super::process::{Running, Used};
use super::{Options, alive, table};
use crate::error::{Context, Result, err};
use crate::machine::idle;
use crate::screen::Screen;
use members::{Counts, Members};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const PROGRAM: &str = "corosync-qnetd";
/// Where it listens: what is used for nothing else.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 77, 0, 1), 36_946);
/// How often corosync-qdevice speaks if nobody says otherwise: 0.8 of `quorum.device.timeout`, 10 s.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// How long qnetd may take to give their votes to the others. It takes 1.5 heartbeats.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is installed.
pub(super) struct Qnetd {
    /// Its name and version.
    pub(super) version: String,
}

impl Qnetd {
    /// The one in PATH.
    pub(super) fn find() -> Result<Self> {
        let said = Command::new(PROGRAM).arg("-v").output();
        let said = said.map_err(|e| match e.kind() {
            ErrorKind::NotFound => err(format!(
                "--beside qnetd: {PROGRAM} is missing: apt-get install {PROGRAM}"
            )),
            _ => err(format!("{PROGRAM} -v: {e}")),
        })?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let number = said.split('\'').nth(1).unwrap_or_default();
        let version = format!("{PROGRAM} {number}");
        Ok(Self { version })
    }

    /// Measures it at its own pace, and at Onehold's.
    pub(super) fn measure(
        &self,
        clusters: u32,
        options: &Options,
        screen: &mut Screen,
        stop: &AtomicBool,
    ) -> Result<Vec<Value>> {
        allow_files(u64::from(clusters))?;
        let ours = idle::interval(&options.cluster)?;
        let mut all = Vec::new();
        for (heartbeat, fails) in [(HEARTBEAT, true), (ours, false)] {
            let figures = at(heartbeat, fails, clusters, options, screen, stop)?;
            screen.line(&format!(
                "{}, {} clusters, a heartbeat every {} ms, {:.0} s: {:.0} messages/s to it and {:.0} from it",
                self.version,
                clusters,
                heartbeat.as_millis(),
                figures["seconds"].as_f64().unwrap_or_default(),
                figures["sent_per_second"].as_f64().unwrap_or_default(),
                figures["received_per_second"].as_f64().unwrap_or_default(),
            ));
            print(screen, &figures);
            all.push(figures);
        }
        Ok(all)
    }
}

/// Each member has a connection, here and there.
fn allow_files(clusters: u64) -> Result<()> {
    let (needed, mut limit) = (2 * clusters + 64, getrlimit(Resource::Nofile));
    if let Some(most) = limit.maximum
        && most < needed
    {
        return Err(err(format!(
            "--beside qnetd needs {needed} open files, and {most} are allowed: raise `ulimit -Hn`, or take fewer clusters"
        )));
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context(|| "allowing more open files")
}

/// Starts one, connects the members, measures, and lets some of them fall silent if `fails`.
fn at(
    heartbeat: Duration,
    fails: bool,
    clusters: u32,
    options: &Options,
    screen: &mut Screen,
    stop: &AtomicBool,
) -> Result<Value> {
    let mut process = Running::prepare(PROGRAM, "qnetd")?;
    let mut settings = "lock_file=lock,local_socket_file=socket,listen_backlog=1024".to_owned();
    if !fails {
        // It refuses heartbeats of less than a second, and ends connections after 1.5 of them: both
        // are put aside, so that what is measured is what messages cost.
        let least = heartbeat.as_millis();
        settings += &format!(",heartbeat_interval_min={least},dpd_interval_coefficient=100");
    }
    let mut command = Command::new(PROGRAM);
    command.args(["-f", "-s", "off", "-S", &settings]).args([
        "-l",
        &ADDRESS.0.to_string(),
        "-p",
        &ADDRESS.1.to_string(),
    ]);
    process.start(&mut command)?;

    let began = Instant::now();
    let mut members = Members::new(heartbeat)?;
    for member in 0..2 * clusters as usize {
        members.connect(member, began, &mut process, stop)?;
        members.run(Duration::ZERO)?;
    }
    while members.voted() < members.all.len() {
        members.run(Duration::from_millis(100))?;
        let voted = members.voted();
        screen.passing(&format!("{PROGRAM} votes for {voted} members"));
        alive(&mut process, stop)?;
        if began.elapsed() > super::BOUND || members.counts.ended > 0 {
            let all = members.all.len();
            return Err(err(format!(
                "{PROGRAM} votes for {voted} of {all} members after {:.0} s, and ended {} connections; its log is in the system's",
                began.elapsed().as_secs_f64(),
                members.counts.ended
            )));
        }
    }
    let formed = began.elapsed();
    members.run(super::SETTLE)?;

    let (from, before) = (Instant::now(), process.used()?);
    let own_before = super::cpu_of_this_process()?;
    members.counts = Counts::new();
    let length = Duration::from_secs(options.seconds);
    while from.elapsed() < length {
        let left = length.saturating_sub(from.elapsed());
        members.run(left.min(Duration::from_millis(200)))?;
        screen.passing(&format!("{PROGRAM}: {} s left", left.as_secs()));
        alive(&mut process, stop)?;
    }
    let (used, seconds) = (process.used()?.since(&before), from.elapsed().as_secs_f64());
    let own = super::cpu_of_this_process()?.saturating_sub(own_before);
    let counts = std::mem::replace(&mut members.counts, Counts::new());

    if fails {
        members.fall_silent()?;
        let began = Instant::now();
        while members.counts.given.len() < members.silent && began.elapsed() < PATIENCE {
            members.run(Duration::from_millis(100))?;
            screen.passing(&format!("{PROGRAM}: {} s", began.elapsed().as_secs()));
            alive(&mut process, stop)?;
        }
    }
    let mut given = members.counts.given;
    given.sort_unstable();
    let mut all = figures(clusters, heartbeat, seconds, &used, &counts);
    all["formed_seconds"] = json!(formed.as_secs_f64());
    all["lab_cores"] = json!(own.as_secs_f64() / seconds);
    all["silent"] = json!(members.silent);
    all["voted_for_the_other"] = json!(given.len());
    let ms = |at: Option<&Duration>| at.map(|d| d.as_secs_f64() * 1e3);
    all["vote_ms_shortest"] = json!(ms(given.first()));
    all["vote_ms_median"] = json!(ms(given.get(given.len() / 2)));
    all["vote_ms_longest"] = json!(ms(given.last()));
    Ok(all)
}

fn figures(
    clusters: u32,
    heartbeat: Duration,
    seconds: f64,
    used: &Used,
    counts: &Counts,
) -> Value {
    let each = |total: f64| total / f64::from(clusters);
    let cores = used.cpu.as_secs_f64() / seconds;
    let ms = |at: f64| counts.delays.at(at).map(|d| d.as_secs_f64() * 1e3);
    let messages = (counts.sent + counts.received) as f64;
    let for_a_message = (messages > 0.0).then(|| used.cpu.as_secs_f64() * 1e6 / messages);
    json!({
        "clusters": clusters,
        "seconds": seconds,
        "heartbeat_ms": heartbeat.as_millis() as u64,
        "sent_per_second": counts.sent as f64 / seconds,
        "received_per_second": counts.received as f64 / seconds,
        "witness_cores": cores,
        "witness_system_share": used.system_share(),
        "witness_us_per_message": for_a_message,
        "witness_ms_per_cluster_second": each(cores * 1e3),
        "witness_rss_kib": used.rss_kib,
        "witness_rss_kib_per_cluster": each(used.rss_kib as f64),
        "delay_ms_median": ms(0.5),
        "delay_ms_999": ms(0.999),
        "delay_ms_longest": ms(1.0),
        "unanswered_in_time": counts.late,
        "connections_ended": counts.ended,
    })
}

fn print(screen: &mut Screen, f: &Value) {
    let n = |key: &str| f[key].as_f64().unwrap_or(f64::NAN);
    let percent = |key: &str| 100.0 * n(key);
    table(
        screen,
        &[
            ("qnetd: of a core (%)", percent("witness_cores"), 1),
            (
                "qnetd: of that in the kernel (%)",
                percent("witness_system_share"),
                0,
            ),
            ("qnetd: for a message (µs)", n("witness_us_per_message"), 2),
            (
                "qnetd: for a cluster (ms/s)",
                n("witness_ms_per_cluster_second"),
                3,
            ),
            ("qnetd: memory (MiB)", n("witness_rss_kib") / 1024.0, 1),
            (
                "qnetd: memory for a cluster (KiB)",
                n("witness_rss_kib_per_cluster"),
                1,
            ),
            ("all have its vote after (s)", n("formed_seconds"), 1),
            ("delay of an answer, median (ms)", n("delay_ms_median"), 3),
            ("delay of an answer, 99.9 % (ms)", n("delay_ms_999"), 3),
            ("delay of an answer, longest (ms)", n("delay_ms_longest"), 3),
            ("not answered until the next", n("unanswered_in_time"), 0),
            ("connections that it ended", n("connections_ended"), 0),
            (
                "vote for the other, shortest (ms)",
                n("vote_ms_shortest"),
                0,
            ),
            ("vote for the other, median (ms)", n("vote_ms_median"), 0),
            ("vote for the other, longest (ms)", n("vote_ms_longest"), 0),
            ("the lab: of a core (%)", percent("lab_cores"), 0),
        ],
    );
}
