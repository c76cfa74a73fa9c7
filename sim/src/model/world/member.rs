//! One member: its process, which runs the shipped [`Node`], and its kernel, which outlives it.
//!
//! For the search, time stands still: every clock reads [`NOW`], always, and the past moves away
//! ([`MemberState::aged`]). So two moments that differ only in when they are, are equal, and the
//! search closes. A [trace](super::Timed) of one run lets the clocks go on.

use super::{Setup, Stimulus};
use crate::events::Events;
use crate::liveness::Liveness;
use crate::properties::Facts;
use onehold::trace;
use onehold_core::Node;
use onehold_core::advert::{Advert, Ballot, Change, ConfigDigest, GroupId, Incarnation, MemberId};
use onehold_core::auth::Authentic;
use onehold_core::config::Config;
use onehold_core::effect::{Effect, ReleaseId};
use onehold_core::input::{Command, Input};
use onehold_core::observe::{PeerSnapshot, Snapshot};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};

/// What every clock reads while the search walks.
pub const NOW: LocalTime = LocalTime::from_nanos(1 << 40);

/// Placeholder for instants of other clocks that no rule reads.
const UNREAD: LocalTime = LocalTime::from_nanos(0);

/// The one group of addresses in these worlds.
pub const GROUP: GroupId = GroupId(0);

/// A member's process and kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberState {
    /// Its machine.
    pub machine: u8,
    /// How many times its process has started.
    pub lives: u8,
    /// Its process.
    pub process: RunState,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its service fails.
    pub sick: bool,
    /// What its operator said last, since its process started.
    pub wish: Wish,
    /// Its operator said `freeze`, which later incarnations get again.
    pub frozen: bool,
    /// the place in its row of what its process goes by, or will begin with.
    pub stage: u8,
    /// [`Setup::recorded`] of all that its processes ever went by.
    pub earlier: Span,
    /// [`Setup::votes`] of what its processes went by, until it is known that no other
    /// members are to vote.
    pub record: u8,
}

/// What an operator wants of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It may hold.
    #[default]
    Serve,
    /// It must not, until `resume`.
    Standby,
    /// It must not any more.
    Stop,
}

/// A process, and what is left of its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunState {
    /// It runs.
    Up(Node),
    /// It was paused, perhaps in the middle of a turn: with what it still has to do when it goes
    /// on.
    Paused(Node, Vec<Effect>),
    /// It is dead.
    Down,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The gate's deadline, by the member's clock; `None` when it is surely shut.
    pub deadline: Option<LocalTime>,
    /// A release that it has not carried out yet.
    pub releasing: Option<ReleaseId>,
    /// What must be done before its gate opens is not done yet.
    pub preparing: bool,
    /// It can't serve: no interface, no gate.
    pub unable: bool,
}

impl Wish {
    fn hears(&mut self, command: Command) {
        match (command, *self) {
            (_, Self::Stop)
            | (
                Command::Switch
                | Command::StayAway
                | Command::Freeze
                | Command::Thaw
                | Command::PresumeDead,
                _,
            ) => {}
            (Command::Stop, _) => *self = Self::Stop,
            (Command::Standby, _) => *self = Self::Standby,
            (Command::Resume, _) => *self = Self::Serve,
        }
    }
}

impl Kernel {
    /// Removes what is left of earlier holds.
    fn scrub(&mut self) {
        *self = Self {
            unable: self.unable,
            ..Self::default()
        };
    }
}

/// How much of a turn takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// All of it.
    Whole,
    /// The process dies after this many of the effects.
    Dies(u8),
    /// The process is paused after this many of the effects; the rest waits for `Resume`.
    Pauses(u8),
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<M, A> {
    /// The member afterwards.
    pub member: M,
    /// What it handed to the network.
    pub sent: arrayvec::ArrayVec<(u8, A), 16>,
    /// How many effects there were to do, reports not counted.
    pub effects: u8,
    /// It asked the network.
    pub probes: bool,
    /// What it reported.
    pub events: Events,
    /// Why a datagram changed nothing.
    pub reject: Option<Reject>,
}

/// The incarnation that a machine's nth start makes.
#[must_use]
pub fn incarnation(machine: u8, life: u8) -> Incarnation {
    Incarnation((u64::from(machine) + 1) << 8 | u64::from(life))
}

impl RunState {
    pub(super) const fn node(&self) -> Option<&Node> {
        match self {
            Self::Up(node) | Self::Paused(node, _) => Some(node),
            Self::Down => None,
        }
    }
}

