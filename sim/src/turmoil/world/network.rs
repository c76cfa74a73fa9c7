//! The network: what becomes of each datagram.

use super::super::plan::{Links, Weather};
use super::super::record::{Fate, Sent, What};
use super::{Late, MAX_TAPE, Taped, World};
use onehold_core::advert::MemberId;
use onehold_core::time::Span;
use onehold_core::wire;
use std::rc::Rc;

impl World {
    /// A datagram is handed to the network; says what is to arrive in the least time there is.
    pub(in crate::turmoil) fn send(
        &mut self,
        now: u64,
        from: MemberId,
        to: MemberId,
        path: u8,
        bytes: &[u8],
    ) -> Option<(u64, Vec<u8>)> {
        let id = self.next_datagram;
        self.next_datagram += 1;
        let weather = self.link(path, from, to).clone();
        let late = Late {
            from,
            path,
            bytes: bytes.to_vec(),
        };
        if let Some(tape) = &mut self.tape {
            if tape.len() == MAX_TAPE {
                tape.pop_front();
            }
            let what = late.clone();
            tape.push_back(Taped { at: now, to, what });
        }
        let fate = self.fate(&weather);
        let (key, advert) = (bytes.split_last_chunk::<{ wire::SEAL }>())
            .and_then(|(said, _)| wire::decode(said).ok())
            .expect("the driver sends nothing but adverts");
        let what = What::Sent(Sent {
            id,
            to,
            path,
            advert: Rc::new(advert),
            key,
            fate,
        });
        self.record(now, Some(from), what);
        let Fate::Goes {
            twice,
            corrupt,
            straggles,
        } = fate
        else {
            return None;
        };
        if twice {
            let extra = self.extra(&weather, true);
            self.deliver_late(now.saturating_add(extra), id, to, late.clone());
        }
        let mut late = late;
        if corrupt {
            let bit = self.dice.below(8 * late.bytes.len() as u64);
            if let Some(byte) = usize::try_from(bit / 8)
                .ok()
                .and_then(|i| late.bytes.get_mut(i))
            {
                *byte ^= 1 << (bit % 8);
            }
        }
        let extra = self.extra(&weather, straggles);
        if extra == 0 {
            return Some((id, late.bytes));
        }
        self.deliver_late(now.saturating_add(extra), id, to, late);
        None
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

    fn deliver_late(&mut self, due: u64, id: u64, to: MemberId, what: Late) {
        // Not before the least time that the network takes.
        let due = due.saturating_add(self.plan.tick.as_nanos());
        let member = self.member(to);
        member.late.insert((due, id), what);
        member.stir.notify_one();
    }

    /// A datagram that comes late, and has come.
    pub(in crate::turmoil) fn next_late(&mut self, now: u64, to: MemberId) -> Option<(u64, Late)> {
        let late = &mut self.member(to).late;
        let entry = late.first_entry().filter(|e| e.key().0 <= now)?;
        let ((_, id), what) = entry.remove_entry();
        Some((id, what))
    }

    pub(super) fn replay(&mut self, now: u64, links: &Links, back: Span, every: Span) {
        let Some(tape) = &self.tape else { return };
        let since = now.saturating_sub(back.as_nanos());
        let fits = |t: &&Taped| {
            t.at >= since
                && links.pairs.contains(&(t.what.from, t.to))
                && links.path.is_none_or(|p| p == t.what.path)
        };
        let again: Vec<(MemberId, Late)> = (tape.iter().filter(fits))
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
