//! R-10 campaigning, R-11 preference.

use crate::strict;
use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::{GroupId, Incarnation, MAX_GROUPS, Statement};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::config::Failback;
use onehold_core::input::Command;

#[test]
fn r10_better_a_sick_server_than_none() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.health(B, false);
    w.crash(A);
    w.run(ms(1_000));
    assert_eq!(w.effective(), [B]);

    let mut w = World::holding(&strict());
    w.health(B, false);
    w.crash(A);
    w.run(ms(1_000));
    assert_eq!(w.effective(), [0usize; 0], "unless the group says so");
}

#[test]
fn r10_one_that_asks_in_vain_gets_out_of_the_others_way() {
    // w and y vote for b, x votes for a: neither has three votes of five, and a and b don't hear
    // each other.
    let mut w = World::new(&spec(5, MAJORITY), 3);
    w.cut_both(A, B);
    w.cut_both(A, 2);
    w.start_all();
    w.run(ms(6_000));
    assert_eq!(w.effective().len(), 1, "somebody holds\n{}", w.story());
}

#[test]
fn r10_a_sick_one_asks_nobody_if_the_group_says_so() {
    for (spec, expected) in [(spec(3, MAJORITY), true), (strict(), false)] {
        let mut bench = Alone::of(&spec, A);
        bench.health(false);
        bench.hears(W, Statement::default());
        assert_eq!(bench.group().asks, expected);
    }
}

#[test]
fn r10_a_sick_one_leaves_it_to_a_ready_one() {
    let mut bench = Alone::new(3, MAJORITY, A);
    bench.health(false);
    for (peer, says, expected) in [
        (W, Statement::default(), true),
        (B, Statement::default(), true),
        (B, ready(), false),
    ] {
        bench.now += ms(1);
        bench.hears(peer, says);
        assert_eq!(bench.group().asks, expected);
    }
}

#[test]
fn r10_one_that_asks_in_vain_rests_for_2_d_at_most() {
    // Two voters of five go on voting for the other; the preferred one asks for longer.
    for (me, other, asks_long) in [(A, B, 3 * D), (B, A, D)] {
        let mut bench = Alone::new(5, MAJORITY, me);
        let began = bench.now;
        let mut asked = Vec::new();
        while bench.now < began + ms(asks_long + 3 * D) {
            let incarnation = Incarnation(100 + other as u64);
            for voter in [2, 3] {
                bench.hears(voter, votes(other, incarnation, bench.now));
            }
            asked.push(bench.group().asks);
            bench.until(bench.now + ms(10));
        }
        let asks_for = asked.iter().position(|asks| !asks).unwrap();
        let rests_for = asked[asks_for..].iter().position(|asks| *asks).unwrap();
        let about = |steps: usize, span: u64| (steps as u64 * 10).abs_diff(span) <= 20;
        assert!(about(asks_for, asks_long), "asked for {asks_for}0 ms");
        assert!(about(rests_for, 2 * D), "rested for {rests_for}0 ms");
    }
}

#[test]
fn r10_one_that_is_in_nobodys_way_goes_on_asking() {
    let mut bench = Alone::new(3, MAJORITY, B);
    for _ in 0..20 {
        bench.hears(W, Statement::default());
        assert!(bench.group().asks);
        bench.until(bench.now + ms(100));
    }
}

#[test]
fn r10_one_that_is_two_way_with_too_few_asks_nobody() {
    let mut bench = Alone::new(5, MAJORITY, A);
    for (peer, expected) in [(2, false), (3, true)] {
        bench.hears(peer, Statement::default());
        assert_eq!(bench.group().asks, expected);
    }
}

