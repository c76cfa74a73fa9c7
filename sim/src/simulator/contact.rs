//! Two members alone: what passes between them when, and for how long two may hold because of it
//! (S2). It knows what was done to the links, and no more.

use super::incidents::cluster::DrawnCluster;
use super::plan::Plan;
use crate::fault::{Fault, Passing, Target};
use onehold_core::advert::MemberId;
use onehold_core::config::Arbitration;
use std::rc::Rc;

/// What passes between two members; the more, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contact {
    /// Neither adverts nor probes with their answers.
    Nothing,
    /// One of them gets answers to its probes.
    EchoOneWay,
    /// Both do.
    Echo,
    /// Adverts, as datagrams or frames, in one direction.
    AdvertsOneWay,
    /// In both.
    Adverts,
}

/// What passed when, in nanoseconds of true time.
#[derive(Debug)]
pub struct Contacts {
    plan: Rc<Plan>,
    /// By path: from the first to the second member, and back.
    links: Vec<[Passing; 2]>,
    /// Its own address is there.
    addressed: [bool; 2],
    /// Since when, in order; the first from the beginning.
    changes: Vec<(u64, Contact)>,
}

/// For how long two may hold, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Adverts pass again: two intervals, a way through the network and a release.
    heal: u64,
    /// D.
    vote: u64,
    /// Five intervals.
    echo: u64,
    /// Twice S.
    echo_one_way: u64,
    /// Where a file is edited: P and an interval, if only one of two strangers hears the other.
    strange: Option<u64>,
    /// Where a file is edited: an advert's way and a release, if two strangers take hold at once.
    at_once: Option<u64>,
}

impl Contacts {
    /// At the beginning everything passes. None but for two members under `survivor`.
    #[must_use]
    pub fn of(plan: &Rc<Plan>) -> Option<Self> {
        let alone = plan.config().arbitration() == Arbitration::Survivor;
        (alone && plan.members.len() == 2).then(|| {
            let mut all = Self {
                plan: Rc::clone(plan),
                links: vec![[Passing::WELL; 2]; usize::from(plan.paths)],
                addressed: [true; 2],
                changes: Vec::new(),
            };
            all.look(0);
            all
        })
    }

    /// Something was done to the world.
    pub fn suffer(&mut self, at: u64, fault: &Fault) {
        if let Fault::OwnAddress { of, is } = fault {
            self.addressed[usize::from(self.plan.id(of).0)] = *is;
        } else if let Some(links) = fault.links() {
            let links = self.plan.links(links);
            for (path, from, _) in links.expect("a plan names links that there are") {
                let of = &mut self.links[usize::from(path)];
                of[usize::from(from != MemberId(0))].suffer(fault);
            }
        } else {
            return;
        }
        self.look(at);
    }

    fn look(&mut self, at: u64) {
        let now = self.contact();
        if self.changes.last().is_none_or(|(_, last)| *last != now) {
            self.changes.push((at, now));
        }
    }

    /// What passes now.
    fn contact(&self) -> Contact {
        let addressed = self.addressed[0] && self.addressed[1];
        let [there, back] = self.links[0];
        let frames = |of: Passing| self.plan.frames && of.frames();
        let adverts = |way: usize| {
            let datagrams = self.links.iter().any(|l| l[way].datagrams());
            addressed && datagrams || frames(self.links[0][way])
        };
        let echo = |asker: usize, asks: Passing, answers: Passing| {
            self.plan.evidence && self.addressed[asker] && asks.probes() && answers.answers()
        };
        match (adverts(0), adverts(1)) {
            (true, true) => return Contact::Adverts,
            (true, false) | (false, true) => return Contact::AdvertsOneWay,
            (false, false) => {}
        }
        match (echo(0, there, back), echo(1, back, there)) {
            (true, true) => Contact::Echo,
            (true, false) | (false, true) => Contact::EchoOneWay,
            (false, false) => Contact::Nothing,
        }
    }

    /// Until when two that hold since `from` may still hold at `at`, if they may.
    #[must_use]
    pub fn excuse(&self, from: u64, at: u64) -> Option<u64> {
        let bounds = self.bounds();
        let past = self.changes.partition_point(|(since, _)| *since <= at);
        let (_, now) = self.changes[past - 1];
        let next = self.changes.get(past).map_or(u64::MAX, |(at, _)| *at);
        // Since less passed than now.
        let worse = self.changes[..past].windows(2).rev();
        let since = worse.into_iter().find(|pair| pair[0].1 < now);
        let healed = since.map(|pair| pair[1].0.saturating_add(bounds.after(now)));
        let began = bounds.lasts(now).map(|lasts| from.saturating_add(lasts));
        let until = healed.max(began)?;
        (at < until).then_some(until.min(next))
    }

    fn bounds(&self) -> Bounds {
        let cluster = DrawnCluster::from(&*self.plan);
        let timing = self.plan.config().timing();
        // By slow clocks.
        let slow = |span: u64| span + span * u64::from(timing.drift_ppm()) / 500_000;
        let restless = |(_, fault): &(_, Fault)| {
            let within = matches!(fault, Fault::Kill(Target::Within { .. }));
            within || matches!(fault, Fault::Pause(_)) || fault.leaves().is_some()
        };
        let restless = self.plan.timeline.iter().any(restless);
        let edited = |(_, fault): &(_, Fault)| matches!(fault, Fault::Edit(_));
        let edited = self.plan.timeline.iter().any(edited);
        let strange = timing.presume_after().plus(timing.interval());
        let way = cluster.heals_within(false) - 2 * cluster.interval();
        Bounds {
            heal: slow(1_000 * cluster.heals_within(restless)),
            vote: slow(timing.vote().as_nanos()),
            echo: slow(timing.interval().times(5).as_nanos()),
            echo_one_way: slow(timing.survive_after().times(2).as_nanos()),
            strange: edited.then(|| slow(strange.as_nanos())),
            at_once: edited.then(|| slow(1_000 * way)),
        }
    }
}

impl Bounds {
    /// How long two may go on when less passed before.
    const fn after(&self, now: Contact) -> u64 {
        let more = match now {
            Contact::Nothing => return u64::MAX,
            Contact::EchoOneWay => self.echo_one_way,
            Contact::Echo => self.echo,
            // One hears the other, gets no votes, and its lease ends.
            Contact::AdvertsOneWay => self.vote,
            Contact::Adverts => 0,
        };
        self.heal + more
    }

    /// How long they may hold if they begin now.
    fn lasts(&self, now: Contact) -> Option<u64> {
        match now {
            Contact::Nothing | Contact::EchoOneWay | Contact::Echo => Some(self.after(now)),
            Contact::AdvertsOneWay => self.strange.map(|strange| self.heal + strange),
            Contact::Adverts => self.at_once,
        }
    }
}
