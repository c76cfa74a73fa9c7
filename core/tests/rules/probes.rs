//! R-20 the network is asked; R-17 asks it, too.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::{Incarnation, Statement};
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Refusal};
use onehold_core::observe::RoleName;
use onehold_core::time::LocalTime;

/// S by default, rounded up to a millisecond.
const S: u64 = 608;

/// Adverts are cut both ways, probes are answered; `a` holds, as before the cut.
fn cut_off() -> World {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.answer_probes();
    w.cut_both(A, B);
    w
}

#[test]
fn r20_a_crash_costs_what_it_did() {
    for at in 0..25 {
        for kill in [World::crash, World::kill, World::pause] {
            let takeover = |probes: bool| {
                let mut w = World::holding(&spec(2, SURVIVOR));
                if probes {
                    w.answer_probes();
                }
                w.run(ms(at * 4));
                kill(&mut w, A);
                w.until_held_by(B, ms(700))
            };
            assert_eq!(takeover(true), takeover(false), "{at}");
        }
    }
}

#[test]
fn r20_answers_keep_a_standby_back_while_no_advert_passes() {
    let mut w = cut_off();
    w.run(ms(60_000));
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.role_changes(), 1, "{}", w.story());
    let answered = |e: &&(u64, usize, Event)| e.2 == Event::Answered { group: WEB };
    assert_eq!(w.log.iter().filter(answered).count(), 1, "{}", w.story());
    w.crash(A);
    let outage = w.until_held_by(B, ms(S + 1));
    assert!(outage > ms(S - 52), "S after the last answer: {outage}");
    assert_eq!(w.two_at, None);
    w.start(A);
    w.run(ms(10_000));
    assert_eq!(w.effective(), [B], "{}", w.story());
    w.heal();
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A], "it returns as ever");
    assert_eq!(w.two_at, None);
}

#[test]
fn r20_without_answers_two_hold_while_no_advert_passes() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.check_two = false;
    w.cut_both(A, B);
    w.run(ms(5_000));
    assert_eq!(w.effective(), [A, B]);
}

#[test]
fn r20_one_that_was_paused_and_ends_later_keeps_the_other_back_as_long() {
    // A holder that is paused between reading its clock and opening its gate opens it for what is
    // left of a lease that no probe has seen.
    for at in 0..20 {
        for paused in [100, 250, 400, 440] {
            let mut w = cut_off();
            w.check_two = false;
            w.run(ms(2_000) + ms(at * 5));
            w.pauses_next = Some(A);
            w.run(ms(paused));
            w.resume(A);
            // It may take hold again within i/4 of the other.
            let two = w.two_for(ms(3_000));
            assert!(two <= ms(51), "{two}\n{}", w.story());
            assert_eq!(w.effective().len(), 1, "{}", w.story());
        }
    }
}

#[test]
fn r20_answers_keep_a_standby_back_though_many_are_lost() {
    let mut w = World::holding(&spec(2, SURVIVOR));
    w.run(ms(500));
    w.answer_probes();
    w.cut_both(A, B);
    w.run(ms(1_000));
    // Five a second are answered.
    for _ in 0..100 {
        w.probes[B][A] = false;
        w.run(ms(150));
        w.probes[B][A] = true;
        w.run(ms(50));
    }
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.role_changes(), 1, "{}", w.story());
}

#[test]
fn r20_a_standby_asks_six_times_before_it_takes_hold() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let since = bench.now;
    let out = bench.until(since + ms(S + 150));
    let asked: Vec<u64> = probes(&out).iter().map(|at| (at - since) / ms(1)).collect();
    assert_eq!(
        asked,
        [455, 480, 505, 530, 555, 580, 605, 606, 656, 706, 756]
    );
    assert_eq!(bench.group().role, RoleName::Holder);
}

