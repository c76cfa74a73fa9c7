//! The world of the model checker: members that run the shipped [`Node`](onehold_core::Node), the
//! links between them, and an adversary who chooses whatever may happen.
//!
//! A [`World`] is a value; [`World::actions`] lists what may happen next and [`World::step`] lets it
//! happen. How members and adverts are kept is left to [`Parts`]: as they are ([`Direct`]), or as
//! numbers of what was seen before ([`crate::model::memo`]). Both run this one world.

mod direct;
mod member;
mod setup;

pub use direct::{Direct, Known};
pub use member::{
    Alive, EVENTS, Ending, Events, Facts, GROUP, Kernel, Member, NOW, Process, Turn, incarnation,
};
pub use setup::{Adversary, Setup};

use arrayvec::ArrayVec;
use onehold_core::input::Command;
use onehold_core::reject::Reject;
use std::fmt::Debug;
use std::hash::Hash;

/// Most members in a world.
pub const MAX: usize = 5;
/// The digit that ends [`Action::Round::from`].
pub const END: u32 = 0xf;
/// Most adverts in flight on one link.
pub const ROOM: usize = 4;

/// What happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How<A> {
    /// Its timer fires.
    Wake,
    /// A datagram arrives.
    Receive(A),
    /// Its kernel carries out a release and confirms it.
    Muted,
    /// Its operator speaks.
    Operator(Command),
    /// Its service turns healthy or not.
    Healthy(bool),
    /// Its kernel becomes able to serve or not.
    Eligible(bool),
    /// Its process starts: scrubs the kernel, then quarantine.
    Start,
    /// Its process dies; its kernel goes on.
    Crash,
    /// Its host dies: process and kernel.
    PowerOff,
    /// A stopped process goes on where it was.
    Resume,
}

impl<A: Copy> How<A> {
    /// The same of another kind of advert.
    pub fn map<B>(self, f: impl FnOnce(A) -> B) -> How<B> {
        match self {
            Self::Receive(advert) => How::Receive(f(advert)),
            Self::Wake => How::Wake,
            Self::Muted => How::Muted,
            Self::Operator(command) => How::Operator(command),
            Self::Healthy(healthy) => How::Healthy(healthy),
            Self::Eligible(eligible) => How::Eligible(eligible),
            Self::Start => How::Start,
            Self::Crash => How::Crash,
            Self::PowerOff => How::PowerOff,
            Self::Resume => How::Resume,
        }
    }
}

/// One choice of the adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Time passes.
    Tick,
    /// Something happens to a member. A received advert is named by its link's sender and its place.
    Turn {
        /// To whom.
        member: u8,
        /// What.
        how: How<(u8, u8)>,
        /// How far it gets.
        ending: Ending,
        /// Which of the adverts that it sends are lost, by place, where the link has no room.
        lost: u8,
    },
    /// A member runs for once in this tick: what has arrived, in this order of senders (one hexadecimal
    /// digit each, the first lowest, ended by [`END`]), then its timer.
    Round {
        /// Which member.
        member: u8,
        /// From whom it gets what is in flight.
        from: u32,
        /// Which of the adverts that it sends gets onto each link, by place: one hexadecimal digit for
        /// each receiver; [`END`]: none, and what is in flight there stays.
        kept: u32,
    },
    /// An advert in flight is lost.
    Lose {
        /// From.
        from: u8,
        /// To.
        to: u8,
    },
    /// From now on there are no faults but these cuts (by number in [`Adversary::settles`]), and every
    /// advert arrives within a tick.
    Settle(u8),
}

/// What is neither in a member nor on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rest {
    /// Which clocks run how fast: the number in [`Setup::rates`].
    pub rates: u8,
    /// How many crashes are left to the adversary.
    pub crashes: u8,
    /// How many stops in the middle of a turn.
    pub stops: u8,
    /// How many commands of operators.
    pub commands: u8,
    /// How many changes of health or eligibility.
    pub flips: u8,
    /// How many lost adverts, where the network is timely.
    pub losses: u8,
    /// Ticks for which nobody has been effective; saturated at the bound.
    pub dark: u8,
    /// 1 + the number of the cuts that it settled to; 0 before.
    pub settled: u8,
    /// Ticks since then, or since the last fault or command; saturated one above the bound.
    pub quiet: u8,
}

