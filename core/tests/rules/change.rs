//! the file changes while members run.

use super::world::alone::{Alone, D, hold, released};
use super::world::{A, B, MAJORITY, SURVIVOR, W, WEB, World, group, ms, spec};
use onehold_core::advert::{Change, Statement};
use onehold_core::config::{Prefix, Spec};
use onehold_core::input::{Command, Input};
use onehold_core::reject::Reject;
use onehold_core::time::Span;
use std::net::IpAddr;

const X: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 50));
const Y: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 51));

/// One address more in the group that there is.
fn with_y(size: usize) -> Spec {
    let mut file = spec(size, MAJORITY);
    file.groups[0].addresses.push(Prefix::new(Y, 24));
    file
}

/// The address is in a group of another name.
fn renamed() -> Spec {
    let mut file = spec(3, MAJORITY);
    file.groups = vec![group("mail", 51, "b"), group("www", 50, "a")];
    file
}

fn with_lease(size: usize, lease: u64) -> Spec {
    let mut file = spec(size, MAJORITY);
    file.timing.lease = Span::from_millis(lease);
    file
}

const ORDERS: [[usize; 3]; 6] = [
    [A, B, W],
    [A, W, B],
    [B, A, W],
    [B, W, A],
    [W, A, B],
    [W, B, A],
];

#[test]
fn r22_an_address_comes_and_nothing_moves() {
    for order in ORDERS {
        let mut w = World::holding(&spec(3, MAJORITY));
        let before = w.role_changes();
        for m in order {
            assert!(w.effective_at(Y).is_empty(), "not before all know it");
            w.reload(m, &with_y(3));
            w.run(ms(2_000));
        }
        assert!(w.all_settled(&with_y(3)), "{order:?}");
        assert_eq!((w.effective_at(X), w.effective_at(Y)), (vec![A], vec![A]));
        assert_eq!(w.role_changes(), before, "{order:?}");
    }
}

#[test]
fn r22_a_new_address_answers_two_intervals_after_the_last_reload() {
    let mut w = World::holding(&spec(3, MAJORITY));
    for m in [B, W, A] {
        w.reload(m, &with_y(3));
    }
    w.run(ms(200));
    assert_eq!(w.effective_at(Y), [A]);
}

#[test]
fn r22_an_address_goes_and_nothing_else_moves() {
    let mut w = World::holding(&with_y(3));
    let before = w.role_changes();
    for m in [W, A, B] {
        assert_eq!(w.effective_at(Y), [A], "not before all know it");
        w.reload(m, &spec(3, MAJORITY));
        w.run(ms(500));
        assert_eq!(w.effective_at(X), [A]);
    }
    assert!(w.effective_at(Y).is_empty());
    assert!(w.all_settled(&spec(3, MAJORITY)));
    assert_eq!(w.role_changes(), before);
}

#[test]
fn r22_an_address_changes_its_group_and_two_never_have_it() {
    // `check_two` looks at each address, whatever group it is in.
    for order in ORDERS {
        let mut w = World::holding(&spec(3, MAJORITY));
        for m in order {
            w.reload(m, &renamed());
            w.run(ms(700));
        }
        w.run(ms(1_000));
        assert!(w.all_settled(&renamed()), "{order:?}\n{}", w.story());
        assert_eq!((w.effective_at(X), w.effective_at(Y)), (vec![A], vec![B]));
    }
}

/// It died when the others were at any step; with the new file it would wait for ever.
#[test]
fn r22_where_an_address_moves_one_that_died_comes_back_with_the_former_file_and_reads_the_new_one()
{
    for first in [A, B] {
        for later in 0..12 {
            let mut w = World::holding(&spec(3, MAJORITY));
            for m in [A, B, W] {
                w.reload(m, &renamed());
            }
            w.run(ms(later));
            w.crash(first);
            w.run(ms(1_000));
            let is_behind = !w.all_settled(&renamed());
            w.start_with(first, &spec(3, MAJORITY));
            w.run(ms(1_000));
            w.reload(first, &renamed());
            w.run(ms(3_000));
            let done = w.all_settled(&renamed());
            assert!(done || !is_behind, "{first} {later}\n{}", w.story());
        }
    }
}