#[test]
fn r20_a_holder_asks_each_half_interval_and_after_s_without_an_answer_each_five() {
    let mut bench = Alone::new(2, SURVIVOR, A);
    let out = bench.until(bench.now + ms(S + 1_000));
    assert!(hold(&out).is_some());
    let asked = probes(&bench.until(bench.now + ms(10_000)));
    assert_eq!(asked.len(), 20);
    assert!(
        asked.windows(2).all(|w| w[1] - w[0] == ms(500)),
        "{asked:?}"
    );
    assert!(bench.group().probing);
    bench.hears(B, Statement::default());
    assert_eq!(probes(&bench.until(bench.now + ms(D - 1))), [0u64; 0]);
    assert!(!bench.group().probing);
    let asked = probes(&bench.until(bench.now + ms(S)));
    assert!(asked.windows(2).all(|w| w[1] - w[0] == ms(50)), "{asked:?}");
}

#[test]
fn r20_an_answer_to_what_was_asked_within_d_proves_nothing() {
    for (asked, answered) in [(400, 410), (455, 600), (700, 500)] {
        let mut bench = Alone::new(2, SURVIVOR, B);
        let word = bench.now;
        bench.hears(A, ready());
        let mut out = bench.until(word + ms(answered));
        out.extend(bench.answered(word + ms(asked)));
        assert_eq!(bench.group().answered_ago, None);
        out.extend(bench.until(word + ms(S)));
        assert!(hold(&out).is_some(), "{asked}");
    }
}

#[test]
fn r20_an_answer_counts_from_when_it_was_asked() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let since = bench.now;
    let asked = probes(&bench.until(since + ms(600)));
    bench.answered(asked[2]);
    bench.answered(asked[0]); // an older one changes nothing
    assert_eq!(hold(&bench.until(asked[2] + ms(S - 2))), None);
    assert!(hold(&bench.until(asked[2] + ms(S))).is_some());
}

#[test]
fn r20_after_a_word_or_sleep_only_later_questions_count() {
    let word = |bench: &mut Alone| drop(bench.hears(A, ready()));
    let sleep = |bench: &mut Alone| {
        bench.now += ms(100);
        bench.wake();
    };
    for happens in [word, sleep] {
        let mut bench = Alone::new(2, SURVIVOR, B);
        let asked = probes(&bench.until(bench.now + ms(600)));
        happens(&mut bench);
        let since = bench.now;
        bench.answered(*asked.last().unwrap());
        assert_eq!(bench.group().answered_ago, None);
        assert!(hold(&bench.until(since + ms(S))).is_some());
    }
}

#[test]
fn r20_two_that_boot_in_a_cut_hold_together_for_half_an_interval_at_most() {
    let mut longest = 0;
    for apart in (0..120_000).step_by(1_700) {
        for (first, second) in [(A, B), (B, A)] {
            let mut w = World::new(&spec(2, SURVIVOR), apart);
            w.check_two = false;
            w.answer_probes();
            w.cut_both(A, B);
            w.start(first);
            w.run(apart * 1_000);
            w.start(second);
            let two = w.two_for(ms(3_000));
            longest = longest.max(two);
            assert!(
                two <= ms(51),
                "{apart} us, {first} first: {two}\n{}",
                w.story()
            );
            assert_eq!(w.effective().len(), 1);
        }
    }
    assert!(longest > ms(25), "else this tests nothing: {longest}");
}

#[test]
fn r20_the_preferred_one_lets_go_of_what_the_other_does_not_see() {
    for (asks, stays) in [(A, B), (B, A)] {
        let mut w = World::new(&spec(2, SURVIVOR), 3);
        w.check_two = false;
        w.probes[asks][1 - asks] = true;
        w.cut_both(A, B);
        w.start_all();
        let two = w.two_for(ms(5_000));
        assert_eq!(w.effective(), [stays], "{}", w.story());
        assert_eq!(w.last_why(1 - stays), Some(Why::Answered));
        let most = if asks == A { 2 * S + 51 } else { 51 };
        let least = if asks == A { S - 2 } else { 0 };
        assert!(two >= ms(least) && two <= ms(most), "{two}");
    }
}

/// A preferred holder that hears nothing and has sent a probe; and when.
fn unheard_holder() -> (Alone, u64) {
    let mut bench = Alone::new(2, SURVIVOR, A);
    let out = bench.until(bench.now + ms(S));
    assert!(hold(&out).is_some());
    (bench, *probes(&out).last().unwrap())
}

