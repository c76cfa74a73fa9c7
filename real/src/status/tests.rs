mod changing;
mod crowd;
mod form;
mod frames;
mod many;
mod margins;
mod notes;
mod verdict;

use super::*;
use crate::config_file::LocalCluster;
use crate::config_file::tests::{THREE, TWO, cluster};
use crate::control::session::{CheckReport, HookReport};
use crate::driver::openings::{BeforeHold, Failing};
use crate::metrics::{GuardInForce, Head, OtherConfig, RoleChange};
use onehold_core::advert::{Ballot, ConfigDigest, GroupId, Incarnation};
use onehold_core::effect::{Event, Why};
use onehold_core::input::Input;
use onehold_core::observe::PeerSnapshot;
use std::net::SocketAddr;

const NOW: LocalTime = LocalTime::from_nanos(100_000_000_000_000);

fn before(ms: u64) -> LocalTime {
    LocalTime::from_nanos(NOW.as_nanos() - Span::from_millis(ms).as_nanos())
}

fn peer(member: u8, heard: u64) -> PeerSnapshot {
    PeerSnapshot {
        member: MemberId(member),
        incarnation: Some(Incarnation(0xabcd_0000_0000_0000 + u64::from(member))),
        heard_ago: Some(Span::from_millis(heard)),
        echo_ago: Some(Span::from_millis(heard)),
        two_way: true,
        quarantined: false,
        says: Vec::new(),
    }
}

fn group(id: u8, role: RoleName, holder: u8) -> GroupSnapshot {
    let holds = role == RoleName::Holder;
    GroupSnapshot {
        group: GroupId(id),
        role,
        holder: Some(MemberId(holder)),
        lease_left: holds.then_some(Span::from_millis(398)),
        vote: (!holds).then_some(Ballot {
            member: MemberId(holder),
            incarnation: Incarnation(1),
            asked_at: NOW,
        }),
        vote_left: (!holds).then_some(Span::from_millis(404)),
        votes: if holds {
            vec![MemberId(0), MemberId(1), MemberId(2)]
        } else {
            Vec::new()
        },
        asks: holds,
        ready: role != RoleName::Witness,
        kept_back: false,
        probing: false,
        answered_ago: None,
        open: true,
        eligible: true,
        healthy: true,
        yields: false,
        standby: false,
        gave_away: false,
        frozen: false,
        presumed_dead: false,
    }
}

fn snapshot(me: u8, peers: Vec<PeerSnapshot>, groups: Vec<GroupSnapshot>) -> Snapshot {
    Snapshot {
        me: MemberId(me),
        incarnation: Incarnation(0x1234_5678_9abc_def0),
        quarantine_left: None,
        peers,
        groups,
        waits_for: Vec::new(),
        doubts: false,
        stopped: false,
    }
}

/// A driver's metrics after a while in which all paths work.
fn metrics(cluster: &LocalCluster) -> Metrics {
    let mut m = Metrics::new(cluster);
    m.guard = GuardInForce {
        name: "bpf".to_owned(),
        why_not_better: None,
        ends_early: Span::ZERO,
    };
    for peer in cluster.config.peers() {
        for path in cluster.paths(peer) {
            m.heard(path.local, path.remote, before(32));
            m.sent += 1;
        }
        let head = Head {
            from: peer,
            incarnation: Incarnation(0xabcd_0000_0000_0000 + u64::from(peer.0)),
            to: None,
            holds: false,
            sent_at: before(40),
        };
        m.accepted(head, Some(before(50)), before(32));
        m.accepted(head, Some(before(32)), before(31));
    }
    m
}

