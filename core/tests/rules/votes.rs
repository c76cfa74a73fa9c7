//! R-4 voting, R-5 freeing, R-6 one's own vote.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::{Incarnation, Statement};
use onehold_core::effect::Why;
use onehold_core::time::{LocalTime, Span};

#[test]
fn r4_a_live_vote_never_moves() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let a = bench.says(A, asks());
    bench.hear(&a).1.unwrap();
    bench.hears(B, asks());
    assert_eq!(bench.vote().unwrap().member, id(A));
    // Another incarnation of the owner is another owner.
    bench.now += ms(1);
    let mut reborn = bench.says(A, asks());
    reborn.incarnation = Incarnation(5);
    bench.hear(&reborn).1.unwrap();
    assert_eq!(bench.vote().unwrap().incarnation, a.incarnation);
}

#[test]
fn r4_a_renewal_binds_the_vote_for_d_again() {
    // The better one keeps asking, and would get the vote as soon as it is free.
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(B, asks());
    bench.until(bench.now + ms(300));
    bench.hears(B, asks());
    let renewed_at = bench.now;
    bench.now += ms(1);
    bench.hears(A, asks());
    bench.until(renewed_at + ms(D) - ms(1));
    assert_eq!(bench.vote().unwrap().member, id(B));
    bench.until(renewed_at + ms(D));
    assert_eq!(bench.vote().map(|v| v.member), Some(id(A)));
}

#[test]
fn r4_no_vote_for_one_that_does_not_hear_us() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let mut deaf = bench.says(A, asks());
    deaf.echo = None;
    bench.hear(&deaf).1.unwrap();
    assert_eq!(bench.vote(), None);
    bench.now += ms(1);
    let mut late = bench.says(A, asks());
    late.echo = Some(LocalTime::from_nanos(0)); // more than D old
    bench.hear(&late).1.unwrap();
    assert_eq!(bench.vote(), None);
}

#[test]
fn r4_a_free_vote_is_at_once_offered_to_another_that_asks() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, asks());
    bench.until(bench.now + ms(D - 50));
    bench.hears(B, asks());
    assert_eq!(bench.vote().unwrap().member, id(A));
    let out = bench.until(bench.now + ms(51));
    assert_eq!(bench.vote().unwrap().member, id(B), "as soon as it expired");
    let sent = sends_to(&out, B)
        .into_iter()
        .any(|s| s.groups[0].vote.is_some_and(|v| v.member == id(B)));
    assert!(sent, "and b hears of it at once");
}

#[test]
fn r4_a_free_vote_is_offered_to_the_better_one_first() {
    for order in [[A, B], [B, A]] {
        let mut bench = Alone::new(3, MAJORITY, W);
        bench.restart(Span::ZERO);
        bench.until(bench.now + ms(D - 50));
        for candidate in order {
            bench.hears(candidate, asks());
        }
        bench.until(bench.now + ms(50));
        assert_eq!(bench.vote().unwrap().member, id(A));
    }
}

#[test]
fn r5_a_vote_is_freed_by_its_owner_or_by_time() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, asks());
    // Another incarnation can't free it.
    bench.now += ms(1);
    let mut other = bench.advert(A);
    other.incarnation = Incarnation(5);
    bench.hear(&other).1.unwrap();
    assert!(bench.vote().is_some());
    bench.until(ms(D) + ms(D) - ms(1));
    assert!(bench.vote().is_some(), "D is not over");
    bench.until(ms(D) + ms(D));
    assert_eq!(bench.vote(), None, "D is over");

    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, asks());
    bench.now += ms(1);
    bench.hears(A, Statement::default());
    assert_eq!(bench.vote(), None, "its owner stopped asking");
}

#[test]
fn r5_a_holder_asks_until_the_kernel_confirms_or_its_hold_is_surely_over() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.conditions.kernel_delay = ms(2_000);
    w.isolate(A);
    while w.last_why(A) != Some(Why::LeaseOver) {
        w.run(100_000);
    }
    assert!(
        w.group(A).asks,
        "its lease is over, its hold may last κ longer"
    );
    w.run(ms(8));
    assert!(!w.group(A).asks);
}

#[test]
fn r6_one_whose_own_vote_is_bound_asks_nobody_and_takes_no_hold() {
    let (mut bench, asked_at) = Alone::asking(B);
    // The better one asks and gets b's vote.
    let out = bench.hears(A, asks());
    assert_eq!(bench.vote().unwrap().member, id(A));
    assert!(!sends_to(&out, W)[0].groups[0].asks);
    bench.now += ms(1);
    assert_eq!(hold(&bench.hears(W, bench.grants(asked_at))), None);
}
