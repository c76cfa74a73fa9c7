use super::*;

/// A step of a change waits for what a group's kernel has to confirm: which group, and since when.
#[test]
fn r22_a_group_on_the_way_is_named_while_a_change_waits_for_it() {
    let other = THREE.replace("10.0.0.50/24", "10.0.0.51/24");
    let (cluster, other) = (cluster(THREE, "lb0"), cluster(&other, "lb0").config);
    let toward = cluster.config.toward(&other);
    let mut m = metrics(&cluster);
    let peers = || vec![peer(1, 32), peer(2, 32)];
    let note = |m: &Metrics, g: &GroupSnapshot, config: &Config, waits: &[u8]| {
        let mut all = snapshot(0, peers(), vec![g.clone()]);
        all.waits_for = waits.iter().map(|id| MemberId(*id)).collect();
        let status = Status::from_parts(&all, config, m, NOW);
        let of_change = |note: &String| note.contains("new file");
        status.notes.into_iter().find(of_change)
    };
    let said = |end: &str| {
        let what = "the new file comes into force when every member has it";
        Some(format!("{what}{end} (R-22)"))
    };
    let holder = group(0, RoleName::Holder, 0);
    assert_eq!(note(&m, &holder, &toward, &[]), said(""));
    // Its gate waits.
    let policy = BeforeHold {
        deadline: Span::from_millis(60_000),
        failing: Failing::Open,
    };
    m.waits(GroupId(0), policy, before(12_300));
    let mut opening = holder.clone();
    opening.open = false;
    assert_eq!(
        note(&m, &opening, &toward, &[]),
        said("; waits for before_hold of web here, for 12.3 s")
    );
    assert_eq!(
        note(&m, &opening, &toward, &[1]),
        said("; waits for lb1, before_hold of web here, for 12.3 s")
    );
    // Its kernel has not confirmed its release.
    let releasing = group(0, RoleName::Releasing, 0);
    let waits = said("; waits for the release of web here");
    assert_eq!(note(&m, &releasing, &toward, &[]), waits);
    m.groups[0].last_change = Some(RoleChange {
        at: before(1_500),
        from: RoleName::Holder,
        to: RoleName::Releasing,
        why: Why::Standby,
    });
    assert_eq!(
        note(&m, &releasing, &toward, &[]),
        said("; waits for the release of web here, for 1.5 s")
    );
    assert_eq!(note(&m, &releasing, &cluster.config, &[]), None);
}

#[test]
fn r22_a_lease_that_is_longer_than_other_members_are_to_grant_is_named() {
    let another = THREE.replace("[members.w]", "[members.arbiter]");
    let shorter = another.replace("lease = \"450ms\"", "lease = \"350ms\"");
    let here = cluster(THREE, "lb0");
    let m = metrics(&here);
    for (file, waits) in [(&another, false), (&shorter, true)] {
        let toward = here.config.toward(&cluster(file, "lb0").config);
        let all = snapshot(0, vec![peer(1, 32)], vec![group(0, RoleName::Holder, 0)]);
        let status = Status::from_parts(&all, &toward, &m, NOW);
        let says =
            |n: &String| n.contains("the lease of web here, which is longer than the new one");
        assert_eq!(status.notes.iter().any(says), waits, "{:?}", status.notes);
    }
}
