//! R-12 switchover, failback, leaving.

use crate::strict;
use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Input, Refusal};
use onehold_core::observe::RoleName;
use onehold_core::time::{LocalTime, Span};

#[test]
fn r12_failback_is_one_message_long() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.crash(A);
    w.until_held_by(B, ms(500));
    w.start(A);
    w.run(ms(D));
    let changes = w.role_changes();
    w.until_held_by(A, ms(20));
    assert_eq!(w.last_why(B), Some(Why::Failback));
    w.run(ms(3_000));
    assert_eq!(
        w.role_changes() - changes,
        3,
        "b lets go, is mute, a holds; no ping-pong\n{}",
        w.story()
    );
}

#[test]
fn r12_one_that_takes_hold_says_at_once_that_it_would_hand_over() {
    let (mut bench, asked_at) = Alone::asking(B);
    // The better one asks, but does not hear us yet.
    bench.now += ms(1);
    let mut a = bench.says(A, asks());
    a.echo = None;
    bench.hear(&a).1.unwrap();
    bench.now += ms(1);
    let out = bench.hears(W, bench.grants(asked_at));
    assert!(hold(&out).is_some());
    assert!(sends_to(&out, A)[0].groups[0].yields);
}

#[test]
fn r12_failback_waits_for_its_delay() {
    let mut slow = spec(3, MAJORITY);
    slow.groups[0].failback_delay = Span::from_millis(2_000);
    let mut w = World::holding(&slow);
    w.crash(A);
    w.until_held_by(B, ms(500));
    w.start(A);
    w.run(ms(D + 1_900));
    assert_eq!(w.effective(), [B]);
    w.until_held_by(A, ms(300));
}

/// `a` dies, `b` takes over, `a` comes back: how long until it has the group again, from when it
/// asks.
fn return_of_a(w: &mut World, at_most: u64) -> u64 {
    w.crash(A);
    w.until_held_by(B, ms(500));
    w.start(A);
    w.run(ms(D));
    let start = w.now;
    while w.effective() != [A] && w.now - start < at_most {
        w.run(ms(10));
    }
    w.now - start
}

#[test]
fn r12_each_takeover_in_a_row_that_nobody_planned_doubles_the_failback_delay() {
    let mut patient = spec(3, MAJORITY);
    patient.groups[0].failback_delay = Span::from_millis(1_000);
    let mut w = World::holding(&patient);
    for n in [0, 1, 2, 3, 4, 5, 6, 6] {
        let took = return_of_a(&mut w, ms(100_000));
        let delay = ms(1_000 << n);
        assert!((delay..delay + ms(300)).contains(&took), "{n}: {took}");
    }
    w.operator(A, Command::Switch);
    w.until_held_by(B, ms(300));
    w.operator(A, Command::Resume);
    let took = w.until_held_by(A, ms(100_000));
    assert!(
        took > ms(60_000),
        "a planned one neither adds nor forgets: {took}"
    );
}

#[test]
fn r12_a_planned_takeover_leaves_the_failback_delay_as_it_is() {
    let mut patient = spec(3, MAJORITY);
    patient.groups[0].failback_delay = Span::from_millis(1_000);
    let mut w = World::holding(&patient);
    for _ in 0..3 {
        w.operator(A, Command::Switch);
        w.until_held_by(B, ms(300));
        w.operator(A, Command::Resume);
        let took = w.until_held_by(A, ms(2_000));
        assert!(took < ms(1_200), "{took}");
    }
}

#[test]
fn r12_a_takeover_from_one_that_let_go_without_handing_over_is_unplanned() {
    let mut patient = spec(3, MAJORITY);
    patient.groups[0].failback_delay = Span::from_millis(1_000);
    let mut w = World::holding(&patient);
    for n in [0, 1, 2] {
        w.input(A, Input::HoldFailed { group: WEB });
        w.until_held_by(B, ms(2_000));
        let (group, eligible) = (WEB, true);
        w.input(A, Input::Eligible { group, eligible });
        let took = w.until_held_by(A, ms(100_000));
        let delay = ms(1_000 << n);
        assert!((delay..delay + ms(300)).contains(&took), "{n}: {took}");
    }
}

