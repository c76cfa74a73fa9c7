//! Running somebody's command, and ending it with whatever it started.
//!
//! A command gets an environment that is all ours, a process group of its own and no terminal. What
//! it prints is read as it comes and never kept; the last line is. At its deadline it is ended with
//! its children: those of its group, and those that left the group and that its environment gives
//! away.

use crate::config_file::hooks::User;
use crate::control::session::one_line;
use crate::readiness::watch;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgid, getsid, kill_process,
    kill_process_group, pidfd_open, set_child_subreaper, waitid,
};
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

/// Of the environment: which run a process belongs to, as the number of the agent's process, a
/// point, and the number of the run.
const RUN: &str = "ONEHOLD_RUN";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a command that is asked to end has for it.
const GRACE: Duration = Duration::from_secs(2);
/// How long one that is killed may take to be gone before it counts as stuck in the kernel.
const KILLED: Duration = Duration::from_millis(200);
/// What is kept of a line.
const LONGEST_LINE: usize = 1024;
/// Most processes that are killed at once; what is left of a fork bomb is killed the next time.
const MOST_BELOW: usize = 4096;
/// Most runs that are remembered for what they may have left.
const MOST_CONDEMNED: usize = 256;
/// What is read of a command that has ended, at most.
const REST: usize = 64 * 1024;

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// Its environment, besides what every command has.
    pub(super) environment: Vec<(String, String)>,
    /// Who runs it.
    pub(super) user: User,
}

/// How a command is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Killed.
    AtOnce,
    /// Asked first.
    Asked,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// How.
    pub(super) how: How,
    /// The last line that it printed.
    pub(super) said: String,
    /// It was killed, and the kernel keeps it: nothing like it should be started before it is gone.
    pub(super) stuck: Option<Running>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// At its deadline.
    TooLate(Duration),
    /// It was no longer wanted.
    Unwanted,
    /// It could not be started.
    NotStarted(String),
}

impl How {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Signalled(signal.unwrap_or_default()),
        }
    }
}

impl Ended {
    /// It did what it should.
    pub(super) fn is_good(&self) -> bool {
        self.how == How::Exited(0)
    }

    /// What became of it, in one line.
    pub(super) fn in_words(&self) -> String {
        let how = match &self.how {
            How::Exited(0) => return self.said.clone(),
            How::Exited(code) => format!("exit status {code}"),
            How::Signalled(signal) => format!("ended by signal {signal}"),
            How::TooLate(deadline) => format!("not done within {deadline:?}, and killed"),
            How::Unwanted => "no longer wanted, and ended".to_owned(),
            How::NotStarted(why) => why.clone(),
        };
        match self.said.as_str() {
            "" => how,
            said => one_line(&format!("{said} ({how})")),
        }
    }
}

/// All commands that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nursery(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those that were started here, and not waited for yet.
    running: Mutex<BTreeSet<i32>>,
    runs: AtomicU64,
    /// The latest runs of which nothing should be left.
    condemned: Mutex<VecDeque<String>>,
}

/// A command that runs. Dropping it kills it, with its group.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pid: Pid,
    ends: AsyncFd<OwnedFd>,
    mark: String,
    nursery: Nursery,
    /// It was waited for.
    over: bool,
}

