//! R-0 one configuration, R-1 identity, R-2 order, R-3 revocation.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::{Advert, Incarnation, MAX_GROUPS, Statement};
use onehold_core::config::{Failback, MAX_ADDRESSES, Prefix, Spec};
use onehold_core::effect::{Effect, Event};
use onehold_core::input::Command;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};

#[test]
fn more_addresses_than_a_kernel_takes_in_a_lease_are_refused_with_the_number() {
    let of = |n: usize| {
        let mut spec = spec(3, MAJORITY);
        let each = |n: usize| Prefix {
            address: core::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap()).into(),
            length: 24,
        };
        spec.groups[0].addresses = (0..n).map(each).collect();
        spec.prove("a")
    };
    assert!(of(MAX_ADDRESSES).is_ok());
    let error = of(MAX_ADDRESSES + 1).unwrap_err().to_string();
    assert!(error.contains("1025 addresses; at most 1024"), "{error}");
}

#[test]
fn more_groups_than_an_advert_has_room_for_are_refused_with_the_number() {
    let of = |n: u8| {
        let mut spec = spec(3, MAJORITY);
        spec.groups = (0..n)
            .map(|n| group(&format!("g{n:02}"), n + 60, "a"))
            .collect();
        spec.prove("a")
    };
    let most = u8::try_from(MAX_GROUPS).unwrap();
    assert!(of(most).is_ok());
    let error = of(most + 1).unwrap_err().to_string();
    assert!(error.contains("59 groups; at most 58"), "{error}");
}

#[test]
fn r0_another_configuration_is_an_alarm_and_nothing_else() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let mut other = bench.says(A, asks());
    other.config.0 ^= 1;
    let before = bench.group();
    let (out, result) = bench.hear(&other);
    assert_eq!(
        result,
        Err(Reject::OtherConfig {
            from: id(A),
            digest: other.config
        })
    );
    assert_eq!((out, bench.group()), (vec![], before));
}

#[test]
fn r0_every_part_that_members_must_agree_on_is_digested() {
    let base = spec(3, MAJORITY);
    let digest = |s: &Spec| s.prove("a").unwrap().digest();
    let mut variants = vec![base.clone(); 9];
    variants[0].timing.lease = Span::from_millis(500);
    variants[1].timing.guard_slack = Span::from_millis(6);
    variants[2].timing.drift_ppm = 999;
    variants[3].groups[0].preferred = "b".into();
    variants[4].groups[0].addresses[0].length = 25;
    variants[5].groups[0].failback = Failback::Manual;
    variants[6].members[2].addresses = vec!["10.0.0.9".into()];
    variants[7].cluster = "other".into();
    variants[8].timing.interval = Span::from_millis(99);
    for v in &variants {
        assert_ne!(digest(v), digest(&base), "{v:?}");
    }
    let mut shuffled = base.clone();
    shuffled.members.reverse();
    assert_eq!(
        digest(&shuffled),
        digest(&base),
        "the order in the file does not matter"
    );
}

#[test]
fn r0_a_digest_says_nothing_of_the_code_that_made_it() {
    let mut written = spec(3, MAJORITY);
    let v6 = Prefix::new([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 64);
    written.groups[0].addresses.push(v6);
    written.members[0].addresses = vec!["10.0.0.10".into()];
    let digest = written.prove("a").unwrap().digest();
    // Members of two releases must agree on it: a change of this figure is a change of the wire.
    assert_eq!(digest.0, 0x2fcd_3d21_e62e_3bf0);
    let alone = spec(2, SURVIVOR).prove("b").unwrap().digest();
    assert_eq!(alone.0, 0xf621_7a78_94f9_f2a3);
}

#[test]
fn r1_a_reflected_or_misaddressed_advert_is_ignored() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let mut mine = bench.advert(A);
    mine.from = id(W);
    assert_eq!(bench.hear(&mine).1, Err(Reject::NotToMe));
    let mut others = bench.advert(A);
    others.to = id(B);
    assert_eq!(bench.hear(&others).1, Err(Reject::NotToMe));
}

#[test]
fn r1_a_knock_is_answered_once_an_interval_and_changes_nothing_else() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, Statement::default());
    bench.now += ms(1);
    let mut answered = Vec::new();
    for incarnation in 0..50 {
        let mut knock = bench.says(A, asks());
        knock.incarnation = Incarnation(900 + incarnation);
        knock.to_incarnation = None;
        let (out, result) = bench.hear(&knock);
        assert_eq!(result, Err(Reject::Knock));
        answered.extend(
            sends_to(&out, A)
                .into_iter()
                .filter(|a| a.to_incarnation.unwrap().0 >= 900),
        );
    }
    assert_eq!(answered.len(), 1, "one answer an interval");
    assert_eq!(
        answered[0].echo, None,
        "an answer to a knock echoes nothing, so no vote comes of it"
    );
    assert_eq!(bench.vote(), None);
    let later = bench.until(bench.now + ms(101));
    let next = sends_to(&later, A)
        .into_iter()
        .filter_map(|a| a.to_incarnation)
        .any(|i| i.0 > 900);
    assert!(next, "the others are answered later, one by one");
}

