//! `onehold run`: takes its seat in the order of R-9, then drives until a signal ends it.

use crate::clock::Clock;
use crate::config_file::{self, FileError, Seat, Seats};
use crate::control;
use crate::driver::{Driver, Served};
use crate::kernel::{Kernel, KernelGroup};
use crate::life::{Lock, Record};
use crate::linux::{Later, Linux};
use crate::metrics::{GuardInForce, Metrics};
use crate::notify::Notify;
use crate::realtime;
use crate::socket::Sockets;
use crate::telemetry::{self, Log};
use crate::trace::{Line, Rest, TraceFile};
use onehold_core::advert::{GroupId, Incarnation};
use onehold_core::time::Span;
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Requests that wait for the driver.
const MAX_ASKED: usize = 16;

/// What `onehold run` is told.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// Which member this is, if the operator says so.
    pub member: Option<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// The directory that remembers earlier lives of this boot.
    pub state: PathBuf,
    /// Where to write a trace, if at all.
    pub trace: Option<PathBuf>,
    /// About how many bytes the trace and its `.old` file may have at most.
    pub trace_size: u64,
}

/// Why the daemon ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is bad.
    #[error(transparent)]
    Config(#[from] FileError),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

fn failed(what: impl ToString) -> RunError {
    RunError::Failed(what.to_string())
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// Why it could not start, or could not leave cleanly.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    let seats = config_file::load(&options.config, options.member.as_deref())?;
    let log = Log::start(seats.log).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(serve(options, seats, log.clone())) // `log` outlives the last line
}

async fn serve(options: RunOptions, seats: Seats, log: Log) -> Result<(), RunError> {
    // First of all: a signal that comes meanwhile must not leave a gate behind.
    let on = |kind| signal(kind).map_err(failed);
    let signals = [
        on(SignalKind::terminate())?,
        on(SignalKind::interrupt())?,
        on(SignalKind::hangup())?,
    ];
    // R-9, in its order: lock, gate and addresses of earlier lives, socket, quarantine.
    let mut locks = Vec::new();
    let mut records = Vec::new();
    let mut earlier = Vec::new();
    for seat in &seats.seats {
        let (cluster, me) = (seat.name(), member_name(seat));
        locks.push(Lock::take(cluster, me).map_err(failed)?);
        let record = Record::open(&options.state, cluster, me).map_err(failed)?;
        let longest = record.earlier().map_err(failed)?;
        record
            .write(longest.max(seat.config.timing().lease()))
            .map_err(failed)?;
        records.push(record);
        earlier.push(longest);
    }
    let mut kernel = None;
    let mut guard = GuardInForce::default();
    // A process that serves several clusters only witnesses.
    if let [seat] = seats.seats.as_slice()
        && seat.config.is_candidate(seat.config.me())
    {
        let mut opened = open_kernel(seat, &options.state)?;
        opened.scrub().map_err(failed)?;
        guard = opened.guard_in_force();
        telemetry::report_guard(&guard);
        opened.keep_neighbours(seat.config.peers().flat_map(|peer| seat.paths(peer)));
        kernel = Some(opened);
    }
    if seats.seats.iter().any(Seat::realtime) {
        for refused in realtime::acquire() {
            tracing::warn!("the fast profile runs without {refused}");
        }
    }
    let sockets = Sockets::open(&seats.seats).map_err(failed)?;
    let mut clock = Clock::new().map_err(failed)?;
    let mut served = Vec::new();
    let mut starts = Vec::new();
    for (seat, earlier) in seats.seats.iter().zip(earlier) {
        let (node, start) = start_node(seat, &guard, clock.now(), earlier)?;
        served.push(node);
        starts.push(start);
    }
    let trace = start_trace(&options, &seats, &starts);
    let (tell, asked) = mpsc::channel(MAX_ASKED);
    let listener = control::listen(&options.socket).map_err(failed)?;
    let mut control = JoinSet::new();
    control.spawn(control::serve(listener, tell, control::DAEMON_PATIENCE));
    let mut linux = Linux {
        clock,
        sockets,
        kernel,
        seats,
        file: (options.config, options.member),
        records,
        log,
        notify: Notify::from_env(),
        asked,
        signals,
        later: Later::default(),
    };
    linux.ready();
    let mut driver = Driver::new(served, linux);
    let mut rest = None;
    if let Some((trace, its_rest)) = trace {
        driver.record(Box::new(trace));
        rest = Some(its_rest);
    }
    driver.run().await;
    control.shutdown().await;
    let left = driver.into_shell().close();
    let _ = std::fs::remove_file(&options.socket);
    drop(locks);
    if let Some(rest) = rest {
        rest.wait();
    }
    left.map_err(|e| failed(format!("left something behind: {e}")))?;
    tracing::info!("stopped; nothing is left behind");
    Ok(())
}

fn member_name(seat: &Seat) -> &str {
    seat.config
        .member(seat.config.me())
        .map_or("", |m| m.name.as_str())
}

fn open_kernel(seat: &Seat, state: &Path) -> Result<Kernel, RunError> {
    let config = &seat.config;
    let group = |(id, g): (u8, &onehold_core::config::Group)| KernelGroup {
        name: g.name.clone(),
        interface: seat.interface(GroupId(id)).unwrap_or_default().to_owned(),
        addresses: g.addresses.clone(),
    };
    let groups = (0u8..).zip(config.groups()).map(group).collect();
    let timing = config.timing();
    // The gates of two clusters on one host must not meddle with each other.
    let instance = format!("{:x}", config.cluster().0);
    let mut kernel = Kernel::open(
        &instance,
        groups,
        seat.guard(),
        timing.slack(),
        timing.lease(),
        state,
    )
    .map_err(failed)?;
    kernel.lives_at(seat.local().iter().map(|a| a.ip()).collect());
    Ok(kernel)
}

fn start_node(
    seat: &Seat,
    guard: &GuardInForce,
    now: onehold_core::time::LocalTime,
    earlier: Span,
) -> Result<(Served, Line), RunError> {
    let mut bytes = [0u8; 8];
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).map_err(failed)?;
    if got != bytes.len() {
        return Err(failed("no randomness for an incarnation"));
    }
    let incarnation = Incarnation(u64::from_ne_bytes(bytes));
    let config = seat.config.clone();
    let quarantine = config.timing().quarantine(earlier);
    tracing::info!(
        "{} of cluster {}, {}, config {:016x}; in quarantine for {quarantine} (R-9)",
        member_name(seat),
        seat.name(),
        if config.is_candidate(config.me()) {
            "candidate"
        } else {
            "witness"
        },
        config.digest().0,
    );
    let mut metrics = Metrics::new(seat);
    metrics.guard = guard.clone();
    let start = Line::Start {
        member: member_name(seat).to_owned(),
        at: now,
        time: None,
        incarnation,
        earlier,
    };
    let keys = seat.keys();
    let served = Served::start(config, keys, metrics, incarnation, now, earlier);
    Ok((served, start))
}

/// Begins a trace if one is wanted. Whatever is wrong with it, the daemon runs without it.
fn start_trace(options: &RunOptions, seats: &Seats, starts: &[Line]) -> Option<(TraceFile, Rest)> {
    let path = options.trace.as_ref()?;
    let started = match (seats.seats.as_slice(), starts) {
        ([seat], [start]) => {
            let (size, spec) = (options.trace_size, seat.spec.clone());
            TraceFile::start(path.clone(), size, spec, member_name(seat), start)
        }
        (seats, _) => Err(std::io::Error::other(format!(
            "a trace is of one cluster, and this process serves {}; trace the candidates",
            seats.len()
        ))),
    };
    match started {
        Ok(trace) => {
            tracing::info!("tracing to {}", path.display());
            Some(trace)
        }
        Err(e) => {
            tracing::warn!("no trace is written to {}: {e}", path.display());
            None
        }
    }
}
