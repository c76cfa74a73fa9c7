//! Each rule of the protocol as a timeline. The names carry the rules' numbers.

mod world;

use onehold_core::Node;
use onehold_core::advert::{Ballot, Incarnation, Statement};
use onehold_core::config::{Arbitration, Failback};
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Input, Refusal};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use world::alone::*;
use world::*;

const MAJORITY: Arbitration = Arbitration::Majority;
const SURVIVOR: Arbitration = Arbitration::Survivor;
#[test]
fn r0_another_configuration_is_an_alarm_and_nothing_else() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let mut other = bench.says(A, asks());
    other.config.0 ^= 1;
    let before = bench.node.clone();
    let (_, result) = bench.hear(&other);
    assert_eq!(
        result,
        Err(Reject::OtherConfig {
            from: id(A),
            digest: other.config
        })
    );
    assert_eq!(bench.node, before);
}

#[test]
fn r0_every_part_that_members_must_agree_on_is_digested() {
    let base = spec(3, MAJORITY);
    let digest = |s: &onehold_core::config::Spec| s.prove("a").unwrap().digest();
    let mut variants = vec![base.clone(); 8];
    variants[0].timing.lease = Span::from_millis(500);
    variants[1].timing.guard_slack = Span::from_millis(6);
    variants[2].timing.drift_ppm = 999;
    variants[3].groups[0].preferred = "b".into();
    variants[4].groups[0].addresses[0].length = 25;
    variants[5].groups[0].failback = Failback::Manual;
    variants[6].members[2].addresses = vec!["10.0.0.9".into()];
    variants[7].cluster = "other".into();
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
    let known = bench.advert(A);
    bench.hear(&known).1.unwrap();
    bench.now += ms(1);
    let mut answered = Vec::new();
    for life in 0..50 {
        let mut knock = bench.says(A, asks());
        knock.incarnation = Incarnation(900 + life);
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
fn r1_a_straggler_of_a_dead_life_is_not_adopted_again() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let old = bench.says(A, asks());
    bench.hear(&old).1.unwrap();
    bench.now += ms(600);
    bench.wake();
    // The old life is gone; a new one has accepted what we said since.
    let mut new = bench.advert(A);
    new.incarnation = Incarnation(777);
    bench.hear(&new).1.unwrap();
    bench.now += ms(1);
    let mut straggler = bench.says(A, asks());
    straggler.echo = old.echo;
    straggler.sent_at = LocalTime::from_nanos(u64::MAX);
    assert_eq!(bench.hear(&straggler).1, Err(Reject::OldLife));
    assert_eq!(bench.vote(), None);
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
    let mut bench = Alone::new(3, MAJORITY, A);
    // Two-way with the witness: a asks.
    let hello = bench.advert(W);
    let (out, _) = bench.hear(&hello);
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    assert!(sends_to(&out, W)[0].groups[0].asks);
    // The operator makes it stop asking, and start again.
    for command in [Command::Standby, Command::Resume] {
        bench.now += ms(1);
        let _ = bench.input(Input::Operator {
            group: WEB,
            command,
        });
    }
    bench.now += ms(1);
    let old = Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    };
    let revoked = bench.says(W, old);
    assert_eq!(
        hold(&bench.hear(&revoked).0),
        None,
        "a vote for a revoked ask does not count"
    );
    bench.now += ms(1);
    let new = Statement {
        vote: bench.ballot(ms(D + 2)),
        ..Statement::default()
    };
    let granted = bench.says(W, new);
    assert!(
        hold(&bench.hear(&granted).0).is_some(),
        "a vote for a standing one does"
    );
}

#[test]
fn r4_a_live_vote_never_moves() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let a = bench.says(A, asks());
    bench.hear(&a).1.unwrap();
    let b = bench.says(B, asks());
    bench.hear(&b).1.unwrap();
    assert_eq!(bench.vote().unwrap().member, id(A));
    // Another life of the owner is another owner.
    bench.now += ms(1);
    let mut reborn = bench.says(A, asks());
    reborn.incarnation = Incarnation(5);
    bench.hear(&reborn).1.unwrap();
    assert_eq!(bench.vote().unwrap().incarnation, a.incarnation);
}