#[test]
fn r22_a_lease_changes_and_nothing_moves() {
    for (before, after) in [(450, 900), (900, 450)] {
        for order in ORDERS {
            let mut w = World::holding(&with_lease(3, before));
            let roles = w.role_changes();
            for m in order {
                w.reload(m, &with_lease(3, after));
                w.run(ms(1_500));
            }
            assert!(w.all_settled(&with_lease(3, after)));
            assert_eq!((w.effective(), w.role_changes()), (vec![A], roles));
        }
    }
}

#[test]
fn r22_a_dead_witness_is_not_waited_for_and_a_dead_candidate_is() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.crash(W);
    w.run(ms(1_000));
    w.reload(A, &with_y(3));
    w.reload(B, &with_y(3));
    w.run(ms(500));
    assert_eq!(w.effective_at(Y), [A]);

    let mut w = World::holding(&spec(3, MAJORITY));
    w.crash(B);
    w.run(ms(1_000));
    w.reload(A, &with_y(3));
    w.reload(W, &with_y(3));
    w.run(ms(2_000));
    assert!(w.effective_at(Y).is_empty());
    let waits: Vec<_> = w.node(A).waits_for(&w.members[A].config).collect();
    assert_eq!(waits, [super::world::id(B)]);
    w.start_with(B, &with_y(3)); // it comes back with the new file
    w.run(ms(3_000));
    assert_eq!((w.effective_at(X), w.effective_at(Y)), (vec![A], vec![A]));
    assert!(w.all_settled(&with_y(3)));
}

#[test]
fn r22_a_member_that_starts_with_the_new_file_is_gone_along_with() {
    for first in [A, B, W] {
        let mut w = World::holding(&spec(3, MAJORITY));
        w.crash(first);
        w.run(ms(1_000));
        w.start_with(first, &with_y(3));
        w.run(ms(2_000));
        for m in [A, B, W].into_iter().filter(|m| *m != first) {
            w.reload(m, &with_y(3));
            w.run(ms(300));
        }
        w.run(ms(2_000));
        assert!(w.all_settled(&with_y(3)), "{first}\n{}", w.story());
        assert_eq!(w.effective_at(X), w.effective_at(Y));
        assert_eq!(w.effective_at(X).len(), 1);
    }
}

#[test]
fn r22_one_that_goes_along_is_no_stranger_any_more() {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.crash(B);
    w.run(ms(1_000));
    w.reload(A, &with_y(3));
    w.reload(W, &with_y(3));
    w.start_with(B, &with_y(3));
    w.run(ms(300)); // less than S
    assert!(
        !w.group(B).kept_back,
        "by A, which held under the other file"
    );
}

#[test]
fn r22_a_member_may_turn_back() {
    let mut w = World::holding(&spec(3, MAJORITY));
    let before = w.role_changes();
    w.reload(A, &with_y(3));
    w.reload(B, &with_y(3));
    w.run(ms(500)); // both wait for the witness
    w.reload(A, &spec(3, MAJORITY));
    w.reload(B, &spec(3, MAJORITY));
    w.reload(W, &with_y(3));
    w.run(ms(500));
    assert!(w.effective_at(Y).is_empty());
    w.reload(W, &spec(3, MAJORITY));
    w.run(ms(500));
    assert!(w.all_settled(&spec(3, MAJORITY)));
    assert_eq!((w.effective(), w.role_changes()), (vec![A], before));
}

