//! What an event may cost, from the timing that the daemon reports.
//!
//! It is what [the book](../../../docs/src/safety.md) promises, less what the lease of a holder
//! that is frozen, killed or cut off still runs: its kernel answers until then. It counts on a
//! network that carries adverts, and on machines that run: what a drill then measures may be more.

use super::fault::Event;
use crate::status::{GroupStatus, Status};
use std::fmt;

/// A sum, with what it consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost(Vec<(String, f64)>);

impl Cost {
    /// What an event may cost. `before_hold_ms` is the deadline of the group's `before_hold`;
    /// `every_ms` is how often the observer asks.
    #[must_use]
    pub fn of(
        event: Event,
        status: &Status,
        group: &GroupStatus,
        before_hold_ms: Option<f64>,
        every_ms: f64,
    ) -> Self {
        let timing = &status.timing;
        let (lease, interval) = (timing.lease_ms, timing.interval_ms);
        let two_way = status.peers.iter().filter(|peer| peer.two_way);
        let round_trip = two_way.filter_map(|peer| peer.rtt_ms).fold(0.0, f64::max);
        let mut terms = Vec::new();
        let mut add = |what: String, ms: f64| terms.push((what, ms));
        if event.is_planned() {
            add(format!("interval {}", Ms(interval)), interval);
        } else {
            add(format!("vote {}", Ms(timing.vote_ms)), timing.vote_ms);
            add(format!("2 × interval {}", Ms(interval)), 2.0 * interval);
        }
        add(format!("round trip {}", Ms(round_trip)), round_trip);
        if !event.is_planned() {
            // A renewal may be as old as the longest round trip allows, and still follows in time.
            let left = timing.round_trip_ms.unwrap_or(0.0) - round_trip;
            let left = match event {
                // The daemon sees that its host lets nothing out, and lets go after half a lease.
                Event::Cut => left.min(lease / 2.0),
                _ => left,
            };
            let left = left.clamp(0.0, lease);
            add(format!("{} that the lease still runs", Ms(left)), -left);
        }
        if let Some(deadline) = before_hold_ms {
            add(
                format!("before_hold of {} {}", group.name, Ms(deadline)),
                deadline,
            );
        }
        add(
            format!("2 × {} between two requests", Ms(every_ms)),
            2.0 * every_ms,
        );
        Self(terms)
    }

    /// The sum, in milliseconds.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.0.iter().map(|(_, ms)| ms).sum()
    }
}

impl fmt::Display for Cost {
    /// `vote 456 ms + 2 × interval 100 ms … = 358 ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (what, ms)) in self.0.iter().enumerate() {
            match (n, *ms < 0.0) {
                (0, _) => {}
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" − ")?,
            }
            f.write_str(what)?;
        }
        write!(f, " = {}", Ms(self.ms()))
    }
}

/// Milliseconds for people, to a tenth.
#[derive(Clone, Copy, Debug)]
pub struct Ms(pub f64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", (self.0 * 10.0).round() / 10.0)
    }
}
