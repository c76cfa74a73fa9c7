//! A stranger is not silent; and a member that can see that it is itself
//! cut off.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::Node;
use onehold_core::advert::{Advert, Incarnation, Statement};
use onehold_core::auth::Authentic;
use onehold_core::config::Spec;
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Input, Refusal};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};

/// The same cluster by another file: with it, each member takes itself for the preferred one.
fn other_file() -> Spec {
    let mut file = spec(2, SURVIVOR);
    file.groups[0].preferred = "b".into();
    file
}

/// `a` holds, and `b` has restarted with another file.
fn restarted_with_another_file() -> World {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.crash(B);
    w.run(ms(300));
    w.start_with(B, &other_file());
    w
}

/// The peer's advert under another configuration, which may not be acted upon.
fn strange(bench: &Alone, holds: bool) -> Advert {
    let peer = 1 - usize::from(bench.config.me().0);
    let says = Statement {
        holds,
        ..Statement::default()
    };
    let mut advert = bench.says(peer, says);
    advert.config.0 ^= 1;
    advert
}

#[test]
fn r14_one_that_holds_by_another_file_is_not_silent() {
    let mut w = restarted_with_another_file();
    w.run(ms(10_000));
    assert_eq!(w.effective(), [A], "and it goes on by what it sends");
    assert_eq!(w.role_changes(), 1, "{}", w.story());
    w.crash(A);
    let gap = w.until_held_by(B, ms(D + 150 + 160));
    assert!(gap > ms(D), "{gap}");
}

#[test]
fn r14_two_that_refuse_each_other_do_not_wait_for_each_other() {
    for skew in [0, 1, 40, 150, 300, 700] {
        let mut w = World::new(&spec(2, SURVIVOR), 7);
        w.start(A);
        w.run(ms(skew));
        w.start_with(B, &other_file());
        // At 150 both take hold within one way through the network of each other: R-15 settles it.
        w.check_two = skew != 150;
        w.run(ms(2 * D + 300));
        assert_eq!(w.effective().len(), 1, "{skew} {}", w.story());
        let changes = w.role_changes();
        w.run(ms(5_000));
        assert_eq!(w.role_changes(), changes, "{skew} {}", w.story());
    }
}

#[test]
fn r14_a_replayed_word_of_a_stranger_keeps_nobody_back() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let mut words = Vec::new();
    for incarnation in 0..3 {
        let mut word = strange(&bench, true);
        word.incarnation = Incarnation(500 + incarnation);
        words.push(word);
    }
    let mut out = Vec::new();
    for _ in 0..10 {
        for word in &words {
            let _ = bench.hear(word);
            out.extend(bench.until(bench.now + ms(33)));
        }
    }
    assert!(hold(&out).is_some());
}

#[test]
fn r14_misaddressed_words_of_another_process_are_not_silence_either() {
    // Two machines run as `b`: this one must not take hold beside the other.
    for config in [0, 1] {
        for (from, to) in [(B, A), (B, B), (7, B), (A, 7)] {
            let mut bench = Alone::new(2, SURVIVOR, B);
            let mut out = Vec::new();
            for _ in 0..20 {
                let mut word = strange(&bench, true);
                (word.from, word.to) = (id(from), id(to));
                word.config.0 ^= config;
                bench.hear(&word).1.unwrap_err();
                out.extend(bench.until(bench.now + ms(100)));
            }
            assert_eq!(hold(&out), None, "{from} {to}");
        }
    }
    // Its own adverts, reflected, are nobody's word.
    let mut bench = Alone::new(2, SURVIVOR, B);
    let mut out = Vec::new();
    for _ in 0..20 {
        let mut word = strange(&bench, true);
        (word.from, word.to, word.incarnation) = (id(B), id(A), ME);
        word.config = bench.config.digest();
        assert_eq!(bench.hear(&word).1, Err(Reject::NotToMe));
        out.extend(bench.until(bench.now + ms(100)));
    }
    assert!(hold(&out).is_some());
}

/// What a candidate of three does over 20 intervals in which the witness votes for it and, once in
/// each, it hears what `said` returns.
fn voted_for(bench: &mut Alone, mut said: impl FnMut(&Alone) -> Vec<Advert>) -> Vec<Effect> {
    let mut out = Vec::new();
    for _ in 0..20 {
        for word in said(bench) {
            out.extend(bench.hear(&word).0);
        }
        out.extend(bench.hears(W, bench.grants(bench.now)));
        out.extend(bench.until(bench.now + ms(100)));
    }
    out
}

