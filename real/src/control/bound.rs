//! The control socket's file, for as long as it is ours.

use crate::readiness::watch;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// How often it is checked that the file is still there, where the kernel does not notify that.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);
/// And where it does: something may be mounted over it.
const CHECK_SELDOM: Duration = Duration::from_secs(60);

/// A socket's file, removed when dropped.
pub(super) struct Bound {
    path: PathBuf,
    which: Option<(u64, u64)>,
}

impl Bound {
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            which: Self::which(path),
        }
    }

    pub(super) fn which(path: &Path) -> Option<(u64, u64)> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        Some((meta.dev(), meta.ino()))
    }

    fn is_there(&self) -> bool {
        self.which.is_some() && Self::which(&self.path) == self.which
    }

    /// Ends when somebody has removed it, or put another in its place.
    pub(super) async fn lost(&self) {
        let watched = self.watch();
        while self.is_there() {
            match &watched {
                Some(watched) => drop(timeout(CHECK_SELDOM, changed(watched)).await),
                None => tokio::time::sleep(CHECK_EVERY).await,
            }
        }
    }

    /// Has the kernel notify what becomes of the names in the file's directory.
    fn watch(&self) -> Option<AsyncFd<OwnedFd>> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, self.path.parent()?, names | itself).ok()?;
        watch(inotify).ok()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path); // it may be gone already
        }
    }
}

/// Waits until something is notified.
async fn changed(inotify: &AsyncFd<OwnedFd>) {
    let Ok(mut ready) = inotify.readable().await else {
        return tokio::time::sleep(CHECK_EVERY).await;
    };
    let mut events = [0; 4_096];
    // What they say is looked for.
    while rustix::io::read(inotify, &mut events).is_ok_and(|length| length > 0) {}
    ready.clear_ready();
}