impl Rest {
    /// All of it in three words.
    #[must_use]
    pub const fn pack(self) -> [u32; 3] {
        [
            u32::from_le_bytes([self.rates, self.crashes, self.stops, self.commands]),
            u32::from_le_bytes([self.flips, self.losses, self.dark, self.settled]),
            self.quiet as u32,
        ]
    }

    /// The other way.
    #[must_use]
    pub const fn unpack(words: [u32; 3]) -> Self {
        let [rates, crashes, stops, commands] = words[0].to_le_bytes();
        let [flips, losses, dark, settled] = words[1].to_le_bytes();
        let [quiet, ..] = words[2].to_le_bytes();
        Self {
            rates,
            crashes,
            stops,
            commands,
            flips,
            losses,
            dark,
            settled,
            quiet,
        }
    }
}

/// How members and adverts are kept.
pub trait Parts {
    /// A [`Member`].
    type Member: Clone + Debug + Eq + Hash;
    /// An advert in flight.
    type Advert: Clone + Debug + Eq + Hash;

    /// The configuration.
    fn setup(&self) -> &Setup;
    /// Keeps a member.
    fn member(&self, member: Member) -> Self::Member;
    /// What is true of one.
    fn facts(&self, member: &Self::Member) -> Facts;
    /// [`Member::change`].
    fn change(
        &self,
        member: &Self::Member,
        how: &How<&Self::Advert>,
        ending: Ending,
    ) -> Option<Turn<Self::Member, Self::Advert>>;
    /// [`Member::aged`].
    fn aged(&self, member: &Self::Member, rates: u8) -> Self::Member;
    /// One tick later; `None` if it is lost by then.
    fn advert_aged(&self, advert: &Self::Advert, rates: u8) -> Option<Self::Advert>;
    /// Whether it was sent before this very tick.
    fn is_old(&self, advert: &Self::Advert) -> bool;
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

/// What a round does but for its sending.
struct Round<M, A> {
    members: ArrayVec<M, MAX>,
    links: ArrayVec<ArrayVec<A, ROOM>, { MAX * MAX }>,
    sent: ArrayVec<ArrayVec<A, 8>, MAX>,
    events: Events,
}

/// What one step did besides leading to another world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// What was reported, and by whom.
    pub events: Events,
    /// By whom.
    pub member: u8,
    /// A link had no room where none may be lost: a bound of the configuration was reached.
    pub overflow: bool,
}

impl<M: Clone, A: Clone> World<M, A> {
    /// All that may have been at the beginning.
    pub fn beginnings(parts: &impl Parts<Member = M, Advert = A>) -> Vec<Self> {
        let setup = parts.setup();
        let adversary = &setup.adversary;
        let n = setup.seats.len();
        let cold = |rates: usize| Self {
            members: (0u8..)
                .take(n)
                .map(|m| parts.member(Member::new(onehold_core::advert::MemberId(m))))
                .collect(),
            links: (0..n * n).map(|_| ArrayVec::new()).collect(),
            rest: Rest {
                rates: u8::try_from(rates).expect("few"),
                crashes: adversary.crashes,
                stops: adversary.stops,
                commands: adversary.commands,
                flips: adversary.flips,
                losses: adversary.losses,
                ..Rest::default()
            },
        };
        let worlds = (0..setup.rates.len() * setup.orders.len().max(1)).map(cold);
        worlds.map(|w| w.begun(parts)).collect()
    }

