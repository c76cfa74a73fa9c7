//! R-14 presumption: `survivor`, two members alone.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::effect::{Effect, Why};
use onehold_core::time::Span;

#[test]
fn r14_the_survivor_takes_over_after_d_and_one_and_a_half_intervals() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.crash(A);
    let gap = w.until_held_by(B, ms(700));
    let silent = D + 150;
    assert!(gap > ms(silent - 102) && gap < ms(silent + 2), "{gap}");
    assert_eq!(w.last_why(B), Some(Why::PeerSilent));
}

#[test]
fn r14_a_holder_that_hears_a_peer_that_does_not_hear_it_ends_first() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.cut(A, B);
    w.until_held_by(B, ms(600));
    assert_eq!(w.last_why(A), Some(Why::LeaseOver));
    assert_eq!(w.two_at, None);
}

#[test]
fn r14_a_peer_that_wakes_up_deaf_waits_until_its_first_word_has_arrived() {
    // a presumes b dead while b sleeps, and goes on until b's first word arrives; b hears nothing.
    // The word takes longer than κ, or b is paused again before it sends, or both.
    for (delay, paused) in [(10, 0), (40, 0), (0, 50), (0, 149), (10, 149), (25, 174)] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.conditions.least_delay = ms(delay);
        w.conditions.most_delay = ms(delay);
        w.run(ms(500));
        w.cut(A, B);
        w.pause(B);
        w.run(ms(300));
        w.pauses_next = (paused > 0).then_some(B);
        w.resume(B);
        w.run(ms(paused));
        w.resume(B);
        w.until_held_by(B, ms(1_000));
    }
}

#[test]
fn r14_a_holder_that_is_paused_before_it_sends_ends_before_its_peer_takes_hold() {
    // a hears nothing and is heard, so it goes on by what it sends. Then it is paused between
    // reading the clock and sending, for nearly as long as the lease that the advert would give.
    for paused in [340, 380, 420, 449] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.cut(B, A);
        w.run(ms(1_000));
        w.pauses_next = Some(A);
        w.run(ms(100) + ms(paused));
        w.resume(A);
        w.run(ms(1_000));
        assert_eq!(w.effective().len(), 1, "{}", w.story());
    }
}

#[test]
fn r14_a_lone_holders_lease_rests_on_what_an_earlier_turn_sent() {
    // As above, and the advert before was lost: what it has not sent yet gives no lease.
    for paused in [410, 430, 449] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.cut(B, A);
        w.run(ms(1_000));
        w.lose_next[A][B] = 1;
        let sent = w.members[A].sent;
        while w.members[A].sent == sent {
            w.run(ms(1));
        }
        w.run(ms(1));
        w.pauses_next = Some(A);
        w.run(ms(99) + ms(paused));
        w.resume(A);
        w.run(ms(1_000));
        assert_eq!(w.effective().len(), 1, "{}", w.story());
    }
}

#[test]
fn r14_a_late_word_of_a_deaf_peer_is_no_silence() {
    // a is not heard. b's next turn is late, and b is then paused before it sends; neither alone
    // counts as sleep, and together they are longer than D/2.
    for (late, paused) in [
        (111, 74),
        (120, 70),
        (140, 49),
        (149, 49),
        (149, 74),
        (149, 149),
    ] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.run(ms(500));
        w.cut(A, B);
        w.pause(B);
        w.run(ms(late));
        w.pauses_next = Some(B);
        w.resume(B);
        w.run(ms(paused));
        w.resume(B);
        w.until_held_by(B, ms(1_200));
        assert_eq!(w.last_why(A), Some(Why::LeaseOver), "{}", w.story());
    }
}

#[test]
fn r14_a_holder_presumes_nothing_for_two_and_a_half_intervals() {
    // This is how far apart two words of a living peer may be: 1.25 i, a turn that is i/2 late and
    // takes i/2, and i/4 in the network. (With H = 3 i, D/2 was less than a late turn alone.)
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.hears(B, Statement::default());
    bench.now += ms(1);
    bench.hears(B, bench.grants(bench.now));
    let (heard, granted) = (bench.now, ms(450) + bench.now);
    let early = bench.until(heard + ms(250));
    assert_eq!(
        hold(&early),
        None,
        "it goes by what b echoed, until {granted}"
    );
    let later = bench.until(heard + ms(252));
    let sent = hold(&later).unwrap() - ms(450);
    assert!(sent > heard + ms(150) && sent <= heard + ms(252), "{sent}");
}

