//! What may happen next: every choice that the adversary has.

use super::{ALL, Action, Done, Ending, Hears, How, Kept, Parts, Sent, World};
use crate::liveness::Liveness;
use crate::properties::{Facts, MAX};
use arrayvec::ArrayVec;

/// Whether all before it have run in this tick.
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
        let prompt = settled || adversary.patience > 0; // where time is counted, preparing takes none
        let all = self.facts(parts);
        let may_stop = self.may_stop(&all);
        let mut blocked = false;
        for (m, facts) in (0u8..).zip(&all) {
            let up = facts.process == Liveness::Up;
            blocked |= up && (facts.due || facts.releasing && timely || facts.preparing && prompt);
            blocked |= calm && facts.process == Liveness::Paused;
            if let Some(up) = self.port(parts, m, facts) {
                blocked = true;
                self.turns(parts, m, How::Port(up), visit);
                continue;
            }
            if up && facts.releasing {
                self.turns(parts, m, How::Released, visit);
            }
            if up && facts.preparing {
                self.turns(parts, m, How::Prepared(true), visit);
                if !calm && self.rest.flips > 0 {
                    self.turns(parts, m, How::Prepared(false), visit);
                }
            }
            if up && facts.due && (adversary.any_order || is_first(m, &all)) {
                self.runs(parts, m, visit);
            }
            if facts.process == Liveness::Paused {
                self.turns(parts, m, How::Resume, visit);
            }
            if !calm {
                self.faults(parts, m, facts, may_stop, visit);
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
        }
    }

    /// Whether nothing goes wrong any more but the cuts.
    fn is_calm(&self, parts: &impl Parts<Member = M, Advert = A>) -> bool {
        self.is_settled() && !parts.setup().adversary.restless
    }

    /// Whether a process may be stopped now.
    fn may_stop(&self, all: &[Facts]) -> bool {
        self.rest.stops > 0 && all.iter().all(|f| f.process != Liveness::Paused)
    }

    /// What the adversary and the operators may do to a member.
    fn faults(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        m: u8,
        facts: &Facts,
        may_stop: bool,
        visit: &mut impl FnMut(Action, Self, Done),
    ) {
        let adversary = &parts.setup().adversary;
        if facts.process == Liveness::Down {
            if facts.lives < adversary.lives {
                self.turns(parts, m, How::Start, visit);
            }
            return;
        }
        if self.rest.crashes > 0 {
            self.turns(parts, m, How::Crash, visit);
            if adversary.power {
                self.turns(parts, m, How::PowerOff, visit);
            }
        }
        if facts.process != Liveness::Up {
            return;
        }
        if may_stop {
            self.turns(parts, m, How::Stop, visit);
        }
        if !parts.setup().is_candidate(m) {
            return;
        }
        if self.rest.commands > 0 {
            for command in &adversary.says {
                self.turns(parts, m, How::Operator(*command), visit);
            }
        }
        if self.rest.flips > 0 {
            self.turns(parts, m, How::Healthy(!facts.healthy), visit);
            self.turns(parts, m, How::Eligible(!facts.eligible), visit);
        }
    }

    /// All ways in which one change may go.
    fn turns(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        how: How<u8>,
        visit: &mut impl FnMut(Action, Self, Done),
    ) {
        let effects = match &how {
            How::Released => self.effects(parts, member, how),
            _ => 0,
        };
        for ending in self.endings(parts, effects) {
            if let Some((next, done, sent)) = self.turn(parts, member, how, ending) {
                next.each_kept(parts, member, &sent, &mut |kept, next, overflow| {
                    let action = Action::Turn {
                        member,
                        how,
                        ending,
                        kept,
                    };
                    visit(action, next, Done { overflow, ..done });
                });
            }
        }
    }

    /// How many effects a change has to do.
    fn effects(&self, parts: &impl Parts<Member = M, Advert = A>, member: u8, how: How<u8>) -> u8 {
        let n = self.members.len();
        let m = usize::from(member);
        let turn = match how {
            How::Receive(from) => {
                let advert = &self.links[usize::from(from) * n + m][0];
                parts.change(&self.members[m], &How::Receive(advert), Ending::Whole)
            }
            other => {
                let other = other.map(|_| unreachable!("it is not received"));
                parts.change(&self.members[m], &other, Ending::Whole)
            }
        };
        turn.map_or(0, |t| t.effects)
    }

    /// How a turn with so many effects may end.
    fn endings(&self, parts: &impl Parts<Member = M, Advert = A>, effects: u8) -> Vec<Ending> {
        let adversary = &parts.setup().adversary;
        let mut endings = vec![Ending::Whole];
        if self.is_calm(parts) || !adversary.in_turn {
            return endings;
        }
        if self.rest.crashes > 0 {
            endings.extend((0..effects).map(Ending::Dies));
        }
        if self.may_stop(&self.facts(parts)) {
            endings.extend((0..effects).map(Ending::Stops));
        }
        endings
    }

    /// All runs of a member: whom it hears in which order, where it ends, what is kept back, what is lost.
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
            vec![Hears::NOBODY.and(&there)]
        } else if adversary.timely || self.is_settled() {
            let spare = u8::from(self.rest.stragglers > 0) + self.rest.losses;
            Hears::all_but(&there, member, usize::from(spare))
        } else {
            Hears::all(&there)
        };
        for hears in orders {
            let last = hears.senders().last();
            let how = last.map_or(How::Wake, How::Receive);
            // What is heard before may give the last turn more to do; an ending past the last effect is
            // one after the turn.
            let effects = if adversary.in_turn {
                self.effects(parts, member, how) + 4 * u8::from(hears.senders().count() > 1)
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
                    let Some((next, done, sent)) = self.run(parts, member, hears, ending, *back)
                    else {
                        continue;
                    };
                    next.each_kept(parts, member, &sent, &mut |kept, next, overflow| {
                        let action = Action::Run {
                            member,
                            hears,
                            ending,
                            back: *back,
                            kept,
                        };
                        visit(action, next, Done { overflow, ..done });
                    });
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
        visit: &mut impl FnMut(Kept, Self, bool),
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
            // Of several that are sent in one run any may be the one that is not lost.
            let base: ArrayVec<u32, 128> = choices.take();
            for digit in 0..adverts.len() as u32 {
                choices.extend(base.iter().map(|c| c | digit << at));
            }
        }
        let last = choices.pop();
        for kept in choices.into_iter().map(Kept) {
            let mut next = self.clone();
            let overflow = next.put(parts, from, sent, kept);
            visit(kept, next, overflow);
        }
        if let Some(kept) = last.map(Kept) {
            let mut next = self;
            let overflow = next.put(parts, from, sent, kept);
            visit(kept, next, overflow);
        }
    }
}