    /// Every member is started; if so configured, the cluster has run undisturbed for long.
    fn begun(mut self, parts: &impl Parts<Member = M, Advert = A>) -> Self {
        for m in 0..self.members.len() {
            self.turn_now(parts, m, How::Start);
        }
        for _ in 0..parts.setup().warm_up {
            while let Some((m, how)) = self.obvious(parts) {
                self.turn_now(parts, m, how);
            }
            self = self.tick(parts);
            self.rest.quiet = 0;
            self.rest.dark = 0;
        }
        self
    }

    /// What has to happen before time passes, if nothing is wrong: the first of it.
    fn obvious(&self, parts: &impl Parts<Member = M, Advert = A>) -> Option<(usize, How<(u8, u8)>)> {
        let n = self.members.len();
        let link = |i: &usize| !self.links[*i].is_empty();
        if let Some(i) = (0..n * n).find(link) {
            let from = u8::try_from(i / n).expect("few");
            return Some((i % n, How::Receive((from, 0))));
        }
        (0..n).find_map(|m| {
            let facts = parts.facts(&self.members[m]);
            if facts.releasing {
                Some((m, How::Muted))
            } else {
                facts.due.then_some((m, How::Wake))
            }
        })
    }

    fn turn_now(&mut self, parts: &impl Parts<Member = M, Advert = A>, member: usize, how: How<(u8, u8)>) {
        let action = Action::Turn {
            member: u8::try_from(member).expect("few"),
            how,
            ending: Ending::Whole,
            lost: 0,
        };
        if let Some((next, _)) = self.step(parts, action) {
            *self = next;
        }
    }

    /// What is true of every member.
    pub fn facts(&self, parts: &impl Parts<Member = M, Advert = A>) -> ArrayVec<Facts, MAX> {
        self.members.iter().map(|m| parts.facts(m)).collect()
    }

    /// What may happen next, in a fixed order.
    pub fn actions(&self, parts: &impl Parts<Member = M, Advert = A>, out: &mut Vec<Action>) {
        let setup = parts.setup();
        let adversary = &setup.adversary;
        let n = self.members.len();
        let settled = self.rest.settled > 0;
        let timely = settled || adversary.timely;
        let mut blocked = false;
        for (m, facts) in (0u8..).zip(self.facts(parts)) {
            let up = facts.process == Alive::Up;
            blocked |= up && facts.due && (settled || !adversary.late);
            blocked |= up && facts.releasing && timely;
            let turn = !adversary.rounds || settled || self.is_turn_of(parts, m);
            if up && facts.due && turn {
                if adversary.rounds && !settled {
                    self.rounds(parts, m, out);
                } else {
                    self.turns(parts, m, How::Wake, out);
                }
            }
            if up && facts.releasing {
                self.turns(parts, m, How::Muted, out);
            }
            for from in 0..n {
                let link = &self.links[from * n + usize::from(m)];
                let places = if adversary.reorders { link.len() } else { link.len().min(1) };
                blocked |= up && timely && link.iter().any(|a| !adversary.slow || parts.is_old(a));
                for place in 0..places {
                    if up && !(adversary.rounds && !settled) {
                        let from = u8::try_from(from).expect("few");
                        let place = u8::try_from(place).expect("few");
                        self.turns(parts, m, How::Receive((from, place)), out);
                    }
                }
                if !settled && self.rest.losses > 0 && !link.is_empty() {
                    let from = u8::try_from(from).expect("few");
                    out.push(Action::Lose { from, to: m });
                }
            }
            if facts.process == Alive::Stopped {
                blocked |= settled;
                self.turns(parts, m, How::Resume, out);
            }
            if !settled {
                self.faults(parts, m, &facts, out);
            }
        }
        if !settled && self.rest.commands == 0 {
            let settles = (0u8..).take(adversary.settles.len());
            out.extend(settles.map(Action::Settle));
        }
        if !blocked {
            out.push(Action::Tick);
        }
    }

