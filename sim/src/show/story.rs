//! A run as people read it: what happened, in order, and what was true after each step. It is made
//! of the run's trace; a drawing needs nothing else.

use super::words;
use crate::error::{Result, err};
use crate::fault::Fault;
use crate::liveness::Liveness;
use crate::replay::{Replay, Replayed, time};
use onehold::telemetry;
use onehold::trace::{Line, Reader};
use onehold_core::advert::Advert;
use onehold_core::config::Config;
use onehold_core::effect::Effect;
use onehold_core::observe::Snapshot;
use onehold_core::time::{LocalTime, Span};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize as _, Serialize};
use std::hash::BuildHasher as _;
use std::io::BufRead;

/// A run, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Story {
    /// What this is, in one line.
    pub title: String,
    /// What one unit of [`Step::at`] is, such as `i` or `ms`.
    pub unit: String,
    /// The members' names: one lane each.
    pub members: Vec<String>,
    /// What happened.
    pub steps: Vec<Step>,
    /// The property that the last step broke, if one did.
    pub broken: Option<Broken>,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// True time since the start.
    pub at: u64,
    /// In whose lane; `None` when only time passed or the network changed.
    pub member: Option<usize>,
    /// What happened, in a few words: `wakes`, `crashes after 2 effects`, `the cable a-b is cut`.
    /// Empty if `received` says it all. Not drawn when only time passed.
    pub what: String,
    /// It is a fault or somebody's command.
    pub fault: bool,
    /// The advert that arrived.
    pub received: Option<Message>,
    /// The adverts that went out.
    pub sent: Vec<Message>,
    /// What the member reported, each with its rule: `standby → holder: a majority of votes (R-7)`.
    pub reports: Vec<String>,
    /// Every member, after this step.
    pub lanes: Vec<Lane>,
}

/// An advert on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same for one advert where it is sent and wherever it arrives.
    pub id: u64,
    /// The sender's lane.
    pub from: usize,
    /// The receiver's lane.
    pub to: usize,
    /// What it says, shortly: `asks ready vote=a@3`.
    pub says: String,
}

/// A member at one moment. Times are in the story's unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// How its process is.
    pub process: Liveness,
    /// Its role as it believes: `holder`, `standby`, `releasing`, `witness`; empty if it is down.
    pub role: String,
    /// It is in quarantine.
    pub quarantined: bool,
    /// What is left of its lease as it believes.
    pub lease_left: Option<u64>,
    /// Its kernel answers for the address: the truth.
    pub effective: bool,
    /// For how much longer, if nobody does anything.
    pub effective_left: u64,
    /// The lane of the member that its vote is bound to.
    pub vote: Option<usize>,
    /// For how much longer.
    pub vote_left: u64,
}

/// What was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The property, such as `S1`.
    pub property: String,
    /// What it says, in words.
    pub says: String,
    /// Why it is expected under this configuration's assumptions.
    pub expected: Option<String>,
}

/// The story of a trace with true times, from one of them on; of the first group.
///
/// # Errors
/// What is wrong with the trace.
pub fn tell<R: BufRead>(trace: Reader<R>, from: Span) -> Result<Story> {
    let header = trace.header().clone();
    let spec = &header.spec;
    let seat = spec.members.first().map_or("", |m| &m.name);
    let config = spec.prove(seat).map_err(err)?;
    let mut teller = Teller {
        members: vec![MemberSoFar::default(); config.members().len()],
        unit: header.tick.unwrap_or(Span::from_millis(1)),
        config,
        from,
        now: Span::ZERO,
        ids: FxHashMap::default(),
        steps: Vec::new(),
    };
    let mut replay = Replay::default();
    replay.read_with(trace, |seen| teller.see(seen))?;
    if teller.steps.is_empty() {
        teller.push(Step::default());
    }
    Ok(Story {
        title: spec.cluster.clone(),
        unit: if header.tick.is_some() { "ticks" } else { "ms" }.into(),
        members: spec.members.iter().map(|m| m.name.clone()).collect(),
        steps: teller.steps,
        broken: None,
    })
}

/// A story, as far as its trace is read.
struct Teller {
    config: Config,
    unit: Span,
    from: Span,
    now: Span,
    members: Vec<MemberSoFar>,
    /// The numbers of adverts, by what they say.
    ids: FxHashMap<u64, u64>,
    steps: Vec<Step>,
}

/// A member so far. Ends are true times.
#[derive(Clone, Default)]
struct MemberSoFar {
    lane: Lane,
    lease: Span,
    vote: Span,
    kernel: Span,
}

