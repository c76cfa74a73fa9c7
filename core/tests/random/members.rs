//! members that come and go while the others run.

use super::world::changes::with;
use super::world::*;
use super::{calm, cases, drift, fault, pause_and_resume, stormy};
use onehold_core::config::Spec;
use onehold_core::input::Command;
use onehold_core::time::Span;
use proptest::prelude::*;

/// Files of which each can follow another with other members: two alone, or with a witness or three,
/// witnesses in each other's place, and all reached otherwise.
fn memberships() -> Vec<Spec> {
    let mut longer = with(&["x"], MAJORITY);
    longer.timing.lease = Span::from_millis(700);
    let mut elsewhere = with(&["w"], MAJORITY);
    for member in &mut elsewhere.members {
        member.addresses = vec![format!("{}.elsewhere", member.name)];
    }
    vec![
        with(&["w"], MAJORITY),
        with(&["x"], MAJORITY),
        elsewhere,
        with(&["w", "x", "y"], MAJORITY),
        with(&[], MAJORITY),
        with(&[], SURVIVOR),
        with(&["A-first"], MAJORITY),
        longer,
    ]
}

/// S1 while members come and go, with every fault. A machine that is no member any more goes
/// on by the last file that named it, until it is stopped.
fn members_changing(seed: u64) {
    let mut files = memberships();
    files.retain(|file| file.arbitration == MAJORITY);
    let mut w = World::of(&files, seed);
    w.record = true;
    (w.dies_in_turn, w.pauses_in_turn) = (2, 2);
    drift(&mut w);
    let size = w.members.len();
    let few = 2 + w.below(files.len() as u64 - 1);
    let first = files[w.below(few) as usize].clone();
    for m in 0..size {
        w.start_with(m, &first);
    }
    w.run(ms(1_000));
    for _ in 0..80 {
        if w.chance(100) {
            stormy(&mut w);
        }
        let file = files[w.below(few) as usize].clone();
        let m = w.below(size as u64) as usize;
        match w.below(5) {
            0 => fault(&mut w, true),
            1 => w.reload(m, &file),
            2 if w.is_down(m) => w.start_with(m, &file),
            3 if m > 1 => {
                w.kill(m); // a witness that goes, or comes by another file
                w.start_with(m, &file);
            }
            _ => {
                for m in 0..size {
                    w.reload(m, &file);
                    let pause = w.below(ms(150));
                    w.run(pause);
                }
            }
        }
        let pause = w.below(ms(200));
        w.run(pause);
    }
    let last = files[w.below(few) as usize].clone();
    calm(&mut w);
    for m in 0..size {
        w.crash(m); // members that came from different files
        w.start_with(m, &last);
    }
    w.run(ms(2_000));
    assert!(w.all_settled(&last), "{}", w.story());
    w.heal();
    w.run(ms(4_000));
    assert_eq!(w.effective().len(), 1, "one holder\n{}", w.story());
}

