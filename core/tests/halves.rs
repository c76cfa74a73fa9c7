//! Halves of rules that no property of who holds can see: pace, alarms, announcements, who is first.
//! Each is here because the protocol went on without it. The names carry the rules' numbers.

mod world;

use onehold_core::Node;
use onehold_core::advert::{Ballot, Incarnation, Statement};
use onehold_core::config::{Arbitration, Spec};
use onehold_core::effect::{Effect, Event, ReleaseId};
use onehold_core::input::{Command, Input, Refusal};
use onehold_core::observe::{GroupSnapshot, RoleName};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use world::alone::*;
use world::*;

const MAJORITY: Arbitration = Arbitration::Majority;
const SURVIVOR: Arbitration = Arbitration::Survivor;

/// A candidate of three members that holds by the witness's vote.
fn holder(spec: &Spec, me: usize) -> Alone {
    let mut bench = Alone::new(3, MAJORITY, me);
    bench.config = spec.prove(["a", "b"][me]).unwrap();
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    bench.now += ms(1);
    let grant = bench.says(W, grants(&bench, bench.now - ms(1)));
    assert!(hold(&bench.hear(&grant).0).is_some());
    bench.now += ms(1);
    bench
}

fn group_of(bench: &Alone) -> GroupSnapshot {
    let now = LocalTime::from_nanos(bench.now);
    bench.node.observe(&bench.config, now).groups[0].clone()
}

/// What votes for the ask that was sent then.
fn grants(bench: &Alone, asked_at: u64) -> Statement {
    Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    }
}

fn ready() -> Statement {
    Statement {
        ready: true,
        ..Statement::default()
    }
}

fn operator(bench: &mut Alone, command: Command) -> Vec<Effect> {
    let group = WEB;
    bench.input(Input::Operator { group, command }).0
}

fn health(bench: &mut Alone, healthy: bool) -> Vec<Effect> {
    let group = WEB;
    bench.input(Input::Health { group, healthy }).0
}

fn released(effects: &[Effect]) -> Option<ReleaseId> {
    effects.iter().find_map(|e| match e {
        Effect::Release { release, .. } => Some(*release),
        _ => None,
    })
}

fn announced(effects: &[Effect]) -> bool {
    effects.iter().any(|e| matches!(e, Effect::Announce { .. }))
}

/// Lets time pass while the witness goes on voting for this member.
fn renewed(bench: &mut Alone, span: u64) -> Vec<Effect> {
    let mut out = bench.until(bench.now + span);
    let grant = bench.grant(W);
    out.extend(bench.hear(&grant).0);
    out
}

fn strict() -> Spec {
    let mut strict = spec(3, MAJORITY);
    strict.groups[0].release_when_unhealthy = true;
    strict
}

#[test]
fn r1_a_replayed_knock_does_not_keep_another_waiting() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let knock = |bench: &Alone, life| {
        let mut knock = bench.advert(A);
        knock.incarnation = Incarnation(life);
        knock.to_incarnation = None;
        knock
    };
    let mut answers = [0, 0];
    for _ in 0..40 {
        for life in [1, 2] {
            let knock = knock(&bench, life);
            let _ = bench.hear(&knock);
        }
        let out = bench.until(bench.now + ms(101));
        for advert in sends_to(&out, A) {
            match advert.to_incarnation {
                Some(Incarnation(1)) => answers[0] += 1,
                Some(Incarnation(2)) => answers[1] += 1,
                _ => {}
            }
        }
    }
    assert!(answers[0] > 5 && answers[1] > 5, "{answers:?}");
}

#[test]
fn r1_an_echo_that_is_d_old_proves_no_younger_life() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let known = bench.advert(A);
    bench.hear(&known).1.unwrap();
    let mut other = bench.advert(A);
    other.incarnation = Incarnation(777);
    other.echo = Some(LocalTime::from_nanos(bench.now + 1));
    bench.until(bench.now + ms(D + 1));
    assert_eq!(bench.hear(&other).1, Err(Reject::OldLife));
    other.echo = Some(LocalTime::from_nanos(bench.now));
    assert_eq!(bench.hear(&other).1, Ok(()));
}