    /// What the adversary and the operators may do to a member.
    fn faults(&self, parts: &impl Parts<Member = M, Advert = A>, m: u8, facts: &Facts, out: &mut Vec<Action>) {
        let adversary = &parts.setup().adversary;
        if facts.process == Alive::Down {
            if facts.life < adversary.lives {
                self.turns(parts, m, How::Start, out);
            }
            return;
        }
        if self.rest.crashes > 0 && adversary.victims & 1 << m != 0 {
            self.turns(parts, m, How::Crash, out);
            if adversary.power {
                self.turns(parts, m, How::PowerOff, out);
            }
        }
        if facts.process != Alive::Up {
            return;
        }
        if self.rest.commands > 0 && parts.setup().is_candidate(m) {
            for command in &adversary.says {
                self.turns(parts, m, How::Operator(*command), out);
            }
        }
        if self.rest.flips > 0 && parts.setup().is_candidate(m) {
            self.turns(parts, m, How::Healthy(!facts.healthy), out);
            self.turns(parts, m, How::Eligible(!facts.eligible), out);
        }
    }

    /// All ways in which one change may go.
    fn turns(&self, parts: &impl Parts<Member = M, Advert = A>, member: u8, how: How<(u8, u8)>, out: &mut Vec<Action>) {
        let Some(turn) = self.change(parts, member, &how, Ending::Whole) else {
            return;
        };
        self.endings(parts, member, how, Ending::Whole, &turn, out);
        let adversary = &parts.setup().adversary;
        if self.rest.settled > 0 || matches!(how, How::Crash | How::PowerOff | How::Resume) {
            return;
        }
        let dies = adversary.in_turn && self.rest.crashes > 0 && adversary.victims & 1 << member != 0;
        for done in 0..turn.effects {
            for ending in [
                dies.then_some(Ending::Dies(done)),
                (self.rest.stops > 0).then_some(Ending::Stops(done)),
            ]
            .into_iter()
            .flatten()
            {
                if let Some(turn) = self.change(parts, member, &how, ending) {
                    self.endings(parts, member, how, ending, &turn, out);
                }
            }
        }
    }

    /// Whether all that run before it in a tick have run.
    fn is_turn_of(&self, parts: &impl Parts<Member = M, Advert = A>, member: u8) -> bool {
        let order = &parts.setup().orders;
        if order.is_empty() {
            return true;
        }
        let order = &order[usize::from(self.rest.rates) % order.len()];
        let before = order.iter().take_while(|m| **m != member);
        before
            .map(|m| parts.facts(&self.members[usize::from(*m)]))
            .all(|f| f.process != Alive::Up || !f.due)
    }

    /// All rounds of a member: every choice of whom it hears, in any order, and of what is lost.
    fn rounds(&self, parts: &impl Parts<Member = M, Advert = A>, member: u8, out: &mut Vec<Action>) {
        let n = self.members.len();
        let heard: ArrayVec<u32, MAX> = (0u32..)
            .take(n)
            .filter(|from| !self.links[*from as usize * n + usize::from(member)].is_empty())
            .collect();
        let mut orders = vec![(END, 0u32)];
        let mut next = 0;
        while let Some((order, length)) = orders.get(next).copied() {
            next += 1;
            for from in &heard {
                if (0..length).all(|i| order >> (4 * i) & END != *from) {
                    let longer = order & !(END << (4 * length))
                        | from << (4 * length)
                        | END << (4 * (length + 1));
                    orders.push((longer, length + 1));
                }
            }
            let Some(round) = self.round(parts, member, order) else {
                continue;
            };
            // Every choice of one advert for each link, or of the one that is there.
            let mut choices = vec![0u32];
            for (to, sent) in (0u32..).zip(&round.sent) {
                let stays = !parts.setup().adversary.prompt
                    && !round.links[usize::from(member) * n + to as usize].is_empty();
                let new = (0..sent.len() as u32).chain((stays && !sent.is_empty()).then_some(END));
                let new: ArrayVec<u32, 16> = new.collect();
                if !new.is_empty() {
                    let with = |c: &u32| new.iter().map(|i| c | i << (4 * to)).collect::<Vec<_>>();
                    choices = choices.iter().flat_map(with).collect();
                }
            }
            out.extend(choices.into_iter().map(|kept| Action::Round {
                member,
                from: order,
                kept,
            }));
        }
    }