fn seconds_until_held_by(w: &mut World, m: usize) -> u64 {
    let mut second = |seconds: &u64| {
        w.run(ms(1_000));
        w.effective() == [m] || *seconds > 10_000
    };
    (1..).find(|n| second(n)).expect("some time")
}

#[test]
fn r12_a_quiet_hour_is_forgiven_also_while_a_grown_failback_delay_runs() {
    let mut patient = spec(3, MAJORITY);
    patient.groups[0].failback_delay = Span::from_millis(300_000);
    patient.timing.interval = Span::from_millis(5_000); // an hour has few turns
    patient.timing.lease = Span::from_millis(25_000);
    let mut w = World::new(&patient, 7);
    w.start_all();
    seconds_until_held_by(&mut w, A);
    for _ in 0..5 {
        w.crash(A);
        seconds_until_held_by(&mut w, B);
        w.input(B, Input::HoldFailed { group: WEB });
        w.start(A);
        seconds_until_held_by(&mut w, A);
        let (group, eligible) = (WEB, true);
        w.input(B, Input::Eligible { group, eligible });
        w.run(ms(60_000));
    }
    for (least, most) in [(3_000, 3_960), (300, 360)] {
        w.crash(A);
        seconds_until_held_by(&mut w, B);
        w.start(A);
        let took = seconds_until_held_by(&mut w, A);
        assert!((least..most).contains(&took), "{took}");
        w.run(ms(3_600_000));
    }
}

#[test]
fn r12_switch_outlives_a_moment_in_which_the_other_is_not_ready() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    bench.hears(A, ready());
    bench.now += ms(1);
    bench.operator(Command::Switch);
    bench.now += ms(1);
    bench.hears(A, Statement::default()); // a check fails once
    assert!(bench.group().yields, "it still wants to");
    let mut out = bench.renewed(ms(200));
    out.extend(bench.renewed(ms(200)));
    out.extend(bench.renewed(ms(200)));
    let refused = |e: &Effect| matches!(e, Effect::Report(Event::CommandRefused { .. }));
    assert_eq!(
        out.iter().filter(|e| refused(e)).count(),
        1,
        "after D, and it says so"
    );
    assert!(!bench.group().yields);
}

#[test]
fn r12_a_lost_hand_over_costs_at_most_an_interval() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.operator(A, Command::Switch);
    w.run(500_000); // b has asked; a releases now
    w.cut(A, B);
    w.run(ms(2));
    w.heal();
    let outage = w.until_held_by(B, ms(D));
    assert!(outage < ms(101), "{outage}");
}

#[test]
fn r12_stop_hands_over_or_lets_go() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.operator(A, Command::Stop);
    let gap = w.until_held_by(B, ms(10));
    assert!(gap < ms(2), "{gap}");
    w.run(ms(2));
    assert!(w.node(A).stopped(), "all have said that they are free");

    let mut w = World::holding(&spec(3, MAJORITY));
    w.crash(B);
    w.run(ms(1_000));
    w.operator(A, Command::Stop);
    w.run(ms(1));
    assert_eq!(w.effective(), [0usize; 0]);
    assert!(w.node(A).stopped());
}

#[test]
fn r12_switch_stays_and_is_refused_without_a_ready_peer() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.operator(A, Command::Switch);
    w.run(ms(5_000));
    assert_eq!(
        w.effective(),
        [B],
        "the preferred one does not take it back"
    );
    w.operator(A, Command::Switch);
    let refused = |w: &World| match w.log.last() {
        Some((_, _, Event::CommandRefused { refusal, .. })) => Some(*refusal),
        _ => None,
    };
    assert_eq!(refused(&w), Some(Refusal::NotHolder));
    w.operator(A, Command::Resume);
    w.run(ms(300));
    assert_eq!(w.effective(), [A], "until the operator says resume");
    w.crash(B);
    w.run(ms(1_000));
    w.operator(A, Command::Switch);
    assert_eq!(refused(&w), Some(Refusal::NobodyReady));
    assert_eq!(w.effective(), [A]);
}

