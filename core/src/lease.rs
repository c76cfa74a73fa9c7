//! The inequalities of time: i, H, κ, ρ, and D, Q, P, S that follow.
//!
//! A holder may hold until it *sent the ask that was granted* + H, by its own clock. A voter is
//! bound until it *received that ask* + D, by its own clock. The kernel's gate may shut up to κ
//! late. Clocks run at rates that differ from true time by at most ρ. So that the voter is never
//! free before the gate is shut, whatever the two rates are:
//!
//! ```text
//! D · (1 − ρ) ≥ (H + κ) · (1 + ρ)        Q · (1 − ρ) ≥ (H' + κ) · (1 + ρ)
//! ```
//!
//! where H' is the largest of H and the leases of earlier incarnations on this host (R-9). D and Q
//! are derived here, rounded up, so none can be configured too short.
//!
//! Whose is each number? Many are another member's, and are read from this member's own file: that
//! is why all of them are digested (R-0).
//!
//! | in | of | whose |
//! |---|---|---|
//! | a lease's end (R-7) | H | the holder's own |
//! | D: until when a vote is bound (R-4) | H, κ | the holder's, and its kernel's |
//! | | ρ | both clocks': the holder's may be slow, the voter's fast |
//! | when a holder that released stops asking (R-5) | κ | its own kernel's |
//! | Q (R-9) | H' | whomever this host's earlier incarnations voted for, and itself |
//! | | κ, ρ | as in D |
//! | P: how far apart the words of a living peer are (R-14) | i | the *peer's*: its pace, and how late its turns may be before it knows that it slept (R-13); i/4 for the network |
//! | S: how long a silent peer may hold (R-14) | H, κ, i | the *peer's*: its lease, its kernel, and by how much its last advert is younger than the last one that arrived |
//! | what is late, hurry, oversleep (R-13, R-18) | i | this member's own; the peer's P and S rest on it |
//! | heard, two-way (R-10) | D | this member's own |
//! | a useful lease (R-7, R-12) | H | the asker's: this member, or the successor |
//! | 2 D of silence (R-17) | H, κ, ρ | the peer's |

use crate::time::{LocalTime, Span};
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The most parts per million that `drift_ppm` may be.
pub const MAX_DRIFT_PPM: u32 = 100_000;

/// No lease is longer.
pub const MAX_LEASE: Span = Span::from_millis(600_000);

const MILLION: u128 = 1_000_000;

/// The timing as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TimingSpec {
    /// i: how often adverts are due; they are at most 1.25 i apart (R-18).
    pub interval: Span,
    /// H: how long one granted ask lets a holder hold.
    pub lease: Span,
    /// κ: how late the kernel may shut the gate; one value for the cluster.
    pub guard_slack: Span,
    /// ρ in parts per million: how far each clock's rate may be off.
    pub drift_ppm: u32,
}

impl Default for TimingSpec {
    /// 100 ms, 450 ms, 5 ms, 1000 ppm.
    fn default() -> Self {
        Self {
            interval: Span::from_millis(100),
            lease: Span::from_millis(450),
            guard_slack: Span::from_millis(5),
            drift_ppm: 1_000,
        }
    }
}

/// Timing whose inequalities are proved. Only [`Timing::prove`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    interval: Span,
    lease: Span,
    slack: Span,
    drift_ppm: u32,
    vote: Span,
    /// R-22: the longest interval and lease that another member may go by: this one's own, but while
    /// they change.
    theirs: (Span, Span),
}

/// Why a timing was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingError {
    /// The interval is zero or above a minute.
    Interval(Span),
    /// The lease is shorter than three intervals or above ten minutes.
    Lease {
        /// What was written.
        lease: Span,
        /// The least that would do.
        least: Span,
    },
    /// R-14: under `survivor` the lease is shorter than 4.5 intervals.
    Lone {
        /// What was written.
        lease: Span,
        /// The least that would do.
        least: Span,
    },
    /// The guard's slack is above the lease.
    Slack(Span),
    /// The drift is above [`MAX_DRIFT_PPM`].
    Drift(u32),
}

