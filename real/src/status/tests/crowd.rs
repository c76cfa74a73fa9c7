//! Many groups, and many addresses in one.

use super::*;
use crate::metrics::Noted;
use crate::note::Line;
use onehold_core::advert::{MAX_GROUPS, Statement};

/// As many groups as there can be, one of which has many addresses, and a peer that could hold none.
#[test]
fn as_many_groups_as_there_can_be_are_a_row_each() {
    let group_of = |n: usize| {
        let addresses = match n {
            0 => (0..900)
                .map(|k| format!("10.0.{}.{}/16", 8 + k / 250, k % 250 + 1))
                .collect(),
            n => vec![format!("10.0.1.{n}/16")],
        };
        format!("[groups.g{n:02}]\naddresses = {addresses:?}\ninterface = \"eth0\"\n")
    };
    let front = THREE.split("[groups").next().expect("a front");
    let all: String = (0..MAX_GROUPS).map(group_of).collect();
    let cluster = cluster(&format!("{front}{all}"), "lb0");
    let mut m = metrics(&cluster);
    let failing = CheckReport {
        name: "page".to_owned(),
        passing: Some(false),
        since_ms: 3_000,
        said: "502".to_owned(),
    };
    m.reported(GroupId(0), vec![failing], vec![], before(2_000));
    let ids = || (0u8..).take(MAX_GROUPS);
    let mut groups: Vec<GroupSnapshot> = ids().map(|n| group(n, RoleName::Holder, 0)).collect();
    groups[9].standby = true;
    let says = Statement::default();
    let other = PeerSnapshot {
        says: vec![says; MAX_GROUPS],
        ..peer(1, 32)
    };
    let line = |n| Line {
        group: GroupId(n),
        since: Span::from_millis(5_000),
        text: "eth0 is down".to_owned(),
    };
    m.noted(
        MemberId(1),
        Noted {
            at: before(100),
            incarnation: other.incarnation.expect("it is known"),
            version: "0.1.0".to_owned(),
            lines: ids().map(line).collect(),
        },
    );
    let s = snapshot(0, vec![other, peer(2, 12)], groups);
    let text = text(Status::from_parts(&s, &cluster.config, &m, NOW));
    assert!(text.lines().count() < MAX_GROUPS + 40, "{text}");
    insta::assert_snapshot!(text);
}
