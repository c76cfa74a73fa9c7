//! R-7 holding, R-8 guard first, R-9 start.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::{Incarnation, Statement};
use onehold_core::effect::{Effect, ReleaseId, Why};
use onehold_core::input::{Command, Input};
use onehold_core::observe::RoleName;
use onehold_core::time::Span;

#[test]
fn r7_a_successor_whose_own_vote_is_still_the_holders_takes_no_hold() {
    let mut bench = Alone::new(3, MAJORITY, B);
    let yielding = Statement {
        holds: true,
        yields: true,
        ..asks()
    };
    let out = bench.hears(A, yielding);
    assert_eq!(bench.vote().unwrap().member, id(A));
    let asked_at = sends_to(&out, W)[0].sent_at.as_nanos();
    assert!(sends_to(&out, W)[0].groups[0].asks, "it asks everybody");
    bench.now += ms(1);
    assert_eq!(hold(&bench.hears(W, bench.grants(asked_at))), None);
}

#[test]
fn r7_a_lease_counts_from_the_ask_and_never_shrinks() {
    let (mut bench, asked_at) = Alone::asking(A);
    bench.until(bench.now + ms(90));
    let out = bench.hears(W, bench.grants(asked_at));
    assert_eq!(
        hold(&out),
        Some(asked_at + ms(450)),
        "from the ask, not from the answer"
    );
    // A vote for another incarnation of ours, or for another member, does not count.
    for (member, incarnation) in [(A, Incarnation(1)), (B, ME)] {
        bench.now += ms(1);
        let says = votes(member, incarnation, bench.now);
        assert_eq!(hold(&bench.hears(B, says)), None);
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
fn r7_a_lease_counts_from_the_newest_ask_that_a_majority_granted() {
    let mut bench = Alone::new(5, MAJORITY, A);
    for peer in [2, 3] {
        bench.hears(peer, Statement::default());
    }
    let first = bench.now;
    bench.until(first + ms(150));
    for (voter, asked_at, lease) in [
        (2, first, None),
        (3, first + ms(100), Some(first + ms(450))),
    ] {
        assert_eq!(hold(&bench.hears(voter, bench.grants(asked_at))), lease);
    }
}

#[test]
fn r7_a_lease_does_not_shrink_when_the_newest_vote_goes() {
    let (mut bench, first) = Alone::asking(A);
    bench.until(first + ms(150));
    for (peer, says, lease) in [
        (W, bench.grants(first + ms(100)), Some(first + ms(550))),
        (B, bench.grants(first), None),
        (W, Statement::default(), None),
    ] {
        bench.now += ms(1);
        assert_eq!(hold(&bench.hears(peer, says)), lease);
    }
}

#[test]
fn r7_one_that_asks_nobody_takes_no_hold() {
    let (mut bench, asked_at) = Alone::asking(A);
    bench.now += ms(1);
    // The same advert votes for us, and says that its sender does not hear us any more.
    let mut grant = bench.says(W, bench.grants(asked_at));
    grant.echo = None;
    assert_eq!(hold(&bench.hear(&grant).0), None);
    assert!(!bench.group().asks);
}

#[test]
fn r7_no_hold_by_a_vote_for_an_ask_that_was_not_sent() {
    let (mut bench, asked_at) = Alone::asking(A);
    bench.now += ms(1);
    assert_eq!(hold(&bench.hears(W, bench.grants(asked_at + ms(51)))), None);
}

#[test]
fn r7_no_hold_that_is_nearly_over_when_it_begins() {
    let (mut bench, asked_at) = Alone::asking(A);
    for (later, takes) in [(400, false), (1, false)] {
        bench.until(bench.now + ms(later));
        assert_eq!(
            hold(&bench.hears(W, bench.grants(asked_at))).is_some(),
            takes
        );
    }
}

#[test]
fn r8_no_hold_between_a_release_and_its_confirmation() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.conditions.kernel_delay = ms(300);
    w.operator(A, Command::Switch);
    let taken = w.until_held_by(B, ms(1_000));
    assert!(taken > ms(1), "b waited for a's kernel: {taken} ns");
    assert_eq!(w.two_at, None);
}

#[test]
fn r8_a_confirmation_that_nobody_waits_for_changes_nothing() {
    let mut w = World::holding(&spec(3, MAJORITY));
    for release in [true, false] {
        let (group, release) = (WEB, ReleaseId(release));
        w.input(A, Input::Released { group, release });
    }
    assert_eq!(w.effective(), [A]);
    assert_eq!(w.last_why(A), Some(Why::Majority));
}

#[test]
fn r8_a_hold_that_the_kernel_refuses_is_let_go() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.input(A, Input::HoldFailed { group: WEB });
    assert_eq!(w.last_why(A), Some(Why::KernelRefused));
    w.run(ms(D + 10));
    assert_eq!(w.effective(), [B], "the other takes over");
    let (group, eligible) = (WEB, true);
    w.input(A, Input::Eligible { group, eligible });
    w.run(ms(100));
    assert_eq!(
        w.effective(),
        [A],
        "and gives it back when the kernel can again"
    );
}

#[test]
fn r8_another_releases_confirmation_is_not_this_ones() {
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    let group = WEB;
    let release = released(&bench.input(Input::HoldFailed { group }).0).unwrap();
    let other = ReleaseId(!release.0);
    for (release, role) in [
        (other, RoleName::Releasing),
        (release, RoleName::Standby),
        (release, RoleName::Standby),
    ] {
        let _ = bench.input(Input::Released { group, release });
        assert_eq!(bench.group().role, role);
    }
}

#[test]
fn r8_nothing_is_announced_before_the_kernel_holds_it() {
    let (mut bench, asked_at) = Alone::asking(A);
    bench.now += ms(1);
    let out = bench.hears(W, bench.grants(asked_at));
    let place = |is: fn(&Effect) -> bool| out.iter().position(is).unwrap();
    let held = place(|e| matches!(e, Effect::HoldUntil { .. }));
    assert!(held < place(|e| matches!(e, Effect::Announce { .. })));
}

#[test]
fn r9_a_starting_member_neither_votes_nor_holds_for_q() {
    let mut bench = Alone::new(3, MAJORITY, W);
    bench.restart(Span::from_millis(900));
    let start = bench.now;
    for _ in 0..9 {
        bench.until(bench.now + ms(100));
        bench.hears(A, asks());
        assert_eq!(
            bench.vote(),
            None,
            "quarantine lasts as long as an earlier incarnation's lease may"
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
    // a holds by what it has been granted; b and w forget their votes.
    w.isolate(A);
    w.kill(B);
    w.kill(W);
    w.start(B);
    w.start(W);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [B]);
}