#[test]
fn r4_a_renewal_binds_the_vote_for_d_again() {
    // The better one asks all the while, and would get the vote as soon as it were free.
    let mut bench = Alone::new(3, MAJORITY, W);
    let first = bench.says(B, asks());
    bench.hear(&first).1.unwrap();
    bench.until(bench.now + ms(300));
    let renewed = bench.says(B, asks());
    bench.hear(&renewed).1.unwrap();
    let renewed_at = bench.now;
    bench.now += ms(1);
    let rival = bench.says(A, asks());
    bench.hear(&rival).1.unwrap();
    bench.until(renewed_at + ms(D) - ms(1));
    assert_eq!(bench.vote().unwrap().member, id(B));
    bench.until(renewed_at + ms(D));
    assert_eq!(bench.vote().map(|v| v.member), Some(id(A)));
}

#[test]
fn r4_no_vote_for_one_that_does_not_hear_us() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let mut deaf = bench.says(A, asks());
    deaf.echo = None;
    bench.hear(&deaf).1.unwrap();
    assert_eq!(bench.vote(), None);
    bench.now += ms(1);
    let mut late = bench.says(A, asks());
    late.echo = Some(LocalTime::from_nanos(0)); // more than D old
    bench.hear(&late).1.unwrap();
    assert_eq!(bench.vote(), None);
}

#[test]
fn r4_a_free_vote_is_at_once_offered_to_another_that_asks() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let a = bench.says(A, asks());
    bench.hear(&a).1.unwrap();
    bench.until(bench.now + ms(D - 50));
    let b = bench.says(B, asks());
    bench.hear(&b).1.unwrap();
    assert_eq!(bench.vote().unwrap().member, id(A));
    let out = bench.until(bench.now + ms(51));
    assert_eq!(bench.vote().unwrap().member, id(B), "as soon as it expired");
    let told = sends_to(&out, B)
        .into_iter()
        .any(|s| s.groups[0].vote.is_some_and(|v| v.member == id(B)));
    assert!(told, "and is told so at once");
}

#[test]
fn r5_a_vote_is_freed_by_its_owner_or_by_time() {
    let mut bench = Alone::new(3, MAJORITY, W);
    let ask = bench.says(A, asks());
    bench.hear(&ask).1.unwrap();
    // Another life can't free it.
    bench.now += ms(1);
    let mut other = bench.advert(A);
    other.incarnation = Incarnation(5);
    bench.hear(&other).1.unwrap();
    assert!(bench.vote().is_some());
    bench.until(ms(D) + ms(D) - ms(1));
    assert!(bench.vote().is_some(), "D is not over");
    bench.until(ms(D) + ms(D));
    assert_eq!(bench.vote(), None, "D is over");

    let mut bench = Alone::new(3, MAJORITY, W);
    let ask = bench.says(A, asks());
    bench.hear(&ask).1.unwrap();
    bench.now += ms(1);
    let free = bench.advert(A);
    bench.hear(&free).1.unwrap();
    assert_eq!(bench.vote(), None, "its owner stopped asking");
}

#[test]
fn r5_a_holder_asks_until_the_kernel_confirms_or_its_hold_is_surely_over() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.weather.kernel_delay = ms(2_000);
    w.isolate(A);
    while w.last_why(A) != Some(Why::LeaseOver) {
        w.run(100_000);
    }
    let asks = |w: &World| {
        let m = &w.members[A];
        w.node(A).observe(&m.config, w.local(A)).groups[0].asks
    };
    assert!(asks(&w), "its lease is over, its hold may last κ longer");
    w.run(ms(8));
    assert!(!asks(&w));
}

#[test]
fn r6_one_whose_own_vote_is_bound_asks_nobody_and_takes_no_hold() {
    let mut bench = Alone::new(3, MAJORITY, B);
    let hello = bench.advert(W);
    let (out, _) = bench.hear(&hello);
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    // The better one asks and gets its vote.
    let a = bench.says(A, asks());
    let (out, _) = bench.hear(&a);
    assert_eq!(bench.vote().unwrap().member, id(A));
    assert!(!sends_to(&out, W)[0].groups[0].asks);
    bench.now += ms(1);
    let grant = Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    };
    let grant = bench.says(W, grant);
    assert_eq!(hold(&bench.hear(&grant).0), None);
}

