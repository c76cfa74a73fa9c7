//! What may happen next: every choice that the adversary has.

use super::{ALL, Action, Delivery, Done, Ending, Parts, Reception, Sent, Stimulus, World};
use crate::liveness::Liveness;
use crate::properties::{Facts, MAX};
use arrayvec::ArrayVec;

/// Whether all members before this one have run in this tick.
fn is_first(member: u8, all: &[Facts]) -> bool {
    let before = &all[..usize::from(member)];
    !before.iter().any(|f| f.process == Liveness::Up && f.due)
}

impl<M: Clone, A: Clone> World<M, A> {
    /// What may happen next, in a fixed order.
    pub fn actions(&self, parts: &impl Parts<Member = M, Advert = A>, out: &mut Vec<Action>) {
        self.expand(parts, &mut |action, _, _| out.push(action));
    }

    /// Every next world, with the action that leads there, in a fixed order.
    pub fn expand(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        visit: &mut impl FnMut(Action, Self, Done),
    ) {
        let adversary = &parts.setup().adversary;
        let settled = self.is_settled();
        let calm = self.is_calm(parts);
        let timely = settled || adversary.timely;
        let prompt = settled || adversary.settle_bound > 0; // where time is counted, preparing takes none
        let all = self.facts(parts);
        let may_pause = self.may_pause(&all);
        let mut blocked = false;
        for (m, facts) in (0u8..).zip(&all) {
            let up = facts.process == Liveness::Up;
            blocked |= up && (facts.due || facts.releasing && timely);
            blocked |= up && facts.preparing && prompt;
            blocked |= up && facts.may_step && !adversary.steps_wait;
            blocked |= calm && facts.process == Liveness::Paused;
            if let Some(up) = self.port(parts, m, facts) {
                blocked = true;
                self.turns(parts, m, Stimulus::Port(up), visit);
                continue;
            }
            if up && facts.releasing {
                self.turns(parts, m, Stimulus::Released, visit);
            }
            if up && facts.preparing {
                self.turns(parts, m, Stimulus::Prepared(true), visit);
                if !calm && self.rest.flips > 0 {
                    self.turns(parts, m, Stimulus::Prepared(false), visit);
                }
            }
            if up && facts.may_step && !facts.due {
                self.turns(parts, m, Stimulus::Step, visit);
            }
            if up && facts.due && (adversary.any_order || is_first(m, &all)) {
                self.runs(parts, m, visit);
            }
            if facts.process == Liveness::Paused {
                self.turns(parts, m, Stimulus::Resume, visit);
            }
            if !calm {
                self.faults(parts, m, facts, may_pause, visit);
            }
        }
        if self.rest.changes > 0 {
            for cuts in (0u8..).take(adversary.cuts.len()) {
                if self.rest.settled != cuts + 1 {
                    visit(
                        Action::Settle(cuts),
                        self.settle(parts, cuts),
                        Done::default(),
                    );
                }
            }
        }
        if !blocked {
            visit(Action::Tick, self.tick(parts), Done::default());
            let may_stand = |m: &u8| !calm && parts.setup().is_candidate(*m);
            for m in (0u8..).take(all.len()).filter(may_stand) {
                if let Some(next) = self.still(parts, m) {
                    visit(Action::Still(m), next, Done::default());
                }
            }
        }
    }

    /// Whether nothing goes wrong any more but the cuts.
    fn is_calm(&self, parts: &impl Parts<Member = M, Advert = A>) -> bool {
        self.is_settled() && !parts.setup().adversary.restless
    }

    /// Whether a process may be paused now.
    fn may_pause(&self, all: &[Facts]) -> bool {
        self.rest.pauses > 0 && all.iter().all(|f| f.process != Liveness::Paused)
    }

    /// What the adversary and the operators may do to a member.
    fn faults(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        m: u8,
        facts: &Facts,
        may_pause: bool,
        visit: &mut impl FnMut(Action, Self, Done),
    ) {
        let adversary = &parts.setup().adversary;
        if facts.process == Liveness::Down {
            if facts.lives < adversary.lives {
                self.turns(parts, m, Stimulus::Start, visit);
                if self.rest.reloads > 0 {
                    self.turns(parts, m, Stimulus::StartOther, visit);
                }
            }
            return;
        }
        if self.rest.crashes > 0 {
            self.turns(parts, m, Stimulus::Crash, visit);
            if adversary.power {
                self.turns(parts, m, Stimulus::PowerOff, visit);
            }
        }
        if facts.process != Liveness::Up {
            return;
        }
        if may_pause {
            self.turns(parts, m, Stimulus::Pause, visit);
        }
        if self.rest.reloads > 0 && !facts.due {
            self.turns(parts, m, Stimulus::Reload, visit);
        }
        if !parts.setup().is_candidate(m) {
            return;
        }
        if self.rest.commands > 0 {
            for command in &adversary.says {
                self.turns(parts, m, Stimulus::Operator(*command), visit);
            }
        }
        if self.rest.flips > 0 {
            self.turns(parts, m, Stimulus::Healthy(!facts.healthy), visit);
            self.turns(parts, m, Stimulus::Eligible(!facts.eligible), visit);
        }
    }

