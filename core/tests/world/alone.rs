//! A node alone: its peers are whatever adverts a test makes up.

use super::{id, ms, spec};
use onehold_core::Node;
use onehold_core::advert::{Advert, Ballot, Incarnation, Statement};
use onehold_core::auth::Authentic;
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::Effect;
use onehold_core::input::Input;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};

/// D of the default timing, rounded up.
pub const D: u64 = 456;

/// A node alone on a bench: its peers are whatever adverts the test makes up.
pub struct Alone {
    pub config: Config,
    pub node: Node,
    pub now: u64,
}

pub const ME: Incarnation = Incarnation(0xa);

impl Alone {
    /// `a` of three members, out of quarantine.
    pub fn new(size: usize, arbitration: Arbitration, me: usize) -> Self {
        let config = spec(size, arbitration).prove(["a", "b", "w"][me]).unwrap();
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

    /// An advert of a peer's life 100 + its number: it hears us and says nothing.
    pub fn advert(&self, from: usize) -> Advert {
        Advert {
            cluster: self.config.cluster(),
            config: self.config.digest(),
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

    /// A member votes for the newest ask that this node may have sent by now.
    pub fn grant(&self, from: usize) -> Advert {
        let vote = self.ballot(self.now);
        self.says(
            from,
            Statement {
                vote,
                ..Statement::default()
            },
        )
    }

    pub fn says(&self, from: usize, statement: Statement) -> Advert {
        Advert {
            groups: [statement].into_iter().collect(),
            ..self.advert(from)
        }
    }

    pub fn hear(&mut self, advert: &Advert) -> (Vec<Effect>, Result<(), Reject>) {
        self.input(Input::Received(Authentic::assumed(advert.clone())))
    }

    pub fn vote(&self) -> Option<Ballot> {
        self.node
            .observe(&self.config, LocalTime::from_nanos(self.now))
            .groups[0]
            .vote
    }

    pub fn ballot(&self, asked_at: u64) -> Option<Ballot> {
        let asked_at = LocalTime::from_nanos(asked_at);
        Some(Ballot {
            member: self.config.me(),
            incarnation: ME,
            asked_at,
        })
    }
}

pub fn asks() -> Statement {
    Statement {
        asks: true,
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