impl Nursery {
    /// None yet. What a command leaves behind becomes this process's child, and is not lost.
    pub(crate) fn new() -> std::io::Result<Self> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self::default())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn condemned(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0
            .condemned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command to its end, its deadline, or until it is no longer `wanted`. Each line that
    /// it prints is handed to `line`.
    pub(super) async fn run(
        &self,
        job: &Job,
        deadline: Duration,
        ending: Ending,
        unwanted: impl Future<Output = ()>,
        mut line: impl FnMut(&str),
    ) -> Ended {
        let (mut running, mut from) = match self.start(job) {
            Ok(started) => started,
            Err(why) => {
                return Ended {
                    how: How::NotStarted(why),
                    said: String::new(),
                    stuck: None,
                };
            }
        };
        let mut lines = Lines::default();
        let early = tokio::select! {
            () = running.ends(&mut from, &mut lines, &mut line) => None,
            () = sleep(deadline) => Some(How::TooLate(deadline)),
            () = unwanted => Some(How::Unwanted),
        };
        if early.is_some() {
            if ending == Ending::Asked {
                running.signal(Signal::TERM);
                let _ = timeout(GRACE, running.ends(&mut from, &mut lines, &mut line)).await;
            }
            running.kill();
            let _ = timeout(KILLED, running.gone()).await;
        }
        if ending == Ending::AtOnce {
            running.kill(); // a check leaves nothing behind
        }
        drain(&from, &mut lines, &mut line);
        let status = running.collect();
        if early.is_some() || ending == Ending::AtOnce {
            self.condemn(&running.mark);
        }
        self.tidy();
        let said = lines.last(&mut line);
        Ended {
            how: early.unwrap_or_else(|| status.map_or(How::Signalled(0), How::of)),
            said,
            stuck: (!running.over).then_some(running),
        }
    }

    fn start(&self, job: &Job) -> Result<(Running, pipe::Receiver), String> {
        let (program, arguments) = job.command.split_first().ok_or("no command")?;
        let failed = |what: &str, e: &dyn std::fmt::Display| format!("`{program}`: {what}: {e}");
        let (from, to) = std::io::pipe().map_err(|e| failed("no pipe", &e))?;
        let also = to.try_clone().map_err(|e| failed("no pipe", &e))?;
        let run = self.0.runs.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}.{run}", std::process::id());
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").env_clear();
        command
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env(RUN, &mark);
        command.envs(job.environment.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(to).stderr(also);
        command.process_group(0);
        if let Some((user, group)) = ids_of(&job.user)? {
            command.uid(user).gid(group);
        }
        let child = command
            .spawn()
            .map_err(|e| failed("can't be started", &e))?;
        drop(command); // with our copies of the pipe's other end
        let pid = Pid::from_child(&child);
        self.running().insert(pid.as_raw_nonzero().get());
        let ends = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from);
        let running = match ends.and_then(watch) {
            Ok(ends) => Running {
                child,
                pid,
                ends,
                mark,
                nursery: self.clone(),
                over: false,
            },
            Err(e) => {
                let _ = kill_process_group(pid, Signal::KILL);
                return Err(failed("can't be watched", &e));
            }
        };
        let from = pipe::Receiver::from_owned_fd(from.into()).map_err(|e| failed("no pipe", &e))?;
        Ok((running, from))
    }

    /// This process's own children that are not commands.
    pub(crate) fn spare(&self, programs: impl IntoIterator<Item = Pid>) {
        *self.running() = programs
            .into_iter()
            .map(|pid| pid.as_raw_nonzero().get())
            .collect();
    }

    /// Kills what an agent that has died still ran. What its earlier runs have left, such as a service
    /// that one started, stays. Says whether nothing ran any more.
    pub(crate) fn end_runs_of(&self, agent: Pid) -> bool {
        let mark = format!("{}.", agent.as_raw_nonzero());
        let mut clean = true;
        for pid in children_of("self") {
            // A command leads its group, in our own session, for as long as it runs.
            let leads = getpgid(Some(pid)) == Ok(pid) && getsid(Some(pid)) == getsid(None);
            if leads && mark_of(pid).is_some_and(|of| of.starts_with(&mark)) {
                let _ = kill_process_group(pid, Signal::KILL);
                kill_all_below(pid);
                clean = false;
            }
        }
        self.tidy();
        clean
    }

    /// No process of that run should be left.
    fn condemn(&self, mark: &str) {
        let mut condemned = self.condemned();
        if condemned.len() >= MOST_CONDEMNED {
            condemned.pop_front();
        }
        condemned.push_back(mark.to_owned());
    }

    /// Waits for what commands have left behind, and kills what should not be left of them.
    pub(crate) fn tidy(&self) {
        for pid in children_of("self") {
            if self.running().contains(&pid.as_raw_nonzero().get()) {
                continue;
            }
            if mark_of(pid).is_some_and(|mark| self.condemned().contains(&mark)) {
                kill_all_below(pid);
            }
            // If it has ended.
            let which = WaitId::Pid(pid);
            let _ = waitid(which, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }

    /// Nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running().is_empty()
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        // It may have ended meanwhile; but as it was not waited for, the number is still its own.
        let _ = kill_process_group(self.pid, signal);
    }

    fn kill(&self) {
        if !self.over {
            self.signal(Signal::KILL);
        }
    }

    /// Its process is gone, whatever became of its children.
    pub(super) async fn gone(&self) {
        let _ = self.ends.readable().await;
    }

    /// Reads what it prints until its process is gone.
    async fn ends(
        &self,
        from: &mut pipe::Receiver,
        lines: &mut Lines,
        line: &mut impl FnMut(&str),
    ) {
        let mut buffer = [0; 4096];
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = self.gone() => return,
                ready = from.readable(), if open => match ready.and_then(|()| from.try_read(&mut buffer)) {
                    Ok(0) => open = false,
                    Ok(n) => lines.feed(buffer.get(..n).unwrap_or(&[]), line),
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => open = false,
                },
            }
        }
    }

    /// How it ended, if it has.
    fn collect(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.over = true;
        self.nursery
            .running()
            .remove(&self.pid.as_raw_nonzero().get());
        Some(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
            self.nursery.condemn(&self.mark);
        }
        let _ = self.collect(); // else `tidy` waits for it
        self.nursery
            .running()
            .remove(&self.pid.as_raw_nonzero().get());
    }
}

