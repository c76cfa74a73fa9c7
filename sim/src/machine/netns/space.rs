//! A network and mount namespace, and the thread that keeps it.
#![allow(unsafe_code)]

use crate::error::{Context, Result, err};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// A network and mount namespace without a name. It exists while its thread, or a thread or process
/// that was started by it, does.
pub struct Space {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Space {
    /// A new space. Its mount namespace starts as a copy of the caller's.
    ///
    /// # Errors
    /// If the kernel refuses, with what to do about it.
    pub fn new(name: &str) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(format!("space {name}"))
            .spawn(move || {
                let entered = enter();
                let failed = entered.is_err();
                // The creator waits for this; if it is gone, so is the need for the space.
                let _ = ready.send(entered);
                if !failed {
                    queue.into_iter().for_each(|job| job());
                }
            })
            .context(|| format!("starting a thread for `{name}`"))?;
        let entered = is_ready
            .recv()
            .map_err(|_| err(format!("the thread of `{name}` died at its start")))?;
        entered.context(|| format!("making namespaces for `{name}`"))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `job` in the space and waits for it. Threads and processes that it starts belong to
    /// the space too.
    ///
    /// # Panics
    /// If `job` does.
    pub fn call<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (answer, answered) = mpsc::sync_channel(1);
        let job = Box::new(move || {
            // The receiver is below and waits.
            let _ = answer.send(job());
        });
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        assert!(matches!(sent, Some(Ok(()))), "the space's thread is alive");
        answered.recv().expect("a job in a space does not panic")
    }

    /// A handle to the space's network namespace.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn network(&self) -> Result<File> {
        self.call(|| {
            let path = "/proc/thread-self/ns/net";
            File::open(path).context(|| path)
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It panicked only if a job did, and then `call` has said so.
            let _ = thread.join();
        }
    }
}

/// Moves the calling thread into a network and a mount namespace of its own.
fn enter() -> Result<()> {
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: unsharing is unsafe only with `CLONE_FILES`, for then file descriptors of other
    // threads would not be ours; these flags leave the file table shared.
    unsafe { unshare_unsafe(flags) }.map_err(|e| {
        err(format!(
            "{e}; needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or a kernel that lets ordinary \
             users make user namespaces (sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns)"
        ))
    })?;
    // Nothing that is mounted here may be seen outside.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context(|| "making all mounts private")
}

/// Mounts an empty tmpfs over `path`, for the calling thread's mount namespace only.
pub(super) fn mount_tmpfs(path: &Path) -> Result<()> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    mount("tmpfs", path, "tmpfs", flags, None::<&std::ffi::CStr>)
        .context(|| format!("mounting a tmpfs on {}", path.display()))
}
