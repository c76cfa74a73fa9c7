//! A trace told as a [`Story`].

use crate::liveness::Liveness;
use crate::story::{Broken, Lane, Message, Step, Story};
use crate::world::{
    Action, Direct, Done, Ending, Events, How, Known, NOW, Of, Parts, Sent, Setup, World,
};
use onehold_core::advert::Advert;
use std::collections::HashMap;
use std::sync::Arc;

/// Tells a trace from one of the beginnings.
#[must_use]
pub fn tell(
    setup: &Setup,
    title: String,
    beginning: usize,
    actions: &[Action],
    broken: Option<Broken>,
) -> Story {
    let parts = Direct(setup.clone());
    let mut world = World::beginnings(&parts).swap_remove(beginning);
    let mut teller = Teller {
        parts: &parts,
        names: names(setup),
        at: 0,
        ids: HashMap::new(),
        steps: Vec::new(),
    };
    teller.know(&world);
    teller.push(&world, Step::default());
    for action in actions {
        if let Some(next) = teller.act(&world, *action) {
            world = next;
        }
    }
    Story {
        title,
        unit: "ticks".into(),
        members: teller.names,
        steps: teller.steps,
        broken,
    }
}

fn names(setup: &Setup) -> Vec<String> {
    let members = setup.seats[0].members().iter();
    members.map(|m| m.name.clone()).collect()
}

struct Teller<'a> {
    parts: &'a Direct,
    names: Vec<String>,
    at: u64,
    /// The numbers of the adverts in flight, by where they are kept; each tick makes new ones.
    ids: HashMap<*const Advert, (u64, Arc<Advert>)>,
    steps: Vec<Step>,
}

impl Teller<'_> {
    fn act(&mut self, world: &Of<Direct>, action: Action) -> Option<Of<Direct>> {
        let (next, done) = world.step(self.parts, action)?;
        match action {
            Action::Tick => {
                let before: Vec<_> = world.links.iter().map(|l| l.to_vec()).collect();
                self.at += 1;
                for (old, new) in before.iter().zip(&next.links) {
                    // The oldest are lost first.
                    for (old, new) in old.iter().rev().zip(new.iter().rev()) {
                        let id = self.id(old);
                        self.ids.insert(Arc::as_ptr(new), (id, Arc::clone(new)));
                    }
                }
                self.push(&next, Step::default());
            }
            Action::Settle(cuts) => {
                let what = match self.parts.0.adversary.cuts[usize::from(cuts)] {
                    0 => "from now on: nothing is wrong".to_owned(),
                    cuts => format!(
                        "from now on: cut {}, and nothing else is wrong",
                        cut_text(&self.parts.0, cuts)
                    ),
                };
                self.push(
                    &next,
                    Step {
                        what,
                        fault: true,
                        ..Step::default()
                    },
                );
            }
            Action::Turn {
                member,
                how,
                ending,
                ..
            } => {
                let received = match how {
                    How::Receive(from) => self.message(world, from, member),
                    _ => None,
                };
                let (what, fault) = how_text(how);
                let step = Step {
                    what,
                    fault,
                    received,
                    ..Step::default()
                };
                let sent = world.sent(self.parts, action);
                self.turned(&next, sent, done, ending, step);
            }
            Action::Run {
                member,
                hears,
                ending,
                back,
                ..
            } => {
                let heard: Vec<_> = hears
                    .senders()
                    .filter_map(|from| self.message(world, from, member))
                    .collect();
                let mut heard = heard.into_iter();
                let last = heard.next_back();
                for received in heard {
                    let received = Some(received);
                    let member = Some(usize::from(member));
                    self.push(
                        world,
                        Step {
                            member,
                            received,
                            ..Step::default()
                        },
                    );
                }
                let what = if last.is_none() { "its timer" } else { "" };
                let kept_back = back.map(|from| {
                    let name = &self.names[usize::from(from)];
                    format!("; what {name} sent is kept back")
                });
                let step = Step {
                    what: format!("{what}{}", kept_back.unwrap_or_default()),
                    received: last,
                    ..Step::default()
                };
                let sent = world.sent(self.parts, action);
                self.turned(&next, sent, done, ending, step);
            }
        }
        Some(next)
    }

    /// A member's turn and what it sent. Of what is lost at once, the last to each is told.
    fn turned(
        &mut self,
        after: &Of<Direct>,
        sent: Sent<Arc<Advert>>,
        done: Done,
        ending: Ending,
        mut step: Step,
    ) {
        let from = usize::from(done.member);
        for (to, adverts) in sent.into_iter().enumerate() {
            let link = &after.links[from * after.members.len() + to];
            let unknown = |a: &&Arc<Advert>| !self.ids.contains_key(&Arc::as_ptr(a));
            let mut new: Vec<_> = link.iter().filter(unknown).cloned().collect();
            if new.is_empty() {
                new.extend(adverts.into_iter().last());
            }
            for advert in new {
                let id = self.id(&advert);
                step.sent.push(self.said(id, &advert));
            }
        }
        if let Some(more) = ending_text(ending) {
            step.what = match step.what.as_str() {
                "" => more,
                what => format!("{what}; {more}"),
            };
            step.fault = true;
        }
        step.member = Some(from);
        step.reports = reports(done.events);
        self.push(after, step);
    }

    fn message(&mut self, world: &Of<Direct>, from: u8, to: u8) -> Option<Message> {
        let link = usize::from(from) * world.members.len() + usize::from(to);
        let advert = world.links[link].first()?;
        let id = self.id(advert);
        Some(self.said(id, advert))
    }

    /// The advert's number. It is kept from now on, so that no other gets its place in memory.
    fn id(&mut self, advert: &Arc<Advert>) -> u64 {
        let next = self.ids.len() as u64 + 1;
        let known = self.ids.entry(Arc::as_ptr(advert));
        known.or_insert_with(|| (next, Arc::clone(advert))).0
    }

    fn know(&mut self, world: &Of<Direct>) {
        for advert in world.links.iter().flatten() {
            self.id(advert);
        }
    }

    fn push(&mut self, world: &Of<Direct>, mut step: Step) {
        step.at = self.at;
        let rates = self.parts.0.ticks(world.rest.beginning);
        let members = world.members.iter().zip(rates);
        step.lanes = members.map(|(m, rate)| self.lane(m, *rate)).collect();
        self.steps.push(step);
    }

    fn lane(&self, known: &Arc<Known>, rate: u64) -> Lane {
        let facts = self.parts.facts(known);
        let seen = known.member.observe(&self.parts.0, NOW);
        let group = seen.as_ref().and_then(|s| s.groups.first());
        let ticks = |span: onehold_core::time::Span| span.as_nanos().div_ceil(rate);
        let vote = facts.vote.map(|(member, _)| usize::from(member.0));
        let slack = self.parts.0.seats[0].timing().slack();
        Lane {
            process: match facts.process {
                Liveness::Up => Liveness::Up,
                Liveness::Paused => Liveness::Paused,
                Liveness::Down => Liveness::Down,
            },
            role: facts.role.map_or("", |r| r.text()).into(),
            quarantined: facts.quarantined,
            lease_left: group.and_then(|g| g.lease_left).map(ticks),
            effective: facts.effective,
            effective_left: known.member.effective_left(slack).map_or(0, ticks),
            vote,
            vote_left: group
                .and_then(|g| g.vote_left)
                .filter(|_| vote.is_some())
                .map_or(0, ticks),
        }
    }

    /// What an advert says, shortly.
    fn said(&self, id: u64, advert: &Advert) -> Message {
        let mut words: Vec<String> = Vec::new();
        if advert.to_incarnation.is_none() {
            words.push("knocks".into());
        }
        if advert.quarantined {
            words.push("quarantined".into());
        }
        for group in &advert.groups {
            let flags = [
                (group.asks, "asks"),
                (group.holds, "holds"),
                (group.ready, "ready"),
                (group.yields, "yields"),
            ];
            words.extend(flags.iter().filter(|f| f.0).map(|f| f.1.to_owned()));
            if let Some(ballot) = group.vote {
                let to = &self.names[usize::from(ballot.member.0)];
                words.push(format!("votes {to}"));
            }
        }
        Message {
            id,
            from: usize::from(advert.from.0),
            to: usize::from(advert.to.0),
            says: words.join(" "),
        }
    }
}

