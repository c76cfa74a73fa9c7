//! What goes wrong in a run, incident by incident: what each kind does, where, and how it ends. The
//! seeds of the sweep and `[chaos]` draw them here.

pub mod cluster;

use super::rng::Rng;
use crate::fault::{Conditions, Edit, Fault, Links, Target};
use cluster::{DrawnCluster, Promise, micros, span};
use onehold::control::Order;
use onehold_core::config::Arbitration;
use onehold_core::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that goes wrong, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Incident {
    /// When it begins, in microseconds.
    pub at: u64,
    /// What is done when, in the order of time.
    pub faults: Vec<(u64, Fault)>,
    /// From when until when two may hold because of it.
    pub excuse: Option<(u64, u64)>,
    /// From when until when the holder may change because of it, once each, where it should not
    /// change by itself.
    pub moves: Vec<(u64, u64)>,
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.faults.iter().take_while(|(at, _)| *at == self.at);
        let first: Vec<String> = first.map(|(_, fault)| fault.to_string()).collect();
        f.write_str(&first.join(", "))?;
        match self.faults.last() {
            Some((last, _)) if *last > self.at => {
                write!(f, " for {}", Span::from_nanos((last - self.at) * 1_000))
            }
            _ => Ok(()),
        }
    }
}

/// A kind of incident. `[chaos]` names those that can happen in any cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "write stop, kill, pause, suspend, power-off, freeze, restore, switch, cut, cut-one-way, \
                 cut-partly, keep, isolate, split, deaf, unheard, flap, loss, loss-one-way, disorder, \
                 corrupt or replay"
)]
pub enum Kind {
    /// Something happens to a member.
    Member(OnMember),
    /// Something happens to links.
    Links(OnLinks),
}

/// What can happen to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMember {
    /// `SIGTERM`, and later a start.
    Stop,
    /// `kill -9`, perhaps in the middle of a turn, and later a start.
    Kill,
    /// `SIGSTOP`, perhaps in the middle of a turn, and later `SIGCONT`.
    Pause,
    /// The machine does not run; its clock goes on.
    Suspend,
    /// No power, and later it boots.
    PowerOff,
    /// The machine stands still together with its clock.
    Freeze,
    /// A snapshot of the machine is taken, and later it is put back.
    Restore,
    /// Its file differs from the others' between two starts.
    #[serde(skip)]
    Edit,
    /// It loses its power, and the operator tells the other candidate so.
    #[serde(skip)]
    PresumeDead,
    /// The operator says switch to each candidate, and later resume.
    Switch,
}

/// What can happen to links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLinks {
    /// Nothing passes between two members.
    Cut,
    /// Nothing passes from one to another.
    CutOneWay,
    /// Of datagrams, frames and probes some don't pass between two members, in a direction or both.
    CutPartly,
    /// What is sent waits, and arrives later.
    Keep,
    /// One member is cut from all.
    Isolate,
    /// The network falls in two.
    Split,
    /// Nothing reaches a member.
    Deaf,
    /// Nothing that a member sends arrives.
    Unheard,
    /// Two members are cut from each other again and again.
    Flap,
    /// Datagrams are lost: 5 to 90 %, on some links or on all.
    Loss,
    /// Datagrams are lost in one direction: 20 to 60 %.
    LossOneWay,
    /// Datagrams are doubled, late and out of order.
    Disorder,
    /// Bits are flipped.
    Corrupt,
    /// One of two paths is cut, all of it.
    #[serde(skip)]
    Path,
    /// Late by what is allowed.
    #[serde(skip)]
    Slow,
    /// What was sent is sent again.
    Replay,
}

/// From when until when.
pub(super) type Window = (u64, u64);

/// Incidents as they are drawn.
pub(super) struct Draws<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) cluster: &'a DrawnCluster<'a>,
    /// When the first may begin.
    pub(super) from: u64,
    /// When the faults have stopped.
    pub(super) calm: u64,
    /// Members are killed, paused or stopped.
    pub(super) restless: bool,
    pub(super) incidents: Vec<Incident>,
}

impl<'a> Draws<'a> {
    pub(super) fn add(&mut self, faults: Vec<(u64, Fault)>) -> &mut Incident {
        self.incidents.push(Incident {
            at: faults.first().map_or(0, |(at, _)| *at),
            faults,
            excuse: None,
            moves: Vec::new(),
        });
        let last = self.incidents.len() - 1;
        &mut self.incidents[last]
    }

