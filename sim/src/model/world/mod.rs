//! The world of the model checker: members that run the shipped [`Node`](onehold_core::Node), the
//! links between them, and an adversary who chooses whatever may happen.
//!
//! A [`World`] is a value; [`World::actions`] lists what may happen next and [`World::step`] lets
//! it happen. How members and adverts are kept is left to [`Parts`]: as they are ([`Direct`]), as
//! numbers of what was seen before ([`crate::model::memo`]), or on clocks that go on ([`Timed`]).
//! All run this one world.

mod choices;
mod direct;
mod member;
mod network;
mod rest;
mod setup;
mod timed;

pub use direct::{Direct, Known};
pub use member::{Changed, Ending, GROUP, Kernel, MemberState, NOW, RunState, Wish, incarnation};
pub(crate) use member::{as_sent, is_answer};
pub use rest::{REST, Rest};
pub use setup::{Adversary, Setup};
pub use timed::{Timed, TimedMember};

use crate::events::Events;
use crate::properties::Facts;
use crate::properties::MAX;
use arrayvec::ArrayVec;
use onehold_core::advert::Incarnation;
use onehold_core::input::Command;
use onehold_core::reject::Reject;
use rest::one_less;
use std::fmt::Debug;
use std::hash::Hash;

/// Most adverts in flight on one link.
pub const ROOM: usize = 4;

/// What happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stimulus<A> {
    /// Its timer fires.
    Wake,
    /// A datagram arrives.
    Receive(A),
    /// Its kernel carries out a release and confirms it.
    Released,
    /// A probe that it has just sent is answered.
    Answered,
    /// What must be done before its gate opens is done, or can't be.
    Prepared(bool),
    /// Its operator gives a command.
    Operator(Command),
    /// Its service turns healthy or not.
    Healthy(bool),
    /// Its kernel becomes able to serve or not.
    Eligible(bool),
    /// Its port goes down or comes up again, and its kernel with it.
    Port(bool),
    /// Its process starts: scrubs the kernel, then quarantine.
    Start,
    /// The same, with the other file in its file's place.
    StartOther,
    /// The other file is in its file's place, and it is told to read it.
    Reload,
    /// It takes the next step of a change, for it may; what leaves its groups, its kernel has
    /// withdrawn.
    Step,
    /// Its process dies; its kernel goes on.
    Crash,
    /// Its host dies: process and kernel.
    PowerOff,
    /// Its process is paused, between two turns.
    Pause,
    /// A paused process goes on where it was.
    Resume,
}

impl Stimulus<u8> {
    /// Whose advert arrives.
    const fn sender(&self) -> Option<u8> {
        match self {
            Self::Receive(from) => Some(*from),
            _ => None,
        }
    }
}

impl<A: Copy> Stimulus<A> {
    /// The same, of adverts that are kept otherwise.
    pub fn map<B>(self, f: impl FnOnce(A) -> B) -> Stimulus<B> {
        match self {
            Self::Receive(advert) => Stimulus::Receive(f(advert)),
            Self::Wake => Stimulus::Wake,
            Self::Released => Stimulus::Released,
            Self::Answered => Stimulus::Answered,
            Self::Prepared(done) => Stimulus::Prepared(done),
            Self::Operator(command) => Stimulus::Operator(command),
            Self::Healthy(healthy) => Stimulus::Healthy(healthy),
            Self::Eligible(eligible) => Stimulus::Eligible(eligible),
            Self::Port(up) => Stimulus::Port(up),
            Self::Start => Stimulus::Start,
            Self::StartOther => Stimulus::StartOther,
            Self::Reload => Stimulus::Reload,
            Self::Step => Stimulus::Step,
            Self::Crash => Stimulus::Crash,
            Self::PowerOff => Stimulus::PowerOff,
            Self::Pause => Stimulus::Pause,
            Self::Resume => Stimulus::Resume,
        }
    }
}

