use super::*;
use crate::status::LackStatus;
use serde_json::json;

/// lb1's view: lb0 holds, w is a witness, all is well.
fn well(member: &str) -> Status {
    let peer = |name: &str| {
        json!({
            "name": name, "witness": name == "w", "heard_ms_ago": 30.0, "rtt_ms": 0.3, "two_way": true,
            "quarantined": false, "incarnation": "01", "other_config": null, "paths": []
        })
    };
    let peers: Vec<_> = ["lb0", "lb1", "w"]
        .into_iter()
        .filter(|n| *n != member)
        .map(peer)
        .collect();
    let role = match member {
        "lb0" => "holder",
        "lb1" => "standby",
        _ => "witness",
    };
    let holds = role == "holder";
    let group = json!({
        "name": "web", "addresses": ["10.0.0.50/24"], "interface": "eth0", "preferred": "lb0",
        "failback": "auto", "role": role, "holder": "lb0", "lease_left_ms": null,
        "votes": if holds { vec!["lb0", "lb1", "w"] } else { vec![] }, "votes_needed": 2,
        "vote": "lb0", "asks": holds, "ready": member != "w", "not_ready": [], "unfit": [],
        "successor": "lb1", "successor_ready": true, "eligible": true, "healthy": true, "yields": false,
        "standby": false, "gave_away": false, "presumed_dead": false, "role_changes": 1, "last_change": null
    });
    let timing = json!({
        "interval_ms": 100.0, "lease_ms": 450.0, "vote_ms": 456.0, "quarantine_ms": 456.0,
        "guard_slack_ms": 5.0, "round_trip_ms": 100.0
    });
    let status = json!({
        "cluster": "web", "member": member, "witness": member == "w", "alarms": [], "version": "0.1.0",
        "incarnation": "02", "config": "03", "arbitration": "majority", "members": 3, "majority": 2,
        "guard": "bpf", "guard_why_not_better": null,
        "timing": timing,
        "quarantine_left_ms": null, "stopped": false,
        "groups": [group],
        "peers": peers,
        "counters": { "sent": 1, "accepted": 1, "rejected": {} }
    });
    serde_json::from_value(status).unwrap()
}

