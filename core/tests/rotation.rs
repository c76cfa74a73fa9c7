//! Keys are rotated while a cluster runs: whole members with their keys, over datagrams. Nothing
//! moves in whatever order the files are changed, and members that share a key never lose each
//! other for longer than D.

mod world;

use onehold_core::Node;
use onehold_core::advert::{Incarnation, MemberId};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::Effect;
use onehold_core::input::Input;
use onehold_core::keyring::Keyring;
use onehold_core::time::{LocalTime, Span};
use proptest::prelude::*;
use std::collections::VecDeque;
use world::{A, B, MAJORITY, SURVIVOR, W, spec};

/// Milliseconds of a tick; a datagram travels for one.
const TICK: u64 = 2;

fn keys(of: &[u8]) -> Keys {
    let mut keys = of.iter().map(|n| Key::new(&[*n; 16]));
    Keys::new(keys.next().unwrap(), keys.collect())
}

struct Member {
    config: Config,
    node: Option<Node>,
    starts: u64,
    started: u64,
    /// In its file, and in force.
    file: Vec<u8>,
    keys: Keys,
    ring: Keyring,
    /// Its kernel's deadline.
    gate: LocalTime,
}

struct World {
    ms: u64,
    members: Vec<Member>,
    wire: VecDeque<(usize, Vec<u8>)>,
    seed: u64,
    /// In percent.
    loss: u64,
}

impl World {
    /// All run and have settled: A holds.
    fn settled(arbitration: Arbitration, file: &[u8]) -> Self {
        let size = if arbitration == SURVIVOR { 2 } else { 3 };
        let spec = spec(size, arbitration);
        let member = |name: &&str| Member {
            config: spec.prove(name).unwrap(),
            node: None,
            starts: 0,
            started: 0,
            file: file.to_vec(),
            keys: keys(file),
            ring: Keyring::default(),
            gate: LocalTime::from_nanos(0),
        };
        let mut w = Self {
            ms: 0,
            members: ["a", "b", "w"].iter().take(size).map(member).collect(),
            wire: VecDeque::new(),
            seed: 1,
            loss: 0,
        };
        (0..size).for_each(|m| w.start(m));
        w.run(2_000);
        assert!(w.holds(A), "it begins well");
        w
    }

    fn now(&self) -> LocalTime {
        LocalTime::from_nanos(1 << 40).plus(Span::from_millis(self.ms))
    }

    fn start(&mut self, m: usize) {
        let now = self.now();
        let of = &mut self.members[m];
        of.starts += 1;
        of.started = self.ms;
        let incarnation = Incarnation(m as u64 * 1_000 + of.starts);
        of.node = Some(Node::start(&of.config, incarnation, now, Span::ZERO));
        (of.keys, of.ring) = (keys(&of.file), Keyring::default());
    }

    /// As `onehold reload` does: nobody may be cut off.
    fn reload(&mut self, m: usize) -> bool {
        let of = &mut self.members[m];
        let new = keys(&of.file);
        let stays = |id| new.accepted().any(|other| other == id);
        let goes = !of.keys.accepted().all(stays);
        let may = !goes || of.config.peers().all(|p| of.ring.shares(p, &new));
        if may {
            of.keys = new;
        }
        may
    }

    fn holds(&self, m: usize) -> bool {
        self.members[m].gate > self.now()
    }