impl TimingError {
    /// The key that is wrong, as in a file.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Interval(_) => "timing.interval",
            Self::Lease { .. } | Self::Lone { .. } => "timing.lease",
            Self::Slack(_) => "timing.guard_slack",
            Self::Drift(_) => "timing.drift_ppm",
        }
    }

    /// Its value, what is wrong with it, and what would be right.
    #[must_use]
    pub fn problem(&self) -> String {
        match self {
            Self::Interval(i) => format!("{i}: must be above zero and at most 60s"),
            Self::Lease { lease, least } => format!(
                "{lease}: must be at least three intervals ({least}), else one lost advert costs the \
                 address, and at most 10min"
            ),
            Self::Lone { lease, least } => format!(
                "{lease}: must be at least 4.5 intervals ({least}) under `survivor`, where a holder \
                 waits 2.5 intervals before it presumes its peer dead; else it loses the address when \
                 the peer dies"
            ),
            Self::Slack(k) => format!("{k}: must be at most the lease"),
            Self::Drift(ppm) => format!("{ppm}: must be at most {MAX_DRIFT_PPM}"),
        }
    }
}

impl fmt::Display for TimingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key(), self.problem())
    }
}

impl core::error::Error for TimingError {}

impl Timing {
    /// Proves the timing, or returns what is wrong with it.
    ///
    /// # Errors
    /// A [`TimingError`] that names the key, the value and the limit.
    pub fn prove(spec: TimingSpec) -> Result<Self, TimingError> {
        let TimingSpec {
            interval,
            lease,
            guard_slack: slack,
            drift_ppm,
        } = spec;
        if interval == Span::ZERO || interval > Span::from_millis(60_000) {
            return Err(TimingError::Interval(interval));
        }
        let least = interval.times(3);
        if lease < least || lease > MAX_LEASE {
            return Err(TimingError::Lease { lease, least });
        }
        if slack > lease {
            return Err(TimingError::Slack(slack));
        }
        if drift_ppm > MAX_DRIFT_PPM {
            return Err(TimingError::Drift(drift_ppm));
        }
        let vote = outlast(lease.plus(slack), drift_ppm);
        Ok(Self {
            interval,
            lease,
            slack,
            drift_ppm,
            vote,
            theirs: (interval, lease),
        })
    }

