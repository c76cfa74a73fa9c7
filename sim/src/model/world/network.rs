//! The network: what is cut, whose port is down, and what becomes of what was sent.

use super::{ALL, Delivery, Parts, Rest, Sent, World};
use crate::liveness::Liveness;
use crate::properties::{Facts, MAX};

impl<M: Clone, A: Clone> World<M, A> {
    pub(super) fn settle(&self, parts: &impl Parts<Member = M, Advert = A>, cuts: u8) -> Self {
        let n = self.members.len();
        let mut next = self.clone();
        next.rest = Rest {
            beginning: self.rest.beginning,
            changes: self.rest.changes.saturating_sub(1),
            settled: cuts + 1,
            outage: self.rest.outage,
            overlap: self.rest.overlap,
            ..Rest::default()
        };
        if parts.setup().adversary.restless {
            next.rest.crashes = self.rest.crashes;
            next.rest.pauses = self.rest.pauses;
            next.rest.stragglers = self.rest.stragglers;
            next.rest.commands = self.rest.commands;
            next.rest.flips = self.rest.flips;
            next.rest.losses = self.rest.losses;
            next.rest.unanswered = self.rest.unanswered;
            next.rest.reloads = self.rest.reloads;
        }
        for i in 0..n * n {
            if next.is_cut(parts, i / n, i % n) {
                next.links[i].clear();
            }
        }
        next
    }

    pub(super) fn is_cut(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        from: usize,
        to: usize,
    ) -> bool {
        self.cuts(parts) & 1 << (from * MAX + to) != 0
    }

    fn cuts(&self, parts: &impl Parts<Member = M, Advert = A>) -> u32 {
        let cuts = &parts.setup().adversary.cuts;
        let settled = usize::from(self.rest.settled).checked_sub(1);
        settled.map_or(0, |i| cuts[i])
    }

    /// another kernel would answer what this member asks of the network, and it is heard.
    pub(super) fn answers(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: usize,
    ) -> bool {
        let answered = parts.setup().adversary.asks(self.cuts(parts), member);
        let others = self.members.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != member);
        answered && others.any(|(_, other)| parts.facts(other).effective)
    }

    /// The state of a member's port that its process has not been given yet. A cut from a member to
    /// itself is its port.
    pub(super) fn port(
        &self,
        parts: &impl Parts<Member = M, Advert = A>,
        member: u8,
        facts: &Facts,
    ) -> Option<bool> {
        let m = usize::from(member);
        let up = !self.is_cut(parts, m, m);
        let hears = parts.setup().adversary.has_ports() && facts.process != Liveness::Paused;
        (hears && facts.eligible != up).then_some(up)
    }

    /// Puts onto the links what was sent and is kept; says if there was no room where there should
    /// be.
    pub(super) fn put(
        &mut self,
        parts: &impl Parts<Member = M, Advert = A>,
        from: u8,
        sent: &Sent<A>,
        kept: Delivery,
    ) -> bool {
        let adversary = &parts.setup().adversary;
        let timely = self.is_settled() || adversary.timely;
        let (n, from) = (self.members.len(), usize::from(from));
        let mut overflow = false;
        for (to, adverts) in sent.iter().enumerate() {
            if let (true, Some(latest)) = (timely, adverts.last()) {
                // A receiver that did not run in this tick hears only the latest of each
                // incarnation.
                let life = parts.life(latest);
                self.links[from * n + to].retain(|a| parts.life(a) != life);
            }
            let down = timely && parts.facts(&self.members[to]).process == Liveness::Down;
            if self.is_cut(parts, from, to) || down {
                continue;
            }
            let digit = kept.0 >> (4 * to) & 0xf;
            for (i, advert) in (0u32..).zip(adverts) {
                // In one tick the later advert says all that the earlier said, except for answers
                // to knocks.
                let latest = i as usize + 1 == adverts.len();
                let all = digit == ALL && (latest || parts.is_answer(advert));
                if !all && digit != i {
                    continue;
                }
                let link = &mut self.links[from * n + to];
                if link.len() >= adversary.room {
                    overflow |= timely;
                    link.remove(0);
                }
                link.push(advert.clone());
            }
        }
        overflow
    }
}
