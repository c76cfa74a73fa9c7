//! witnesses that come and go, and arbitration that changes with them.

use super::world::alone::{Alone, D, asks, hold};
use super::world::changes::with;
use super::world::{A, B, MAJORITY, SURVIVOR, W, WEB, World, id, ms};
use onehold_core::advert::{Change, Statement};
use onehold_core::config::{Config, Spec};
use onehold_core::input::{Command, Refusal};
use onehold_core::observe::RoleName;
use onehold_core::time::Span;

/// The witness that comes: a machine beside the three of before.
const X: usize = 3;

/// Both candidates have the first of these files, and so have the witnesses of that one; the others
/// have the second.
fn holding(files: &[Spec; 2]) -> World {
    let mut w = World::of(files, 7);
    w.start_all();
    w.run(ms(2_000));
    assert_eq!(w.effective(), [A]);
    w
}

#[test]
fn r22_a_witness_takes_anothers_place_and_nothing_moves() {
    // One comes first by its name, and the other last.
    let files = [with(&["w"], MAJORITY), with(&["0"], MAJORITY)];
    for [from, to] in [[0, 1], [1, 0]] {
        for [first, second] in [[A, B], [B, A]] {
            let [from, to] = [&files[from], &files[to]];
            let mut w = holding(&[from.clone(), to.clone()]);
            let before = w.role_changes();
            w.reload(first, to);
            w.run(ms(3_000));
            w.reload(second, to);
            w.run(ms(20));
            assert!(w.all_settled(to), "it waits for no witness that goes");
            w.crash(W);
            w.run(ms(1_000));
            assert_eq!((w.effective(), w.role_changes()), (vec![A], before));
            w.crash(A);
            w.run(ms(1_000));
            assert_eq!(w.effective(), [B], "by the new one's vote");
        }
    }
}

#[test]
fn r22_two_alone_get_a_witness_and_lose_it_again() {
    let files = [with(&[], SURVIVOR), with(&["w"], MAJORITY)];
    let mut w = holding(&files);
    let before = w.role_changes();
    for m in [B, A] {
        w.reload(m, &files[1]);
    }
    w.run(ms(1_000));
    assert!(w.all_settled(&files[1]));
    w.cut_both(A, B);
    w.run(ms(2_000));
    assert_eq!(
        (w.effective(), w.role_changes()),
        (vec![A], before),
        "not two any more"
    );
    w.heal();
    w.run(ms(1_000));
    for m in [A, B] {
        w.reload(m, &files[0]);
    }
    w.run(ms(50));
    assert!(w.all_settled(&files[0]));
    w.crash(W);
    w.run(ms(1_000));
    assert_eq!((w.effective(), w.role_changes()), (vec![A], before));
    w.crash(A);
    w.run(ms(1_000));
    assert_eq!(w.effective(), [B], "the survivor");
}

#[test]
fn r22_until_it_is_settled_a_hold_takes_a_majority_of_both() {
    let [old, new] = [&["w"], &["x"]].map(|names| with(names, MAJORITY).prove("a").unwrap());
    let mut bench = Alone::holding(&with(&["w"], MAJORITY), A);
    bench.change(old.toward(&new));
    bench.now += ms(1);
    bench.change(new.from(&old));
    bench.now += ms(1);
    bench.wake();
    let asked_at = bench.now;
    bench.now += ms(1);
    let grants = bench.grants(asked_at);
    assert_eq!(
        hold(&bench.hears(W, grants)),
        None,
        "the new witness is none of the old ones"
    );
    assert!(hold(&bench.hears(B, grants)).is_some());
}

#[test]
fn r22_one_goes_to_other_members_when_the_other_candidate_may_vote() {
    let [old, new] = [&["w"], &["x"]].map(|names| with(names, MAJORITY).prove("a").unwrap());
    let mut bench = Alone::holding(&with(&["w"], MAJORITY), A);
    bench.change(old.toward(&new));
    for quarantined in [true, false] {
        bench.now += ms(1);
        let mut says = bench.says(B, Statement::default());
        (says.change, says.quarantined) = (Change::Toward(new.digest()), quarantined);
        bench.hear(&says).1.unwrap();
        assert_eq!(
            bench.may_step(),
            !quarantined,
            "a hold there takes its vote"
        );
    }
}

