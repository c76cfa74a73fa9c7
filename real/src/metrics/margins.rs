//! The promise meter: how near what is assumed came to breaking, as far as it can be measured. For
//! people only: no rule reads it, and no clock is corrected by it.

use crate::driver::changing::Places;
use onehold_core::advert::GroupId;
use onehold_core::lease::Timing;
use onehold_core::time::{LocalTime, Span};
use std::collections::{BTreeMap, VecDeque};

/// What happened less than this long ago, or less than twice that, is recent.
const LATELY: Span = Span::from_millis(300_000);

/// The largest of many spans: ever, and lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    most: Option<(Span, LocalTime)>,
    /// In the present period, and in the one before it.
    periods: [Span; 2],
    began: Option<LocalTime>,
}

impl Peak {
    /// Takes another one into account.
    pub fn see(&mut self, span: Span, now: LocalTime) {
        let [present, before] = self.periods_at(now);
        if self.began.is_none_or(|began| now.since(began) >= LATELY) {
            self.began = Some(now);
        }
        self.periods = [present.max(span), before];
        if self.most.is_none_or(|(most, _)| most < span) {
            self.most = Some((span, now));
        }
    }

    /// The largest since the start, and when.
    #[must_use]
    pub const fn most(&self) -> Option<(Span, LocalTime)> {
        self.most
    }

    /// The largest of the last `LATELY`, or a little longer.
    #[must_use]
    pub fn lately(&self, now: LocalTime) -> Option<Span> {
        let [present, before] = self.periods_at(now);
        self.most.map(|_| present.max(before))
    }

    fn periods_at(&self, now: LocalTime) -> [Span; 2] {
        let [present, before] = self.periods;
        match self.began.map(|began| now.since(began)) {
            Some(passed) if passed < LATELY => [present, before],
            Some(passed) if passed < LATELY.times(2) => [Span::ZERO, present],
            Some(_) | None => [Span::ZERO; 2],
        }
    }
}

/// How far the rates of two clocks are apart, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateApart {
    /// Now; above zero if this member's is the faster one.
    pub ppm: i64,
    /// The most there ever was, whichever was faster.
    pub most_ppm: u64,
    /// When that was.
    pub most_at: LocalTime,
}

impl RateApart {
    /// The same after another reading.
    #[must_use]
    pub fn after(before: Option<Self>, ppm: i64, now: LocalTime) -> Self {
        let now = Self {
            ppm,
            most_ppm: ppm.unsigned_abs(),
            most_at: now,
        };
        match before {
            Some(before) if before.most_ppm >= now.most_ppm => Self { ppm, ..before },
            Some(_) | None => now,
        }
    }
}

/// A peer's clock beside this member's: of each stretch of time, the advert that was the least on
/// its way. Two such adverts that are far apart tell the rate; a wait of one on its way, by what it
/// is longer than usual, is an error of a millisecond in [`Self::APART`] for each 17 ppm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerClock {
    /// When the present stretch began, and its best advert: how much later it came by this clock
    /// than it was sent by the peer's, and when.
    present: Option<(LocalTime, Best)>,
    /// The best of each earlier stretch, the oldest first.
    earlier: VecDeque<Best>,
    apart: Option<RateApart>,
}

type Best = (i128, LocalTime);

impl PeerClock {
    const STRETCH: Span = Span::from_millis(10_000);
    const STRETCHES: usize = 6;
    /// How far apart two adverts are that are compared, about.
    pub const APART: Span = Span::from_millis(60_000);

    /// An advert was accepted.
    pub fn see(&mut self, sent: LocalTime, now: LocalTime) {
        let best = (
            i128::from(now.as_nanos()) - i128::from(sent.as_nanos()),
            now,
        );
        let Some((began, present)) = self.present else {
            self.present = Some((now, best));
            return;
        };
        if now.since(began) < Self::STRETCH {
            self.present = Some((began, present.min(best)));
            return;
        }
        self.present = Some((now, best));
        // After a long silence it begins again.
        self.earlier
            .retain(|(_, at)| now.since(*at) < Self::APART.times(2));
        if self.earlier.len() >= Self::STRETCHES
            && let Some((offset, at)) = self.earlier.pop_front()
        {
            let passed = i128::from(present.1.since(at).as_nanos()).max(1);
            let ppm = (present.0 - offset) * 1_000_000 / passed;
            let ppm = i64::try_from(ppm).unwrap_or(i64::MAX);
            self.apart = Some(RateApart::after(self.apart, ppm, now));
        }
        (self.earlier).reserve_exact(Self::STRETCHES.saturating_sub(self.earlier.len()));
        self.earlier.push_back(present);
    }

    /// What was found; nothing in the first minute.
    #[must_use]
    pub const fn apart(&self) -> Option<RateApart> {
        self.apart
    }

    /// It is another incarnation's clock from here on: of the same host, or of another.
    pub fn begin_again(&mut self) {
        (self.present, self.earlier) = (None, VecDeque::new());
    }
}

/// What is measured of a cluster's own member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Margins {
    /// How late turns began.
    pub late: Peak,
    /// By group: how old the lease in force was when the next one was written to the kernel.
    pub renewals: BTreeMap<u8, Peak>,
    /// By group: until when it is held.
    held_until: BTreeMap<u8, LocalTime>,
}

