//! R-15 conflict, R-16 announcing again, R-17 presume-dead.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Input, Refusal};
use onehold_core::time::LocalTime;

#[test]
fn r15_after_a_full_cut_the_preferred_one_stays_and_announces_again() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.check_two = false;
    w.cut_both(A, B);
    w.run(ms(5_000));
    assert_eq!(
        w.effective(),
        [A, B],
        "the honest limit of two members alone"
    );
    let announced = w.members[A].announced;
    w.heal();
    w.run(ms(200));
    assert_eq!(w.effective(), [A], "within two intervals of the heal");
    assert_eq!(w.last_why(B), Some(Why::Conflict));
    assert!(w.members[A].announced > announced);
}

/// What a member that holds says.
const HOLDS: Statement = Statement {
    asks: true,
    holds: true,
    ready: false,
    yields: false,
    preparing: false,
    frozen: false,
    vote: None,
};

fn claims(out: &[Effect]) -> bool {
    let claim = |e: &Effect| matches!(e, Effect::Report(Event::Conflict { .. }));
    out.iter().any(claim)
}

#[test]
fn r15_under_majority_a_conflict_is_an_alarm_and_no_more() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    assert!(!claims(&bench.hears(A, HOLDS)));
    bench.now += ms(1);
    let out = bench.hears(A, HOLDS);
    let conflict = Effect::Report(Event::Conflict {
        group: WEB,
        peer: id(A),
    });
    assert!(out.contains(&conflict), "{out:?}");
    assert_eq!(released(&out), None, "the word may be late");
}

#[test]
fn r15_words_that_waited_somewhere_prove_no_conflict() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    let first_heard = bench.now;
    // The words of a former holder, one after the other; the last is the answer to a holder's.
    let before = bench.now - 1;
    let answers = [Some(before), None, Some(bench.now - ms(D)), Some(before)];
    for (echo, claimed) in answers
        .map(|echo| (echo, false))
        .into_iter()
        .chain([(Some(first_heard), true)])
    {
        let mut word = bench.says(A, HOLDS);
        word.echo = echo.map(LocalTime::from_nanos);
        let (out, result) = bench.hear(&word);
        result.unwrap();
        assert_eq!(claims(&out), claimed, "{echo:?} {out:?}");
        bench.now += ms(1);
    }
    // Letting go is the safe side, so any word is enough.
    let mut bench = Alone::new(2, SURVIVOR, B);
    bench.until(bench.now + ms(D + 152));
    let mut word = bench.says(A, HOLDS);
    word.echo = None;
    let out = bench.hear(&word).0;
    assert!(released(&out).is_some() && !claims(&out), "{out:?}");
}

/// A holder that is paused between reading its clock and sending says, when it goes on, what was
/// true before: also in answer to what its successor sent less than D ago.
#[test]
fn r15_one_that_was_paused_in_its_turn_is_no_second_holder() {
    for n in 0..400 {
        let (loses_after, paused) = (ms(n % 20 * 5), ms(250 + n / 20 * 10));
        let mut w = World::holding(&spec(3, MAJORITY));
        w.run(loses_after);
        (w.lose_next[A][B], w.lose_next[A][W]) = (1, 1);
        w.run(ms(100));
        w.pauses_next = Some(A);
        w.run(paused);
        w.resume(A);
        w.run(ms(1_000));
        let claim = |(_, _, e): &(u64, usize, Event)| matches!(e, Event::Conflict { .. });
        assert!(!w.log.iter().any(claim), "{n}\n{}", w.story());
    }
}

#[test]
fn r15_what_a_witness_says_is_no_end_of_a_conflict() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    for (from, says, claimed) in [
        (A, HOLDS, false),
        (W, Statement::default(), false),
        (A, HOLDS, true),
        (W, Statement::default(), false),
        (A, HOLDS, false),
    ] {
        let out = bench.hears(from, says);
        assert_eq!(claims(&out), claimed, "{out:?}");
        bench.now += ms(1);
    }
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
        outs.push(bench.hears(B, other));
        bench.now += ms(1);
    }
    assert!(outs.iter().all(|out| released(out).is_none()));
    let announces: Vec<bool> = outs.iter().map(|out| announced(out)).collect();
    assert_eq!(announces, [true, false, true], "met, then alone again");
}

