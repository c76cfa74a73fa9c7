//! What is fixed in one run of the checker: the cluster, its clocks, and what the adversary may do.

use crate::properties::{MAX, PROBES};
use onehold::trace::Step;
use onehold_core::advert::{Change, ConfigDigest, MemberId};
use onehold_core::config::{Arbitration, Config, Spec};
use onehold_core::input::Command;
use onehold_core::time::Span;

/// One configuration of the world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster as written; some members may have another file.
    pub spec: Spec,
    /// By machine: the cluster's configuration as its first file has it; of a machine that is only
    /// in the second file, as that one has it.
    pub configs: Vec<Config>,
    /// for each machine, its configurations in the order in which one follows another, from
    /// that one on: to that of the second file, and back. That one alone where no file changes, and
    /// everywhere if the machine is a member of one of the two files only.
    pub rows: Vec<Vec<Config>>,
    /// Which machine each member of each of these configurations is.
    pub machines: Vec<(ConfigDigest, Vec<u8>)>,
    /// by whose votes members may hold, if that changes: at most 8.
    pub electorates: Vec<u64>,
    /// The second file as written; the first again where no file changes.
    pub other: Spec,
    /// The place of the second file's settled configuration in them; 0 where no file changes.
    pub second: u8,
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
    /// Sets of links that may be cut while nothing else is wrong: bit 5·from + to, for adverts on
    /// every path. From a member to itself: its port is down, and it can see that. Bit 25 + m: what
    /// m asks of the network is not answered ([`PROBES`]).
    pub cuts: Vec<u32>,
    /// What members ask of the network is answered, where that is not cut.
    pub probes: bool,
    /// How many of these answers may be lost.
    pub unanswered: u8,
    /// how many times a member may be told to read its file again, when the other file is in
    /// its place.
    pub reloads: u8,
    /// a step that a member may take waits for as long as the adversary likes; else for less
    /// than a tick.
    pub steps_wait: bool,
    /// How many ticks two may be effective, where that is counted.
    pub overlap: u8,
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
            probes: false,
            unanswered: 0,
            reloads: 0,
            steps_wait: false,
            overlap: 0,
            settle_bound: 0,
            outage_bound: 0,
        }
    }
}

impl Adversary {
    /// As many as it likes.
    pub const NO_END: u8 = u8::MAX;

    /// What this member asks of the network is answered under these cuts.
    #[must_use]
    pub const fn asks(&self, cuts: u32, member: usize) -> bool {
        self.probes && cuts & 1 << (PROBES + member) == 0
    }

    /// Ports may go down.
    #[must_use]
    pub fn has_ports(&self) -> bool {
        let ports = (0..MAX).fold(0, |ports, m| ports | 1u32 << (m * MAX + m));
        self.cuts.iter().any(|cuts| cuts & ports != 0)
    }
}

impl Setup {
    /// The configuration that a machine goes by at a place in its row.
    #[must_use]
    pub fn config(&self, machine: u8, stage: u8) -> &Config {
        &self.rows[usize::from(machine)][usize::from(stage)]
    }

    /// The same with [`Setup::machines`] and [`Setup::electorates`] of its rows.
    pub(crate) fn numbered(mut self) -> Self {
        let names: Vec<String> = (0u8..)
            .take(self.rows.len())
            .map(|m| self.name(m).to_owned())
            .collect();
        let place = |name: &String| (0u8..).zip(&names).find(|(_, n)| *n == name);
        let mut machines: Vec<(ConfigDigest, Vec<u8>)> = Vec::new();
        let mut electorates = Vec::new();
        for config in self.rows.iter().flatten() {
            let of = config.members().iter().filter_map(|m| place(&m.name));
            if machines.iter().all(|(known, _)| *known != config.digest()) {
                machines.push((config.digest(), of.map(|(m, _)| m).collect()));
            }
            electorates.extend(config.electorates());
        }
        electorates.sort_unstable();
        electorates.dedup();
        electorates.truncate(if electorates.len() > 1 { 8 } else { 0 });
        (self.machines, self.electorates) = (machines, electorates);
        self
    }

    /// A machine's name.
    #[must_use]
    pub fn name(&self, machine: u8) -> &str {
        let config = self.config(machine, 0);
        &config.members()[usize::from(config.me().0)].name
    }

