//! Adverts as Ethernet frames, as the status shows them.

use super::*;
use crate::frames::PortState;

/// lb0 of a pair: what came last as a frame and over each path, so many milliseconds ago.
fn pair(frame: Option<u64>, paths: u64, sees: impl Fn(&mut Metrics)) -> Status {
    let cluster = cluster(TWO, "lb0");
    let mut m = metrics(&cluster);
    m.frames[0].heard_at = frame.map(before);
    m.frames[0].received = frame.map_or(0, |_| 9);
    m.frames[0].port = PortState {
        to: frame.map(|_| [2, 0, 0, 0, 0, 1]),
        sent: 10,
        ..PortState::default()
    };
    for path in &mut m.peers[0].paths {
        path.heard_at = Some(before(paths));
    }
    sees(&mut m);
    let groups = vec![
        group(0, RoleName::Holder, 0),
        group(1, RoleName::Standby, 1),
    ];
    let s = snapshot(0, vec![peer(1, 32)], groups);
    Status::from_parts(&s, &cluster.config, &m, NOW)
}

const ONLY: &str = "lb1 is heard by Ethernet frames only";

#[test]
fn a_peer_that_is_heard_by_frames_only_is_an_alarm_that_names_the_cause() {
    let status = pair(Some(32), 5_000, |_| {});
    let [alarm] = &status.alarms[..] else {
        panic!("one, of all paths: {:?}", status.alarms);
    };
    assert!(alarm.starts_with(ONLY), "{alarm}");
    assert!(alarm.contains("drop UDP to 10.0.0.10:6946"), "{alarm}");
    insta::assert_snapshot!(text(status));

    let refused = pair(Some(32), 5_000, |m| {
        let why = "a firewall on this host forbids it".to_owned();
        m.peers[0].paths[0].refusals.last = Some((before(90), why));
    });
    let alarm = &refused.alarms[0];
    assert!(alarm.starts_with(ONLY), "{alarm}");
    assert!(
        alarm.contains("a firewall on this host forbids it"),
        "{alarm}"
    );
}

#[test]
fn while_any_datagram_comes_frames_raise_no_alarm() {
    assert_eq!(pair(Some(32), 32, |_| {}).alarms, [""; 0]);
    // A moment without is none.
    assert_eq!(pair(Some(32), 800, |_| {}).alarms, [""; 0]);
    let one = pair(Some(32), 32, |m| {
        m.peers[0].paths[1].heard_at = Some(before(5_000));
    });
    assert_eq!(one.alarms.len(), 1);
    assert!(
        one.alarms[0].contains("on the path from"),
        "{:?}",
        one.alarms
    );
}

#[test]
fn where_frames_do_not_come_the_status_says_that_they_gain_nothing_and_nothing_is_wrong() {
    let status = pair(None, 32, |_| {});
    assert_eq!(status.alarms, [""; 0]);
    let words = |status| {
        text(status)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let text = words(status);
    assert!(text.contains("nothing is gained from them"), "{text}");
    assert!(text.contains("all well"), "{text}");
    let none = pair(None, 32, |m| {
        m.frames[0].port.why_not = Some("it is not an Ethernet interface".to_owned());
    });
    let text = words(none);
    assert!(
        text.contains("no Ethernet frames on eth0: it is not an Ethernet interface"),
        "{text}"
    );
}

#[test]
fn what_frames_say_of_themselves_explains_why_a_peer_is_not_heard() {
    let cluster = cluster(TWO, "lb0");
    let mut m = metrics(&cluster);
    m.rejected_frame(0, Reject::Stale, before(10));
    let s = snapshot(0, vec![peer(1, 5_000)], vec![group(0, RoleName::Holder, 0)]);
    let shown = |m: &Metrics| {
        Status::from_parts(&s, &cluster.config, m, NOW)
            .alarms
            .join("; ")
    };
    assert!(!shown(&m).contains("Ethernet"), "a copy is not an error");
    m.rejected_frame(0, Reject::BadSeal, before(10));
    let alarms = shown(&m);
    assert!(
        alarms.contains("Ethernet frames that come by eth0 do not fit their seal"),
        "{alarms}"
    );
}