#[test]
fn r14_by_whatever_majority_nobody_takes_hold_beside_one_that_holds_by_another_file() {
    // The witness was replaced, and the standby got the new file first: there are two majorities.
    let mut bench = Alone::new(3, MAJORITY, B);
    let out = voted_for(&mut bench, |bench| vec![strange(bench, true)]);
    assert_eq!(hold(&out), None);
    // The stranger stops holding, and then it keeps nobody back.
    let end = bench.now;
    let out = voted_for(&mut bench, |bench| vec![strange(bench, false)]);
    assert!(hold(&out).is_some());
    let mut silent = Alone::new(3, MAJORITY, B);
    voted_for(&mut silent, |bench| vec![strange(bench, true)]);
    let out = voted_for(&mut silent, |_| vec![]);
    assert!(
        hold(&out).unwrap() > end + ms(607 - 100),
        "S after its last word"
    );
}

#[test]
fn r14_another_strangers_word_does_not_free_one_that_was_kept_back() {
    let mut bench = Alone::new(3, MAJORITY, B);
    let out = voted_for(&mut bench, |bench| {
        let mut idle = strange(bench, false);
        idle.incarnation.0 += 1000;
        vec![strange(bench, true), idle]
    });
    assert_eq!(hold(&out), None);
}

#[test]
fn r14_of_two_strangers_that_hold_one_that_stops_does_not_hide_the_other() {
    // Two hold, each another group, and both are heard by the one session of a former peer.
    let mut bench = Alone::new(2, SURVIVOR, B);
    let mut out = Vec::new();
    let mut said = |bench: &mut Alone, first: bool, second: bool| {
        for (holds, incarnation) in [(first, 0), (second, 1000)] {
            let mut word = strange(bench, holds);
            word.incarnation.0 += incarnation;
            out.extend(bench.hear(&word).0);
        }
        out.extend(bench.until(bench.now + ms(100)));
        hold(&out)
    };
    for _ in 0..20 {
        assert_eq!(said(&mut bench, true, true), None);
    }
    let mut stops = strange(&bench, false);
    stops.incarnation.0 += 1000;
    let (now, _) = bench.hear(&stops);
    assert_eq!(hold(&now), None, "the first one holds");
    for _ in 0..20 {
        assert_eq!(said(&mut bench, true, false), None, "and goes on");
    }
    said(&mut bench, false, false);
    assert!(said(&mut bench, false, false).is_some(), "none does");
}

#[test]
fn r15_a_stranger_learns_that_it_is_heard_whatever_number_its_file_gives_it() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    let mut word = strange(&bench, true);
    word.from = id(7);
    let _ = bench.hear(&word);
    let out = bench.until(bench.now + ms(100));
    let answer = sends_to(&out, A).pop().expect("an advert to its address");
    assert_eq!(answer.to_incarnation, Some(word.incarnation));
    assert_eq!(answer.echo, Some(word.sent_at));
    assert_ne!(sends_to(&out, W)[0].to_incarnation, Some(word.incarnation));
}

#[test]
fn r15_another_strangers_word_is_no_end_of_a_conflict() {
    // The other side has added a witness, whose words come between those of its holder.
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.until(bench.now + ms(1_000));
    assert!(bench.group().lease_left.is_some());
    let mut out = Vec::new();
    for _ in 0..10 {
        let mut unheard = strange(&bench, true);
        unheard.to_incarnation = None;
        let mut witness = strange(&bench, false);
        witness.incarnation.0 += 1000;
        out.extend(bench.hear(&unheard).0);
        out.extend(bench.until(bench.now + ms(50)));
        out.extend(bench.hear(&witness).0);
        out.extend(bench.until(bench.now + ms(50)));
    }
    assert!(released(&out).is_some(), "after P: it is not heard");
    let strange = Effect::Report(Event::Strange { group: WEB });
    assert_eq!(
        out.iter().filter(|e| **e == strange).count(),
        1,
        "one alarm"
    );
}

