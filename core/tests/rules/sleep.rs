//! R-13 oversleeping.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::effect::{Effect, Event};

#[test]
fn r13_one_that_overslept_starts_its_silences_again() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.pause(B);
    w.run(ms(3_000));
    w.resume(B);
    assert_eq!(
        w.effective(),
        [A],
        "b does not take what it slept through for silence"
    );
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A]);
}

#[test]
fn r13_a_turn_that_takes_long_counts_as_sleep() {
    // Under `survivor` its next turn is due at once when it has sent, and shows how long that took.
    for (paused, known) in [(49, false), (51, true), (95, true)] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.run(ms(500));
        let sent = w.members[B].sent;
        w.pauses_next = Some(B);
        while w.is_up(B) {
            w.run(100_000);
        }
        w.run(ms(paused));
        let reports = w.log.len();
        w.resume(B);
        w.run(100_000);
        let slept = w.log[reports..]
            .iter()
            .any(|(_, m, e)| *m == B && matches!(e, Event::Overslept));
        assert_eq!(slept, known, "{paused} {}", w.story());
        assert!(w.members[B].sent > sent);
    }
}

#[test]
fn r13_one_that_overslept_sends_to_its_only_peer_at_once() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    bench.hears(A, Statement::default());
    loop {
        let due = bench.node.poll_timeout(&bench.config).unwrap();
        if !sends_to(&bench.until(due.as_nanos()), A).is_empty() {
            break;
        }
    }
    // It has sent, and is paused before it could see how long that took; its next advert is not
    // due.
    bench.now += ms(51);
    let out = bench.wake();
    assert!(
        out.iter()
            .any(|e| matches!(e, Effect::Report(Event::Overslept)))
    );
    assert_eq!(sends_to(&out, A).len(), 1);
}

#[test]
fn r13_what_is_over_is_over_before_a_datagram_is_looked_at() {
    let (mut bench, asked_at) = Alone::asking(A);
    bench.now += ms(1);
    assert!(hold(&bench.hears(W, bench.grants(asked_at))).is_some());
    // It is not run until the lease is over; then the newest vote arrives first.
    bench.now += ms(700);
    let out = bench.hears(W, bench.grants(bench.now - ms(300)));
    assert!(matches!(out[0], Effect::Release { .. }), "{out:?}");
    assert_eq!(hold(&out), None);
}

#[test]
fn r13_one_that_was_silent_is_lost_before_it_is_heard_again() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, Statement::default());
    bench.now += ms(D + 1); // and no turn in between
    let out = bench.hears(A, Statement::default());
    let peer = id(A);
    for event in [Event::Lost { peer }, Event::Back { peer }] {
        assert!(out.contains(&Effect::Report(event)), "{out:?}");
    }
}