    fn are_two_way(&self) -> bool {
        self.members.iter().all(|of| {
            let node = of.node.as_ref().unwrap();
            let peers = node.observe(&of.config, self.now()).peers;
            peers.iter().all(|peer| peer.two_way)
        })
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / TICK {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.ms += TICK;
        for _ in 0..self.wire.len() {
            let (to, bytes) = self.wire.pop_front().unwrap();
            let of = &mut self.members[to];
            if let Ok((said, accepts)) = auth::open_named(&of.keys, of.config.cluster(), &bytes) {
                let (from, incarnation) = (said.get().from, said.get().incarnation);
                if self.turn(to, Input::Received(said)) {
                    let now = self.now();
                    let ring = &mut self.members[to].ring;
                    ring.heard(now, from, incarnation, &accepts);
                }
            }
        }
        for m in 0..self.members.len() {
            self.turn(m, Input::Wake);
        }
        let holders = (0..self.members.len()).filter(|m| self.holds(*m)).count();
        assert!(holders < 2, "two hold at {} ms", self.ms);
    }

    /// Whether a datagram was accepted.
    fn turn(&mut self, m: usize, input: Input) -> bool {
        let (now, mut inputs, mut accepted) = (self.now(), VecDeque::from([input]), true);
        while let Some(input) = inputs.pop_front() {
            let of = &mut self.members[m];
            let Some(node) = &mut of.node else {
                return false;
            };
            let mut effects = vec![];
            accepted &= node.handle(&of.config, now, input, &mut effects).is_ok();
            for effect in effects {
                match effect {
                    Effect::Send { to, advert } => self.send(m, to, &advert),
                    Effect::HoldUntil { deadline, .. } => self.members[m].gate = deadline,
                    Effect::Release { group, release } => {
                        self.members[m].gate = LocalTime::from_nanos(0);
                        inputs.push_back(Input::Released { group, release });
                    }
                    Effect::Prepare { group } => {
                        inputs.push_back(Input::Prepared { group, done: true });
                    }
                    Effect::EndIncarnation
                    | Effect::Announce { .. }
                    | Effect::Probe { .. }
                    | Effect::Report(_) => {}
                }
            }
        }
        accepted
    }

    fn send(&mut self, m: usize, to: MemberId, advert: &onehold_core::advert::Advert) {
        let (now, of) = (self.now(), &self.members[m]);
        let vote = of.config.timing().vote();
        for key in of
            .ring
            .sealing(&of.keys, now, vote, to, advert.to_incarnation)
        {
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if self.seed >> 33 >= self.loss * (1 << 31) / 100 {
                let mut bytes = vec![];
                auth::seal_with(key, &of.keys, advert, &mut bytes);
                self.wire.push_back((usize::from(to.0), bytes));
            }
        }
    }
}

/// How a member comes by its new file.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The new key stands first, as it should.
    first: bool,
    /// It is restarted, and is away for so long; else it reads its file again.
    restart: Option<u64>,
    /// How long after the step before.
    after: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let restart = prop::option::of(0..800_u64);
    (any::<bool>(), restart, 0..700_u64).prop_map(|(first, restart, after)| Step {
        first,
        restart,
        after,
    })
}

/// In which order, and how, the members go through one round.
fn round() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let steps = [step(), step(), step()];
    (Just([A, B, W]).prop_shuffle(), steps)
        .prop_map(|(order, steps)| order.into_iter().zip(steps).collect())
}