    /// All ways in which one change may go.
    fn turns(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        stimulus: Stimulus<u8>,
        visit: &mut impl FnMut(Action, Self, Done),
    ) {
        let effects = match &stimulus {
            Stimulus::Released | Stimulus::Reload | Stimulus::Step => {
                self.effects(parts, member, stimulus)
            }
            _ => 0,
        };
        for ending in self.endings(parts, effects) {
            if let Some((next, done, sent)) = self.turn(parts, member, stimulus, ending) {
                next.each_kept(parts, member, &sent, &mut |kept, next, overflow| {
                    let action = Action::Turn {
                        member,
                        stimulus,
                        ending,
                        kept,
                    };
                    visit(action, next, Done { overflow, ..done });
                });
            }
        }
    }

    /// How many effects a change has to do.
    fn effects(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        stimulus: Stimulus<u8>,
    ) -> u8 {
        let n = self.members.len();
        let m = usize::from(member);
        let turn = match stimulus {
            Stimulus::Receive(from) => {
                let advert = &self.links[usize::from(from) * n + m][0];
                parts.change(&self.members[m], &Stimulus::Receive(advert), Ending::Whole)
            }
            other => {
                let other = other.map(|_| unreachable!("it is not received"));
                parts.change(&self.members[m], &other, Ending::Whole)
            }
        };
        turn.map_or(0, |t| t.effects)
    }

    /// How a turn with this many effects may end.
    fn endings(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        effects: u8,
    ) -> ArrayVec<Ending, 64> {
        let adversary = &parts.setup().adversary;
        let mut endings = ArrayVec::new();
        endings.push(Ending::Whole);
        if self.is_calm(parts) || !adversary.in_turn {
            return endings;
        }
        if self.rest.crashes > 0 {
            endings.extend((0..effects).map(Ending::Dies));
        }
        if self.may_pause(&self.facts(parts)) {
            endings.extend((0..effects).map(Ending::Pauses));
        }
        endings
    }

    /// All runs of a member: what it hears in which order, where it ends, what is kept back, what
    /// is lost.
    fn runs(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        visit: &mut impl FnMut(Action, Self, Done),
    ) {
        let adversary = &parts.setup().adversary;
        let n = self.members.len();
        let there: ArrayVec<u8, MAX> = (0u8..)
            .take(n)
            .filter(|from| !self.links[usize::from(*from) * n + usize::from(member)].is_empty())
            .collect();
        let orders = if self.is_calm(parts) {
            vec![Reception::NOBODY.and(&there)]
        } else if adversary.timely || self.is_settled() {
            let spare = u8::from(self.rest.stragglers > 0) + self.rest.losses;
            Reception::all_but(&there, member, usize::from(spare))
        } else {
            Reception::all(&there)
        };
        for hears in orders {
            let last = hears.senders().last();
            let stimulus = last.map_or(Stimulus::Wake, Stimulus::Receive);
            // What is heard first may give the last turn more to do; an ending past the last effect
            // comes after the turn.
            let effects = if adversary.in_turn {
                self.effects(parts, member, stimulus) + 4 * u8::from(hears.senders().count() > 1)
            } else {
                0
            };
            let missed = there
                .iter()
                .filter(|f| **f != member && hears.senders().all(|h| h != **f));
            let can_keep = self.rest.stragglers > 0 && !self.is_calm(parts);
            let backs = missed.filter(|_| can_keep).map(|from| Some(*from));
            let backs: ArrayVec<Option<u8>, 8> = backs.chain([None]).collect();
            for ending in self.endings(parts, effects) {
                for back in &backs {
                    let mut loses = false;
                    for answered in [true, false] {
                        if !answered && !loses {
                            continue;
                        }
                        let run = self.run(parts, member, hears, ending, *back, answered);
                        let Some((next, done, sent)) = run else {
                            continue;
                        };
                        // There was an answer, and it may be lost as well.
                        loses = done.answered && !self.is_calm(parts);
                        next.each_kept(parts, member, &sent, &mut |kept, next, overflow| {
                            let action = Action::Run {
                                member,
                                hears,
                                ending,
                                back: *back,
                                answered,
                                kept,
                            };
                            visit(action, next, Done { overflow, ..done });
                        });
                    }
                }
            }
        }
    }

    /// Every choice of what becomes of what was sent.
    fn each_kept(
        self,
        parts: &impl Parts<Member = M, Advert = A>,
        from: u8,
        sent: &Sent<A>,
        visit: &mut impl FnMut(Delivery, Self, bool),
    ) {
        let adversary = &parts.setup().adversary;
        let timely = self.is_settled() || adversary.timely;
        let mut choices: ArrayVec<u32, 128> = ArrayVec::new();
        choices.push(0);
        for (to, adverts) in (0u32..).zip(sent) {
            let at = 4 * to;
            if adverts.is_empty() || timely {
                choices.iter_mut().for_each(|c| *c |= ALL << at);
                continue;
            }
            // Of several adverts that are sent in one run, any may be the one that is not lost.
            let base: ArrayVec<u32, 128> = choices.take();
            for digit in 0..adverts.len() as u32 {
                choices.extend(base.iter().map(|c| c | digit << at));
            }
        }
        let last = choices.pop();
        for kept in choices.into_iter().map(Delivery) {
            let mut next = self.clone();
            let overflow = next.put(parts, from, sent, kept);
            visit(kept, next, overflow);
        }
        if let Some(kept) = last.map(Delivery) {
            let mut next = self;
            let overflow = next.put(parts, from, sent, kept);
            visit(kept, next, overflow);
        }
    }
}