#[test]
fn r14_a_lone_holders_lease_is_four_and_a_half_intervals_at_least() {
    let mut s = spec(2, SURVIVOR);
    s.timing.lease = Span::from_millis(449);
    let error = s.prove("a").unwrap_err().to_string();
    assert!(
        error.starts_with("timing.lease: 449ms: must be at least 4.5 intervals (450ms)"),
        "{error}"
    );
    s.arbitration = MAJORITY;
    assert!(s.prove("a").is_ok(), "a majority needs three");
    s.arbitration = SURVIVOR;
    s.timing.lease = Span::from_millis(450);
    // The peer dies just after two adverts in either direction were lost.
    for at in 0..25 {
        for (from, to) in [(A, B), (B, A)] {
            let mut w = World::holding(&s);
            w.run(ms(at * 10));
            w.lose_next[from][to] = 2;
            w.run(ms(170));
            w.crash(B);
            w.run(ms(2_000));
            assert_eq!(w.role_changes(), 1, "{at} {from} {}", w.story());
        }
    }
}

#[test]
fn r14_a_lone_holder_and_its_peer_may_differ_in_rate() {
    // b hears a and a does not hear b, so a goes by what it sends. One advert arrives at once; the
    // turn of the next is nearly i/2 late, and a is paused before it sends. a's clock is slow, b's
    // is fast.
    for late in (149_900..150_160).step_by(10) {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.set_rate(A, -1_000);
        w.set_rate(B, 1_000);
        (w.conditions.least_delay, w.conditions.most_delay) = (1_000, 1_000);
        w.cut(B, A);
        w.run(ms(2_000));
        let sent = w.members[A].sent;
        while w.members[A].sent == sent {
            w.run(5_000);
        }
        w.pause(A);
        w.run(late * 1_000 - 5_000);
        w.pauses_next = Some(A);
        w.resume(A);
        w.run(ms(448));
        (w.conditions.least_delay, w.conditions.most_delay) = (ms(12), ms(12));
        w.resume(A);
        w.pause(A);
        w.run(ms(100));
    }
}

#[test]
fn r14_a_holder_that_hears_nothing_goes_on_when_it_is_heard() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.cut(B, A);
    w.run(ms(5_000));
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.role_changes(), 1, "{}", w.story());
}

#[test]
fn r14_a_returning_peer_in_quarantine_costs_nothing() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.crash(B);
    w.run(ms(2_000));
    w.start(B);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.role_changes(), 1, "{}", w.story());
}

#[test]
fn r14_send_precedes_hold() {
    let mut bench = Alone::new(2, SURVIVOR, A);
    let out = bench.until(bench.now + ms(D + 151));
    let hold = out
        .iter()
        .position(|e| matches!(e, Effect::HoldUntil { .. }))
        .unwrap();
    let Effect::HoldUntil { deadline, .. } = out[hold] else {
        unreachable!()
    };
    let sent = out[..hold].iter().rev().find_map(|e| match e {
        Effect::Send { advert, .. } => Some(advert.sent_at),
        _ => None,
    });
    assert_eq!(deadline, sent.unwrap().plus(Span::from_millis(450)));
}

#[test]
fn r14_a_peer_that_neither_votes_nor_starts_renews_nothing() {
    for (quarantined, renews) in [(false, false), (true, true)] {
        let mut bench = Alone::new(2, SURVIVOR, A);
        bench.until(bench.now + ms(D + 152));
        bench.now += ms(1);
        bench.hears(B, Statement::default());
        let mut later = bench.advert(B);
        bench.until(bench.now + ms(50));
        later.sent_at = bench.advert(B).sent_at;
        later.quarantined = quarantined;
        assert_eq!(hold(&bench.hear(&later).0).is_some(), renews);
    }
}

#[test]
fn r14_silence_counts_from_the_end_of_quarantine() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    assert_eq!(hold(&bench.until(bench.now + ms(D + 149))), None);
    assert!(hold(&bench.until(bench.now + ms(2))).is_some());
}

#[test]
fn r14_a_copy_of_a_knock_is_no_sign_of_life() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let mut knock = bench.advert(A);
    knock.to_incarnation = None;
    let mut out = Vec::new();
    for _ in 0..7 {
        let _ = bench.hear(&knock);
        out.extend(bench.until(bench.now + ms(100)));
    }
    assert!(hold(&out).is_some());
}