    /// What a round does but for its sending.
    fn round(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        mut order: u32,
    ) -> Option<Round<M, A>> {
        let n = self.members.len();
        let m = usize::from(member);
        let mut next = self.clone();
        let mut sent: ArrayVec<ArrayVec<A, 8>, MAX> = (0..n).map(|_| ArrayVec::new()).collect();
        let mut events = Events::default();
        loop {
            let how = if order & END == END {
                How::Wake
            } else {
                How::Receive(((order & END) as u8, 0))
            };
            if how == How::Wake && !parts.facts(&next.members[m]).due {
                break;
            }
            let turn = next.change(parts, member, &how, Ending::Whole)?;
            next.members[m] = turn.member;
            events = Events(events.0 | turn.events.0);
            if let How::Receive((from, place)) = how {
                next.taken(parts, from, member, place, turn.reject);
            }
            for (to, advert) in turn.sent {
                sent[usize::from(to)].push(advert);
            }
            if how == How::Wake {
                break;
            }
            order >>= 4;
        }
        if parts.setup().adversary.prompt {
            // What it did not get now it never gets.
            (0..n).for_each(|from| next.links[from * n + m].clear());
        }
        Some(Round {
            members: next.members,
            links: next.links,
            sent,
            events,
        })
    }

    /// A delivered advert is off its link, unless it is a knock that may come again.
    fn taken(
        &mut self,
        parts: &impl Parts<Member = M, Advert = A>,
        from: u8,
        to: u8,
        place: u8,
        reject: Option<Reject>,
    ) {
        let again = matches!(reject, Some(Reject::Knock | Reject::OldLife));
        if !(again && parts.setup().adversary.duplicates) {
            let link = usize::from(from) * self.members.len() + usize::from(to);
            self.links[link].remove(usize::from(place));
        }
    }

    /// One change with one ending: every choice of what is lost.
    fn endings(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        how: How<(u8, u8)>,
        ending: Ending,
        turn: &Turn<M, A>,
        out: &mut Vec<Action>,
    ) {
        let room = parts.setup().adversary.room;
        let mut full = 0u8;
        if self.rest.settled == 0 && !parts.setup().adversary.timely {
            for (i, (to, _)) in turn.sent.iter().enumerate() {
                let link = &self.links[usize::from(member) * self.members.len() + usize::from(*to)];
                full |= u8::from(link.len() >= room) << i;
            }
        }
        // All subsets of the full ones.
        let mut lost = full;
        loop {
            out.push(Action::Turn {
                member,
                how,
                ending,
                lost,
            });
            if lost == 0 {
                break;
            }
            lost = (lost - 1) & full;
        }
    }

    fn change(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        how: &How<(u8, u8)>,
        ending: Ending,
    ) -> Option<Turn<M, A>> {
        let n = self.members.len();
        let m = usize::from(member);
        let advert = |from: u8, place: u8| {
            let link = self.links.get(usize::from(from) * n + m)?;
            link.get(usize::from(place))
        };
        let how = match *how {
            How::Receive((from, place)) => How::Receive(advert(from, place)?),
            other => other.map(|_| unreachable!("only what is received names an advert")),
        };
        parts.change(self.members.get(m)?, &how, ending)
    }