    /// Which machine has this number in a configuration.
    #[must_use]
    pub fn machine(&self, config: ConfigDigest, member: MemberId) -> u8 {
        let mut all = self.machines.iter();
        let (_, machines) = all
            .find(|(digest, _)| *digest == config)
            .expect("one of the rows'");
        machines[usize::from(member.0)]
    }

    /// the machine is a member of one of the two files only.
    #[must_use]
    pub fn is_fixed(&self, machine: u8) -> bool {
        let [first, second] = [0, self.second].map(|at| self.config(machine, at).digest());
        self.second > 0 && first == second
    }

    /// Where a machine begins that has never run.
    #[must_use]
    pub fn first_stage(&self, machine: u8) -> u8 {
        let first = self.config(machine, 0).digest();
        let known = self.config(0, self.second).digest();
        self.begins(self.second > 0 && first == known)
    }

    /// what is recorded at this place of whose votes decide: a bit for each of
    /// [`Setup::electorates`].
    #[must_use]
    pub fn votes(&self, config: &Config) -> u8 {
        let of = config.electorates();
        let all = (0..).zip(&self.electorates);
        all.fold(0, |bits, (at, e)| bits | u8::from(of.contains(e)) << at)
    }

    /// The place in a row after this one.
    #[must_use]
    pub fn next(&self, stage: u8) -> u8 {
        let all = u8::try_from(self.rows[0].len()).expect("few");
        (stage + 1) % all
    }

    /// the step from one of these configurations to the next, or back, which is at this place.
    #[must_use]
    pub fn step(&self, from: &Config, to: &Config, stage: u8) -> Step {
        let back = matches!(from.change(), Change::Toward(_));
        match to.change() {
            Change::Toward(_) => Step::Toward {
                spec: Box::new(match self.has_second_file(stage) {
                    true => self.other.clone(),
                    false => self.spec.clone(),
                }),
            },
            Change::From(_) => Step::From {},
            Change::None if back => Step::Back {},
            Change::None => Step::Settled {},
        }
    }

    /// Whether a member at this place has the second file, or is on the way to it.
    #[must_use]
    pub const fn has_second_file(&self, stage: u8) -> bool {
        0 < stage && stage <= self.second
    }

    /// Where a member begins that starts with a file.
    #[must_use]
    pub const fn begins(&self, second: bool) -> u8 {
        if second { self.second } else { 0 }
    }

    /// the longest lease that a machine may go by, or vote for, at this place: what is recorded
    /// for its later incarnations. Nothing is where no file changes, for it is that of the file.
    #[must_use]
    pub fn recorded(&self, machine: u8, stage: u8) -> Span {
        let lease = |stage| self.config(machine, stage).timing().lease();
        match self.config(machine, stage).change() {
            _ if self.second == 0 => Span::ZERO,
            Change::None => lease(stage),
            Change::Toward(_) | Change::From(_) => lease(0).max(lease(self.second)),
        }
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

    /// Whether a machine runs with a configuration that the first one has, too.
    #[must_use]
    pub fn has_first_file(&self, machine: u8) -> bool {
        let of = self.config(machine, self.first_stage(machine)).digest();
        [0, self.second]
            .iter()
            .any(|at| self.config(0, *at).digest() == of)
    }

    /// How far back a rule may look on its own clock, in nanoseconds: D everywhere but in the
    /// silences of two members alone (R-14: 1.5 i more, and 1.5 i more where files differ; R-17: D
    /// + Q).
    #[must_use]
    pub fn own_horizon(&self) -> u64 {
        let all = self.rows[0].iter().map(Config::timing);
        let timing = all.max_by_key(|t| (t.vote(), t.survive_after()));
        let timing = timing.expect("every member has a configuration");
        let vote = timing.vote();
        let of = |config: &Config| match (config.members().len(), config.arbitration()) {
            (2, Arbitration::Survivor) if self.has_first_file(1) && self.second == 0 => {
                timing.survive_after()
            }
            (2, Arbitration::Survivor) => timing.defer_after(),
            (2, Arbitration::Majority) => vote.times(2),
            _ => vote,
        };
        let horizon = self.rows[0].iter().map(of).max();
        horizon.map_or(0, Span::as_nanos) + self.hindsight
    }
}