/// What is still in the pipe of one that has ended. Its children may hold the other end: nobody
/// waits for them.
fn drain(from: &pipe::Receiver, lines: &mut Lines, line: &mut impl FnMut(&str)) {
    let mut buffer = [0; 4096];
    for _ in 0..REST / buffer.len() {
        match from.try_read(&mut buffer) {
            Ok(n) if n > 0 => lines.feed(buffer.get(..n).unwrap_or(&[]), line),
            _ => return,
        }
    }
}

/// What a command prints, line by line.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    last: String,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], line: &mut impl FnMut(&str)) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end(line);
            } else if self.partial.len() < LONGEST_LINE {
                self.partial.push(*byte);
            }
        }
    }

    fn end(&mut self, line: &mut impl FnMut(&str)) {
        let said = one_line(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
        if !said.is_empty() {
            line(&said);
            self.last = said;
        }
    }

    fn last(mut self, line: &mut impl FnMut(&str)) -> String {
        self.end(line);
        self.last
    }
}

/// A process's children, and those that its former children have left.
fn children_of(process: &str) -> Vec<Pid> {
    let mut all = Vec::new();
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
        all.extend(pids.filter_map(Pid::from_raw));
    }
    all
}

/// Kills a process and all below it, the upper ones first: who is dead starts no others.
fn kill_all_below(top: Pid) {
    let mut all = vec![top];
    for _ in 0..MOST_BELOW {
        let Some(pid) = all.pop() else {
            return;
        };
        let below = children_of(&pid.as_raw_nonzero().to_string());
        let _ = kill_process(pid, Signal::KILL);
        all.extend(below);
    }
}

/// Which run a process belongs to, by its environment, if that may be read.
fn mark_of(pid: Pid) -> Option<String> {
    let environ = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let mut all = environ.split(|b| *b == 0);
    let mark = all.find_map(|entry| entry.strip_prefix(RUN.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(mark).into_owned())
}

/// The numbers of a user, if it is another one than this process's.
///
/// # Errors
/// There is none of that name, or this process may not become it.
pub(super) fn ids_of(user: &User) -> Result<Option<(u32, u32)>, String> {
    let Some(name) = &user.0 else {
        return Ok(None);
    };
    let me = rustix::process::geteuid().as_raw();
    let (uid, gid) = ids_in(Path::new("/etc/passwd"), name)
        .ok_or_else(|| format!("there is no user `{name}` in /etc/passwd"))?;
    match (uid == me, me) {
        (true, _) => Ok(None),
        (false, 0) => Ok(Some((uid, gid))),
        (false, _) => Err(format!(
            "the agent runs as user {me} and can't become `{name}`: let it run as root, or leave `user` out"
        )),
    }
}

fn ids_in(passwd: &Path, name: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string(passwd).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next()? == name;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_it.then_some((uid, gid))
    })
}

#[cfg(test)]
pub(in crate::agent) mod tests;