#[test]
fn r22_two_that_are_on_the_way_to_what_the_other_has_do_not_cross() {
    let files = [spec(2, MAJORITY), with_y(2)];
    let mut w = World::holding(&files[0]);
    w.crash(B);
    w.run(ms(1_000));
    w.start_with(B, &files[1]);
    w.run(ms(1_000));
    w.reload(A, &files[1]);
    w.reload(B, &files[0]);
    w.run(ms(1_000)); // both wait, and each can be turned back
    w.reload(B, &files[1]);
    w.run(ms(1_000));
    assert!(w.all_settled(&files[1]), "{}", w.story());
    assert_eq!(w.effective().len(), 1);
}

#[test]
fn r22_a_word_from_before_a_member_turned_counts_for_nothing() {
    let old = spec(2, MAJORITY);
    let next = with_y(2).prove("a").unwrap();
    let mut bench = Alone::of(&old, A);
    let settled = bench.config.clone();
    let [next] = &settled.path_to(&next).unwrap()[..] else {
        panic!("no address changes its group");
    };
    bench.hears(B, Statement::default());
    bench.now += ms(1);
    let mut says = bench.says(B, Statement::default());
    says.change = Change::Toward(next.digest());
    bench.now += ms(1);
    bench.change(settled.toward(next));
    bench.hear(&says).1.unwrap(); // it answers an advert of before the turn
    assert!(!bench.may_step());
    bench.now += ms(1);
    let mut says = bench.says(B, Statement::default());
    says.change = Change::Toward(next.digest());
    bench.hear(&says).1.unwrap();
    assert!(bench.may_step());
    // Another turn: what was said before it is forgotten.
    bench.change(settled.clone());
    bench.now += ms(1);
    bench.change(settled.toward(next));
    assert!(!bench.may_step());
}

#[test]
fn r22_an_answer_that_is_older_than_d_lets_nobody_step() {
    let old = spec(2, MAJORITY);
    let next = with_y(2).prove("a").unwrap();
    let mut bench = Alone::of(&old, A);
    bench.hears(B, Statement::default());
    bench.now += ms(1);
    bench.change(bench.config.toward(&next));
    let mut says = bench.says(B, Statement::default());
    says.change = Change::Toward(next.digest());
    bench.now += ms(D);
    bench.hear(&says).1.unwrap();
    assert!(!bench.may_step());
}

#[test]
fn r22_a_step_waits_for_a_release() {
    let old = spec(3, MAJORITY);
    let next = with_y(3).prove("a").unwrap();
    let mut bench = Alone::holding(&old, A);
    let asked_at = bench.now;
    bench.change(bench.config.toward(&next));
    bench.now += ms(1);
    for m in [B, W] {
        let mut says = bench.says(m, bench.grants(asked_at));
        says.change = Change::Toward(next.digest());
        bench.hear(&says).1.unwrap();
    }
    assert!(bench.may_step());
    let group = WEB;
    let (out, _) = bench.input(Input::HoldFailed { group });
    let release = released(&out).expect("it lets go");
    assert!(!bench.may_step());
    bench.input(Input::Released { group, release }).1.unwrap();
    assert!(bench.may_step());
}

#[test]
fn r22_a_vote_for_an_ask_from_before_a_step_counts() {
    let next = with_y(3).prove("a").unwrap();
    let mut bench = Alone::holding(&spec(3, MAJORITY), A);
    bench.until(bench.now + ms(100));
    let asked_at = bench.now;
    bench.now += ms(1);
    bench.change(bench.config.toward(&next));
    bench.now += ms(1);
    let until = hold(&bench.hears(W, bench.grants(asked_at)));
    assert_eq!(until, Some(asked_at + ms(450)));
}

