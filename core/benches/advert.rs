//! Nanoseconds per advert: `cargo bench -p onehold-core`.

use divan::{Bencher, black_box};
use onehold_core::Node;
use onehold_core::advert::{
    Advert, Ballot, Change, ClusterId, ConfigDigest, Incarnation, MAX_GROUPS, MemberId, Statement,
};
use onehold_core::auth::{self, Authentic, Key, Keys};
use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::input::Input;
use onehold_core::lease::TimingSpec;
use onehold_core::time::{LocalTime, Span};

/// One group is the usual case, the last is the most.
const GROUPS: [usize; 3] = [1, 16, MAX_GROUPS];

fn main() {
    divan::main();
}

#[divan::bench(args = GROUPS)]
fn sealed(bencher: Bencher<'_, '_>, groups: usize) {
    let (keys, advert) = (keys(), advert(groups));
    let mut out = Vec::new();
    bencher.bench_local(|| auth::seal(&keys, black_box(&advert), black_box(&mut out)));
}

#[divan::bench(args = GROUPS)]
fn opened(bencher: Bencher<'_, '_>, groups: usize) {
    let (keys, advert) = (keys(), advert(groups));
    let mut bytes = Vec::new();
    auth::seal(&keys, &advert, &mut bytes);
    bencher.bench_local(|| auth::open(&keys, advert.cluster, black_box(&bytes)));
}

/// What a forged datagram costs its receiver.
#[divan::bench(args = GROUPS)]
fn refused(bencher: Bencher<'_, '_>, groups: usize) {
    let (keys, advert) = (keys(), advert(groups));
    let mut bytes = Vec::new();
    auth::seal(&keys, &advert, &mut bytes);
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bencher.bench_local(|| auth::open(&keys, advert.cluster, black_box(&bytes)));
}

/// One advert of a peer handled by a holder, the answer to it included.
#[divan::bench(args = GROUPS)]
fn handled(bencher: Bencher<'_, '_>, groups: usize) {
    let member = |name: &str, witness| MemberSpec {
        name: name.into(),
        witness,
        addresses: vec![],
    };
    let group = |n: usize| {
        GroupSpec::new(
            format!("g{n:02}"),
            vec![Prefix::new([10, 0, 0, u8::try_from(n).unwrap()], 32)],
            "a",
        )
    };
    let spec = Spec {
        cluster: "bench".into(),
        members: vec![member("a", false), member("b", false), member("w", true)],
        groups: (0..groups).map(group).collect(),
        arbitration: Arbitration::Majority,
        timing: TimingSpec::default(),
    };
    let config = spec.prove("a").unwrap();
    let mut now = LocalTime::from_nanos(0);
    let mut node = Node::start(&config, Incarnation(1), now, Span::ZERO);
    let mut advert = Advert {
        to_incarnation: Some(Incarnation(1)),
        ..advert(groups)
    };
    (advert.cluster, advert.config) = (config.cluster(), config.digest());
    (advert.from, advert.to) = (MemberId(2), MemberId(0));
    let mut out = Vec::with_capacity(64);
    let mut turn = || {
        now = now.plus(Span::from_millis(10));
        advert.sent_at = now;
        advert.echo = Some(now);
        for g in &mut advert.groups {
            *g = Statement {
                vote: Some(Ballot {
                    member: MemberId(0),
                    incarnation: Incarnation(1),
                    asked_at: now,
                }),
                ..Statement::default()
            };
        }
        out.clear();
        node.handle(
            &config,
            now,
            Input::Received(Authentic::assumed(advert.clone())),
            &mut out,
        )
    };
    for _ in 0..100 {
        turn().unwrap(); // out of quarantine, and holding
    }
    bencher.bench_local(|| turn().unwrap());
}

fn keys() -> Keys {
    let old = Key::new(b"the key before this one");
    Keys::new(Key::new(b"a key that nobody else knows"), vec![old])
}

/// A holder's advert in the steady state.
fn advert(groups: usize) -> Advert {
    let ballot = Ballot {
        member: MemberId(0),
        incarnation: Incarnation(0xb1b2_b3b4_b5b6_b7b8),
        asked_at: LocalTime::from_nanos(7_000_000_000),
    };
    let statement = Statement {
        asks: true,
        holds: true,
        ready: true,
        yields: false,
        preparing: false,
        frozen: false,
        vote: Some(ballot),
    };
    Advert {
        cluster: ClusterId(0xc1c2_c3c4_c5c6_c7c8),
        config: ConfigDigest(0xd1d2_d3d4_d5d6_d7d8),
        change: Change::None,
        from: MemberId(0),
        to: MemberId(1),
        incarnation: ballot.incarnation,
        to_incarnation: Some(Incarnation(0xa1a2_a3a4_a5a6_a7a8)),
        sent_at: LocalTime::from_nanos(8_000_000_000),
        echo: Some(LocalTime::from_nanos(7_100_000_000)),
        echo_age: Span::from_millis(30),
        quarantined: false,
        groups: std::iter::repeat_n(statement, groups).collect(),
    }
}
