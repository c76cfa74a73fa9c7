//! Two members alone: what passes between them when, and for how long two may hold because of it
//! (S2). It knows what was done to the links, and no more.

use super::incidents::cluster::DrawnCluster;
use super::plan::Plan;
use crate::fault::{Fault, Passing, Target};
use crate::liveness::Liveness;
use onehold_core::advert::MemberId;
use onehold_core::config::Arbitration;
use onehold_core::lease::Timing;
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
    bounds: Bounds,
    /// By path: from the first to the second member, and back.
    links: Vec<[Passing; 2]>,
    /// Its own address is there.
    addressed: [bool; 2],
    /// Since when, in order; the first from the beginning.
    changes: Vec<(u64, Contact)>,
    /// By whose file it may hold alone: each of the two, and since when one of them may, or neither.
    survives: [bool; 2],
    survived: Vec<(u64, bool)>,
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
    /// At the beginning everything passes. None but for two members that begin under `survivor`.
    #[must_use]
    pub fn of(plan: &Rc<Plan>) -> Option<Self> {
        let alone = plan.config().arbitration() == Arbitration::Survivor;
        let two = plan.config().members().len() == 2;
        (alone && two).then(|| {
            let mut all = Self {
                plan: Rc::clone(plan),
                bounds: Bounds::of(plan),
                links: vec![[Passing::WELL; 2]; usize::from(plan.paths)],
                addressed: [true; 2],
                changes: Vec::new(),
                survives: [true; 2],
                survived: vec![(0, true)],
            };
            all.look(0);
            all
        })
    }

    /// Something was done to the world.
    pub fn suffer(&mut self, at: u64, fault: &Fault) {
        if let Fault::OwnAddress { of, is } = fault {
            if let Some(addressed) = self.addressed.get_mut(usize::from(self.plan.id(of).0)) {
                *addressed = *is;
            }
        } else if let Some(links) = fault.links() {
            let links = self.plan.links(links);
            let two = |id: MemberId| id.0 < 2;
            let links = links.expect("a plan names links that there are");
            for (path, from, _) in links.into_iter().filter(|(_, a, b)| two(*a) && two(*b)) {
                let of = &mut self.links[usize::from(path)];
                of[usize::from(from != MemberId(0))].suffer(fault);
            }
        } else {
            return;
        }
        self.look(at);
    }

    /// another configuration is in force on a member.
    pub fn goes_by(&mut self, at: u64, member: MemberId, arbitration: Arbitration) {
        if let Some(survives) = self.survives.get_mut(usize::from(member.0)) {
            *survives = arbitration == Arbitration::Survivor;
            let one = self.survives.contains(&true);
            if self.survived.last().is_none_or(|(_, last)| *last != one) {
                self.survived.push((at, one));
            }
        }
    }

    /// Whether one of the two may hold alone, or might until a moment ago: for as long as a lease lasts.
    fn may_survive(&self, at: u64) -> bool {
        let past = self.survived.partition_point(|(since, _)| *since <= at);
        let (since, one) = self.survived[past - 1];
        one || since + self.bounds.vote > at
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
        if !self.may_survive(at) {
            return None;
        }
        let bounds = &self.bounds;
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
}

impl Bounds {
    /// Of whichever timing there is in the run, the longest.
    fn of(plan: &Plan) -> Self {
        let all = plan.timings().map(|timing| Self::by(plan, timing));
        let most = all.reduce(Self::max);
        most.expect("a run has a timing at its beginning")
    }

    fn by(plan: &Plan, timing: Timing) -> Self {
        let cluster = DrawnCluster {
            timing,
            ..DrawnCluster::from(plan)
        };
        // By slow clocks.
        let slow = |span: u64| span + span * u64::from(timing.drift_ppm()) / 500_000;
        let within = |fault: &Fault| matches!(fault, Fault::Kill(Target::Within { .. }));
        let any = |is: &dyn Fn(&Fault) -> bool| plan.timeline.iter().any(|(_, f)| is(f));
        let restless = any(&|f| within(f) || matches!(f, Fault::Pause(_)) || f.leaves().is_some());
        let dies = any(&|f| within(f) || f.leaves() == Some(Liveness::Down));
        // A member that begins with another file than the other has in force is a stranger.
        let edited = any(&|f| matches!(f, Fault::Edit(_)))
            || dies && any(&|f| matches!(f, Fault::Reload(_)));
        let strange = timing.presume_after().plus(timing.interval());
        let way = cluster.heals_within(false) - 2 * cluster.interval();
        Self {
            heal: slow(1_000 * cluster.heals_within(restless)),
            vote: slow(timing.vote().as_nanos()),
            echo: slow(timing.interval().times(5).as_nanos()),
            echo_one_way: slow(timing.survive_after().times(2).as_nanos()),
            strange: edited.then(|| slow(strange.as_nanos())),
            at_once: edited.then(|| slow(1_000 * way)),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            heal: self.heal.max(other.heal),
            vote: self.vote.max(other.vote),
            echo: self.echo.max(other.echo),
            echo_one_way: self.echo_one_way.max(other.echo_one_way),
            strange: self.strange.max(other.strange),
            at_once: self.at_once.max(other.at_once),
        }
    }

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
