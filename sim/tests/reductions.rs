//! What makes the model small makes it no other: the reductions of the model checker are compared with
//! walks without them, over every world of small configurations.

use onehold_core::advert::Advert;
use onehold_sim::model::configs;
use onehold_sim::model::memo::Memo;
use onehold_sim::model::search::{Limits, search};
use onehold_sim::world::{Direct, Known, Setup, World};
use std::collections::HashSet;
use std::sync::Arc;

type Plain = World<Arc<Known>, Arc<Advert>>;

fn setup(name: &str) -> Setup {
    let found = configs::all().into_iter().find(|c| c.name == name);
    found
        .unwrap_or_else(|| panic!("no configuration {name}"))
        .setup
}

/// Every world, by the plainest search there is.
fn every_world(direct: &Direct) -> HashSet<Plain> {
    let mut seen: HashSet<Plain> = HashSet::new();
    let mut waiting = World::beginnings(direct);
    while let Some(world) = waiting.pop() {
        if seen.insert(world.clone()) {
            world.expand(direct, &mut |_, next, _| waiting.push(next));
        }
    }
    seen
}

const SMALL: [&str; 4] = ["failback", "steady", "survivor-full-cut", "survivor-heal"];

/// A past that is kept for longer gives more worlds, and they differ in nothing but that past: without
/// it they are exactly the worlds of the reduced walk.
#[test]
fn a_longer_past_makes_no_difference() {
    let mut told_apart = 0;
    for name in SMALL {
        let reduced = Direct(setup(name));
        let longer = Direct(Setup {
            hindsight: 5,
            ..setup(name)
        });
        let (fewer, more) = (every_world(&reduced), every_world(&longer));
        told_apart += more.len() - fewer.len();
        // (What is sent is as old as it is until time passes; then the reduced walk forgets, too.)
        let forgetting = |worlds: &HashSet<Plain>| -> HashSet<Plain> {
            #[expect(clippy::disallowed_methods, reason = "a set from a set")]
            worlds.iter().map(|w| w.forgetting(&reduced)).collect()
        };
        assert!(forgetting(&fewer) == forgetting(&more), "{name}");
    }
    assert!(
        told_apart > 1_000,
        "there was something to forget: {told_apart}"
    );
}

/// Remembered turns and packed worlds are as many as plain ones.
#[test]
fn remembering_turns_makes_no_difference() {
    for name in SMALL {
        let memo = Memo::new(setup(name));
        let limits = Limits {
            states: u64::MAX,
            stop_at_first: false,
        };
        let found = search(&memo, &[], limits, |_| ());
        assert!(found.exhaustive);
        let plain = every_world(&Direct(setup(name))).len() as u64;
        assert_eq!(found.unique, plain, "{name}");
    }
}

/// A search that is stopped does not say that it saw everything.
#[test]
fn a_stopped_search_is_not_exhaustive() {
    let memo = Memo::new(setup("failback"));
    let limits = Limits {
        states: 100,
        stop_at_first: false,
    };
    assert!(!search(&memo, &[], limits, |_| ()).exhaustive);
}
