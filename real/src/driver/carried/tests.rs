use super::*;
use crate::config_file::LocalCluster;
use crate::config_file::tests::{THREE, TWO, cluster};
use crate::upgrade::{World, check};
use onehold_core::advert::{Advert, GroupId, Incarnation, MemberId};
use onehold_core::auth;
use onehold_core::input::Input;
use serde_json::{Value, json};

const START: LocalTime = LocalTime::from_nanos(1_000_000_000);

fn at(ms: u64) -> LocalTime {
    START.plus(Span::from_millis(ms))
}

/// What lb1 says to lb0.
fn advert(local: &LocalCluster, sent_at: LocalTime, echo: Option<LocalTime>) -> Input {
    let advert = Advert {
        cluster: local.config.cluster(),
        config: local.config.digest(),
        change: onehold_core::advert::Change::None,
        from: MemberId(1),
        to: MemberId(0),
        incarnation: Incarnation(9),
        to_incarnation: Some(Incarnation(7)),
        sent_at,
        echo,
        echo_age: Span::ZERO,
        quarantined: false,
        groups: local
            .config
            .groups()
            .iter()
            .map(|_| Default::default())
            .collect(),
    };
    let mut bytes = Vec::new();
    auth::seal(&local.keys(), &advert, &mut bytes);
    let opened = auth::open(&local.keys(), local.config.cluster(), &bytes);
    Input::Received(opened.expect("its own seal"))
}

/// The state of lb0, which has heard lb1, was just refused a hold, and serves.
fn state() -> (State, String) {
    let local = cluster(THREE, "lb0");
    let metrics = Metrics::new(&local);
    let (config, keys) = (local.config.clone(), local.keys());
    let mut s = Served::start(config, keys, metrics, Incarnation(7), START, Span::ZERO);
    let mut now = START;
    let mut give = |s: &mut Served, input: Input| {
        now = now.plus(Span::from_millis(1));
        let _ = s.node.handle(&s.config, now, input, &mut Vec::new());
    };
    let group = GroupId(0);
    give(&mut s, Input::Wake);
    give(&mut s, advert(&local, at(5_000), Some(at(1))));
    let eligible = Input::Eligible {
        group,
        eligible: true,
    };
    give(&mut s, eligible);
    let mut cooldowns = Cooldowns::default();
    cooldowns.refused(at(3), 0, group);
    let mut openings = Openings::default();
    let _ = openings.reported(0, group, Err("sick".to_owned()));
    let mut releases = Releases::default();
    releases.held(0, group, at(400));
    let mut texts = Vec::new();
    let config = local.in_force(&mut texts);
    let world = json!({
        "clusters": [{
            "config": config,
            "lock": { "name": "onehold/1/lb0/2", "fd": 9 },
            "refused": null,
        }],
        "sockets": [{ "local": "10.0.0.10:6946", "takes": "Any", "fd": 10 }],
        "closed_aside": [20],
        "kernel": {
            "guard": {
                "gate": { "bpf": {
                    "deadlines": { "places": 11, "deadlines": 14, "room": 2048 },
                    "programs": { "own": [12, 13], "elsewhere": null },
                    "twin": { "own": [15, 16], "elsewhere": [17, 18] },
                    "made": [2],
                } },
                "replaced": null,
                "addresses": ["10.0.0.50", "2001:db8::50"],
                "earlier": [],
                "routes": [],
                "posts": [2, 3],
                "shortcoming": null,
                "pushed": null,
            },
            "groups": [{
                "hold": { "deadline": 1_400_000_000, "valid_until": 7_000_000_000_u64 },
                "left": null,
                "open_until": 1_400_000_000,
                "announcing": { "first": 1, "began": 2, "defence": false, "sent": 3 },
                "claimed": null,
                "refused": [["2001:db8::50", "eth0", "no IPv6"]],
                "reported": { "eligible": { "Ok": null }, "whole": { "Err": "no IPv6" } },
            }],
        },
        "health": { "0": { "Err": "sick" } },
        "fit": { "0": { "Ok": null } },
        "whole": { "0": { "Ok": null } },
        "awaits": false,
    });
    let mut world: World = serde_json::from_value(world).expect("a world");
    world.parts.2 = texts;
    let driver = Carried {
        nodes: vec![s.carried()],
        cooldowns,
        openings,
        releases,
    };
    let mut state = State::of(at(10), Offer::default(), driver, world).expect("a state");
    state.by = "onehold".to_owned();
    state.pid = 1;
    state.words = vec!["onehold".to_owned(), "run".to_owned()];
    let directory = local.source.parent().expect("a directory");
    (state, directory.display().to_string())
}

