//! a clock that went back, and one that stood still.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::{ClusterId, ConfigDigest, Incarnation, Statement};
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::time::LocalTime;

const HOLDS: Statement = Statement {
    asks: true,
    holds: true,
    ready: false,
    yields: false,
    preparing: false,
    frozen: false,
    vote: None,
};

fn went_back(peer: usize) -> Vec<Effect> {
    let peer = id(peer);
    vec![
        Effect::EndIncarnation,
        Effect::Report(Event::ClockWentBack { peer }),
    ]
}

#[test]
fn r21_an_echo_of_what_is_yet_to_be_sent_ends_the_incarnation() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    let mut word = bench.advert(W);
    word.echo = Some(LocalTime::from_nanos(bench.now));
    let (out, _) = bench.hear(&word);
    assert!(!out.contains(&Effect::EndIncarnation), "{out:?}");
    word.sent_at = word.sent_at.plus(bench.config.timing().hurry());
    word.echo = Some(LocalTime::from_nanos(bench.now + 1));
    assert_eq!(bench.hear(&word).0, went_back(W), "and nothing else");
}

/// Whoever says so has an advert of this very incarnation.
#[test]
fn r21_such_an_echo_counts_whatever_else_an_advert_is() {
    let bench = Alone::holding(&spec(3, MAJORITY), A);
    let mut word = bench.advert(B);
    word.echo = Some(LocalTime::from_nanos(bench.now + ms(25_000)));
    let mut of_another_file = word.clone();
    of_another_file.config = ConfigDigest(7);
    let mut of_nobody = of_another_file.clone();
    of_nobody.from = id(8);
    let mut late = word.clone();
    late.sent_at = LocalTime::from_nanos(1);
    let mut of_another_life = word.clone();
    of_another_life.incarnation = Incarnation(77);
    for (word, from) in [
        (&of_another_file, B),
        (&of_nobody, 8),
        (&late, B),
        (&of_another_life, B),
    ] {
        let mut bench = Alone::holding(&spec(3, MAJORITY), A);
        bench.hears(B, Statement::default());
        assert_eq!(bench.hear(word).0, went_back(from), "{word:?}");
    }
    let mut to_another_life = word.clone();
    to_another_life.to_incarnation = Some(Incarnation(78));
    let mut to_none = word.clone();
    to_none.to_incarnation = None;
    let mut of_another_cluster = word;
    of_another_cluster.cluster = ClusterId(3);
    for word in [to_another_life, to_none, of_another_cluster] {
        let mut bench = Alone::holding(&spec(3, MAJORITY), A);
        let (out, _) = bench.hear(&word);
        assert!(!out.contains(&Effect::EndIncarnation), "{word:?}");
    }
}

/// A recording echoes what is longer ago than when it was made: [`World`] lets no test see another
/// end.
#[test]
fn r21_no_replay_ends_an_incarnation() {
    for arbitration in [(3, MAJORITY), (2, SURVIVOR)] {
        let mut w = World::holding(&spec(arbitration.0, arbitration.1));
        w.record = true;
        w.set_rate(A, 1_000);
        w.set_rate(B, -1_000);
        w.run(ms(3_000));
        w.record = false;
        for advert in w.recorded.clone() {
            w.replay(advert);
        }
        w.run(ms(500));
        for advert in w.recorded.clone() {
            w.replay(advert);
        }
        assert_eq!(w.effective(), [A]);
    }
}

/// The host of the holder is restored from a snapshot of 25 s ago, memory and clock; its successor
/// holds.
#[test]
fn r21_a_restored_snapshot_ends_at_the_first_word_and_takes_part_again() {
    for (size, arbitration) in [(3, MAJORITY), (2, SURVIVOR)] {
        for phase in 0..20 {
            let mut w = World::holding(&spec(size, arbitration));
            let snapshot = w.snapshot(A);
            w.run(ms(23_000 + 5 * phase));
            w.crash(A);
            w.run(ms(2_000));
            assert_eq!(w.effective(), [B]);
            (w.check_two, w.keeps_time) = (false, false);
            w.restore(A, &snapshot);
            assert_eq!(w.effective(), [A, B], "its lease was running");
            w.run(ms(100));
            assert_eq!(w.effective(), [B], "{size} {phase}\n{}", w.story());
            assert!(w.is_down(A), "within an interval");
            w.run(ms(1_000)); // the service manager's
            w.start(A);
            w.run(ms(800));
            assert_eq!(w.effective(), [A], "failback: it takes part again");
        }
    }
}

