//! Whether the file on the disk is what runs. It is read aside, for a disk may be slow, and only
//! reported: nothing of it is adopted before somebody says `reload`.
//!
//! A reload that was refused stays an alarm until one is accepted, or the file is again what runs.

use super::{Beside, Linux};
use crate::config_file::{self, Stamp};
use crate::driver::ShellEvent;
use crate::status::FileOnDisk;
use onehold_core::time::{LocalTime, Span};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// How often the file is looked at: no more than its times and lengths, if they are as they were.
const APART: Span = Span::from_millis(5_000);
/// It is looked at that much sooner, in a turn that happens anyway: nothing wakes up for it then.
const EARLY: Span = Span::from_millis(125);

/// The file on the disk, as it was last looked at.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    stamp: Stamp,
    looking: Option<oneshot::Receiver<Look>>,
    due: Option<LocalTime>,
}

/// How the file of one cluster stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    is: FileOnDisk,
    /// A reload was refused for what the file says, and not for what it leads to.
    for_its_text: bool,
}

/// A file that was read; none, if it has not changed since.
type Look = Option<(Stamp, Result<config_file::Texts, String>)>;

impl OnDisk {
    /// When to look again.
    pub(super) fn due(&self) -> Option<LocalTime> {
        self.due.filter(|_| self.looking.is_none())
    }

    /// Begins to look.
    fn look(&mut self, path: PathBuf, now: LocalTime) {
        self.due = Some(now.plus(APART));
        let stamp = self.stamp.clone();
        let (tell, looked) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let look = (!stamp.is_current()).then(|| config_file::texts(&path));
            let _ = tell.send(look.map(|(stamp, texts)| (stamp, texts.map_err(|e| e.to_string()))));
        });
        self.looking = Some(looked);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Look> {
        let Some(looking) = &mut self.looking else {
            return Poll::Pending;
        };
        let looked = ready!(Pin::new(looking).poll(cx));
        self.looking = None;
        looked.map_or(Poll::Pending, Poll::Ready) // the runtime ends, and this with it
    }
}

impl Linux {
    /// Of how many clusters a reload was refused.
    pub(super) fn reloads_refused(&self) -> usize {
        let standings = self.beside.iter().map(|beside| &beside.standing);
        let refused = standings.filter(|s| matches!(s.is, FileOnDisk::Refused(_)));
        refused.count()
    }

    /// Why the last reload of the cluster at a place was refused, if it was.
    pub(super) fn reload_refused(&self, place: usize) -> Option<String> {
        match &self.beside.get(place)?.standing.is {
            FileOnDisk::Refused(why) => Some(why.clone()),
            FileOnDisk::Same | FileOnDisk::Differs(_) => None,
        }
    }

    /// Looks at the file if that is due.
    pub(super) fn look_at_disk(&mut self, now: LocalTime) {
        let on_disk = &self.arrivals.on_disk;
        if !self.loaded.clusters.is_empty()
            && on_disk.looking.is_none()
            && on_disk.due.is_none_or(|due| due <= now.plus(EARLY))
        {
            let path = self.arrivals.config().to_owned();
            self.arrivals.on_disk.look(path, now);
        }
    }

    /// Whether something was found out.
    pub(super) fn poll_disk(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Poll::Ready(look) = self.arrivals.on_disk.poll(cx) else {
            return Poll::Pending;
        };
        let Some((stamp, texts)) = look else {
            return Poll::Ready(());
        };
        let differ = match texts {
            Ok(texts) => {
                let in_file = texts.names();
                let awaited = |name: &str| self.arrivals.welcomes(name, &in_file);
                self.loaded.differ_from(&texts, awaited)
            }
            Err(why) => vec![Some(why); self.loaded.clusters.len()],
        };
        self.arrivals.on_disk.stamp = stamp;
        for (place, differs) in differ.into_iter().enumerate() {
            let Some(Beside { standing, .. }) = self.beside.get_mut(place) else {
                continue;
            };
            let is = match (&standing.is, differs) {
                (FileOnDisk::Refused(_), Some(_)) => {
                    standing.for_its_text = true;
                    continue;
                }
                (FileOnDisk::Refused(_), None) if !standing.for_its_text => continue,
                (_, Some(what)) => FileOnDisk::Differs(what),
                (_, None) => FileOnDisk::Same,
            };
            self.stands(place, is);
        }
        Poll::Ready(())
    }

    /// What became of a reload of the cluster at a place.
    pub(super) fn reloaded(&mut self, place: usize, refused: Option<String>) {
        let on_disk = &mut self.arrivals.on_disk;
        (on_disk.stamp, on_disk.due) = (Stamp::default(), None); // it is compared again
        if let Some(Beside { standing, .. }) = self.beside.get_mut(place) {
            standing.for_its_text = false;
        }
        self.stands(place, refused.map_or(FileOnDisk::Same, FileOnDisk::Refused));
    }

    fn stands(&mut self, place: usize, is: FileOnDisk) {
        let Some(Beside {
            number, standing, ..
        }) = self.beside.get_mut(place)
        else {
            return;
        };
        let cluster = *number;
        let before = std::mem::replace(&mut standing.is, is.clone());
        let whose = self.prefix(place);
        match (&before, &is) {
            (FileOnDisk::Refused(_), FileOnDisk::Same) => {
                tracing::info!(
                    event = "alarm_over",
                    "{whose}over: the reload that was refused"
                );
            }
            (FileOnDisk::Same, FileOnDisk::Differs(what)) => {
                tracing::info!("{whose}the file is not what runs: {what}");
            }
            _ => {}
        }
        // A reload that is refused again is another one.
        if before != is || matches!(is, FileOnDisk::Refused(_)) {
            let event = ShellEvent::OnDisk {
                cluster,
                standing: is,
            };
            self.pending.events.push_back(event);
            self.report_condition();
        }
    }
}