impl MemberState {
    /// One that has never been started.
    #[must_use]
    pub fn new(setup: &Setup, machine: u8) -> Self {
        Self {
            machine,
            lives: 0,
            process: RunState::Down,
            kernel: Kernel::default(),
            sick: false,
            wish: Wish::default(),
            frozen: false,
            stage: setup.first_stage(machine),
            earlier: Span::ZERO,
            record: 0,
        }
    }

    /// The configuration that its process goes by.
    pub(super) fn config<'a>(&self, setup: &'a Setup) -> &'a Config {
        setup.config(self.machine, self.stage)
    }

    /// a process that starts now doubts by whose votes it may hold.
    pub(super) fn doubts_at_start(&self, setup: &Setup) -> bool {
        let config = self.config(setup);
        config.is_candidate(config.me()) && self.record & !setup.votes(config) != 0
    }

    /// What its node lets be seen.
    #[must_use]
    pub fn observe(&self, setup: &Setup, now: LocalTime) -> Option<Snapshot> {
        let node = self.process.node()?;
        Some(node.observe(self.config(setup), now))
    }

    /// How much longer its kernel answers if nobody does anything.
    #[must_use]
    pub fn effective_left(&self, slack: Span) -> Option<Span> {
        let deadline = self.kernel.deadline?;
        Some(deadline.plus(slack).since(NOW))
    }

    /// The facts that properties speak of.
    #[must_use]
    pub fn facts(&self, setup: &Setup, now: LocalTime) -> Facts {
        let config = self.config(setup);
        let seen = self.observe(setup, now);
        let group = seen.as_ref().and_then(|s| s.groups.first());
        let is_candidate = |p: &&PeerSnapshot| config.is_candidate(p.member);
        let peers = seen.iter().flat_map(|s| &s.peers).filter(is_candidate);
        let other_is_frozen = peers.flat_map(|p| p.says.first()).any(|says| says.frozen);
        let due = |node: &Node| node.poll_timeout(config).is_none_or(|at| at <= now);
        Facts {
            process: match &self.process {
                RunState::Up(_) => Liveness::Up,
                RunState::Paused(..) => Liveness::Paused,
                RunState::Down => Liveness::Down,
            },
            effective: self.kernel.deadline.is_some(),
            releasing: self.kernel.releasing.is_some(),
            preparing: self.kernel.preparing,
            due: matches!(&self.process, RunState::Up(node) if due(node)),
            role: group.map(|g| g.role),
            quarantined: seen.as_ref().is_some_and(|s| s.quarantine_left.is_some()),
            vote: group
                .filter(|g| g.vote_left.is_some_and(|left| left > Span::ZERO))
                .and_then(|g| g.vote)
                .map(|b| (b.member, b.incarnation)),
            eligible: !self.kernel.unable,
            healthy: !self.sick,
            wanted: self.wish == Wish::Serve,
            frozen: self.frozen || other_is_frozen,
            may_step: matches!(&self.process, RunState::Up(node) if node.may_step(config, now)),
            changes: config.change() != Change::None,
            second_file: setup.has_second_file(self.stage),
            fixed: setup.is_fixed(self.machine),
            lives: self.lives,
            incarnation: incarnation(self.machine, self.lives),
        }
    }

    /// Its process dies; its kernel goes on, and has nobody to answer.
    fn die(&mut self, setup: &Setup) {
        self.process = RunState::Down;
        self.stage = setup.begins(setup.has_second_file(self.stage));
        self.kernel.releasing = None;
        self.kernel.preparing = false;
    }

    fn health(&self) -> Input {
        Input::Health {
            group: GROUP,
            healthy: !self.sick,
        }
    }

    fn eligibility(&self) -> Input {
        Input::Eligible {
            group: GROUP,
            eligible: !self.kernel.unable,
        }
    }

    /// its process reads its file again and turns, or takes the steps that it may. `None` if
    /// there is nothing to turn to, and no step.
    fn change_config(
        &mut self,
        setup: &Setup,
        now: LocalTime,
        reads: bool,
        effects: &mut Vec<Effect>,
        told: &mut Told<'_>,
    ) -> Option<()> {
        let of_a_file = |stage: u8| stage == 0 || stage == setup.second;
        if setup.is_fixed(self.machine) {
            return None; // it is no member of the other file
        }
        let mut from = self.config(setup);
        let RunState::Up(node) = &mut self.process else {
            return None;
        };
        let mut to = match from.change() {
            Change::None if reads && setup.second > 0 => setup.next(self.stage),
            Change::Toward(_) if reads && of_a_file(self.stage - 1) => self.stage - 1,
            _ if !reads && node.may_step(from, now) => setup.next(self.stage),
            _ => return None,
        };
        let mut all = vec![to];
        let settles = setup.config(self.machine, to).change() == Change::None;
        if settles && !of_a_file(to) {
            to = setup.next(to); // from a configuration between, it goes on at once
            all.push(to);
        }
        for stage in all {
            let to = setup.config(self.machine, stage);
            let moves = from.digest() != to.digest();
            if moves && from.leaving(to).next().is_some() {
                self.kernel.deadline = None; // it was withdrawn
            }
            let known = if node.doubts() { self.record } else { 0 };
            self.record = known | setup.votes(to);
            let first = effects.len();
            node.change(from, to, now, effects);
            if let Some(told) = told {
                told(Heard::Changed(&trace::Changed {
                    now,
                    step: &setup.step(from, to, stage),
                    effects: &effects[first..],
                    node,
                }));
            }
            from = to;
            self.stage = stage;
            self.earlier = self.earlier.max(setup.recorded(self.machine, stage));
        }
        Some(())
    }

    /// One change of it, up to its ending. `None` if it can't take place.
    #[must_use]
    pub fn change(
        &self,
        setup: &Setup,
        now: LocalTime,
        stimulus: &Stimulus<&Advert>,
        ending: Ending,
    ) -> Option<Changed<Self, Box<Advert>>> {
        self.change_told(setup, now, stimulus, ending, None)
    }

    /// The same; `told` is called with every turn that its node takes in it.
    pub(super) fn change_told(
        &self,
        setup: &Setup,
        now: LocalTime,
        stimulus: &Stimulus<&Advert>,
        ending: Ending,
        mut told: Told<'_>,
    ) -> Option<Changed<Self, Box<Advert>>> {
        let mut turn = Changed {
            member: self.clone(),
            sent: arrayvec::ArrayVec::new(),
            effects: 0,
            probes: false,
            events: Events::default(),
            reject: None,
        };
        let mut effects = Vec::new();
        let member = &mut turn.member;
        if let Stimulus::StartOther = stimulus {
            if setup.is_fixed(member.machine) {
                return None;
            }
            member.stage = setup.begins(!setup.has_second_file(member.stage));
        }
        let config = member.config(setup);
        let input = match stimulus {
            Stimulus::Wake => Input::Wake,
            Stimulus::Receive(advert) => Input::Received(Authentic::assumed((*advert).clone())),
            Stimulus::Released => {
                let release = member.kernel.releasing.take()?;
                member.kernel.deadline = None;
                let group = GROUP;
                Input::Released { group, release }
            }
            Stimulus::Answered => Input::ProbeAnswered {
                group: GROUP,
                probed_at: now,
            },
            Stimulus::Prepared(done) => {
                if !std::mem::take(&mut member.kernel.preparing) {
                    return None;
                }
                member.kernel.unable |= !done;
                let (group, done) = (GROUP, *done);
                Input::Prepared { group, done }
            }
            Stimulus::Operator(command) => {
                member.wish.hears(*command);
                match command {
                    Command::Freeze => member.frozen = true,
                    Command::Thaw => member.frozen = false,
                    Command::Switch
                    | Command::Standby
                    | Command::StayAway
                    | Command::Resume
                    | Command::PresumeDead
                    | Command::Stop => {}
                }
                Input::Operator {
                    group: GROUP,
                    command: *command,
                }
            }
            Stimulus::Healthy(healthy) => {
                member.sick = !*healthy;
                member.health()
            }
            Stimulus::Eligible(eligible) => {
                member.kernel.unable = !*eligible;
                member.eligibility()
            }
            Stimulus::Port(up) => {
                member.kernel.unable = !*up;
                if member.process == RunState::Down {
                    return Some(turn); // it asks its kernel when it starts
                }
                member.eligibility()
            }
            Stimulus::Start | Stimulus::StartOther => {
                member.kernel.scrub(); // before anything else
                member.lives += 1;
                member.wish = Wish::default();
                let life = incarnation(self.machine, member.lives);
                let mut node = Node::start(config, life, now, member.earlier);
                member.earlier = member
                    .earlier
                    .max(setup.recorded(self.machine, member.stage));
                if member.doubts_at_start(setup) {
                    node.doubt();
                }
                member.record |= setup.votes(config);
                let (group, command) = (GROUP, Command::Freeze);
                let frozen = member.frozen.then_some(Input::Operator { group, command });
                let first = frozen.into_iter();
                for input in first.chain([member.eligibility(), member.health()]) {
                    handle(&mut node, config, now, input, &mut effects, &mut told).ok()?;
                }
                member.process = RunState::Up(node);
                Input::Wake
            }
            Stimulus::Reload | Stimulus::Step => {
                let reads = *stimulus == Stimulus::Reload;
                member.change_config(setup, now, reads, &mut effects, &mut told)?;
                return Some(turn.done(setup, now, effects, ending));
            }
            Stimulus::Crash => {
                member.die(setup);
                return Some(turn);
            }
            Stimulus::PowerOff => {
                member.die(setup);
                member.kernel = Kernel::default();
                return Some(turn);
            }
            Stimulus::Pause => {
                let RunState::Up(node) = &member.process else {
                    return None;
                };
                member.process = RunState::Paused(node.clone(), Vec::new());
                return Some(turn);
            }
            Stimulus::Resume => {
                let RunState::Paused(node, rest) = &member.process else {
                    return None;
                };
                let (node, rest) = (node.clone(), rest.clone());
                member.process = RunState::Up(node);
                turn.apply(setup, now, rest.into_iter());
                return Some(turn);
            }
        };
        let RunState::Up(node) = &mut turn.member.process else {
            return None;
        };
        let doubted = node.doubts();
        turn.reject = handle(node, config, now, input, &mut effects, &mut told).err();
        if doubted && !node.doubts() {
            turn.member.record = setup.votes(config);
        }
        Some(turn.done(setup, now, effects, ending))
    }

    /// The member `ticks` later: everything that happened moves away, and what no rule can tell
    /// apart any more becomes equal.
    #[must_use]
    pub fn aged(&self, setup: &Setup, rates: &[u64], ticks: u64) -> Self {
        let mut member = self.clone();
        let config = self.config(setup);
        let me = config.me();
        let mine = rates[usize::from(self.machine)];
        // Its own numbers, and those of an advert that it has still to send.
        let aging = |by: ConfigDigest, whose: MemberId, t: &mut LocalTime| {
            let whose = setup.machine(by, whose);
            // What is in flight is newer than what was accepted, however old both are.
            let floor = setup.own_horizon() + if whose == self.machine { 0 } else { 2 };
            *t = earlier(*t, rates[usize::from(whose)] * ticks, floor);
        };
        let mut age = |whose: MemberId, t: &mut LocalTime| aging(config.digest(), whose, t);
        match &mut member.process {
            RunState::Up(node) => node.instants(config, age),
            RunState::Paused(node, rest) => {
                node.instants(config, &mut age);
                for effect in rest {
                    match effect {
                        Effect::HoldUntil { deadline, .. } => age(me, deadline),
                        Effect::Send { advert, .. } => {
                            let by = advert.config;
                            advert.instants(|whose, t| aging(by, whose, t));
                        }
                        Effect::EndIncarnation
                        | Effect::Release { .. }
                        | Effect::Prepare { .. }
                        | Effect::Announce { .. }
                        | Effect::Report(_) => {}
                        Effect::Probe { probed_at, .. } => age(me, probed_at),
                    }
                }
            }
            RunState::Down => {}
        }
        let timing = config.timing();
        member.kernel.deadline = member
            .kernel
            .deadline
            .map(|deadline| earlier(deadline, mine * ticks, u64::MAX))
            .filter(|deadline| timing.surely_over(*deadline) > NOW);
        member
    }
}