#[test]
fn r7_an_heir_whose_own_vote_is_still_the_holders_takes_no_hold() {
    let mut bench = Alone::new(3, MAJORITY, B);
    let yielding = Statement {
        holds: true,
        yields: true,
        ..asks()
    };
    let a = bench.says(A, yielding);
    let (out, _) = bench.hear(&a);
    assert_eq!(bench.vote().unwrap().member, id(A));
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    assert!(sends_to(&out, W)[0].groups[0].asks, "it asks everybody");
    bench.now += ms(1);
    let grant = Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    };
    let grant = bench.says(W, grant);
    assert_eq!(hold(&bench.hear(&grant).0), None);
}

#[test]
fn r7_a_lease_counts_from_the_ask_and_never_shrinks() {
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    let (out, _) = bench.hear(&hello);
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    bench.until(bench.now + ms(90));
    let grant = Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    };
    let advert = bench.says(W, grant);
    let (out, _) = bench.hear(&advert);
    assert_eq!(
        hold(&out),
        Some(asked_at + ms(450)),
        "from the ask, not from the answer"
    );
    // A vote of another life of ours, or one for another, does not count.
    for (member, incarnation) in [(id(A), Incarnation(1)), (id(B), ME)] {
        bench.now += ms(1);
        let asked_at = LocalTime::from_nanos(bench.now);
        let vote = Some(Ballot {
            member,
            incarnation,
            asked_at,
        });
        let advert = bench.says(
            B,
            Statement {
                vote,
                ..Statement::default()
            },
        );
        assert_eq!(hold(&bench.hear(&advert).0), None);
    }
}

#[test]
fn r7_five_members_need_three_votes() {
    let spec = spec(5, MAJORITY);
    let mut w = World::holding(&spec);
    w.crash(3);
    w.crash(4);
    w.run(ms(3_000));
    assert_eq!(w.effective(), [A], "three of five are a majority");
    w.crash(2);
    w.run(ms(1_000));
    assert_eq!(w.effective(), [0usize; 0], "two of five are not");
}

#[test]
fn r8_no_hold_between_a_release_and_its_confirmation() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.weather.kernel_delay = ms(300);
    w.operator(A, Command::Switch);
    let taken = w.until_held_by(B, ms(1_000));
    assert!(taken > ms(1), "b waited for a's kernel: {taken} ns");
    assert_eq!(w.two_at, None);
}

#[test]
fn r8_a_confirmation_that_nobody_waits_for_changes_nothing() {
    let mut w = World::holding(&spec(3, MAJORITY));
    for release in [true, false] {
        let release = onehold_core::effect::ReleaseId(release);
        w.input(
            A,
            Input::Muted {
                group: WEB,
                release,
            },
        );
    }
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.last_why(A), Some(Why::Majority));
}

#[test]
fn r8_a_hold_that_the_kernel_refuses_is_let_go() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.input(A, Input::Refused { group: WEB });
    assert_eq!(w.last_why(A), Some(Why::KernelRefused));
    w.run(ms(D + 10));
    assert_eq!(w.effective(), [B], "the other takes over");
    w.input(
        A,
        Input::Eligible {
            group: WEB,
            eligible: true,
        },
    );
    w.run(ms(100));
    assert_eq!(
        w.effective(),
        [A],
        "and gives it back when the kernel can again"
    );
}

#[test]
fn r9_a_starting_member_neither_votes_nor_holds_for_q() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.node = Node::start(
        &bench.config,
        ME,
        LocalTime::from_nanos(bench.now),
        Span::from_millis(900),
    );
    bench.wake();
    let start = bench.now;
    for _ in 0..9 {
        bench.until(bench.now + ms(100));
        let ask = bench.says(A, asks());
        bench.hear(&ask).1.unwrap();
        assert_eq!(
            bench.vote(),
            None,
            "quarantine lasts as long as an earlier life's lease may"
        );
    }
    bench.until(start + ms(908));
    assert!(
        bench.vote().is_some(),
        "and then the waiting ask gets the vote"
    );
}

#[test]
fn r9_two_restarted_voters_do_not_make_a_second_holder() {
    let mut w = World::holding(&spec(3, MAJORITY));
    // a holds on what it has been granted; b and w forget it.
    w.isolate(A);
    w.kill(B);
    w.kill(W);
    w.start(B);
    w.start(W);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [B]);
}

#[test]
fn r10_better_a_sick_server_than_none() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.input(
        B,
        Input::Health {
            group: WEB,
            healthy: false,
        },
    );
    w.crash(A);
    w.run(ms(1_000));
    assert_eq!(w.effective(), [B]);

    let mut strict = spec(3, MAJORITY);
    strict.groups[0].release_when_unhealthy = true;
    let mut w = World::holding(&strict);
    w.input(
        B,
        Input::Health {
            group: WEB,
            healthy: false,
        },
    );
    w.crash(A);
    w.run(ms(1_000));
    assert_eq!(w.effective(), [0usize; 0], "unless the group says so");
}

