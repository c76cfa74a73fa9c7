//! The fewest faults that still break it: delta debugging (Zeller and Hildebrandt, *Simplifying and
//! Isolating Failure-Inducing Input*, 2002).

/// The part of `all` that is left when nothing more can be taken away, each part at a time, without
/// `breaks` becoming false. `all` itself must break it, else all of it is left.
pub fn ddmin<T: Clone>(all: &[T], mut breaks: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut left = all.to_vec();
    if !left.is_empty() && breaks(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while left.len() > 1 {
        let size = left.len().div_ceil(parts);
        let chunks = left.len().div_ceil(size);
        let without = |n: usize| {
            let (before, rest) = left.split_at(n * size);
            [before, &rest[size.min(rest.len())..]].concat()
        };
        let alone = |n: usize| left.chunks(size).nth(n).unwrap_or_default().to_vec();
        // One part alone first: that leaves least.
        let one = (0..chunks).map(alone).find(|part| breaks(part));
        let mut rest = || (0..chunks).map(without).find(|part| breaks(part));
        if let Some(part) = one {
            (left, parts) = (part, 2);
        } else if let Some(part) = rest() {
            (left, parts) = (part, (parts - 1).max(2));
        } else if size == 1 {
            break;
        } else {
            parts = (2 * parts).min(left.len());
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::ddmin;

    /// Breaks if all of `needed` are there.
    fn shrunk(of: u32, needed: &[u32]) -> Vec<u32> {
        let all: Vec<u32> = (0..of).collect();
        ddmin(&all, |part| needed.iter().all(|n| part.contains(n)))
    }

    #[test]
    fn exactly_what_is_needed_is_left_in_its_order() {
        for needed in [
            &[][..],
            &[0],
            &[63],
            &[3, 4],
            &[0, 31, 63],
            &[1, 20, 21, 40, 62],
        ] {
            assert_eq!(shrunk(64, needed), needed);
        }
        assert_eq!(shrunk(7, &[0, 2, 4, 6]), [0, 2, 4, 6]);
        assert_eq!(shrunk(1, &[0]), [0]);
    }

    #[test]
    fn nothing_more_can_be_taken_away_where_faults_stand_for_each_other() {
        let all: Vec<u32> = (0..20).collect();
        let breaks = |part: &[u32]| part.iter().sum::<u32>() >= 25;
        let left = ddmin(&all, breaks);
        assert!(breaks(&left));
        for n in 0..left.len() {
            let mut less = left.clone();
            less.remove(n);
            assert!(!breaks(&less), "{left:?} without its {n}th");
        }
    }

    #[test]
    fn what_does_not_break_is_left_alone() {
        assert_eq!(ddmin(&[1, 2, 3], |_| false), [1, 2, 3]);
    }
}
