//! what a holder does while it holds: it renews, and hands over if it should and can.
//! it lets go if it may be the one that is cut off.

use crate::config::{Arbitration, Failback};
use crate::effect::{Effect, Event, Why};
use crate::group::Group;
use crate::input::Refusal;
use crate::role::{Role, Unplanned, Yield};
use crate::session::Session;
use crate::time::Span;
use crate::view::View;
use alloc::vec::Vec;

/// after this long without an unplanned takeover, `failback_delay` is again what the file
/// says.
const QUIET: Span = Span::from_millis(3_600_000);

/// `failback_delay` is doubled so often at most: 64 times what the file says.
const MOST_DOUBLINGS: u8 = 6;

impl Group {
    /// renews; R-12: hands over if it should and can.
    pub(crate) fn go_on_holding(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        let now = view.now;
        if let Some(asked_at) = self.granted(view) {
            self.extend_lease(view.timing().lease_end(asked_at));
        }
        self.pace_failback(view);
        let why = self.reason_to_yield(view, out);
        if let Role::Holder { yields, .. } = &mut self.role {
            *yields = why.map(|why| match *yields {
                Some(y) if y.why == why => y,
                Some(_) | None => Yield { why, since: now },
            });
        }
        let sick = self.moves_for_health(view) && view.releases_when_unhealthy();
        let Some(other) = view.ready_other() else {
            // after `stop` it lets go even if the other is not ready, and so it does if it is
            // sick and the group says `release_when_unhealthy`.
            if self.stopping {
                self.release(view, Why::Stop, None, out);
            } else if sick {
                self.release(view, Why::Unhealthy, None, out);
            } else if self.is_cut_off(view) {
                self.release(view, Why::Unable, None, out);
            }
            return;
        };
        let Some(yields) = self.role.yields() else {
            return;
        };
        // the other's latest advert asks, answers our wish, and would give it a useful lease.
        let answers = other
            .echo()
            .is_some_and(|echo| echo >= yields.since && view.timing().useful(echo, now));
        if answers && other.says(view.index).asks {
            let successor = other.peer;
            self.gave_away |= yields.why == Why::Switch;
            self.release(view, yields.why, Some(successor), out);
        } else if yields.why == Why::Stop && view.timing().bound_until(yields.since) <= now {
            self.release(view, Why::Stop, None, out); // the other had D to answer
        }
    }

    /// the operator said `freeze` on one of the candidates.
    fn is_frozen(&self, view: &View<'_>) -> bool {
        self.frozen || view.other_is_frozen()
    }

    /// it is sick, and should not hold for that.
    fn moves_for_health(&self, view: &View<'_>) -> bool {
        // what is done before a gate opens may well be what makes the service healthy.
        !self.healthy && !self.role.prepares() && !self.is_frozen(view)
    }

    /// under `survivor`, it can't serve, so it may itself be the one that is cut off.
    fn is_cut_off(&self, view: &View<'_>) -> bool {
        view.config.arbitration() == Arbitration::Survivor && !self.eligible()
    }

    /// notes when the preferred candidate will have been asking, ready, for `failback_delay`.
    fn pace_failback(&mut self, view: &View<'_>) {
        let asks = view.failback() == Failback::Auto
            && !self.is_frozen(view)
            && view
                .ready_other()
                .is_some_and(|r| view.is_preferred(r.peer) && r.says(view.index).asks);
        let at = view.now.plus(self.failback_delay(view));
        if let Role::Holder {
            failback_at, open, ..
        } = &mut self.role
        {
            // what is mute would be handed over before anybody was served.
            *failback_at = (asks && *open).then(|| failback_at.unwrap_or(at).min(at));
        }
    }

    /// doubled by each unplanned takeover in a row but the first, so that a machine that
    /// crashes again and again does not move the address each time.
    fn failback_delay(&self, view: &View<'_>) -> Span {
        let delay = view.failback_delay();
        match self.unplanned {
            Some(Unplanned { times, at }) if view.now.since(at) < QUIET => {
                delay.times(1 << times.saturating_sub(1).min(MOST_DOUBLINGS))
            }
            Some(_) | None => delay,
        }
    }

    /// counts this takeover, unless the other candidate handed over.
    pub(crate) fn count_takeover(&mut self, view: &View<'_>) {
        let planned = core::mem::take(&mut self.handed_over);
        if view.failback_delay() == Span::ZERO || planned {
            return;
        }
        let before = self.unplanned.filter(|u| view.now.since(u.at) < QUIET);
        self.unplanned = Some(Unplanned {
            times: before.map_or(0, |u| u.times).saturating_add(1),
            at: view.now,
        });
    }

    /// a takeover was planned if the other, when it last said `holds`, said `yields`.
    pub(crate) fn note_hand_over(&mut self, view: &View<'_>, from: &Session) {
        let says = from.says(view.index);
        if says.holds && view.failback_delay() > Span::ZERO {
            self.handed_over = says.yields;
        }
    }

    /// why this holder should hand over, if it should.
    fn reason_to_yield(&self, view: &View<'_>, out: &mut Vec<Effect>) -> Option<Why> {
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
        let other_is_ready = view.ready_other().is_some();
        if self.standby && other_is_ready {
            return Some(Why::Standby);
        }
        if let Some(Yield {
            why: Why::Switch,
            since,
        }) = yields
        {
            if view.timing().bound_until(*since) > view.now {
                return Some(Why::Switch);
            }
            let refusal = Refusal::NobodyReady; // the other, ready or not, did not answer for D
            out.push(Effect::Report(Event::CommandRefused {
                group: view.group,
                refusal,
            }));
        }
        if !other_is_ready {
            return None;
        }
        if self.moves_for_health(view) || !self.eligible() {
            return Some(Why::Unready);
        }
        failback_at
            .is_some_and(|at| at <= view.now)
            .then_some(Why::Failback)
    }
}