#[test]
fn r22_one_that_comes_from_a_majority_does_not_hold_alone_before_it_is_settled() {
    let specs = [with(&["w"], MAJORITY), with(&[], SURVIVOR)];
    let [old, new] = specs.clone().map(|spec| spec.prove("a").unwrap());
    let mut bench = Alone::holding(&specs[0], A);
    bench.change(old.toward(&new));
    bench.now += ms(1);
    bench.change(new.from(&old));
    bench.until(bench.now + ms(3_000));
    assert_ne!(bench.group().role, RoleName::Holder);
}

#[test]
fn r22_both_electorates_are_recorded_until_it_is_settled() {
    let [old, new] = [&["w"], &["x"]].map(|names| with(names, MAJORITY).prove("a").unwrap());
    let [before, after] = [&old, &new].map(Config::electorates);
    assert_eq!(old.toward(&new).electorates(), before);
    let both = new.from(&old).electorates();
    assert!(both.len() == 2 && before.iter().chain(&after).all(|of| both.contains(of)));
}

#[test]
fn r22_a_dead_candidate_is_waited_for_before_other_members_decide() {
    let files = [with(&["w"], MAJORITY), with(&["x"], MAJORITY)];
    let [old, new] = files.each_ref().map(|file| file.prove("a").unwrap());
    let mut bench = Alone::of(&files[0], A);
    bench.until(bench.now + ms(1_000));
    bench.change(old.toward(&new));
    bench.now += ms(1);
    let mut says = bench.says(B, Statement::default());
    says.change = Change::Toward(new.digest());
    bench.hear(&says).1.unwrap();
    assert!(bench.may_step());
    bench.until(bench.now + ms(D)); // what it said is not what it does any more
    assert!(!bench.may_step());
}

#[test]
fn r22_a_name_that_comes_back_on_another_machine_is_another_witness() {
    let mut moved = with(&["w"], MAJORITY);
    moved.members[2].addresses = vec!["192.0.2.9:6946".into()];
    let [here, there] =
        [with(&["w"], MAJORITY), moved].map(|file| file.prove("a").unwrap().electorates());
    assert_ne!(here, there);
}

/// A candidate that is ready, but for its doubts.
fn doubting(spec: &Spec) -> Alone {
    let mut bench = Alone::of(spec, A);
    bench.node.doubt();
    bench.until(bench.now + ms(1_000));
    bench
}

#[test]
fn r22_one_that_doubts_takes_no_hold_until_the_other_candidate_goes_by_the_same() {
    let file = with(&["w"], MAJORITY);
    let mut bench = doubting(&file);
    for _ in 0..10 {
        bench.hears(W, Statement::default());
        bench.until(bench.now + ms(100));
    }
    let asks = |bench: &Alone| bench.node.observe(&bench.config, bench.at()).groups[0].asks;
    assert!(
        !asks(&bench) && bench.node.doubts(),
        "a witness may have any file"
    );
    // An answer to a knock proves no hearing, and so binds no vote.
    let mut answer = bench.says(B, super::world::alone::asks());
    answer.echo = None;
    bench.hear(&answer).1.unwrap();
    assert!(bench.node.doubts() && bench.vote().is_none());
    bench.now += ms(1);
    let mut other = bench.says(B, Statement::default());
    other.config.0 += 1;
    bench.hear(&other).1.unwrap_err();
    assert!(bench.node.doubts());
    bench.hears(B, Statement::default());
    assert!(asks(&bench) && !bench.node.doubts());
}

#[test]
fn r22_one_that_doubts_votes_and_believes_the_operator() {
    let file = with(&["w"], MAJORITY);
    let mut bench = doubting(&file);
    let says = |bench: &Alone| {
        let mut advert = bench.says(B, asks());
        advert.config.0 += 1;
        advert
    };
    let stranger = says(&bench);
    bench.hear(&stranger).1.unwrap_err();
    let presume = |bench: &mut Alone| {
        let (now, command) = (bench.at(), Command::PresumeDead);
        let out = &mut Vec::new();
        bench.node.command(&bench.config, now, WEB, command, out)
    };
    assert_eq!(presume(&mut bench), Err(Refusal::PeerHeard));
    bench.until(bench.now + ms(2_000));
    assert_eq!(presume(&mut bench), Ok(()));
    assert!(!bench.node.doubts());
}

