//! What goes wrong: tracks that run beside each other, each an incident at a time. Which tracks there are,
//! how busy they are and what they do is drawn for each seed again.

use super::draw::{Cluster, Promise, between, chance, micros, one, ppm, span};
use crate::fault::{Conditions, Edit, Fault, Flag, Links, Refusable, Target};
use crate::simulator::dice::Dice;
use onehold::control::Order;
use onehold_core::config::Arbitration;
use onehold_core::time::Span;
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
    /// From when until when the holder may change because of it, once each, where it should not by itself.
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

/// What can happen to a member: to whom, and from when until when.
type Blow = fn(&mut Draws<'_>, Target, Window);
type Window = (u64, u64);

/// What can happen to links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Cut,
    OneWay,
    /// One way, and no answer to who has an address passes either.
    Frames,
    /// One way, and what is sent meanwhile arrives later.
    Keep,
    Isolate,
    /// The network falls in two.
    Split,
    Deaf,
    Unheard,
    Flap,
    Loss,
    Disorder,
    Corrupt,
    /// One of two paths is cut, all of it.
    Path,
    /// Late by what is allowed.
    Slow,
    Replay,
}

struct Draws<'a> {
    dice: &'a mut Dice,
    cluster: &'a Cluster,
    from: u64,
    calm: u64,
    /// Members are killed or not run.
    restless: bool,
    incidents: Vec<Incident>,
}

/// All that goes wrong between two moments, by when it begins.
/// Where nothing goes wrong, all has settled within `bound` of what somebody does.
pub(super) fn draw(
    dice: &mut Dice,
    cluster: &Cluster,
    from: u64,
    calm: u64,
    bound: u64,
) -> Vec<Incident> {
    let restless = chance(dice, 80);
    let mut draws = Draws {
        dice,
        cluster,
        from,
        calm,
        restless,
        incidents: Vec::new(),
    };
    if cluster.promise == Promise::Steady {
        draws.blips();
        draws.moves(bound);
        draws.clocks();
    } else {
        draws.members();
        // What looks like a cut of two alone may not come from two tracks.
        let tracks = match cluster.arbitration() {
            Arbitration::Majority => between(draws.dice, 0, 2),
            Arbitration::Survivor => 1,
        };
        for _ in 0..tracks {
            draws.network();
        }
        draws.operators();
        draws.services();
        draws.kernels();
        draws.addresses();
        draws.clocks();
    }
    let mut incidents = draws.incidents;
    incidents.sort_by_key(|i| i.at); // stable
    incidents
}

