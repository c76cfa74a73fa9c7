//! What to run now for a group, by what it is here. Level, not edge: what is true now counts,
//! however it came about, and what was true before is nobody's business any more. Pure.

use crate::config_file::hooks::Which;
use onehold_core::time::{LocalTime, Span};

/// How long after a success `holding` is run again.
const RECONCILE: Span = Span::from_millis(60_000);
/// After the first failure, and at most: it doubles.
const PAUSE: Span = Span::from_millis(1_000);
const LONGEST_PAUSE: u32 = 6;

/// What a group is on this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The daemon does not say.
    Unknown,
    /// Its address is there, and mute.
    Preparing(HoldId),
    /// It is held.
    Holding(HoldId),
    /// It is being let go.
    Between,
    /// It is not held.
    Released,
}

/// Which hold: the session in which it was shown, and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HoldId {
    pub(super) session: u64,
    pub(super) epoch: u64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until something changes.
    Wait,
    /// Nothing before then, unless something changes.
    WaitUntil(LocalTime),
    /// This hook.
    Run(Which),
}

/// How far a group's hooks are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// What was done last.
    done: Option<Level>,
    /// Which hook ran last without success.
    failed: Option<Which>,
    /// How often in a row each hook has failed, whatever was run in between.
    failures: [u32; Which::ALL.len()],
    ended: Option<LocalTime>,
}

impl Level {
    /// The hook for it.
    pub(super) const fn hook(self) -> Option<Which> {
        match self {
            Self::Unknown | Self::Between => None,
            Self::Preparing(_) => Some(Which::BeforeHold),
            Self::Holding(_) => Some(Which::Holding),
            Self::Released => Some(Which::Released),
        }
    }

    /// Whether what was begun for `self` is still wanted now that the group is `now`.
    pub(super) fn wants(self, now: Self) -> bool {
        match (self, now) {
            (Self::Preparing(begun), Self::Preparing(now)) => begun == now,
            // What changed meanwhile is seen to afterwards.
            (Self::Holding(_), Self::Holding(_)) => true,
            // `released` is begun only where this member certainly does not hold.
            (Self::Released, Self::Released | Self::Between | Self::Unknown) => true,
            (Self::Released, Self::Preparing(_) | Self::Holding(_))
            | (Self::Preparing(_) | Self::Holding(_), _)
            | (Self::Unknown | Self::Between, _) => false,
        }
    }
}

impl Course {
    /// What to do at `now`, where `reconcile` is how often `holding` is run.
    pub(super) fn step(&self, level: Level, reconcile: Option<Span>, now: LocalTime) -> Step {
        let Some(which) = level.hook() else {
            return Step::Wait;
        };
        let pause = if self.done == Some(level) {
            match level {
                Level::Holding(_) => reconcile.unwrap_or(RECONCILE),
                Level::Unknown | Level::Between | Level::Preparing(_) | Level::Released => {
                    return Step::Wait;
                }
            }
        } else {
            match self.failed {
                Some(failed) if failed == which => pause(self.failures[which as usize]),
                Some(_) | None => return Step::Run(which),
            }
        };
        match self.ended.map(|at| at.plus(pause)) {
            Some(at) if now < at => Step::WaitUntil(at),
            Some(_) | None => Step::Run(which),
        }
    }

    /// What was run for `level` ended. Says how often in a row it has failed.
    pub(super) fn ended(&mut self, level: Level, good: bool, now: LocalTime) -> u32 {
        let Some(which) = level.hook() else {
            return 0;
        };
        self.ended = Some(now);
        let failures = &mut self.failures[which as usize];
        if good {
            (self.done, self.failed, *failures) = (Some(level), None, 0);
            return 0;
        }
        *failures = failures.saturating_add(1);
        let failures = *failures;
        self.failed = Some(which);
        // The daemon waits for one answer.
        if let Level::Preparing(_) = level {
            self.done = Some(level);
        }
        failures
    }
}