#[test]
fn r22_only_neighbours_accept_each_other() {
    let (old, next) = (spec(2, MAJORITY), with_y(2));
    let [c, d] = [&old, &next].map(|s| s.prove("a").unwrap());
    let row = [c.clone(), c.toward(&d), d.from(&c), d.clone()];
    // By sender: which receivers accept it. One that goes toward a configuration also takes the
    // word of one that is settled on it, which can't answer it.
    let accepted = [
        [true, true, false, false],
        [true, true, true, false],
        [false, true, true, true],
        [false, true, true, true],
    ];
    for (sender, receivers) in row.iter().zip(accepted) {
        for (receiver, accepts) in row.iter().zip(receivers) {
            let mut bench = Alone::of(&old, A);
            bench.hears(B, Statement::default());
            bench.now += ms(1);
            bench.change(receiver.clone());
            bench.now += ms(1);
            let mut says = bench.says(B, Statement::default());
            (says.config, says.change) = (sender.digest(), sender.change());
            let (_, result) = bench.hear(&says);
            let refused = matches!(result, Err(Reject::OtherConfig { .. }));
            assert_eq!(
                !refused,
                accepts,
                "{:?} at {:?}",
                sender.change(),
                receiver.change()
            );
        }
    }
}

#[test]
fn r22_a_vote_binds_for_the_longer_lease_at_once() {
    let mut bench = Alone::of(&with_lease(3, 450), W);
    let asks = Statement {
        asks: true,
        ready: true,
        ..Statement::default()
    };
    bench.hears(A, asks);
    let bound = bench.group().vote_left.unwrap();
    let next = with_lease(3, 900).prove("w").unwrap();
    bench.change(bench.config.toward(&next));
    let longer = bench.group().vote_left.unwrap();
    let (short, long) = (bench_timing(450), bench_timing(900));
    assert_eq!(longer.as_nanos() - bound.as_nanos(), long - short);
    // And not for less when it shrinks again.
    bench.change(with_lease(3, 450).prove("w").unwrap());
    assert_eq!(bench.group().vote_left.unwrap(), longer);
}

/// A file that is changed and put back again and again.
#[test]
fn r22_turning_back_and_forth_binds_a_vote_for_no_longer_than_once() {
    let mut bench = Alone::of(&with_lease(3, 450), W);
    let asks = Statement {
        asks: true,
        ready: true,
        ..Statement::default()
    };
    bench.hears(A, asks);
    let settled = bench.config.clone();
    let next = with_lease(3, 900).prove("w").unwrap();
    for _ in 0..5 {
        bench.change(settled.toward(&next));
        bench.now += ms(1);
        bench.change(settled.clone());
        bench.now += ms(1);
    }
    assert!(bench.group().vote_left.unwrap().as_nanos() <= bench_timing(900));
}

fn bench_timing(lease: u64) -> u64 {
    let file = with_lease(3, lease);
    file.prove("w").unwrap().timing().vote().as_nanos()
}

#[test]
fn r22_who_changes_goes_by_the_shorter_lease_and_waits_for_the_longer() {
    let [short, long] = [450, 900].map(|lease| with_lease(3, lease).prove("a").unwrap());
    for config in [
        short.toward(&long),
        long.from(&short),
        long.toward(&short),
        short.from(&long),
    ] {
        assert_eq!(config.timing().lease(), short.timing().lease());
        assert_eq!(config.timing().vote(), long.timing().vote());
        assert_eq!(config.timing().quarantine(Span::ZERO), long.timing().vote());
        assert_eq!(
            config.timing().survive_after(),
            long.timing().survive_after()
        );
    }
    let [mut slow, fast] = [spec(3, MAJORITY), spec(3, MAJORITY)];
    slow.timing.interval = Span::from_millis(150);
    let [slow, fast] = [slow, fast].map(|file| file.prove("a").unwrap());
    for config in [fast.toward(&slow), slow.from(&fast), slow.toward(&fast)] {
        let timing = config.timing();
        assert_eq!(timing.interval(), fast.timing().interval());
        assert_eq!(timing.presume_after(), slow.timing().presume_after());
    }
}

