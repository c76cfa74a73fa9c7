//! what a holder does while it holds: it renews, and hands over if it should and can.

use crate::config::{Arbitration, Failback};
use crate::effect::{Effect, Event, Why};
use crate::group::{Group, Seat};
use crate::input::Refusal;
use crate::role::{Role, Yield};
use alloc::vec::Vec;

impl Group {
    /// renews; R-12: hands over if it should and can.
    pub(crate) fn go_on_holding(&mut self, seat: &Seat<'_>, out: &mut Vec<Effect>) {
        let now = seat.now;
        if let Some(asked_at) = self.granted(seat) {
            self.extend_lease(seat.timing().lease_end(asked_at));
        }
        self.pace_failback(seat);
        let why = self.reason_to_yield(seat, out);
        if let Role::Holder { yields, .. } = &mut self.role {
            *yields = why.map(|why| match *yields {
                Some(y) if y.why == why => y,
                Some(_) | None => Yield { why, since: now },
            });
        }
        let sick = !self.healthy && seat.releases_when_unhealthy();
        let Some(rival) = seat.ready_rival() else {
            // `stop` lets go even if nobody is ready; so does a sick one that may not hold.
            if self.stopping {
                self.release(seat, Why::Stop, None, out);
            } else if sick {
                self.release(seat, Why::Unhealthy, None, out);
            } else if self.is_cut_off(seat) {
                self.release(seat, Why::Unable, None, out);
            }
            return;
        };
        let Some(yields) = self.role.yields() else {
            return;
        };
        // its latest advert asks, answers our wish, and gives a lease worth having.
        let answers = rival
            .life
            .as_ref()
            .and_then(|l| l.echo)
            .is_some_and(|echo| echo >= yields.since && seat.timing().useful(echo, now));
        if answers && rival.says(seat.index).asks {
            let heir = rival.peer;
            self.gave_away |= yields.why == Why::Switch;
            self.release(seat, yields.why, Some(heir), out);
        } else if yields.why == Why::Stop && seat.timing().bound_until(yields.since) <= now {
            self.release(seat, Why::Stop, None, out); // it had D to answer
        }
    }

    /// it can't serve, and may itself be the one that nobody hears: it does not go on by what it sends.
    fn is_cut_off(&self, seat: &Seat<'_>) -> bool {
        seat.config.arbitration() == Arbitration::Survivor && !self.eligible()
    }

    /// since when the preferred candidate, ready, has been asking.
    fn pace_failback(&mut self, seat: &Seat<'_>) {
        let asks = seat.failback() == Failback::Auto
            && seat
                .ready_rival()
                .is_some_and(|r| seat.is_preferred(r.peer) && r.says(seat.index).asks);
        let delay = seat
            .config
            .group(seat.group)
            .map(|g| g.failback_delay)
            .unwrap_or_default();
        if let Role::Holder { failback_at, .. } = &mut self.role {
            *failback_at = asks.then(|| failback_at.unwrap_or(seat.now.plus(delay)));
        }
    }

    /// why this holder should hand over, if it should.
    fn reason_to_yield(&self, seat: &Seat<'_>, out: &mut Vec<Effect>) -> Option<Why> {
        let Role::Holder {
            yields,
            failback_at,
            ..
        } = &self.role
        else {
            return None;
        };
        if self.stopping {
            return Some(Why::Stop);
        }
        seat.ready_rival()?;
        if self.standby {
            return Some(Why::Standby);
        }
        if let Some(Yield {
            why: Why::Switch,
            since,
        }) = yields
        {
            if seat.timing().bound_until(*since) > seat.now {
                return Some(Why::Switch);
            }
            let refusal = Refusal::NobodyReady; // it had D to answer
            out.push(Effect::Report(Event::Refused {
                group: seat.group,
                refusal,
            }));
        }
        if !self.healthy || !self.eligible() {
            return Some(Why::Unready);
        }
        failback_at
            .is_some_and(|at| at <= seat.now)
            .then_some(Why::Failback)
    }
}