/// Each probe is answered at once, until it lets go; says how long that took.
fn answers(bench: &mut Alone, mut asked: u64) -> u64 {
    let first = bench.now;
    let mut out = bench.answered(asked);
    while released(&out).is_none() {
        assert!(hold(&out).is_none() || bench.now < first + ms(2 * S));
        out = bench.until(bench.now + ms(1));
        if let Some(at) = probes(&out).pop() {
            asked = at;
            out.extend(bench.answered(asked));
        }
        assert!(bench.now < first + ms(2 * S), "it goes on");
    }
    bench.now - first
}

#[test]
fn r20_how_long_the_preferred_one_stays_is_drawn_each_time() {
    let (mut bench, asked) = unheard_holder();
    let mut spans = Vec::new();
    let mut asked = asked;
    for _ in 0..4 {
        spans.push(answers(&mut bench, asked) / ms(1));
        let release = onehold_core::effect::ReleaseId(spans.len() % 2 == 1);
        let _ = bench.input(onehold_core::input::Input::Released {
            group: WEB,
            release,
        });
        let out = bench.until(bench.now + ms(S + 60));
        assert!(hold(&out).is_some(), "the other one is gone");
        asked = *probes(&out).last().unwrap();
    }
    assert!(
        spans.iter().all(|s| *s >= S - 1 && *s <= 2 * S),
        "{spans:?}"
    );
    spans.sort_unstable();
    spans.dedup();
    assert_eq!(spans.len(), 4, "{spans:?}");
}

#[test]
fn r20_a_gap_of_s_in_the_answers_starts_the_preferred_ones_wait_again() {
    let (mut bench, asked) = unheard_holder();
    let mut out = bench.answered(asked);
    for _ in 0..10 {
        // One answer, and none for S.
        out = [out, bench.until(bench.now + ms(S + 1))].concat();
        let next = probes(&bench.until(bench.now + ms(500)));
        out.extend(bench.answered(next[0]));
    }
    assert_eq!(released(&out), None, "it would have let go after 2 S");
    assert!(announced(&out), "the other one has let go (R-15)");
}

#[test]
fn r20_an_answer_to_what_a_standby_asked_is_no_conflict() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let out = bench.until(bench.now + ms(S));
    let asked = probes(&out);
    assert!(hold(&out).is_some());
    let before = asked[asked.len() - 2];
    assert_eq!(released(&bench.answered(before)), None);
    let own = asked[asked.len() - 1];
    assert!(released(&bench.answered(own)).is_some());
}

#[test]
fn r20_an_answer_is_no_word_for_the_holder() {
    // Votes and P go by adverts: it renews by what it sent, answered or not.
    let (mut bench, mut asked) = unheard_holder();
    for _ in 0..10 {
        bench.answered(asked);
        asked = *probes(&bench.until(bench.now + ms(51))).last().unwrap();
        let left = bench.group().lease_left.unwrap();
        assert!(left.as_nanos() >= ms(350), "it goes on");
    }
    assert!(!bench.group().ready, "and it is two-way with nobody");
}

#[test]
fn r20_one_that_is_mute_lets_go_for_one_that_answers() {
    let mut s = spec(2, SURVIVOR);
    s.groups[0].prepares = true;
    let mut bench = Alone::of(&s, A);
    let out = bench.until(bench.now + ms(S));
    let asked = *probes(&out).last().unwrap();
    assert!(bench.group().role == RoleName::Holder && !bench.group().open);
    let out = bench.answered(asked);
    assert!(released(&out).is_some());
    assert_eq!(
        bench.group().answered_ago.map(|s| s.as_nanos()),
        Some(bench.now - asked)
    );
}

