//! S2 of two members alone is asked by what passes between them. Here two answer on purpose, for as
//! long as a case says, and the judge says whether they may.

use super::{LB0, LB1, WEB};
use onehold_core::advert::MemberId;
use onehold_sim::fault::Fault;
use onehold_sim::properties::PropertyId;
use onehold_sim::simulator::record::{By, Record, What};
use onehold_sim::simulator::scenario::{self, Scenario};
use onehold_sim::simulator::verdict;
use onehold_sim::simulator::watch::Watch;
use std::path::Path;
use std::rc::Rc;

/// Faults with their moments, in milliseconds.
type Faults = [(u64, &'static str)];

/// Two machines alone; the defaults are an interval of 100 ms, D of 456 ms and S of 607 ms.
fn alone(keys: &str) -> Scenario {
    let text =
        format!("title = 'x'\nabout = 'x'\nlength = '60s'\narbitration = 'survivor'\n{keys}");
    scenario::parse(Path::new("alone.toml"), text).unwrap()
}

/// When S2 is broken if lb0 answers all the time, and lb1 from then until then. In milliseconds.
fn broken(keys: &str, faults: &Faults, (from, until): (u64, u64)) -> Option<u64> {
    let scenario = alone(keys);
    let plan = Rc::new(scenario.plan.clone());
    let (open, shut) = (What::Opened(WEB), What::Shut(WEB, By::Release));
    let mut records: Vec<(u64, Option<MemberId>, What)> = vec![
        (0, Some(LB0), open.clone()),
        (from, Some(LB1), open),
        (until, Some(LB1), shut),
    ];
    for (at, written) in faults {
        let fault: Fault = toml::from_str(written).unwrap();
        let member = fault.member().map(|name| plan.id(name));
        records.push((*at, member, What::Inflicted(fault)));
    }
    records.sort_by_key(|(at, ..)| *at);
    let mut watch = Watch::new(&plan);
    for (at, member, what) in records {
        let at = at * 1_000_000;
        watch.see(&Record { at, member, what });
    }
    let failures = verdict::failures(&scenario, &watch);
    let split = failures.iter().find(|f| f.property == PropertyId::S2);
    split.map(|f| f.at / 1_000_000)
}

const UDP: (u64, &str) = (1_000, "cut_datagrams = 'lb0 <-> lb1'");
const FRAMES: (u64, &str) = (1_000, "cut_frames = 'lb0 <-> lb1'");
const PROBES: (u64, &str) = (1_000, "cut_probes = 'lb0 <-> lb1'");
const PROBES_THERE: (u64, &str) = (1_000, "cut_probes = 'lb0 -> lb1'");

#[test]
fn two_may_never_hold_while_adverts_pass_in_a_direction_by_whichever_way() {
    let cases: [&Faults; 9] = [
        &[],
        &[UDP],
        &[UDP, PROBES],
        &[FRAMES, PROBES],
        &[(1_000, "cut = 'lb0 -> lb1'")],
        &[UDP, (1_000, "cut_frames = 'lb0 -> lb1'")],
        &[
            (1_000, "cut_datagrams = 'lb0 -> lb1'"),
            (1_000, "cut_frames = 'lb1 -> lb0'"),
        ],
        &[(1_000, "own_address = { of = 'lb1', is = false }")],
        &[
            (1_000, "cut = 'lb0 <-> lb1'"),
            (2_000, "heal = 'lb0 <-> *'"),
        ],
    ];
    for faults in cases {
        assert_eq!(
            broken("", faults, (10_000, 10_001)),
            Some(10_000),
            "{faults:?}"
        );
    }
}

#[test]
fn two_may_hold_for_good_only_while_nothing_passes_both_ways() {
    let cut = [(1_000, "cut = 'lb0 <-> lb1'")];
    for (keys, faults) in [
        ("", &[UDP, FRAMES, PROBES][..]),
        ("", &cut),
        ("", &[(1_000, "keep = 'lb0 <-> lb1'")]),
        ("evidence = 'none'", &[UDP, FRAMES]),
        ("frames = false\nevidence = 'none'", &[UDP]),
        ("frames = false", &[UDP, PROBES]),
        // A probe passes, and its answer does not.
        (
            "",
            &[UDP, FRAMES, PROBES_THERE, (1_000, "cut = 'lb0 -> lb1'")],
        ),
    ] {
        assert_eq!(
            broken(keys, faults, (3_000, 50_000)),
            None,
            "{keys} {faults:?}"
        );
    }
}

#[test]
fn after_a_heal_two_may_hold_for_two_intervals_and_a_way() {
    let healed = [
        (1_000, "cut = 'lb0 <-> lb1'"),
        (5_000, "heal = 'lb0 <-> lb1'"),
    ];
    assert_eq!(broken("", &healed, (3_000, 5_200)), None);
    assert_eq!(broken("", &healed, (3_000, 5_300)), Some(5_205));
    assert_eq!(broken("", &healed, (5_100, 5_150)), None);
    // One that hears the other in one direction only lets its lease end.
    let one_way = [
        (1_000, "cut = 'lb0 <-> lb1'"),
        (5_000, "heal = 'lb0 -> lb1'"),
    ];
    assert_eq!(broken("", &one_way, (3_000, 5_600)), None);
    assert_eq!(broken("", &one_way, (3_000, 5_700)), Some(5_662));
    // A member that may have been paused holds for what is left of its lease.
    let paused = [
        healed[0],
        healed[1],
        (4_000, "pause = 'lb0'"),
        (6_000, "resume = 'lb0'"),
    ];
    let keys = "[[timeline]]\nat = '4s'\npause = 'lb0'";
    assert_eq!(broken(keys, &paused, (3_000, 5_600)), None);
    assert_eq!(broken(keys, &paused, (3_000, 5_700)), Some(5_662));
}

#[test]
fn while_both_are_answered_two_may_hold_for_five_intervals() {
    let silent = [UDP, FRAMES];
    assert_eq!(broken("", &silent, (3_000, 3_700)), None);
    assert_eq!(broken("", &silent, (3_000, 3_750)), Some(3_706));
    // Also when they have just begun to be answered.
    let answered = [
        UDP,
        FRAMES,
        PROBES,
        (5_000, "heal = 'lb0 <-> lb1'"),
        (5_000, UDP.1),
        (5_000, FRAMES.1),
    ];
    assert_eq!(broken("", &answered, (3_000, 5_700)), None);
    assert_eq!(broken("", &answered, (3_000, 5_750)), Some(5_706));
}

#[test]
fn while_one_is_answered_two_may_hold_for_two_s() {
    let silent = [UDP, FRAMES, PROBES_THERE];
    assert_eq!(broken("", &silent, (3_000, 4_400)), None);
    assert_eq!(broken("", &silent, (3_000, 4_450)), Some(4_420));
}