#[test]
fn r3_a_vote_counts_for_any_ask_that_stands() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    let asked_at = bench.now;
    bench.until(asked_at + ms(150));
    let grant = bench.says(W, grants(&bench, asked_at));
    let lease = hold(&bench.hear(&grant).0);
    assert_eq!(
        lease,
        Some(asked_at + ms(450)),
        "it has asked again since, and not revoked"
    );
}

#[test]
fn r4_a_free_vote_is_offered_to_the_better_one_first() {
    for order in [[A, B], [B, A]] {
        let mut bench = Alone::new(3, MAJORITY, W);
        let now = LocalTime::from_nanos(bench.now);
        bench.node = Node::start(&bench.config, ME, now, Span::ZERO);
        bench.until(bench.now + ms(D - 50));
        for candidate in order {
            let ask = bench.says(candidate, asks());
            bench.hear(&ask).1.unwrap();
        }
        bench.until(bench.now + ms(50));
        assert_eq!(bench.vote().unwrap().member, id(A));
    }
}

#[test]
fn r7_a_lease_counts_from_the_newest_ask_that_a_majority_granted() {
    let mut bench = Alone::new(5, MAJORITY, A);
    for peer in [2, 3] {
        let hello = bench.advert(peer);
        bench.hear(&hello).1.unwrap();
    }
    let first = bench.now;
    bench.until(first + ms(150));
    for (voter, asked_at, lease) in [
        (2, first, None),
        (3, first + ms(100), Some(first + ms(450))),
    ] {
        let grant = bench.says(voter, grants(&bench, asked_at));
        assert_eq!(hold(&bench.hear(&grant).0), lease);
    }
}

#[test]
fn r7_a_lease_does_not_shrink_when_the_newest_vote_goes() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    let first = bench.now;
    bench.until(first + ms(150));
    for (peer, says, lease) in [
        (W, grants(&bench, first + ms(100)), Some(first + ms(550))),
        (B, grants(&bench, first), None),
        (W, Statement::default(), None),
    ] {
        bench.now += ms(1);
        let advert = bench.says(peer, says);
        assert_eq!(hold(&bench.hear(&advert).0), lease);
    }
}

#[test]
fn r7_one_that_asks_nobody_takes_no_hold() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    let asked_at = bench.now;
    bench.now += ms(1);
    // It votes for us, and says with that very word that it does not hear us any more.
    let mut grant = bench.says(W, grants(&bench, asked_at));
    grant.echo = None;
    assert_eq!(hold(&bench.hear(&grant).0), None);
    assert!(!group_of(&bench).asks);
}

#[test]
fn r7_no_hold_by_a_vote_for_an_ask_that_was_not_sent() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    bench.now += ms(1);
    let grant = bench.says(W, grants(&bench, bench.now + ms(50)));
    assert_eq!(hold(&bench.hear(&grant).0), None);
}

#[test]
fn r7_no_hold_that_is_nearly_over_when_it_begins() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    let asked_at = bench.now;
    for (later, takes) in [(400, false), (1, false)] {
        bench.until(bench.now + ms(later));
        let grant = bench.says(W, grants(&bench, asked_at));
        assert_eq!(hold(&bench.hear(&grant).0).is_some(), takes);
    }
}

#[test]
fn r8_another_releases_confirmation_is_not_this_ones() {
    let mut bench = holder(&spec(3, MAJORITY), A);
    let group = WEB;
    let release = released(&bench.input(Input::Refused { group }).0).unwrap();
    let other = ReleaseId(!release.0);
    for (release, role) in [
        (other, RoleName::Releasing),
        (release, RoleName::Standby),
        (release, RoleName::Standby),
    ] {
        let _ = bench.input(Input::Muted { group, release });
        assert_eq!(group_of(&bench).role, role);
    }
}