#[test]
fn r22_members_are_known_by_name_whatever_their_numbers() {
    // `x` is 2 before, and 3 then.
    let old = with(&["w", "x", "y"], MAJORITY).prove("a").unwrap();
    let new = with(&["x"], MAJORITY).prove("a").unwrap();
    let mut bench = Alone::of(&with(&["w", "x", "y"], MAJORITY), A);
    let x = 3;
    bench.hears(x, Statement::default());
    bench.now += ms(1);
    bench.change(old.toward(&new));
    bench.now += ms(1);
    // It is ahead, and goes by the new numbers.
    let mut says = bench.says(2, Statement::default());
    says.incarnation = bench.says(x, Statement::default()).incarnation;
    (says.config, says.change) = (new.digest(), Change::From(old.digest()));
    bench.hear(&says).1.unwrap();
    let waits = |bench: &Alone| bench.node.waits_for(&bench.config).collect::<Vec<_>>();
    assert_eq!(waits(&bench), [id(B)]);
    bench.change(new.from(&old));
    assert_eq!(waits(&bench), [id(B), id(2)]);
    let seen = bench.node.observe(&bench.config, bench.at());
    let heard = seen.peers.iter().filter(|p| p.heard_ago.is_some());
    assert_eq!(heard.map(|p| p.member).collect::<Vec<_>>(), [id(2)]);
}

/// A witness that is reached otherwise from now on.
fn moved(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    let witness = spec.members.iter_mut().find(|m| m.witness);
    witness.expect("a witness").addresses = vec!["192.0.2.9".into()];
    spec
}

#[test]
fn r22_a_witness_at_another_address_is_another_one() {
    let file = with(&["w"], MAJORITY);
    let [old, new] = [file.clone(), moved(&file)].map(|file| file.prove("a").unwrap());
    assert_ne!(old.electorates(), new.electorates());
    let mut bench = Alone::holding(&file, A);
    bench.change(old.toward(&new));
    bench.now += ms(1);
    bench.change(new.from(&old));
    let asked_at = bench.now;
    bench.now += ms(1);
    let grants = bench.grants(asked_at);
    assert_eq!(
        hold(&bench.hears(W, grants)),
        None,
        "the machine at the former address may vote for the other"
    );
    assert!(hold(&bench.hears(B, grants)).is_some());
}

#[test]
fn r22_what_the_witness_at_the_former_address_said_counts_no_more() {
    let file = with(&["w"], MAJORITY);
    let [old, new] = [file.clone(), moved(&file)].map(|file| file.prove("a").unwrap());
    let mut bench = Alone::holding(&file, A);
    let hears = |bench: &Alone| {
        let peers = bench.node.observe(&bench.config, bench.at()).peers;
        peers[1].heard_ago.is_some()
    };
    bench.change(old.toward(&new));
    assert!(hears(&bench));
    bench.change(new.from(&old));
    assert!(!hears(&bench));
}

#[test]
fn r22_a_witness_that_moves_goes_along() {
    let file = with(&["w"], MAJORITY);
    let next = moved(&file);
    for order in [[A, B, W], [W, A, B], [B, W, A]] {
        let mut w = holding(&[file.clone(), next.clone()]);
        let before = w.role_changes();
        for m in order {
            w.reload(m, &next);
            w.run(ms(1_000));
        }
        assert!(w.all_settled(&next));
        assert_eq!((w.effective(), w.role_changes()), (vec![A], before));
        w.crash(A);
        w.run(ms(1_000));
        assert_eq!(w.effective(), [B], "by its vote");
    }
}