    /// Lets it happen. `None` if it can't, or if nothing at all came of it.
    pub fn step(&self, parts: &impl Parts<Member = M, Advert = A>, action: Action) -> Option<(Self, Done)> {
        let mut next = self.clone();
        let mut done = Done::default();
        let n = self.members.len();
        match action {
            Action::Tick => next = self.tick(parts),
            Action::Turn {
                member,
                how,
                ending,
                lost,
            } => {
                let turn = self.change(parts, member, &how, ending)?;
                next.members[usize::from(member)] = turn.member;
                done.events = turn.events;
                done.member = member;
                if let How::Receive((from, place)) = how {
                    next.taken(parts, from, member, place, turn.reject);
                }
                next.spend(how, ending);
                for (i, (to, advert)) in turn.sent.into_iter().enumerate() {
                    if lost & 1 << i == 0 {
                        done.overflow |= next.send(parts, member, to, advert);
                    }
                }
            }
            Action::Round { member, from, kept } => {
                let round = self.round(parts, member, from)?;
                next.members = round.members;
                next.links = round.links;
                done.member = member;
                done.events = round.events;
                for (to, sent) in (0u8..).zip(round.sent) {
                    let choice = (kept >> (4 * to) & END) as usize;
                    if let Some(advert) = sent.into_iter().nth(choice) {
                        done.overflow |= next.send(parts, member, to, advert);
                    }
                }
            }
            Action::Lose { from, to } => {
                let link = &mut next.links[usize::from(from) * n + usize::from(to)];
                link.pop_at(0)?;
                next.rest.losses -= 1;
            }
            Action::Settle(cuts) => {
                next.rest = Rest {
                    rates: self.rest.rates,
                    settled: cuts + 1,
                    dark: self.rest.dark,
                    ..Rest::default()
                };
                for i in 0..n * n {
                    if next.is_cut(parts, i / n, i % n) {
                        next.links[i].clear();
                    }
                }
            }
        }
        Some((next, done))
    }

    /// Takes the fault or command from the adversary's budget.
    const fn spend(&mut self, how: How<(u8, u8)>, ending: Ending) {
        let rest = &mut self.rest;
        match ending {
            Ending::Whole => {}
            Ending::Dies(_) => rest.crashes -= 1,
            Ending::Stops(_) => rest.stops -= 1,
        }
        match how {
            How::Crash | How::PowerOff => rest.crashes -= 1,
            How::Operator(_) => rest.commands -= 1,
            How::Healthy(_) | How::Eligible(_) => rest.flips -= 1,
            How::Start | How::Resume => {}
            How::Wake | How::Receive(_) | How::Muted => return,
        }
        if rest.settled == 0 {
            rest.quiet = 0;
        }
    }

    fn is_cut(&self, parts: &impl Parts<Member = M, Advert = A>, from: usize, to: usize) -> bool {
        let cuts = &parts.setup().adversary.settles;
        let settled = usize::from(self.rest.settled).checked_sub(1);
        settled.is_some_and(|i| cuts[i] & 1 << (from * MAX + to) != 0)
    }

    /// Puts an advert on its link; says whether there was no room where there should have been.
    fn send(&mut self, parts: &impl Parts<Member = M, Advert = A>, from: u8, to: u8, advert: A) -> bool {
        let adversary = &parts.setup().adversary;
        let (from, to) = (usize::from(from), usize::from(to));
        let settled = self.rest.settled > 0;
        let reached = parts.facts(&self.members[to]).process != Alive::Down;
        if self.is_cut(parts, from, to) || ((settled || adversary.timely) && !reached) {
            return false;
        }
        let n = self.members.len();
        let link = &mut self.links[from * n + to];
        let full = link.len() >= adversary.room;
        if full {
            link.remove(0);
        }
        link.push(advert);
        full && (settled || adversary.timely)
    }

    fn tick(&self, parts: &impl Parts<Member = M, Advert = A>) -> Self {
        let rates = self.rest.rates;
        let adversary = &parts.setup().adversary;
        let mut rest = self.rest;
        rest.quiet = rest.quiet.saturating_add(1).min(adversary.patience);
        let dark = !self.facts(parts).iter().any(|f| f.effective);
        rest.dark = if dark {
            rest.dark.saturating_add(1).min(adversary.darkness)
        } else {
            0
        };
        let aged = |link: &ArrayVec<A, ROOM>| {
            let adverts = link.iter().filter_map(|a| parts.advert_aged(a, rates));
            adverts.collect()
        };
        Self {
            members: self.members.iter().map(|m| parts.aged(m, rates)).collect(),
            links: self.links.iter().map(aged).collect(),
            rest,
        }
    }
}
