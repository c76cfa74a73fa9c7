//! `onehold agent`: runs checks and hooks, beside the daemon and never in it.
//!
//! It holds no address, knows no lease and decides nothing: it says how the service is, and does
//! what is to be done where this member holds. Whatever becomes of it, or of what it runs, costs no
//! address.

mod board;
mod check;
pub(crate) mod command;
mod course;
mod hook;
mod ocf;
mod plan;
mod probe;
mod tally;
mod wire;

pub(crate) use plan::lacks;

use crate::config_file::FileError;
use crate::config_file::checks::Check;
use crate::config_file::hooks::{Hooks, Which};
use crate::notify::{Notify, watchdog_interval};
use crate::telemetry::Log;
use board::{Board, Place};
use command::Nursery;
use hook::Runner;
use plan::{Group, Plan};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use wire::Daemon;

/// How long `released` may go on after the signal that ends the agent.
const GRACE: Duration = Duration::from_secs(60);
/// How long the agent goes on after that signal, to see what the daemon shows last.
const SETTLE: Duration = Duration::from_millis(200);
/// How often, and how far apart, what ended commands left is looked for at the end.
const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_millis(20);
/// How often what commands left behind is waited for.
const TIDY: Duration = Duration::from_secs(10);

/// The options of `onehold agent`.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// The daemon's control socket.
    pub socket: PathBuf,
}

/// Why the agent ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration is bad.
    #[error("{}", lines(.0))]
    Config(Vec<FileError>),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

fn lines(all: &[FileError]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.join("\n")
}

fn failed(what: impl ToString) -> AgentError {
    AgentError::Failed(what.to_string())
}

/// Runs the agent until a signal ends it.
///
/// # Errors
/// What the text of the configuration decides, or that the kernel refuses what it needs to run
/// anything.
pub fn run(options: AgentOptions) -> Result<(), AgentError> {
    let plan =
        Plan::read(&options.config).map_err(|wrong| match wrong.iter().all(|e| e.may_pass) {
            true => failed(lines(&wrong)), // the file is not there yet, say
            false => AgentError::Config(wrong),
        })?;
    let log = Log::start(plan.log).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let ended = runtime.block_on(serve(options, plan, log.clone())); // `log` outlives the last line
    runtime.shutdown_background(); // a dead disk is not waited for
    ended
}

async fn serve(options: AgentOptions, plan: Plan, log: Log) -> Result<(), AgentError> {
    let on = |kind| signal(kind).map_err(failed);
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let mut hangup = on(SignalKind::hangup())?;
    let notify = Notify::from_env();
    let (daemon, answers) = Daemon::new(options.socket);
    let mut agent = Agent {
        board: Board::new(),
        nursery: Nursery::new().map_err(failed)?,
        daemon,
        tasks: JoinSet::new(),
        checks: BTreeMap::new(),
        hooks: BTreeMap::new(),
    };
    agent.adopt(plan);
    let wire = agent.daemon.clone().hold(agent.board.clone(), answers);
    let wire = agent.tasks.spawn(wire);
    notify.ready("runs checks and hooks");
    let feed = watchdog_interval().unwrap_or(TIDY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                notify.reloading();
                agent.reload(&options.config, &log).await;
                notify.ready("runs checks and hooks");
            }
            Some(ended) = agent.tasks.join_next() => match ended {
                Err(e) if e.is_cancelled() => {} // by a reload
                Err(e) => return Err(failed(format!("a task of the agent failed: {e}"))),
                Ok(()) => return Err(failed("a task of the agent ended")),
            },
            () = sleep(feed.min(TIDY)) => {
                notify.watchdog();
                agent.nursery.tidy();
            }
        }
    }
    notify.stopping();
    agent.checks.values().for_each(|(_, task)| task.abort());
    sleep(SETTLE).await; // the daemon may have ended just before
    wire.abort();
    agent.daemon.leave();
    let all = async {
        while !agent.nursery.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = all => {}
        () = sleep(GRACE) => {}
        _ = terminate.recv() => {} // a second signal
        _ = interrupt.recv() => {}
    }
    agent.tasks.shutdown().await;
    for _ in 0..ROUNDS {
        agent.nursery.tidy();
        sleep(ROUND).await; // what was killed leaves its own children a moment later
    }
    tracing::info!("stopped; nothing that it started runs any more");
    Ok(())
}

