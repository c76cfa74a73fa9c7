//! The one clock: `CLOCK_BOOTTIME`, which counts suspend and never jumps; and a timer on it.

use crate::metrics::RateApart;
use crate::readiness::watch;
use onehold_core::time::{LocalTime, Span};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// What the kernel's clock shows.
#[must_use]
pub fn boottime() -> LocalTime {
    shows(ClockId::Boottime)
}

fn shows(clock: ClockId) -> LocalTime {
    let t = clock_gettime(clock);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    LocalTime::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// A clock that grows with every look, so that no two turns have the same time, and a timer.
#[derive(Debug)]
pub struct Clock {
    last: LocalTime,
    timer: AsyncFd<OwnedFd>,
    armed: Option<LocalTime>,
}

impl Clock {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel has no timer for us.
    pub fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self {
            last: boottime(),
            timer: watch(timer)?,
            armed: None,
        })
    }

    /// Every answer is later than `last`, which a former program of this process gave.
    pub(crate) fn goes_on(&mut self, last: LocalTime) {
        self.last = self.last.max(last);
    }

    /// Now: later than every answer before.
    pub fn now(&mut self) -> LocalTime {
        let least = LocalTime::from_nanos(self.last.as_nanos() + 1);
        self.last = boottime().max(least);
        self.last
    }

    /// The last answer of [`Self::now`].
    #[must_use]
    pub const fn last(&self) -> LocalTime {
        self.last
    }

    /// Ready once the clock shows `at`.
    pub fn poll_at(&mut self, at: LocalTime, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed != Some(at) {
            // An absolute time that is over fires at once; zero would disarm.
            let nanos = at.as_nanos().max(1);
            let it_value = Timespec {
                tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (nanos % 1_000_000_000) as _,
            };
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value,
            };
            if timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_err() {
                return Poll::Ready(()); // look again rather than never
            }
            self.armed = Some(at);
        }
        loop {
            let Poll::Ready(ready) = self.timer.poll_read_ready(cx) else {
                return Poll::Pending;
            };
            let Ok(mut ready) = ready else {
                return Poll::Ready(());
            };
            ready.clear_ready();
            if boottime() >= at {
                self.armed = None;
                return Poll::Ready(());
            }
        }
    }
}

/// How fast the kernel lets the clock run, beside the bare hardware counter: NTP steers the one and
/// not the other. What the counter itself is off by can't be seen here; a crystal is off by a tenth
/// of what is assumed (`drift_ppm`) at most, so whoever steers by more leaves the assumption.
///
/// (`adjtimex` would say the same, but for the slewing that it does not say, and units that may not
/// set the clock may not call it.)
#[derive(Clone, Debug)]
pub struct Rate {
    /// How far it may be off.
    most_ppm: u32,
    /// The reading that the next one is compared with.
    since: Reading,
    /// What was last found beyond that, and until when it counts.
    beyond: Option<(i64, LocalTime)>,
    /// What was found last, and ever.
    steered: Option<Steered>,
}

/// How far the rate of the host's clock is from that of the bare counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered(pub RateApart);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `CLOCK_MONOTONIC`, which has the rate of `CLOCK_BOOTTIME`, and stands still in suspend as
    /// the counter does.
    pub steered: LocalTime,
    /// `CLOCK_MONOTONIC_RAW`
    pub bare: LocalTime,
    /// How far apart the two may have been read.
    pub within: Span,
}

impl Reading {
    /// Reads both clocks.
    #[must_use]
    pub fn take() -> Self {
        let once = || {
            let before = shows(ClockId::MonotonicRaw);
            let steered = shows(ClockId::Monotonic);
            let after = shows(ClockId::MonotonicRaw);
            let within = after.since(before);
            let bare = before;
            Self {
                steered,
                bare,
                within,
            }
        };
        // This process may be paused between any two of them.
        let several = [once(), once(), once()];
        several
            .into_iter()
            .min_by_key(|r| r.within)
            .unwrap_or_else(once)
    }
}

impl Rate {
    /// The spans that are compared: as long as a turn, so that what is beyond is known within two
    /// of them.
    const SPAN: Span = Span::from_millis(100);

    /// From `first` on.
    #[must_use]
    pub const fn new(most_ppm: u32, first: Reading) -> Self {
        Self {
            most_ppm,
            since: first,
            beyond: None,
            steered: None,
        }
    }

    /// Whether another reading is worth taking.
    #[must_use]
    pub fn is_due(&self) -> bool {
        shows(ClockId::MonotonicRaw).since(self.since.bare) >= Self::SPAN
    }