#[test]
fn r10_one_that_asks_in_vain_gets_out_of_the_others_way() {
    // w votes for b, y votes for b, x votes for a: neither has three of five, and the two can't
    // hear each other.
    let mut w = World::new(&spec(5, MAJORITY), 3);
    w.cut_both(A, B);
    w.cut_both(A, 2);
    for m in 0..5 {
        w.start(m);
    }
    w.run(ms(6_000));
    assert_eq!(w.effective().len(), 1, "somebody holds\n{}", w.story());
}

#[test]
fn r11_the_preferred_one_gets_it_when_both_start() {
    for seed in 0..50 {
        let mut w = World::new(&spec(3, MAJORITY), seed);
        for m in [1, 2, 0] {
            w.start(m);
            let pause = w.below(ms(3)) * (seed % 2);
            w.run(pause);
        }
        w.run(ms(900));
        assert_eq!(w.effective(), [A], "seed {seed}\n{}", w.story());
        // One that is out of quarantine a little earlier may have had it for that little.
        let most = if seed % 2 == 0 { 1 } else { 4 };
        assert!(w.role_changes() <= most, "seed {seed}\n{}", w.story());
    }
}

#[test]
fn r11_manual_failback_waits_for_switch() {
    let mut manual = spec(3, MAJORITY);
    manual.groups[0].failback = Failback::Manual;
    let mut w = World::holding(&manual);
    w.crash(A);
    w.run(ms(1_000));
    w.start(A);
    w.run(ms(3_000));
    assert_eq!(w.effective(), [B]);
    w.operator(B, Command::Switch);
    w.until_held_by(A, ms(10));
}

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
    let mut bench = Alone::new(3, MAJORITY, B);
    let hello = bench.advert(W);
    let (out, _) = bench.hear(&hello);
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    // The better one asks, but does not hear us yet.
    bench.now += ms(1);
    let mut a = bench.says(A, asks());
    a.echo = None;
    bench.hear(&a).1.unwrap();
    bench.now += ms(1);
    let grant = Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    };
    let grant = bench.says(W, grant);
    let (out, _) = bench.hear(&grant);
    assert!(hold(&out).is_some());
    assert!(sends_to(&out, A)[0].groups[0].yields);
}

#[test]
fn r12_failback_waits_for_its_delay() {
    let mut patient = spec(3, MAJORITY);
    patient.groups[0].failback_delay = Span::from_millis(2_000);
    let mut w = World::holding(&patient);
    w.crash(A);
    w.until_held_by(B, ms(500));
    w.start(A);
    w.run(ms(D + 1_900));
    assert_eq!(w.effective(), [B]);
    w.until_held_by(A, ms(300));
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
    assert!(w.node(A).stopped());

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
        Some((_, _, Event::Refused { refusal, .. })) => Some(*refusal),
        _ => None,
    };
    assert_eq!(refused(&w), Some(Refusal::NotHolder));
    w.operator(A, Command::Resume);
    w.run(ms(300));
    assert_eq!(w.effective(), [A], "until it is told to resume");
    w.crash(B);
    w.run(ms(1_000));
    w.operator(A, Command::Switch);
    assert_eq!(refused(&w), Some(Refusal::NobodyReady));
    assert_eq!(w.effective(), [A]);
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
    w.input(
        A,
        Input::Health {
            group: WEB,
            healthy: false,
        },
    );
    w.until_held_by(B, ms(10));
    assert_eq!(w.last_why(A), Some(Why::Unready));
    w.input(
        A,
        Input::Health {
            group: WEB,
            healthy: true,
        },
    );
    w.until_held_by(A, ms(200));
}

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
    // Under `survivor` it is due again at once when it has sent: so it learns how long that took.
    for (stopped, known) in [(49, false), (51, true), (95, true)] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.run(ms(500));
        let sent = w.members[B].sent;
        w.stops_next = Some(B);
        while w.is_up(B) {
            w.run(100_000);
        }
        w.run(ms(stopped));
        let reports = w.log.len();
        w.resume(B);
        w.run(100_000);
        let slept = w.log[reports..]
            .iter()
            .any(|(_, m, e)| *m == B && matches!(e, Event::Overslept));
        assert_eq!(slept, known, "{stopped} {}", w.story());
        assert!(w.members[B].sent > sent);
    }
}