/// 1 s, 2 s, 4 s … 64 s.
fn pause(failures: u32) -> Span {
    PAUSE.times(1 << failures.saturating_sub(1).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(ms * 1_000_000)
    }

    const fn holding(session: u64, epoch: u64) -> Level {
        Level::Holding(HoldId { session, epoch })
    }

    #[test]
    fn what_is_true_now_is_done_once_and_holding_again_and_again() {
        let mut course = Course::default();
        let step = |course: &Course, level, ms| course.step(level, None, at(ms));
        assert_eq!(step(&course, Level::Unknown, 0), Step::Wait);
        assert_eq!(step(&course, Level::Between, 0), Step::Wait);
        // At the agent's start as well.
        assert_eq!(
            step(&course, Level::Released, 0),
            Step::Run(Which::Released)
        );
        assert_eq!(course.ended(Level::Released, true, at(100)), 0);
        assert_eq!(step(&course, Level::Released, 1_000_000), Step::Wait);
        assert_eq!(step(&course, holding(1, 1), 200), Step::Run(Which::Holding));
        course.ended(holding(1, 1), true, at(300));
        assert_eq!(
            step(&course, holding(1, 1), 300),
            Step::WaitUntil(at(60_300))
        );
        assert_eq!(
            step(&course, holding(1, 1), 60_300),
            Step::Run(Which::Holding)
        );
        // A heal or a conflict; and another life of the daemon, whatever it counts.
        assert_eq!(step(&course, holding(1, 2), 301), Step::Run(Which::Holding));
        assert_eq!(step(&course, holding(2, 1), 301), Step::Run(Which::Holding));
        assert_eq!(
            step(&course, Level::Released, 301),
            Step::Run(Which::Released)
        );
    }

    #[test]
    fn what_fails_is_run_again_with_growing_pauses_and_another_hook_does_not_wait_for_it() {
        let mut course = Course::default();
        let mut pauses = Vec::new();
        for n in 1..=9 {
            assert_eq!(
                course.ended(holding(1, n), false, at(0)),
                u32::try_from(n).unwrap()
            );
            // A conflict does not make it faster.
            let Step::WaitUntil(until) = course.step(holding(1, 99), None, at(0)) else {
                panic!("it waits");
            };
            pauses.push(until.as_nanos() / 1_000_000_000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(
            course.step(Level::Released, None, at(0)),
            Step::Run(Which::Released)
        );
        assert_eq!(course.ended(Level::Released, false, at(0)), 1);
    }

    #[test]
    fn before_hold_is_run_once_for_each_hold() {
        let mut course = Course::default();
        let preparing = |epoch| Level::Preparing(HoldId { session: 1, epoch });
        assert_eq!(
            course.step(preparing(1), None, at(0)),
            Step::Run(Which::BeforeHold)
        );
        assert_eq!(course.ended(preparing(1), false, at(0)), 1);
        assert_eq!(course.step(preparing(1), None, at(90_000)), Step::Wait);
        // What is run between two holds does not hide that it fails each time.
        course.ended(holding(1, 2), true, at(1));
        course.ended(Level::Released, true, at(2));
        let again = course.step(preparing(3), None, at(3));
        assert_eq!(again, Step::Run(Which::BeforeHold));
        assert_eq!(course.ended(preparing(3), false, at(3)), 2);
        assert_eq!(course.ended(preparing(4), true, at(4)), 0);
        assert_eq!(course.ended(preparing(5), false, at(5)), 1);
    }

    #[test]
    fn what_a_holder_does_is_ended_when_it_may_hold_no_more() {
        let preparing = |epoch| Level::Preparing(HoldId { session: 1, epoch });
        for (begun, now, wanted) in [
            (holding(1, 1), holding(1, 2), true),
            (holding(1, 1), Level::Between, false),
            (holding(1, 1), Level::Released, false),
            (holding(1, 1), Level::Unknown, false),
            (preparing(1), preparing(1), true),
            (preparing(1), preparing(2), false),
            (preparing(1), holding(1, 1), false),
            (Level::Released, Level::Unknown, true),
            (Level::Released, Level::Between, true),
            (Level::Released, preparing(1), false),
            (Level::Released, holding(1, 1), false),
        ] {
            assert_eq!(begun.wants(now), wanted, "{begun:?} {now:?}");
        }
    }
}
