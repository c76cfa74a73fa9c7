//! How a daemon ends: handed over or released by the operator's word, or at once, because its
//! clock went back.

use super::{Driver, Served, Shell};
use onehold_core::advert::GroupId;
use onehold_core::input::Command;
use onehold_core::time::LocalTime;

impl<S: Shell> Driver<S> {
    /// shuts every gate; what the kernel answers does not matter any more.
    pub(super) fn end(&mut self) {
        self.over = true;
        for (cluster, s) in self.served.iter() {
            let groups = s.config.groups().len();
            let own = s.config.is_candidate(s.config.me());
            for group in (0u8..).take(groups).map(GroupId).filter(|_| own) {
                self.shell.release(cluster, group);
            }
        }
    }

    /// every group of every cluster is handed over or released.
    pub(super) fn stop(&mut self, now: LocalTime) {
        self.stopping = true;
        for cluster in self.served.numbers() {
            self.stop_cluster(now, cluster);
        }
    }

    /// one cluster is handed over or released, and not served any more after that.
    pub(super) fn leave(&mut self, now: LocalTime, cluster: usize) {
        if let Some(s) = self.served.get_mut(cluster)
            && !std::mem::replace(&mut s.leaves, true)
        {
            self.stop_cluster(now, cluster);
        }
    }

    /// Forgets a cluster that leaves, once its node has stopped.
    pub(super) fn has_left(&mut self, cluster: usize) {
        let over = |s: &Served| s.leaves && s.node.stopped();
        if self.served.get(cluster).is_some_and(over) {
            self.served.remove(cluster);
            self.cooldowns.forget(cluster);
            self.openings.forget(cluster);
            self.probes.forget(cluster);
            self.shell.left(cluster);
        }
    }

    pub(super) fn stop_cluster(&mut self, now: LocalTime, cluster: usize) {
        let Some(s) = self.served.get(cluster) else {
            return;
        };
        let groups = s.config.groups().len();
        self.begins_to_stop(cluster);
        for group in (0u8..).take(groups).map(GroupId) {
            let _ = self.command(cluster, now, group, Command::Stop);
        }
    }
}
