//! What members report, as a set: a bit for each rule that fired.

use onehold_core::effect::{Event, Why};
use onehold_core::observe::RoleName;

/// A set of what nodes report: each bit is a rule that fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Events(pub u32);

/// The names of the bits of [`Events`].
pub const EVENTS: [&str; 31] = [
    "majority",
    "peer silent",
    "presumed dead",
    "lease over",
    "failback",
    "switch",
    "standby",
    "unready",
    "unhealthy",
    "stop",
    "conflict release",
    "strange release",
    "answered release",
    "unable",
    "unprepared",
    "kernel refused",
    "released",
    "met",
    "lost",
    "opened",
    "back",
    "ready",
    "overslept",
    "two in sight",
    "strange",
    "answered",
    "outvoted",
    "clock went back",
    "command refused",
    "takes hold",
    "lets go",
];

impl Events {
    /// The bit of a name in [`EVENTS`].
    #[must_use]
    pub fn of(name: &str) -> Self {
        let bit = EVENTS.iter().position(|n| *n == name);
        Self(1 << bit.expect("a name of EVENTS"))
    }

    /// Whether all of `other` are in.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds what an event reports.
    pub(crate) fn add(&mut self, event: &Event) {
        let name = match event {
            Event::Role { from, to, why, .. } => {
                if *to == RoleName::Holder {
                    self.0 |= Self::of("takes hold").0;
                }
                if *from == RoleName::Holder {
                    self.0 |= Self::of("lets go").0;
                }
                match why {
                    Why::Majority => "majority",
                    Why::PeerSilent => "peer silent",
                    Why::PresumedDead => "presumed dead",
                    Why::LeaseOver => "lease over",
                    Why::Failback => "failback",
                    Why::Switch => "switch",
                    Why::Standby => "standby",
                    Why::Unready => "unready",
                    Why::Unhealthy => "unhealthy",
                    Why::Stop => "stop",
                    Why::Conflict => "conflict release",
                    Why::Strange => "strange release",
                    Why::Answered => "answered release",
                    Why::Unable => "unable",
                    Why::Unprepared => "unprepared",
                    Why::Outvoted => "outvoted",
                    Why::KernelRefused => "kernel refused",
                    Why::Released => "released",
                }
            }
            Event::Met { .. } => "met",
            Event::Lost { .. } => "lost",
            Event::Opened { .. } => "opened",
            Event::Back { .. } => "back",
            Event::Ready => "ready",
            Event::Overslept => "overslept",
            Event::Conflict { .. } => "two in sight",
            Event::Strange { .. } => "strange",
            Event::Answered { .. } => "answered",
            Event::ClockWentBack { .. } => "clock went back",
            Event::CommandRefused { .. } => "command refused",
        };
        self.0 |= Self::of(name).0;
    }
}