    /// A fault from then until then.
    pub(super) fn spell(&mut self, (at, until): Window, fault: Fault) -> &mut Incident {
        let end = fault.ended_by().map(|end| (until, end));
        self.add([(at, fault)].into_iter().chain(end).collect())
    }

    /// Something happens to a member.
    pub(super) fn on_member(&mut self, kind: OnMember, name: &str, window: Window) {
        let of = || name.to_owned();
        let process = match self.rng.chance(50) {
            true => Target::Within {
                of: of(),
                after_effects: u32::try_from(self.rng.below(8)).unwrap_or(0),
            },
            false => Target::Of(of()),
        };
        let fault = match kind {
            OnMember::Stop => Fault::Stop(of()),
            OnMember::Kill => Fault::Kill(process),
            OnMember::Pause => Fault::Pause(process),
            OnMember::Suspend => Fault::Suspend(of()),
            OnMember::PowerOff => Fault::PowerOff(of()),
            OnMember::Freeze => return self.freeze(name, window),
            OnMember::Restore => return self.restore(name, window),
            OnMember::Edit => return self.edit(name, window),
            OnMember::PresumeDead => return self.presume_dead(name, window),
            OnMember::Switch => return self.switch(window),
        };
        self.spell(window, fault);
    }

    /// The machine stands still together with its clock, often for so long that another one has taken
    /// over meanwhile.
    fn freeze(&mut self, of: &str, (at, until): Window) {
        let long = match self.rng.chance(50) {
            true => at + 3 * self.cluster.vote(),
            false => until,
        };
        let window = (at, until.max(long).min(self.calm.max(until)));
        let left = self.left();
        let incident = self.spell(window, Fault::Freeze(of.to_owned()));
        incident.excuse = Some((window.0, window.1 + left));
    }

    /// A snapshot of the machine is taken, and later it is put back. One that is younger than the
    /// first word after that may not be noticed: a vote for what was sent in between gives
    /// a lease that ends later by the snapshot's age. Once for each machine: a second snapshot
    /// might be of the life that the first one ended, which the others never hear again
    /// (`restored-to-a-replaced-incarnation`).
    fn restore(&mut self, of: &str, (at, until): Window) {
        let again = |i: &Incident| {
            let mut faults = i.faults.iter();
            faults.any(|(_, fault)| matches!(fault, Fault::Restore(m) if m == of))
        };
        if self.incidents.iter().any(again) {
            return;
        }
        let left = self.left() + (until - at).min(2 * self.cluster.interval());
        let (taken, back) = (
            Fault::Snapshot(of.to_owned()),
            Fault::Restore(of.to_owned()),
        );
        self.add(vec![(at, taken), (until, back)]).excuse = Some((until, until + left));
    }

    /// What may be left of a lease when a clock stands still or goes back is left when it goes on.
    fn left(&self) -> u64 {
        let t = &self.cluster.timing;
        let left = micros(t.lease().plus(t.slack()));
        left + left * u64::from(t.drift_ppm()) / 1_000_000 + self.cluster.tick
    }

    /// Its file differs from the others' between two starts.
    pub(super) fn edit(&mut self, of: &str, (at, until): Window) {
        let of = of.to_owned();
        let delay = Edit {
            of: of.clone(),
            failback_delay: Some(span(1_234_000)),
            ..Edit::default()
        };
        let address = Edit {
            of: of.clone(),
            address: Some("10.0.9.9".to_owned()),
            ..Edit::default()
        };
        let edited = self.rng.one(&[&delay, &address]).clone();
        let edited_address = edited.address.clone();
        let as_before = Edit {
            of: of.clone(),
            ..Edit::default()
        };
        let again = |at, edit: Edit| {
            [
                (at, Fault::Kill(Target::Of(of.clone()))),
                (at, Fault::Edit(edit)),
                (at, Fault::Start(of.clone())),
            ]
        };
        let (edit, undo) = (again(at, edited).to_vec(), again(until, as_before));
        if self.cluster.promise != Promise::Anything {
            self.add([edit, undo.to_vec()].concat());
            return;
        }
        // Both hold while they are cut off, and then meet.
        let met = at + 2 * (until - at) / 3;
        let (cut, heal) = (Fault::Cut(Links::all()), Fault::Heal(Links::all()));
        // Another floating address answers no probe.
        let (heals, asks) = (self.cluster.heals_within(true), edited_address.is_none());
        let parted = if asks { met } else { until };
        let faults = [vec![(at, cut)], edit, vec![(met, heal)], undo.to_vec()].concat();
        self.add(faults).excuse = Some((at, parted + heals));
    }