/// What happens, and whether it is a fault or somebody's command.
pub(super) fn how_text(how: How<u8>) -> (String, bool) {
    let (text, fault) = match how {
        How::Wake => ("its timer", false),
        How::Receive(_) => ("", false),
        How::Muted => ("the kernel has let go and confirms it", false),
        How::Operator(command) => {
            return (
                format!("the operator says {command:?}").to_lowercase(),
                true,
            );
        }
        How::Healthy(true) => ("its service is healthy again", true),
        How::Healthy(false) => ("its service fails", true),
        How::Eligible(true) => ("its kernel can serve again", true),
        How::Eligible(false) => ("its kernel can't serve", true),
        How::Port(true) => ("its port comes up", false),
        How::Port(false) => ("its port goes down", false),
        How::Start => ("starts", true),
        How::Crash => ("the process dies; its kernel goes on", true),
        How::PowerOff => ("power off", true),
        How::Stop => ("the process is stopped; its kernel goes on", true),
        How::Resume => ("the process goes on", true),
    };
    (text.into(), fault)
}

/// How a turn ends early, if it does.
pub(super) fn ending_text(ending: Ending) -> Option<String> {
    match ending {
        Ending::Whole => None,
        Ending::Dies(n) => Some(format!("dies after {n} effects")),
        Ending::Stops(n) => Some(format!("is stopped after {n} effects")),
    }
}

/// The cut links: `a→b b→a`; a port that is down: `a's port`.
pub(super) fn cut_text(setup: &Setup, cuts: u32) -> String {
    let names = names(setup);
    let n = names.len();
    let pairs = (0..n).flat_map(|from| (0..n).map(move |to| (from, to)));
    let cut: Vec<String> = pairs
        .filter(|(from, to)| cuts & 1 << (from * crate::world::MAX + to) != 0)
        .map(|(from, to)| match from == to {
            true => format!("{}'s port", names[from]),
            false => format!("{}→{}", names[from], names[to]),
        })
        .collect();
    cut.join(" ")
}

fn reports(events: Events) -> Vec<String> {
    events.texts().map(str::to_owned).collect()
}
