//! The network: what becomes of each datagram.

use super::super::record::{Fate, Sent, Way, What};
use super::super::rng::Rng;
use super::{Datagram, Link, MAX_TAPE, Machine, Taped, World, at};
use crate::fault::{Conditions, Links, Passing};
use onehold_core::advert::MemberId;
use onehold_core::time::Span;
use std::collections::VecDeque;
use std::rc::Rc;

/// How many datagrams fit in a socket's send buffer: 212,992 bytes, in which each counts with its
/// overhead.
const SEND_BUFFER: usize = 277;
/// How many an interface without a cable keeps.
const INTERFACE_QUEUE: usize = 1_000;
/// A kernel asks three times, a second apart, for a hardware address, and then gives up what waits
/// for it.
const RESOLVES: Span = Span::from_millis(3_000);

impl Link {
    pub(super) const fn new(conditions: Conditions) -> Self {
        Self {
            passing: Passing::WELL,
            conditions,
            heard: None,
            waiting: VecDeque::new(),
            since: 0,
        }
    }
}

impl Conditions {
    /// How much longer than the least time it takes.
    pub(super) fn extra(&self, rng: &mut Rng, straggles: bool) -> u64 {
        let jitter = match self.jitter.0.as_nanos() {
            0 => 0,
            most => rng.below(most.saturating_add(1)),
        };
        let kept = match self.straggle_by.0.as_nanos() {
            most if straggles && most > 0 => rng.below(most),
            _ => 0,
        };
        (self.delay.0.as_nanos().saturating_add(jitter)).saturating_add(kept)
    }
}

impl World {
    /// An advert is handed to the network.
    pub(super) fn send(
        &mut self,
        now: u64,
        from: MemberId,
        to: MemberId,
        way: Way,
        bytes: &Rc<[u8]>,
    ) {
        let id = self.next_datagram;
        self.next_datagram += 1;
        let path = way.path();
        let conditions = self.link(path, from, to).conditions;
        let mut datagram = Datagram {
            from,
            way,
            bytes: Rc::clone(bytes),
        };
        if let Some(tape) = &mut self.tape {
            if tape.len() == MAX_TAPE {
                tape.pop_front();
            }
            let what = datagram.clone();
            tape.push_back(Taped { at: now, to, what });
        }
        let held = match way {
            Way::Path(path) => self.held(now, path, from, to),
            Way::Frame => self.held_frame(from, to),
        };
        let fate = match held {
            Some(fate) => fate,
            None => self.fate(&conditions),
        };
        if fate == Fate::Waits {
            let link = self.link(path, from, to);
            if link.waiting.is_empty() {
                link.since = now;
            }
            link.waiting.push_back((id, datagram.clone()));
        }
        let what = What::Sent(Sent {
            id,
            to,
            way,
            bytes: Rc::clone(bytes),
            fate,
        });
        self.record(now, Some(from), what);
        let Fate::Goes {
            twice,
            corrupt,
            straggles,
        } = fate
        else {
            return;
        };
        if way != Way::Frame && self.member(to).machine == Machine::On {
            self.hears(now, path, to, from);
        }
        if twice {
            let extra = conditions.extra(&mut self.rng, true);
            self.deliver_late(now.saturating_add(extra), id, to, datagram.clone());
        }
        if corrupt {
            let bit = self.rng.below(8 * bytes.len() as u64);
            let mut flipped = bytes.to_vec();
            if let Some(byte) = usize::try_from(bit / 8)
                .ok()
                .and_then(|i| flipped.get_mut(i))
            {
                *byte ^= 1 << (bit % 8);
            }
            datagram.bytes = flipped.into();
        }
        match conditions.extra(&mut self.rng, straggles) {
            0 => self.leaving.push((id, to, datagram)),
            extra => self.deliver_late(now.saturating_add(extra), id, to, datagram),
        }
    }

    /// What becomes of a datagram that does not even leave, or leaves for nowhere.
    fn held(&mut self, now: u64, path: u8, from: MemberId, to: MemberId) -> Option<Fate> {
        let passing = self.link(path, from, to).passing;
        if !self.member(from).addressed || !self.member(to).addressed {
            return Some(Fate::Cut);
        }
        if passing.later {
            return Some(self.kept(path, from, to));
        }
        if self.knows(now, path, from, to) {
            let full = self.plan.sending.one_buffer && self.waiting(now, from) >= SEND_BUFFER;
            let gone = !passing.datagrams();
            return match (full, gone) {
                (true, _) => Some(Fate::Refused),
                (false, true) => Some(Fate::Cut),
                (false, false) => None,
            };
        }
        let waiting = match self.plan.sending.one_buffer {
            true => self.waiting(now, from),
            false => self.waiting_for(now, path, from, to),
        };
        Some(if waiting >= SEND_BUFFER {
            Fate::Refused
        } else {
            Fate::Waits
        })
    }

    /// What becomes of a frame: it needs no address, and nobody is asked for one.
    fn held_frame(&mut self, from: MemberId, to: MemberId) -> Option<Fate> {
        let path = Way::Frame.path();
        let passing = self.link(path, from, to).passing;
        if passing.later {
            return Some(self.kept(path, from, to));
        }
        (!passing.frames()).then_some(Fate::Cut)
    }

