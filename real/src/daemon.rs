//! `onehold run`: runs until a signal ends it; what should be served joins when it can.

use crate::clock::{Clock, boottime};
use crate::config_file::{self, FileError, Loaded, LogSection, MetricsSection};
use crate::control::{self, Reply};
use crate::driver::{Begun, Driver};
use crate::history::Keeper;
use crate::linux::{Agent, Arrivals, Linux, NotYet, Pending};
use crate::notify::Notify;
use crate::prometheus::serve::Exporter;
use crate::socket::Sockets;
use crate::telemetry::Log;
use crate::upgrade::{
    Client, Take, Taken, become_next, go_back, hold_signals, let_signals_in, refusal,
};
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

/// How the daemon begins.
#[derive(Debug)]
pub enum Begins {
    /// A new incarnation.
    Anew,
    /// It goes on with what another program of this process left.
    From(Taken),
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
pub fn run(options: RunOptions, begins: Begins) -> Result<(), RunError> {
    // Only this thread is to be interrupted: another program gets its signals, and no other thread's.
    hold_signals();
    let section = match &begins {
        Begins::From(taken) => taken.state.log,
        Begins::Anew => match config_file::read(&options.config) {
            Ok(section) => section,
            Err(e) if e.may_pass => LogSection::default(),
            Err(e) => return Err(e.into()),
        },
    };
    let log = Log::start(section).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(hold_signals)
        .build()
        .map_err(failed)?;
    let ended = runtime.block_on(serve(options, log.clone(), begins)); // `log` outlives the last line
    runtime.shutdown_background(); // a name that is still being resolved is not waited for
    ended
}

/// Who waits for a reply, and that.
type Waits = (Client, Reply);

/// Goes on with what the former program of this process left; or has that one go on again.
fn go_on(mut linux: Linux, taken: Taken) -> Result<(Driver<Linux>, Option<Waits>), RunError> {
    let Taken { state, from, .. } = &taken;
    let client = state.offer.client.and_then(|fd| from.take(fd).ok());
    let client = client.map(Client::at);
    let begins = match &taken.came_back {
        None => Begun::Upgraded(state.by.clone()),
        Some(_) => Begun::Again,
    };
    if let Err(why) = linux.goes_on(state, from, &begins) {
        return Err(failed(go_back(&taken, &why)));
    }
    linux.ready();
    let mut driver = Driver::new(Vec::new(), linux);
    driver.goes_on_with(&state.driver);
    let_signals_in();
    let by = &state.by;
    let away = boottime().since(state.at);
    let version = env!("CARGO_PKG_VERSION");
    let reply = match &taken.came_back {
        None => {
            let line = format!("{by} goes on as onehold {version}, after {away}");
            let pid = std::process::id();
            tracing::info!(
                event = "upgrade",
                "{line}: the same incarnation, process {pid}"
            );
            Reply::Done { lines: vec![line] }
        }
        Some(why) => {
            tracing::error!(
                event = "upgrade",
                "not upgraded, {by} goes on after {away}: {why}"
            );
            refusal(&format!("the new program could not go on: {why}"))
        }
    };
    let waits = client.map(|client| (client, reply));
    tokio::task::spawn_blocking(move || drop(taken)); // what is closed there takes the kernel long
    Ok((driver, waits))
}

async fn serve(options: RunOptions, log: Log, begins: Begins) -> Result<(), RunError> {
    // First of all: a signal that comes meanwhile must not leave a gate behind.
    let on = |kind| signal(kind).map_err(failed);
    let signals = [
        on(SignalKind::terminate())?,
        on(SignalKind::interrupt())?,
        on(SignalKind::hangup())?,
    ];
    let (tell, requests) = mpsc::channel(MAX_REQUESTS);
    let (ask, upgrades) = mpsc::channel(1);
    let exporter = Exporter::new(tell.clone());
    let tell = control::Ways {
        requests: tell,
        upgrades: ask,
    };
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
        upgrades,
        signals,
        pending: Pending::default(),
    };
    let mut driver = match begins {
        Begins::Anew => {
            let_signals_in();
            linux.arrivals.look();
            let first = std::future::poll_fn(|cx| linux.arrivals.poll(cx));
            match timeout(FIRST_LOOK, first).await {
                Ok(looked) => linux.first_look(looked)?,
                Err(_) => linux.still_looks(),
            }
            linux.ready();
            Driver::new(Vec::new(), linux)
        }
        Begins::From(taken) => {
            let (driver, waits) = go_on(linux, taken)?;
            tokio::task::yield_now().await; // the control socket is there again
            if let Some((client, reply)) = waits {
                client.reply(&reply);
            }
            driver
        }
    };
    loop {
        driver.run().await;
        let Some(Take { program, client }) = driver.take_upgrade() else {
            break;
        };
        let now = boottime();
        let refused = match driver.state(now, client.offer()) {
            Ok(state) => become_next(&state, program),
            Err(why) => why,
        };
        tracing::error!(event = "upgrade", "not upgraded: {refused}");
        client.reply(&refusal(&refused));
    }
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