#[test]
fn r16_announces_on_taking_hold_on_a_foreign_claim_and_when_a_member_returns() {
    let mut w = World::holding(&spec(3, MAJORITY));
    assert_eq!(w.members[A].announced, 1);
    w.input(A, Input::ForeignClaim { group: WEB });
    assert_eq!(w.members[A].announced, 2);
    w.input(B, Input::ForeignClaim { group: WEB });
    assert_eq!(w.members[B].announced, 0, "only the holder");
    w.cut_both(A, B);
    w.run(ms(2_000));
    w.heal();
    w.run(ms(300));
    assert_eq!(w.members[A].announced, 3);
}

#[test]
fn r17_two_members_alone_need_the_operator() {
    let mut w = World::holding(&spec(2, MAJORITY));
    w.crash(A);
    w.run(ms(500));
    w.operator(B, Command::PresumeDead);
    assert!(matches!(
        w.log.last(),
        Some((
            _,
            B,
            Event::CommandRefused {
                refusal: Refusal::PeerHeard | Refusal::VoteBound,
                ..
            }
        ))
    ));
    w.run(ms(60_000));
    assert_eq!(w.effective(), [0usize; 0], "a majority of two is two");
    w.operator(B, Command::PresumeDead);
    w.run(ms(101));
    assert_eq!(w.effective(), [B]);
    assert_eq!(w.last_why(B), Some(Why::PresumedDead));
    w.run(ms(5_000));
    assert_eq!(w.effective(), [B]);
    // Any sign of life ends the presumption; then both decide again.
    w.start(A);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.two_at, None);
}

#[test]
fn r17_is_for_two_members_in_majority_only() {
    for spec in [spec(3, MAJORITY), spec(2, SURVIVOR)] {
        let mut w = World::holding(&spec);
        w.operator(B, Command::PresumeDead);
        let Some((_, B, Event::CommandRefused { refusal, .. })) = w.log.last() else {
            panic!()
        };
        assert_eq!(*refusal, Refusal::NotTwoMembers);
    }
}

#[test]
fn r17_a_repetition_in_a_turn_that_comes_late_is_no_sign_of_life() {
    let mut bench = Alone::new(2, MAJORITY, A);
    let old = bench.says(B, Statement::default());
    bench.hear(&old).1.unwrap();
    bench.until(bench.now + ms(3 * D));
    bench.operator(Command::PresumeDead);
    bench.until(bench.now + ms(110));
    assert!(bench.group().presumed_dead);
    bench.now += ms(200); // it overslept
    assert!(bench.hear(&old).1.is_err());
    assert!(bench.group().presumed_dead, "nothing new was heard");
    bench.now += ms(50);
    bench.hear(&bench.says(B, Statement::default())).1.unwrap();
    assert!(!bench.group().presumed_dead);
}

#[test]
fn r17_a_presumption_holds_on_until_any_sign_of_life_and_no_longer() {
    let mut w = World::holding(&spec(2, MAJORITY));
    w.crash(A);
    w.run(ms(2_000));
    w.operator(B, Command::PresumeDead);
    w.run(ms(101));
    let changes = w.role_changes();
    w.run(ms(5_000));
    assert_eq!(w.effective(), [B]);
    assert_eq!(w.role_changes(), changes, "it renews\n{}", w.story());
    assert!(w.group(B).ready, "the dead are not needed");
    w.start(A);
    w.run(ms(2_000));
    w.cut_both(A, B);
    w.run(ms(5_000));
    assert_eq!(w.effective(), [0usize; 0], "the word was for that silence");
}
