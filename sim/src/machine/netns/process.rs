//! A process in a host, which dies with its host's thread.
#![allow(unsafe_code)]

use crate::error::{Context, Result, err};
use rustix::process::{
    Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal,
};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// A process that the lab started. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command` from the calling thread: in that thread's namespaces, in a process group of
    /// its own (Ctrl-C is for the lab), and killed by the kernel when that thread ends.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        // SAFETY: between fork and exec the closure makes one system call and touches no memory
        // but its own stack.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command
            .spawn()
            .context(|| format!("starting `{name}` (is it installed, and in PATH?)"))?;
        Ok(Self { child, name })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `TERM`, `KILL`, `STOP`, `CONT`…
    ///
    /// # Errors
    /// If it has ended and was waited for.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(signal, kill_process)
    }

    /// Sends it a signal, and all that it started.
    ///
    /// # Errors
    /// If they have ended and were waited for.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        self.send(signal, kill_process_group)
    }

    fn send(&self, signal: Signal, kill: fn(Pid, Signal) -> rustix::io::Result<()>) -> Result<()> {
        let gone = || format!("`{}` (process {})", self.name, self.child.id());
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| err(gone()))?;
        kill(pid, signal).context(|| format!("sending {signal:?} to {}", gone()))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the kernel can't say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let name = &self.name;
        self.child
            .try_wait()
            .context(|| format!("waiting for `{name}`"))
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= until {
                let (name, id) = (&self.name, self.child.id());
                return Err(err(format!(
                    "`{name}` (process {id}) still runs after {patience:?}; it should have ended"
                )));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The standard streams that the command piped.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If it has ended already, both fail, and nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