impl Margins {
    /// A hold was written to the kernel, or lengthened there.
    pub fn held(&mut self, group: GroupId, deadline: LocalTime, timing: &Timing, now: LocalTime) {
        if let Some(before) = self.held_until.insert(group.0, deadline) {
            let lease = timing.lease();
            let left = before.since(now).min(lease);
            let over = now.since(before);
            let age = Span::from_nanos(lease.as_nanos() - left.as_nanos()).plus(over);
            self.renewals.entry(group.0).or_default().see(age, now);
        }
    }

    /// the groups have other numbers.
    pub(super) fn renumber(&mut self, places: &Places) {
        places.renumber(&mut self.renewals);
        places.renumber(&mut self.held_until);
    }

    /// It is held no more: what comes next is no renewal.
    pub fn released(&mut self, group: GroupId) {
        self.held_until.remove(&group.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(1_000_000_000_000 + ms * 1_000_000)
    }

    fn ms(n: u64) -> Span {
        Span::from_millis(n)
    }

    #[test]
    fn a_peak_is_kept_for_ever_and_recent_for_a_while() {
        let mut peak = Peak::default();
        assert_eq!((peak.most(), peak.lately(at(0))), (None, None));
        peak.see(ms(9), at(0));
        peak.see(ms(3), at(10));
        assert_eq!(peak.lately(at(20)), Some(ms(9)));
        let period = LATELY.as_nanos() / 1_000_000;
        peak.see(ms(4), at(period + 1));
        assert_eq!(
            peak.lately(at(period + 2)),
            Some(ms(9)),
            "of the period before"
        );
        peak.see(ms(1), at(2 * period + 2));
        assert_eq!(peak.lately(at(2 * period + 3)), Some(ms(4)));
        assert_eq!(peak.lately(at(9 * period)), Some(ms(0)), "nothing was seen");
        assert_eq!(peak.most(), Some((ms(9), at(0))));
    }

    /// A peer's clock that runs `ppm` faster than this one, for `seconds`, with adverts each 100 ms
    /// that are on their way for 1 ms and up to 5 ms more.
    fn beside(clock: &mut PeerClock, ppm: i64, from: u64, seconds: u64) {
        for n in (from * 10)..((from + seconds) * 10) {
            let sent = at(n * 100);
            let way = ms(1).plus(Span::from_nanos((n * 7_919_317) % 5_000_000));
            let gain = i64::try_from(n * 100).unwrap() * ppm; // nanoseconds
            let theirs = 77_000_000_000u64 + n * 100_000_000;
            let theirs = LocalTime::from_nanos(theirs.checked_add_signed(gain).unwrap());
            clock.see(theirs, sent.plus(way));
        }
    }

    #[test]
    fn the_rates_of_two_clocks_are_told_apart_in_spite_of_the_network() {
        for ppm in [0, 11, -11, 500, -1_000, 40_000] {
            let mut clock = PeerClock::default();
            beside(&mut clock, ppm, 0, 60);
            assert_eq!(clock.apart(), None, "not yet");
            beside(&mut clock, ppm, 60, 60);
            let found = clock.apart().unwrap().ppm;
            let error = (found + ppm).abs(); // the peer's is the faster one
            assert!(error <= 3 + ppm.abs() / 20, "{ppm}: {found}");
            assert!(clock.earlier.len() <= PeerClock::STRETCHES);
        }
    }

    #[test]
    fn after_another_incarnation_or_a_long_silence_it_begins_again() {
        let mut clock = PeerClock::default();
        beside(&mut clock, 100, 0, 75);
        let known = clock.apart();
        assert!(known.is_some());
        clock.begin_again();
        beside(&mut clock, -900, 100, 60);
        assert_eq!(clock.apart(), known, "what was known");
        // An hour later, with the clock half an hour ahead.
        clock.see(at(9_000_000), at(7_200_000));
        clock.see(at(9_011_000), at(7_211_000));
        assert_eq!(clock.apart(), known);
    }

    #[test]
    fn the_most_that_two_rates_were_apart_is_kept() {
        let one = RateApart::after(None, -40, at(1));
        let two = RateApart::after(Some(one), 7, at(2));
        assert_eq!((two.ppm, two.most_ppm, two.most_at), (7, 40, at(1)));
        assert_eq!(RateApart::after(Some(two), i64::MIN, at(3)).most_at, at(3));
    }

    #[test]
    fn a_renewal_is_as_old_as_the_lease_that_it_follows() {
        let timing = Timing::prove(onehold_core::lease::TimingSpec::default()).unwrap();
        let mut margins = Margins::default();
        let group = GroupId(3);
        margins.held(group, at(450), &timing, at(1));
        assert!(margins.renewals.is_empty(), "a first hold is no renewal");
        margins.held(group, at(550), &timing, at(120));
        assert_eq!(margins.renewals[&3].most(), Some((ms(120), at(120))));
        margins.held(group, at(700), &timing, at(570)); // too late
        assert_eq!(margins.renewals[&3].most(), Some((ms(470), at(570))));
        margins.released(group);
        margins.held(group, at(9_450), &timing, at(9_000));
        assert_eq!(margins.renewals[&3].most(), Some((ms(470), at(570))));
    }
}