#[test]
fn r22_a_candidate_that_is_reached_otherwise_is_the_same_one() {
    let file = with(&["w"], MAJORITY);
    let mut next = file.clone();
    next.members[1].addresses = vec!["192.0.2.9".into()];
    let mut w = holding(&[file.clone(), next.clone()]);
    let before = w.role_changes();
    for m in [W, B, A] {
        w.reload(m, &next);
        w.run(ms(300));
    }
    assert!(w.all_settled(&next));
    assert_eq!((w.effective(), w.role_changes()), (vec![A], before));
    let [old, new] = [file, next].map(|file| file.prove("a").unwrap());
    assert_eq!(old.electorates(), new.electorates(), "the same decide");
}

/// A witness takes another's place, and the lease gets shorter.
fn shorter() -> [Spec; 2] {
    let mut files = [with(&["w"], MAJORITY), with(&["x"], MAJORITY)];
    files[1].timing.lease = Span::from_millis(300);
    files
}

#[test]
fn r22_a_lease_of_before_is_over_before_the_vote_of_one_that_was_started_with_the_new_file() {
    let files = shorter();
    for wait in 0..40 {
        let mut w = holding(&files);
        w.crash(B);
        w.run(ms(2_000));
        w.start_with(B, &files[1]);
        w.run(ms(2_000) + wait * ms(25));
        w.reload(A, &files[1]);
        for _ in 0..3_000 {
            w.run(ms(1));
            if !w.node(B).doubts() {
                break;
            }
        }
        assert!(!w.node(B).doubts(), "it does not doubt for ever");
        w.cut_both(A, B);
        w.cut_both(A, X);
        w.run(ms(1_000)); // never two
        assert_eq!(w.effective(), [B], "by the new witness's vote");
    }
}

#[test]
fn r22_other_members_decide_when_no_lease_of_before_is_longer_than_a_new_one() {
    let files = shorter();
    let [old, new] = files.each_ref().map(|file| file.prove("a").unwrap());
    let mut bench = Alone::holding(&files[0], A);
    bench.change(old.toward(&new));
    let mut says = bench.says(B, Statement::default());
    says.change = Change::Toward(new.digest());
    bench.now += ms(1);
    says.echo = Some(bench.at());
    bench.hear(&says).1.unwrap();
    assert!(!bench.may_step());
    bench.until(bench.now + ms(145));
    assert!(!bench.may_step(), "450 ms from the ask, 148 ms ago");
    bench.until(bench.now + ms(2));
    assert!(bench.may_step(), "300 ms from now");
}

#[test]
fn r22_one_is_settled_when_its_vote_is_bound_to_the_one_that_holds() {
    let files = [with(&["w"], MAJORITY), with(&["x"], MAJORITY)];
    let [old, new] = files.each_ref().map(|file| file.prove("b").unwrap());
    let mut bench = Alone::of(&files[0], B);
    bench.hears(A, asks());
    let bound = bench.vote().unwrap();
    bench.now += ms(1);
    bench.change(old.toward(&new));
    bench.change(new.from(&old));
    // A later incarnation holds, and an ask of the one before binds the vote.
    let holds = |bench: &Alone| {
        let holds = Statement {
            holds: true,
            ..asks()
        };
        let mut says = bench.says(A, holds);
        says.incarnation.0 += 1;
        says
    };
    let mut until = 0;
    while bench.vote() == Some(bound) {
        assert!(!bench.may_step());
        until += 1;
        bench.until(bench.now + ms(50));
        let says = holds(&bench);
        bench.hear(&says).1.unwrap();
    }
    assert!((5..12).contains(&until), "D is 456 ms");
    assert_eq!(bench.vote().unwrap().incarnation.0, bound.incarnation.0 + 1);
    assert!(bench.may_step());
}

#[test]
fn r22_one_that_doubts_trusts_a_holder_when_its_vote_is_bound_to_it() {
    let mut bench = doubting(&with(&["w"], MAJORITY));
    bench.restart(Span::ZERO);
    bench.node.doubt();
    let holds = Statement {
        holds: true,
        ..asks()
    };
    while bench.vote().is_none() {
        assert!(bench.node.doubts(), "it does not vote yet");
        bench.until(bench.now + ms(50));
        bench.hears(B, holds);
    }
    assert!(!bench.node.doubts());
}