/// A round of a rotation. A holds all the while; no vote is missing but that of one that is away.
fn go_round(w: &mut World, round: &[(usize, Step)], file: impl Fn(bool) -> Vec<u8>) {
    let held = |w: &mut World, ms: u64| {
        for _ in 0..ms / TICK {
            w.tick();
            assert!(w.holds(A), "A does not hold at {} ms", w.ms);
        }
    };
    let mut back: Option<(usize, u64)> = None;
    let comes_back = |w: &mut World, back: &mut Option<(usize, u64)>| {
        if let Some((m, at)) = back.take() {
            held(w, at.saturating_sub(w.ms));
            w.start(m);
        }
    };
    let size = w.members.len();
    for (m, step) in round.iter().filter(|(m, _)| *m < size) {
        held(w, step.after);
        if back.is_some_and(|(_, at)| at <= w.ms) {
            comes_back(w, &mut back);
        }
        w.members[*m].file = file(step.first);
        match step.restart {
            // The holder's own restart moves the address, as it must.
            Some(away) if *m != A => {
                comes_back(w, &mut back);
                held(w, 1_500); // what was restarted before votes again
                w.members[*m].node = None;
                back = Some((*m, w.ms + away));
            }
            _ => {
                comes_back(w, &mut back);
                // Who has come back says what it has in some intervals.
                let begun = w.ms;
                while !w.reload(*m) {
                    held(w, TICK);
                    assert!(w.ms < begun + 1_500, "{m} waits for a key");
                }
            }
        }
    }
    comes_back(w, &mut back);
    held(w, 1_500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_order_of_a_rotation_moves_anything(
        alone: bool,
        rounds in [round(), round()],
    ) {
        let mut w = World::settled(if alone { SURVIVOR } else { MAJORITY }, &[1]);
        go_round(&mut w, &rounds[0], |first| if first { vec![2, 1] } else { vec![1, 2] });
        go_round(&mut w, &rounds[1], |_| vec![2]);
        prop_assert!(w.are_two_way());
    }

    /// Any keys at any time: all that the members always have in common is one of them.
    #[test]
    fn who_shares_a_key_finds_each_other_after_anything(
        loss in 0..60_u64,
        alone: bool,
        steps in prop::collection::vec(
            (0..3_usize, prop::sample::subsequence(vec![1, 2, 3, 4, 5], 0..=3), 0..4_usize, step()),
            1..20,
        ),
    ) {
        let mut w = World::settled(if alone { SURVIVOR } else { MAJORITY }, &[9]);
        w.loss = loss;
        for (m, others, at, step) in steps.into_iter().filter(|(m, ..)| *m < 2 + usize::from(!alone)) {
            let mut file = others;
            file.insert(at.min(file.len()), 9);
            w.members[m].file = file;
            match step.restart {
                Some(away) => {
                    // A lease of its earlier process is over before it holds again.
                    w.members[m].node = None;
                    w.members[m].gate = LocalTime::from_nanos(0);
                    w.run(away);
                    w.start(m);
                }
                None => w.members[m].keys = keys(&w.members[m].file),
            }
            w.run(step.after);
        }
        w.loss = 0;
        w.run(2_500);
        prop_assert!(w.are_two_way());
        prop_assert!(w.holds(A) || w.holds(B));
    }
}

#[test]
fn two_that_know_nothing_of_each_other_meet_under_any_key_that_they_share() {
    for (a, b) in [
        (&[2, 1][..], &[1][..]),
        (&[2, 1], &[3, 1]),
        (&[4, 3, 2, 1], &[1, 5, 6, 7]),
        (&[4, 3, 2, 1], &[5, 6, 7, 1]),
    ] {
        let mut w = World::settled(SURVIVOR, &[1]);
        for (m, file) in [(A, a), (B, b)] {
            w.members[m].file = file.to_vec();
            w.members[m].gate = LocalTime::from_nanos(0);
            w.start(m);
        }
        w.run(300);
        assert!(w.are_two_way(), "{a:?} and {b:?}");
    }
}

/// Each seals with a key that the other has just lost: both are not heard until, after D, they try
/// every key.
#[test]
fn two_that_know_what_is_no_longer_true_meet_again_after_d() {
    let mut w = World::settled(MAJORITY, &[3, 2, 1]);
    for (m, file) in [(A, &[2, 1]), (B, &[3, 1])] {
        w.members[m].keys = keys(file);
    }
    w.run(300);
    let a = &w.members[A];
    let seen = a.node.as_ref().unwrap().observe(&a.config, w.now()).peers;
    let silent = seen[0].heard_ago.unwrap() >= Span::from_millis(300);
    assert!(silent, "each seals with what the other has lost");
    w.run(460);
    assert!(w.are_two_way());
}

#[test]
fn one_that_was_dead_meanwhile_comes_back_with_the_new_key_alone() {
    let mut w = World::settled(MAJORITY, &[1]);
    w.members[B].node = None;
    for file in [&[2, 1][..], &[2]] {
        for m in [A, W] {
            w.members[m].file = file.to_vec();
            let may = w.reload(m);
            assert_eq!(may, file != [2], "B has only the key that goes");
        }
        w.run(500);
    }
    for m in [A, W] {
        w.members[m].keys = keys(&[2]); // `--now`
    }
    w.run(500);
    w.members[B].file = vec![2];
    w.start(B);
    w.run(300);
    assert!(w.are_two_way());
    assert!(w.holds(A));
}
