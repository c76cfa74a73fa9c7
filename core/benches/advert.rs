//! Nanoseconds per advert: `cargo bench -p onehold-core`.

use divan::{Bencher, black_box};
use onehold_core::advert::{
    Advert, Ballot, ClusterId, ConfigDigest, Incarnation, MAX_GROUPS, MemberId, Statement,
};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::time::{LocalTime, Span};

/// One group is the usual case, sixteen the most.
const GROUPS: [usize; 2] = [1, MAX_GROUPS];

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

// `handled` (Node::handle of one opened advert) stands here once the node is complete.

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
        vote: Some(ballot),
    };
    Advert {
        cluster: ClusterId(0xc1c2_c3c4_c5c6_c7c8),
        config: ConfigDigest(0xd1d2_d3d4_d5d6_d7d8),
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
