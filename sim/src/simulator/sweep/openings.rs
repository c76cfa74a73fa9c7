//! What a seed draws of `before_hold`: some groups wait before their gate opens, and on some machines
//! that takes too long.

use super::draw::Stays;
use crate::simulator::file::{BeforeHoldSection, ScenarioFile};
use crate::simulator::incidents::cluster::{DrawnCluster, Promise, span};
use crate::simulator::rng::Rng;
use onehold::driver::openings::Failing;

/// Draws it into a scenario; returns how much longer it may take until one holds. From a source of chance
/// of its own, so that all else that a seed draws stays as it is.
pub(super) fn draw(seed: u64, cluster: &DrawnCluster<'_>, file: &mut ScenarioFile) -> u64 {
    let mut rng = Rng::new(seed, "before_hold");
    if cluster.promise == Promise::Steady || !rng.chance(15) {
        return 0;
    }
    let deadline = cluster.interval() * rng.one(&[2, 5, 20]);
    let failing = rng.one(&[Failing::Open, Failing::Release]);
    for group in file.groups.values_mut() {
        let deadline = span(deadline);
        group.before_hold = Some(BeforeHoldSection { deadline, failing });
    }
    let too_long = match failing {
        Failing::Open => [0, deadline / 2, 2 * deadline],
        Failing::Release => [0, deadline / 2, deadline / 2], // one of them can
    };
    for (name, takes) in [
        ("lb0", rng.one(&[0, deadline / 2, 2 * deadline])),
        ("lb1", rng.one(&too_long)),
    ] {
        if let Some(member) = file.members.get_mut(name) {
            member.prepares_in = span(takes);
        }
    }
    // One tries in vain, and then the other; and what had begun before.
    3 * deadline
}

/// Whether a member may let go because it can't be done there, and is not the better one any more: not if the
/// other one may be missing for good.
pub(super) fn may_let_go(stays: &Stays, file: &mut ScenarioFile) -> bool {
    let mut waits = file
        .groups
        .values_mut()
        .filter_map(|g| g.before_hold.as_mut());
    if matches!(stays, Stays::Nothing) {
        return waits.any(|w| w.failing == Failing::Release);
    }
    waits.for_each(|w| w.failing = Failing::Open);
    false
}
