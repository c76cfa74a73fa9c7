//! The cluster of the tests of traces.

use onehold_core::advert::GroupId;
use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::lease::TimingSpec;

/// Its only group.
pub(crate) const GROUP: GroupId = GroupId(0);
/// Its members. Under `survivor` there are the first two alone.
pub(crate) const NAMES: [&str; 3] = ["lb0", "lb1", "witness"];

pub(crate) fn spec(arbitration: Arbitration) -> Spec {
    let witness = usize::from(arbitration == Arbitration::Majority);
    let member = |name: &&str| MemberSpec {
        name: (*name).into(),
        witness: *name == "witness",
        addresses: vec![],
    };
    let web = GroupSpec::new("web", vec![Prefix::new([10, 0, 0, 50], 24)], "lb0");
    Spec {
        cluster: "test".into(),
        members: NAMES[..2 + witness].iter().map(member).collect(),
        groups: vec![web],
        arbitration,
        timing: TimingSpec::default(),
    }
}
