//! A node alone on a bench: its peers are the adverts that a test makes up.

use super::{MAJORITY, W, WEB, id, ms, spec};
use onehold_core::Node;
use onehold_core::advert::{Advert, Ballot, Change, Incarnation, Statement};
use onehold_core::auth::Authentic;
use onehold_core::config::{Arbitration, Config, Spec};
use onehold_core::effect::{Effect, ReleaseId};
use onehold_core::input::{Command, Input};
use onehold_core::observe::GroupSnapshot;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};

/// D of the default timing, rounded up.
pub const D: u64 = 456;

/// A node on a bench; nothing else runs.
pub struct Alone {
    pub config: Config,
    pub node: Node,
    pub now: u64,
}

pub const ME: Incarnation = Incarnation(0xa);

impl Alone {
    /// A member out of quarantine that has heard nobody.
    pub fn new(size: usize, arbitration: Arbitration, me: usize) -> Self {
        Self::of(&spec(size, arbitration), me)
    }

    /// The same, in a cluster of the test's own.
    pub fn of(spec: &Spec, me: usize) -> Self {
        let config = spec.prove(["a", "b", "w"][me]).unwrap();
        let node = Node::start(&config, ME, LocalTime::from_nanos(0), Span::ZERO);
        let mut bench = Self {
            config,
            node,
            now: 0,
        };
        bench.wake();
        bench.until(ms(D));
        bench
    }

    /// A candidate of three members that asks and is two-way with the witness; and when it asked.
    pub fn asking(me: usize) -> (Self, u64) {
        let mut bench = Self::new(3, MAJORITY, me);
        let out = bench.hears(W, Statement::default());
        let asked = &sends_to(&out, W)[0];
        assert!(asked.groups[0].asks);
        (bench, asked.sent_at.as_nanos())
    }

    /// A candidate of three members that has held for 1 ms by the witness's vote.
    pub fn holding(spec: &Spec, me: usize) -> Self {
        let mut bench = Self::of(spec, me);
        bench.hears(W, Statement::default());
        let asked_at = bench.now;
        bench.now += ms(1);
        assert!(hold(&bench.hears(W, bench.grants(asked_at))).is_some());
        bench.now += ms(1);
        bench
    }

    /// Starts the node again, in quarantine; earlier incarnations may have held for up to `lease`.
    pub fn restart(&mut self, lease: Span) {
        self.node = Node::start(&self.config, ME, LocalTime::from_nanos(self.now), lease);
        self.wake();
    }

    pub fn at(&self) -> LocalTime {
        LocalTime::from_nanos(self.now)
    }

    /// another configuration is in force from now on.
    pub fn change(&mut self, to: Config) -> Vec<Effect> {
        let mut out = Vec::new();
        self.node.change(&self.config, &to, self.at(), &mut out);
        self.config = to;
        out
    }

    /// it may take the next step of a change.
    pub fn may_step(&self) -> bool {
        self.node.may_step(&self.config, self.at())
    }

    pub fn wake(&mut self) -> Vec<Effect> {
        self.input(Input::Wake).0
    }

    pub fn input(&mut self, input: Input) -> (Vec<Effect>, Result<(), Reject>) {
        let mut out = Vec::new();
        let now = LocalTime::from_nanos(self.now);
        let result = self.node.handle(&self.config, now, input, &mut out);
        (out, result)
    }

    /// Wakes it whenever it is due, up to `at`.
    pub fn until(&mut self, at: u64) -> Vec<Effect> {
        let mut all = Vec::new();
        while let Some(due) = self
            .node
            .poll_timeout(&self.config)
            .filter(|d| d.as_nanos() <= at)
        {
            self.now = self.now.max(due.as_nanos());
            all.extend(self.wake());
        }
        self.now = at;
        all.extend(self.wake());
        all
    }

