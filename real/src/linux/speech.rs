//! Whether this host lets its member's adverts leave. A member that nobody can hear, and that can
//! know it, must not take silence for death. One that its peer still hears, by Ethernet
//! frames, is not cut off; but clients, too, may be behind what keeps its datagrams in, so the
//! other candidate is better off.

use crate::socket::KeptIn;
use onehold_core::time::{LocalTime, Span};

/// What became of what this member sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Speech {
    /// Why no datagram leaves, if none has for long.
    kept_in: Option<KeptIn>,
    /// Frames reach the peer all the same.
    frames_pass: bool,
}

impl Speech {
    /// Notes since when no datagram has left for any member, and whether frames reach the peer. A
    /// network or a firewall that is being reconfigured lets nothing leave for a moment, so nothing
    /// follows before `grace` is over. (A peer that is off leaves its route where it was.)
    pub(super) fn look(
        &mut self,
        kept_in: Option<(LocalTime, KeptIn)>,
        frames_pass: impl Fn(LocalTime) -> bool,
        now: LocalTime,
        grace: Span,
    ) {
        let lasts = kept_in.filter(|(since, _)| now >= since.plus(grace));
        *self = Self {
            kept_in: lasts.map(|(_, why)| why),
            frames_pass: lasts.is_some_and(|(since, _)| frames_pass(since)),
        };
    }

    /// Why nothing may be held here, if so: this member is cut off.
    pub(super) fn fault(self) -> Option<String> {
        let why = match self.kept_in.filter(|_| !self.frames_pass)? {
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

    /// Why the other candidate is better off, if so: this member is heard by frames only.
    pub(super) fn weakness(self) -> Option<String> {
        let why = match self.kept_in.filter(|_| self.frames_pass)? {
            KeptIn::Unrouted => {
                "this host has no route to the other member, and only Ethernet frames get there: is its network \
                 up? `ip route` shows what there is"
            }
            KeptIn::Forbidden => {
                "this host forbids all that is sent to the other member, and only Ethernet frames get there: \
                 look at its firewall's rules for what leaves (UDP)"
            }
        };
        Some(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(0).plus(Span::from_millis(ms))
    }

    const GRACE: Span = Span::from_millis(200);

    #[test]
    fn what_is_kept_in_for_a_moment_is_no_fault_and_what_lasts_is_one_until_something_leaves() {
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
            speech.look(kept_in, |_| false, at(ms), GRACE);
            assert_eq!(speech.fault().is_some(), fault, "{ms}");
            assert_eq!(speech.weakness(), None);
        }
    }

    #[test]
    fn one_that_is_heard_by_frames_is_not_cut_off_and_the_other_one_is_better_off() {
        let mut speech = Speech::default();
        for (ms, pass, fault, weak) in [
            (100, true, false, false),
            (200, true, false, true),
            (300, false, true, false),
            (400, true, false, true),
        ] {
            let kept_in = Some((at(0), KeptIn::Unrouted));
            let frames_pass = |since| {
                assert_eq!(since, at(0));
                pass
            };
            speech.look(kept_in, frames_pass, at(ms), GRACE);
            let seen = (speech.fault().is_some(), speech.weakness().is_some());
            assert_eq!(seen, (fault, weak), "{ms}");
        }
    }
}