impl Draws<'_> {
    /// Moments at which a track begins something, and until when that may last: sequential.
    fn track(&mut self, mut each: impl FnMut(&mut Self, u64, u64)) {
        let vote = self.cluster.vote();
        let gap = one(self.dice, &[vote / 2, 2 * vote, 5 * vote, 12 * vote]);
        let longest = one(self.dice, &[vote / 4, vote, 2 * vote, 6 * vote]);
        let mut at = self.from + self.dice.below(2 * gap);
        while at < self.calm {
            // Short ones are as likely as long ones.
            let most = longest >> self.dice.below(5);
            let until = at + between(self.dice, 1, most.max(1));
            each(self, at, until.min(self.calm));
            at = until + self.dice.below(2 * gap);
        }
    }

    fn add(&mut self, faults: Vec<(u64, Fault)>) -> &mut Incident {
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
    fn spell(&mut self, (at, until): Window, fault: Fault) -> &mut Incident {
        let end = fault.ended_by().map(|end| (until, end));
        self.add([(at, fault)].into_iter().chain(end).collect())
    }

    fn members(&mut self) {
        let cluster = self.cluster;
        if !self.restless {
            return;
        }
        if cluster.promise == Promise::Anything && chance(self.dice, 30) {
            return self.strangers();
        }
        let mut blows: Vec<Blow> = vec![
            |d, of, window| _ = d.spell(window, Fault::Stop(of.of().clone())),
            |d, of, window| _ = d.spell(window, Fault::Kill(of)),
            |d, of, window| _ = d.spell(window, Fault::Pause(of)),
            |d, of, window| _ = d.spell(window, Fault::Suspend(of.of().clone())),
            |d, of, window| _ = d.spell(window, Fault::PowerOff(of.of().clone())),
        ];
        match cluster.promise {
            Promise::Frozen => blows.push(|d, of, window| d.freeze(of, window)),
            Promise::Majority if cluster.members.len() == 2 => {
                blows.push(|d, of, window| d.bury(of, window))
            }
            Promise::Majority | Promise::Timely => blows.push(|d, of, window| d.edit(of, window)),
            Promise::Steady | Promise::OneWay | Promise::Anything => {}
        }
        blows.retain(|_| chance(self.dice, 60));
        for name in &cluster.members {
            if !blows.is_empty() && chance(self.dice, 70) {
                self.track(|d, at, until| {
                    let blow = one(d.dice, &blows);
                    let of = (*name).to_owned();
                    let process = match chance(d.dice, 50) {
                        true => Target::Within {
                            of,
                            after_effects: u32::try_from(d.dice.below(8)).unwrap_or(0),
                        },
                        false => Target::Of(of),
                    };
                    blow(d, process, (at, until));
                });
            }
        }
    }

    /// The machine stands still together with its clock.
    fn freeze(&mut self, of: Target, window: Window) {
        // What was left of its lease when it stopped is left when it goes on.
        let t = &self.cluster.timing;
        let left = micros(t.lease().plus(t.slack()));
        let left = left + left * u64::from(t.drift_ppm()) / 1_000_000 + self.cluster.tick;
        let incident = self.spell(window, Fault::Freeze(of.of().clone()));
        incident.excuse = Some((window.0, window.1 + left));
    }

    /// Its file differs from the others' between two starts.
    fn edit(&mut self, process: Target, (at, until): Window) {
        let of = process.of();
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
        let edited = one(self.dice, &[&delay, &address]).clone();
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
        let heals = self.cluster.heals_within(true);
        let faults = [vec![(at, cut)], edit, vec![(met, heal)], undo.to_vec()].concat();
        self.add(faults).excuse = Some((at, met + heals));
    }

    /// Two that have different files hold at once, again and again, and nothing else happens to them.
    fn strangers(&mut self) {
        let vote = self.cluster.vote();
        let mut at = self.from + self.dice.below(4 * vote);
        while at + 6 * vote < self.calm {
            let name = one(self.dice, &self.cluster.members);
            self.edit(Target::Of(name.to_owned()), (at, at + 6 * vote));
            at += between(self.dice, 8, 16) * vote;
        }
    }

    /// Only where the peer is dead may the operator say so: two hold if it lives.
    fn bury(&mut self, of: Target, (at, until): Window) {
        let vote = self.cluster.vote();
        let name = of.of();
        let other = if name == "lb0" { "lb1" } else { "lb0" };
        let said = at + 5 * vote / 2;
        let until = until.max(at + 3 * vote);
        if until < self.calm {
            self.add(vec![
                (at, Fault::PowerOff(name.clone())),
                (said, order(other, Order::PresumeDead, None)),
                (until, Fault::Start(name.clone())),
            ]);
        }
    }

    fn network(&mut self) {
        let two_paths = self.cluster.paths == 2;
        let mut harms = match self.cluster.promise {
            Promise::Majority | Promise::Frozen | Promise::Steady => vec![
                Harm::Cut,
                Harm::OneWay,
                Harm::Frames,
                Harm::Keep,
                Harm::Isolate,
                Harm::Split,
                Harm::Deaf,
                Harm::Unheard,
                Harm::Flap,
                Harm::Loss,
                Harm::Disorder,
                Harm::Corrupt,
                Harm::Replay,
            ],
            Promise::Timely => vec![Harm::Slow],
            Promise::OneWay => vec![Harm::Slow, Harm::OneWay, Harm::OneWay],
            Promise::Anything => vec![
                Harm::Cut,
                Harm::Cut,
                Harm::Cut,
                Harm::OneWay,
                Harm::Frames,
                Harm::Keep,
                Harm::Flap,
                Harm::Loss,
                Harm::Disorder,
                Harm::Corrupt,
            ],
        };
        // One that boots knows no hardware address: a cut of frames one way is then one of both.
        if self.cluster.promise == Promise::OneWay && !self.restless {
            harms.push(Harm::Frames);
        }
        if two_paths {
            harms.push(Harm::Path);
        }
        harms.retain(|_| chance(self.dice, 60));
        if !harms.is_empty() {
            self.track(|d, at, until| {
                let harm = one(d.dice, &harms);
                d.harm(harm, at, until);
            });
        }
    }

    /// One member, and another.
    fn two(&mut self) -> [&'static str; 2] {
        let names = &self.cluster.members;
        let a = one(self.dice, names);
        let others: Vec<&'static str> = names.iter().copied().filter(|n| *n != a).collect();
        [a, one(self.dice, &others)]
    }

    /// Links are cut for so short a time that no more than ⌊H/i⌋ − 2 adverts in a row are lost, and not again
    /// before all has settled.
    fn blips(&mut self) {
        let (timing, interval) = (&self.cluster.timing, self.cluster.interval());
        let most = (micros(timing.lease()) / interval - 2) * interval;
        let drift = most * u64::from(timing.drift_ppm()) / 500_000;
        let longest = most.saturating_sub(drift + 4 * self.cluster.trip + 2 * self.cluster.tick);
        let mut at = self.from + self.dice.below(4 * self.cluster.vote());
        while at < self.calm && longest > 0 {
            let over = between(self.dice, 1, longest).min(self.calm - at);
            let [a, b] = self.two();
            let links = match self.dice.below(4) {
                0 => Links::all(),
                1 => Links::around(a),
                2 => Links::one_way(a, b),
                _ => Links::between(a, b),
            };
            self.spell((at, at + over), Fault::Cut(links));
            at += over + between(self.dice, 3, 8) * self.cluster.vote();
        }
    }

    /// Somebody moves the address, or takes a member away and brings it back.
    fn moves(&mut self, bound: u64) {
        let cluster = self.cluster;
        let mut at = self.from + self.dice.below(bound);
        while at < self.calm {
            let name = one(self.dice, &cluster.members[..2]);
            let until = (at + between(self.dice, bound / 4, bound)).min(self.calm);
            let (fault, last) = match self.dice.below(3) {
                1 => (order(name, Order::Standby, None), until),
                // Of two, one is no majority.
                2 if cluster.members.len() > 2 => {
                    let name = one(self.dice, &cluster.members);
                    (Fault::Stop(name.to_owned()), until)
                }
                _ => (order(name, Order::Switch, None), at),
            };
            let stops = matches!(fault, Fault::Stop(_));
            let incident = self.spell((at, until), fault);
            let [away, back] = cluster.meant_within();
            incident.moves = vec![(at, at + away)];
            if stops {
                // If its last word is lost, a vote stays bound to it, and the lease of its successor may end.
                incident.moves.push((at, at + away));
            }
            if last > at {
                incident.moves.push((last, last + back));
            }
            at = last + bound + self.dice.below(bound);
        }
    }

    fn harm(&mut self, harm: Harm, at: u64, until: u64) {
        if harm == Harm::Split {
            return self.split(at, until);
        }
        let [a, b] = self.two();
        let path = match harm {
            Harm::Path => Some(one(self.dice, &[0, 1])),
            _ if self.cluster.paths == 2 && self.is_majority() && chance(self.dice, 30) => {
                Some(one(self.dice, &[0, 1]))
            }
            _ => None,
        };
        let links = match harm {
            Harm::Cut | Harm::Flap => Links::between(a, b),
            Harm::OneWay | Harm::Frames => Links::one_way(a, b),
            Harm::Isolate => Links::around(a),
            Harm::Deaf => Links::to(a),
            Harm::Unheard | Harm::Keep => Links::from(a),
            Harm::Path | Harm::Slow | Harm::Disorder | Harm::Split => Links::all(),
            Harm::Loss | Harm::Corrupt | Harm::Replay => match self.dice.below(3) {
                0 => Links::one_way(a, b),
                1 => Links::around(a),
                _ => Links::all(),
            },
        };
        let on = Links { path, ..links };
        let interval = self.cluster.interval();
        let fault = match harm {
            Harm::Cut
            | Harm::OneWay
            | Harm::Isolate
            | Harm::Deaf
            | Harm::Unheard
            | Harm::Flap
            | Harm::Path
            | Harm::Split => Fault::Cut(on),
            Harm::Frames => Fault::CutFrames(on),
            Harm::Keep => Fault::Keep(on),
            Harm::Replay => {
                let last = span(between(self.dice, interval, 6 * self.cluster.vote()));
                let every = span(between(self.dice, 100, 2_000));
                Fault::Replay { on, last, every }
            }
            Harm::Loss | Harm::Corrupt | Harm::Disorder | Harm::Slow => {
                let are = self.conditions(harm);
                Fault::Conditions { on, are }
            }
        };
        let heals = self.cluster.heals_within(self.restless);
        let harmless = [Harm::Path, Harm::Replay].contains(&harm);
        let excused = self.cluster.promise == Promise::Anything && !harmless;
        let incident = match harm {
            Harm::Flap => self.flap((at, until), fault),
            _ => self.spell((at, until), fault),
        };
        incident.excuse = excused.then_some((at, until + heals));
    }

    fn conditions(&mut self, harm: Harm) -> Conditions {
        let interval = self.cluster.interval();
        let fair = Conditions::default();
        match harm {
            Harm::Loss => Conditions {
                loss: between(self.dice, 5, 90) as f64,
                ..fair
            },
            Harm::Corrupt => Conditions {
                corrupt: between(self.dice, 5, 60) as f64,
                ..fair
            },
            Harm::Disorder => Conditions {
                duplicate: between(self.dice, 0, 50) as f64,
                straggle: between(self.dice, 0, 30) as f64,
                jitter: span(self.dice.below(2 * interval)),
                straggle_by: span(self.dice.below(4 * self.cluster.vote())),
                ..fair
            },
            _ => {
                // In time: within i/4, with what a tick adds to it.
                let most = (interval / 4).saturating_sub(3 * self.cluster.tick);
                Conditions {
                    duplicate: 20.0,
                    jitter: span(self.dice.below(most.max(1))),
                    ..fair
                }
            }
        }
    }

    /// It comes and goes.
    fn flap(&mut self, (at, until): Window, fault: Fault) -> &mut Incident {
        let interval = self.cluster.interval();
        let pace = between(self.dice, interval / 2, 4 * interval);
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
        let side: Vec<bool> = names.iter().map(|_| chance(self.dice, 50)).collect();
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

    const fn is_majority(&self) -> bool {
        matches!(self.cluster.arbitration(), Arbitration::Majority)
    }

    fn operators(&mut self) {
        if !chance(self.dice, 50) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, until| {
            let to = one(d.dice, &cluster.members[..2]);
            let group = chance(d.dice, 50).then(|| d.group());
            let fault = match d.dice.below(3) {
                0 => order(to, Order::Switch, group),
                1 => order(to, Order::Standby, group),
                _ => Fault::Claim(to.to_owned()),
            };
            d.spell((at, until), fault);
        });
    }

    fn group(&mut self) -> String {
        let names: Vec<&'static str> = self.cluster.groups.iter().map(|g| g.name).collect();
        one(self.dice, &names).to_owned()
    }

    fn services(&mut self) {
        if !chance(self.dice, 50) {
            return;
        }
        let cluster = self.cluster;
        let (healthy, eligible) = (Fault::Healthy as fn(Flag) -> Fault, Fault::Eligible as _);
        let kinds: &[fn(Flag) -> Fault] = match self.dice.below(3) {
            0 => &[healthy],
            1 => &[eligible],
            _ => &[healthy, eligible],
        };
        for name in &cluster.members[..2] {
            self.track(|d, at, until| {
                let kind = one(d.dice, kinds);
                let fault = kind(Flag {
                    on: (*name).to_owned(),
                    group: Some(d.group()),
                    is: false,
                });
                d.spell((at, until), fault);
            });
        }
    }

    fn kernels(&mut self) {
        if !chance(self.dice, 30) {
            return;
        }
        let cluster = self.cluster;
        let (hold, release) = (Refusable::Hold, Refusable::Release);
        self.track(|d, at, until| {
            let of = one(d.dice, &cluster.members[..2]).to_owned();
            let refuses = one(d.dice, &[&[hold][..], &[release], &[hold, release]]).to_vec();
            d.spell((at, until), Fault::Kernel { of, refuses });
        });
    }

    /// Own addresses go and come.
    fn addresses(&mut self) {
        if !chance(self.dice, 25) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, until| {
            let of = one(d.dice, &cluster.members).to_owned();
            d.spell((at, until), Fault::OwnAddress { of, is: false });
        });
    }

    fn clocks(&mut self) {
        if self.cluster.timing.drift_ppm() == 0 || !chance(self.dice, 50) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, until| {
            let of = one(d.dice, &cluster.members).to_owned();
            let ppm = ppm(d.dice, &cluster.timing);
            d.spell((at, until), Fault::Drift { of, ppm });
        });
    }
}

fn order(to: &str, say: Order, group: Option<String>) -> Fault {
    Fault::Command {
        to: to.to_owned(),
        say,
        group,
    }
}