/// So does one that never held, which nobody would hear for 25 s otherwise.
#[test]
fn r21_a_restored_standby_is_heard_again() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    let snapshot = w.snapshot(B);
    w.run(ms(25_000));
    w.keeps_time = false;
    w.restore(B, &snapshot);
    w.run(ms(100));
    assert!(w.is_down(B));
    w.run(ms(1_000));
    w.start(B);
    w.run(ms(800));
    w.crash(A);
    w.run(ms(800));
    assert_eq!(w.effective(), [B]);
}

/// So does one whose daemon was started again after the snapshot was made: the others have met a
/// later incarnation and answer it all the same.
#[test]
fn r21_one_restored_to_an_incarnation_that_was_replaced_is_heard_again() {
    for (size, arbitration) in [(3, MAJORITY), (2, SURVIVOR)] {
        let mut w = World::holding(&spec(size, arbitration));
        let snapshot = w.snapshot(B);
        w.run(ms(5_000));
        w.crash(B);
        w.start(B);
        w.run(ms(5_000));
        w.keeps_time = false;
        w.restore(B, &snapshot);
        w.run(ms(200));
        assert!(w.is_down(B), "{size}");
        w.start(B);
        w.run(ms(800));
        w.crash(A);
        w.run(ms(800));
        assert_eq!(w.effective(), [B]);
    }
}

#[test]
fn r21_a_holder_lets_go_when_a_majority_is_bound_to_another() {
    let other = votes(A, Incarnation(100), 1);
    let mine = |bench: &Alone| bench.grants(bench.now);
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    bench.now += ms(1);
    assert_eq!(released(&bench.hears(A, HOLDS)), None, "one of three");
    bench.now += ms(1);
    let of_mine = mine(&bench);
    assert_eq!(released(&bench.hears(W, of_mine)), None);
    bench.now += ms(1);
    let out = bench.hears(W, other);
    assert!(released(&out).is_some(), "{out:?}");
    let outvoted = |e: &Effect| {
        matches!(
            e,
            Effect::Report(Event::Role {
                why: Why::Outvoted,
                ..
            })
        )
    };
    assert!(out.iter().any(outvoted), "{out:?}");
}

#[test]
fn r21_a_vote_for_my_earlier_incarnation_is_one_for_another() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    bench.now += ms(1);
    let former = votes(B, Incarnation(9), 1);
    assert_eq!(released(&bench.hears(A, former)), None);
    bench.now += ms(1);
    assert!(released(&bench.hears(W, former)).is_some());
}

#[test]
fn r21_one_that_votes_for_nobody_takes_nothing_away() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    bench.now += ms(1);
    assert_eq!(released(&bench.hears(A, HOLDS)), None);
    bench.now += ms(1);
    assert_eq!(released(&bench.hears(W, Statement::default())), None);
}

/// Under `survivor` and with two members no majority of others is there: go on.
#[test]
fn r21_two_members_outvote_nobody() {
    let mut w = World::holding(&spec(2, MAJORITY));
    let bound = |(_, _, e): &(u64, usize, Event)| {
        matches!(
            e,
            Event::Role {
                why: Why::Outvoted,
                ..
            }
        )
    };
    (w.check_two, w.keeps_time) = (false, false);
    w.stand_still(A, ms(3_000));
    w.run(ms(2_000));
    assert!(!w.log.iter().any(bound));
    assert_eq!(w.effective(), [A], "nobody took over");
}

/// A machine that is paused together with its clock goes on with a lease that is over for all
/// others.
#[test]
fn r21_one_whose_clock_stood_still_lets_go_within_an_interval() {
    for (size, arbitration) in [(3, MAJORITY), (5, MAJORITY), (2, SURVIVOR)] {
        let (mut most, mut times) = (0, 0);
        for n in 0..200 {
            let mut w = World::holding(&spec(size, arbitration));
            w.run(ms(n));
            (w.check_two, w.keeps_time) = (false, false);
            w.lose_what_waits = n % 2 == 0;
            w.stand_still(A, ms(700 + 13 * n));
            let began = w.now;
            let two = w.effective() == [A, B];
            while w.effective() == [A, B] {
                w.run(ms(1));
                assert!(
                    w.now - began <= ms(126),
                    "longer than an interval and a quarter\n{}",
                    w.story()
                );
            }
            if two {
                (most, times) = (most.max(w.now - began), times + 1);
            }
            w.run(ms(1_500));
            assert_eq!(w.effective().len(), 1);
        }
        assert!(times > 100, "two held after the resume, {times} times");
        assert!(most > 0);
    }
}
