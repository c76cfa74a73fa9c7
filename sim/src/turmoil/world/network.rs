//! The network: what becomes of each datagram.

use super::super::plan::{Links, Weather};
use super::super::record::{Fate, Sent, What};
use super::{Datagram, MAX_TAPE, Taped, World};
use onehold_core::advert::MemberId;
use onehold_core::time::Span;
use std::rc::Rc;

impl World {
    /// A datagram is handed to the network.
    pub(super) fn send(
        &mut self,
        now: u64,
        from: MemberId,
        to: MemberId,
        path: u8,
        bytes: &Rc<[u8]>,
    ) {
        let id = self.next_datagram;
        self.next_datagram += 1;
        let weather = self.link(path, from, to).clone();
        let mut datagram = Datagram {
            from,
            path,
            bytes: Rc::clone(bytes),
        };
        if let Some(tape) = &mut self.tape {
            if tape.len() == MAX_TAPE {
                tape.pop_front();
            }
            let what = datagram.clone();
            tape.push_back(Taped { at: now, to, what });
        }
        let fate = self.fate(&weather);
        let what = What::Sent(Sent {
            id,
            to,
            path,
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
        if twice {
            let extra = self.extra(&weather, true);
            self.deliver_late(now.saturating_add(extra), id, to, datagram.clone());
        }
        if corrupt {
            let bit = self.dice.below(8 * bytes.len() as u64);
            let mut flipped = bytes.to_vec();
            if let Some(byte) = usize::try_from(bit / 8)
                .ok()
                .and_then(|i| flipped.get_mut(i))
            {
                *byte ^= 1 << (bit % 8);
            }
            datagram.bytes = flipped.into();
        }
        match self.extra(&weather, straggles) {
            0 => self.leaving.push((id, to, datagram)),
            extra => self.deliver_late(now.saturating_add(extra), id, to, datagram),
        }
    }

    fn fate(&mut self, weather: &Weather) -> Fate {
        if weather.cut {
            return Fate::Cut;
        }
        if self.dice.percent(weather.loss) {
            return Fate::Lost;
        }
        Fate::Goes {
            twice: self.dice.percent(weather.duplicate),
            corrupt: self.dice.percent(weather.corrupt),
            straggles: self.dice.percent(weather.straggle),
        }
    }

    /// How much longer than the least a datagram takes.
    fn extra(&mut self, weather: &Weather, straggles: bool) -> u64 {
        let jitter = match weather.jitter.as_nanos() {
            0 => 0,
            most => self.dice.below(most.saturating_add(1)),
        };
        let kept = match weather.straggle_by.as_nanos() {
            most if straggles && most > 0 => self.dice.below(most),
            _ => 0,
        };
        (weather.delay.as_nanos().saturating_add(jitter)).saturating_add(kept)
    }

    fn deliver_late(&mut self, due: u64, id: u64, to: MemberId, what: Datagram) {
        // Not before the least time that the network takes.
        let due = due.saturating_add(self.plan.tick.as_nanos());
        self.member(to).late.insert((due, id), what);
        self.stir(to);
    }

    /// The next datagram that is there.
    pub(in crate::turmoil) fn receive(
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
        let fits = |t: &&Taped| {
            t.at >= since
                && links.pairs.contains(&(t.what.from, t.to))
                && links.path.is_none_or(|p| p == t.what.path)
        };
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
