//! R-13 oversleeping.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::effect::{Effect, Event};
use onehold_core::reject::Reject;
use onehold_core::time::Span;

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
fn r13_a_lone_holder_that_oversleeps_again_and_again_goes_on() {
    for (paused, awake) in [(51, 30), (100, 50), (150, 10), (230, 100)] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.crash(B);
        w.run(ms(1_000));
        let before = w.role_changes();
        for _ in 0..50 {
            w.pause(A);
            w.run(ms(paused));
            w.resume(A);
            assert_eq!(w.effective(), [A], "{paused} {awake}");
            w.run(ms(awake));
        }
        assert_eq!(w.role_changes(), before, "{}", w.story());
    }
}

#[test]
fn r13_a_suspicion_outlives_no_sleep_that_leaves_less_than_a_quarter_of_a_lease() {
    for (slept, goes_on) in [(330, true), (340, false)] {
        let mut bench = Alone::new(2, SURVIVOR, A);
        bench.hears(B, Statement::default());
        bench.now += ms(1);
        bench.hears(B, bench.grants(bench.now));
        loop {
            let due = bench.node.poll_timeout(&bench.config).unwrap();
            let sent = !sends_to(&bench.until(due.as_nanos()), B).is_empty();
            if sent && bench.now > ms(2_000) {
                break;
            }
        }
        bench.until(bench.now + 1); // nothing took long
        bench.now += ms(slept);
        bench.wake();
        bench.now += 1;
        assert_eq!(hold(&bench.wake()).is_some(), goes_on, "{slept}");
    }
}

#[test]
fn r13_a_word_that_waited_ends_a_suspicion_before_anything_rests_on_it() {
    // a presumes b dead, and oversleeps. In its socket waits a copy of an old word, and behind it
    // the first word of b, which does not hear a.
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.hears(B, Statement::default());
    bench.now += ms(1);
    let old = bench.says(B, bench.grants(bench.now));
    bench.hear(&old).1.unwrap();
    assert!(hold(&bench.until(bench.now + ms(1_000))).is_some());
    bench.now += ms(200);
    let (out, _) = bench.hear(&old);
    assert_eq!(sends_to(&out, B).len(), 1, "it overslept");
    assert_eq!(hold(&out), None);
    bench.now += 1;
    let (out, stale) = bench.hear(&old);
    assert_eq!((hold(&out), stale), (None, Err(Reject::Stale)));
    let due = bench.node.poll_timeout(&bench.config);
    assert_eq!(
        due,
        Some(bench.at().plus(Span::from_nanos(1))),
        "then it is judged"
    );
    bench.now += 1;
    assert_eq!(hold(&bench.hears(B, Statement::default())), None);
    let out = bench.until(bench.now + ms(250));
    assert_eq!(hold(&out), None);
    assert!(released(&out).is_some(), "its lease is over");
}

/// For a pause between that reading and the sending would make it last too long.
#[test]
fn r14_no_lease_rests_on_what_was_sent_after_this_reading_of_the_clock() {
    let mut bench = Alone::new(2, SURVIVOR, A);
    assert!(hold(&bench.until(bench.now + ms(1_000))).is_some());
    let mut sent = Vec::new();
    while sent.is_empty() {
        let due = bench.node.poll_timeout(&bench.config).unwrap();
        bench.now = due.as_nanos();
        sent = sends_to(&bench.wake(), B);
    }
    assert_eq!(hold(&bench.wake()), None, "the clock was read before");
    bench.now += 1;
    assert!(hold(&bench.wake()).is_some());
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