#[test]
fn r8_nothing_is_announced_before_the_kernel_holds_it() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    bench.hear(&hello).1.unwrap();
    bench.now += ms(1);
    let grant = bench.says(W, grants(&bench, bench.now - ms(1)));
    let (out, _) = bench.hear(&grant);
    let place = |is: fn(&Effect) -> bool| out.iter().position(is).unwrap();
    let held = place(|e| matches!(e, Effect::HoldUntil { .. }));
    assert!(held < place(|e| matches!(e, Effect::Announce { .. })));
}

#[test]
fn r10_a_sick_one_asks_nobody_if_the_group_says_so() {
    for (spec, expected) in [(spec(3, MAJORITY), true), (strict(), false)] {
        let mut bench = Alone::new(3, MAJORITY, A);
        bench.config = spec.prove("a").unwrap();
        health(&mut bench, false);
        let hello = bench.advert(W);
        bench.hear(&hello).1.unwrap();
        assert_eq!(group_of(&bench).asks, expected);
    }
}

#[test]
fn r10_a_sick_one_leaves_it_to_a_ready_one() {
    let mut bench = Alone::new(3, MAJORITY, A);
    health(&mut bench, false);
    for (peer, says, expected) in [
        (W, Statement::default(), true),
        (B, Statement::default(), true),
        (B, ready(), false),
    ] {
        bench.now += ms(1);
        let advert = bench.says(peer, says);
        bench.hear(&advert).1.unwrap();
        assert_eq!(group_of(&bench).asks, expected);
    }
}

#[test]
fn r10_one_that_asks_in_vain_rests_for_2_d_at_most() {
    // Two voters of five go on voting for the other; the preferred one is more patient.
    for (me, rival, patience) in [(A, B, 3 * D), (B, A, D)] {
        let mut bench = Alone::new(5, MAJORITY, me);
        let began = bench.now;
        let mut asked = Vec::new();
        while bench.now < began + ms(patience + 3 * D) {
            let vote = Some(Ballot {
                member: id(rival),
                incarnation: Incarnation(100 + rival as u64),
                asked_at: LocalTime::from_nanos(bench.now),
            });
            for voter in [2, 3] {
                let says = bench.says(
                    voter,
                    Statement {
                        vote,
                        ..Statement::default()
                    },
                );
                bench.hear(&says).1.unwrap();
            }
            asked.push(group_of(&bench).asks);
            bench.until(bench.now + ms(10));
        }
        let asks_for = asked.iter().position(|asks| !asks).unwrap();
        let rests_for = asked[asks_for..].iter().position(|asks| *asks).unwrap();
        let about = |steps: usize, span: u64| (steps as u64 * 10).abs_diff(span) <= 20;
        assert!(about(asks_for, patience), "asked for {asks_for}0 ms");
        assert!(about(rests_for, 2 * D), "rested for {rests_for}0 ms");
    }
}

#[test]
fn r10_one_that_is_in_nobodys_way_goes_on_asking() {
    let mut bench = Alone::new(3, MAJORITY, B);
    for _ in 0..20 {
        let hello = bench.advert(W);
        bench.hear(&hello).1.unwrap();
        assert!(group_of(&bench).asks);
        bench.until(bench.now + ms(100));
    }
}

#[test]
fn r10_one_that_is_two_way_with_too_few_asks_nobody() {
    let mut bench = Alone::new(5, MAJORITY, A);
    for (peer, expected) in [(2, false), (3, true)] {
        let hello = bench.advert(peer);
        bench.hear(&hello).1.unwrap();
        assert_eq!(group_of(&bench).asks, expected);
    }
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
            operator(&mut bench, command);
        }
        let hello = bench.advert(W);
        bench.hear(&hello).1.unwrap();
        let other = bench.says(B, sick);
        bench.hear(&other).1.unwrap();
        assert_eq!(bench.vote().is_some(), voted);
    }
}