fn asked(status: &Status, words: &[&str]) -> String {
    let entry = |ms: u64, member: &str, text: &str, why: &str, rule: &str| Entry {
        at_ms: 1_795_874_531_000 + ms,
        ..Entry::new(member, ROLE, text)
            .of("web")
            .because(why)
            .by(rule)
    };
    let told = Told {
        cluster: "web".to_owned(),
        member: status.member.clone(),
        entries: vec![
            entry(
                0,
                "lb1",
                "standby → holder",
                "lb0, which held it, was silent for 456 ms",
                "R-14",
            ),
            entry(
                9_000,
                "lb1",
                "holder → standby",
                "handing over to the preferred member",
                "R-12",
            ),
            entry(9_003, "lb0", "standby → holder", "lb1 handed over", "R-7"),
        ],
        not_kept: None,
    };
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let said =
        why(status, Some(&told), &words, &TimeZone::UTC).unwrap_or_else(|e| format!("! {e}\n"));
    for line in said.lines().filter(|line| !line.starts_with('!')) {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    said
}

/// Every state, asked of the member in front of it.
#[test]
fn why_of_many_states() {
    type Change = fn(&mut Status);
    let states: [(&str, &str, Change); 27] = [
        ("all is well", "lb1", |_| {}),
        ("all is well, on the holder", "lb0", |_| {}),
        ("all is well, on the witness", "w", |_| {}),
        ("standby", "lb1", |s| {
            unready(s, "the operator said standby (`onehold resume` ends it)")
        }),
        ("standby of the other", "lb0", |s| {
            lacks(
                s,
                "lb1",
                "the operator said standby (`onehold resume` ends it)",
            )
        }),
        ("standby of the other, on the witness", "w", |s| {
            lacks(
                s,
                "lb1",
                "the operator said standby (`onehold resume` ends it)",
            )
        }),
        ("both sick", "w", |s| {
            lacks(s, "lb0", "check page fails: 502");
            lacks(
                s,
                "lb1",
                "check page fails: timed out; the kernel has not confirmed the release yet (R-8)",
            );
            s.groups[0].holder = None;
        }),
        ("quarantine", "lb1", |s| {
            s.quarantine_left_ms = Some(300.0);
            unready(s, "in quarantine for another 300 ms (R-9)");
        }),
        ("the other in quarantine", "lb0", |s| {
            s.peers[0].quarantined = true
        }),
        ("a minority", "lb1", |s| {
            unready(s, "two-way with 0 of the 1 members it needs");
            s.peers
                .iter_mut()
                .for_each(|p| (p.two_way, p.heard_ms_ago) = (false, Some(9_000.0)));
            s.groups[0].holder = None;
        }),
        ("the other is lost", "lb0", |s| lost(s, "lb1")),
        ("the other was never there", "lb0", |s| {
            s.peers[0].heard_ms_ago = None
        }),
        ("the holder is lost, on the witness", "w", |s| {
            lost(s, "lb0");
            s.groups[0].holder = Some("lb1".to_owned());
        }),
        ("another file", "lb0", |s| {
            s.peers[0].other_config = Some("00ff".to_owned())
        }),
        ("one way", "lb0", |s| s.peers[0].two_way = false),
        ("not ready, without a note", "lb0", |s| {
            s.groups[0].successor_ready = Some(false)
        }),
        ("kept back", "lb1", |s| {
            unready(
                s,
                "lb0 (at 10.0.0.10:6946) says that it holds, by another file (R-14)",
            );
            s.groups[0].holder = None;
        }),
        ("given away", "lb0", |s| {
            given(s);
            s.groups[0].gave_away = true;
        }),
        ("manual failback", "lb1", |s| {
            given(s);
            s.groups[0].failback = "manual".to_owned();
        }),
        ("before its failback", "lb0", given),
        ("opening", "lb0", |s| s.groups[0].opening = true),
        ("a sick holder", "lb0", |s| {
            s.groups[0].unfit = vec!["check page fails: 502".to_owned()];
            lacks(s, "lb1", "check page fails: 502");
        }),
        ("it asks in vain", "lb1", |s| {
            s.groups[0].holder = None;
            (s.groups[0].asks, s.groups[0].vote) = (true, Some("lb0".to_owned()));
        }),
        ("nobody, and it says it could", "w", |s| {
            s.groups[0].holder = None
        }),
        ("nobody, and it is ready", "lb1", |s| {
            s.groups[0].holder = None;
            s.groups[0].vote = None;
        }),
        ("frozen", "lb0", |s| {
            s.groups[0].frozen_by = vec!["lb1".to_owned()]
        }),
        ("stopping", "lb1", |s| s.stopped = true),
    ];
    let mut all = String::new();
    for (name, member, change) in states {
        let mut status = well(member);
        change(&mut status);
        all += &format!("──── {name}: asked on {member}\n{}\n", asked(&status, &[]));
    }
    insta::assert_snapshot!(all);
}

fn unready(s: &mut Status, why: &str) {
    s.groups[0].ready = false;
    s.groups[0].not_ready = vec![why.to_owned()];
}

fn lacks(s: &mut Status, name: &str, why: &str) {
    let peer = s.peers.iter_mut().find(|p| p.name == name).unwrap();
    peer.lacks.push(LackStatus {
        group: "web".to_owned(),
        why: why.to_owned(),
        for_ms: 12_000.0,
    });
}

fn lost(s: &mut Status, name: &str) {
    let peer = s.peers.iter_mut().find(|p| p.name == name).unwrap();
    (peer.two_way, peer.heard_ms_ago) = (false, Some(63_000.0));
    let alarm = format!("{name} is not heard: is it up (`systemctl status onehold` there)?");
    s.alarms.push(alarm);
}

fn given(s: &mut Status) {
    let g = &mut s.groups[0];
    g.role = if s.member == "lb1" {
        "holder"
    } else {
        "standby"
    }
    .to_owned();
    g.holder = Some("lb1".to_owned());
    g.successor = Some("lb0".to_owned());
}

#[test]
fn groups_and_members_are_named_in_any_order() {
    let status = well("lb1");
    let one = asked(&status, &["web", "lb0"]);
    assert_eq!(asked(&status, &["lb0", "web"]), one);
    assert_eq!(asked(&status, &["lb0"]), one);
    assert!(one.starts_with("web: lb0 holds it.\n"), "{one}");
    let none = ["lb9", "api"].map(|word| asked(&status, &[word]));
    let witness = asked(&status, &["w"]);
    let twice = asked(&status, &["web", "web"]);
    insta::assert_snapshot!([&none[..], &[witness, twice]].concat().join(""));
}
