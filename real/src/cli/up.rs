//! `onehold up`: the daemon and its agent in one place that has no service manager, such as a
//! container.
//!
//! Signals are the daemon's. When it ends, so does this, with its exit status; an agent that ends
//! is started again when nothing that it ran is left, and costs the daemon nothing.

use super::{Failure, RunArgs};
use crate::agent::command::Nursery;
use crate::clock::boottime;
use crate::readiness::watch;
use onehold_core::time::LocalTime;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// After what time an agent that ended is started again, at first and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(250);
const AGAIN_LATER: Duration = Duration::from_secs(30);
/// An agent that ran for this long did not end because of its file.
const LONG: Duration = Duration::from_secs(60);
/// How often what commands left behind is waited for.
const TIDY: Duration = Duration::from_secs(10);
/// How often, and how far apart, what a dead agent ran is looked for before another is started.
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_millis(20);
/// How long the agent has to end its hooks, once the daemon is gone.
const GRACE: Duration = Duration::from_secs(65);

/// Runs both until the daemon ends.
pub(super) fn up(run: &RunArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    match runtime.block_on(both(run))?.code() {
        Some(0) => Ok(()),
        Some(2) => Err(Failure::Usage("the daemon ended with status 2".to_owned())),
        Some(code) => Err(Failure::Failed(format!(
            "the daemon ended with status {code}"
        ))),
        None => Err(Failure::Failed("the daemon was killed".to_owned())),
    }
}

fn failed(e: impl std::fmt::Display) -> Failure {
    Failure::Failed(e.to_string())
}

async fn both(run: &RunArgs) -> Result<ExitStatus, Failure> {
    let on = |kind| signal(kind).map_err(failed);
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let mut hangup = on(SignalKind::hangup())?;
    // What an agent that was killed has left becomes this process's child.
    let nursery = Nursery::new().map_err(failed)?;
    // The words after `up`, as they were said.
    let mut daemon = Program::start("run", std::env::args_os().skip(2))?;
    let words: [OsString; 4] = [
        "--config".into(),
        run.config.clone().into(),
        "--socket".into(),
        run.socket.clone().into(),
    ];
    let mut agent = Some(Program::start("agent", words.clone())?);
    let mut pace = AGAIN_FIRST;
    let mut former: Option<Pid> = None;
    loop {
        nursery.spare([&daemon].into_iter().chain(&agent).map(|p| p.pid));
        tokio::select! {
            _ = terminate.recv() => daemon.signal(Signal::TERM),
            _ = interrupt.recv() => daemon.signal(Signal::TERM),
            _ = hangup.recv() => {
                daemon.signal(Signal::HUP);
                if let Some(agent) = &agent {
                    agent.signal(Signal::HUP);
                }
            }
            () = daemon.ended() => break,
            () = agents_end(agent.as_ref()) => {
                former = agent.as_ref().map(|agent| agent.pid);
                let how = agent.take().and_then(|mut agent| agent.child.wait().ok());
                let how = how.map_or_else(String::new, |how| format!(" ({how})"));
                eprintln!("onehold: the agent ended{how}; started again in {pace:?}");
            }
            () = sleep(pace), if agent.is_none() => {
                pace = (pace * 2).min(AGAIN_LATER);
                if all_gone(&nursery, former).await {
                    agent = Program::start("agent", words.clone()).ok();
                } else {
                    eprintln!("onehold: what the agent ran can't be killed; no other is started beside it yet");
                }
            }
            () = sleep(TIDY), if agent.is_some() => {
                nursery.tidy();
                if agent.as_ref().is_some_and(|agent| boottime().since(agent.since) >= LONG.into()) {
                    pace = AGAIN_FIRST;
                }
            }
        }
    }
    let status = daemon.child.wait().map_err(failed)?;
    if let Some(mut agent) = agent {
        agent.signal(Signal::TERM);
        if timeout(GRACE, agent.ended()).await.is_err() {
            agent.signal(Signal::KILL);
        }
        let _ = agent.child.wait(); // whatever became of it
        let _ = all_gone(&nursery, Some(agent.pid)).await;
    }
    Ok(status)
}

/// Kills what a former agent still ran, and waits a moment for the kernel to be done with it.
async fn all_gone(nursery: &Nursery, former: Option<Pid>) -> bool {
    for _ in 0..ROUNDS {
        if former.is_none_or(|agent| nursery.end_runs_of(agent)) {
            return true;
        }
        sleep(ROUND).await;
    }
    false
}

/// Ends with the agent, if there is one.
async fn agents_end(agent: Option<&Program>) {
    match agent {
        Some(agent) => agent.ended().await,
        None => std::future::pending().await,
    }
}

/// One of the two.
struct Program {
    child: Child,
    pid: Pid,
    since: LocalTime,
    ends: AsyncFd<OwnedFd>,
}

impl Program {
    /// This binary, with other words.
    fn start(what: &str, words: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(failed)?;
        let child = Command::new(own)
            .arg(what)
            .args(words)
            .spawn()
            .map_err(failed)?;
        let pid = Pid::from_child(&child);
        let ends = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
        let ends = watch(ends).map_err(failed)?;
        let since = boottime();
        Ok(Self {
            child,
            pid,
            since,
            ends,
        })
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal); // not waited for yet, so the number is its own
    }

    async fn ended(&self) {
        let _ = self.ends.readable().await;
    }
}
