//! What of a cluster decides what may go wrong in it. All times are in microseconds.

use crate::fault::Conditions;
use crate::simulator::plan::Plan;
use crate::simulator::rng::Rng;
use onehold::config_file::Length;
use onehold_core::config::{Arbitration, Failback};
use onehold_core::lease::Timing;
use onehold_core::time::Span;

/// What is promised of a run, and so what may go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// `majority`: never two, whatever happens.
    Majority,
    /// `majority`, and machines freeze together with their clocks, or go back to a snapshot: two for
    /// what was left of a lease.
    Frozen,
    /// `majority`, and nothing is wrong but a few adverts lost in a row: the holder changes only
    /// where that is meant, and no outage is long.
    Steady,
    /// `survivor`, and messages get through in time: never two.
    Timely,
    /// `survivor`, and one direction at a time is cut, too: never two.
    OneWay,
    /// `survivor`, and anything: two while the network fails, and for a bound after that.
    Anything,
}

impl Promise {
    /// What is promised, for people.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Majority => "majority: never two, whatever happens",
            Self::Steady => {
                "majority, nothing wrong but a few lost adverts: the holder changes only if that is meant"
            }
            Self::Frozen => {
                "majority, and clocks stand still or go back: two for what was left of a lease at most"
            }
            Self::Timely => "survivor, messages in time: never two",
            Self::OneWay => "survivor, one direction cut at a time: never two",
            Self::Anything => "survivor: two while the network fails, one again soon after",
        }
    }
}

/// A cluster, as far as drawing needs it.
#[derive(Clone, Debug)]
pub struct DrawnCluster<'a> {
    /// What is promised of it.
    pub promise: Promise,
    /// The members' names; the first two are the candidates.
    pub members: Vec<&'a str>,
    /// The groups.
    pub groups: Vec<DrawnGroup<'a>>,
    /// The timing, proved.
    pub timing: Timing,
    /// How many paths there are.
    pub paths: u8,
    /// Adverts also travel as frames.
    pub frames: bool,
    /// The network is asked who answers for an address.
    pub evidence: bool,
    /// How long a step of the simulation takes.
    pub tick: u64,
    /// How long a kernel takes for a release.
    pub confirm: u64,
    /// The longest that a datagram takes while nothing is wrong.
    pub trip: u64,
}

/// A group, as far as drawing needs it.
#[derive(Clone, Debug)]
pub struct DrawnGroup<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which candidate is preferred.
    pub preferred: &'a str,
    /// It returns to that one by itself.
    pub returns: bool,
    /// After this delay.
    pub delay: u64,
    /// Rather no holder than a sick one.
    pub releases_when_unhealthy: bool,
}

pub(in crate::simulator) const fn micros(span: Span) -> u64 {
    span.as_nanos().div_ceil(1_000)
}

/// As a scenario's file says it.
pub(in crate::simulator) const fn span(us: u64) -> Length {
    Length(Span::from_nanos(us * 1_000))
}

impl<'a> From<&'a Plan> for DrawnCluster<'a> {
    fn from(plan: &'a Plan) -> Self {
        let config = plan.config();
        let (candidates, witnesses): (Vec<_>, Vec<_>) =
            config.members().iter().partition(|m| !m.witness);
        let members = candidates.into_iter().chain(witnesses);
        let groups = config.groups().iter();
        let Conditions { delay, jitter, .. } = plan.conditions;
        Self {
            promise: match config.arbitration() {
                Arbitration::Majority => Promise::Majority,
                Arbitration::Survivor => Promise::Anything,
            },
            members: members.map(|m| m.name.as_str()).collect(),
            groups: groups
                .map(|g| DrawnGroup {
                    name: &g.name,
                    preferred: plan.name(g.preferred),
                    returns: g.failback == Failback::Auto,
                    delay: micros(g.failback_delay),
                    releases_when_unhealthy: g.release_when_unhealthy,
                })
                .collect(),
            timing: *config.timing(),
            paths: plan.paths,
            frames: plan.frames && config.arbitration() == Arbitration::Survivor,
            evidence: plan.evidence,
            tick: micros(plan.tick),
            confirm: micros(plan.confirm_after),
            trip: micros(delay.0.plus(jitter.0)) + 2 * micros(plan.tick),
        }
    }
}

impl DrawnCluster<'_> {
    /// i, in microseconds.
    #[must_use]
    pub fn interval(&self) -> u64 {
        micros(self.timing.interval())
    }

    /// D, in microseconds.
    #[must_use]
    pub fn vote(&self) -> u64 {
        micros(self.timing.vote())
    }

    /// Two members alone, without a majority.
    #[must_use]
    pub const fn arbitration(&self) -> Arbitration {
        match self.promise {
            Promise::Majority | Promise::Frozen | Promise::Steady => Arbitration::Majority,
            Promise::Timely | Promise::OneWay | Promise::Anything => Arbitration::Survivor,
        }
    }

    /// For how long two may still hold after a cut has healed: two intervals, an advert's way
    /// through the network and what the kernel takes. A paused member holds for what is left of its
    /// lease.
    #[must_use]
    pub fn heals_within(&self, restless: bool) -> u64 {
        let heal = 2 * self.interval() + self.trip + self.confirm + 2 * self.tick;
        if restless { heal + self.vote() } else { heal }
    }

    /// How long an outage may be because a message of a hand-over was lost: D until the successor
    /// may take over by itself, and two intervals; by slow clocks, with what adverts, kernel and
    /// steps take.
    #[must_use]
    pub fn handed_over_within(&self) -> u64 {
        let most = self.vote() + 2 * self.interval();
        let slow = most * u64::from(self.timing.drift_ppm()) / 500_000;
        most + slow + 4 * self.trip + self.confirm + 2 * self.tick
    }

    /// How long a move that is meant takes: by a hand-over, or D later; and how long the return
    /// takes: a start (quarantine, and meeting the others), and the group's delay.
    #[must_use]
    pub fn meant_within(&self) -> [u64; 2] {
        let away = self.handed_over_within() + self.vote();
        let delay = self.groups.iter().map(|g| g.delay).max().unwrap_or(0);
        [away, away + 2 * self.vote() + delay]
    }
}

/// By how much a clock is fast: as far as is allowed, or less.
pub(in crate::simulator) fn ppm(rng: &mut Rng, timing: &Timing) -> i32 {
    let most = i32::try_from(timing.drift_ppm()).unwrap_or(i32::MAX);
    let less = i32::try_from(rng.below(2 * u64::from(timing.drift_ppm()) + 1)).unwrap_or(0);
    rng.one(&[-most, 0, most, less - most])
}