#[test]
fn r15_under_majority_the_later_of_two_that_refuse_each_other_lets_go_and_no_recording_ends_a_hold()
{
    for (me, proven, stays) in [(A, true, true), (B, false, true), (B, true, false)] {
        let mut bench = Alone::holding(&spec(3, MAJORITY), me);
        let out = voted_for(&mut bench, |bench| {
            let mut word = strange(bench, true);
            if !proven {
                word.to_incarnation = Some(Incarnation(ME.0 + 1));
            }
            vec![word]
        });
        let strange = Effect::Report(Event::Strange { group: WEB });
        assert!(out.contains(&strange), "an alarm in any case");
        assert_eq!(released(&out).is_none(), stays, "{me} {proven}");
    }
}

#[test]
fn r15_two_holders_that_refuse_each_other_settle_it_by_their_order() {
    let mut w = restarted_with_another_file();
    w.run(ms(2_000));
    w.check_two = false;
    w.cut_both(A, B);
    w.run(ms(3_000));
    assert_eq!(
        w.effective(),
        [A, B],
        "each takes itself for the preferred one"
    );
    let announced = w.members[A].announced;
    w.heal();
    w.run(ms(202)); // each hears a word, and learns that it is heard
    assert_eq!(w.effective(), [A], "{}", w.story());
    assert_eq!(w.last_why(B), Some(Why::Strange));
    assert!(w.members[A].announced > announced);
    let alarms = |m| {
        let strange = Event::Strange { group: WEB };
        w.log
            .iter()
            .filter(|(_, who, e)| *who == m && *e == strange)
            .count()
    };
    assert!(
        alarms(A) <= 1 && alarms(B) == 1,
        "one alarm for one conflict"
    );
    w.run(ms(5_000));
    assert_eq!(w.effective(), [A]);
}

#[test]
fn r15_the_first_one_lets_go_too_if_it_is_not_heard() {
    // b does not hear a, and takes hold; a hears b, and comes first in the order.
    let mut w = restarted_with_another_file();
    w.run(ms(2_000));
    w.check_two = false;
    w.cut(A, B);
    while w.effective() != [A, B] {
        w.run(ms(1));
    }
    let both = w.now;
    w.until_held_by(B, ms(251 + 110));
    assert!(w.now - both > ms(200), "{}", w.story());
    w.run(ms(3_000));
    assert_eq!(w.effective(), [B], "{}", w.story());
    w.heal();
    w.run(ms(3_000));
    assert_eq!(w.effective(), [B], "{}", w.story());
}

#[test]
fn r15_a_stranger_that_is_not_heard_any_more_is_no_conflict() {
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.until(bench.now + ms(D + 152));
    let (first, later) = (ms(0), ms(D + 302));
    let alarm = Effect::Report(Event::Strange { group: WEB });
    for (wait, alarms) in [(first, true), (ms(100), false), (later, true)] {
        bench.until(bench.now + wait);
        let word = strange(&bench, true);
        let out = bench.hear(&word).0;
        assert_eq!(out.contains(&alarm), alarms, "{out:?}");
        assert_eq!(released(&out), None, "it comes first");
    }
}

#[test]
fn r15_the_peers_word_is_no_end_of_a_strangers_conflict() {
    // A machine that was replaced is switched on again, while the one that replaced it is heard all
    // the time.
    let mut bench = Alone::new(2, SURVIVOR, A);
    bench.until(bench.now + ms(D + 152));
    let (mut alarms, mut announced_again, mut let_go) = (0, 0, false);
    for _ in 0..4 {
        let mut word = strange(&bench, true);
        word.incarnation = Incarnation(900);
        let (mut out, _) = bench.hear(&word);
        bench.until(bench.now + ms(40));
        out.extend(bench.hears(B, ready()));
        let alarm = |e: &&Effect| **e == Effect::Report(Event::Strange { group: WEB });
        alarms += out.iter().filter(alarm).count();
        announced_again += usize::from(announced(&out));
        let_go |= released(&out).is_some();
        bench.until(bench.now + ms(60));
    }
    assert_eq!(alarms, 1, "one alarm for one conflict");
    assert!(announced_again <= 2, "{announced_again}: when each is met");
    assert!(let_go, "it has heard for P that another holds");
}

#[test]
fn r15_while_a_stranger_holds_what_a_peer_says_is_no_second_alarm() {
    let mut bench = Alone::new(2, MAJORITY, A);
    bench.until(bench.now + ms(3 * D));
    bench.operator(Command::PresumeDead);
    let mut alarms = 0;
    for _ in 0..5 {
        let word = strange(&bench, true);
        let (mut out, _) = bench.hear(&word);
        let holds = Statement {
            holds: true,
            ..ready()
        };
        out.extend(bench.hears(B, holds));
        alarms += (out.iter())
            .filter(|e| {
                matches!(
                    e,
                    Effect::Report(Event::Strange { .. } | Event::Conflict { .. })
                )
            })
            .count();
        bench.until(bench.now + ms(50));
    }
    assert!(alarms <= 1, "{alarms}");
}

