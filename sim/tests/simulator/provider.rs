//! A provider's table follows the holder, whatever a seed does to the cluster and the provider to calls.

use onehold_core::advert::MemberId;
use onehold_sim::show::timeline::Answers;
use onehold_sim::simulator::provider::{Call, Provider, Terms};
use onehold_sim::simulator::sweep::draw::Draw;
use onehold_sim::simulator::sweep::judge;
use onehold_sim::simulator::watch::Watch;
use std::rc::Rc;
use std::sync::OnceLock;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// How many seeds are run.
const SEEDS: u64 = 48;

/// The shipped movers' defaults, and a provider on its worst day: calls late, twice, lost, in another order for each
/// seed.
fn terms(seed: u64, calm: u64) -> Terms {
    let call = |carried_out: &[u64], over: u64| Call {
        carried_out: carried_out.to_vec(),
        over,
    };
    let mut calls = vec![
        call(&[300 * MS], 400 * MS),
        call(&[3 * SECOND], 10 * SECOND), // the mover gives up, and it comes all the same
        call(&[200 * MS, 7 * SECOND], 300 * MS), // twice
        call(&[], 10 * SECOND),           // lost
        call(&[25 * SECOND], 25 * SECOND), // asked, and then its machine stood still
        call(&[500 * MS, 600 * MS], 500 * MS),
    ];
    let turn = usize::try_from(seed).unwrap() % calls.len();
    calls.rotate_left(turn);
    Terms {
        look: 150 * MS,
        reconcile: Some(60 * SECOND),
        asks: true,
        calls,
        takes: 2 * SECOND,
        calm,
    }
}

/// A group's holders in a seed's run, and when its faults were over.
struct Held {
    seed: u64,
    answers: Answers<MemberId, u64>,
    calm: u64,
}

/// Of every group of some seeds: what happens beside a provider does not depend on it.
fn runs() -> &'static [Held] {
    static RUNS: OnceLock<Vec<Held>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let of = |seed| {
            let draw = Draw::of(seed);
            let mut watch = None;
            let seen = judge::run(&draw, &draw.incidents, |plan, record| {
                let watch = watch.get_or_insert_with(|| Watch::new(&Rc::new(plan.clone())));
                watch.see(record);
            });
            seen.unwrap();
            let calm = draw.calm * 1_000;
            let groups = watch.expect("something happened").groups.into_iter();
            groups.map(move |group| Held {
                seed,
                answers: group.answers,
                calm,
            })
        };
        (0..SEEDS).flat_map(of).collect()
    })
}

/// What was seen of all of them.
#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    /// How often the table named one that did not answer, after it had named the one that did.
    taken_back: u32,
    /// Calls that were not their member's to make.
    not_theirs: Vec<String>,
    /// Tables that did not name the holder after the bound.
    wrong: Vec<String>,
}

/// Plays the provider beside the runs, on terms that are changed.
fn play(change: impl Fn(&mut Terms)) -> Seen {
    let mut seen = Seen::default();
    for Held {
        seed,
        answers,
        calm,
    } in runs()
    {
        let mut terms = terms(*seed, *calm);
        let bound = terms.bound();
        let late = terms.calls.iter().flat_map(|call| &call.carried_out).max();
        let late = late.copied().unwrap_or(0);
        change(&mut terms);
        let since = answers.changes().last().map_or(0, |(at, _)| at);
        let right = since.max(*calm) + bound;
        let provider = Provider::play(answers, right + 600 * SECOND, &terms);
        seen.calls += provider.calls;
        let mut before = None;
        for carried in &provider.table {
            let answering = answers.at(carried.at).1;
            let was_right = before.is_some_and(|of| answering.contains(&of));
            if was_right && !answering.contains(&carried.of) {
                seen.taken_back += 1;
            }
            before = Some(carried.of);
            let held = answers.at(carried.asked).1.contains(&carried.of);
            if !held || carried.at - carried.asked > late {
                seen.not_theirs.push(format!("seed {seed}: {carried:?}"));
            }
        }
        if let [holder] = answers.now()
            && let Some(at) = provider.wrong(right, *holder)
        {
            seen.wrong
                .push(format!("seed {seed}: not {holder:?} at {at}"));
        }
    }
    seen
}

#[test]
fn the_table_names_the_holder_within_the_bound_and_only_holders_call() {
    let seen = play(|_| {});
    assert_eq!((&seen.wrong[..], &seen.not_theirs[..]), (&[][..], &[][..]));
    assert!(seen.calls > 100, "{seen:?}");
    assert!(seen.taken_back > 5, "no late call did any harm: {seen:?}");
}

#[test]
fn a_mover_that_is_told_of_changes_only_leaves_the_table_with_a_loser() {
    let seen = play(|terms| terms.reconcile = None);
    assert!(
        !seen.wrong.is_empty(),
        "a late call that nobody takes back: {seen:?}"
    );
}

#[test]
fn a_mover_that_does_not_ask_calls_for_a_loser() {
    let seen = play(|terms| terms.asks = false);
    assert!(!seen.not_theirs.is_empty(), "{seen:?}");
}