impl<M, A> Changed<M, A> {
    /// The same with its parts kept otherwise.
    pub fn map<N, B>(self, member: impl FnOnce(M) -> N, advert: impl Fn(A) -> B) -> Changed<N, B> {
        let sent = self.sent.into_iter();
        Changed {
            member: member(self.member),
            sent: sent.map(|(to, a)| (to, advert(a))).collect(),
            effects: self.effects,
            probes: self.probes,
            events: self.events,
            reject: self.reject,
        }
    }
}

impl Changed<MemberState, Box<Advert>> {
    /// With these effects, up to its ending.
    fn done(
        mut self,
        setup: &Setup,
        now: LocalTime,
        mut effects: Vec<Effect>,
        ending: Ending,
    ) -> Self {
        // What a process asks that does not get to the end of its turn is lost.
        let probes = effects.iter().any(|e| matches!(e, Effect::Probe { .. }));
        self.probes = probes && ending == Ending::Whole;
        effects.retain(|effect| {
            if let Effect::Report(event) = effect {
                self.events.add(event);
            }
            matters(effect)
        });
        self.effects = u8::try_from(effects.len()).expect("few effects");
        let done = match ending {
            Ending::Whole => effects.len(),
            Ending::Dies(n) | Ending::Pauses(n) => usize::from(n),
        };
        let mut effects = effects.into_iter();
        self.apply(setup, now, effects.by_ref().take(done));
        match ending {
            Ending::Whole => {}
            Ending::Dies(_) => {
                self.member.die(setup);
            }
            Ending::Pauses(_) => {
                if let RunState::Up(node) = &self.member.process {
                    self.member.process = RunState::Paused(node.clone(), effects.collect());
                }
            }
        }
        self
    }

