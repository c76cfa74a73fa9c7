//! What makes the model small does not change it: the reductions of the model checker are compared
//! with walks without them, over every world of small configurations.

use onehold::trace::Reader;
use onehold_core::advert::Advert;
use onehold_sim::model::configs;
use onehold_sim::model::memo::Memory;
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

const SMALL: [&str; 5] = [
    "failback",
    "steady",
    "survivor-full-cut",
    "survivor-heal",
    "members-calm-add",
];

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

/// What the plainest breadth-first search finds: worlds, steps, and the greatest depth.
fn counts(direct: &Direct) -> (u64, u64, u32) {
    let (mut seen, mut level) = (HashSet::new(), World::beginnings(direct));
    level.retain(|world| seen.insert(world.clone()));
    let (mut steps, mut depth) = (0, 0);
    loop {
        let mut next = Vec::new();
        for world in level {
            world.expand(direct, &mut |_, to, _| {
                steps += 1;
                if seen.insert(to.clone()) {
                    next.push(to);
                }
            });
        }
        if next.is_empty() {
            return (seen.len() as u64, steps, depth);
        }
        (level, depth) = (next, depth + 1);
    }
}

/// With remembered turns, packed worlds and several threads there are as many worlds and steps as
/// without, as deep.
#[test]
fn remembering_turns_makes_no_difference() {
    for name in SMALL {
        let plain = counts(&Direct(setup(name)));
        let found = search(&Memory::new(setup(name)), &[], all(2), |_| ());
        assert!(found.exhaustive);
        let found = (found.unique, found.transitions, found.depth);
        assert_eq!(found, plain, "{name}");
    }
}

/// However many threads search, they find the same, and the same shortest way to it. (Levels of
/// these are large enough for several threads.)
#[test]
fn threads_make_no_difference() {
    for name in ["takeover", "majority-2", "survivor-full-cut"] {
        let configuration = configs::all().into_iter().find(|c| c.name == name);
        let configuration = configuration.expect("it exists");
        let found = |threads| {
            let memory = Memory::new(configuration.setup.clone());
            let found = search(&memory, &configuration.properties, all(threads), |_| ());
            assert!(found.exhaustive && found.first.iter().any(Option::is_some));
            let counts = (found.unique, found.transitions, found.depth, found.parts);
            (counts, found.beginning, found.first)
        };
        let one = found(1);
        for threads in 2..=5 {
            assert_eq!(found(threads), one, "{name} on {threads} threads");
        }
    }
}

/// No end to the search but that nothing is left.
fn all(threads: usize) -> Limits {
    Limits {
        states: u64::MAX,
        stop_at_first: false,
        threads,
    }
}

/// On clocks that go on, with the whole past kept, every run leads to the same facts, and its
/// trace is what the core does: random runs of every configuration, also of the large ones.
#[test]
fn letting_time_stand_still_makes_no_difference() {
    for configuration in configs::all() {
        let memory = Memory::new(configuration.setup.clone());
        let memo = memory.memo();
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
    let memory = Memory::new(setup("failback"));
    let limits = Limits {
        states: 100,
        ..all(2)
    };
    assert!(!search(&memory, &[], limits, |_| ()).exhaustive);
}
