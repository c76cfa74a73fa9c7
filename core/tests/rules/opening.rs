//! what must be done before the gate of a new hold opens.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::config::{Failback, Spec};
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Input};
use onehold_core::observe::RoleName;
use onehold_core::time::Span;

fn preparing() -> Spec {
    let mut spec = spec(3, MAJORITY);
    spec.groups[0].prepares = true;
    spec
}

/// A candidate that has just taken hold by the witness's vote, and what it wanted done then.
fn mute_holder() -> (Alone, Vec<Effect>) {
    let mut bench = Alone::of(&preparing(), A);
    bench.hears(W, Statement::default());
    let asked_at = bench.now;
    bench.now += ms(1);
    let out = bench.hears(W, bench.grants(asked_at));
    assert_eq!(bench.group().role, RoleName::Holder);
    bench.now += ms(1);
    (bench, out)
}

fn prepared(bench: &mut Alone, done: bool) -> Vec<Effect> {
    bench.input(Input::Prepared { group: WEB, done }).0
}

fn is_prepare(effect: &Effect) -> bool {
    matches!(effect, Effect::Prepare { .. })
}

#[test]
fn r19_a_new_hold_stays_mute_until_it_is_prepared() {
    let (mut bench, out) = mute_holder();
    assert_eq!(out.iter().filter(|e| is_prepare(e)).count(), 1);
    assert_eq!(hold(&out), None);
    assert!(!announced(&out));
    assert!(
        sends_to(&out, B)[0].groups[0].holds,
        "the others hear a holder"
    );

    let out = bench.renewed(ms(300));
    assert_eq!(
        hold(&out),
        None,
        "it renews, and the kernel hears nothing of it"
    );
    assert!(!out.iter().any(is_prepare), "once for each hold");
    let left = bench.group().lease_left.expect("it holds").as_nanos();
    assert_eq!(left, ms(450));

    let out = prepared(&mut bench, true);
    assert_eq!(hold(&out), Some(bench.now + left));
    assert!(announced(&out));
    assert!(out.contains(&Effect::Report(Event::Opened { group: WEB })));
    assert!(
        hold(&bench.renewed(ms(100))).is_some(),
        "and goes on as any"
    );
    assert_eq!(prepared(&mut bench, true), [], "once");
}

#[test]
fn r19_what_is_mute_is_not_announced() {
    let (mut bench, _) = mute_holder();
    let (out, _) = bench.input(Input::ForeignClaim { group: WEB });
    assert!(!announced(&out));
    let out = bench.hears(B, Statement::default());
    assert!(!announced(&out), "one that comes back into hearing");
    assert!(announced(&prepared(&mut bench, true)));
}

#[test]
fn r19_one_that_cannot_be_prepared_lets_go() {
    let (mut bench, _) = mute_holder();
    let out = prepared(&mut bench, false);
    assert!(released(&out).is_some());
    let why = out.iter().find_map(|e| match e {
        Effect::Report(Event::Role { why, .. }) => Some(*why),
        _ => None,
    });
    assert_eq!(why, Some(Why::Unprepared));
    let release = released(&out).expect("a release");
    let group = WEB;
    bench.input(Input::Released { group, release }).1.unwrap();
    assert!(
        !bench.group().asks,
        "not before its kernel could serve again"
    );
    let eligible = true;
    bench.input(Input::Eligible { group, eligible }).1.unwrap();
    assert!(bench.group().asks);
}

#[test]
fn r19_a_lease_that_ends_before_it_is_prepared_is_over() {
    let (mut bench, _) = mute_holder();
    let out = bench.until(bench.now + ms(D));
    assert!(released(&out).is_some());
    assert_eq!(hold(&prepared(&mut bench, true)), None);
    assert_eq!(bench.group().role, RoleName::Releasing);
}

#[test]
fn r19_preparing_is_for_the_one_that_holds() {
    let mut bench = Alone::of(&preparing(), A);
    assert_eq!(prepared(&mut bench, true), []);
    assert_eq!(prepared(&mut bench, false), []);
    assert!(bench.group().eligible);
}

#[test]
fn r19_whoever_takes_over_is_mute_for_as_long_as_it_prepares() {
    let mut w = World::new(&preparing(), 7);
    w.preparing = ms(2_000);
    w.start_all();
    w.until_held_by(A, ms(3_000));
    w.crash(A);
    w.run(ms(2_000));
    assert_eq!(w.effective(), [0usize; 0]);
    assert_eq!(w.group(B).role, RoleName::Holder);
    w.until_held_by(B, ms(700));
    // The members differ in it: it is not digested.
    assert_eq!(
        preparing().prove("a").map(|c| c.digest()),
        spec(3, MAJORITY).prove("b").map(|c| c.digest())
    );
}

#[test]
fn r19_a_service_that_fails_while_it_is_prepared_moves_nothing() {
    let (mut bench, _) = mute_holder();
    bench.hears(B, asks());
    let out = bench.health(false);
    assert!(
        !bench.group().yields,
        "what is prepared may well be the service"
    );
    assert!(released(&out).is_none());
    bench.renewed(ms(50));
    prepared(&mut bench, true);
    let out = bench.hears(B, asks());
    assert!(released(&out).is_some(), "now it is in earnest");
}

#[test]
fn r19_what_is_mute_is_not_handed_back() {
    // The preferred one crashes more often than preparing takes: the other one must get to serve.
    let mut spec = preparing();
    spec.groups[0].failback_delay = Span::from_millis(1_000);
    let mut w = World::new(&spec, 7);
    w.start_all();
    w.until_held_by(A, ms(2_000));
    w.preparing = ms(6_000);
    let mut served = 0;
    for _ in 0..20 {
        w.crash(A);
        w.run(ms(300));
        w.start(A);
        for _ in 0..50 {
            w.run(ms(100));
            served += u64::from(!w.effective().is_empty());
        }
    }
    assert!(served > 200, "{served} of 1000\n{}", w.story());
}

#[test]
fn r19_failback_waits_until_it_is_prepared() {
    let mut bench = Alone::of(&preparing(), B);
    bench.hears(W, Statement::default());
    let asked_at = bench.now;
    bench.now += ms(1);
    bench.hears(W, bench.grants(asked_at));
    assert_eq!(bench.group().role, RoleName::Holder);
    for _ in 0..5 {
        bench.now += ms(1);
        bench.hears(A, asks());
        assert!(!bench.group().yields);
    }
    let mut out = prepared(&mut bench, true);
    bench.now += ms(1);
    out.extend(bench.hears(A, asks()));
    assert!(released(&out).is_some(), "and then it is as ever");
}

#[test]
fn r19_of_two_holders_the_one_that_serves_stays() {
    // Under `survivor` the preferred one takes hold in a cut, and is still mute when it heals.
    let mut spec = spec(2, SURVIVOR);
    spec.groups[0].prepares = true;
    spec.groups[0].failback = Failback::Manual;
    let mut w = World::new(&spec, 7);
    w.check_two = false;
    w.start_all();
    w.run(ms(3_000));
    w.operator(A, Command::Switch);
    w.run(ms(500));
    assert_eq!(w.effective(), [B]);
    w.preparing = ms(60_000);
    w.cut_both(A, B);
    w.run(ms(1_000));
    assert_eq!(w.group(A).role, RoleName::Holder);
    w.heal();
    for _ in 0..100 {
        w.run(ms(10));
        assert_eq!(w.effective(), [B], "{}", w.story());
    }
    assert_ne!(w.group(A).role, RoleName::Holder);
}
