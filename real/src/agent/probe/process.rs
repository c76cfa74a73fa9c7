//! `process`: a process runs. Its end is noticed by a pidfd, at once.

use super::{Look, aside};
use crate::config_file::checks;
use crate::readiness::watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tokio::io::unix::AsyncFd;

/// A process to be watched.
#[derive(Debug)]
pub(super) struct Process {
    which: checks::Process,
    watched: Option<Watched>,
}

/// A process that is watched. The number may be another one's later; the descriptor never is.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pid: i32,
    ends: AsyncFd<OwnedFd>,
}

impl Watched {
    /// Watches a process, if there is one of that number that has not ended.
    pub(super) fn new(pid: i32) -> Result<Self, String> {
        let failed = |e: std::io::Error| match e.raw_os_error() {
            Some(libc::ESRCH | libc::EINVAL) => format!("there is no process {pid}"),
            _ => format!("process {pid} can't be watched: {e}"),
        };
        let number = Pid::from_raw(pid).ok_or_else(|| format!("there is no process {pid}"))?;
        let ends = pidfd_open(number, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
        let ends = watch(ends).map_err(failed)?;
        let watched = Self { pid, ends };
        match watched.has_ended() {
            true => Err(format!("process {pid} has ended")),
            false => Ok(watched),
        }
    }

    /// Asked of the kernel: the runtime may not have heard of it yet.
    pub(super) fn has_ended(&self) -> bool {
        let mut ends = [PollFd::new(self.ends.get_ref(), PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut ends, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Ends with it.
    pub(super) async fn ended(&self) {
        let _ = self.ends.readable().await;
    }
}

impl Process {
    pub(super) fn new(which: checks::Process) -> Self {
        Self {
            which,
            watched: None,
        }
    }

    pub(super) async fn look(&mut self) -> Look {
        if let Some(watched) = &self.watched
            && watched.has_ended()
        {
            self.watched = None;
        }
        match &self.which {
            checks::Process::PidFile(path) => {
                let pid = from_file(path.clone()).await?;
                if self
                    .watched
                    .as_ref()
                    .is_none_or(|watched| watched.pid != pid)
                {
                    self.watched = None; // another one's
                    self.watched = Some(Watched::new(pid)?);
                }
            }
            // As long as one of them lives, it is enough.
            checks::Process::Named(name) if self.watched.is_none() => {
                for pid in named(name) {
                    if let Ok(watched) = Watched::new(pid) {
                        self.watched = Some(watched);
                        break;
                    }
                }
                if self.watched.is_none() {
                    return Err(format!("no process is called {name}"));
                }
            }
            checks::Process::Named(_) => {}
        }
        let pid = self.watched.as_ref().map_or(0, |watched| watched.pid);
        Ok(format!("process {pid} runs"))
    }

    pub(super) async fn changed(&self) {
        match &self.watched {
            Some(watched) => watched.ended().await,
            None => std::future::pending().await,
        }
    }
}

async fn from_file(path: PathBuf) -> Result<i32, String> {
    let shown = path.display().to_string();
    let text = aside(move || std::fs::read_to_string(path)).await;
    let text = text.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("{shown} is not there"),
        _ => format!("{shown} can't be read: {e}"),
    })?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| format!("{shown} has no number of a process in it"))
}

/// All of that name, the eldest first.
fn named(name: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // A process may end at any moment.
        let stat = std::fs::read(entry.path().join("stat")).unwrap_or_default();
        if let Some(begun) = begun(&String::from_utf8_lossy(&stat), name) {
            found.push((begun, pid));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, pid)| pid).collect()
}

/// When the process of this line of `/proc/PID/stat` began, if it is called so and has not ended.
fn begun(stat: &str, name: &str) -> Option<u64> {
    let (_, rest) = stat.split_once('(')?;
    let (called, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let begun = fields.nth(18)?.parse().ok()?;
    (called == name && state != "Z" && state != "X").then_some(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_all_of_its_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 2 3";
        assert_eq!(begun(stat, "a ) b"), Some(777));
        assert_eq!(begun(stat, "a"), None);
        assert_eq!(begun(&stat.replace(") S", ") Z"), "a ) b"), None);
        for bad in ["", "42", "42 (", "42 (a) S 1"] {
            assert_eq!(begun(bad, "a"), None);
        }
    }
}
