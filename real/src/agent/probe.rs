//! One look at a service, of each kind. A look says in one line what was seen, good or bad.
//!
//! What the kernel reports by itself (a process that ends, a route that goes) is waited for by
//! [`Probe::changed`], so that the next look need not wait for its time.

mod net;
mod process;
mod tables;
mod unit;

use super::command::{Ending, Job, Nursery, Running};
use crate::config_file::checks::{Check, Kind};
use crate::config_file::hooks::runnable;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a look came to: what was seen, good or bad.
pub(super) type Look = Result<String, String>;

/// What is looked at, and what is known of it since the last look.
#[derive(Debug)]
pub(super) struct Probe {
    eye: Eye,
    timeout: Duration,
    nursery: Nursery,
    /// A command that the kernel does not let go of.
    stuck: Option<Running>,
}

#[derive(Debug)]
enum Eye {
    Tcp(crate::config_file::checks::Authority),
    Http(crate::config_file::checks::Http),
    Ping(std::net::IpAddr),
    File { path: PathBuf, present: bool },
    Exec(Job),
    Process(process::Process),
    Unit(unit::Unit),
    Tables(tables::Tables),
}

impl Probe {
    /// Looks at what `check` says.
    pub(super) fn new(check: &Check, nursery: Nursery) -> Self {
        let eye = match check.kind.clone() {
            Kind::Tcp(at) => Eye::Tcp(at),
            Kind::Http(http) => Eye::Http(http),
            Kind::Unit(name) => Eye::Unit(unit::Unit::new(&name)),
            Kind::Process(which) => Eye::Process(process::Process::new(which)),
            Kind::Link(name) => Eye::Tables(tables::Tables::link(name)),
            Kind::Route { to, length } => Eye::Tables(tables::Tables::route(to, length)),
            Kind::File { path, present } => Eye::File { path, present },
            Kind::Ping(to) => Eye::Ping(to),
            Kind::Exec { command, user } => Eye::Exec(Job {
                command,
                environment: Vec::new(),
                user,
            }),
        };
        Self {
            eye,
            timeout: check.timeout.into(),
            nursery,
            stuck: None,
        }
    }

    /// Looks once, for no longer than the check's time-out; what it started is gone then, or keeps
    /// it from looking again.
    pub(super) async fn look(&mut self) -> Look {
        if let Some(stuck) = &self.stuck {
            if tokio::time::timeout(Duration::ZERO, stuck.gone())
                .await
                .is_err()
            {
                return Err(
                    "the last run was killed, and the kernel keeps it: on a dead disk?".to_owned(),
                );
            }
            self.stuck = None;
            self.nursery.tidy();
        }
        // Those end what they start by themselves, so that nothing is left behind.
        let ends_itself = matches!(self.eye, Eye::Exec(_) | Eye::Unit(_));
        let limit = self.timeout;
        let look = async {
            match &mut self.eye {
                Eye::Tcp(at) => net::tcp(at).await,
                Eye::Http(http) => net::http(http).await,
                Eye::Ping(to) => net::ping(*to).await,
                Eye::File { path, present } => file(path.clone(), *present).await,
                Eye::Exec(job) => {
                    let (look, stuck) = exec(job, self.timeout, &self.nursery).await;
                    self.stuck = stuck;
                    look
                }
                Eye::Process(process) => process.look().await,
                Eye::Unit(unit) => unit.look(&self.nursery, self.timeout).await,
                Eye::Tables(tables) => tables.look(),
            }
        };
        if ends_itself {
            return look.await;
        }
        let late = |_| Err(format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, look).await.unwrap_or_else(late)
    }

    /// Ends when another look may find something else; never, where nobody says so.
    pub(super) async fn changed(&mut self) {
        match &mut self.eye {
            Eye::Process(process) => process.changed().await,
            Eye::Unit(unit) => unit.changed().await,
            Eye::Tables(tables) => tables.changed().await,
            Eye::Tcp(_) | Eye::Http(_) | Eye::Ping(_) | Eye::File { .. } | Eye::Exec(_) => {
                std::future::pending().await
            }
        }
    }
}

async fn exec(job: &Job, timeout: Duration, nursery: &Nursery) -> (Look, Option<Running>) {
    let me = rustix::process::geteuid().as_raw();
    let program = job.command.first().map_or("", String::as_str);
    if let Err(why) = runnable(Path::new(program), me) {
        return (Err(why), None);
    }
    let never = std::future::pending();
    let ended = nursery
        .run(job, timeout, Ending::AtOnce, never, |_| {})
        .await;
    let words = ended.in_words();
    let look = if ended.is_good() {
        Ok(words)
    } else {
        Err(words)
    };
    (look, ended.stuck)
}

/// Aside, for a disk may be dead.
async fn file(path: PathBuf, present: bool) -> Look {
    let shown = path.display().to_string();
    match aside(move || std::fs::metadata(path)).await {
        Ok(_) if present => Ok("it is there".to_owned()),
        Ok(_) => Err(format!("{shown} is there")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && present => {
            Err(format!("{shown} is not there"))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok("it is not there".to_owned()),
        Err(e) => Err(format!("{shown} can't be looked at: {e}")),
    }
}

/// Does what may take a disk's time in a thread of its own.
async fn aside<T: Send + 'static>(
    job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(job).await;
    done.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

#[cfg(test)]
mod tests;
