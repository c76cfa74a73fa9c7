//! The form of `status --json`: what machines rely on.

use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The moment at which the example is printed.
const PRINTED: i64 = 1_795_880_401_123;
const PAGE: &str = include_str!("../../../../docs/src/status-json.md");

/// A report in which nothing is empty.
fn full() -> Report {
    let mut status = healthy();
    status.keys = vec!["1a2b3c4d".to_owned(), "5e6f7081".to_owned()];
    status.changing = Some(ChangeStatus {
        other: "71e0a4d2c9b83f56".to_owned(),
        in_force: false,
        waits_for: vec!["lb1".to_owned()],
        silent: vec!["lb1".to_owned()],
        under_way: vec![UnderWay {
            group: "web".to_owned(),
            what: "releasing".to_owned(),
            for_ms: Some(12.0),
        }],
    });
    let g = &mut status.groups[0];
    g.checks = vec![CheckStatus {
        name: "page".to_owned(),
        passing: Some(true),
        for_ms: 60_000.0,
        said: "ok".to_owned(),
    }];
    g.hooks = vec![HookStatus {
        name: "holding".to_owned(),
        failures: 0,
        ended_ms_ago: 7_380_000.0,
        said: "moved".to_owned(),
    }];
    g.probes = Some(ProbeStatus {
        asked: 20,
        answered: 19,
        asked_ms_ago: Some(12_000.0),
        answered_ms_ago: Some(12_000.0),
        unasked: false,
        no_echo: false,
    });
    status.margins = vec![MarginStatus {
        assumption: Assumption::Drift,
        of: Some("lb1".to_owned()),
        unit: "ppm".to_owned(),
        allowed: 2_000.0,
        lately: 11.0,
        most: 12.0,
        most_ms_ago: 60_000.0,
    }];
    let p = &mut status.peers[0];
    p.key = Some("1a2b3c4d".to_owned());
    p.says = vec![SaysStatus {
        group: "web".to_owned(),
        ready: true,
        holds: false,
        mute: false,
    }];
    p.lacks = vec![LackStatus {
        group: "web".to_owned(),
        why: "without lb0, two-way with 0 of the 1 members it needs; start or reconnect w"
            .to_owned(),
        for_ms: 12_000.0,
    }];
    p.orders = vec![LackStatus {
        group: "web".to_owned(),
        why: "the operator said freeze (nothing moves by itself until `onehold thaw`)".to_owned(),
        for_ms: 12_000.0,
    }];
    p.frames = vec![FrameStatus {
        interface: "eth0".to_owned(),
        to: Some("02:00:00:00:00:01".to_owned()),
        heard_ms_ago: Some(32.0),
        received: 12,
        sent: 13,
        refused: 1,
        refused_ms_ago: Some(60_000.0),
        refused_because: Some("the interface is down".to_owned()),
        why_not: None,
        rejected: None,
    }];
    Report {
        version: VERSION,
        clusters: vec![status],
        waiting: vec![Waiting {
            cluster: Some("shop".to_owned()),
            why: "/etc/onehold/shop.secret does not exist".to_owned(),
        }],
        next: None,
    }
}

/// A change of it is a change for those who read it: a new key needs a line on the page, one that
/// goes away or means something else a new version.
#[test]
fn the_form_is_what_it_was() {
    let report = full();
    let json = json(&report, PRINTED);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn beside_each_age_there_is_the_time() {
    let json = json(&full(), PRINTED);
    let g = &json["clusters"][0]["groups"][0];
    let p = &json["clusters"][0]["peers"][0];
    assert_eq!(json["at"], "2026-11-28T15:40:01.123Z");
    assert_eq!(p["heard_ms_ago"], 32.0);
    assert_eq!(p["heard_at"], "2026-11-28T15:40:01.091Z");
    assert_eq!(g["last_change"]["at"], "2026-11-28T13:36:57.123Z");
    assert_eq!(g["checks"][0]["since"], "2026-11-28T15:39:01.123Z");
    assert_eq!(p["paths"][0]["refused_at"], Value::Null);
}

/// The keys of each object, by the path to it.
fn keys(of: &Value, path: &str, all: &mut BTreeMap<String, BTreeSet<String>>) {
    match of {
        Value::Array(items) => {
            items
                .iter()
                .for_each(|item| keys(item, &format!("{path}[]"), all));
        }
        Value::Object(map) if path.ends_with("rejected") => {
            assert!(!map.is_empty(), "its keys are the reasons");
        }
        Value::Object(map) => {
            all.entry(path.to_owned())
                .or_default()
                .extend(map.keys().cloned());
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                keys(value, &format!("{path}{dot}{key}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The keys that the page lists, by the path in the heading above them.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let (mut all, mut path) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new());
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            path = heading.split('`').nth(1).unwrap_or_default().to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let cell = row.split(" | ").next().unwrap_or_default();
            let names = cell.split('`').step_by(2).map(str::to_owned);
            all.entry(path.clone())
                .or_default()
                .extend(names.filter(|n| !n.is_empty()));
        }
    }
    all
}

#[test]
fn every_key_is_on_the_page_and_none_that_is_not_there() {
    let mut there = BTreeMap::new();
    keys(&json(&full(), PRINTED), "", &mut there);
    assert_eq!(there.len(), 21, "{:?}", there.keys());
    assert_eq!(listed(), there);
    assert!(PAGE.contains(&format!("version {VERSION}")), "the version");
}
