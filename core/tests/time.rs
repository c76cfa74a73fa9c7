//! A node's behaviour depends on differences of times only, and on nothing but its inputs.

mod world;

use onehold_core::Node;
use onehold_core::advert::{Advert, Incarnation};
use onehold_core::auth::Authentic;
use onehold_core::config::{Arbitration, Spec};
use onehold_core::effect::Effect;
use onehold_core::input::{Command, Input};
use onehold_core::time::{LocalTime, Span};
use proptest::prelude::*;
use world::*;

/// The incarnation of the node that hears a conversation.
const MINE: Incarnation = Incarnation(9);

/// Three members, or two alone.
fn cluster(arbitration: Arbitration) -> Spec {
    let size = if arbitration == MAJORITY { 3 } else { 2 };
    spec(size, arbitration)
}

/// Moves every instant of an advert: all clocks are shifted alike.
fn shift_advert(mut a: Advert, by: Span) -> Advert {
    a.instants(|_, t| *t = t.plus(by));
    a
}

/// An advert without what no rule reads: `echo_age`, and when the asks of others than its receiver
/// were sent.
fn without_hearsay(mut a: Advert) -> Advert {
    a.echo_age = Span::ZERO;
    let to = a.to;
    let votes = a.groups.iter_mut().filter_map(|s| s.vote.as_mut());
    votes
        .filter(|b| b.member != to)
        .for_each(|b| b.asked_at = LocalTime::from_nanos(0));
    a
}

fn shift_effect(e: Effect, by: Span) -> Effect {
    match e {
        Effect::HoldUntil { group, deadline } => Effect::HoldUntil {
            group,
            deadline: deadline.plus(by),
        },
        Effect::Send { to, advert } => Effect::Send {
            to,
            advert: shift_advert(advert, by),
        },
        other => other,
    }
}

/// A lossy conversation of three nodes, as inputs to another incarnation of one of them.
fn conversation(arbitration: Arbitration, seed: u64, turns: usize) -> Vec<(u64, Input)> {
    let mut w = World::new(&cluster(arbitration), seed);
    w.check_two = false;
    w.record = true;
    w.start_all();
    w.conditions.loss = 100;
    w.conditions.most_delay = ms(5);
    w.run(ms(3_000));
    // All adverts to `a`, at times at which they could have arrived, and a few other inputs.
    let mut inputs = Vec::new();
    for advert in w.recorded.clone() {
        if advert.to == id(A) {
            let from = usize::from(advert.from.0);
            let sent = advert.sent_at.as_nanos() - w.local(from).as_nanos().wrapping_sub(w.now);
            let at = sent + 300_000;
            let to_this_one = Advert {
                to_incarnation: Some(MINE),
                echo: Some(LocalTime::from_nanos(at.saturating_sub(ms(1)))),
                ..advert
            };
            inputs.push((at, Input::Received(Authentic::assumed(to_this_one))));
        }
    }
    for _ in 0..turns {
        let at = w.below(ms(3_000));
        let input = match w.below(6) {
            0 => Input::Operator {
                group: WEB,
                command: Command::Switch,
            },
            1 => Input::Health {
                group: WEB,
                healthy: w.chance(500),
            },
            2 => Input::ForeignClaim { group: WEB },
            _ => Input::Wake,
        };
        inputs.push((at, input));
    }
    inputs.sort_by_key(|(at, _)| *at);
    inputs
}

fn arbitration() -> impl Strategy<Value = Arbitration> {
    prop::sample::select(vec![MAJORITY, SURVIVOR])
}

