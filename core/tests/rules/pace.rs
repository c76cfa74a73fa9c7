//! R-18 hurry.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::time::{LocalTime, Span};

#[test]
fn r18_idle_costs_twenty_packets_a_second_and_an_ask_is_answered_at_once() {
    for spec in [spec(3, MAJORITY), spec(2, SURVIVOR)] {
        let mut w = World::holding(&spec);
        w.members.iter_mut().for_each(|m| m.sent = 0);
        w.run(ms(10_000));
        for (n, m) in w.members.iter().enumerate() {
            let peers = w.members.len() as u64 - 1;
            assert!(m.sent <= 105 * peers, "member {n} sent {} in 10 s", m.sent);
        }
        let left = w.group(A).lease_left.unwrap();
        assert!(left > Span::from_millis(340), "{left}");
    }
}

#[test]
fn r18_losing_two_of_five_packets_costs_packets_and_not_the_address() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.conditions.loss = 400;
    w.members.iter_mut().for_each(|m| m.sent = 0);
    w.run(ms(60_000));
    assert!(
        w.role_changes() < 12,
        "{} role changes a minute\n{}",
        w.role_changes(),
        w.story()
    );
    assert!(
        w.members[A].sent < 6_000,
        "no storm: {} sent",
        w.members[A].sent
    );
    w.conditions.loss = 200;
    let before = w.role_changes();
    w.run(ms(60_000));
    assert_eq!(
        w.role_changes(),
        before,
        "one of five costs nothing at all\n{}",
        w.story()
    );
}

/// How many adverts are sent from 150 ms to 250 ms after the peer is first heard, if it is heard
/// every 50 ms.
fn paced(me: usize, peer: usize, says: impl Fn(&Alone, u64) -> Statement, echoes: bool) -> usize {
    let mut bench = Alone::new(3, MAJORITY, me);
    let began = bench.now;
    let mut out = Vec::new();
    for step in 0..7 {
        let mut advert = bench.says(peer, says(&bench, began));
        if !echoes {
            advert.echo = Some(LocalTime::from_nanos(began));
        }
        bench.hear(&advert).1.unwrap();
        let sent = bench.until(began + ms(50) * (step + 1));
        if step >= 5 {
            out.extend(sends_to(&sent, peer));
        }
    }
    out.len()
}

#[test]
fn r18_a_late_echo_or_vote_is_hurried_for() {
    let nothing = |_: &Alone, _| Statement::default();
    assert!(paced(W, A, nothing, true) <= 2, "nothing is late");
    assert!((3..=6).contains(&paced(W, A, nothing, false)), "an echo is");
    let votes = |bench: &Alone, _| bench.grants(bench.now);
    assert!(paced(A, W, votes, true) <= 2, "nothing is late");
    assert!(
        (3..=6).contains(&paced(A, W, Alone::grants, true)),
        "a vote is"
    );
}

/// For the peer may be paused, or hold beyond a cut, and must hear it as soon as it can.
#[test]
fn r18_a_lone_holder_hurries() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let mut sent = |span: u64| {
        let until = bench.now + ms(span);
        sends_to(&bench.until(until), A).len()
    };
    assert!(sent(500) <= 6, "a standby does not");
    sent(500);
    assert!((90..=101).contains(&sent(1_000)), "a holder does");
    let holds = bench.advert(A);
    bench.hear(&holds).1.unwrap();
    let sent = sends_to(&bench.until(bench.now + ms(140)), A).len();
    assert!(sent <= 3, "one that hears its peer does not: {sent}");
}

/// For the other one lets go when it hears so.
#[test]
fn r18_a_holder_that_meets_another_says_so_at_once() {
    let other = |holds| Statement {
        holds,
        ..Statement::default()
    };
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.until(bench.now + ms(D + 152));
    let mut sent = |holds| {
        bench.until(bench.now + ms(1));
        sends_to(&bench.hears(B, other(holds)), B).len()
    };
    sent(false); // it answers one that it did not hear
    let counts = [false, true, true, true].map(&mut sent);
    assert_eq!(counts, [0, 1, 0, 0], "once, when it first hears so");
}

#[test]
fn r18_a_silent_peer_is_hurried_for_until_it_is_lost() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, Statement::default());
    let began = bench.now;
    let mut sent = |from: u64, to: u64| {
        bench.until(began + ms(from));
        sends_to(&bench.until(began + ms(to)), A).len()
    };
    assert!(sent(0, 140) <= 2);
    assert!((3..=6).contains(&sent(150, 240)), "silent for 1.5 i");
    assert!(sent(D, D + 1_000) <= 11, "silent for D");
}
