//! Whether another member lives on this machine: then one power cut takes both, and a witness is none.

use super::Linux;
use crate::driver::ShellEvent;
use onehold_core::time::{LocalTime, Span};

/// How often it is looked: addresses come and go.
const APART: Span = Span::from_millis(10_000);

/// When to look next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Company {
    due: Option<LocalTime>,
}

impl Linux {
    /// Says which other members have an address of this host, if it is time to look.
    pub(super) fn look_for_company(&mut self, now: LocalTime) {
        if self.pending.company.due.is_some_and(|due| now < due) {
            return;
        }
        self.pending.company.due = Some(now.plus(APART));
        for (cluster, local) in self.loaded.clusters.iter().enumerate() {
            self.pending.events.push_back(ShellEvent::Alarms {
                cluster,
                from: "company",
                alarms: local.company().into_iter().collect(),
            });
        }
    }
}
