use super::*;
use crate::metrics::Noted;
use crate::note::Line;
use crate::orders::{Said, Standing};
use onehold_core::advert::Statement;

/// lb0's status, which holds, while a note of lb1 says this of the group.
fn with_note(arrived: u64, ready: bool) -> Status {
    let cluster = cluster(THREE, "lb0");
    let mut m = metrics(&cluster);
    let mut lb1 = peer(1, 32);
    lb1.says = vec![Statement {
        ready,
        ..Statement::default()
    }];
    m.noted(
        MemberId(1),
        Noted {
            at: before(arrived),
            incarnation: lb1.incarnation.expect("it is known"),
            version: "0.2.0".to_owned(),
            lines: vec![Line {
                group: GroupId(0),
                since: Span::from_millis(12_000),
                text: "check page fails: 502 Bad Gateway".to_owned(),
            }],
        },
    );
    m.notes.ignored = 3;
    let s = snapshot(
        0,
        vec![lb1, peer(2, 12)],
        vec![group(0, RoleName::Holder, 0)],
    );
    Status::from_parts(&s, &cluster.config, &m, NOW)
}

#[test]
fn what_a_peer_lacks_is_shown_in_its_own_words() {
    let status = with_note(700, false);
    assert_eq!(
        status.alarms,
        [
            "web: lb1 is heard, but could not take over: check page fails: 502 Bad Gateway (for 12.7 s)"
        ]
    );
    let json = serde_json::to_value(&status).expect("it is JSON");
    let lack = &json["peers"][0]["lacks"][0];
    assert_eq!(
        (&lack["group"], &lack["for_ms"]),
        (&"web".into(), &12_700.0.into())
    );
    assert_eq!(json["peers"][0]["version"], "0.2.0");
    insta::assert_snapshot!(text(status));
}

#[test]
fn a_note_that_is_not_repeated_or_that_adverts_contradict_is_not_shown() {
    let unknown = "web: lb1 is heard, but could not take over: `onehold status` there says why";
    assert_eq!(with_note(15_000, false).alarms, [unknown]);
    assert!(with_note(700, true).peers[0].lacks.is_empty());
    assert_eq!(with_note(700, true).alarms, [""; 0]);
}

#[test]
fn a_note_is_forgotten_with_its_peer() {
    let cluster = cluster(THREE, "lb0");
    let mut m = metrics(&cluster);
    let noted = |incarnation| Noted {
        at: NOW,
        incarnation,
        version: "0.2.0".to_owned(),
        lines: vec![],
    };
    let lb1 = peer(1, 32);
    let known = lb1.incarnation.expect("it is known");
    let version = |m: &Metrics| {
        let s = snapshot(0, vec![lb1.clone()], vec![group(0, RoleName::Holder, 0)]);
        let status = Status::from_parts(&s, &cluster.config, m, NOW);
        status.peers[0].version.clone()
    };
    m.noted(MemberId(1), noted(Incarnation(1)));
    assert_eq!(version(&m), None, "of a former incarnation");
    m.noted(MemberId(1), noted(known));
    assert_eq!(version(&m).as_deref(), Some("0.2.0"));
    m.event(&Event::Lost { peer: MemberId(1) }, NOW);
    assert_eq!(version(&m), None, "it was lost");
}

#[test]
fn what_this_member_lacks_is_what_its_status_says() {
    let cluster = cluster(THREE, "lb1");
    let mut m = metrics(&cluster);
    let why = "check page fails: 502 Bad Gateway";
    let health = Input::Health {
        group: GroupId(0),
        healthy: false,
    };
    m.input(&health, Some(why.to_owned()));
    let mut g = group(0, RoleName::Standby, 0);
    let of = |g: &GroupSnapshot, m: &Metrics| {
        let s = snapshot(1, vec![peer(0, 32), peer(2, 32)], vec![g.clone()]);
        let status = Status::from_parts(&s, &cluster.config, m, NOW);
        let lacks = lacks(&s, &cluster.config, m, NOW);
        (lacks, status.groups[0].not_ready.join("; "))
    };
    assert_eq!(of(&g, &m), (vec![], String::new()), "it is ready");
    (g.ready, g.healthy, g.standby) = (false, false, true);
    let (said, shown) = of(&g, &m);
    assert_eq!(said, [(GroupId(0), shown.clone())]);
    assert_eq!(
        shown,
        format!("{why}; the operator said standby (`onehold resume` ends it)")
    );
    let mut opening = group(0, RoleName::Holder, 1);
    opening.open = false;
    let (said, _) = of(&opening, &m);
    assert!(said[0].1.contains("waits for `before_hold`"), "{said:?}");
    let (said, _) = of(&group(0, RoleName::Witness, 0), &m);
    assert_eq!(said, [], "it never holds");
}