#[test]
fn r20_a_word_settles_a_conflict_as_ever() {
    let (mut bench, asked) = unheard_holder();
    bench.answered(asked);
    let holds = Statement {
        holds: true,
        ..asks()
    };
    bench.hears(B, holds);
    bench.now += ms(1);
    let out = bench.hears(B, holds);
    let conflict = Event::Conflict {
        group: WEB,
        peer: id(B),
    };
    assert!(out.contains(&Effect::Report(conflict)), "R-15: {out:?}");
    bench.now += ms(1);
    assert!(announced(&bench.hears(B, ready())));
    assert_eq!(released(&bench.until(bench.now + ms(400))), None);
}

/// R-15 settles it: each of the two goes by its own file, and both could let go.
#[test]
fn r20_an_answer_settles_no_conflict_with_a_stranger() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let out = bench.until(bench.now + ms(S));
    assert!(hold(&out).is_some());
    let mut word = bench.says(
        A,
        Statement {
            holds: true,
            ..asks()
        },
    );
    word.config.0 ^= 1;
    word.incarnation = Incarnation(77);
    (word.to_incarnation, word.echo) = (None, None); // it does not hear us
    let (heard, _) = bench.hear(&word);
    assert_eq!(released(&heard), None, "one word proves nothing");
    let asked = *probes(&out).last().unwrap();
    assert_eq!(released(&bench.answered(asked)), None);
}

#[test]
fn r20_a_strangers_word_that_it_let_go_is_newer_than_its_answers() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let strange = |bench: &Alone, holds| {
        let mut word = bench.says(A, Statement { holds, ..asks() });
        word.config.0 ^= 1;
        word.incarnation = Incarnation(77);
        word
    };
    let mut asked = Vec::new();
    for _ in 0..10 {
        let _ = bench.hear(&strange(&bench, true));
        asked = probes(&bench.until(bench.now + ms(100)));
        if let Some(at) = asked.last() {
            bench.answered(*at);
        }
    }
    assert!(bench.group().answered_ago.is_some());
    let out = bench.hear(&strange(&bench, false)).0;
    assert!(hold(&out).is_some(), "{out:?}");
    assert_eq!(released(&bench.answered(*asked.last().unwrap())), None);
}

#[test]
fn r20_two_that_refuse_each_other_leave_it_to_their_order() {
    // a comes first and is preferred by neither; both hold, hear each other, and get answers.
    let mut file = spec(2, SURVIVOR);
    file.groups[0].preferred = "b".into();
    let mut w = World::new(&file, 5);
    w.check_two = false;
    w.answer_probes();
    w.cut_both(A, B);
    w.start(A);
    w.start_with(B, &spec(2, SURVIVOR));
    w.run(ms(1_000));
    w.probes.iter_mut().flatten().for_each(|p| *p = false);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A, B]);
    w.heal();
    w.run(ms(100));
    w.answer_probes();
    w.run(ms(3_000));
    assert_eq!(w.effective(), [A], "{}", w.story());
    assert_eq!(w.last_why(B), Some(Why::Strange));
    assert_eq!(w.last_why(A), Some(Why::PeerSilent));
}

#[test]
fn r20_by_majority_nothing_is_asked() {
    for size in [2, 3] {
        let mut w = World::holding(&spec(size, MAJORITY));
        w.answer_probes();
        w.cut_both(A, B);
        w.run(ms(5_000));
        assert_eq!(w.probed, []);
    }
}

#[test]
fn r20_a_standby_that_may_not_hold_asks_all_the_same() {
    // So that it does not take hold at once, unasked, when it may.
    let mut w = cut_off();
    w.operator(B, Command::Standby);
    w.run(ms(10_000));
    w.operator(B, Command::Resume);
    w.run(ms(5_000));
    assert_eq!(w.effective(), [A]);
}

#[test]
fn r20_one_that_can_serve_again_asks_before_it_takes_hold() {
    let mut w = cut_off();
    w.run(ms(2_000));
    let eligible = |w: &mut World, eligible| {
        let group = WEB;
        w.input(B, onehold_core::input::Input::Eligible { group, eligible });
    };
    eligible(&mut w, false);
    w.probed.clear();
    w.run(ms(2_000));
    assert!(w.probed.iter().all(|(_, m)| *m == A));
    eligible(&mut w, true);
    w.run(ms(5_000));
    assert_eq!(w.effective(), [A]);
    w.crash(A);
    w.until_held_by(B, ms(S + 1));
}

