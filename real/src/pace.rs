//! How soon something is done again that does not last: pure, with the time as an argument, so that
//! the simulator can run it as it is.

use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};

/// For what is refused again and again: it is tried after a second, then two, four … up to
/// [`Self::LONGEST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    wait: Span,
    /// When it is tried again.
    until: Option<LocalTime>,
}

impl Cooldown {
    const FIRST: Span = Span::from_millis(1_000);
    /// It is never longer.
    pub const LONGEST: Span = Span::from_millis(64_000);

    /// It was refused at `now`. When that is long after the last time, it is the first; when it was
    /// not to be tried yet, nothing new.
    pub fn refused(&mut self, now: LocalTime) {
        if self.until(now).is_some() {
            return;
        }
        let recent = (self.until).is_some_and(|until| now < until.plus(Self::LONGEST));
        self.wait = match recent {
            true => self.wait.times(2).min(Self::LONGEST),
            false => Self::FIRST,
        };
        self.until = Some(now.plus(self.wait));
    }

    /// When it is due to be tried again, while it waits for that.
    #[must_use]
    pub fn until(&self, now: LocalTime) -> Option<LocalTime> {
        self.until.filter(|until| now < *until)
    }

    /// Circumstances have changed: it is tried at once, and a refusal is the first.
    pub const fn start_again(&mut self) {
        self.until = None;
    }
}

/// For what somebody else undoes again and again: it is repaired at once three times, then once a
/// second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// How often it was, without [`Self::QUIET`] in between.
    times: u32,
    last: Option<LocalTime>,
}

impl Repairs {
    const AT_ONCE: u32 = 3;
    const APART: Span = Span::from_millis(1_000);
    /// What nobody has undone for this long lasts.
    pub const QUIET: Span = Span::from_millis(10_000);

    /// Repairs now, or returns when that may be done.
    ///
    /// # Errors
    /// That time.
    pub fn begin(&mut self, now: LocalTime) -> Result<(), LocalTime> {
        if self.quiet(now) {
            self.times = 0;
        }
        let next = self.last.map(|last| last.plus(Self::APART));
        match next.filter(|next| self.times >= Self::AT_ONCE && now < *next) {
            Some(next) => Err(next),
            None => {
                self.times = self.times.saturating_add(1);
                self.last = Some(now);
                Ok(())
            }
        }
    }

    /// Whether it is undone again and again.
    #[must_use]
    pub fn in_vain(&self, now: LocalTime) -> bool {
        self.times > Self::AT_ONCE && !self.quiet(now)
    }

    fn quiet(&self, now: LocalTime) -> bool {
        self.last.is_none_or(|last| now >= last.plus(Self::QUIET))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(0).plus(Span::from_millis(ms))
    }

    #[test]
    fn what_is_always_refused_is_tried_ever_less_often_and_no_less_than_once_a_minute() {
        let mut pace = Cooldown::default();
        let mut tried = Vec::new();
        for s in 0..300 {
            if pace.until(at(s * 1_000)).is_none() {
                pace.refused(at(s * 1_000));
                tried.push(s);
            }
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255]);
        pace.start_again();
        assert_eq!(pace.until(at(300_000)), None);
        pace.refused(at(300_000));
        assert_eq!(pace.until(at(300_000)), Some(at(301_000)));
        pace.refused(at(600_000));
        assert_eq!(pace.until(at(600_000)), Some(at(601_000)), "long ago");
    }

    #[test]
    fn what_is_undone_again_and_again_is_repaired_once_a_second_after_the_third_time() {
        let mut pace = Repairs::default();
        let mut repaired = Vec::new();
        for ms in 0..4_000 {
            if pace.begin(at(ms)).is_ok() {
                repaired.push(ms);
            }
        }
        assert_eq!(repaired, [0, 1, 2, 1_002, 2_002, 3_002]);
        assert!(pace.in_vain(at(4_000)));
        assert!(!pace.in_vain(at(13_002)));
        assert_eq!(pace.begin(at(14_000)), Ok(()), "that is another matter");
        assert_eq!(pace.begin(at(14_000)), Ok(()));
        assert!(!pace.in_vain(at(14_000)));
    }
}