#[test]
fn r1_a_straggler_of_a_replaced_incarnation_is_not_adopted_again() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let old = bench.says(A, asks());
    bench.hear(&old).1.unwrap();
    bench.now += ms(600);
    bench.wake();
    // The old incarnation is gone; a new one has accepted what we have sent since.
    let mut new = bench.advert(A);
    new.incarnation = Incarnation(777);
    bench.hear(&new).1.unwrap();
    bench.now += ms(1);
    let mut straggler = bench.says(A, asks());
    straggler.echo = old.echo;
    straggler.sent_at = LocalTime::from_nanos(u64::MAX);
    assert_eq!(bench.hear(&straggler).1, Err(Reject::OldIncarnation));
    assert_eq!(bench.vote(), None);
}

#[test]
fn r1_a_replayed_knock_does_not_keep_another_waiting() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let knock = |bench: &Alone, incarnation| {
        let mut knock = bench.advert(A);
        knock.incarnation = Incarnation(incarnation);
        knock.to_incarnation = None;
        knock
    };
    let mut answers = [0, 0];
    for _ in 0..40 {
        for incarnation in [1, 2] {
            let knock = knock(&bench, incarnation);
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

/// How long `b`, which restarts, and `a` take to meet, while knocks of long dead incarnations are
/// replayed to `victims`: each as often as the others, 3,000 a second in all.
fn met_after(incarnations: u64, victims: &[usize]) -> u64 {
    let mut w = World::holding(&spec(3, MAJORITY));
    let knock = |w: &World, to: usize, incarnation| {
        let from = 1 - to;
        Advert {
            incarnation: Incarnation(incarnation),
            to_incarnation: None,
            echo: None,
            from: id(from),
            to: id(to),
            ..w.recorded.last().expect("something was said").clone()
        }
    };
    w.record = true;
    w.run(ms(200));
    w.record = false;
    w.kill(B);
    w.run(ms(50));
    let start = w.now;
    let from = w.log.len();
    w.start(B);
    let met = |w: &World, m| {
        let met = |e: &(u64, usize, Event)| {
            e.1 == m && matches!(e.2, Event::Met { peer, .. } if peer == id(1 - m))
        };
        w.log[from..].iter().any(met)
    };
    for n in 0u64.. {
        for to in victims {
            let knock = knock(&w, *to, 1 + n % incarnations);
            w.replay(knock);
        }
        w.run(ms(1_000) / 3_000);
        if met(&w, A) && met(&w, B) {
            break;
        }
        assert!(w.now - start < ms(60_000), "{incarnations} {victims:?}");
    }
    w.now - start
}

#[test]
fn r1_replayed_knocks_keep_nobody_out() {
    // At one of the two: the peer answers a knock and so names the current incarnation, which no
    // older recording does, however many incarnations were recorded.
    for incarnations in [1, 5, 100] {
        for victim in [A, B] {
            let after = met_after(incarnations, &[victim]);
            assert!(after <= ms(400), "{incarnations} at {victim}: {after}");
        }
    }
    // At both: each interval, one of all incarnations that knock is answered, whatever their rate.
    for (incarnations, within) in [(1, 1_000), (5, 2_500), (100, 40_000)] {
        let after = met_after(incarnations, &[A, B]);
        assert!(after <= ms(within), "{incarnations} at both: {after}");
    }
}

#[test]
fn r1_one_that_was_replaced_does_not_knock() {
    for arbitration in [MAJORITY, SURVIVOR] {
        let mut bench = Alone::new(2, arbitration, A);
        bench.hears(B, Statement::default());
        bench.now += ms(1);
        let mut younger = bench.advert(B);
        younger.incarnation = Incarnation(777);
        bench.hear(&younger).1.unwrap();
        let before = bench.node.clone();
        for to in [None, Some(ME)] {
            let mut straggler = bench.advert(B);
            straggler.sent_at = LocalTime::from_nanos(u64::MAX);
            straggler.to_incarnation = to;
            bench.hear(&straggler).1.unwrap_err();
        }
        assert_eq!(
            bench.node, before,
            "no answer is owed, and no silence ended"
        );
    }
}

/// The adverts among `out` that name an incarnation.
fn answers_to(out: &[Effect], incarnation: Incarnation) -> Vec<Advert> {
    let sent = out.iter().filter_map(|effect| match effect {
        Effect::Send { advert, .. } => Some(advert.clone()),
        _ => None,
    });
    sent.filter(|a| a.to_incarnation == Some(incarnation))
        .collect()
}

/// Unless its word is older than what was accepted of it: then its clock went back. Its turn
/// comes last.
#[test]
fn r1_one_that_was_replaced_and_restored_is_told_what_it_is_yet_to_send() {
    for arbitration in [MAJORITY, SURVIVOR] {
        let mut bench = Alone::new(2, arbitration, A);
        bench.hears(B, Statement::default());
        let newest = bench.advert(B);
        bench.now += ms(1);
        let mut younger = bench.advert(B);
        younger.incarnation = Incarnation(777);
        bench.hear(&younger).1.unwrap();
        let mut restored = newest.clone();
        restored.sent_at = LocalTime::from_nanos(newest.sent_at.as_nanos() - 1);
        restored.to_incarnation = None;
        let (out, result) = bench.hear(&restored);
        result.unwrap_err();
        let answers = answers_to(&out, newest.incarnation);
        assert_eq!(answers.len(), 1, "{out:?}");
        assert_eq!(answers[0].echo, Some(newest.sent_at));

        let mut unknown = restored.clone();
        unknown.incarnation = Incarnation(778);
        for word in [&restored, &unknown, &restored] {
            bench.hear(word).1.unwrap_err();
        }
        bench.now += bench.config.timing().interval().as_nanos();
        let out = bench.wake();
        let told = answers_to(&out, newest.incarnation);
        assert!(told.is_empty(), "its turn comes last: {out:?}");
        assert_eq!(answers_to(&out, Incarnation(778)).len(), 1, "{out:?}");
    }
}

#[test]
fn r1_an_echo_that_is_d_old_proves_no_younger_incarnation() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.hears(A, Statement::default());
    let mut other = bench.advert(A);
    other.incarnation = Incarnation(777);
    other.echo = Some(LocalTime::from_nanos(bench.now + 1));
    bench.until(bench.now + ms(D + 1));
    assert_eq!(bench.hear(&other).1, Err(Reject::OldIncarnation));
    other.echo = Some(LocalTime::from_nanos(bench.now));
    assert_eq!(bench.hear(&other).1, Ok(()));
}

#[test]
fn r2_what_is_not_newer_is_ignored() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let first = bench.says(A, asks());
    bench.hear(&first).1.unwrap();
    let before = bench.node.clone();
    assert_eq!(bench.hear(&first).1, Err(Reject::Stale), "a duplicate");
    let mut older = bench.advert(A);
    older.sent_at = LocalTime::from_nanos(1);
    assert_eq!(bench.hear(&older).1, Err(Reject::Stale), "a late one");
    assert_eq!(bench.node, before);
}