#[test]
fn r22_what_cannot_be_changed_names_its_key() {
    let old = spec(3, MAJORITY).prove("a").unwrap();
    let mut other = spec(3, MAJORITY);
    other.cluster = "other".into();
    let (mut role, mut candidate) = (spec(3, MAJORITY), spec(3, MAJORITY));
    role.members[1].witness = true;
    role.members[2].witness = false;
    candidate.members[1].name = "c".into();
    let (mut slack, mut drift) = (spec(3, MAJORITY), spec(3, MAJORITY));
    slack.timing.guard_slack = Span::from_millis(4);
    drift.timing.drift_ppm = 999;
    for (file, key) in [
        (other, "cluster.name"),
        (role, "members.b"),
        (candidate, "members.b"),
        (slack, "timing.guard_slack"),
        (drift, "timing.drift_ppm"),
    ] {
        let e = old.path_to(&file.prove("a").unwrap()).unwrap_err();
        assert_eq!(e.key, key, "{e}");
    }
    // A majority of either must be of both, and a witness at another address is another one.
    let all = spec(5, MAJORITY);
    let mut moved = all.clone();
    for witness in moved.members.iter_mut().filter(|m| m.witness) {
        witness.addresses.push("192.0.2.9:6946".into());
    }
    let [all, moved] = [all, moved].map(|file| file.prove("a").unwrap());
    assert_eq!(all.path_to(&moved).unwrap_err().key, "members");
    let lone = spec(2, SURVIVOR).prove("a").unwrap();
    let five = spec(5, MAJORITY).prove("a").unwrap();
    for [from, to] in [[&lone, &five], [&five, &lone]] {
        let e = from.path_to(to).unwrap_err();
        assert_eq!(e.key, "members", "{e}");
    }
    for next in [&lone, &five] {
        assert_eq!(old.path_to(next).unwrap(), std::slice::from_ref(next));
    }
    let mut slow = spec(2, SURVIVOR);
    slow.timing.interval = Span::from_millis(300);
    slow.timing.lease = Span::from_millis(1_500);
    let e = lone.path_to(&slow.prove("a").unwrap()).unwrap_err();
    assert_eq!(e.key, "timing.interval", "{e}");
}

#[test]
fn r22_a_group_that_is_new_is_held_and_one_that_is_gone_is_not() {
    let mut two = spec(3, MAJORITY);
    two.groups.push(group("a-first", 51, "b")); // it comes first by name: the numbers change
    let mut w = World::holding(&spec(3, MAJORITY));
    w.operator(A, Command::Freeze);
    let before = w.role_changes();
    for m in [A, B, W] {
        w.reload(m, &two);
    }
    w.run(ms(1_000));
    assert_eq!((w.effective_at(X), w.effective_at(Y)), (vec![A], vec![B]));
    assert_eq!(w.role_changes(), before + 1, "B takes the new one");
    let seen = w.node(A).observe(&w.members[A].config, w.local(A));
    assert_eq!(
        seen.groups.iter().map(|g| g.frozen).collect::<Vec<_>>(),
        [false, true],
        "orders are of a group, not of a number"
    );
    for m in [A, B, W] {
        w.reload(m, &spec(3, MAJORITY));
    }
    w.run(ms(1_000));
    assert_eq!((w.effective_at(X), w.effective_at(Y)), (vec![A], vec![]));
    assert!(w.all_settled(&spec(3, MAJORITY)));
}

#[test]
fn r22_under_survivor_a_change_moves_nothing() {
    let mut next = spec(2, SURVIVOR);
    next.groups[0].addresses.push(Prefix::new(Y, 24));
    next.timing.lease = Span::from_millis(900);
    for order in [[A, B], [B, A]] {
        let mut w = World::holding(&spec(2, SURVIVOR));
        let before = w.role_changes();
        for m in order {
            w.reload(m, &next);
            w.run(ms(1_500));
        }
        assert!(w.all_settled(&next));
        assert_eq!((w.effective_at(X), w.effective_at(Y)), (vec![A], vec![A]));
        assert_eq!(w.role_changes(), before);
    }
}