    /// R-22: the timing of one that changes from this to `other`: it goes by the shorter interval
    /// and lease, and waits for whoever goes by the longer.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        let theirs = (
            self.theirs.0.max(other.theirs.0),
            self.theirs.1.max(other.theirs.1),
        );
        let slack = self.slack.max(other.slack);
        let drift_ppm = self.drift_ppm.max(other.drift_ppm);
        Self {
            interval: self.interval.min(other.interval),
            lease: self.lease.min(other.lease),
            slack,
            drift_ppm,
            vote: outlast(theirs.1.plus(slack), drift_ppm),
            theirs,
        }
    }

    /// R-14: proves that the lease is long enough for a member that may be left alone. If two asks
    /// were lost before the peer died, its last word may echo an ask that is 1.75 i old (R-18), and
    /// the lease must still run 2.5 i and a round trip later.
    ///
    /// # Errors
    /// A [`TimingError`] that names the key, the value and the limit.
    pub fn prove_lone(&self) -> Result<(), TimingError> {
        let (lease, least) = (self.lease, self.theirs.0.times(9).part(2));
        if lease < least {
            return Err(TimingError::Lone { lease, least });
        }
        Ok(())
    }

    /// i: how often adverts are due; they are at most 1.25 i apart (R-18).
    #[must_use]
    pub const fn interval(&self) -> Span {
        self.interval
    }

    /// H: a holder may hold until this long after it sent the ask that was granted.
    #[must_use]
    pub const fn lease(&self) -> Span {
        self.lease
    }

    /// The longest lease that a vote of this member may have to cover: what a later incarnation must
    /// know (R-9). It is H, but while the lease changes (R-22).
    #[must_use]
    pub const fn longest_lease(&self) -> Span {
        self.theirs.1
    }

    /// κ: how late the kernel may shut the gate.
    #[must_use]
    pub const fn slack(&self) -> Span {
        self.slack
    }

    /// ρ in parts per million.
    #[must_use]
    pub const fn drift_ppm(&self) -> u32 {
        self.drift_ppm
    }

    /// D: a voter is bound for this long from the receipt of an ask. A member counts as heard for
    /// as long, and an echo proves that it hears us.
    #[must_use]
    pub const fn vote(&self) -> Span {
        self.vote
    }

    /// Q: a starting member neither votes nor holds for this long; `earlier` is the longest lease
    /// that earlier incarnations on this host may have had (R-9).
    #[must_use]
    pub fn quarantine(&self, earlier: Span) -> Span {
        outlast(self.theirs.1.max(earlier).plus(self.slack), self.drift_ppm)
    }

    /// R-7: the end of the lease that an ask of `asked_at` gives, by the holder's clock.
    #[must_use]
    pub const fn lease_end(&self, asked_at: LocalTime) -> LocalTime {
        asked_at.plus(self.lease)
    }

    /// R-4: until when an ask received at `now` binds the vote, by the voter's clock.
    #[must_use]
    pub const fn bound_until(&self, now: LocalTime) -> LocalTime {
        now.plus(self.vote)
    }

    /// R-5: when a hold that was issued until `deadline` is certainly over in the kernel.
    #[must_use]
    pub const fn surely_over(&self, deadline: LocalTime) -> LocalTime {
        deadline.plus(self.slack)
    }

    /// R-7, R-12: the lease that an ask of `asked_at` gives is worth taking: more than a quarter of
    /// it is left.
    #[must_use]
    pub fn useful(&self, asked_at: LocalTime, now: LocalTime) -> bool {
        self.lease_end(asked_at) > now.plus(self.lease.part(4))
    }

    /// R-7: the longest round trip at which a holder renews before its lease is over, if its guard
    /// ends every hold earlier by `early`. An ask is sent every i, its vote comes up to i/2 later
    /// than the round trip (R-13, R-18), and the lease that the previous ask gave must still run.
    /// `None` if no round trip is short enough.
    #[must_use]
    pub fn longest_round_trip(&self, early: Span) -> Option<Span> {
        let lease = self.lease.as_nanos();
        let gone = self.late().plus(early).as_nanos();
        let left = lease.checked_sub(gone).filter(|left| *left > 0)?;
        // A lease of which less than a quarter is left is not worth taking.
        let useful = lease.saturating_sub(self.lease.part(4).as_nanos());
        Some(Span::from_nanos(left.min(useful)))
    }

    /// R-13: a turn that is late by more than this, or (`survivor`) takes longer, counts as sleep:
    /// i/2.
    #[must_use]
    pub const fn oversleep(&self) -> Span {
        self.interval.part(2)
    }

    /// R-14: P: a holder that has heard nothing for this long may renew by what it sent: 2.5 i, by
    /// any clock. No two words of a living peer are further apart, unless it overslept (R-13): a
    /// word is due at most 1.25 i after the one before (R-18), its turn may be i/2 late and take
    /// i/2, and i/4 is for the network.
    #[must_use]
    pub fn presume_after(&self) -> Span {
        outlast(self.theirs.0.times(5).part(2), self.drift_ppm)
    }

    /// R-14: S: a standby that has heard nothing for this long takes hold: H + κ + 1.5 i, by any
    /// clock. A holder that presumes its peer dead goes by its last advert. If the holder is paused
    /// before it sends, that is up to 1.5 i younger than the last one that arrived (due i later,
    /// and i/2 late). If the peer wakes up, that is up to 0.75 i younger than the wake-up (i/2 for
    /// the peer's turn, i/4 for the network).
    #[must_use]
    pub fn survive_after(&self) -> Span {
        let held = self.theirs.1.plus(self.slack);
        outlast(held.plus(self.margin()), self.drift_ppm)
    }

    /// R-14: S + 1.5 i: beside a stranger that comes first in the order of R-15, a standby waits
    /// for this long, so that two that refuse each other and whose silences began together don't
    /// take hold together.
    #[must_use]
    pub fn defer_after(&self) -> Span {
        self.survive_after().plus(self.margin())
    }

    /// R-18: the pace of a sender in a hurry: i/4.
    #[must_use]
    pub const fn hurry(&self) -> Span {
        self.interval.part(4)
    }

    /// R-18: the pace of a holder that may be one of two: i/4, and at most 10 ms.
    #[must_use]
    pub fn alone(&self) -> Span {
        self.hurry().min(Span::from_millis(10))
    }

    /// R-14: 1.5 i, of the peer's.
    const fn margin(&self) -> Span {
        self.theirs.0.times(3).part(2)
    }

    /// R-18: an answer or an advert that is older than this is late: 1.5 i.
    #[must_use]
    pub const fn late(&self) -> Span {
        self.interval.times(3).part(2)
    }
}