#[test]
fn r13_one_that_overslept_tells_its_only_peer_at_once() {
    let mut bench = Alone::new(2, SURVIVOR, B);
    let hello = bench.advert(A);
    bench.hear(&hello).1.unwrap();
    loop {
        let due = bench.node.poll_timeout(&bench.config).unwrap();
        if !sends_to(&bench.until(due.as_nanos()), A).is_empty() {
            break;
        }
    }
    // It has sent, and is stopped before it could see how long that took; its next advert isn't due.
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
    let mut bench = Alone::new(3, MAJORITY, A);
    let hello = bench.advert(W);
    let (out, _) = bench.hear(&hello);
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    let grant = Statement {
        vote: bench.ballot(asked_at),
        ..Statement::default()
    };
    bench.now += ms(1);
    let advert = bench.says(W, grant);
    assert!(hold(&bench.hear(&advert).0).is_some());
    // Not run until the lease is over; then the newest vote arrives first.
    bench.now += ms(700);
    let grant = Statement {
        vote: bench.ballot(bench.now - ms(300)),
        ..Statement::default()
    };
    let advert = bench.says(W, grant);
    let (out, _) = bench.hear(&advert);
    assert!(matches!(out[0], Effect::Release { .. }), "{out:?}");
    assert_eq!(hold(&out), None);
}

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
    // The word takes longer than κ, or b is stopped again before it sends it, or both.
    for (delay, stopped) in [(10, 0), (40, 0), (0, 50), (0, 149), (10, 149), (25, 174)] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.weather.least_delay = ms(delay);
        w.weather.most_delay = ms(delay);
        w.run(ms(500));
        w.cut(A, B);
        w.pause(B);
        w.run(ms(300));
        w.stops_next = (stopped > 0).then_some(B);
        w.resume(B);
        w.run(ms(stopped));
        w.resume(B);
        w.until_held_by(B, ms(1_000));
    }
}

#[test]
fn r14_a_holder_that_is_stopped_before_it_sends_does_not_outlive_its_peers_patience() {
    // a hears nothing and is heard: it goes on by what it sends. Then it is stopped between reading
    // the clock and sending, for nearly as long as the lease that this was to give.
    for stopped in [340, 380, 420, 449] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.cut(B, A);
        w.run(ms(1_000));
        w.stops_next = Some(A);
        w.run(ms(100) + ms(stopped));
        w.resume(A);
        w.run(ms(1_000));
        assert_eq!(w.effective().len(), 1, "{}", w.story());
    }
}

#[test]
fn r14_a_late_word_of_a_deaf_peer_is_no_silence() {
    // a is not heard. b's next turn is late, and is then stopped before it sends; neither is known as
    // sleep by itself, and together they are longer than D/2.
    for (late, stopped) in [
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
        w.stops_next = Some(B);
        w.resume(B);
        w.run(ms(stopped));
        w.resume(B);
        w.until_held_by(B, ms(1_200));
        assert_eq!(w.last_why(A), Some(Why::LeaseOver), "{}", w.story());
    }
}

#[test]
fn r14_a_holder_presumes_nothing_for_two_and_a_half_intervals() {
    // As far apart as two words of a living peer may be: 1.25 i, a turn that is i/2 late and takes i/2,
    // and i/4 in the network. (With H = 3 i, D/2 was less than a late turn alone.)
    let mut bench = Alone::new(2, SURVIVOR, A);
    let hello = bench.advert(B);
    bench.hear(&hello).1.unwrap();
    bench.now += ms(1);
    let grant = bench.grant(B);
    bench.hear(&grant).1.unwrap();
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
        error.starts_with("timing.lease = 449ms: must be at least 4.5 intervals (450ms)"),
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
    // b hears a, and not the other way round: a goes by what it sends. One advert arrives at once, and
    // the next is read nearly i/2 late and stopped before it is sent. a's clock is slow, b's is fast.
    for late in (149_900..150_160).step_by(10) {
        let mut w = World::holding(&spec(2, SURVIVOR));
        w.set_rate(A, -1_000);
        w.set_rate(B, 1_000);
        (w.weather.least_delay, w.weather.most_delay) = (1_000, 1_000);
        w.cut(B, A);
        w.run(ms(2_000));
        let sent = w.members[A].sent;
        while w.members[A].sent == sent {
            w.run(5_000);
        }
        w.pause(A);
        w.run(late * 1_000 - 5_000);
        w.stops_next = Some(A);
        w.resume(A);
        w.run(ms(448));
        (w.weather.least_delay, w.weather.most_delay) = (ms(12), ms(12));
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
            Event::Refused {
                refusal: Refusal::PeerHeard | Refusal::VoteBound,
                ..
            }
        ))
    ));
    w.run(ms(60_000));
    assert_eq!(w.effective(), [0usize; 0], "a majority of two is two");
    w.operator(B, Command::PresumeDead);
    w.run(ms(1));
    assert_eq!(w.effective(), [B]);
    assert_eq!(w.last_why(B), Some(Why::PresumedDead));
    w.run(ms(5_000));
    assert_eq!(w.effective(), [B]);
    // Any sign of life ends it; then both decide again.
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
        let Some((_, B, Event::Refused { refusal, .. })) = w.log.last() else {
            panic!()
        };
        assert_eq!(*refusal, Refusal::NotTwoMembers);
    }
}