fn wakes_up_early(seed: u64, arbitration: Arbitration) {
    let mut w = World::new(&cluster(arbitration), seed);
    w.check_two = false;
    w.start_all();
    w.conditions.loss = 200;
    w.conditions.most_delay = ms(30);
    for _ in 0..40 {
        let pause = w.below(ms(150));
        w.run(pause);
        match w.below(6) {
            0 => w.operator(A, Command::Switch),
            1 => w.operator(B, Command::Switch),
            2 => w.cut_both(A, B),
            3 => w.heal(),
            _ => {}
        }
        for m in 0..w.members.len() {
            let config = &w.members[m].config;
            let mut node = w.node(m).clone();
            let (now, due) = (w.local(m), node.poll_timeout(config).unwrap());
            assert!(due > now, "a deadline that is over stays due forever");
            let between = now.as_nanos() + (due.as_nanos() - now.as_nanos()) / 2;
            let mut out = Vec::new();
            node.handle(
                config,
                LocalTime::from_nanos(between),
                Input::Wake,
                &mut out,
            )
            .unwrap();
            assert_eq!(&node, w.node(m));
            assert_eq!(out, vec![]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// step ∘ shift = shift ∘ step, for adverts, effects and the next deadline.
    #[test]
    fn shifting_all_times_changes_nothing(
        seed in any::<u64>(),
        by in 0u64..u64::from(u32::MAX) * 1_000,
        arbitration in arbitration(),
    ) {
        let by = Span::from_nanos(by);
        let config = cluster(arbitration).prove("a").unwrap();
        let start = LocalTime::from_nanos(0);
        let mut here = Node::start(&config, MINE, start, Span::ZERO);
        let mut there = Node::start(&config, MINE, start.plus(by), Span::ZERO);
        for (at, input) in conversation(arbitration, seed, 40) {
            let shifted = match input.clone() {
                Input::Received(a) => Input::Received(Authentic::assumed(shift_advert(a.into_inner(), by))),
                other => other,
            };
            let (mut out, mut out_there) = (Vec::new(), Vec::new());
            let now = LocalTime::from_nanos(at);
            let r = here.handle(&config, now, input, &mut out);
            let r_there = there.handle(&config, now.plus(by), shifted, &mut out_there);
            let out: Vec<Effect> = out.into_iter().map(|e| shift_effect(e, by)).collect();
            prop_assert_eq!(out, out_there);
            prop_assert_eq!(r, r_there);
            let (due, due_there) = (here.poll_timeout(&config), there.poll_timeout(&config));
            prop_assert_eq!(due.map(|d| d.plus(by)), due_there);
            // And `instants` visits every instant there is.
            let mut moved = here.clone();
            moved.instants(&config, |_, t| *t = t.plus(by));
            prop_assert_eq!(&moved, &there);
        }
    }

    /// What the model checker leaves out of adverts is read by no rule.
    #[test]
    fn hearsay_changes_nothing(seed in any::<u64>(), arbitration in arbitration()) {
        let config = cluster(arbitration).prove("a").unwrap();
        let start = LocalTime::from_nanos(0);
        let mut all = Node::start(&config, MINE, start, Span::ZERO);
        let mut less = all.clone();
        for (at, input) in conversation(arbitration, seed, 40) {
            let now = LocalTime::from_nanos(at);
            let (with, without) = match input {
                Input::Received(a) => {
                    let with = a.into_inner();
                    let without = without_hearsay(with.clone());
                    (Input::Received(Authentic::assumed(with)), Input::Received(Authentic::assumed(without)))
                }
                other => (other.clone(), other),
            };
            let (mut out, mut out_less) = (Vec::new(), Vec::new());
            let r = all.handle(&config, now, with, &mut out);
            prop_assert_eq!(r, less.handle(&config, now, without, &mut out_less));
            prop_assert_eq!(out, out_less);
            prop_assert_eq!(all.poll_timeout(&config), less.poll_timeout(&config));
        }
    }

    /// A wake-up before `poll_timeout` changes nothing and says nothing: nobody needs to call
    /// early, and it does no harm.
    #[test]
    fn an_early_wake_up_changes_nothing(seed in any::<u64>(), arbitration in arbitration()) {
        wakes_up_early(seed, arbitration);
    }
}

/// a candidate that stops resting asks in the same turn, and its back-off counts from there.
#[test]
fn r10_back_off_counts_from_the_turn_in_which_it_asks() {
    for seed in [
        14_481_023_193_796_457_813,
        667_154_758_360_028_204,
        15_440_023_474_817_915_254,
    ] {
        wakes_up_early(seed, MAJORITY);
    }
}