#[test]
fn r12_resume_ends_a_switch_that_nobody_has_answered() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.cut_both(A, B);
    w.operator(A, Command::Switch);
    w.run(ms(50));
    w.operator(A, Command::Resume);
    w.heal();
    for _ in 0..2_000 {
        w.run(ms(1));
        assert_eq!(w.effective(), [A], "{}", w.story());
    }
}

#[test]
fn r12_standby_and_an_unhealthy_holder_hand_over() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.operator(A, Command::Standby);
    w.until_held_by(B, ms(10));
    w.crash(B);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [0usize; 0], "standby does not take it");
    w.operator(A, Command::Resume);
    w.until_held_by(A, ms(500));

    let mut w = World::holding(&spec(3, MAJORITY));
    w.health(A, false);
    w.until_held_by(B, ms(10));
    assert_eq!(w.last_why(A), Some(Why::Unready));
    w.health(A, true);
    w.until_held_by(A, ms(200));
}

#[test]
fn r12_a_later_incarnation_gets_the_orders_that_hold_until_resume() {
    for (said, holds_alone) in [(Command::Switch, true), (Command::Standby, false)] {
        let mut w = World::holding(&spec(3, MAJORITY));
        w.operator(A, said);
        w.run(ms(100));
        assert_eq!(w.effective(), [B]);
        let again = w.node(A).standing_orders().next().expect("one group");
        assert_eq!(again.len(), 1);
        w.crash(A);
        w.run(ms(100));
        w.start(A);
        w.operator(A, again[0]);
        w.run(ms(3_000));
        assert_eq!(w.effective(), [B], "{said:?}: it does not come back");
        w.crash(B);
        w.run(ms(2_000));
        assert_eq!(w.effective().contains(&A), holds_alone, "{said:?}");
        w.operator(A, Command::Resume);
        w.run(ms(1_000));
        assert_eq!(w.effective(), [A]);
        assert!(w.node(A).standing_orders().all(|left| left.is_empty()));
    }
}

#[test]
fn r12_one_whose_kernel_cannot_serve_it_hands_over() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    bench.hears(B, ready());
    for eligible in [true, false] {
        let group = WEB;
        let _ = bench.input(Input::Eligible { group, eligible });
        assert_eq!(bench.group().yields, !eligible);
    }
}

#[test]
fn r12_no_release_for_an_ask_that_is_old_or_nearly_over() {
    for (echo, arrives, lets_go) in [(1, 2, true), (1, 400, false), (0, 20, false)] {
        let mut bench = Alone::holding(&spec(3, MAJORITY), A);
        let began = bench.now;
        bench.hears(B, ready());
        bench.now += ms(1);
        bench.operator(Command::Switch);
        while bench.now + ms(50) <= began + ms(arrives) {
            bench.renewed(ms(50));
        }
        bench.until(began + ms(arrives));
        let mut answer = bench.says(B, asks());
        answer.echo = Some(LocalTime::from_nanos(began + ms(echo)));
        let out = bench.hear(&answer).0;
        assert_eq!(released(&out).is_some(), lets_go, "{echo} {arrives}");
    }
}

#[test]
fn r12_stop_waits_for_d_at_most() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    let mut released_after = None;
    for step in 0..6 {
        bench.hears(B, ready());
        if step == 0 {
            bench.operator(Command::Stop);
        }
        if released(&bench.renewed(ms(100))).is_some() {
            released_after = released_after.or(Some(step));
        }
    }
    assert_eq!(released_after, Some(4), "in the fifth 100 ms");
}