#[test]
fn r18_idle_costs_twenty_packets_a_second_and_an_ask_is_answered_at_once() {
    for spec in [spec(3, MAJORITY), spec(2, SURVIVOR)] {
        let mut w = World::holding(&spec);
        w.members.iter_mut().for_each(|m| m.sent = 0);
        w.run(ms(10_000));
        for (n, m) in w.members.iter().enumerate() {
            let peers = w.members.len() as u64 - 1;
            assert!(m.sent <= 105 * peers, "member {n} sent {} in 10 s", m.sent);
        }
        let m = &w.members[A];
        let seen = w.node(A).observe(&m.config, w.local(A));
        assert!(
            seen.groups[0].lease_left.unwrap() > Span::from_millis(340),
            "{seen:?}"
        );
    }
}

#[test]
fn r18_losing_two_of_five_packets_costs_packets_and_not_the_address() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.weather.loss = 400;
    w.members.iter_mut().for_each(|m| m.sent = 0);
    w.run(ms(60_000));
    assert!(
        w.role_changes() < 12,
        "{} role changes a minute\n{}",
        w.role_changes(),
        w.story()
    );
    assert!(
        w.members[A].sent < 6_000,
        "no storm: {} sent",
        w.members[A].sent
    );
    w.weather.loss = 200;
    let before = w.role_changes();
    w.run(ms(60_000));
    assert_eq!(
        w.role_changes(),
        before,
        "one of five costs nothing at all\n{}",
        w.story()
    );
}

#[test]
fn groups_are_independent_and_active_active_pairs_work() {
    let mut both = spec(3, MAJORITY);
    both.groups.push(group("api", 51, "b"));
    let mut w = World::new(&both, 5);
    for m in 0..3 {
        w.start(m);
    }
    w.run(ms(1_000));
    let holders = |w: &World| [0, 1].map(|g| w.effective_in(onehold_core::advert::GroupId(g)));
    assert_eq!(
        holders(&w),
        [vec![B], vec![A]],
        "`api` is group 0, `web` group 1"
    );
    let changes = w.role_changes();
    w.run(ms(10_000));
    assert_eq!(w.role_changes(), changes);
    w.crash(A);
    w.run(ms(600));
    assert_eq!(holders(&w), [vec![B], vec![B]]);
    w.start(A);
    w.run(ms(1_000));
    assert_eq!(holders(&w), [vec![B], vec![A]]);
}

#[test]
fn replayed_adverts_change_nothing_and_are_counted() {
    for restarted in [None, Some(A), Some(B), Some(W)] {
        let mut w = World::new(&spec(3, MAJORITY), 11);
        w.record = true;
        (0..3).for_each(|m| w.start(m));
        w.run(ms(1_500));
        if let Some(m) = restarted {
            w.crash(m);
            w.run(ms(200));
            w.start(m);
        }
        w.run(ms(2_000));
        let recorded = w.recorded.clone();
        let seen = |w: &World, m: usize| {
            let config = &w.members[m].config;
            let s = w.node(m).observe(config, w.local(m));
            (
                s.groups[0].role,
                s.groups[0].vote.map(|v| (v.member, v.incarnation)),
                s.groups[0].ready,
            )
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
                .all(|r| matches!(r, Reject::Stale | Reject::Knock | Reject::OldLife))
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
