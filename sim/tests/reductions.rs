//! What makes the model small does not change it: the reductions of the model checker are compared
//! with walks without them, over every world of small configurations.

use onehold::trace::Reader;
use onehold_core::advert::Advert;
use onehold_sim::model::configs;
use onehold_sim::model::memo::Memo;
use onehold_sim::model::search::{Limits, search};
use onehold_sim::model::trace::Traced;
use onehold_sim::model::world::{Direct, Known, Setup, World};
use onehold_sim::replay::Replay;
use onehold_sim::simulator::rng::Rng;
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

/// A past that is kept for longer gives more worlds, and they differ only in that past:
/// without it they are exactly the worlds of the reduced walk.
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
        // (What is sent keeps its age until time passes; then the reduced walk forgets, too.)
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

/// With remembered turns and packed worlds there are as many worlds as without.
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

/// On clocks that go on, with the whole past kept, every run leads to the same facts, and its
/// trace is what the core does: random runs of every configuration, also of the large ones.
#[test]
fn letting_time_stand_still_makes_no_difference() {
    for configuration in configs::all() {
        let memo = Memo::new(configuration.setup.clone());
        for seed in 0..4 {
            let mut rng = Rng::new(seed, configuration.name);
            let beginning = rng.below(configuration.setup.rates.len() as u64) as usize;
            let mut world = World::beginnings(&memo).swap_remove(beginning);
            let mut run = Traced::new(&configuration.setup, beginning, Vec::new()).unwrap();
            for _ in 0..300 {
                let mut next = Vec::new();
                world.expand(&memo, &mut |action, world, _| next.push((action, world)));
                let chosen = rng.below(next.len() as u64) as usize;
                let (action, after) = next.swap_remove(chosen);
                world = after;
                if let Err(e) = run.act(action) {
                    panic!("{}, seed {seed}: {e}", configuration.name);
                }
            }
            let trace = run.end("the end").unwrap();
            let mut replay = Replay::default();
            let reader = Reader::new(configuration.name, trace.as_slice()).unwrap();
            replay.read(reader).unwrap();
            let (good, said) = replay.verdict();
            assert!(good, "{}, seed {seed}: {said}", configuration.name);
        }
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