/// One choice of the adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Time passes.
    Tick,
    /// Time passes for all but one machine, which stands still together with its clock.
    Still(u8),
    /// The member's one run in this tick: what it hears, then its timer.
    Run {
        /// Which member.
        member: u8,
        /// What it hears.
        hears: Reception,
        /// How far its last turn gets.
        ending: Ending,
        /// The sender of an advert that it does not hear and that is kept back, to arrive some
        /// time.
        back: Option<u8>,
        /// What it asks of the network is answered, if there is an answer.
        answered: bool,
        /// What becomes of what it sends.
        kept: Delivery,
    },
    /// Something happens to a member.
    Turn {
        /// Which member.
        member: u8,
        /// What happens. A received advert is named by its sender: the first on that link.
        stimulus: Stimulus<u8>,
        /// How far it gets.
        ending: Ending,
        /// What becomes of what it sends.
        kept: Delivery,
    },
    /// From now on there are no faults but these cuts (by number in [`Adversary::cuts`]), unless
    /// the adversary is restless, and every other advert arrives in time.
    Settle(u8),
}

/// The senders that a member hears in one run, in this order; its own number stands for what was
/// kept back. Written as hexadecimal digits, the first lowest, ended by `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reception(pub u32);

/// Which of the adverts that were just sent gets onto each link: one hexadecimal digit for each
/// receiver; `e`: the last, and all answers to knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivery(pub u32);

const NONE: u32 = 0xf;
const ALL: u32 = 0xe;

impl Reception {
    const NOBODY: Self = Self(NONE);

    pub(crate) fn senders(self) -> impl Iterator<Item = u8> {
        let digits = (0..8).map(move |i| self.0 >> (4 * i) & 0xf);
        digits.take_while(|d| *d != NONE).map(|d| d as u8)
    }

    fn then(self, sender: u8) -> Self {
        let at = 4 * self.senders().count();
        Self(self.0 & !(NONE << at) | u32::from(sender) << at | NONE << (at + 4))
    }

    fn and(self, senders: &[u8]) -> Self {
        senders.iter().fold(self, |hears, from| hears.then(*from))
    }

    /// All that hear these senders but for some, in the order given; what was kept back need not be
    /// heard.
    fn all_but(senders: &[u8], me: u8, some: usize) -> Vec<Self> {
        let kept_back = senders.iter().position(|s| *s == me);
        let others = !kept_back.map_or(0, |i| 1u32 << i);
        let few = |missed: &u32| (missed & others).count_ones() as usize <= some;
        let sets = (0u32..1 << senders.len()).filter(few);
        let heard = |missed: u32| {
            let of = senders
                .iter()
                .enumerate()
                .filter(move |(i, _)| missed & 1 << i == 0);
            of.fold(Self::NOBODY, |hears, (_, from)| hears.then(*from))
        };
        sets.map(heard).collect()
    }

    /// All that hear some of these senders, in any order.
    fn all(senders: &[u8]) -> Vec<Self> {
        let mut all = vec![Self::NOBODY];
        let mut next = 0;
        while let Some(hears) = all.get(next).copied() {
            let more = senders.iter().filter(|s| hears.senders().all(|h| h != **s));
            let longer: Vec<Self> = more.map(|s| hears.then(*s)).collect();
            all.extend(longer);
            next += 1;
        }
        all
    }
}

/// How members and adverts are kept.
pub trait Parts {
    /// A [`MemberState`].
    type Member: Clone + Debug;
    /// An advert in flight.
    type Advert: Clone + Debug;

    /// The configuration.
    fn setup(&self) -> &Setup;
    /// Keeps a member.
    fn member(&self, member: MemberState) -> Self::Member;
    /// What is true of one.
    fn facts(&self, member: &Self::Member) -> Facts;
    /// [`MemberState::change`].
    fn change(
        &self,
        member: &Self::Member,
        stimulus: &Stimulus<&Self::Advert>,
        ending: Ending,
    ) -> Option<Changed<Self::Member, Self::Advert>>;
    /// [`MemberState::aged`].
    fn aged(&self, member: &Self::Member, beginning: u8) -> Self::Member;
    /// One tick later.
    fn advert_aged(&self, advert: &Self::Advert, beginning: u8) -> Self::Advert;
    /// The incarnation of its sender.
    fn life(&self, advert: &Self::Advert) -> Incarnation;
    /// Whether it is nothing but the answer to a knock.
    fn is_answer(&self, advert: &Self::Advert) -> bool;
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World<M, A> {
    /// The members.
    pub members: ArrayVec<M, MAX>,
    /// The adverts in flight, in the order in which they were sent: by sender, then receiver.
    pub links: ArrayVec<ArrayVec<A, ROOM>, { MAX * MAX }>,
    /// The rest.
    pub rest: Rest,
}

/// The world that is made of these parts.
pub type Of<P> = World<<P as Parts>::Member, <P as Parts>::Advert>;

/// What one step did besides leading to another world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// What was reported, and by whom.
    pub events: Events,
    /// By whom.
    pub member: u8,
    /// A link had no room where none may be lost: a bound of the configuration was reached.
    pub overflow: bool,
    /// The network answered what the member asked.
    pub answered: bool,
}

