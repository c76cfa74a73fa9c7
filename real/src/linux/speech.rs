//! Whether this host lets its member speak. One that can be heard by nobody, and can know it, must not
//! take silence for death.

use onehold_core::time::{LocalTime, Span};

/// What became of what this member sends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speech {
    /// Since when the host has forbidden all of it.
    forbidden: Option<LocalTime>,
    over: bool,
}

impl Speech {
    /// Takes note of whether all that was sent last, to every member, was forbidden: rules that are loaded
    /// anew may do so for a moment, so nothing follows before `grace` is over.
    pub(super) fn look(&mut self, forbidden: bool, now: LocalTime, grace: Span) {
        self.forbidden = forbidden.then(|| self.forbidden.unwrap_or(now));
        self.over = (self.forbidden).is_some_and(|since| now >= since.plus(grace));
    }

    /// Why nothing may be held here, if so.
    pub(super) fn fault(self) -> Option<String> {
        self.over.then(|| {
            "this host forbids all that is sent to the other members, so nobody hears this one: look at its \
             firewall's rules for what leaves (UDP)"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forbidden_for_a_moment_is_no_fault_and_what_lasts_is_one_until_something_passes() {
        let at = |ms| LocalTime::from_nanos(0).plus(Span::from_millis(ms));
        let grace = Span::from_millis(200);
        let mut speech = Speech::default();
        for (ms, forbidden, fault) in [
            (0, true, false),
            (100, true, false),
            (150, false, false),
            (250, true, false),
            (449, true, false),
            (450, true, true),
            (550, true, true),
            (551, false, false),
        ] {
            speech.look(forbidden, at(ms), grace);
            assert_eq!(speech.fault().is_some(), fault, "{ms}");
        }
    }
}
