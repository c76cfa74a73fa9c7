//! Keeps the histories of a daemon's clusters on disk: read and written aside, a few at a time, so
//! that no turn waits. What can't be kept is shown all the same, and said to be lost at a restart.

use super::file::{read_or_set_aside, write};
use super::{Entry, History, MOST};
use crate::clock::boottime;
use crate::lease_record::file_name;
use crate::wall;
use onehold_core::time::{LocalTime, Span};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How soon after something happened it is written, and how far apart two writings are: at least so
/// long, and so many times as long as the latest took. A witness that can't keep up, or whose disk
/// is slow, has other things to do.
const SOON: Span = Span::from_millis(50);
const APART: Span = Span::from_millis(1_000);
const APART_BY: u64 = 20;
/// After what time a writing that failed is tried again.
const AGAIN_AFTER: Span = Span::from_millis(5_000);
/// Most histories that are read or written at a time: a witness has thousands.
const AT_A_TIME: usize = 64;
/// About how many entries are kept of all clusters together, and how many of each at least.
const MOST_OF_ALL: usize = 10_000;
const LEAST: usize = 20;
/// How long the end of the daemon waits for what is left to write: nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The histories, by cluster.
#[derive(Debug, Default)]
pub struct Keeper {
    kept: Vec<Option<Kept>>,
    /// How many of them are still to be read.
    unread: usize,
    job: Option<oneshot::Receiver<AllDone>>,
    write_at: Option<LocalTime>,
    /// No sooner than then.
    rests_until: Option<LocalTime>,
    /// Whose turn it is to be written: those before it wait until the others were.
    next: usize,
}

#[derive(Debug)]
struct Kept {
    member: String,
    file: PathBuf,
    history: History,
    /// What an earlier incarnation left was read.
    read: bool,
    /// Something is not on its way to the disk yet.
    dirty: bool,
    /// Why it is not kept, if so.
    fault: Option<String>,
    /// It must not be written: something is in its place that can't be read.
    blocked: bool,
}

/// What came of what was done for each cluster, and how long all of it took.
type AllDone = (Vec<(usize, Done)>, Span);

#[derive(Debug)]
enum Done {
    Read(Result<(Vec<Entry>, Option<String>), String>),
    Written(Result<(), String>),
}

impl Keeper {
    /// One more cluster: what it is for is kept in this directory. It is read by and by.
    pub fn join(&mut self, directory: &Path, cluster: &str, member: &str) {
        self.unread += 1;
        self.kept.push(Some(Kept {
            member: member.to_owned(),
            file: directory.join(format!("{}.history", file_name(cluster, member))),
            history: History::default(),
            read: false,
            dirty: false,
            fault: None,
            blocked: false,
        }));
    }

    /// A cluster is not served any more: what is left to write is written, aside. Needs a tokio
    /// runtime.
    pub fn leave(&mut self, cluster: usize) {
        let Some(kept) = self.kept.get_mut(cluster).and_then(Option::take) else {
            return;
        };
        if !kept.read {
            self.unread -= 1; // what was before is still there, and stays so
        } else if kept.dirty && !kept.blocked {
            tokio::task::spawn_blocking(move || {
                if let Err(e) = write(&kept.file, &kept.history) {
                    tracing::warn!("history: can't write {}: {e}", kept.file.display());
                }
            });
        }
    }

    /// Something happened now.
    pub fn add(&mut self, cluster: usize, mut entry: Entry, now: LocalTime) {
        entry.at_ms = u64::try_from(wall::now()).unwrap_or(0);
        let most = self.most();
        if let Some(Some(kept)) = self.kept.get_mut(cluster) {
            kept.history.add(entry, most);
            kept.dirty = true;
            self.write_soon(now);
        }
    }

    fn most(&self) -> usize {
        (MOST_OF_ALL / self.kept.len().max(1)).clamp(LEAST, MOST)
    }

    fn write_soon(&mut self, now: LocalTime) {
        let rests_until = self.rests_until.unwrap_or(now);
        let soon = now.plus(SOON).max(rests_until);
        self.write_at = self.write_at.or(Some(soon));
    }

    /// What happened in a cluster, and why that is not kept, if so.
    #[must_use]
    pub fn history(&self, cluster: usize) -> Option<(Vec<Entry>, Option<String>)> {
        let kept = self.kept.get(cluster)?.as_ref()?;
        Some((
            kept.history.entries().cloned().collect(),
            kept.fault.clone(),
        ))
    }

    /// When it is to be polled, at the latest.
    #[must_use]
    pub fn due(&self) -> Option<LocalTime> {
        let due = match self.unread {
            0 => self.write_at,
            _ => Some(LocalTime::from_nanos(0)),
        };
        due.filter(|_| self.job.is_none())
    }

    /// Everything is read, and written, as far as it can be.
    pub(crate) fn is_idle(&self) -> bool {
        let dirty = |kept: &Kept| kept.dirty && kept.fault.is_none() && !kept.blocked;
        self.job.is_none() && self.unread == 0 && !self.kept.iter().flatten().any(dirty)
    }