/// What runs.
struct Agent {
    board: Board,
    nursery: Nursery,
    daemon: Daemon,
    tasks: JoinSet<()>,
    checks: BTreeMap<(Place, String), (Check, AbortHandle)>,
    hooks: BTreeMap<Place, (Hooks, [AbortHandle; 2])>,
}

impl Agent {
    /// Reads the file again. What is as it was goes on; a file that is bad changes nothing.
    async fn reload(&mut self, config: &Path, log: &Log) {
        let path = config.to_owned();
        let read = tokio::task::spawn_blocking(move || Plan::read(&path)).await;
        let refused = match read {
            Ok(Ok(plan)) => {
                log.set_level(plan.log.level);
                self.adopt(plan);
                tracing::info!(
                    event = "reload",
                    "reloaded: checks and hooks are those of the file"
                );
                None
            }
            Ok(Err(wrong)) => Some(lines(&wrong)),
            Err(e) => Some(e.to_string()),
        };
        if let Some(why) = &refused {
            tracing::error!(event = "reload", "not reloaded, all stays as it was: {why}");
        }
        self.daemon.reloaded(refused);
    }

    /// Runs what a plan says, and no more what it does not.
    fn adopt(&mut self, plan: Plan) {
        for lack in &plan.lacks {
            tracing::error!("{lack}");
        }
        let known = |(place, group): (&Place, &Group)| {
            let checks = group
                .checks
                .iter()
                .map(|check| check.name.clone())
                .collect();
            (place.clone(), (checks, used(&group.hooks)))
        };
        self.board.keep(&plan.groups.iter().map(known).collect());
        let groups = &plan.groups;
        for (place, (former, _)) in &self.hooks {
            let now = groups.get(place).map(|group| &group.hooks);
            let deadline = |of: &Hooks| of.before_hold.as_ref().map(|hook| hook.deadline);
            if now.is_some_and(|now| deadline(now) != deadline(former)) {
                tracing::warn!(
                    "{}: onehold itself takes over another before_hold, or none, when it starts: \
                     `systemctl restart onehold`, too, on both candidates",
                    place.1
                );
            }
        }
        self.checks.retain(|(place, _), (check, task)| {
            let stays = groups
                .get(place)
                .is_some_and(|group| group.checks.contains(check));
            if !stays {
                task.abort();
            }
            stays
        });
        self.hooks.retain(|place, (hooks, tasks)| {
            let stays = groups.get(place).is_some_and(|group| group.hooks == *hooks);
            if !stays {
                tasks.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for (place, Group { checks, hooks }) in plan.groups {
            for check in checks {
                let key = (place.clone(), check.name.clone());
                if self.checks.contains_key(&key) {
                    continue;
                }
                self.board.begins(&place, &check.name);
                let (board, nursery) = (self.board.clone(), self.nursery.clone());
                let task = check::check(check.clone(), place.clone(), board, nursery);
                self.checks.insert(key, (check, self.tasks.spawn(task)));
            }
            // Without any hook, too: a daemon that was started with another file may wait for one.
            if !self.hooks.contains_key(&place) {
                let runner = Runner {
                    place: place.clone(),
                    hooks: hooks.clone(),
                    daemon: self.daemon.clone(),
                    board: self.board.clone(),
                    nursery: self.nursery.clone(),
                };
                let tasks = [
                    self.tasks.spawn(runner.clone().run()),
                    self.tasks.spawn(runner.tell_changes()),
                ];
                self.hooks.insert(place, (hooks, tasks));
            }
        }
    }
}

/// The hooks that there are.
fn used(hooks: &Hooks) -> Vec<Which> {
    let all = [
        (&hooks.before_hold, Which::BeforeHold),
        (&hooks.holding, Which::Holding),
        (&hooks.released, Which::Released),
        (&hooks.changed, Which::Changed),
    ];
    all.into_iter()
        .filter_map(|(hook, which)| hook.as_ref().map(|_| which))
        .collect()
}