    /// An advert of a peer, whose incarnation is 100 + its number: it hears us and says nothing.
    pub fn advert(&self, from: usize) -> Advert {
        Advert {
            cluster: self.config.cluster(),
            config: self.config.digest(),
            change: Change::None,
            from: id(from),
            to: self.config.me(),
            incarnation: Incarnation(100 + from as u64),
            to_incarnation: Some(ME),
            sent_at: LocalTime::from_nanos(self.now + ms(5_000)),
            echo: Some(LocalTime::from_nanos(self.now)),
            echo_age: Span::ZERO,
            quarantined: false,
            groups: [Statement::default()].into_iter().collect(),
        }
    }

    /// The same advert with this statement.
    pub fn says(&self, from: usize, statement: Statement) -> Advert {
        Advert {
            groups: [statement].into_iter().collect(),
            ..self.advert(from)
        }
    }

    pub fn hear(&mut self, advert: &Advert) -> (Vec<Effect>, Result<(), Reject>) {
        self.input(Input::Received(Authentic::assumed(advert.clone())))
    }

    /// Hears a peer say this and accepts it; returns the effects.
    pub fn hears(&mut self, from: usize, statement: Statement) -> Vec<Effect> {
        let (out, result) = self.hear(&self.says(from, statement));
        result.unwrap();
        out
    }

    /// Lets time pass; then the witness votes for this member again.
    pub fn renewed(&mut self, span: u64) -> Vec<Effect> {
        let mut out = self.until(self.now + span);
        out.extend(self.hears(W, self.grants(self.now)));
        out
    }

    /// A probe that was sent then is answered.
    pub fn answered(&mut self, probed_at: u64) -> Vec<Effect> {
        let (group, probed_at) = (WEB, LocalTime::from_nanos(probed_at));
        self.input(Input::ProbeAnswered { group, probed_at }).0
    }

    pub fn operator(&mut self, command: Command) -> Vec<Effect> {
        let group = WEB;
        self.input(Input::Operator { group, command }).0
    }

    pub fn health(&mut self, healthy: bool) -> Vec<Effect> {
        let group = WEB;
        self.input(Input::Health { group, healthy }).0
    }

    /// What the node says of its group.
    pub fn group(&self) -> GroupSnapshot {
        let now = LocalTime::from_nanos(self.now);
        self.node.observe(&self.config, now).groups[0].clone()
    }

    pub fn vote(&self) -> Option<Ballot> {
        self.group().vote
    }

    /// The statement of a member that votes for this node's ask of `asked_at`.
    pub fn grants(&self, asked_at: u64) -> Statement {
        votes(usize::from(self.config.me().0), ME, asked_at)
    }
}

/// The statement of a member whose vote is bound to that ask.
pub fn votes(member: usize, incarnation: Incarnation, asked_at: u64) -> Statement {
    let vote = Some(Ballot {
        member: id(member),
        incarnation,
        asked_at: LocalTime::from_nanos(asked_at),
    });
    Statement {
        vote,
        ..Statement::default()
    }
}

pub fn asks() -> Statement {
    Statement {
        asks: true,
        ..ready()
    }
}

pub fn ready() -> Statement {
    Statement {
        ready: true,
        ..Statement::default()
    }
}

pub fn hold(effects: &[Effect]) -> Option<u64> {
    effects.iter().rev().find_map(|e| match e {
        Effect::HoldUntil { deadline, .. } => Some(deadline.as_nanos()),
        _ => None,
    })
}

pub fn sends_to(effects: &[Effect], to: usize) -> Vec<Advert> {
    let send = |e: &Effect| match e {
        Effect::Send { to: t, advert } if *t == id(to) => Some(advert.clone()),
        _ => None,
    };
    effects.iter().filter_map(send).collect()
}

/// When the probes were sent, in nanoseconds.
pub fn probes(effects: &[Effect]) -> Vec<u64> {
    let probe = |e: &Effect| match e {
        Effect::Probe { probed_at, .. } => Some(probed_at.as_nanos()),
        _ => None,
    };
    effects.iter().filter_map(probe).collect()
}

pub fn released(effects: &[Effect]) -> Option<ReleaseId> {
    effects.iter().find_map(|e| match e {
        Effect::Release { release, .. } => Some(*release),
        _ => None,
    })
}

pub fn announced(effects: &[Effect]) -> bool {
    effects.iter().any(|e| matches!(e, Effect::Announce { .. }))
}