#[test]
fn r17_the_network_is_asked_first() {
    // The other one was presumed dead itself: it holds, and is not heard.
    let mut w = World::holding(&spec(2, MAJORITY));
    w.answer_probes();
    w.cut_both(A, B);
    w.run(ms(3_000));
    w.operator(A, Command::PresumeDead);
    assert_eq!(w.effective(), [0usize; 0], "not yet");
    w.run(ms(101));
    assert_eq!(w.effective(), [A]);
    w.operator(B, Command::PresumeDead);
    assert!(w.group(B).probing);
    w.run(ms(5));
    let refusal = Refusal::PeerAnswers;
    let refused = Event::CommandRefused {
        group: WEB,
        refusal,
    };
    assert_eq!(w.log.last().map(|(_, m, e)| (*m, *e)), Some((B, refused)));
    w.run(ms(5_000));
    assert_eq!(w.effective(), [A]);
    assert!(!w.group(B).probing);
    // A word within i refuses it, too.
    w.crash(A);
    w.run(ms(2_000));
    w.operator(B, Command::PresumeDead);
    w.run(ms(50));
    w.heal();
    w.start(A);
    w.run(ms(2_000));
    let refusal = Refusal::PeerHeard;
    let refused = Event::CommandRefused {
        group: WEB,
        refusal,
    };
    assert!(w.log.iter().any(|(_, m, e)| *m == B && *e == refused));
    assert_eq!(w.two_at, None);
}

#[test]
fn r17_a_presumption_waits_again_after_sleep() {
    let mut bench = Alone::new(2, MAJORITY, A);
    bench.until(bench.now + ms(3 * D));
    let asked = probes(&bench.operator(Command::PresumeDead));
    assert_eq!(asked, [bench.now]);
    bench.now += ms(500);
    assert_eq!(hold(&bench.wake()), None, "an answer may wait");
    let (at, now) = (asked[0], bench.now);
    bench.answered(at);
    bench.until(now + ms(500));
    assert!(!bench.group().presumed_dead);
    assert_eq!(bench.at(), LocalTime::from_nanos(now + ms(500)));
}

#[test]
fn r20_after_a_sleep_an_answer_that_waited_proves_nothing() {
    // Both hold. b asks, is paused; a answers, and dies. When b wakes up, the answer waits.
    let mut bench = Alone::new(2, SURVIVOR, B);
    let out = bench.until(bench.now + ms(S));
    assert!(hold(&out).is_some());
    let own = *probes(&out).last().unwrap();
    bench.now += ms(100); // a sleep: more than i/2 late
    let out = bench.answered(own);
    assert!(out.contains(&Effect::Report(Event::Overslept)));
    assert_eq!(released(&out), None, "R-13 ends it");
}

/// Whoever takes hold in a cut is paused in that very turn, with its effects undone.
fn two_with_a_pause(paused: usize, lease: u64, pause: u64, apart: u64) -> (u64, String) {
    let mut file = spec(2, SURVIVOR);
    file.timing.lease = onehold_core::time::Span::from_millis(lease);
    let mut w = World::new(&file, 3);
    w.check_two = false;
    w.answer_probes();
    w.cut_both(A, B);
    w.start(paused);
    w.run(ms(apart));
    w.start(1 - paused);
    // Its turn comes at Q + S after its start.
    let timing = w.members[paused].config.timing();
    let q = timing.quarantine(onehold_core::time::Span::ZERO).as_nanos();
    let s = timing.survive_after().as_nanos();
    let at = ms(1) + q + s + 1;
    w.run((at - 1_000).saturating_sub(w.now));
    let mut guard = 0;
    while w.group(paused).role != RoleName::Holder {
        w.pauses_next = Some(paused);
        let due = w.due_in(paused);
        w.run(due);
        if w.group(paused).role != RoleName::Holder {
            w.resume(paused);
            w.pauses_next = None;
        }
        guard += 1;
        if guard > 50 {
            return (0, w.story());
        }
    }
    w.run(ms(pause));
    w.resume(paused);
    let two = w.two_for(ms(8_000));
    (two / ms(1), w.story())
}

