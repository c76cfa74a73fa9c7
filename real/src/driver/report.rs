//! What the driver reports to people: the status of each cluster, and how late turns begin.

use super::{Driver, Served, Shell};
use crate::status::{self, Report, Status};
use onehold_core::advert::GroupId;
use onehold_core::time::LocalTime;

impl<S: Shell> Driver<S> {
    /// How late a turn begins, for people.
    pub(super) fn began(&mut self, now: LocalTime) {
        if self.due > LocalTime::from_nanos(0) {
            self.late.see(now.since(self.due), now);
        }
    }

    /// Everything, now.
    pub(super) fn report(&mut self, now: LocalTime) -> Report {
        for (cluster, s) in self.served.iter_mut() {
            s.metrics.margins.late = self.late;
            for path in s.metrics.peers.iter_mut().flat_map(|p| &mut p.paths) {
                path.refusals = self.shell.refusals(cluster, path.path);
            }
            for (at, frames) in s.metrics.frames.iter_mut().enumerate() {
                frames.port = self.shell.frames(at);
            }
            for (id, group) in (0u8..).map(GroupId).zip(&mut s.metrics.groups) {
                group.probing = self.shell.probing(cluster, id);
            }
        }
        let status = |(cluster, s): (usize, &Served)| {
            let all = s.node.observe(&s.config, now);
            let mut status =
                Status::from_parts(&all, &s.config, &s.metrics, now).with_keys(&s.keys);
            status.measured(&s.config, &s.metrics, self.shell.steered(cluster), now);
            let (since, standing) = &s.on_disk;
            status.note_file(standing, now.since(*since));
            status
        };
        let mut clusters: Vec<Status> = self.served.iter().map(status).collect();
        clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster)); // they joined in any order
        Report {
            version: status::VERSION,
            clusters,
            waiting: self.awaited.clone(),
        }
    }
}