impl Teller {
    fn see(&mut self, seen: &Replayed<'_>) {
        let Some(now) = time(seen.line) else { return };
        if now >= self.from && self.steps.is_empty() {
            self.now = self.from;
            self.push(Step::default());
        }
        self.now = now;
        if let (Some((seat, node)), Some(at)) = (seen.node, instant(seen.line)) {
            self.knows(&seat.member_name(seat.me()), &node.observe(seat, at));
        }
        match seen.line {
            Line::Fault { fault, .. } => {
                let known = Fault::deserialize(fault).ok();
                let member = known.as_ref().and_then(|f| self.member(f.member()?));
                self.push(Step {
                    member,
                    what: words::fault_text(fault),
                    fault: !matches!(known, Some(Fault::Note(_))),
                    ..Step::default()
                });
            }
            Line::Received {
                member,
                advert,
                effects,
                at,
                ..
            } => {
                let received = Some(self.message(advert));
                self.turn(member, *at, String::new(), received, effects);
            }
            Line::Turn {
                member,
                input,
                effects,
                at,
                ..
            } => {
                let what = words::turn(&self.config, input);
                self.turn(member, *at, what, None, effects);
            }
            Line::Change {
                member,
                step,
                effects,
                at,
                ..
            } => self.turn(member, *at, words::step(step).to_owned(), None, effects),
            Line::Kernel {
                member, effective, ..
            } => self.change(member, |lane| lane.effective = *effective),
            Line::Died { member, .. } => self.change(member, |lane| {
                *lane = Lane {
                    process: Liveness::Down,
                    effective: lane.effective,
                    ..Lane::default()
                };
            }),
            Line::Paused { member, .. } => {
                self.change(member, |lane| lane.process = Liveness::Paused);
            }
            Line::Resumed { member, .. } => {
                self.change(member, |lane| lane.process = Liveness::Up);
            }
            Line::Start { member, .. } => self.change(member, |_| {}),
            Line::State { .. } | Line::Request { .. } => {}
        }
    }

    fn turn(
        &mut self,
        member: &str,
        at: LocalTime,
        what: String,
        received: Option<Message>,
        effects: &[Effect],
    ) {
        let Some(me) = self.member(member) else {
            return;
        };
        let mut step = Step {
            member: Some(me),
            what,
            received,
            ..Step::default()
        };
        for effect in effects {
            match effect {
                Effect::Send { advert, .. } => step.sent.push(self.message(advert)),
                Effect::Report(event) => {
                    step.reports
                        .push(telemetry::line(event, &self.config, None))
                }
                Effect::HoldUntil { deadline, .. } => {
                    let slack = self.config.timing().slack();
                    self.members[me].kernel = self.now.plus(deadline.since(at)).plus(slack);
                }
                Effect::EndIncarnation => self.members[me].kernel = self.now,
                Effect::Release { .. }
                | Effect::Prepare { .. }
                | Effect::Announce { .. }
                | Effect::Probe { .. } => {}
            }
        }
        self.push(step);
    }

    /// What a member's node believes now.
    fn knows(&mut self, name: &str, seen: &Snapshot) {
        let (Some(member), Some(group)) = (self.member(name), seen.groups.first()) else {
            return;
        };
        let left = |left: Option<Span>| self.now.plus(left.unwrap_or_default());
        let known = &mut self.members[member];
        (known.lease, known.vote) = (left(group.lease_left), left(group.vote_left));
        known.lane = Lane {
            process: Liveness::Up,
            role: group.role.text().to_owned(),
            quarantined: seen.quarantine_left.is_some(),
            lease_left: group.lease_left.map(|_| 0),
            vote: group.vote.map(|ballot| usize::from(ballot.member.0)),
            ..known.lane.clone()
        };
    }

    /// Something changes in a member without a turn: in the latest step, if that is of this moment.
    fn change(&mut self, member: &str, change: impl FnOnce(&mut Lane)) {
        if let Some(member) = self.member(member) {
            change(&mut self.members[member].lane);
        }
        let at = self.at();
        let lanes = self.lanes();
        match self.steps.last_mut() {
            Some(last) if last.at == at => last.lanes = lanes,
            _ => self.push(Step::default()),
        }
    }

    fn push(&mut self, step: Step) {
        if self.now >= self.from {
            let (at, lanes) = (self.at(), self.lanes());
            self.steps.push(Step { at, lanes, ..step });
        }
    }

    fn at(&self) -> u64 {
        self.now.as_nanos() / self.unit.as_nanos().max(1)
    }

    fn lanes(&self) -> Vec<Lane> {
        let left = |end: Span| {
            let left = end.as_nanos().saturating_sub(self.now.as_nanos());
            left.div_ceil(self.unit.as_nanos().max(1))
        };
        let lane = |known: &MemberSoFar| {
            let vote_left = left(known.vote);
            Lane {
                lease_left: known.lane.lease_left.map(|_| left(known.lease)),
                effective_left: left(known.kernel),
                vote: known.lane.vote.filter(|_| vote_left > 0),
                vote_left,
                ..known.lane.clone()
            }
        };
        self.members.iter().map(lane).collect()
    }

    fn message(&mut self, advert: &Advert) -> Message {
        let next = self.ids.len() as u64 + 1;
        let id = self.ids.entry(FxBuildHasher.hash_one(advert));
        Message {
            id: *id.or_insert(next),
            from: usize::from(advert.from.0),
            to: usize::from(advert.to.0),
            says: words::advert(&self.config, advert),
        }
    }

    fn member(&self, name: &str) -> Option<usize> {
        self.config.members().iter().position(|m| m.name == name)
    }
}

/// The member's own time of a line.
const fn instant(line: &Line) -> Option<LocalTime> {
    match line {
        Line::Start { at, .. }
        | Line::State { at, .. }
        | Line::Received { at, .. }
        | Line::Turn { at, .. } => Some(*at),
        _ => None,
    }
}
