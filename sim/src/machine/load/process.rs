//! A witness's process in a directory of its own, and what it uses.

use crate::error::{Context, Result, err};
use crate::machine::idle;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// A process that is stopped for a part of the time goes on after so long, and so on.
const SLICE: Duration = Duration::from_millis(10);

/// A process that ends, and whose directory goes, when it is dropped.
pub(super) struct Running {
    name: &'static str,
    pub(super) directory: PathBuf,
    process: Option<Child>,
}

/// What a process has used.
pub(super) struct Used {
    pub(super) cpu: Duration,
    user: u64,
    system: u64,
    pub(super) rss_kib: u64,
}

impl Used {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            user: self.user - before.user,
            system: self.system - before.system,
            ..*self
        }
    }

    /// How much of it was in the kernel.
    pub(super) fn system_share(&self) -> f64 {
        self.system as f64 / (self.user + self.system).max(1) as f64
    }
}

impl Running {
    /// A directory for it; nothing runs yet.
    pub(super) fn prepare(name: &'static str, directory: &str) -> Result<Self> {
        let own = format!("onehold-{directory}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).context(|| directory.display())?;
        Ok(Self {
            name,
            directory,
            process: None,
        })
    }

    /// Starts it there, with a log.
    pub(super) fn start(&mut self, command: &mut Command) -> Result<()> {
        let log = self.directory.join("log");
        let log = fs::File::create(&log).context(|| log.display())?;
        let errors = log.try_clone().context(|| "the log")?;
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let program = command.get_program().to_owned();
        self.process = Some(command.spawn().context(|| program.display())?);
        Ok(())
    }

    fn id(&self) -> Result<u32> {
        let id = self.process.as_ref().map(Child::id);
        id.ok_or_else(|| err(format!("{} does not run", self.name)))
    }

    pub(super) fn used(&self) -> Result<Used> {
        let id = self.id()?;
        let path = format!("/proc/{id}/stat");
        let stat = fs::read_to_string(&path).context(|| &path)?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let field = |n: usize| fields.split_whitespace().nth(n)?.parse().ok();
        let no = || err(format!("{path} can't be parsed"));
        Ok(Used {
            cpu: idle::cpu(id)?,
            user: field(11).ok_or_else(no)?,
            system: field(12).ok_or_else(no)?,
            rss_kib: idle::rss(id)?,
        })
    }

    /// It runs for so many per cent less of the time, as on a machine that is too slow, or that others
    /// use, until what is returned is dropped.
    pub(super) fn slow_down(&self, percent: u32) -> Result<Slowed> {
        let id = Pid::from_raw(self.id()?.cast_signed());
        let id = id.ok_or_else(|| err(format!("{} has no number", self.name)))?;
        let over = Arc::new(AtomicBool::new(percent == 0));
        let seen = Arc::clone(&over);
        let thread = spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // It may have ended: whoever asks whether it lives finds that.
                let _ = kill_process(id, Signal::STOP);
                sleep(SLICE * percent / 100);
                let _ = kill_process(id, Signal::CONT);
                sleep(SLICE * (100 - percent) / 100);
            }
        });
        let thread = Some(thread);
        Ok(Slowed { over, thread })
    }

    /// An error if it has ended.
    pub(super) fn alive(&mut self) -> Result<()> {
        let ended = self.process.as_mut().map(Child::try_wait);
        match ended {
            Some(Ok(Some(status))) => Err(err(format!(
                "{} has ended, {status}; its log ends with:\n{}",
                self.name,
                self.log()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A process is slow as long as this lives.
pub(super) struct Slowed {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join); // it can't panic
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill(); // it may have ended
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.directory); // nothing else is lost by it
    }
}