#[test]
fn r12_one_whose_kernel_cannot_serve_it_hands_over() {
    let mut bench = holder(&spec(3, MAJORITY), A);
    let other = bench.says(B, ready());
    bench.hear(&other).1.unwrap();
    for eligible in [true, false] {
        let group = WEB;
        let _ = bench.input(Input::Eligible { group, eligible });
        assert_eq!(group_of(&bench).yields, !eligible);
    }
}

#[test]
fn r12_no_release_for_an_ask_that_is_old_or_nearly_over() {
    for (echo, arrives, lets_go) in [(1, 2, true), (1, 400, false), (0, 20, false)] {
        let mut bench = holder(&spec(3, MAJORITY), A);
        let began = bench.now;
        let other = bench.says(B, ready());
        bench.hear(&other).1.unwrap();
        bench.now += ms(1);
        operator(&mut bench, Command::Switch);
        while bench.now + ms(50) <= began + ms(arrives) {
            renewed(&mut bench, ms(50));
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
    let mut bench = holder(&spec(3, MAJORITY), A);
    let mut released_after = None;
    for step in 0..6 {
        let other = bench.says(B, ready());
        bench.hear(&other).1.unwrap();
        if step == 0 {
            operator(&mut bench, Command::Stop);
        }
        if released(&renewed(&mut bench, ms(100))).is_some() {
            released_after = released_after.or(Some(step));
        }
    }
    assert_eq!(released_after, Some(4), "in the fifth 100 ms");
}

#[test]
fn r12_the_vote_goes_to_no_heir_that_asks_no_more_or_is_deaf() {
    for (says, deaf) in [(ready(), false), (asks(), true)] {
        let mut bench = holder(&spec(3, MAJORITY), A);
        let other = bench.says(B, ready());
        bench.hear(&other).1.unwrap();
        operator(&mut bench, Command::Switch);
        bench.now += ms(1);
        let answer = bench.says(B, asks());
        let release = released(&bench.hear(&answer).0).unwrap();
        bench.now += ms(1);
        let mut later = bench.says(B, says);
        later.echo = later.echo.filter(|_| !deaf);
        bench.hear(&later).1.unwrap();
        let group = WEB;
        let _ = bench.input(Input::Muted { group, release });
        assert_eq!(bench.vote(), None);
    }
}

#[test]
fn r12_a_sick_holder_lets_go_if_the_group_says_so() {
    let mut bench = holder(&strict(), A);
    assert!(released(&health(&mut bench, false)).is_some());
    let mut bench = holder(&spec(3, MAJORITY), A);
    assert!(released(&health(&mut bench, false)).is_none());
}

#[test]
fn r12_switch_is_given_up_after_d_without_an_answer() {
    let mut bench = holder(&spec(3, MAJORITY), A);
    let mut out = Vec::new();
    for step in 0..6 {
        let other = bench.says(B, ready());
        bench.hear(&other).1.unwrap();
        if step == 0 {
            operator(&mut bench, Command::Switch);
        }
        assert_eq!(group_of(&bench).yields, step < 5, "after {step}00 ms");
        out.extend(renewed(&mut bench, ms(100)));
    }
    let refused = |e: &Effect| {
        let refusal = Refusal::NobodyReady;
        *e == Effect::Report(Event::Refused {
            group: WEB,
            refusal,
        })
    };
    assert_eq!(out.iter().filter(|e| refused(e)).count(), 1);
    assert_eq!(group_of(&bench).role, RoleName::Holder);
}

#[test]
fn r12_failback_delay_starts_again_when_the_other_stops_asking() {
    let mut patient = spec(3, MAJORITY);
    patient.groups[0].failback_delay = Span::from_millis(300);
    let mut bench = holder(&patient, B);
    let mut released_after = None;
    for step in 0..12 {
        let says = if step == 4 { ready() } else { asks() };
        let other = bench.says(A, says);
        let mut out = bench.hear(&other).0;
        out.extend(renewed(&mut bench, ms(50)));
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

#[test]
fn r13_one_that_was_silent_is_lost_before_it_is_heard_again() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let hello = bench.advert(A);
    bench.hear(&hello).1.unwrap();
    bench.now += ms(D + 1); // and no turn in between
    let again = bench.advert(A);
    let (out, _) = bench.hear(&again);
    let peer = id(A);
    for event in [Event::Lost { peer }, Event::Back { peer }] {
        assert!(out.contains(&Effect::Report(event)), "{out:?}");
    }
}

#[test]
fn r14_a_peer_that_neither_votes_nor_starts_renews_nothing() {
    for (quarantined, renews) in [(false, false), (true, true)] {
        let mut bench = Alone::new(2, SURVIVOR, A);
        bench.until(bench.now + ms(D + 152));
        bench.now += ms(1);
        let hello = bench.advert(B);
        bench.hear(&hello).1.unwrap();
        let mut later = bench.advert(B);
        bench.until(bench.now + ms(50));
        later.sent_at = bench.advert(B).sent_at;
        later.quarantined = quarantined;
        assert_eq!(hold(&bench.hear(&later).0).is_some(), renews);
    }
}

#[test]
fn r14_patience_counts_from_the_end_of_quarantine() {
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

#[test]
fn r15_under_majority_a_conflict_is_an_alarm_and_no_more() {
    let mut bench = holder(&spec(3, MAJORITY), B);
    let other = Statement {
        asks: true,
        holds: true,
        ..Statement::default()
    };
    let other = bench.says(A, other);
    let (out, _) = bench.hear(&other);
    let conflict = Effect::Report(Event::Conflict {
        group: WEB,
        peer: id(A),
    });
    assert!(out.contains(&conflict), "{out:?}");
    assert_eq!(released(&out), None, "the word may be late");
}

#[test]
fn r15_the_one_that_stays_announces_when_the_other_has_let_go() {
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.until(bench.now + ms(D + 152));
    let mut outs = Vec::new();
    for holds in [true, true, false] {
        let other = Statement {
            holds,
            ..Statement::default()
        };
        let other = bench.says(B, other);
        outs.push(bench.hear(&other).0);
        bench.now += ms(1);
    }
    assert!(outs.iter().all(|out| released(out).is_none()));
    let announces: Vec<bool> = outs.iter().map(|out| announced(out)).collect();
    assert_eq!(announces, [true, false, true], "met, then alone again");
}

#[test]
fn r17_a_presumption_holds_on_until_any_sign_of_life_and_no_longer() {
    let mut w = World::holding(&spec(2, MAJORITY));
    w.crash(A);
    w.run(ms(2_000));
    w.operator(B, Command::PresumeDead);
    let changes = w.role_changes();
    w.run(ms(5_000));
    assert_eq!(w.effective(), [B]);
    assert_eq!(w.role_changes(), changes, "it renews\n{}", w.story());
    let seen = w.node(B).observe(&w.members[B].config, w.local(B));
    assert!(seen.groups[0].ready, "the dead are not needed");
    w.start(A);
    w.run(ms(2_000));
    w.cut_both(A, B);
    w.run(ms(5_000));
    assert_eq!(w.effective(), [0usize; 0], "the word was for that silence");
}

/// How many adverts go to a peer that is heard each 50 ms, from 150 ms to 250 ms after its first.
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
    let votes = |bench: &Alone, _| grants(bench, bench.now);
    assert!(paced(A, W, votes, true) <= 2, "nothing is late");
    assert!((3..=6).contains(&paced(A, W, grants, true)), "a vote is");
}

#[test]
fn r18_a_silent_peer_is_hurried_for_until_it_is_lost() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let hello = bench.advert(A);
    bench.hear(&hello).1.unwrap();
    let began = bench.now;
    let mut sent = |from: u64, to: u64| {
        bench.until(began + ms(from));
        sends_to(&bench.until(began + ms(to)), A).len()
    };
    assert!(sent(0, 140) <= 2);
    assert!((3..=6).contains(&sent(150, 240)), "silent for 1.5 i");
    assert!(sent(D, D + 1_000) <= 11, "silent for D");
}
