//! What is fixed in one run of the checker: the cluster, its clocks, and what the adversary may do.

use crate::properties::MAX;
use onehold_core::advert::MemberId;
use onehold_core::config::{Arbitration, Config, Spec};
use onehold_core::input::Command;
use onehold_core::time::Span;

/// One configuration of the world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster as written; some members may have another file.
    pub spec: Spec,
    /// The cluster's configuration as each member sees it.
    pub configs: Vec<Config>,
    /// Every possible choice of clocks: by how much each member's clock goes on in one tick.
    pub rates: Vec<Vec<u64>>,
    /// The same where a machine stands still together with its clock: see [`Setup::still`].
    pub rates_still: Vec<Vec<u64>>,
    /// How much further back than any rule looks the past is kept, in units of the clocks. Zero,
    /// except to show that it makes no difference.
    pub hindsight: u64,
    /// How many ticks nothing goes wrong for before the adversary may act.
    pub warm_up: u64,
    /// What the adversary may do.
    pub adversary: Adversary,
}

/// What may go wrong. Each member runs once a tick, and then hears what has arrived; what it does
/// not hear then is lost, or kept back.
#[derive(Clone, Debug)]
pub struct Adversary {
    /// How many adverts there may be in flight on each link: more than one only where none may be
    /// lost.
    pub room: usize,
    /// Who runs first is the adversary's choice in every tick; else it is by name.
    pub any_order: bool,
    /// An advert that its receiver does not hear when it next runs is one of `losses`; otherwise it
    /// is lost at no charge.
    pub timely: bool,
    /// How many adverts may be kept back, one for each receiver at a time, and arrive whenever the
    /// adversary likes; or [`Adversary::NO_END`].
    pub stragglers: u8,
    /// What was kept back and is not accepted, a knock, may arrive again and again.
    pub duplicates: bool,
    /// How many processes may die.
    pub crashes: u8,
    /// Whole hosts may die instead.
    pub power: bool,
    /// They may die, and be paused, between any two effects of a turn.
    pub in_turn: bool,
    /// How many lives each member may have.
    pub lives: u8,
    /// How many times processes may be paused, one at a time, each for as long as the adversary
    /// likes; or [`Adversary::NO_END`].
    pub pauses: u8,
    /// For how many ticks, in all, a candidate's machine may stand still together with its clock;
    /// what comes for it meanwhile is lost.
    pub stills: u8,
    /// How many commands the operators may give.
    pub commands: u8,
    /// Which commands.
    pub says: Vec<Command>,
    /// How many times health or eligibility of a candidate may change.
    pub flips: u8,
    /// How many adverts may be lost where they are timely.
    pub losses: u8,
    /// How many times the network may turn from what it is to one of `cuts`.
    pub changes: u8,
    /// Members still die and are paused after that.
    pub restless: bool,
    /// Sets of links that may be cut while nothing else is wrong: bit 5·from + to. From a member to
    /// itself: its port is down, and it can see that.
    pub cuts: Vec<u32>,
    /// The bound of L1 to L3: how many ticks are counted since the faults ended, or since the last
    /// one.
    pub settle_bound: u8,
    /// The bound of L5: how many ticks of an outage are counted.
    pub outage_bound: u8,
}

impl Default for Adversary {
    /// A network that loses and delays; nothing else.
    fn default() -> Self {
        Self {
            room: 1,
            any_order: false,
            timely: false,
            duplicates: false,
            stragglers: 0,
            crashes: 0,
            power: false,
            in_turn: false,
            lives: 1,
            pauses: 0,
            stills: 0,
            commands: 0,
            says: Vec::new(),
            flips: 0,
            losses: 0,
            changes: 0,
            restless: false,
            cuts: Vec::new(),
            settle_bound: 0,
            outage_bound: 0,
        }
    }
}

impl Adversary {
    /// As many as it likes.
    pub const NO_END: u8 = u8::MAX;

    /// Ports may go down.
    #[must_use]
    pub fn has_ports(&self) -> bool {
        let ports = (0..MAX).fold(0, |ports, m| ports | 1u32 << (m * MAX + m));
        self.cuts.iter().any(|cuts| cuts & ports != 0)
    }
}

impl Setup {
    /// The configuration as a member sees it.
    #[must_use]
    pub fn config(&self, member: MemberId) -> &Config {
        &self.configs[usize::from(member.0)]
    }

    /// By how much each clock goes on in a tick.
    #[must_use]
    pub fn ticks(&self, beginning: u8) -> &[u64] {
        let (all, at) = (self.rates.len(), usize::from(beginning));
        self.rates
            .get(at)
            .unwrap_or_else(|| &self.rates_still[at - all])
    }

    /// The number of those clocks where a member's machine stands still and the others go on as
    /// from this beginning.
    #[must_use]
    pub fn still(&self, beginning: u8, member: u8) -> u8 {
        let members = self.configs.len();
        let at = usize::from(beginning) * members + usize::from(member);
        u8::try_from(self.rates.len() + at).expect("few")
    }

    /// Makes [`Setup::rates_still`].
    pub(crate) fn with_stills(mut self) -> Self {
        for rates in &self.rates {
            for m in 0..self.configs.len() {
                let mut still = rates.clone();
                still[m] = 0;
                self.rates_still.push(still);
            }
        }
        self
    }

    /// How much true time a tick is: the middle of how far clocks go on in it.
    #[must_use]
    pub fn tick(&self) -> Span {
        let all = || self.rates.iter().flatten().copied();
        let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        Span::from_nanos(least.midpoint(most))
    }

    /// Whether a member may hold.
    #[must_use]
    pub fn is_candidate(&self, member: u8) -> bool {
        self.configs[0].is_candidate(MemberId(member))
    }

    /// Whether a member runs with the same configuration as the first one.
    #[must_use]
    pub fn has_first_file(&self, member: MemberId) -> bool {
        self.config(member).digest() == self.configs[0].digest()
    }

    /// How far back a rule may look on its own clock, in nanoseconds: D everywhere but in the
    /// silences of two members alone (R-14: 1.5 i more, and 1.5 i more where files differ; R-17: D
    /// + Q).
    #[must_use]
    pub fn own_horizon(&self) -> u64 {
        let timing = self.configs[0].timing();
        let vote = timing.vote();
        let horizon = match (self.configs.len(), self.configs[0].arbitration()) {
            (2, Arbitration::Survivor) if self.has_first_file(MemberId(1)) => {
                timing.survive_after()
            }
            (2, Arbitration::Survivor) => timing.defer_after(),
            (2, Arbitration::Majority) => vote.times(2),
            _ => vote,
        };
        horizon.as_nanos() + self.hindsight
    }
}