#[test]
fn r12_a_stop_ends_when_no_vote_that_it_hears_of_is_bound_to_it() {
    let stopping = || {
        let mut bench = Alone::holding(&spec(3, MAJORITY), A);
        let release = released(&bench.operator(Command::Stop)).unwrap();
        let group = WEB;
        let _ = bench.input(Input::Released { group, release });
        assert!(!bench.node.stopped(), "the witness may not have heard it");
        bench
    };
    let mut bench = stopping();
    bench.now += ms(1);
    bench.hears(W, Statement::default());
    assert!(bench.node.stopped());
    // One that is not heard any more keeps nobody waiting.
    let mut bench = stopping();
    bench.until(bench.now + ms(D));
    assert!(bench.node.stopped());
    let mut bench = Alone::new(3, MAJORITY, A);
    bench.operator(Command::Stop);
    assert!(bench.node.stopped(), "it heard nobody");
}

/// The process ends as soon as it may.
#[test]
fn r12_a_last_word_that_is_lost_costs_the_successor_nothing() {
    for (lost, cut) in [(0, ms(0)), (1, ms(0)), (2, ms(0)), (3, ms(0)), (0, ms(600))] {
        let mut w = World::holding(&spec(3, MAJORITY));
        w.operator(A, Command::Stop);
        w.lose_next[A][W] = lost;
        if cut > 0 {
            w.cut(A, W);
        }
        let (began, mut held) = (w.now, false);
        while w.now < began + ms(3_000) {
            w.run(200_000);
            held |= w.effective() == [B];
            assert!(!held || w.effective() == [B], "{lost}\n{}", w.story());
            if w.is_up(A) && w.node(A).stopped() {
                w.kill(A);
            }
        }
        assert!(held && w.is_down(A));
    }
}

#[test]
fn r12_the_vote_goes_to_no_successor_that_asks_no_more_or_is_deaf() {
    for (says, deaf) in [(ready(), false), (asks(), true)] {
        let mut bench = Alone::holding(&spec(3, MAJORITY), A);
        bench.hears(B, ready());
        bench.operator(Command::Switch);
        bench.now += ms(1);
        let release = released(&bench.hears(B, asks())).unwrap();
        bench.now += ms(1);
        let mut later = bench.says(B, says);
        later.echo = later.echo.filter(|_| !deaf);
        bench.hear(&later).1.unwrap();
        let group = WEB;
        let _ = bench.input(Input::Released { group, release });
        assert_eq!(bench.vote(), None);
    }
}

#[test]
fn r12_a_sick_holder_lets_go_if_the_group_says_so() {
    let mut bench = Alone::holding(&strict(), A);
    assert!(released(&bench.health(false)).is_some());
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    assert!(released(&bench.health(false)).is_none());
}

#[test]
fn r12_switch_is_given_up_after_d_without_an_answer() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    let mut out = Vec::new();
    for step in 0..6 {
        bench.hears(B, ready());
        if step == 0 {
            bench.operator(Command::Switch);
        }
        assert_eq!(bench.group().yields, step < 5, "after {step}00 ms");
        out.extend(bench.renewed(ms(100)));
    }
    let refused = |e: &Effect| {
        let refusal = Refusal::NobodyReady;
        *e == Effect::Report(Event::CommandRefused {
            group: WEB,
            refusal,
        })
    };
    assert_eq!(out.iter().filter(|e| refused(e)).count(), 1);
    assert_eq!(bench.group().role, RoleName::Holder);
}

#[test]
fn r12_failback_delay_starts_again_when_the_other_stops_asking() {
    let mut slow = spec(3, MAJORITY);
    slow.groups[0].failback_delay = Span::from_millis(300);
    let mut bench = Alone::holding(&slow, B);
    let mut released_after = None;
    for step in 0..12 {
        let says = if step == 4 { ready() } else { asks() };
        let mut out = bench.hears(A, says);
        out.extend(bench.renewed(ms(50)));
        if released_after.is_none() && released(&out).is_some() {
            released_after = Some(step);
        }
    }
    // It asks again at step 5; 300 ms are six steps, and the answer is one more.
    assert!(
        released_after.is_some_and(|n| n >= 11),
        "{released_after:?}"
    );
}
