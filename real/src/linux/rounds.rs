//! What is looked at from time to time for each cluster: a few in a turn, so that thousands of clusters
//! keep none waiting.

use onehold_core::time::{LocalTime, Span};
use std::ops::Range;

/// Most clusters that are looked at in a turn.
const AT_A_TIME: usize = 16;

/// What is due within this part of the time between two looks is looked at in a turn that happens
/// anyway: nothing wakes up for it then.
const EARLY: u64 = 16;

/// When to look next, and at which cluster first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    due: Option<LocalTime>,
    next: usize,
}

impl Rounds {
    /// When to look next; nothing if that was never done.
    pub(super) const fn due(&self) -> Option<LocalTime> {
        self.due
    }

    /// Which of the `clusters` to look at now: each is looked at once within `apart`.
    pub(super) fn take_due(
        &mut self,
        now: LocalTime,
        clusters: usize,
        apart: Span,
    ) -> Range<usize> {
        let turns = clusters.div_ceil(AT_A_TIME).max(1);
        let apart = apart.part(u32::try_from(turns).unwrap_or(u32::MAX).into());
        if self
            .due
            .is_some_and(|due| now.plus(apart.part(EARLY)) < due)
        {
            return 0..0;
        }
        let from = if self.next < clusters { self.next } else { 0 };
        let to = clusters.min(from + AT_A_TIME);
        self.due = Some(now.plus(apart));
        self.next = to;
        from..to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_thousands_of_clusters_is_looked_at_every_ten_seconds_and_few_in_a_turn() {
        for clusters in [0, 1, 16, 17, 3_000] {
            let mut rounds = Rounds::default();
            let mut seen = vec![0; clusters];
            for ms in 0..20_000 {
                let now = LocalTime::from_nanos(0).plus(Span::from_millis(ms));
                let due = rounds.take_due(now, clusters, Span::from_millis(10_000));
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