impl<M: Clone, A: Clone> World<M, A> {
    /// Every world that there may be at the beginning.
    pub fn beginnings(parts: &impl Parts<Member = M, Advert = A>) -> Vec<Self> {
        let setup = parts.setup();
        let adversary = &setup.adversary;
        let n = setup.configs.len();
        let cold = |beginning: usize| Self {
            members: (0u8..)
                .take(n)
                .map(|m| parts.member(MemberState::new(setup, m)))
                .collect(),
            links: (0..n * n).map(|_| ArrayVec::new()).collect(),
            rest: Rest {
                beginning: u8::try_from(beginning).expect("few"),
                crashes: adversary.crashes,
                pauses: adversary.pauses,
                stills: adversary.stills,
                stragglers: adversary.stragglers,
                changes: adversary.changes,
                commands: adversary.commands,
                flips: adversary.flips,
                losses: adversary.losses,
                unanswered: adversary.unanswered,
                reloads: adversary.reloads,
                ..Rest::default()
            },
        };
        let worlds = (0..setup.rates.len()).map(cold);
        worlds.map(|w| w.begun(parts)).collect()
    }

    /// Every member is started; if so configured, the cluster has run undisturbed for long.
    fn begun(mut self, parts: &impl Parts<Member = M, Advert = A>) -> Self {
        for m in (0u8..).take(self.members.len()) {
            self.turn_now(parts, m, Stimulus::Start);
        }
        for _ in 0..parts.setup().warm_up {
            while let Some((m, stimulus)) = self.obvious(parts) {
                self.turn_now(parts, m, stimulus);
            }
            self = self.tick(parts);
            self.rest.quiet = 0;
            self.rest.outage = 0;
        }
        self
    }

    /// What has to happen before time passes, if nothing is wrong: the first of it.
    fn obvious(&self, parts: &impl Parts<Member = M, Advert = A>) -> Option<(u8, Stimulus<u8>)> {
        let n = self.members.len();
        if let Some(i) = (0..n * n).find(|i| !self.links[*i].is_empty()) {
            return Some(((i % n) as u8, Stimulus::Receive((i / n) as u8)));
        }
        (0u8..).zip(self.facts(parts)).find_map(|(m, facts)| {
            if facts.releasing {
                Some((m, Stimulus::Released))
            } else if facts.preparing {
                Some((m, Stimulus::Prepared(true)))
            } else {
                facts.due.then_some((m, Stimulus::Wake))
            }
        })
    }

    fn turn_now(
        &mut self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        stimulus: Stimulus<u8>,
    ) {
        let turn = self.turn(parts, member, stimulus, Ending::Whole);
        if let Some((mut next, _, sent)) = turn {
            for (to, adverts) in (0u8..).zip(sent) {
                let link = usize::from(member) * self.members.len() + usize::from(to);
                next.links[link].extend(adverts);
            }
            *self = next;
        }
    }

    /// What is true of every member.
    pub fn facts(&self, parts: &impl Parts<Member = M, Advert = A>) -> ArrayVec<Facts, MAX> {
        self.members.iter().map(|m| parts.facts(m)).collect()
    }

    /// The faults have ended, but for some cuts.
    pub const fn is_settled(&self) -> bool {
        self.rest.settled > 0
    }

    /// The world after this action, `None` where it can't happen; and what else the step did.
    pub fn step(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        action: Action,
    ) -> Option<(Self, Done)> {
        match action {
            Action::Tick => Some((self.tick(parts), Done::default())),
            Action::Still(member) => Some((self.still(parts, member)?, Done::default())),
            Action::Run {
                member,
                hears,
                ending,
                back,
                answered,
                kept,
            } => {
                let (mut next, mut done, sent) =
                    self.run(parts, member, hears, ending, back, answered)?;
                done.overflow = next.put(parts, member, &sent, kept);
                Some((next, done))
            }
            Action::Turn {
                member,
                stimulus,
                ending,
                kept,
            } => {
                let (mut next, mut done, sent) = self.turn(parts, member, stimulus, ending)?;
                done.overflow = next.put(parts, member, &sent, kept);
                Some((next, done))
            }
            Action::Settle(cuts) => Some((self.settle(parts, cuts), Done::default())),
        }
    }

