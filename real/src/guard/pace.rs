//! How soon a gate is put back: others may want its place as well, and nobody should be fought.

use super::attached::Standing;
use onehold_core::time::{LocalTime, Span};

/// This many repairs in a [`WHILE`] are made at once.
const AT_ONCE: usize = 3;
/// The next ones wait for this long; moves to the front do so from the first.
const APART: Span = Span::from_millis(1_000);
const WHILE: Span = Span::from_millis(60_000);

/// What to do about a gate that does not stand first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Repair,
    /// Too soon after the last time.
    Wait,
    /// Whoever stands before the gate wants it so.
    GiveUp,
}

/// When the gate of an interface was last repaired.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    last: [Option<LocalTime>; AT_ONCE],
}

impl Pace {
    /// What to do now; a repair counts as done.
    pub(super) fn turn(&mut self, standing: &Standing, now: LocalTime) -> Turn {
        let young = |at: &Option<LocalTime>| at.is_some_and(|at| now < at.plus(WHILE));
        let many = self.last.iter().all(young);
        let soon = self.last[0].is_some_and(|at| now < at.plus(APART));
        match standing {
            Standing::Behind(_) if soon => return Turn::Wait,
            Standing::Behind(_) if many => return Turn::GiveUp,
            Standing::Absent if soon && many => return Turn::Wait,
            Standing::First | Standing::Absent | Standing::Behind(_) => {}
        }
        self.last.rotate_right(1);
        self.last[0] = Some(now);
        Turn::Repair
    }

    /// Whether somebody does it again and again.
    pub(super) fn hurried(&self, now: LocalTime) -> bool {
        let young = |at: &Option<LocalTime>| at.is_some_and(|at| now < at.plus(WHILE));
        self.last.iter().all(young)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn what_is_taken_away_is_put_back_three_times_at_once_and_then_once_a_second() {
        let (mut pace, gone) = (Pace::default(), Standing::Absent);
        let done = (0..10_000).filter(|ms| pace.turn(&gone, at(100_000 + ms)) == Turn::Repair);
        let done: Vec<u64> = done.collect();
        assert_eq!(done[..5], [0, 1, 2, 1_002, 2_002]);
        assert_eq!(done.len(), 12);
        assert!(pace.hurried(at(110_000)) && !pace.hurried(at(200_000)));
    }

    #[test]
    fn nobody_is_fought_for_the_first_place() {
        let (mut pace, behind) = (Pace::default(), Standing::Behind("it".into()));
        let turns = (0..10_000).map(|ms| pace.turn(&behind, at(100_000 + ms)));
        let turns: Vec<Turn> = turns.collect();
        let done: Vec<usize> = (0..turns.len())
            .filter(|ms| turns[*ms] == Turn::Repair)
            .collect();
        assert_eq!(done, [0, 1_000, 2_000]);
        assert!(turns[3_000..].iter().all(|turn| *turn == Turn::GiveUp));
        assert_eq!(
            pace.turn(&behind, at(200_000)),
            Turn::Repair,
            "a minute later it is tried again"
        );
    }
}
