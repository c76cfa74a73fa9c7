//! Probes: echo requests to a group's addresses, and who answers them.

use super::super::plan::Plan;
use super::super::record::What;
use super::super::rng::Rng;
use super::{Machine, World, at};
use crate::fault::Passing;
use onehold::driver::ShellEvent;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::time::LocalTime;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Probes that are under way, by when they arrive and number.
#[derive(Debug)]
pub(super) struct Probes {
    /// Of their own, so that a probe changes nothing of what becomes of adverts.
    rng: Rng,
    next: u64,
    asked: BTreeMap<(u64, u64), Probe>,
}

/// Answers for a process, by when they arrive and number.
pub(super) type Answers = BTreeMap<(u64, u64), (GroupId, LocalTime)>;

#[derive(Debug)]
struct Probe {
    from: MemberId,
    /// The life that asked: the answer to another one's probe does not fit its key.
    life: u32,
    to: MemberId,
    group: GroupId,
    probed_at: LocalTime,
}

impl Probes {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            rng: Rng::new(plan.seed, "probes"),
            next: 0,
            asked: BTreeMap::new(),
        }
    }
}

impl World {
    /// Asks every other machine, from an address of this one, if the plan lets it ask.
    pub(super) fn probe(&mut self, now: u64, from: MemberId, group: GroupId, at: LocalTime) {
        if !self.plan.evidence || !self.member(from).addressed {
            return;
        }
        self.record(now, Some(from), What::Probed(group));
        let life = self.member(from).life;
        for to in self.plan.ids().filter(|to| *to != from) {
            if let Some(due) = self.crosses(now, from, to, Passing::probes) {
                let probe = Probe {
                    from,
                    life,
                    to,
                    group,
                    probed_at: at,
                };
                self.probes.next += 1;
                self.probes.asked.insert((due, self.probes.next), probe);
            }
        }
    }

    /// When what leaves now on the addresses' network arrives, if it does.
    fn crosses(
        &mut self,
        now: u64,
        from: MemberId,
        to: MemberId,
        passes: fn(Passing) -> bool,
    ) -> Option<u64> {
        let link = self.link(0, from, to);
        let (passing, conditions) = (link.passing, link.conditions);
        let rng = &mut self.probes.rng;
        // What is corrupted fails its checksum.
        let lost = rng.percent(conditions.loss) || rng.percent(conditions.corrupt);
        if lost || !passes(passing) {
            return None;
        }
        let straggles = rng.percent(conditions.straggle);
        let extra = conditions.extra(rng, straggles);
        Some(now.saturating_add(self.plan.tick.as_nanos() + extra))
    }

    /// Every probe that has arrived by now is answered where its address answers.
    pub(super) fn answer_probes(&mut self, now: u64) {
        while let Some(first) = self.probes.asked.first_entry().filter(|e| e.key().0 <= now) {
            let ((_, id), probe) = first.remove_entry();
            if !self.answers_for(probe.from, probe.to, probe.group) {
                continue;
            }
            let back = self.crosses(now, probe.to, probe.from, Passing::answers);
            let asker = self.member(probe.from);
            if let (Some(due), true) = (back, asker.life == probe.life) {
                let answer = (probe.group, probe.probed_at);
                asker.answers.insert((due, id), answer);
                self.stir(probe.from);
            }
        }
    }

    /// A machine answers for an address that is in another member's group.
    fn answers_for(&self, asker: MemberId, other: MemberId, group: GroupId) -> bool {
        let (asker, other) = (&self.members[at(asker)], &self.members[at(other)]);
        if other.machine != Machine::On {
            return false;
        }
        let asked = self.plan.number_in(&asker.config, group);
        let asked: Vec<IpAddr> = asker.addresses(asked).collect();
        let gates = (0u8..).map(GroupId).zip(&other.gates);
        let mut open = gates.filter(|(_, gate)| gate.effective);
        open.any(|(group, _)| {
            let number = self.plan.number_in(&other.config, group);
            other.addresses(number).any(|a| asked.contains(&a))
        })
    }

    /// The answers that are there by now wait for the process.
    pub(in crate::simulator) fn hand_over_answers(&mut self, now: u64, id: MemberId) {
        loop {
            let member = self.member(id);
            let first = member.answers.first_entry();
            let Some(first) = first.filter(|e| e.key().0 <= now) else {
                return;
            };
            let (group, probed_at) = first.remove();
            let cluster = 0;
            member.inbox.push_back(ShellEvent::ProbeAnswered {
                cluster,
                group,
                probed_at,
            });
            self.record(now, Some(id), What::ProbeAnswered(group));
        }
    }

    /// When the next answer to a probe is there.
    pub(in crate::simulator) fn answer_due(&self, id: MemberId) -> Option<u64> {
        let answers = &self.members[at(id)].answers;
        answers.first_key_value().map(|((due, _), _)| *due)
    }
}
