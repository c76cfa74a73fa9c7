//! Brings the clocks of several members to one time.
//!
//! Each incarnation has a clock. Where a trace has true times, they count. Where it has none, a
//! clock is put between two bounds: an advert is not heard before it is sent, in either direction.

use std::collections::BTreeMap;

/// How long one offset holds, in ns of the page's time: clocks drift apart.
const WINDOW: i64 = 10_000_000_000;

/// The clock of an incarnation, in ns.
#[derive(Debug)]
pub(super) struct Clock {
    /// Instants of it, in order, with what has to be added to make the page's time.
    anchors: Vec<(i64, i64)>,
    /// Whose.
    member: usize,
    /// Its first instant.
    first: i64,
}

/// An advert that two clocks saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    /// The sender's clock, and when it was sent by it.
    pub(super) sent: (usize, i64),
    /// The receiver's clock, and when it arrived by it.
    pub(super) heard: (usize, i64),
}

impl Clock {
    /// Of an incarnation of a member, with its first instant.
    pub(super) const fn new(member: usize, first: i64) -> Self {
        Self {
            anchors: Vec::new(),
            member,
            first,
        }
    }

    /// The true time of an instant. An instant that is not later than the one before is passed
    /// over.
    pub(super) fn anchor(&mut self, at: i64, time: i64) {
        if self.anchors.last().is_none_or(|(last, _)| *last < at) {
            self.anchors.push((at, time - at));
        }
    }

    /// The page's time of an instant.
    pub(super) fn page(&self, at: i64) -> i64 {
        let after = self.anchors.partition_point(|(instant, _)| *instant <= at);
        let before = after.checked_sub(1).and_then(|n| self.anchors.get(n));
        let offset = match (before, self.anchors.get(after)) {
            (Some((a, from)), Some((b, to))) => {
                // Wide enough: the difference of two offsets, times a part of their distance.
                let part = i128::from(to - from) * i128::from(at - a) / i128::from(b - a);
                from + part as i64
            }
            (Some((_, offset)), None) | (None, Some((_, offset))) => *offset,
            (None, None) => 0,
        };
        at + offset
    }

    /// Its relation to the page's time is known.
    pub(super) fn known(&self) -> bool {
        !self.anchors.is_empty()
    }
}

/// How well it went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Aligned {
    /// Clocks that had no true time.
    pub(super) unknown: usize,
    /// The largest doubt where adverts went both ways, in ns.
    pub(super) doubt: i64,
    /// Members whose adverts were matched in one direction only: they were taken to need no time.
    pub(super) one_way: Vec<usize>,
    /// Members that exchanged nothing with any other.
    pub(super) alone: Vec<usize>,
}

/// Gives every clock an offset.
pub(super) fn align(clocks: &mut [Clock], matches: &[Match]) -> Aligned {
    let mut said = Aligned {
        unknown: clocks.iter().filter(|c| !c.known()).count(),
        ..Aligned::default()
    };
    if said.unknown == clocks.len()
        && let Some(first) = busiest(clocks, matches, |_| true)
    {
        let at = clocks[first].first;
        clocks[first].anchor(at, 0);
    }
    while let Some(next) = busiest(clocks, matches, |other| other.known()) {
        let (anchors, doubt) = anchors(clocks, matches, next);
        match doubt {
            Some(doubt) => said.doubt = said.doubt.max(doubt),
            None => said.one_way.push(clocks[next].member),
        }
        clocks[next].anchors = anchors;
    }
    for n in 0..clocks.len() {
        if clocks[n].known() {
            continue;
        }
        let Clock { member, first, .. } = clocks[n];
        said.alone.push(member);
        // Another incarnation on the same host most likely had the same clock.
        let lives = clocks.iter().filter(|c| c.member == member && c.known());
        let near = lives.min_by_key(|c| (c.first - first).abs());
        let time = near.map_or(0, |c| c.page(first));
        clocks[n].anchor(first, time);
    }
    said.one_way.dedup();
    said.alone.dedup();
    said
}

/// The clock without an offset that has most matches with other clocks of the kind.
fn busiest(clocks: &[Clock], matches: &[Match], with: impl Fn(&Clock) -> bool) -> Option<usize> {
    let mut count = vec![0_u64; clocks.len()];
    for m in matches {
        let (a, b) = (m.sent.0, m.heard.0);
        count[a] += u64::from(!clocks[a].known() && with(&clocks[b]));
        count[b] += u64::from(!clocks[b].known() && with(&clocks[a]));
    }
    let most = (0..clocks.len()).rev().max_by_key(|n| count[*n])?;
    (count[most] > 0).then_some(most)
}

