//! A member's clock: it starts somewhere, runs at its own rate, may be stepped, and may stand
//! still.

use onehold_core::time::{LocalTime, Span};

const MILLION: u64 = 1_000_000;

/// A clock of one machine. True time is in nanoseconds since the run began.
#[derive(Clone, Debug)]
pub struct Clock {
    /// True time when it last changed its course.
    since: u64,
    /// What it showed then, in nanoseconds.
    showed: u64,
    /// By how many parts in a million it is fast.
    ppm: i32,
    frozen: bool,
}

impl Clock {
    /// A clock that shows `shows` nanoseconds at true time `now`.
    #[must_use]
    pub const fn new(now: u64, shows: u64, ppm: i32) -> Self {
        Self {
            since: now,
            showed: shows,
            ppm,
            frozen: false,
        }
    }

    /// How much it shows more while true time goes on by a million.
    fn rate(&self) -> u64 {
        let rate = 1_000_000 + i64::from(self.ppm);
        u64::try_from(rate).unwrap_or(0).max(1)
    }

    /// What it shows at a true time, which is not before its last change.
    #[must_use]
    pub fn read(&self, now: u64) -> LocalTime {
        let elapsed = if self.frozen {
            0
        } else {
            let true_time = now.saturating_sub(self.since);
            // In two parts, so that the product fits; the sum is the same.
            let (millions, rest) = (true_time / MILLION, true_time % MILLION);
            (millions.saturating_mul(self.rate())).saturating_add(rest * self.rate() / MILLION)
        };
        LocalTime::from_nanos(self.showed.saturating_add(elapsed))
    }

    /// The first true time at which it shows at least `at`; `None` while it stands still before
    /// that.
    #[must_use]
    pub fn when(&self, at: LocalTime) -> Option<u64> {
        let ahead = at.as_nanos().saturating_sub(self.showed);
        if ahead == 0 {
            return Some(self.since);
        }
        if self.frozen {
            return None;
        }
        let (rates, rest) = (ahead / self.rate(), ahead % self.rate());
        let elapsed =
            (rates.saturating_mul(MILLION)).saturating_add((rest * MILLION).div_ceil(self.rate()));
        Some(self.since.saturating_add(elapsed))
    }

    fn turn(&mut self, now: u64) {
        self.showed = self.read(now).as_nanos();
        self.since = now;
    }

    /// From now on it is fast by `ppm` parts in a million.
    pub fn set_rate(&mut self, now: u64, ppm: i32) {
        self.turn(now);
        self.ppm = ppm;
    }

    /// It is stepped ahead.
    pub fn step(&mut self, now: u64, by: Span) {
        self.turn(now);
        self.showed = self.showed.saturating_add(by.as_nanos());
    }

    /// It goes on from what it showed once.
    pub const fn set_back(&mut self, now: u64, shows: u64) {
        (self.since, self.showed, self.frozen) = (now, shows, false);
    }

    /// It stands still from now on, or goes on from where it stood.
    pub fn freeze(&mut self, now: u64, frozen: bool) {
        self.turn(now);
        self.frozen = frozen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// `when` is the first instant at which `read` has come that far.
        #[test]
        fn when_is_where_read_arrives(
            shows in 0u64..1 << 50,
            ppm in -100_000i32..100_000,
            ahead in 1u64..1 << 40,
            since in 0u64..1 << 40,
        ) {
            let clock = Clock::new(since, shows, ppm);
            let at = LocalTime::from_nanos(shows + ahead);
            let when = clock.when(at).unwrap();
            prop_assert!(clock.read(when) >= at);
            prop_assert!(clock.read(when - 1) < at);
        }
    }

    #[test]
    fn a_frozen_clock_goes_on_from_where_it_stood() {
        let mut clock = Clock::new(0, 100, 0);
        clock.freeze(50, true);
        assert_eq!(clock.read(1_000).as_nanos(), 150);
        assert_eq!(clock.when(LocalTime::from_nanos(151)), None);
        clock.freeze(1_000, false);
        clock.step(1_010, Span::from_nanos(5));
        assert_eq!(clock.read(1_020).as_nanos(), 175);
    }
}