#[test]
fn r11_the_preferred_one_gets_it_when_both_start() {
    for seed in 0..50 {
        let mut w = World::new(&spec(3, MAJORITY), seed);
        for m in [1, 2, 0] {
            w.start(m);
            let pause = w.below(ms(3)) * (seed % 2);
            w.run(pause);
        }
        w.run(ms(900));
        assert_eq!(w.effective(), [A], "seed {seed}\n{}", w.story());
        // b may have held for as long as its quarantine ended earlier.
        let most = if seed % 2 == 0 { 1 } else { 4 };
        assert!(w.role_changes() <= most, "seed {seed}\n{}", w.story());
    }
}

#[test]
fn r11_manual_failback_waits_for_switch() {
    let mut manual = spec(3, MAJORITY);
    manual.groups[0].failback = Failback::Manual;
    let mut w = World::holding(&manual);
    w.crash(A);
    w.run(ms(1_000));
    w.start(A);
    w.run(ms(3_000));
    assert_eq!(w.effective(), [B]);
    w.operator(B, Command::Switch);
    w.until_held_by(A, ms(10));
}

#[test]
fn r11_the_better_one_votes_while_it_asks_nobody_itself() {
    let sick = Statement {
        ready: false,
        ..asks()
    };
    for (commands, voted) in [(vec![], false), (vec![Command::Standby], true)] {
        let mut bench = Alone::new(3, MAJORITY, A);
        for command in commands {
            bench.operator(command);
        }
        bench.hears(W, Statement::default());
        bench.hears(B, sick);
        assert_eq!(bench.vote().is_some(), voted);
    }
}

/// each group has a preferred member of its own.
#[test]
fn groups_are_independent_and_active_active_pairs_work() {
    let mut both = spec(3, MAJORITY);
    both.groups.push(group("api", 51, "b"));
    let mut w = World::new(&both, 5);
    w.start_all();
    w.run(ms(1_000));
    let holders = |w: &World| [0, 1].map(|g| w.effective_in(GroupId(g)));
    assert_eq!(
        holders(&w),
        [vec![B], vec![A]],
        "`api` is group 0, `web` group 1"
    );
    let changes = w.role_changes();
    w.run(ms(10_000));
    assert_eq!(w.role_changes(), changes);
    w.crash(A);
    w.run(ms(600));
    assert_eq!(holders(&w), [vec![B], vec![B]]);
    w.start(A);
    w.run(ms(1_000));
    assert_eq!(holders(&w), [vec![B], vec![A]]);
}

/// with as many groups as there can be, each other one on the other member, one takes over all of
/// them, and gives those back that are not its own; and whatever is said of them is one datagram.
#[test]
fn r11_as_many_groups_as_there_can_be_are_held_each_where_it_should_be() {
    let most = u8::try_from(MAX_GROUPS).unwrap();
    let mut all = spec(3, MAJORITY);
    let preferred = |n: u8| if n.is_multiple_of(2) { "a" } else { "b" };
    all.groups = (0..most)
        .map(|n| group(&format!("g{n:02}"), n + 60, preferred(n)))
        .collect();
    let mut w = World::new(&all, 7);
    w.record = true;
    w.start_all();
    w.run(ms(1_000));
    let holders = |w: &World| {
        (0..most)
            .map(|n| w.effective_in(GroupId(n)))
            .collect::<Vec<_>>()
    };
    let at_home: Vec<Vec<usize>> = (0..most)
        .map(|n| vec![if n.is_multiple_of(2) { A } else { B }])
        .collect();
    assert_eq!(holders(&w), at_home);
    w.crash(A);
    w.run(ms(600));
    assert_eq!(holders(&w), vec![vec![B]; MAX_GROUPS]);
    w.start(A);
    w.run(ms(1_000));
    assert_eq!(holders(&w), at_home);

    let keys = Keys::new(Key::new(b"a secret of the test"), vec![]);
    let mut bytes = Vec::new();
    assert!(w.recorded.len() > 100);
    for advert in &w.recorded {
        auth::seal(&keys, advert, &mut bytes);
        let opened = auth::open(&keys, advert.cluster, &bytes).unwrap();
        assert_eq!(opened.get(), advert);
    }
}
