//! Who answers for a group, from when to when.

/// Who answers, from when on. A time is whatever its world counts.
#[derive(Clone, Debug)]
pub struct Answers<M, T> {
    /// Every change, with those that answer after it; in the order of the calls.
    changes: Vec<(T, Vec<M>)>,
}

impl<M: Copy + Ord, T: Copy + Ord> Answers<M, T> {
    /// Nobody, from then on.
    #[must_use]
    pub fn from(start: T) -> Self {
        Self {
            changes: vec![(start, Vec::new())],
        }
    }

    /// Somebody starts or stops answering, not before the latest change. Whether that changes
    /// anything.
    pub fn set(&mut self, at: T, who: M, answers: bool) -> bool {
        let mut now = self.now().to_vec();
        match (now.binary_search(&who), answers) {
            (Err(place), true) => now.insert(place, who),
            (Ok(place), false) => drop(now.remove(place)),
            (Ok(_), true) | (Err(_), false) => return false,
        }
        self.changes.push((at, now));
        true
    }

    /// Who answers after the latest change.
    #[must_use]
    pub fn now(&self) -> &[M] {
        self.changes.last().map_or(&[], |(_, who)| who)
    }

    /// Who answers at a moment, and since when.
    #[must_use]
    pub fn at(&self, moment: T) -> (T, &[M]) {
        let last = self.changes.iter().rev().find(|(at, _)| *at <= moment);
        let (at, who) = last.unwrap_or(&self.changes[0]);
        (*at, who)
    }

    /// Every change after the start, in order.
    pub fn changes(&self) -> impl Iterator<Item = (T, &[M])> {
        self.changes.iter().skip(1).map(|(at, who)| (*at, &who[..]))
    }

    /// The stretches of time between two moments in which this is true of those who answer. None of
    /// them is empty: the order of what happens in one moment does not matter.
    pub fn stretches(&self, from: T, until: T, is: impl Fn(&[M]) -> bool) -> Vec<(T, T)> {
        let mut all: Vec<(T, T)> = Vec::new();
        let ends = self.changes.iter().skip(1).map(|(at, _)| *at);
        for ((begin, who), end) in self.changes.iter().zip(ends.chain([until])) {
            let (begin, end) = ((*begin).max(from), end.min(until));
            if begin >= end || !is(who) {
                continue;
            }
            match all.last_mut() {
                Some((_, last)) if *last == begin => *last = end,
                _ => all.push((begin, end)),
            }
        }
        all
    }

    /// When two answer at once.
    #[must_use]
    pub fn two(&self, from: T, until: T) -> Vec<(T, T)> {
        self.stretches(from, until, |who| who.len() > 1)
    }

    /// When nobody answers.
    #[must_use]
    pub fn outages(&self, from: T, until: T) -> Vec<(T, T)> {
        self.stretches(from, until, <[M]>::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_may_begin_in_the_moment_in_which_another_ends() {
        let mut answers = Answers::from(0);
        assert!(answers.set(10, 'a', true) && !answers.set(11, 'a', true));
        answers.set(20, 'b', true);
        answers.set(20, 'a', false);
        assert_eq!(answers.two(0, 50), []);
        answers.set(30, 'a', true);
        answers.set(33, 'b', false);
        assert_eq!(answers.two(0, 50), [(30, 33)]);
        assert_eq!(answers.outages(5, 50), [(5, 10)]);
        assert_eq!(answers.at(32), (30, &['a', 'b'][..]));
        assert_eq!(answers.now(), ['a']);
    }

    #[test]
    fn what_goes_on_across_a_change_is_one_stretch() {
        let mut answers = Answers::from(0);
        answers.set(1, 'a', true);
        answers.set(2, 'b', true);
        answers.set(3, 'c', true);
        answers.set(4, 'a', false);
        assert_eq!(answers.two(0, 9), [(2, 9)]);
        assert_eq!(answers.two(3, 3), []);
        assert_eq!(answers.outages(0, 9), [(0, 1)]);
    }
}