    /// What a member hands to the network in this action, whatever becomes of it.
    pub fn sent(&self, parts: &impl Parts<Member = M, Advert = A>, action: Action) -> Sent<A> {
        let turn = match action {
            Action::Run {
                member,
                hears,
                ending,
                back,
                answered,
                ..
            } => self.run(parts, member, hears, ending, back, answered),
            Action::Turn {
                member,
                stimulus,
                ending,
                ..
            } => self.turn(parts, member, stimulus, ending),
            Action::Tick | Action::Still(_) | Action::Settle(_) => None,
        };
        turn.map(|(_, _, sent)| sent).unwrap_or_default()
    }

    /// One change of a member, but for what becomes of what it sends.
    fn turn(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        stimulus: Stimulus<u8>,
        ending: Ending,
    ) -> Option<(Self, Done, Sent<A>)> {
        let mut next = self.clone();
        let mut sent: Sent<A> = (0..self.members.len()).map(|_| ArrayVec::new()).collect();
        let done = next.take_turn(parts, member, stimulus, ending, true, &mut sent)?;
        Some((next, done, sent))
    }

    /// The same in place; what is sent is added to what was. What it asks of the network is
    /// answered within the tick, if at all.
    fn take_turn(
        &mut self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        stimulus: Stimulus<u8>,
        ending: Ending,
        answered: bool,
        sent: &mut Sent<A>,
    ) -> Option<Done> {
        let n = self.members.len();
        let m = usize::from(member);
        let what = match stimulus {
            Stimulus::Receive(from) => {
                Stimulus::Receive(self.links[usize::from(from) * n + m].first()?)
            }
            other => other.map(|_| unreachable!("only what is received names an advert")),
        };
        let turn = parts.change(self.members.get(m)?, &what, ending)?;
        self.members[m] = turn.member;
        if let Stimulus::Receive(from) = stimulus {
            // What was kept back and not accepted may come again.
            let again = from == member
                && matches!(turn.reject, Some(Reject::Knock | Reject::OldIncarnation));
            if !(again && parts.setup().adversary.duplicates) {
                self.links[usize::from(from) * n + m].remove(0);
            }
        }
        self.spend(stimulus, ending);
        for (to, advert) in turn.sent {
            sent[usize::from(to)].push(advert);
        }
        let mut done = Done {
            events: turn.events,
            member,
            overflow: false,
            answered: turn.probes && answered && self.answers(parts, m),
        };
        if done.answered {
            let turn = parts.change(&self.members[m], &Stimulus::Answered, Ending::Whole)?;
            self.members[m] = turn.member;
            done.events.0 |= turn.events.0;
            for (to, advert) in turn.sent {
                sent[usize::from(to)].push(advert);
            }
        }
        Some(done)
    }

    /// One run of a member, but for what becomes of what it sends.
    fn run(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        hears: Reception,
        ending: Ending,
        back: Option<u8>,
        answered: bool,
    ) -> Option<(Self, Done, Sent<A>)> {
        let n = self.members.len();
        let m = usize::from(member);
        let mut stimuli: ArrayVec<_, 8> = hears.senders().map(Stimulus::Receive).collect();
        if stimuli.is_empty() || ending == Ending::Whole {
            stimuli.push(Stimulus::Wake);
        }
        let last = stimuli.len() - 1;
        let mut next = self.clone();
        let mut sent: Sent<A> = (0..n).map(|_| ArrayVec::new()).collect();
        let mut done = Done {
            member,
            ..Done::default()
        };
        let timely = self.is_settled() || parts.setup().adversary.timely;
        for (i, stimulus) in stimuli.into_iter().enumerate() {
            if i > 0 && stimulus == Stimulus::Wake && !parts.facts(&next.members[m]).due {
                continue;
            }
            // All that the link has, if it is timely; but an ending is of one turn.
            let link = stimulus.sender().map(|from| usize::from(from) * n + m);
            let more = link
                .filter(|_| timely)
                .map_or(1, |link| next.links[link].len());
            for left in (0..more).rev() {
                let of = if i == last && left == 0 {
                    ending
                } else {
                    Ending::Whole
                };
                let now = next.take_turn(parts, member, stimulus, of, answered, &mut sent)?;
                done.events.0 |= now.events.0;
                done.answered |= now.answered;
            }
        }
        if !answered {
            next.rest.unanswered = next.rest.unanswered.checked_sub(1)?;
            next.rest.quiet = 0;
        }
        let links = &mut next.links;
        if let Some(from) = back {
            let advert = links[usize::from(from) * n + m].pop()?;
            links[m * n + m].clear();
            links[m * n + m].push(advert);
            next.rest.stragglers = one_less(next.rest.stragglers);
        }
        let straggler = next.links[m * n + m].first();
        let turn = straggler
            .and_then(|a| parts.change(&next.members[m], &Stimulus::Receive(a), Ending::Whole));
        if turn.is_some_and(|t| t.reject == Some(Reject::Stale)) {
            next.links[m * n + m].clear(); // a newer one of the same incarnation overtook it: R-2 ignores it
        }
        let links = &mut next.links;
        let mut missed = 0;
        for from in (0..n).filter(|from| *from != m) {
            missed += links[from * n + m].len(); // what it did not hear now it never hears
            links[from * n + m].clear();
        }
        if parts.setup().adversary.timely {
            let rest = &mut next.rest;
            rest.losses = rest.losses.checked_sub(u8::try_from(missed).ok()?)?;
            rest.quiet = if missed > 0 { 0 } else { rest.quiet };
        }
        Some((next, done, sent))
    }

