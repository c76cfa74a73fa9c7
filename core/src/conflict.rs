//! a holder that hears another holder, or that there must be one, and which of the
//! two lets go.

use crate::config::Arbitration;
use crate::effect::{Effect, Event, Why};
use crate::group::Group;
use crate::role::{Conflict, Role};
use crate::session::Session;
use crate::view::View;
use alloc::vec::Vec;

impl Group {
    /// what a holder does about an accepted advert of `from`; `back`: it is heard
    /// again, or another incarnation of it.
    pub(crate) fn meet(
        &mut self,
        view: &View<'_>,
        from: &Session,
        back: bool,
        out: &mut Vec<Effect>,
    ) {
        let Role::Holder { conflict, open, .. } = &mut self.role else {
            return;
        };
        let (group, open) = (view.group, *open);
        let says = from.says(view.index);
        let holds = says.holds;
        // One word proves nothing, for it may have waited somewhere. But the answer to an advert
        // that this holder sent since it first heard so does: both held when the answer was made.
        let over = match *conflict {
            Conflict::None | Conflict::Unheard { .. } if holds => {
                *conflict = Conflict::Heard { since: view.now };
                false
            }
            Conflict::Heard { since } if holds && from.echo() >= Some(since) => {
                *conflict = Conflict::Proven;
                let peer = from.peer;
                out.push(Effect::Report(Event::Conflict { group, peer }));
                false
            }
            // A witness never holds, and its word does not end the other candidate's conflict.
            Conflict::Heard { .. } | Conflict::Proven | Conflict::Unheard { .. }
                if !holds && view.config.is_candidate(from.peer) =>
            {
                *conflict = Conflict::None;
                true
            }
            Conflict::None
            | Conflict::Heard { .. }
            | Conflict::Proven
            | Conflict::Strange { .. }
            | Conflict::Unheard { .. } => false,
        };
        if over || back {
            self.announce(view, out);
        }
        // one that is still mute lets go for one that serves. R-15: of two alike one stays by
        // static preference, for readiness may flip in flight. Any word is enough: letting go is
        // the safe side.
        let lets_go = match (open, says.preparing) {
            (true, true) => false,
            (false, false) => true,
            (true, false) | (false, true) => !view.is_preferred(view.config.me()),
        };
        let survivor = view.config.arbitration() == Arbitration::Survivor;
        if holds && survivor && lets_go {
            self.release(view, Why::Conflict, None, out);
        } else if !survivor && view.is_outvoted() {
            // a majority gave the votes that the lease rests on, and while clocks keep their
            // rates they are bound for longer than it lasts.
            self.release(view, Why::Outvoted, None, out);
        }
    }

    /// what a holder does about a new word of a stranger. The later one in the order lets go
    /// at once, if the word is proven to be recent. Under `survivor` a holder also lets go, first
    /// or not, when it has heard for P that the stranger holds, proven or not: the stranger does
    /// not hear it, or goes by another rule. (Under `majority` no recording may end a hold.)
    pub(crate) fn meet_stranger(
        &mut self,
        view: &View<'_>,
        word: StrangeWord,
        out: &mut Vec<Effect>,
    ) {
        let (group, now) = (view.group, view.now);
        if word.lets_go {
            self.probes = None; // it answered before it let go
        }
        if word.back {
            self.announce(view, out);
        }
        let Role::Holder { conflict, .. } = &mut self.role else {
            return;
        };
        let since = match (word.holds, *conflict) {
            (true, Conflict::Strange { since }) => since,
            (
                true,
                Conflict::None
                | Conflict::Heard { .. }
                | Conflict::Proven
                | Conflict::Unheard { .. },
            ) => {
                out.push(Effect::Report(Event::Strange { group }));
                now
            }
            (false, Conflict::Strange { .. }) if word.another => return,
            (false, Conflict::Strange { .. }) => {
                *conflict = Conflict::None;
                self.announce(view, out);
                return;
            }
            (
                false,
                Conflict::None
                | Conflict::Heard { .. }
                | Conflict::Proven
                | Conflict::Unheard { .. },
            ) => return,
        };
        *conflict = Conflict::Strange { since };
        let survivor = view.config.arbitration() == Arbitration::Survivor;
        let lasts = survivor && now >= since.plus(view.timing().presume_after());
        if word.first && word.proven || lasts {
            self.release(view, Why::Strange, None, out);
        }
    }
}

/// A stranger's word, as a holder needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StrangeWord {
    /// The stranger holds some group: any of ours, for the numbers of groups can't be compared.
    pub(crate) holds: bool,
    /// The stranger comes first in the order of R-15.
    pub(crate) first: bool,
    /// The word echoes an advert of ours that is less than D old, which no recording does.
    pub(crate) proven: bool,
    /// No stranger was known before this word.
    pub(crate) back: bool,
    /// This stranger does not hold, and another one does.
    pub(crate) another: bool,
    /// This stranger held, and says that it does not any more.
    pub(crate) lets_go: bool,
}
