//! When a check passes and when it fails: a number of looks in a row. Pure.

/// Counts looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    rise: u32,
    fall: u32,
    passing: Option<bool>,
    /// The last look, and how many before it were the same, itself included.
    last: Option<(bool, u32)>,
}

impl Tally {
    /// No look yet.
    pub(super) const fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            passing: None,
            last: None,
        }
    }

    /// A look was good or bad. Says whether that changes the result.
    pub(super) fn note(&mut self, good: bool) -> bool {
        let in_a_row = match self.last {
            Some((last, n)) if last == good => n.saturating_add(1),
            Some(_) | None => 1,
        };
        self.last = Some((good, in_a_row));
        let needed = if good { self.rise } else { self.fall };
        let changes = self.passing != Some(good) && in_a_row >= needed;
        if changes {
            self.passing = Some(good);
        }
        changes
    }

    /// The result; nothing before the first.
    pub(super) const fn passing(&self) -> Option<bool> {
        self.passing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_rise_good_looks_or_fall_bad_ones_in_a_row() {
        let results = |rise, fall, looks: &str| -> String {
            let mut tally = Tally::new(rise, fall);
            let result = |look| {
                let before = tally.passing();
                let changes = tally.note(look == '+');
                assert_eq!(changes, before != tally.passing());
                match tally.passing() {
                    None => '?',
                    Some(true) => 'p',
                    Some(false) => 'f',
                }
            };
            looks.chars().map(result).collect()
        };
        assert_eq!(results(2, 2, "++-+--+-++"), "?ppppffffp");
        assert_eq!(results(3, 1, "+-+++-+++"), "?fffpfffp");
        assert_eq!(results(1, 3, "+--+---"), "ppppppf");
        assert_eq!(results(2, 2, "+-+-+-"), "??????");
    }
}
