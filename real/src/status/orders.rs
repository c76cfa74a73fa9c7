//! The orders that stand, as the status shows them.

use super::name;
use crate::metrics::GroupMetrics;
use crate::orders::Standing;
use onehold_core::config::Config;
use onehold_core::observe::{GroupSnapshot, PeerSnapshot, Snapshot};

pub(super) fn order(order: Standing, m: &GroupMetrics) -> Option<String> {
    let said = m.said.get(&order).cloned().unwrap_or_default();
    Some(said.in_words(order))
}

/// The orders that stand here.
pub(super) fn orders(g: &GroupSnapshot, m: &GroupMetrics) -> Vec<String> {
    let all = [
        (g.standby, Standing::Standby),
        (g.gave_away && !g.standby, Standing::Switch),
        (g.frozen, Standing::Freeze),
    ];
    let standing = all.into_iter().filter(|(stands, _)| *stands);
    standing.filter_map(|(_, what)| order(what, m)).collect()
}

/// The members whose operator said `freeze`, as far as they are heard.
pub(super) fn frozen_by(g: &GroupSnapshot, all: &Snapshot, config: &Config) -> Vec<String> {
    let says = |p: &&PeerSnapshot| {
        let says = p.says.get(usize::from(g.group.0));
        config.is_candidate(p.member) && says.is_some_and(|says| says.frozen)
    };
    let others = all.peers.iter().filter(says).map(|p| p.member);
    let here = g.frozen.then_some(all.me);
    here.into_iter()
        .chain(others)
        .map(|id| name(config, id))
        .collect()
}
