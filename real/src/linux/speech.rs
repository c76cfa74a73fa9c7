//! Whether this host lets its member's adverts leave. A member that nobody can hear, and that can
//! know it, must not take silence for death.

use crate::socket::KeptIn;
use onehold_core::time::{LocalTime, Span};

/// What became of what this member sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Speech(Option<KeptIn>);

impl Speech {
    /// Notes since when nothing has left for any member. A network or a firewall that is being
    /// reconfigured lets nothing leave for a moment, so nothing follows before `grace` is over. (A
    /// peer that is off leaves its route where it was.)
    pub(super) fn look(
        &mut self,
        kept_in: Option<(LocalTime, KeptIn)>,
        now: LocalTime,
        grace: Span,
    ) {
        let lasts = kept_in.filter(|(since, _)| now >= since.plus(grace));
        self.0 = lasts.map(|(_, why)| why);
    }

    /// Why nothing may be held here, if so.
    pub(super) fn fault(self) -> Option<String> {
        let why = match self.0? {
            KeptIn::Unrouted => {
                "this host has no route to any other member: is its network up? `ip route` shows what there is"
            }
            KeptIn::Forbidden => {
                "this host forbids all that is sent to the other members, so nobody hears this one: look at \
                 its firewall's rules for what leaves (UDP)"
            }
        };
        Some(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_in_for_a_moment_is_no_fault_and_what_lasts_is_one_until_something_leaves() {
        let at = |ms| LocalTime::from_nanos(0).plus(Span::from_millis(ms));
        let grace = Span::from_millis(200);
        let mut speech = Speech::default();
        for (ms, since, fault) in [
            (0, Some(0), false),
            (199, Some(0), false),
            (200, Some(0), true),
            (300, None, false),
            (400, Some(350), false),
            (550, Some(350), true),
        ] {
            let kept_in = since.map(|ms| (at(ms), KeptIn::Forbidden));
            speech.look(kept_in, at(ms), grace);
            assert_eq!(speech.fault().is_some(), fault, "{ms}");
        }
    }
}