#[test]
fn r17_one_under_another_configuration_is_alive() {
    let mut bench = Alone::new(2, MAJORITY, A);
    bench.until(bench.now + ms(3 * D));
    let word = strange(&bench, false);
    let _ = bench.hear(&word);
    let refused = |out: &[Effect]| {
        let refusal = Refusal::PeerHeard;
        out.contains(&Effect::Report(Event::CommandRefused {
            group: WEB,
            refusal,
        }))
    };
    assert!(refused(&bench.operator(Command::PresumeDead)));
    bench.until(bench.now + ms(2 * D));
    let _ = bench.hear(&word);
    assert!(
        !refused(&bench.operator(Command::PresumeDead)),
        "a repetition"
    );
    bench.until(bench.now + ms(100));
    assert!(bench.group().presumed_dead);
    bench.now += ms(1);
    let word = strange(&bench, false);
    let _ = bench.hear(&word);
    assert!(!bench.group().presumed_dead);
}

#[test]
fn r14_one_that_cannot_serve_and_hears_nobody_lets_go() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.port(A, false);
    w.until_held_by(B, ms(D + 160));
    assert_eq!(w.last_why(A), Some(Why::LeaseOver), "it presumes nothing");
    let mut alone = World::holding(&spec(2, SURVIVOR));
    alone.crash(B);
    alone.run(ms(2_000));
    alone.port(A, false);
    assert_eq!(alone.last_why(A), Some(Why::Unable), "at once");
    w.run(ms(2_000));
    w.port(A, true);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A], "the preferred one has it back");
    assert_eq!(w.last_why(B), Some(Why::Failback), "{}", w.story());
    // Under `majority` its votes end the hold.
    let mut bench = Alone::holding(&spec(3, MAJORITY), B);
    let (group, eligible) = (WEB, false);
    let out = bench.input(Input::Eligible { group, eligible }).0;
    assert_eq!(released(&out), None);
}

#[test]
fn r14_one_that_can_serve_again_has_heard_nothing_before() {
    let mut bench = Alone::new(2, SURVIVOR, A);
    let group = WEB;
    for eligible in [false, true] {
        let _ = bench.input(Input::Eligible { group, eligible });
        let early = bench.until(bench.now + ms(D + 150));
        assert_eq!(hold(&early), None, "{eligible}");
    }
    assert!(hold(&bench.until(bench.now + ms(2))).is_some());
}

#[test]
fn r14_a_port_that_comes_up_for_a_moment_is_no_silence() {
    for down in [10, 150, 300, 440] {
        for up in [1, 30, 60, 100] {
            let mut w = World::holding(&spec(2, SURVIVOR));
            for up in [false, true, false] {
                w.port(A, up);
                w.run(ms(if up { 0 } else { down }));
            }
            w.port(A, true);
            w.run(ms(up));
            w.port(A, false);
            w.until_held_by(B, ms(1_000));
        }
    }
}

#[test]
fn r14_a_switch_that_reboots_leaves_one_holder() {
    for (down, up) in [(0, 0), (3, 0), (0, 3), (40, 120), (0, 900)] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.port(A, false);
        w.run(ms(down));
        w.port(B, false);
        w.run(ms(20_000));
        assert_eq!(w.effective(), [0usize; 0], "neither can serve");
        w.port(B, true);
        w.run(ms(up));
        w.port(A, true);
        w.port(B, true);
        w.run(ms(2_000));
        assert_eq!(w.effective(), [A], "{}", w.story());
    }
}