#[test]
fn r19_that_a_holder_is_mute_is_said_by_every_member() {
    let cluster = cluster(THREE, "w");
    let status = |preparing| {
        let says = Statement {
            holds: true,
            ready: true,
            preparing,
            ..Statement::default()
        };
        let lb0 = PeerSnapshot {
            says: vec![says],
            ..peer(0, 32)
        };
        let g = group(0, RoleName::Witness, 0);
        let s = snapshot(2, vec![lb0, peer(1, 12)], vec![g]);
        Status::from_parts(&s, &cluster.config, &metrics(&cluster), NOW)
    };
    let said = "web: lb0 holds it, mute: nobody answers before its before_hold is done; `onehold status` there says \
                for how long (R-19)";
    assert_eq!(status(true).alarms, [said]);
    assert!(text(status(true)).contains("lb0 (mute)"));
    assert!(text(status(true)).contains("web: holds, mute"));
    assert_eq!(status(false).alarms, [""; 0]);
}

#[test]
fn an_order_is_shown_with_all_that_was_said_also_of_a_member_that_is_ready() {
    let cluster = cluster(THREE, "lb1");
    let mut m = metrics(&cluster);
    let reason = Some("disk".to_owned());
    let said = Said {
        reason,
        ..Said::default()
    };
    m.groups[0].said = [(Standing::Freeze, said.clone()), (Standing::Switch, said)].into();
    let mut g = group(0, RoleName::Standby, 0);
    (g.frozen, g.gave_away) = (true, true);
    let s = snapshot(1, vec![peer(0, 32), peer(2, 32)], vec![g]);
    let words = "the operator said switch: disk (`onehold resume` lets it come back); the operator said freeze: \
                 disk (nothing moves by itself until `onehold thaw`)";
    let lines = lacks(&s, &cluster.config, &m, NOW);
    assert_eq!(lines, [(GroupId(0), words.to_owned())]);
    let status = Status::from_parts(&s, &cluster.config, &m, NOW);
    assert_eq!(status.groups[0].orders.join("; "), words);
    assert_eq!(status.groups[0].frozen_by, ["lb1"]);
    assert_eq!(status.alarms, [""; 0], "it is no alarm");
}

#[test]
fn what_a_frozen_candidate_says_is_shown_by_all() {
    let cluster = cluster(THREE, "w");
    let mut m = metrics(&cluster);
    let mut lb1 = peer(1, 32);
    lb1.says = vec![Statement {
        ready: true,
        frozen: true,
        ..Statement::default()
    }];
    let shown = |m: &Metrics| {
        let peers = vec![peer(0, 32), lb1.clone()];
        let s = snapshot(2, peers, vec![group(0, RoleName::Witness, 0)]);
        text(Status::from_parts(&s, &cluster.config, m, NOW))
    };
    let by_advert = "frozen: nothing moves by itself until `onehold thaw` on lb1";
    assert!(shown(&m).contains(by_advert), "{}", shown(&m));
    m.noted(
        MemberId(1),
        Noted {
            at: before(700),
            incarnation: lb1.incarnation.expect("it is known"),
            version: "0.2.0".to_owned(),
            lines: vec![Line {
                group: GroupId(0),
                since: Span::from_millis(12_000),
                text: "the operator said freeze: disk".to_owned(),
            }],
        },
    );
    let by_note = "web: the operator said freeze: disk (for 12.7 s)";
    assert!(shown(&m).contains(by_note), "{}", shown(&m));
}