/// The offsets of a clock by its matches with those that have one; and the largest doubt, if there
/// are matches in both directions.
fn anchors(clocks: &[Clock], matches: &[Match], of: usize) -> (Vec<(i64, i64)>, Option<i64>) {
    /// In a window: the middle, and the bounds of what has to be added.
    #[derive(Clone, Copy, Default)]
    struct Window {
        at: i64,
        least: Option<i64>,
        most: Option<i64>,
    }
    let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
    for Match { sent, heard } in matches {
        let (own, other, arrives) = if heard.0 == of {
            (heard.1, sent, true)
        } else if sent.0 == of {
            (sent.1, heard, false)
        } else {
            continue;
        };
        if !clocks[other.0].known() {
            continue;
        }
        let time = clocks[other.0].page(other.1);
        let window = windows.entry(time.div_euclid(WINDOW)).or_default();
        let offset = time - own;
        window.at = window.at.max(own);
        if arrives {
            window.least = Some(window.least.map_or(offset, |least| least.max(offset)));
        } else {
            window.most = Some(window.most.map_or(offset, |most| most.min(offset)));
        }
    }
    let both: Vec<(i64, i64, i64)> = windows
        .values()
        .filter_map(|w| Some((w.at, w.least?, w.most?)))
        .collect();
    if both.is_empty() {
        let one = windows.values();
        let one = one.filter_map(|w| Some((w.at, w.least.or(w.most)?)));
        return (one.collect(), None);
    }
    let doubt = both.iter().map(|(_, least, most)| (most - least).abs() / 2);
    let middle = both
        .iter()
        .map(|(at, least, most)| (*at, least + (most - least) / 2));
    (middle.collect(), doubt.max())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Two clocks; the second began at `offset` by the first, and runs slower by `ppm`.
    fn matches(offset: i64, ppm: i64, latency: i64) -> Vec<Match> {
        let second = |at: i64| (at - offset) - (at - offset) * ppm / 1_000_000;
        let one = |n: i64| {
            let at = n * 100 * MS;
            let there = Match {
                sent: (0, at),
                heard: (1, second(at + latency)),
            };
            let back = Match {
                sent: (1, second(at)),
                heard: (0, at + latency + 3 * MS),
            };
            [there, back]
        };
        (1..600).flat_map(one).collect()
    }

    fn two() -> [Clock; 2] {
        [0, 1].map(|member| Clock::new(member, 0))
    }

    #[test]
    fn clocks_come_together_by_adverts_in_both_directions() {
        let mut clocks = two();
        let said = align(&mut clocks, &matches(-77_000 * MS, 0, MS));
        assert_eq!(said.unknown, 2);
        assert_eq!(said.doubt, 2 * MS + MS / 2, "half of the two ways");
        assert!(said.one_way.is_empty() && said.alone.is_empty());
        for at in [0, 5_000 * MS, 59_000 * MS] {
            let (first, second) = (clocks[0].page(at), clocks[1].page(at + 77_000 * MS));
            let off = (first - second).abs();
            assert_eq!(off, MS + MS / 2, "half of what one way takes longer");
        }
    }

    #[test]
    fn clocks_that_drift_apart_stay_together() {
        let mut clocks = two();
        let said = align(&mut clocks, &matches(0, 900, 0));
        assert!(said.doubt < 11 * MS, "{said:?}");
        for at in [15_000 * MS, 55_000 * MS] {
            let (first, second) = (
                clocks[0].page(at),
                clocks[1].page(at - at * 900 / 1_000_000),
            );
            assert!((first - second).abs() < 11 * MS, "{first} {second}");
        }
    }

    #[test]
    fn one_direction_and_none_are_told() {
        let mut clocks = two();
        let there: Vec<Match> = matches(0, 0, MS).into_iter().step_by(2).collect();
        let said = align(&mut clocks, &there);
        assert_eq!(said.one_way.len(), 1);
        let mut clocks = two();
        assert_eq!(align(&mut clocks, &[]).alone, [0, 1]);
        assert_eq!(clocks[1].page(5), 5);
    }

    #[test]
    fn true_times_are_taken_as_they_are() {
        let mut clocks = two();
        clocks[0].anchor(1_000, 50);
        clocks[0].anchor(2_000, 1_150);
        assert_eq!(
            [900, 1_500, 2_500].map(|at| clocks[0].page(at)),
            [-50, 600, 1_650]
        );
    }
}