/// What version 2 looks like. If this changes, so must the version, and the one before must still be
/// read, if it was released.
#[test]
fn version_2_of_a_state_is_pinned() {
    let (state, directory) = state();
    let text = String::from_utf8(state.encode().unwrap()).unwrap();
    let (head, body) = text.split_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let body = serde_json::to_string_pretty(&body).unwrap();
    insta::assert_snapshot!(format!("{head}\n{body}").replace(&directory, "/etc/onehold"));
}

/// What is printed of it may end in a log.
#[test]
fn a_secret_is_in_the_state_and_in_nothing_that_is_printed() {
    let (state, _) = state();
    let secret = "30313233343536373839616263646566";
    assert!(
        String::from_utf8(state.encode().unwrap())
            .unwrap()
            .contains(secret)
    );
    assert!(!format!("{state:?}").contains(secret));
}

#[test]
fn what_is_read_is_what_was_written_and_does_the_same_next() {
    let (state, _) = state();
    let bytes = state.encode().unwrap();
    let read = State::decode(&bytes).unwrap();
    assert_eq!(read.encode().unwrap(), bytes);
    let proof = check(&bytes).unwrap();
    let due = state.driver.nodes[0]
        .node
        .poll_timeout(&cluster(THREE, "lb0").config);
    assert_eq!(proof.due, due);
    assert!(due.is_some());
    assert_eq!(proof.differs_from(&check(&bytes).unwrap()), None);
}

#[test]
fn a_node_of_another_configuration_is_refused() {
    let (mut state, _) = state();
    let other = cluster(TWO, "lb0").config;
    state.driver.nodes[0].node = Node::start(&other, Incarnation(7), START, Span::ZERO);
    let why = check(&state.encode().unwrap()).unwrap_err();
    assert_eq!(why, "a node of the state is of another configuration");
    state.driver.nodes.clear();
    let why = check(&state.encode().unwrap()).unwrap_err();
    assert_eq!(why, "the state has more clusters than nodes, or fewer");
}

/// One digit of a node, and its next adverts are others.
#[test]
fn a_state_that_was_changed_is_seen() {
    let (mut state, _) = state();
    let before = check(&state.encode().unwrap()).unwrap();
    let text = serde_json::to_string(&state.driver.nodes[0].node).unwrap();
    let sent = at(5_000).as_nanos();
    assert!(text.contains(&sent.to_string()), "{text}");
    let other = text.replace(&sent.to_string(), &(sent + 1).to_string());
    state.driver.nodes[0].node = serde_json::from_str(&other).unwrap();
    let mut after = check(&state.encode().unwrap()).unwrap();
    assert_eq!(
        after.differs_from(&before),
        Some("it would write the state differently")
    );
    after.digest.clone_from(&before.digest);
    assert_eq!(
        after.differs_from(&before),
        Some("it would send other adverts")
    );
}

#[test]
fn what_is_not_known_or_not_whole_is_refused() {
    let (state, _) = state();
    let bytes = state.encode().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    for length in (0..bytes.len()).step_by(41).chain([bytes.len() - 1]) {
        State::decode(&bytes[..length]).unwrap_err();
    }
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        check(text.replacen(from, to, 1).as_bytes()).unwrap_err()
    };
    let version = refused("\"version\":2}", "\"version\":1}");
    assert!(version.contains("of version 1, and onehold "), "{version}");
    assert!(version.contains("restart the daemon"), "{version}");
    refused("onehold state", "onehold trace");
    for (from, to, why) in [
        ("\"pid\":1", "\"pid\":1,\"more\":2", "unknown field `more`"),
        // Also where serde by itself would pass it over.
        (
            "\"sessions\":[{",
            "\"sessions\":[{\"more\":2,",
            "would lose something",
        ),
        (
            "\"sessions\":[",
            "\"more\":2,\"sessions\":[",
            "would lose something",
        ),
        (",\"awaits\":false", "", "missing field `awaits`"),
        ("\"fd\":9", "\"fd\": 9", "would lose something"),
    ] {
        let said = refused(from, to);
        assert!(said.contains(why), "{from} → {to}: {said}");
    }
    // A text that this version reads differently.
    let said = refused("lease = \\\"450ms\\\"", "lease = \\\"500ms\\\"");
    assert!(
        said.contains("reads the configuration in force of cluster `web` differently"),
        "{said}"
    );
    let said = refused("preferred = true", "preferred = maybe");
    assert!(
        said.contains("does not accept the configuration in force"),
        "{said}"
    );
}
