//! Sets of links that are cut at once: see [`Adversary::cuts`](crate::model::world::Adversary::cuts).

use crate::properties::{MAX, PROBES};

/// All sets of links between this many members.
pub(super) fn every_cut(members: usize) -> Vec<u32> {
    let links: Vec<u32> = (0..members * members)
        .filter(|i| i / members != i % members)
        .map(|i| 1 << (i / members * MAX + i % members))
        .collect();
    let set = |mask: u32| {
        let of = links.iter().enumerate().filter(|(i, _)| mask & 1 << i != 0);
        of.map(|(_, bit)| bit).sum()
    };
    (0..1u32 << links.len()).map(set).collect()
}

/// The network in two, both ways: every way that leaves at most two members on the one side.
pub(super) fn halves(members: usize) -> Vec<u32> {
    let sides = (0u32..1 << members).filter(|side| side.count_ones() <= 2);
    sides.map(|side| between(members, side)).collect()
}

/// The links between two sides, both ways.
pub(super) fn between(members: usize, side: u32) -> u32 {
    let apart = |i: &usize| (side >> (i / members) & 1) != (side >> (i % members) & 1);
    let links = (0..members * members).filter(apart);
    links.map(|i| 1 << (i / members * MAX + i % members)).sum()
}

/// The candidates are cut from each other, or one of three from both others, or nothing is cut.
pub(super) fn one_by_one() -> Vec<u32> {
    let alone = (0..3).map(|m| between(3, 1 << m));
    alone.chain([cut(0, 1) | cut(1, 0), 0]).collect()
}

pub(super) const fn cut(from: usize, to: usize) -> u32 {
    1 << (from * MAX + to)
}

/// What a member asks of the network is not answered.
pub(super) const fn unasked(member: usize) -> u32 {
    1 << (PROBES + member)
}