/// The least span that, on the fastest clock, lasts at least as long as `inner` on the slowest one.
fn outlast(inner: Span, drift_ppm: u32) -> Span {
    let fast = MILLION.saturating_add(u128::from(drift_ppm));
    let slow = MILLION.saturating_sub(u128::from(drift_ppm));
    let nanos = u128::from(inner.as_nanos())
        .saturating_mul(fast)
        .div_ceil(slow);
    Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn the_default_timing_is_450_and_a_bit() {
        let t = Timing::prove(TimingSpec::default()).unwrap();
        assert_eq!(t.vote().as_nanos(), 455_910_911);
        assert_eq!(t.quarantine(Span::ZERO), t.vote());
        assert!(t.quarantine(Span::from_millis(2_000)) > Span::from_millis(2_000));
    }

    #[test]
    fn bad_timings_name_the_key_the_value_and_the_limit() {
        let spec = TimingSpec::default();
        let e = Timing::prove(TimingSpec {
            lease: Span::from_millis(200),
            ..spec
        })
        .unwrap_err();
        assert!(
            e.to_string()
                .starts_with("timing.lease = 200ms: must be at least three"),
            "{e}"
        );
        for bad in [
            TimingSpec {
                interval: Span::ZERO,
                ..spec
            },
            TimingSpec {
                guard_slack: Span::from_millis(451),
                ..spec
            },
            TimingSpec {
                drift_ppm: 100_001,
                ..spec
            },
        ] {
            assert!(Timing::prove(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn r7_what_the_guard_takes_of_a_lease_is_missing_from_the_round_trip() {
        let ms = Span::from_millis;
        let of = |interval, lease, early| {
            let spec = TimingSpec {
                interval: ms(interval),
                lease: ms(lease),
                ..TimingSpec::default()
            };
            let timing = Timing::prove(spec).unwrap();
            timing.longest_round_trip(ms(early))
        };
        assert_eq!(of(100, 450, 0), Some(ms(300)));
        assert_eq!(of(100, 450, 30), Some(ms(270)));
        assert_eq!(of(20, 60, 0), Some(ms(30)));
        assert_eq!(of(20, 60, 12), Some(ms(18)));
        assert_eq!(of(20, 60, 30), None);
        assert_eq!(of(20, 60, 100), None);
        // A lease of which less than a quarter is left is not worth taking.
        assert_eq!(of(10, 400, 0), Some(ms(300)));
    }

    proptest! {
        /// D·(1−ρ) ≥ (H+κ)·(1+ρ), and one nanosecond less would fail it.
        #[test]
        fn d_is_the_least_that_is_safe(
            interval in 1u64..1_000_000_000,
            factor in 3u64..60,
            slack in 0u64..10_000_000,
            drift_ppm in 0u32..MAX_DRIFT_PPM,
        ) {
            let lease = interval.saturating_mul(factor);
            let slack = slack.min(lease);
            let t = Timing::prove(TimingSpec {
                interval: Span::from_nanos(interval),
                lease: Span::from_nanos(lease),
                guard_slack: Span::from_nanos(slack),
                drift_ppm,
            }).unwrap();
            let need = u128::from(lease + slack) * (MILLION + u128::from(drift_ppm));
            let have = |d: u64| u128::from(d) * (MILLION - u128::from(drift_ppm));
            prop_assert!(have(t.vote().as_nanos()) >= need);
            prop_assert!(have(t.vote().as_nanos() - 1) < need);
        }
    }
}