#[test]
fn r3_an_advert_that_does_not_ask_revokes_every_earlier_ask() {
    let (mut bench, asked_at) = Alone::asking(A);
    // The operator makes it stop asking, and start again.
    for command in [Command::Standby, Command::Resume] {
        bench.now += ms(1);
        bench.operator(command);
    }
    bench.now += ms(1);
    assert_eq!(
        hold(&bench.hears(W, bench.grants(asked_at))),
        None,
        "a vote for a revoked ask does not count"
    );
    bench.now += ms(1);
    assert!(
        hold(&bench.hears(W, bench.grants(ms(D + 2)))).is_some(),
        "a vote for a standing one does"
    );
}

#[test]
fn r3_a_vote_counts_for_any_ask_that_stands() {
    let (mut bench, asked_at) = Alone::asking(A);
    bench.until(asked_at + ms(150));
    let lease = hold(&bench.hears(W, bench.grants(asked_at)));
    assert_eq!(
        lease,
        Some(asked_at + ms(450)),
        "it has asked again since, and not revoked"
    );
}

/// an attacker who has recorded everything.
#[test]
fn replayed_adverts_change_nothing_and_are_counted() {
    for restarted in [None, Some(A), Some(B), Some(W)] {
        let mut w = World::new(&spec(3, MAJORITY), 11);
        w.record = true;
        w.start_all();
        w.run(ms(1_500));
        if let Some(m) = restarted {
            w.crash(m);
            w.run(ms(200));
            w.start(m);
        }
        w.run(ms(2_000));
        let recorded = w.recorded.clone();
        let seen = |w: &World, m: usize| {
            let group = w.group(m);
            let vote = group.vote.map(|v| (v.member, v.incarnation));
            (group.role, vote, group.ready)
        };
        let before: Vec<_> = (0..3).map(|m| seen(&w, m)).collect();
        let changes = w.role_changes();
        let mut counted = 0;
        let mut last = 0;
        for advert in recorded.iter().rev().chain(&recorded) {
            // Answers to replayed knocks are rejected too, but by the way.
            let rejects = w.rejects.len();
            w.replay(advert.clone());
            counted += w.rejects.len() - rejects;
            last += 1;
            if last % 100 == 0 {
                w.run(ms(10));
            }
        }
        assert_eq!(counted, 2 * recorded.len(), "each one counted");
        assert!(
            w.rejects
                .iter()
                .all(|r| matches!(r, Reject::Stale | Reject::Knock | Reject::OldIncarnation))
        );
        assert_eq!((0..3).map(|m| seen(&w, m)).collect::<Vec<_>>(), before);
        w.run(ms(3_000));
        assert_eq!(
            w.role_changes(),
            changes,
            "restarted: {restarted:?}\n{}",
            w.story()
        );
    }
}
