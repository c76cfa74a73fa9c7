//! a holder that hears another.

use crate::config::Arbitration;
use crate::effect::{Effect, Event, Why};
use crate::group::{Group, View};
use crate::role::{Conflict, Role};
use crate::session::Session;
use alloc::vec::Vec;

impl Group {
    /// what an accepted advert of `from` tells a holder; `back`: it had not been heard before.
    pub(crate) fn meet(
        &mut self,
        view: &View<'_>,
        from: &Session,
        back: bool,
        out: &mut Vec<Effect>,
    ) {
        let Role::Holder { conflict, .. } = &mut self.role else {
            return;
        };
        let group = view.group;
        let holds = from.says(view.index).holds;
        // A word that waited somewhere is no proof; one that echoes what we said less than D ago is.
        if holds && from.two_way() && *conflict != Conflict::Proven {
            *conflict = Conflict::Proven;
            let peer = from.peer;
            out.push(Effect::Report(Event::Conflict { group, peer }));
        } else if holds && *conflict == Conflict::None {
            *conflict = Conflict::Heard;
        }
        // A witness, which never holds, tells nothing of the other candidate.
        let of_peer = matches!(conflict, Conflict::Heard | Conflict::Proven);
        let over = of_peer && !holds && view.config.is_candidate(from.peer);
        if over {
            *conflict = Conflict::None;
        }
        if over || back {
            self.announce(view, out);
        }
        // by static preference one stays; readiness may flip in flight. Any word will do: letting
        // go is the safe side.
        let survivor = view.config.arbitration() == Arbitration::Survivor;
        if holds && survivor && !view.is_preferred(view.config.me()) {
            self.release(view, Why::Conflict, None, out);
        }
    }

    /// what a new word of a stranger tells a holder. The later one in the order lets go at once, if the
    /// word shows that it was sent just now. Under `survivor`, whatever the order, and whether it shows that or
    /// not, so does one that hears for P that the other holds: that one does not hear it, or goes by another
    /// rule. (Under `majority` no recording may end a hold.)
    pub(crate) fn meet_stranger(&mut self, view: &View<'_>, word: Strange, out: &mut Vec<Effect>) {
        let (group, now) = (view.group, view.now);
        if word.back {
            self.announce(view, out);
        }
        let Role::Holder { conflict, .. } = &mut self.role else {
            return;
        };
        let since = match (word.holds, *conflict) {
            (true, Conflict::Strange { since }) => since,
            (true, Conflict::None | Conflict::Heard | Conflict::Proven) => {
                out.push(Effect::Report(Event::Strange { group }));
                now
            }
            (false, Conflict::Strange { .. }) if word.another => return,
            (false, Conflict::Strange { .. }) => {
                *conflict = Conflict::None;
                self.announce(view, out);
                return;
            }
            (false, Conflict::None | Conflict::Heard | Conflict::Proven) => return,
        };
        *conflict = Conflict::Strange { since };
        let survivor = view.config.arbitration() == Arbitration::Survivor;
        let lasts = survivor && now >= since.plus(view.timing().presume_after());
        if word.first && word.proven || lasts {
            self.release(view, Why::Strange, None, out);
        }
    }
}

/// What a stranger's word says to a holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strange {
    /// It holds some group. Numbers of groups can't be compared: that may be any of ours.
    pub(crate) holds: bool,
    /// It comes first in the order that both can tell.
    pub(crate) first: bool,
    /// It echoes an advert of ours that is less than D old: no recording does.
    pub(crate) proven: bool,
    /// No stranger had been heard before.
    pub(crate) back: bool,
    /// Another one than this says that it holds.
    pub(crate) another: bool,
}