    /// An operator may say that the peer is dead only if it is: otherwise two hold.
    fn presume_dead(&mut self, name: &str, (at, until): Window) {
        let vote = self.cluster.vote();
        let other = if name == "lb0" { "lb1" } else { "lb0" };
        let said = at + 5 * vote / 2;
        let until = until.max(at + 3 * vote);
        if until < self.calm {
            self.add(vec![
                (at, Fault::PowerOff(name.to_owned())),
                (said, order(other, Order::PresumeDead, None)),
                (until, Fault::Start(name.to_owned())),
            ]);
        }
    }

    /// Each candidate is asked, for only the holder can.
    fn switch(&mut self, (at, until): Window) {
        let each = |at, say| {
            let to = self.cluster.members[..2].iter();
            to.map(move |name| (at, order(name, say, None)))
        };
        let faults = each(at, Order::Switch).chain(each(until, Order::Resume));
        self.add(faults.collect());
    }

    /// Something happens to links.
    pub(super) fn on_links(&mut self, kind: OnLinks, (at, until): Window) {
        if kind == OnLinks::Split {
            return self.split(at, until);
        }
        if kind == OnLinks::CutPartly {
            return self.cut_partly(at, until);
        }
        let [a, b] = self.two();
        let path = match kind {
            OnLinks::Path => Some(self.rng.one(&[0, 1])),
            _ if self.cluster.paths == 2 && self.is_majority() && self.rng.chance(30) => {
                Some(self.rng.one(&[0, 1]))
            }
            _ => None,
        };
        let links = match kind {
            OnLinks::Cut | OnLinks::Flap => Links::between(a, b),
            OnLinks::CutOneWay | OnLinks::LossOneWay => Links::one_way(a, b),
            OnLinks::Isolate => Links::around(a),
            OnLinks::Deaf => Links::to(a),
            OnLinks::Unheard | OnLinks::Keep => Links::from(a),
            OnLinks::Path
            | OnLinks::Slow
            | OnLinks::Disorder
            | OnLinks::Split
            | OnLinks::CutPartly => Links::all(),
            OnLinks::Loss | OnLinks::Corrupt | OnLinks::Replay => match self.rng.below(3) {
                0 => Links::one_way(a, b),
                1 => Links::around(a),
                _ => Links::all(),
            },
        };
        let on = Links { path, ..links };
        let interval = self.cluster.interval();
        let fault = match kind {
            // Without frames, one that has just booted sends nothing until its neighbour answers.
            OnLinks::CutOneWay if !self.cluster.frames && !self.is_majority() => {
                Fault::CutDatagrams(on)
            }
            OnLinks::Cut
            | OnLinks::CutOneWay
            | OnLinks::CutPartly
            | OnLinks::Isolate
            | OnLinks::Deaf
            | OnLinks::Unheard
            | OnLinks::Flap
            | OnLinks::Path
            | OnLinks::Split => Fault::Cut(on),
            OnLinks::Keep => Fault::Keep(on),
            OnLinks::Replay => {
                let last = span(self.rng.between(interval, 6 * self.cluster.vote()));
                let every = span(self.rng.between(100, 2_000));
                Fault::Replay { on, last, every }
            }
            OnLinks::Loss
            | OnLinks::LossOneWay
            | OnLinks::Corrupt
            | OnLinks::Disorder
            | OnLinks::Slow => {
                let are = self.conditions(kind);
                Fault::Conditions { on, are }
            }
        };
        // What a cut excuses the judge knows: S2 is asked by what passes.
        let late = [
            OnLinks::Keep,
            OnLinks::Loss,
            OnLinks::LossOneWay,
            OnLinks::Disorder,
            OnLinks::Corrupt,
        ];
        let excuse = self.excuse((at, until)).filter(|_| late.contains(&kind));
        let incident = match kind {
            OnLinks::Flap => self.flap((at, until), fault),
            _ => self.spell((at, until), fault),
        };
        incident.excuse = excuse;
    }

    /// When two may hold because adverts are lost or late, if they may at all.
    fn excuse(&self, (at, until): Window) -> Option<Window> {
        let may = self.cluster.promise == Promise::Anything;
        may.then(|| (at, until + self.cluster.heals_within(self.restless)))
    }

