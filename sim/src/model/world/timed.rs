//! Members whose clocks go on and that forget nothing; their inputs and effects are recorded.
//!
//! So that it ends, the search lets time stand still and forgets what no rule looks at. The same
//! actions of these members must lead to the same facts, and leave a trace of what happened.

use super::member::{Heard, is_answer};
use super::{Changed, Ending, GROUP, MemberState, Parts, Setup, Stimulus, World, incarnation};
use crate::liveness::Liveness;
use crate::properties::Facts;
use onehold::trace::Line;
use onehold_core::advert::{Advert, Incarnation};
use onehold_core::time::{LocalTime, Span};
use std::cell::Cell;
use std::sync::Arc;

/// What every clock reads at the beginning: later than the placeholder for instants that no rule
/// reads.
const START: LocalTime = LocalTime::from_nanos(1 << 20);

/// Members on clocks that go on.
#[derive(Debug)]
pub struct Timed {
    setup: Setup,
    /// How many lines there are: their order over all members.
    lines: Cell<u64>,
}

/// A member, its clock, and what is recorded of it.
#[derive(Clone, Debug)]
pub struct TimedMember {
    member: MemberState,
    facts: Facts,
    /// What its clock reads.
    now: LocalTime,
    /// True time since the beginning.
    time: Span,
    /// What happened to it since [`Timed::written`] was last called, each with its place among all.
    log: Vec<(u64, Line)>,
}

impl Timed {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn new(setup: Setup) -> Self {
        let lines = Cell::new(0);
        Self { setup, lines }
    }

    /// What was recorded since the last call, in the order in which it happened.
    pub fn written(&self, world: &mut World<TimedMember, Arc<Advert>>) -> Vec<Line> {
        let logs = world.members.iter_mut().map(|m| &mut m.log);
        let mut all: Vec<(u64, Line)> = logs.flat_map(std::mem::take).collect();
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, line)| line).collect()
    }

    /// Records a turn of a node. A trace is of one cluster: members with another file are left out.
    fn write_turn(&self, machine: u8, log: &mut Vec<(u64, Line)>, line: Line) {
        if self.setup.has_first_file(machine) {
            self.write(log, line);
        }
    }

    fn write(&self, log: &mut Vec<(u64, Line)>, line: Line) {
        let place = self.lines.get();
        self.lines.set(place + 1);
        log.push((place, line));
    }

    /// Records what became of a member's process and kernel.
    fn compare(&self, before: &Facts, member: &mut TimedMember) {
        member.facts = member.member.facts(&self.setup, member.now);
        let (time, after) = (member.time, member.facts);
        let name = || self.name(&member.member);
        // A start has a line of its own.
        let other = before.process != after.process && before.process != Liveness::Down;
        let process = other.then(|| after.process.line(time, name()));
        let kernel = (before.effective != after.effective).then(|| Line::Kernel {
            time,
            member: name(),
            group: self.setup.configs[0].groups()[usize::from(GROUP.0)]
                .name
                .clone(),
            effective: after.effective,
        });
        for line in [process, kernel].into_iter().flatten() {
            self.write(&mut member.log, line);
        }
    }

    fn name(&self, member: &MemberState) -> String {
        self.setup.name(member.machine).to_owned()
    }
}

impl Parts for Timed {
    type Member = TimedMember;
    type Advert = Arc<Advert>;

    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn member(&self, member: MemberState) -> TimedMember {
        TimedMember {
            facts: member.facts(&self.setup, START),
            member,
            now: START,
            time: Span::ZERO,
            log: Vec::new(),
        }
    }

    fn facts(&self, member: &TimedMember) -> Facts {
        member.facts
    }

    fn change(
        &self,
        of: &TimedMember,
        stimulus: &Stimulus<&Arc<Advert>>,
        ending: Ending,
    ) -> Option<Changed<TimedMember, Arc<Advert>>> {
        let (now, time) = (of.now, of.time);
        let name = self.name(&of.member);
        let mut log = of.log.clone();
        let begins = match stimulus {
            Stimulus::Start => Some(self.setup.has_second_file(of.member.stage)),
            Stimulus::StartOther => Some(!self.setup.has_second_file(of.member.stage)),
            _ => None,
        };
        if let Some(second) = begins {
            let start = Line::Start {
                member: name.clone(),
                at: now,
                time: Some(time),
                incarnation: incarnation(of.member.machine, of.member.lives + 1),
                earlier: of.member.earlier,
                doubts: {
                    let stage = self.setup.begins(second);
                    let begins = MemberState {
                        stage,
                        ..of.member.clone()
                    };
                    begins.doubts_at_start(&self.setup)
                },
                spec: second.then(|| Box::new(self.setup.other.clone())),
            };
            self.write_turn(of.member.machine, &mut log, start);
        }
        let stimulus = stimulus.map(|advert| &**advert);
        let mut told = |heard: Heard<'_>| {
            let line = match heard {
                Heard::Turn(turn) => turn.line(&name, Some(time)),
                Heard::Changed(changed) => changed.line(&name, Some(time)),
            };
            self.write_turn(of.member.machine, &mut log, line);
        };
        let turn = of
            .member
            .change_told(&self.setup, now, &stimulus, ending, Some(&mut told))?;
        let facts = of.facts;
        let after = |member| {
            let mut after = TimedMember {
                member,
                facts,
                now,
                time,
                log,
            };
            self.compare(&facts, &mut after);
            after
        };
        Some(turn.map(after, Arc::from))
    }

    fn aged(&self, of: &TimedMember, beginning: u8) -> TimedMember {
        let mut after = of.clone();
        let rate = self.setup.ticks(beginning)[usize::from(of.member.machine)];
        after.now = of.now.plus(Span::from_nanos(rate));
        after.time = of.time.plus(self.setup.tick());
        let timing = of.member.config(&self.setup).timing();
        let open = |deadline: &LocalTime| timing.surely_over(*deadline) > after.now;
        after.member.kernel.deadline = of.member.kernel.deadline.filter(open);
        self.compare(&of.facts, &mut after);
        after
    }

    fn advert_aged(&self, advert: &Arc<Advert>, _: u8) -> Arc<Advert> {
        Arc::clone(advert)
    }

    fn life(&self, advert: &Arc<Advert>) -> Incarnation {
        advert.incarnation
    }

    fn is_answer(&self, advert: &Arc<Advert>) -> bool {
        is_answer(advert)
    }
}
