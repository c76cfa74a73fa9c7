//! `onehold run`: runs until a signal ends it; what should be served joins when it can.

use crate::clock::Clock;
use crate::config_file::{self, FileError, Loaded, LogSection, MetricsSection};
use crate::control;
use crate::driver::Driver;
use crate::history::Keeper;
use crate::linux::{Agent, Arrivals, Linux, NotYet, Pending};
use crate::notify::Notify;
use crate::prometheus::serve::Exporter;
use crate::socket::Sockets;
use crate::telemetry::Log;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Requests that wait for the driver.
const MAX_REQUESTS: usize = 16;

/// How long a start may take silently; one that waits longer, for names, reports it.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Options of `onehold run`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// Which member this is, if the operator names it.
    pub member: Option<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// The directory that remembers earlier incarnations of this boot.
    pub state: PathBuf,
    /// The directory that remembers what the operator said until `resume`, if it is another
    /// one.
    pub orders: Option<PathBuf>,
    /// Where to write a trace, if at all.
    pub trace: Option<PathBuf>,
    /// About how many bytes the trace and its `.old` file may have at most.
    pub trace_size: u64,
}

impl RunOptions {
    /// The directory that remembers what the operator said until `resume`.
    #[must_use]
    pub fn orders(&self) -> &Path {
        self.orders.as_deref().unwrap_or(&self.state)
    }
}

/// Why the daemon ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is bad.
    #[error(transparent)]
    Config(#[from] FileError),
    /// Whatever restarts what has failed, starts it again.
    #[error(
        "this machine's clock went back, so this process ended; nothing is left behind. Start it again \
         (systemd does): it takes part again after its quarantine"
    )]
    ClockWentBack,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<NotYet> for RunError {
    fn from(e: NotYet) -> Self {
        match e {
            NotYet::Decided(e) => Self::Config(e),
            NotYet::Taken(why) | NotYet::MayPass(why) => Self::Failed(why),
        }
    }
}

fn failed(what: impl ToString) -> RunError {
    RunError::Failed(what.to_string())
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// What the text of the configuration decides; that this member runs already; or that it
/// could not leave cleanly. Everything else may pass on its own, and is waited for.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    let section = match config_file::read(&options.config) {
        Ok(section) => section,
        Err(e) if e.may_pass => LogSection::default(),
        Err(e) => return Err(e.into()),
    };
    let log = Log::start(section).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let ended = runtime.block_on(serve(options, log.clone())); // `log` outlives the last line
    runtime.shutdown_background(); // a name that is still being resolved is not waited for
    ended
}

async fn serve(options: RunOptions, log: Log) -> Result<(), RunError> {
    // First of all: a signal that comes meanwhile must not leave a gate behind.
    let on = |kind| signal(kind).map_err(failed);
    let signals = [
        on(SignalKind::terminate())?,
        on(SignalKind::interrupt())?,
        on(SignalKind::hangup())?,
    ];
    let (tell, requests) = mpsc::channel(MAX_REQUESTS);
    let exporter = Exporter::new(tell.clone());
    let (desk, post) = control::session::desk();
    let mut control = JoinSet::new();
    let readers = control::readers();
    let orders = control::Access::Orders { readers };
    let looks = readers.map(|readers| control::Access::Looks { readers });
    let socket = &options.socket;
    let beside = looks.map(|looks| (control::for_readers(socket), looks));
    for (path, access) in [(socket.clone(), orders)].into_iter().chain(beside) {
        let (tell, desk) = (tell.clone(), desk.clone());
        let limit = control::DAEMON_TIMEOUT;
        control.spawn(control::serve(path, access, tell, desk, limit));
    }
    drop((tell, desk));
    let mut linux = Linux {
        clock: Clock::new().map_err(failed)?,
        sockets: Sockets::open(&[]).map_err(failed)?,
        frames: None,
        kernel: None,
        loaded: Loaded {
            clusters: Vec::new(),
            log: LogSection::default(),
            metrics: MetricsSection::default(),
        },
        arrivals: Arrivals::new(options),
        beside: Vec::new(),
        histories: Keeper::default(),
        log,
        agent: Agent::new(post),
        exporter,
        notify: Notify::from_env(),
        requests,
        signals,
        pending: Pending::default(),
    };
    linux.arrivals.look();
    let first = std::future::poll_fn(|cx| linux.arrivals.poll(cx));
    match timeout(FIRST_LOOK, first).await {
        Ok(looked) => linux.first_look(looked)?,
        Err(_) => linux.still_looks(),
    }
    linux.ready();
    let mut driver = Driver::new(Vec::new(), linux);
    driver.run().await;
    let over = driver.is_over();
    let mut linux = driver.into_shell();
    linux.agent.leave().await;
    control.shutdown().await;
    let left = linux.close().await;
    left.map_err(|e| failed(format!("left something behind: {e}")))?;
    if over {
        return Err(RunError::ClockWentBack);
    }
    tracing::info!("stopped; nothing is left behind");
    Ok(())
}