    /// Charges the adversary's budget with the fault or command.
    const fn spend(&mut self, stimulus: Stimulus<u8>, ending: Ending) {
        let rest = &mut self.rest;
        match ending {
            Ending::Whole => {}
            Ending::Dies(_) => {
                rest.crashes -= 1;
                rest.quiet = 0;
            }
            Ending::Pauses(_) => rest.pause(),
        }
        match stimulus {
            Stimulus::Crash | Stimulus::PowerOff => rest.crashes -= 1,
            Stimulus::Operator(_) => rest.commands -= 1,
            Stimulus::Healthy(_) | Stimulus::Eligible(_) | Stimulus::Prepared(false) => {
                rest.flips -= 1
            }
            Stimulus::Reload | Stimulus::StartOther => rest.reloads -= 1,
            Stimulus::Pause => rest.pause(),
            Stimulus::Start | Stimulus::Resume => {}
            Stimulus::Wake
            | Stimulus::Receive(_)
            | Stimulus::Released
            | Stimulus::Answered
            | Stimulus::Prepared(true)
            | Stimulus::Step
            | Stimulus::Port(_) => {
                return;
            }
        }
        rest.quiet = 0;
    }

    fn tick(&self, parts: &impl Parts<Member = M, Advert = A>) -> Self {
        self.aged(parts, self.rest.beginning)
    }

    /// A tick in which one machine stands still.
    fn still(&self, parts: &impl Parts<Member = M, Advert = A>, member: u8) -> Option<Self> {
        let n = self.members.len();
        let left = self.rest.stills.checked_sub(1)?;
        let mut next = self.aged(parts, parts.setup().still(self.rest.beginning, member));
        (next.rest.stills, next.rest.quiet) = (left, 0);
        for from in (0..n).filter(|from| *from != usize::from(member)) {
            next.links[from * n + usize::from(member)].clear();
        }
        Some(next)
    }

    /// One tick later, with the clocks of this number.
    fn aged(&self, parts: &impl Parts<Member = M, Advert = A>, beginning: u8) -> Self {
        let adversary = &parts.setup().adversary;
        let mut rest = self.rest;
        rest.quiet = rest.quiet.saturating_add(1).min(adversary.settle_bound);
        let effective = self.facts(parts).iter().filter(|f| f.effective).count();
        rest.overlap = if adversary.overlap > 0 && effective > 1 {
            rest.overlap.saturating_add(1).min(adversary.overlap + 1)
        } else {
            0
        };
        rest.outage = if effective == 0 {
            rest.outage.saturating_add(1).min(adversary.outage_bound)
        } else {
            0
        };
        let aged = |link: &ArrayVec<A, ROOM>| {
            let adverts = link.iter().map(|a| parts.advert_aged(a, beginning));
            adverts.collect()
        };
        let members = self.members.iter();
        Self {
            members: members.map(|m| parts.aged(m, beginning)).collect(),
            links: self.links.iter().map(aged).collect(),
            rest,
        }
    }
}

/// What was sent in one turn or run, by receiver.
pub type Sent<A> = ArrayVec<ArrayVec<A, 8>, MAX>;