    /// What becomes of what is sent by an interface without a cable.
    fn kept(&mut self, path: u8, from: MemberId, to: MemberId) -> Fate {
        match self.link(path, from, to).waiting.len() >= INTERFACE_QUEUE {
            true => Fate::Refused,
            false => Fate::Waits,
        }
    }

    /// Whether a machine knows another's hardware address, or gets an answer when it asks for it.
    fn knows(&mut self, now: u64, path: u8, from: MemberId, to: MemberId) -> bool {
        let lasts = self.plan.sending.forgets.map(|f| f.0.as_nanos());
        let fresh = |heard: u64| lasts.is_none_or(|lasts| now < heard.saturating_add(lasts));
        if self.link(path, from, to).heard.is_some_and(fresh) {
            return true;
        }
        let passes = |link: &Link| link.passing.anything;
        let both = passes(self.link(path, from, to)) && passes(self.link(path, to, from));
        let answers = both && self.member(to).machine == Machine::On;
        if answers {
            self.hears(now, path, from, to);
        }
        answers
    }

    /// A frame of one machine has reached another, which knows its hardware address from now on.
    fn hears(&mut self, now: u64, path: u8, who: MemberId, whom: MemberId) {
        let link = self.link(path, who, whom);
        link.heard = Some(now);
        if !link.passing.later && self.waiting_for(now, path, who, whom) > 0 {
            self.let_go(now, path, who, whom);
        }
    }

    /// How many datagrams fill the buffers of a member's sockets.
    fn waiting(&mut self, now: u64, from: MemberId) -> usize {
        let links = (0..self.plan.paths).flat_map(|p| self.plan.ids().map(move |to| (p, to)));
        let links: Vec<(u8, MemberId)> = links.collect();
        let each = links.into_iter();
        each.map(|(path, to)| self.waiting_for(now, path, from, to))
            .sum()
    }

    /// How many of them are for one member on one path; a kernel gives up those that have waited
    /// for long.
    fn waiting_for(&mut self, now: u64, path: u8, from: MemberId, to: MemberId) -> usize {
        let link = self.link(path, from, to);
        if link.passing.later {
            return 0; // they have left the socket
        }
        if now >= link.since.saturating_add(RESOLVES.as_nanos()) {
            link.waiting.clear();
        }
        link.waiting.len()
    }

    /// What has waited for these links arrives.
    pub(super) fn let_through(&mut self, now: u64, links: &Links) {
        let links = self.plan.links(links);
        for (path, from, to) in links.expect("a plan names links that there are") {
            self.let_go(now, path, from, to);
        }
    }

    fn let_go(&mut self, now: u64, path: u8, from: MemberId, to: MemberId) {
        for (id, datagram) in std::mem::take(&mut self.link(path, from, to).waiting) {
            self.deliver_late(now, id, to, datagram);
        }
    }

    /// A machine without power knows no neighbour, and keeps nothing.
    pub(super) fn forget_neighbours(&mut self, id: MemberId) {
        let members = self.members.len();
        let from = |n: &usize| n / members % members == at(id);
        for (_, link) in (0..).zip(&mut self.links).filter(|(n, _)| from(n)) {
            link.heard = None;
            link.waiting.clear();
        }
    }

    fn fate(&mut self, conditions: &Conditions) -> Fate {
        if self.rng.percent(conditions.loss) {
            return Fate::Lost;
        }
        Fate::Goes {
            twice: self.rng.percent(conditions.duplicate),
            corrupt: self.rng.percent(conditions.corrupt),
            straggles: self.rng.percent(conditions.straggle),
        }
    }

    fn deliver_late(&mut self, due: u64, id: u64, to: MemberId, what: Datagram) {
        // Not before the least time that the network takes.
        let due = due.saturating_add(self.plan.tick.as_nanos());
        self.member(to).late.insert((due, id), what);
        self.stir(to);
    }

    /// The next datagram that is there.
    pub(in crate::simulator) fn receive(
        &mut self,
        now: u64,
        to: MemberId,
    ) -> Option<(u64, Datagram)> {
        let member = self.member(to);
        member.socket.pop_front().or_else(|| {
            let late = member.late.first_entry().filter(|e| e.key().0 <= now)?;
            let ((_, id), what) = late.remove_entry();
            Some((id, what))
        })
    }

    pub(super) fn replay(&mut self, now: u64, links: &Links, back: Span, every: Span) {
        let Some(tape) = &self.tape else { return };
        let since = now.saturating_sub(back.as_nanos());
        let links = self
            .plan
            .links(links)
            .expect("a plan names links that there are");
        let fits =
            |t: &&Taped| t.at >= since && links.contains(&(t.what.way.path(), t.what.from, t.to));
        let again: Vec<(MemberId, Datagram)> = (tape.iter().filter(fits))
            .map(|t| (t.to, t.what.clone()))
            .collect();
        let mut due = now;
        for (to, what) in again {
            let id = self.next_datagram;
            self.next_datagram += 1;
            self.record(due, None, What::Replayed(id));
            self.deliver_late(due, id, to, what);
            due = due.saturating_add(every.as_nanos());
        }
    }
}
