//! What the driver reports to people: the status of each cluster, and how late turns begin.

use super::{Driver, Shell};
use crate::control::Reply;
use crate::status::{self, Report, Status, Waiting};
use onehold_core::advert::GroupId;
use onehold_core::time::LocalTime;

/// Of how many clusters one turn makes a report: a fraction of a millisecond's work.
const PART: usize = 16;

impl<S: Shell> Driver<S> {
    /// How late a turn begins, for people.
    pub(super) fn began(&mut self, now: LocalTime) {
        if self.due > LocalTime::from_nanos(0) {
            self.late.see(now.since(self.due), now);
        }
    }

    /// How the cluster that is named is now; or those from a number on, at most [`PART`].
    pub(super) fn report(&mut self, now: LocalTime, named: Option<&str>, from: usize) -> Reply {
        let meant: Vec<usize> = match named {
            None => self.served.from(from).take(PART + 1).collect(),
            Some(name) => match self.cluster_meant(Some(name)) {
                Ok(cluster) => vec![cluster],
                Err(_) if self.awaits(name) => Vec::new(),
                Err(refused) => return refused,
            },
        };
        let clusters = meant.iter().take(PART).filter_map(|c| self.status(now, *c));
        let clusters: Vec<Status> = clusters.collect();
        let is_meant = |w: &&Waiting| match (named, &w.cluster) {
            (Some(name), Some(cluster)) => cluster == name,
            (Some(_), None) | (None, _) => from == 0,
        };
        Reply::Status(Report {
            version: status::VERSION,
            clusters,
            waiting: self.awaited.iter().filter(is_meant).cloned().collect(),
            next: meant.get(PART).copied(),
        })
    }

    /// It should be served and can't be yet; or a file can't be read, which may be this cluster's.
    fn awaits(&self, name: &str) -> bool {
        let mut awaited = self.awaited.iter();
        awaited.any(|w| w.cluster.as_deref().is_none_or(|cluster| cluster == name))
    }

    fn status(&mut self, now: LocalTime, cluster: usize) -> Option<Status> {
        let late = self.late;
        let s = self.served.get_mut(cluster)?;
        s.metrics.margins.late = late;
        for path in s.metrics.peers.iter_mut().flat_map(|p| &mut p.paths) {
            path.refusals = self.shell.refusals(cluster, path.path);
        }
        for (at, frames) in s.metrics.frames.iter_mut().enumerate() {
            frames.port = self.shell.frames(at);
        }
        for (id, group) in (0u8..).map(GroupId).zip(&mut s.metrics.groups) {
            group.probing = self.shell.probing(cluster, id);
        }
        let mut all = s.node.observe(&s.config, now);
        let besides = Self::waits_besides(s, now);
        let new = besides.filter(|member| !all.waits_for.contains(member));
        all.waits_for.extend(new);
        let mut status = Status::from_parts(&all, &s.config, &s.metrics, now)
            .with_keys(&s.config, &s.keys, &s.keyring);
        status.measured(&s.config, &s.metrics, self.shell.steered(cluster), now);
        let (since, standing) = &s.on_disk;
        status.note_file(standing, now.since(*since));
        Some(status)
    }
}