    fn apply(&mut self, setup: &Setup, now: LocalTime, effects: impl Iterator<Item = Effect>) {
        for effect in effects {
            let kernel = &mut self.member.kernel;
            match effect {
                Effect::EndIncarnation => {
                    kernel.scrub();
                    self.member.die(setup);
                }
                Effect::Release { release, .. } => {
                    kernel.releasing = Some(release);
                    kernel.preparing = false;
                }
                Effect::Prepare { .. } => kernel.preparing = true,
                Effect::Send { to, advert } => {
                    let to = setup.machine(advert.config, to);
                    self.sent.push((to, Box::new(advert)));
                }
                // Absolute: a deadline that is past opens nothing.
                Effect::HoldUntil { deadline, .. } if deadline > now => {
                    kernel.deadline = Some(deadline);
                }
                Effect::HoldUntil { .. } => {}
                Effect::Announce { .. } | Effect::Probe { .. } | Effect::Report(_) => {}
            }
        }
    }
}

/// What a node did.
pub(super) enum Heard<'a> {
    /// A turn.
    Turn(&'a trace::Turn<'a>),
    /// A step of a change of its configuration.
    Changed(&'a trace::Changed<'a>),
}

/// Called with all that a node does.
pub(super) type Told<'a> = Option<&'a mut dyn FnMut(Heard<'_>)>;

/// A turn of the node; its effects are added to what there is.
fn handle(
    node: &mut Node,
    config: &Config,
    now: LocalTime,
    input: Input,
    effects: &mut Vec<Effect>,
    told: &mut Told<'_>,
) -> Result<(), Reject> {
    let Some(told) = told else {
        return node.handle(config, now, input, effects);
    };
    let first = effects.len();
    let result = node.handle(config, now, input.clone(), effects);
    told(Heard::Turn(&trace::Turn {
        cluster: 0,
        now,
        input: &input,
        result,
        effects: &effects[first..],
        node,
    }));
    result
}

/// Whether an effect does anything to the kernel or the network.
const fn matters(effect: &Effect) -> bool {
    match effect {
        Effect::EndIncarnation
        | Effect::Release { .. }
        | Effect::Send { .. }
        | Effect::HoldUntil { .. }
        | Effect::Prepare { .. } => true,
        Effect::Announce { .. } | Effect::Probe { .. } | Effect::Report(_) => false,
    }
}

/// An advert without what no rule reads: `echo_age`, and when somebody else's ask was made.
pub(crate) fn as_sent(mut advert: Advert) -> Advert {
    advert.echo_age = Span::ZERO;
    let to = advert.to;
    let hearsay = |b: &&mut Ballot| b.member != to;
    let votes = advert.groups.iter_mut().filter_map(|s| s.vote.as_mut());
    votes.filter(hearsay).for_each(|b| b.asked_at = UNREAD);
    advert
}

/// Whether an advert only answers a knock: it names an incarnation that its sender has not met.
pub(crate) fn is_answer(advert: &Advert) -> bool {
    advert.to_incarnation.is_some() && advert.echo.is_none()
}

/// An advert in flight, `ticks` later.
pub(super) fn advert_aged(setup: &Setup, advert: &Advert, rates: &[u64], ticks: u64) -> Advert {
    let mut advert = advert.clone();
    let (from, by) = (advert.from, advert.config);
    advert.instants(|whose, t| {
        let floor = setup.own_horizon() + u64::from(whose == from);
        let rate = rates[usize::from(setup.machine(by, whose))];
        *t = earlier(*t, rate * ticks, floor);
    });
    advert
}

/// An instant seen from `by` later; one further back than `floor` counts as at `floor`.
fn earlier(t: LocalTime, by: u64, floor: u64) -> LocalTime {
    if t == UNREAD {
        return t;
    }
    let moved = t.as_nanos().saturating_sub(by);
    LocalTime::from_nanos(moved.max(NOW.as_nanos().saturating_sub(floor)))
}