    /// Goes on with what is to be read and written. Needs a tokio runtime.
    pub fn poll(&mut self, now: LocalTime, cx: &mut Context<'_>) {
        loop {
            if self.job.is_none() && !self.begin(now) {
                return;
            }
            let Some(job) = &mut self.job else { return };
            let Poll::Ready(done) = Pin::new(job).poll(cx) else {
                return;
            };
            self.job = None;
            let (done, took) = done.unwrap_or_default();
            self.rests(now, took);
            self.all_done(done, now);
        }
    }

    /// What was read or written took so long.
    pub(super) fn rests(&mut self, now: LocalTime, took: Span) {
        let until = now.plus(took.times(APART_BY));
        self.rests_until = self.rests_until.max(Some(until));
        self.write_at = self.write_at.map(|at| at.max(until));
    }

    /// Begins to read, or else to write if that is due. Returns whether there was something to do.
    fn begin(&mut self, now: LocalTime) -> bool {
        let first = self.next.min(self.kept.len());
        let of = |wanted: fn(&Kept) -> bool, all: &[Option<Kept>]| -> Vec<usize> {
            let (before, from) = all.split_at(first);
            let all = (first..).zip(from).chain((0..).zip(before));
            let wanted = all.filter(|(_, kept)| kept.as_ref().is_some_and(wanted));
            wanted.map(|(cluster, _)| cluster).take(AT_A_TIME).collect()
        };
        if self.unread > 0 {
            let unread = of(|kept| !kept.read, &self.kept);
            let files = (unread.iter())
                .filter_map(|n| Some((*n, self.kept.get(*n)?.as_ref()?.file.clone())));
            self.aside(files.collect(), |file| Done::Read(read_or_set_aside(&file)));
            return true;
        }
        if self.write_at.is_none_or(|at| now < at) {
            return false;
        }
        self.write_at = None;
        self.rests_until = Some(now.plus(APART));
        let dirty = |kept: &Kept| kept.dirty && !kept.blocked;
        let dirty = of(dirty, &self.kept);
        let Some(last) = dirty.last() else {
            return false;
        };
        self.next = last + 1;
        let all = dirty.iter().filter_map(|n| {
            let kept = self.kept.get_mut(*n)?.as_mut()?;
            kept.dirty = false;
            Some((*n, (kept.file.clone(), kept.history.clone())))
        });
        let all = all.collect();
        self.aside(all, |(file, history)| {
            let written = write(&file, &history);
            Done::Written(written.map_err(|e| format!("can't write {}: {e}", file.display())))
        });
        true
    }

    fn aside<T: Send + 'static>(
        &mut self,
        all: Vec<(usize, T)>,
        each: impl Fn(T) -> Done + Send + 'static,
    ) {
        let (tell, done) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let begun = boottime();
            let all = all.into_iter().map(|(cluster, what)| (cluster, each(what)));
            let all = all.collect();
            let _ = tell.send((all, boottime().since(begun))); // the daemon may have ended
        });
        self.job = Some(done);
    }

    fn all_done(&mut self, all: Vec<(usize, Done)>, now: LocalTime) {
        for (cluster, done) in all {
            self.done(cluster, done, now);
        }
        let mut kept = self.kept.iter().flatten();
        if kept.any(|kept| kept.dirty && !kept.blocked) {
            self.write_soon(now);
        }
    }

    fn done(&mut self, cluster: usize, done: Done, now: LocalTime) {
        let most = self.most();
        let Some(Some(kept)) = self.kept.get_mut(cluster) else {
            return; // it has left
        };
        let fault = match done {
            Done::Read(read) => {
                kept.read = true;
                self.unread -= 1;
                match read {
                    Ok((earlier, damaged)) => {
                        kept.history.take_up(earlier, most);
                        if let Some(why) = damaged {
                            let text = "what happened before this can't be read";
                            tracing::warn!("history: {text}: {why}");
                            let mut entry = Entry::new(&kept.member, "history", text);
                            entry.at_ms = u64::try_from(wall::now()).unwrap_or(0);
                            kept.history.add(entry.because(why), most);
                            kept.dirty = true;
                        }
                        None
                    }
                    Err(why) => {
                        kept.blocked = true;
                        Some(why)
                    }
                }
            }
            Done::Written(Ok(())) => None,
            Done::Written(Err(why)) => {
                kept.dirty = true;
                self.write_at = Some(now.plus(AGAIN_AFTER));
                Some(why)
            }
        };
        if let Some(why) = fault.as_ref().filter(|_| fault != kept.fault) {
            tracing::warn!("history: a restart forgets it: {why}");
        }
        kept.fault = fault;
    }

    /// Writes what is left to write, if that does not take long.
    pub async fn finish(mut self) {
        let all = async {
            while self.job.is_some() || self.begin(LocalTime::from_nanos(u64::MAX)) {
                let Some(job) = &mut self.job else { return };
                let (done, _) = job.await.unwrap_or_default();
                self.job = None;
                let failed = |(_, done): &(usize, Done)| matches!(done, Done::Written(Err(_)));
                let failed = done.iter().any(failed);
                self.all_done(done, LocalTime::from_nanos(0));
                if failed {
                    return; // it was said
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await; // nothing depends on it
    }
}