    /// Takes another reading into account: what is surely beyond counts for `keep`.
    pub fn look(&mut self, reading: Reading, keep: Span) {
        let Reading {
            steered,
            bare,
            within,
        } = reading;
        let (steered_for, bare_for) = (
            steered.since(self.since.steered),
            bare.since(self.since.bare),
        );
        if bare_for < Self::SPAN {
            return;
        }
        let nanos = |span: Span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        let unsure = nanos(within.plus(self.since.within));
        let off = nanos(steered_for).saturating_sub(nanos(bare_for));
        let surely = off
            .signum()
            .saturating_mul(off.abs().saturating_sub(unsure).max(0));
        let ppm = surely.saturating_mul(1_000_000) / nanos(bare_for).max(1);
        self.since = reading;
        let before = self.steered.map(|Steered(before)| before);
        self.steered = Some(Steered(RateApart::after(before, ppm, boottime())));
        if ppm.unsigned_abs() > u64::from(self.most_ppm) {
            // One figure for one episode, unless it grows by much.
            let much = |(was, _): &(i64, _)| ppm.abs() > was.saturating_abs().saturating_mul(3) / 2;
            let figure = self
                .beyond
                .filter(|was| !much(was) && was.0.signum() == ppm.signum());
            self.beyond = Some((figure.map_or(ppm, |(was, _)| was), steered.plus(keep)));
        } else if self.beyond.is_some_and(|(_, until)| until <= steered) {
            self.beyond = None;
        }
    }

    /// How the clock is steered, once it is known.
    #[must_use]
    pub const fn steered(&self) -> Option<Steered> {
        self.steered
    }

    /// What is wrong with the clock, for people.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let (ppm, _) = self.beyond?;
        let most = self.most_ppm;
        let word = if ppm < 0 { "slower" } else { "faster" };
        Some(format!(
            "something steers this host's clock to run {} ppm {word}, and {most} is what all members count on \
             (drift_ppm); in chrony.conf write `maxslewrate {}`, or give all members a larger drift_ppm",
            ppm.unsigned_abs(),
            most.min(500),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings each 100 ms, with the clock steered by `ppm`.
    fn after(rate: &mut Rate, ppm: i64, within_us: u64, looks: usize) {
        for _ in 0..looks {
            let bare = rate.since.bare.plus(Span::from_millis(100));
            let steered = rate.since.steered.as_nanos() + 100_000_000;
            let steered = steered.checked_add_signed(ppm * 100).unwrap();
            let reading = Reading {
                bare,
                steered: LocalTime::from_nanos(steered),
                within: Span::from_nanos(within_us * 1_000),
            };
            rate.look(reading, Span::from_millis(456));
        }
    }

    fn rate() -> Rate {
        let zero = Reading {
            bare: LocalTime::from_nanos(1),
            steered: LocalTime::from_nanos(7),
            within: Span::ZERO,
        };
        Rate::new(1_000, zero)
    }

    #[test]
    fn a_clock_that_is_steered_as_ntp_does_is_fine() {
        for ppm in [0, 500, -500, 999, -1_000] {
            let mut rate = rate();
            after(&mut rate, ppm, 0, 50);
            assert_eq!(rate.fault(), None, "{ppm}");
        }
    }

    #[test]
    fn one_that_is_slewed_faster_is_found_at_once_and_for_d_after() {
        for (ppm, said) in [(83_333, "83333 ppm faster"), (-83_333, "83333 ppm slower")] {
            let mut rate = rate();
            after(&mut rate, 0, 5, 3);
            after(&mut rate, ppm / 9, 0, 1);
            let fault = rate.fault().unwrap();
            assert!(fault.contains("maxslewrate 500"), "{fault}");
            after(&mut rate, ppm, 0, 1);
            assert!(rate.fault().unwrap().contains(said));
            after(&mut rate, ppm + ppm / 10, 0, 1);
            assert!(
                rate.fault().unwrap().contains(said),
                "no other words for that"
            );
            after(&mut rate, 0, 0, 4);
            assert!(rate.fault().is_some(), "not yet");
            after(&mut rate, 0, 0, 2);
            assert_eq!(rate.fault(), None);
        }
    }

    /// A reading that took long says little, and a paused process says nothing.
    #[test]
    fn what_may_be_the_reading_s_own_fault_is_no_fault() {
        let mut rate = rate();
        after(&mut rate, 5_000, 500, 3);
        assert_eq!(rate.fault(), None);
        after(&mut rate, 5_000, 100, 2);
        assert!(rate.fault().is_some());
    }

    #[test]
    fn this_machine_s_clocks_can_be_compared() {
        let mut rate = Rate::new(200_000, Reading::take());
        std::thread::sleep(std::time::Duration::from_millis(120));
        let reading = Reading::take();
        rate.look(reading, Span::ZERO);
        assert_eq!(rate.fault(), None);
    }
}