/// The same with the network cut, or a candidate gone, within the few ms that a change takes.
fn members_cut(seed: u64) {
    let mut files = memberships();
    files.retain(|file| file.arbitration == MAJORITY);
    let mut w = World::of(&files, seed);
    (w.conditions.least_delay, w.conditions.most_delay) = (1, 1 + w.below(ms(2)));
    let size = w.members.len();
    let few = 2 + w.below(files.len() as u64 - 1);
    let mut at = w.below(few);
    for m in 0..size {
        w.start_with(m, &files[at as usize]);
    }
    w.run(ms(1_000));
    for _ in 0..12 {
        let before = files[at as usize].clone();
        at = w.below(few);
        let next = files[at as usize].clone();
        // Witnesses that come are there before, most of the time; those that go stay for a while.
        for m in 2..size {
            if !w.is_of(m, &before) && w.chance(900) {
                w.kill(m);
                w.start_with(m, &next);
            }
        }
        w.run(ms(600));
        if w.chance(300) {
            w.operator(w.effective().first().copied().unwrap_or(A), Command::Switch);
        }
        let mut order: Vec<usize> = (0..size).filter(|m| w.is_of(*m, &before)).collect();
        let first = w.below(order.len() as u64) as usize;
        order.rotate_left(first);
        for m in order {
            w.reload(m, &next);
            let pause = w.below(ms(2));
            w.run(pause);
        }
        for _ in 0..w.below(4) {
            let pause = w.below(ms(3));
            w.run(pause);
            let m = w.below(2) as usize;
            match w.below(8) {
                0..3 => w.cut_both(A, B),
                3 => w.cut(m, 1 - m),
                4 => w.isolate(m),
                5 => w.operator(m, Command::Switch),
                6 => w.kill(m),
                _ => w.reload(m, &before),
            }
        }
        let pause = w.below(ms(1_500));
        w.run(pause);
        for m in 0..2 {
            let file = if w.chance(500) { &before } else { &next };
            w.start_with(m, file);
        }
        let pause = w.below(ms(1_500));
        w.run(pause);
        w.heal();
        for m in 0..2 {
            w.operator(m, Command::Resume);
            w.reload(m, &next);
        }
        w.run(ms(1_000));
        for m in 0..size {
            if !w.all_settled(&next) && w.is_of(m, &next) {
                w.crash(m); // members that came from different files
                w.start_with(m, &next);
            }
        }
        w.run(ms(1_500));
        assert_eq!(w.effective().len(), 1, "one holder\n{}", w.story());
    }
}

/// S2: from two alone to two and a witness, and back, while processes die and are paused; every
/// message gets through in time.
fn members_from_alone(seed: u64) {
    let files = memberships();
    let alone = files.iter().position(|file| file.arbitration == SURVIVOR);
    let files = [0, alone.expect("two alone"), 1].map(|at| files[at].clone());
    let mut w = World::of(&files, seed);
    (w.conditions.least_delay, w.conditions.most_delay) = (1, 1 + w.below(ms(20)));
    let size = w.members.len();
    let mut at = w.below(3) as usize;
    for m in 0..size {
        w.start_with(m, &files[at]);
    }
    w.run(ms(1_000));
    for _ in 0..8 {
        let before = files[at].clone();
        at = (at + 1 + w.below(2) as usize) % 3;
        let next = files[at].clone();
        for m in 2..size {
            if !w.is_of(m, &before) {
                w.kill(m);
                w.start_with(m, &next);
            }
        }
        w.run(ms(600));
        let first = w.below(2) as usize;
        for m in [first, 1 - first, 2, 3] {
            let was = w.effective();
            w.reload(m, &next);
            let pause = w.below(ms(3));
            w.run(pause);
            assert_eq!(w.effective(), was, "a change moves nothing\n{}", w.story());
        }
        let was = w.effective();
        w.run(ms(200)); // one that dies before keeps the other waiting
        assert_eq!(w.effective(), was, "a change moves nothing\n{}", w.story());
        let m = w.below(2) as usize;
        match w.below(5) {
            0 => {
                w.crash(m);
                w.run(ms(2_000));
                assert_eq!(w.effective(), [1 - m], "{}", w.story());
                w.start(m);
            }
            1 => {
                w.kill(m);
                let pause = w.below(ms(900));
                w.run(pause);
                w.start(m);
            }
            2 => pause_and_resume(&mut w, m),
            3 => w.operator(m, Command::Switch),
            _ => {}
        }
        w.run(ms(2_000));
        w.operator(m, Command::Resume);
        assert_eq!(w.effective().len(), 1, "one holder\n{}", w.story());
        assert!(w.all_settled(&next), "{}", w.story());
    }
}

proptest! {
    // A smaller seed is not a simpler run, so nothing is shrunk.
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })]

    #[test]
    fn majority_never_two_while_members_change(seed in any::<u64>()) {
        members_changing(seed);
    }

    #[test]
    fn never_two_while_a_witness_comes_and_goes(seed in any::<u64>()) {
        members_from_alone(seed);
    }

    #[test]
    fn majority_never_two_when_cut_while_members_change(seed in any::<u64>()) {
        members_cut(seed);
    }
}
