//! The moments of a walk, as the properties ask for them.

use crate::model::world::{Done, Rest, Setup};
use crate::properties::Facts;
use crate::properties::{Moment, Past};

/// What is asked of the properties at the moments of one configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments<'a> {
    setup: &'a Setup,
    /// Ports may go down.
    ports: bool,
}

impl<'a> Moments<'a> {
    pub(super) fn of(setup: &'a Setup) -> Self {
        let ports = setup.adversary.has_ports();
        Self { setup, ports }
    }

    pub(super) fn at(&self, facts: &'a [Facts], rest: &Rest, done: Done) -> Moment<'a> {
        let adversary = &self.setup.adversary;
        let settled = usize::from(rest.settled).checked_sub(1);
        Moment {
            configs: &self.setup.configs,
            facts,
            events: done.events,
            member: done.member,
            past: Past {
                bound: adversary.settle_bound > 0 && rest.quiet >= adversary.settle_bound,
                cut: settled.map_or(0, |n| adversary.cuts[n]),
                ports: self.ports,
                probes: adversary.probes,
                long_overlap: rest.overlap > adversary.overlap,
                outage: rest.outage > 0,
                longest_outage: adversary.outage_bound > 0 && rest.outage >= adversary.outage_bound,
                last_loss: rest.losses == 0,
            },
        }
    }
}
