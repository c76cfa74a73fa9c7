//! Whether another member runs on this machine: then one power cut takes both, and a witness is not
//! one.

use super::Linux;
use crate::driver::ShellEvent;
use onehold_core::time::{LocalTime, Span};

/// How often each cluster is looked at: addresses come and go. (A look asks the kernel for a route to
/// each member.)
const APART: Span = Span::from_millis(10_000);

impl Linux {
    /// Reports which other members have an address of this host, if it is time to look.
    pub(super) fn look_for_company(&mut self, now: LocalTime) {
        let clusters = self.beside.len();
        for at in self.pending.company.take_due(now, clusters, APART) {
            self.pending.events.push_back(ShellEvent::Alarms {
                cluster: self.beside[at].number,
                from: "company",
                alarms: self.loaded.clusters[at].company().into_iter().collect(),
            });
        }
    }
}
