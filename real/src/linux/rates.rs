//! Whether the clock runs at the rate that all members rely on; while it does not, nothing is held
//! here. There is one clock, so it is looked at once for all clusters that assume the same of it.

use super::Linux;
use crate::clock::{Rate, Reading};
use onehold_core::advert::GroupId;
use onehold_core::config::Config;
use onehold_core::time::Span;
use std::collections::BTreeMap;

/// What a cluster assumes: how many ppm the clock may be off, and D, for which a fault counts.
type Assumed = (u32, Span);

/// The clock's rate, by what clusters assume of it.
pub(super) type Rates = BTreeMap<Assumed, Rate>;

fn assumed(config: &Config) -> Assumed {
    let timing = config.timing();
    (timing.drift_ppm(), timing.vote())
}

impl Linux {
    /// The rate is looked at for one cluster more.
    pub(super) fn look_at_rate_for(&mut self, config: &Config) {
        let new = || Rate::new(config.timing().drift_ppm(), Reading::take());
        let rates = &mut self.pending.rates;
        rates.entry(assumed(config)).or_insert_with(new);
    }

    /// The rate as it is looked at for a cluster.
    pub(super) fn rate(&self, cluster: usize) -> Option<&Rate> {
        let local = self.loaded.clusters.get(self.position(cluster)?)?;
        self.pending.rates.get(&assumed(&local.config))
    }

    /// The candidate's clock, if something is wrong with its rate.
    pub(super) fn rate_fault(&self) -> Option<String> {
        let local = self.loaded.clusters.first()?;
        let rate = self.pending.rates.get(&assumed(&local.config))?;
        rate.fault()
    }

    /// Looks at the clock, and reports what is wrong with its rate, or that it is over.
    pub(super) fn look_at_rates(&mut self) {
        if !self.pending.rates.values().any(Rate::is_due) {
            return;
        }
        let reading = Reading::take();
        let mut changed = Vec::new();
        for (assumed, rate) in &mut self.pending.rates {
            let before = rate.fault();
            rate.look(reading, assumed.1);
            let fault = rate.fault();
            if fault != before {
                let turned = before.is_some() != fault.is_some();
                changed.push((*assumed, fault, turned));
            }
        }
        for (which, fault, turned) in changed {
            self.report_rate(which, fault, turned);
        }
    }

    fn report_rate(&mut self, which: Assumed, fault: Option<String>, turned: bool) {
        for at in 0..self.loaded.clusters.len() {
            let config = &self.loaded.clusters[at].config;
            if assumed(config) != which {
                continue;
            }
            let groups = config.groups().len();
            self.alarm(self.beside[at].number, "clock", fault.clone());
            if turned && self.kernel.is_some() {
                (0u8..)
                    .take(groups)
                    .for_each(|id| self.report_eligible(GroupId(id)));
            }
        }
    }
}