fn text(status: Status) -> String {
    let text = render(
        &Report {
            version: VERSION,
            clusters: vec![status],
            waiting: vec![],
            next: None,
        },
        Rows::AsFit,
        false,
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    text
}

pub(crate) fn healthy() -> Status {
    let cluster = cluster(THREE, "lb0");
    let mut m = metrics(&cluster);
    let took = Event::Role {
        group: GroupId(0),
        from: RoleName::Standby,
        to: RoleName::Holder,
        why: Why::Majority,
    };
    m.event(&took, before(7_384_000));
    let s = snapshot(
        0,
        vec![peer(1, 32), peer(2, 12)],
        vec![group(0, RoleName::Holder, 0)],
    );
    Status::from_parts(&s, &cluster.config, &m, NOW)
}

#[test]
fn a_holder_when_all_is_well() {
    let status = healthy();
    assert_eq!(status.alarms, [""; 0]);
    insta::assert_snapshot!(text(status));
}

/// Everything that can be wrong with a candidate, at once.
#[test]
fn a_candidate_in_trouble() {
    let long = THREE.replace("members.lb1", "members.\"loadbalancer-1.example.com\"");
    let cluster = cluster(&long, "lb0");
    let mut m = metrics(&cluster);
    m.guard = GuardInForce {
        name: "nft".to_owned(),
        why_not_better: Some(
            "bpf was refused by this kernel (operation not permitted); the unit needs CAP_BPF and \
             CAP_NET_ADMIN"
                .to_owned(),
        ),
        ends_early: Span::from_millis(12),
    };
    let path = cluster.paths(MemberId(1)).next().unwrap();
    let other = OtherConfig {
        digest: ConfigDigest(0xbad),
        from: path.remote,
        at: before(60),
        holds: false,
    };
    assert_eq!(m.other_config(other), (Some(MemberId(1)), true));
    assert_eq!(m.other_config(other), (Some(MemberId(1)), false));
    m.rejected(
        Reject::BadSeal,
        None,
        None,
        (path.local, path.remote),
        before(60),
    );
    m.input(
        &Input::HoldFailed { group: GroupId(0) },
        Some("eth0 is down; `ip link set eth0 up`".to_owned()),
    );
    let lost = PeerSnapshot {
        heard_ago: Some(Span::from_millis(62_000)),
        two_way: false,
        quarantined: true,
        ..peer(2, 0)
    };
    let never = PeerSnapshot {
        incarnation: None,
        heard_ago: None,
        two_way: false,
        ..peer(1, 0)
    };
    let mut g = group(0, RoleName::Releasing, 1);
    (g.ready, g.eligible, g.healthy, g.standby, g.holder, g.vote) =
        (false, false, false, true, None, None);
    let s = snapshot(0, vec![never, lost], vec![g]);
    insta::assert_snapshot!(text(Status::from_parts(&s, &cluster.config, &m, NOW)));
}

/// A stranger's numbers for members are its own: only its address says who it is, if anything does.
#[test]
fn a_stranger_is_known_by_its_address() {
    let cluster = cluster(TWO, "lb0");
    let said = |from: &str, age| {
        let mut m = metrics(&cluster);
        let other = OtherConfig {
            digest: ConfigDigest(0xbad),
            from: from.parse().unwrap(),
            at: before(age),
            holds: false,
        };
        let (whose, news) = m.other_config(other);
        assert!(news && !m.other_config(other).1);
        let s = snapshot(0, vec![peer(1, 90_000)], vec![]);
        let alarms = Status::from_parts(&s, &cluster.config, &m, NOW).alarms;
        (whose, alarms.join("\n"))
    };
    for from in ["10.0.0.11:6946", "10.1.0.11:7000", "10.1.0.11:9999"] {
        let (whose, alarms) = said(from, 60);
        assert_eq!(whose, Some(MemberId(1)), "{from}");
        let words = format!("lb1 runs with another configuration: what comes from {from}");
        assert!(alarms.starts_with(&words), "{alarms}");
        assert!(!alarms.contains("is not heard"), "{alarms}");
    }
    let (whose, alarms) = said("10.0.0.66:6946", 60);
    assert_eq!(whose, None);
    assert!(
        alarms.contains("a machine at 10.0.0.66:6946, which is not a member's"),
        "{alarms}"
    );
    // It may have been stopped since.
    let (_, alarms) = said("10.0.0.11:6946", 20_000);
    assert!(alarms.starts_with("lb1 is not heard: is it up"), "{alarms}");
    let mut m = metrics(&cluster);
    for port in 1..100 {
        let from = SocketAddr::new([10, 0, 0, 66].into(), port);
        let (digest, at) = (ConfigDigest(0xbad), before(u64::from(port)));
        let _ = m.other_config(OtherConfig {
            digest,
            from,
            at,
            holds: false,
        });
    }
    assert_eq!(m.strangers.len(), 8);
}

/// A datagram that is not authentic explains why a member is not heard, and only then.
#[test]
fn what_comes_from_a_members_address_and_is_rejected_says_why_it_is_not_heard() {
    let cluster = cluster(THREE, "lb0");
    let path = cluster.paths(MemberId(1)).next().unwrap();
    let alarms = |why, whose, heard| {
        let mut m = metrics(&cluster);
        m.rejected(why, whose, None, (path.local, path.remote), before(50));
        if heard {
            m.heard(path.local, path.remote, before(20));
        }
        let s = snapshot(0, vec![peer(1, 90_000), peer(2, 12)], vec![]);
        Status::from_parts(&s, &cluster.config, &m, NOW)
            .alarms
            .join("\n")
    };
    let other = Some(onehold_core::config::cluster_id("shop"));
    let said = [
        alarms(Reject::WrongCluster, other, false),
        alarms(
            Reject::UnknownKey(onehold_core::reject::KeyId(7)),
            None,
            false,
        ),
        alarms(Reject::BadSeal, None, false),
        alarms(Reject::NotOurs, None, false),
        alarms(Reject::Stale, None, false),
        alarms(Reject::WrongCluster, other, true),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_start_in_quarantine() {
    let cluster = cluster(THREE, "lb1");
    let mut g = group(0, RoleName::Standby, 0);
    g.ready = false;
    let s = Snapshot {
        quarantine_left: Some(Span::from_millis(301)),
        ..snapshot(1, vec![peer(0, 5), peer(2, 7)], vec![g])
    };
    insta::assert_snapshot!(text(Status::from_parts(
        &s,
        &cluster.config,
        &metrics(&cluster),
        NOW
    )));
}

/// Survivor, two groups, one path cut, a hand-over under way.
#[test]
fn a_pair_with_a_dead_path() {
    let cluster = cluster(TWO, "lb0");
    let mut m = metrics(&cluster);
    m.peers[0].paths[1].heard_at = Some(before(5_400));
    let mut api = group(0, RoleName::Holder, 0);
    api.yields = true;
    let mut web = group(1, RoleName::Standby, 1);
    web.gave_away = true;
    let s = snapshot(0, vec![peer(1, 32)], vec![api, web]);
    insta::assert_snapshot!(text(Status::from_parts(&s, &cluster.config, &m, NOW)));
}

#[test]
fn a_witness_of_one_and_of_many() {
    let (web, shop) = (
        cluster(THREE, "w"),
        cluster(&THREE.replace("\"web\"", "\"shop\""), "w"),
    );
    let status = |cluster: &LocalCluster, peers: Vec<PeerSnapshot>| {
        let s = snapshot(2, peers, vec![group(0, RoleName::Witness, 0)]);
        Status::from_parts(&s, &cluster.config, &metrics(cluster), NOW)
    };
    let one = status(&web, vec![peer(0, 32), peer(1, 12)]);
    let deaf = PeerSnapshot {
        two_way: false,
        ..peer(1, 12)
    };
    let other = status(&shop, vec![peer(0, 32), deaf]);
    let many = render(
        &Report {
            version: VERSION,
            clusters: vec![one.clone(), other],
            waiting: vec![],
            next: None,
        },
        Rows::AsFit,
        false,
    );
    insta::assert_snapshot!(format!("{}\n\n{many}", text(one)));
}

#[test]
fn colour_is_only_added() {
    let (plain, coloured) = (
        Report {
            version: VERSION,
            clusters: vec![healthy()],
            waiting: vec![],
            next: None,
        },
        Report {
            version: VERSION,
            clusters: vec![healthy()],
            waiting: vec![],
            next: None,
        },
    );
    let coloured = render(&coloured, Rows::AsFit, true);
    assert!(coloured.contains("\x1b[1m"));
    let stripped = coloured
        .replace("\x1b[1m", "")
        .replace("\x1b[0m", "")
        .replace("\x1b[31m", "");
    assert_eq!(stripped, render(&plain, Rows::AsFit, false));
}

#[test]
fn what_any_part_of_the_daemon_reports_is_an_alarm_until_it_is_over() {
    let cluster = cluster(THREE, "lb0");
    let mut m = metrics(&cluster);
    let (foreign, full) = ("10.0.0.50/24 is there".to_owned(), "it is full".to_owned());
    let (new, over) = m.alarms("kernel", vec![foreign.clone()]);
    assert_eq!((new, over), (vec![foreign.clone()], vec![]));
    let (new, over) = m.alarms("sockets", vec![full.clone()]);
    assert_eq!((new, over), (vec![full.clone()], vec![]));
    let (new, over) = m.alarms("kernel", vec![foreign.clone()]);
    assert_eq!((new, over), (vec![], vec![]), "said already");
    let holds = || {
        let says = onehold_core::advert::Statement {
            ready: false,
            ..Default::default()
        };
        let lb1 = PeerSnapshot {
            says: vec![says],
            ..peer(1, 32)
        };
        let mut g = group(0, RoleName::Holder, 0);
        (g.eligible, g.ready) = (true, false);
        g.healthy = false;
        snapshot(0, vec![lb1, peer(2, 12)], vec![g])
    };
    let why = "fd00::50: IPv6 is disabled on eth0".to_owned();
    let unhealthy = Input::Health {
        group: GroupId(0),
        healthy: false,
    };
    m.input(&unhealthy, Some(why));
    let alarms = |m: &Metrics| Status::from_parts(&holds(), &cluster.config, m, NOW).alarms;
    insta::assert_snapshot!(alarms(&m).join("\n"));
    let (new, over) = m.alarms("kernel", vec![]);
    assert_eq!((new, over), (vec![], vec![foreign]));
    assert!(alarms(&m).ends_with(&[full]), "{:?}", alarms(&m));
}

#[test]
fn what_is_not_served_yet_comes_first_and_all_is_not_well() {
    let why = "/etc/onehold/web.toml:3: cluster.secret_file: /etc/onehold/secret does not exist";
    let waiting = vec![Waiting {
        cluster: Some("web".to_owned()),
        why: why.to_owned(),
    }];
    for clusters in [vec![], vec![healthy()], vec![healthy(), healthy()]] {
        let report = |waiting| Report {
            version: VERSION,
            clusters: clusters.clone(),
            waiting,
            next: None,
        };
        assert!(
            clusters.is_empty() || render(&report(vec![]), Rows::AsFit, false).contains("all well")
        );
        let text = render(&report(waiting.clone()), Rows::AsFit, false);
        assert!(
            text.starts_with("  ! web is not served yet, waiting: "),
            "{text}"
        );
        assert!(!text.contains("all well"), "{text}");
    }
}

/// The part of a lease that the guard takes is missing when the network is slow.
#[test]
fn a_lease_that_is_too_short_for_guard_and_network_is_an_alarm() {
    let fast = THREE.replace(
        "interval = \"100ms\"\nlease = \"450ms\"",
        "profile = \"fast\"",
    );
    let cluster = cluster(&fast, "lb0");
    let mut m = metrics(&cluster);
    let held = group(0, RoleName::Holder, 0);
    let holds = snapshot(0, vec![peer(1, 2), peer(2, 2)], vec![held]);
    let mut gaps = |early, trip| {
        m.guard.ends_early = Span::from_millis(early);
        for peer in &mut m.peers {
            peer.rtt = Some(Span::from_millis(trip));
        }
        let mut alarms = Status::from_parts(&holds, &cluster.config, &m, NOW).alarms;
        alarms.retain(|alarm| alarm.starts_with("timing.lease"));
        alarms.join("; ")
    };
    assert_eq!(gaps(0, 30), "");
    assert_eq!(gaps(12, 16), "");
    let why = gaps(12, 20);
    assert!(
        why.contains("round trip of 20ms") && why.contains("for 18ms at most"),
        "{why}"
    );
    let why = gaps(30, 0);
    assert!(why.contains("60ms is too short for the bpf guard"), "{why}");
}

/// Every member says so: the holder, the standby that is kept back, and the witness.
#[test]
fn a_stranger_that_holds_is_named_by_every_member() {
    let alarms = |text: &str, me: &str, role, holder: Option<u8>, holds, age| {
        let cluster = cluster(text, me);
        let mut m = metrics(&cluster);
        let from = "10.0.0.66:6946".parse().unwrap();
        let (digest, at) = (ConfigDigest(0xbad), before(age));
        let _ = m.other_config(OtherConfig {
            digest,
            from,
            at,
            holds,
        });
        let mut g = group(0, role, 0);
        g.holder = holder.map(MemberId);
        g.ready = role == RoleName::Holder;
        let peers = (cluster.config.peers())
            .map(|id| PeerSnapshot {
                two_way: text == THREE,
                ..peer(id.0, 12)
            })
            .collect();
        let s = snapshot(cluster.config.me().0, peers, vec![g]);
        let mut alarms = Status::from_parts(&s, &cluster.config, &m, NOW).alarms;
        alarms.retain(|alarm| alarm.starts_with("web: ") || alarm.starts_with("api: "));
        alarms.join("\n")
    };
    use RoleName::{Holder, Standby, Witness};
    for (me, role) in [("lb0", Holder), ("lb1", Standby), ("w", Witness)] {
        let both = alarms(THREE, me, role, Some(0), true, 60);
        let words = "web: two hold: lb0, and a machine at 10.0.0.66:6946 says that it holds, too, by another file";
        assert!(both.starts_with(words), "{me}: {both}");
        let all = alarms(THREE, me, role, Some(0), false, 60);
        assert!(!all.contains("two hold"), "{all}");
        let all = alarms(THREE, me, role, Some(0), true, 5_000);
        assert!(!all.contains("two hold"), "{all}");
    }
    for (text, me, role) in [
        (TWO, "lb1", Standby),
        (THREE, "lb1", Standby),
        (THREE, "w", Witness),
    ] {
        let kept = alarms(text, me, role, None, true, 60);
        assert!(
            kept.contains("by another file, so no member takes hold beside it"),
            "{kept}"
        );
        assert!(!kept.contains("no member is known"), "{kept}");
        assert!(!kept.contains("two-way with 0"), "{kept}");
        let free = alarms(text, me, role, None, false, 60);
        assert!(free.contains("no member is known to hold it"), "{free}");
    }
}

#[test]
fn that_no_standby_could_take_over_is_said_by_every_member_that_hears_it() {
    let alarms = |me: &str, role, holder, ready| {
        let cluster = cluster(THREE, me);
        let says = onehold_core::advert::Statement {
            ready,
            ..Default::default()
        };
        let peers = (cluster.config.peers())
            .map(|id| PeerSnapshot {
                // The holder says so about itself, too: that is not a standby.
                says: vec![says],
                ..peer(id.0, 12)
            })
            .collect();
        let s = snapshot(cluster.config.me().0, peers, vec![group(0, role, holder)]);
        Status::from_parts(&s, &cluster.config, &metrics(&cluster), NOW).alarms
    };
    let why = "is heard, but could not take over: `onehold status` there says why";
    let of = |name: &str| vec![format!("web: {name} {why}")];
    assert_eq!(alarms("lb0", RoleName::Holder, 0, false), of("lb1"));
    assert_eq!(alarms("w", RoleName::Witness, 0, false), of("lb1"));
    assert_eq!(alarms("w", RoleName::Witness, 1, false), of("lb0"));
    assert_eq!(alarms("lb1", RoleName::Standby, 0, false), [""; 0]);
    assert_eq!(alarms("w", RoleName::Witness, 0, true), [""; 0]);
}

/// It would have to take over without the present holder.
#[test]
fn a_standby_that_hears_the_holder_and_not_the_witness_says_what_it_lacks() {
    let cluster = cluster(THREE, "lb1");
    let deaf = PeerSnapshot {
        two_way: false,
        ..peer(2, 90_000)
    };
    let g = || group(0, RoleName::Standby, 0);
    let alarms = |w| {
        let s = snapshot(1, vec![peer(0, 12), w], vec![g()]);
        Status::from_parts(&s, &cluster.config, &metrics(&cluster), NOW).alarms
    };
    let why = "web: could not take over when lb0 fails: without lb0, two-way with 0 of the 1 members it needs; start \
               or reconnect w";
    let said = alarms(deaf);
    assert!(said[0].starts_with("w is not heard"), "{said:?}");
    assert_eq!(said[1..], [why]);
    assert_eq!(alarms(peer(2, 12)), [""; 0]);
}

#[test]
fn each_check_and_hook_is_shown_with_what_it_said_last() {
    let cluster = cluster(THREE, "lb0");
    let mut m = metrics(&cluster);
    let check = |name: &str, passing, since_ms, said: &str| CheckReport {
        name: name.to_owned(),
        passing,
        since_ms,
        said: said.to_owned(),
    };
    let hook = |name: &str, failures, said: &str| HookReport {
        name: name.to_owned(),
        failures,
        since_ms: 1_500,
        said: said.to_owned(),
    };
    let long = "the upstream says that it does not know who asks, and that it would rather be asked later ";
    let checks = vec![
        check("gateway", Some(true), 11_100_000, ""),
        check("http", Some(false), 12_000, "502 Bad Gateway"),
        check("queue", Some(false), 60_000, long),
        check("unit", None, 0, ""),
    ];
    let hooks = vec![hook("holding", 7, "HTTP 429"), hook("released", 0, "")];
    m.reported(GroupId(0), checks, hooks, before(2_000));
    let mut g = group(0, RoleName::Standby, 1);
    g.healthy = false;
    g.ready = false;
    let status = Status::from_parts(&snapshot(0, Vec::new(), vec![g]), &cluster.config, &m, NOW);
    let text = text(status);
    insta::assert_snapshot!(&text[text.find("GROUP").unwrap()..text.find("MEMBER").unwrap()]);
}

/// Nobody answers while a gate waits, so all is not well; and what was waited for in vain is not
/// forgotten when the gate is open.
#[test]
fn r19_a_gate_that_waits_is_an_alarm_and_so_is_what_was_not_done() {
    let cluster = cluster(TWO, "lb0");
    let mut m = metrics(&cluster);
    let policy = BeforeHold {
        deadline: Span::from_millis(60_000),
        failing: Failing::Open,
    };
    m.waits(GroupId(0), policy, before(12_300));
    let mut api = group(0, RoleName::Holder, 0);
    api.open = false;
    let of_api = |m: &Metrics, api: &GroupSnapshot| -> Vec<String> {
        let all = snapshot(0, vec![peer(1, 32)], vec![api.clone()]);
        let status = Status::from_parts(&all, &cluster.config, m, NOW);
        let alarms = status.alarms.into_iter();
        alarms
            .filter(|alarm| alarm.contains("before_hold"))
            .collect()
    };
    assert_eq!(
        of_api(&m, &api),
        [
            "api: held here, mute for 12.3 s, though `ip address` shows the addresses: nobody answers before before_hold is done, or its deadline of 1 \
             min 0 s over; `journalctl -u onehold-agent` says what it does (R-19)"
        ]
    );
    api.open = true;
    assert_eq!(of_api(&m, &api), Vec::<String>::new());
    for _ in 0..3 {
        m.waited(GroupId(0), Some("it is not done after 60s".to_owned()));
    }
    assert_eq!(
        of_api(&m, &api),
        [
            "api: before_hold was not done the last 3 times that it was waited for: it is not done after 60s. \
             Repair it, or say `onehold resume api` (R-19)"
        ]
    );
    m.waited(GroupId(0), None);
    assert_eq!(of_api(&m, &api), Vec::<String>::new());
}
