//! R-12 freeze and thaw: nothing moves by itself.

use crate::world::alone::*;
use crate::world::*;
use onehold_core::advert::Statement;
use onehold_core::effect::{Effect, Event, Why};
use onehold_core::input::{Command, Input, Refusal};

/// `a` holds, and the operator said freeze on this candidate.
fn frozen(on: usize) -> World {
    let mut w = World::holding(&spec(3, MAJORITY));
    w.operator(on, Command::Freeze);
    w.run(ms(130)); // not when an advert is due, for two of one instant are one
    w
}

#[test]
fn r12_a_sick_holder_stays_while_either_candidate_is_frozen() {
    for on in [A, B] {
        let mut w = frozen(on);
        w.health(A, false);
        w.run(ms(5_000));
        assert_eq!(w.effective(), [A], "frozen on {on}");
        w.operator(on, Command::Thaw);
        w.until_held_by(B, ms(300));
        assert_eq!(w.last_why(A), Some(Why::Unready));
    }
}

#[test]
fn r12_a_sick_holder_lets_go_of_no_frozen_group_that_says_so() {
    let mut w = World::holding(&{
        let mut spec = spec(3, MAJORITY);
        spec.groups[0].release_when_unhealthy = true;
        spec
    });
    w.crash(B);
    w.operator(A, Command::Freeze);
    w.health(A, false);
    w.run(ms(3_000));
    assert_eq!(w.effective(), [A]);
    w.operator(A, Command::Thaw);
    w.run(ms(300));
    assert_eq!(w.effective(), [0usize; 0]);
    assert_eq!(w.last_why(A), Some(Why::Unhealthy));
}

#[test]
fn r12_failures_fail_over_from_a_frozen_holder_and_nothing_comes_back_before_thaw() {
    for on in [A, B] {
        let mut w = frozen(on);
        w.crash(A);
        w.until_held_by(B, ms(600));
        w.start(A);
        if on == A {
            w.operator(A, Command::Freeze); // it is a standing order
        }
        w.run(ms(5_000));
        assert_eq!(w.effective(), [B], "frozen on {on}");
        w.operator(on, Command::Thaw);
        w.until_held_by(A, ms(300));
        assert_eq!(w.last_why(B), Some(Why::Failback));
    }
    for kernel in [true, false] {
        let mut w = frozen(B);
        if kernel {
            let (group, eligible) = (WEB, false);
            w.input(A, Input::Eligible { group, eligible });
        } else {
            w.isolate(A);
        }
        w.until_held_by(B, ms(1_000));
    }
}

#[test]
fn r12_what_an_operator_orders_moves_a_frozen_group() {
    for on in [A, B] {
        let mut w = frozen(on);
        w.operator(A, Command::Switch);
        w.until_held_by(B, ms(50));
        w.operator(A, Command::Resume);
        w.run(ms(2_030));
        assert_eq!(w.effective(), [B], "it does not come back by itself");
        w.operator(B, Command::Standby);
        w.until_held_by(A, ms(50));
        w.operator(A, Command::Stop);
        w.run(ms(500));
        assert_eq!(w.effective(), [0usize; 0], "b is on standby");
    }
}

#[test]
fn r12_freeze_is_a_standing_order_beside_the_others_and_resume_leaves_it() {
    let mut bench = Alone::new(3, MAJORITY, B);
    let standing = |bench: &Alone| bench.node.standing_orders().next().expect("one group");
    for (said, left) in [
        (Command::Freeze, &[Command::Freeze][..]),
        (Command::Standby, &[Command::Standby, Command::Freeze]),
        (Command::Resume, &[Command::Freeze]),
        (Command::StayAway, &[Command::StayAway, Command::Freeze]),
        (Command::Thaw, &[Command::StayAway]),
    ] {
        bench.operator(said);
        assert_eq!(&standing(&bench)[..], left, "{said:?}");
    }
    let group = WEB;
    let refusal = Refusal::NotFrozen;
    let refused = Effect::Report(Event::CommandRefused { group, refusal });
    assert!(bench.operator(Command::Thaw).contains(&refused));
}

#[test]
fn r12_a_frozen_candidate_says_so_at_once() {
    let mut bench = Alone::new(3, MAJORITY, B);
    let says = |out: &[Effect], to| sends_to(out, to).first().map(|a| a.groups[0].frozen);
    for (said, frozen) in [(Command::Freeze, true), (Command::Thaw, false)] {
        let out = bench.operator(said);
        assert_eq!([A, W].map(|to| says(&out, to)), [Some(frozen); 2]);
    }
}

/// What a lost candidate once said counts no more; what the witness says never did.
#[test]
fn r12_only_a_candidate_that_is_heard_keeps_the_other_from_moving() {
    let sick = || {
        let mut bench = Alone::holding(&spec(3, MAJORITY), A);
        bench.health(false);
        bench
    };
    let says = Statement {
        frozen: true,
        ..ready()
    };
    let mut bench = sick();
    bench.hears(
        W,
        Statement {
            ready: false,
            ..says
        },
    );
    bench.hears(B, ready());
    assert!(bench.group().yields);
    let mut bench = sick();
    bench.hears(B, says);
    assert!(!bench.group().yields);
    bench.renewed(ms(D / 2));
    bench.renewed(ms(D / 2));
    bench.hears(B, ready());
    assert!(bench.group().yields);
}