#[test]
fn r20_one_that_is_paused_as_it_takes_hold_asks_as_soon_as_it_goes_on() {
    for lease in [450, 900, 1_800] {
        for paused in [A, B] {
            let mut most = (0, String::new(), 0, 0);
            for pause in [60, 100, 200, 300, 400, 440, 600, 1_000, 1_400] {
                for apart in [5, 10, 20, 26, 40, 60, 90, 150, 250, 350] {
                    if pause >= lease {
                        continue;
                    }
                    let (two, story) = two_with_a_pause(paused, lease, pause, apart);
                    if two > most.0 {
                        most = (two, story, pause, apart);
                    }
                }
            }
            assert!(
                most.0 <= 51,
                "H={lease}, {paused} paused for {}, {} apart: two for {} ms\n{}",
                most.2,
                most.3,
                most.0,
                most.1
            );
        }
    }
}

/// Two hold; each is stalled for a bit more than i/2 once in each D.
#[test]
fn r20_holders_that_are_paused_again_and_again_ask() {
    let mut w = World::new(&spec(2, SURVIVOR), 3);
    w.check_two = false;
    w.cut_both(A, B);
    w.start_all();
    w.run(ms(3_000));
    assert_eq!(w.effective(), [A, B]);
    let mut began = w.now;
    for n in 0..100 {
        if n == 2 {
            w.answer_probes(); // from here on probes are answered, both ways
            began = w.now;
        }
        w.run(ms(60));
        w.pause(A);
        w.run(ms(160));
        w.resume(A);
        w.run(ms(20));
        w.pause(B);
        w.run(ms(160));
        w.resume(B);
        if w.effective().len() < 2 {
            break;
        }
    }
    assert!(w.now - began < ms(2 * S + 600), "two hold for good");
}

/// b, not preferred, has held for long in a cut of adverts; all probes of a are lost for S, so a takes
/// hold, too; then probes pass again. b sees a at its next probe (5 i) and lets go; so a must stay.
#[test]
fn r20_the_preferred_one_stays_when_the_other_has_let_go() {
    let (mut both, mut runs, mut longest) = (0, 0, 0);
    let mut story = String::new();
    for seed in 0..60 {
        let mut w = World::new(&spec(2, SURVIVOR), 100 + seed);
        w.check_two = false;
        w.answer_probes();
        w.cut_both(A, B);
        w.start(B);
        w.run(ms(3_000 + 17 * seed));
        assert_eq!(w.effective(), [B]);
        w.probes[A][B] = false;
        w.start(A);
        while w.effective() != [A, B] {
            w.run(ms(1));
        }
        w.probes[A][B] = true;
        while w.effective() == [A, B] {
            w.run(ms(1));
        }
        assert_eq!(w.effective(), [A], "{}", w.story());
        runs += 1;
        let mut nobody = 0;
        for _ in 0..3_000 {
            w.run(ms(1));
            nobody += u64::from(w.effective().is_empty());
        }
        if nobody > 0 {
            both += 1;
            if nobody > longest {
                (longest, story) = (nobody, w.story());
            }
        }
    }
    assert_eq!(
        both, 0,
        "in {both} of {runs} runs nobody holds, for up to {longest} ms\n{story}"
    );
}

/// The answer waits when the time is over: it is handled before what the time ends.
#[test]
fn r17_an_answer_that_waits_at_the_deadline_refuses_the_presumption() {
    let mut bench = Alone::new(2, MAJORITY, B);
    bench.until(bench.now + ms(3 * 456));
    let said = bench.now;
    let mut out = bench.operator(Command::PresumeDead);
    out.extend(bench.until(said + ms(99)));
    let asked = *probes(&out).last().unwrap();
    bench.now = said + ms(140); // i/2 late at most: no sleep
    let out = bench.answered(asked);
    assert!(!out.contains(&Effect::Report(Event::Overslept)));
    assert_eq!(hold(&out), None, "{out:?}");
    assert!(!bench.group().presumed_dead);
}
