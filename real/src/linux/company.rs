//! Whether another member runs on this machine: then one power cut takes both, and a witness is not
//! one.

use super::Linux;
use onehold_core::time::{LocalTime, Span};
use std::ops::Range;

/// How often each cluster is looked at: addresses come and go.
const APART: Span = Span::from_millis(10_000);
/// Most clusters that are looked at in a turn: a look asks the kernel for a route to each member.
const AT_A_TIME: usize = 16;

/// When to look next, and at which cluster first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Company {
    due: Option<LocalTime>,
    next: usize,
}

impl Company {
    /// Which of the `clusters` to look at now: each is looked at once within [`APART`].
    fn take_due(&mut self, now: LocalTime, clusters: usize) -> Range<usize> {
        if self.due.is_some_and(|due| now < due) {
            return 0..0;
        }
        let from = if self.next < clusters { self.next } else { 0 };
        let to = clusters.min(from + AT_A_TIME);
        let turns = clusters.div_ceil(AT_A_TIME).max(1);
        self.due = Some(now.plus(APART.part(u32::try_from(turns).unwrap_or(u32::MAX).into())));
        self.next = to;
        from..to
    }
}

impl Linux {
    /// Reports which other members have an address of this host, if it is time to look.
    pub(super) fn look_for_company(&mut self, now: LocalTime) {
        let clusters = self.loaded.clusters.len();
        for place in self.pending.company.take_due(now, clusters) {
            let company = self.loaded.clusters[place].company();
            self.alarm(place, "company", company);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_thousands_of_clusters_is_looked_at_every_ten_seconds_and_few_in_a_turn() {
        for clusters in [0, 1, 16, 17, 3_000] {
            let mut company = Company::default();
            let mut seen = vec![0; clusters];
            for ms in 0..20_000 {
                let now = LocalTime::from_nanos(0).plus(Span::from_millis(ms));
                let due = company.take_due(now, clusters);
                assert!(due.len() <= AT_A_TIME);
                due.for_each(|cluster| seen[cluster] += 1);
            }
            assert!(
                seen.iter().all(|times| (1..=3).contains(times)),
                "{clusters}"
            );
        }
    }
}