    /// One member, and another.
    pub(super) fn two(&mut self) -> [&'a str; 2] {
        let names = &self.cluster.members;
        let a = self.rng.one(names);
        let others: Vec<&str> = names.iter().copied().filter(|n| *n != a).collect();
        [a, self.rng.one(&others)]
    }

    fn conditions(&mut self, kind: OnLinks) -> Conditions {
        let interval = self.cluster.interval();
        let fair = Conditions::default();
        match kind {
            OnLinks::Loss => Conditions {
                loss: self.rng.between(5, 90) as f64,
                ..fair
            },
            OnLinks::LossOneWay => Conditions {
                loss: self.rng.between(20, 60) as f64,
                ..fair
            },
            OnLinks::Corrupt => Conditions {
                corrupt: self.rng.between(5, 60) as f64,
                ..fair
            },
            OnLinks::Disorder => Conditions {
                duplicate: self.rng.between(0, 50) as f64,
                straggle: self.rng.between(0, 30) as f64,
                jitter: span(self.rng.below(2 * interval)),
                straggle_by: span(self.rng.below(4 * self.cluster.vote())),
                ..fair
            },
            _ => {
                // In time: within i/4, with what a tick adds to it.
                let most = (interval / 4).saturating_sub(3 * self.cluster.tick);
                Conditions {
                    duplicate: 20.0,
                    jitter: span(self.rng.below(most.max(1))),
                    ..fair
                }
            }
        }
    }

    /// The fault comes and goes.
    fn flap(&mut self, (at, until): Window, fault: Fault) -> &mut Incident {
        let interval = self.cluster.interval();
        let pace = self.rng.between(interval / 2, 4 * interval);
        let heal = fault.ended_by().unwrap_or_else(|| fault.clone());
        let (mut faults, mut next) = (vec![(at, fault.clone())], at + pace);
        while next + pace < until {
            faults.extend([(next, heal.clone()), (next + pace, fault.clone())]);
            next += 2 * pace;
        }
        faults.push((until, heal));
        self.add(faults)
    }

    /// Each member is on one of two sides, and nothing passes between them.
    fn split(&mut self, at: u64, until: u64) {
        let names = &self.cluster.members;
        let side: Vec<bool> = names.iter().map(|_| self.rng.chance(50)).collect();
        let of = |here: bool| {
            let members = names.iter().zip(&side).filter(move |(_, s)| **s == here);
            members.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let (these, those) = (of(true), of(false));
        let pairs = these
            .iter()
            .flat_map(|a| those.iter().map(|b| Links::between(a, b)));
        let pairs: Vec<Links> = pairs.collect();
        let cut = pairs.iter().map(|on| (at, Fault::Cut(on.clone())));
        let heal = pairs.iter().map(|on| (until, Fault::Heal(on.clone())));
        if !pairs.is_empty() {
            self.add(cut.chain(heal).collect());
        }
    }

    /// Datagrams, frames and probes: each passes, or is cut in a direction or both. Where one
    /// direction at a time may be silent, adverts pass in one.
    fn cut_partly(&mut self, at: u64, until: u64) {
        let [a, b] = self.two();
        let kinds: [fn(Links) -> Fault; 3] =
            [Fault::CutDatagrams, Fault::CutFrames, Fault::CutProbes];
        let there = [Links::one_way(a, b), Links::one_way(b, a)];
        let mut cut = kinds.map(|_| {
            self.rng
                .one(&[[true; 2], [true; 2], [true, false], [false; 2]])
        });
        let silent =
            |cut: &[[bool; 2]; 3], way: usize| cut[0][way] && (cut[1][way] || !self.cluster.frames);
        if self.cluster.promise == Promise::OneWay && silent(&cut, 0) && silent(&cut, 1) {
            cut[usize::from(self.cluster.frames)][1] = false;
        }
        let mut faults = Vec::new();
        for (kind, cut) in kinds.into_iter().zip(cut) {
            let ways = there.iter().zip(cut).filter(|(_, cut)| *cut);
            faults.extend(ways.map(|(links, _)| (at, kind(links.clone()))));
        }
        if !faults.is_empty() {
            faults.push((until, Fault::Heal(Links::between(a, b))));
            self.add(faults);
        }
    }

    const fn is_majority(&self) -> bool {
        matches!(self.cluster.arbitration(), Arbitration::Majority)
    }
}

pub(super) fn order(to: &str, say: Order, group: Option<String>) -> Fault {
    Fault::Command {
        to: to.to_owned(),
        say,
        group,
    }
}