#[test]
fn r15_whatever_numbers_their_files_give_them_one_of_two_comes_first() {
    let mut renamed = spec(2, SURVIVOR);
    renamed.members[0].name = "c".into(); // so `b` has the number that `a` has by its own file
    renamed.groups[0].preferred = "c".into();
    for (file, same_number) in [(other_file(), false), (renamed, true)] {
        let mut two = [Alone::of(&spec(2, SURVIVOR), A), Alone::of(&file, B)];
        assert_eq!(two[0].config.me() == two[1].config.me(), same_number);
        let mut words = Vec::new();
        for (bench, incarnation) in two.iter_mut().zip([1, 2]) {
            bench.node = Node::start(
                &bench.config,
                Incarnation(incarnation),
                LocalTime::from_nanos(0),
                Span::ZERO,
            );
            bench.now = 0;
            bench.wake();
            let out = bench.until(ms(3 * D));
            words.push(
                sends_to(&out, 1 - usize::from(bench.config.me().0))
                    .pop()
                    .unwrap(),
            );
        }
        assert!(words.iter().all(|w| w.groups[0].holds), "each holds");
        words.reverse();
        for (bench, (word, incarnation)) in two.iter_mut().zip(words.iter_mut().zip([1, 2])) {
            assert_eq!(released(&bench.hear(word).0), None, "it may be a recording");
            bench.now += ms(1);
            (word.to_incarnation, word.echo) = (Some(Incarnation(incarnation)), Some(bench.at()));
            word.sent_at = bench.at();
        }
        let lets_go =
            |(bench, word): (&mut Alone, &Advert)| released(&bench.hear(word).0).is_some();
        let let_go = two.iter_mut().zip(&words).map(lets_go);
        assert_eq!(let_go.filter(|gone| *gone).count(), 1);
    }
}

#[test]
fn r15_a_recorded_word_of_a_stranger_ends_no_hold_at_once() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    bench.until(bench.now + ms(D + 152));
    let old = bench.now - ms(D);
    for (to, echo) in [
        (None, Some(bench.now)),
        (Some(ME), Some(old)),
        (Some(ME), None),
    ] {
        let mut word = strange(&bench, true);
        (word.to_incarnation, word.echo) = (to, echo.map(LocalTime::from_nanos));
        assert_eq!(released(&bench.hear(&word).0), None);
        bench.until(bench.now + ms(100));
    }
    let word = strange(&bench, true);
    assert!(released(&bench.hear(&word).0).is_some());
}

/// Two members with equal files hear a stranger, and are cut from each other for a while.
#[test]
fn r1_two_that_hear_a_stranger_meet_again() {
    for arbitration in [SURVIVOR, MAJORITY] {
        let mut w = World::new(&spec(3, MAJORITY), 7);
        w.start(W); // it was forgotten, with the former file
        for m in [A, B] {
            w.start_with(m, &spec(2, arbitration));
        }
        w.run(ms(2_000));
        w.check_two = false;
        w.cut_both(A, B);
        w.run(ms(2_000));
        w.heal();
        w.run(ms(5_000));
        assert_eq!(w.effective().len(), 1, "{arbitration:?} {}", w.story());
    }
}

#[test]
fn r14_words_of_this_very_cluster_to_another_member_are_no_strangers_once_they_are_old() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.record = true;
    w.run(ms(3_000));
    w.record = false;
    let to_witness = |a: &&Advert| a.from == id(A) && a.to == id(W);
    let words: Vec<Advert> = w.recorded.iter().filter(to_witness).cloned().collect();
    w.run(ms(1_000));
    w.crash(A);
    let crashed = w.now;
    for word in words {
        w.input(B, Input::Received(Authentic::assumed(word)));
        w.run(ms(500));
        if w.effective() == [B] {
            break;
        }
    }
    assert!(w.now - crashed < ms(2_000), "{}", w.story());
}

/// Only the preferred candidate hears a stranger that holds.
#[test]
fn r14_one_that_is_kept_back_is_not_ready_and_asks_nobody() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.crash(A);
    w.run(ms(2_000));
    w.start(A);
    let mut nobody = 0;
    for n in 1..=100 {
        let mut word = strange(&Alone::new(3, MAJORITY, A), true);
        word.sent_at = LocalTime::from_nanos(ms(100 * n));
        w.input(A, Input::Received(Authentic::assumed(word)));
        w.run(ms(100));
        nobody += u64::from(w.effective().is_empty());
    }
    assert!(nobody < 5, "in {nobody} of 100 intervals nobody holds");
}

#[test]
fn r13_one_that_overslept_is_kept_back_as_before() {
    let mut bench = Alone::new(3, MAJORITY, B);
    voted_for(&mut bench, |bench| vec![strange(bench, true)]);
    bench.now += ms(1_000);
    let mut out = bench.wake();
    for _ in 0..4 {
        out.extend(bench.hears(W, bench.grants(bench.now)));
        bench.now += ms(50);
        out.extend(bench.wake());
    }
    assert_eq!(hold(&out), None);
}
