//! The chaos monkey: a timeline that is drawn.
//!
//! One thing goes wrong at a time, and is over before the next begins; so the address must be
//! served again soon after each, and two must never answer. What it does is fixed before the run
//! begins, and follows from the seed.

use super::incidents::cluster::{DrawnCluster, micros};
use super::incidents::{Draws, Incident, Kind};
use super::plan::Plan;
use super::rng::Rng;
use onehold::config_file::Length;
use serde::{Deserialize, Serialize};

/// `[chaos]`: what the monkey does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// From when.
    pub from: Length,
    /// Until when; what it does is over by then, or `lasts` later.
    pub until: Length,
    /// How long from the end of one incident to the next, on average; half of that at least.
    pub every: Length,
    /// How long one incident lasts at most.
    pub lasts: Length,
    /// What it may do.
    pub does: Vec<Kind>,
}

/// All that it does, in the order of time.
#[must_use]
pub fn incidents(plan: &Plan, chaos: &Chaos) -> Vec<Incident> {
    let cluster = DrawnCluster::from(plan);
    let [from, calm, every, lasts] =
        [chaos.from, chaos.until, chaos.every, chaos.lasts].map(|length| micros(length.0));
    let mut draws = Draws {
        rng: &mut Rng::new(plan.seed, "chaos"),
        cluster: &cluster,
        from,
        calm,
        restless: chaos
            .does
            .iter()
            .any(|kind| matches!(kind, Kind::Member(_))),
        incidents: Vec::new(),
    };
    let mut at = from;
    loop {
        at += every / 2 + draws.rng.below(every);
        if at >= calm || chaos.does.is_empty() {
            return draws.incidents;
        }
        let window = (at, at + draws.rng.between(1, lasts));
        match draws.rng.one(&chaos.does) {
            Kind::Member(kind) => {
                let name = draws.rng.one(&cluster.members);
                draws.on_member(kind, name, window);
            }
            Kind::Links(kind) => draws.on_links(kind, window),
        }
        at = window.1;
    }
}
