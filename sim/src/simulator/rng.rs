//! The one source of chance in a run: everything that is drawn follows from the plan's seed.

/// A stream of draws (SplitMix64). Equal seeds give equal streams on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed; `of` tells streams of one seed apart.
    #[must_use]
    pub fn new(seed: u64, of: &str) -> Self {
        let mut rng = Self(seed);
        for byte in of.bytes() {
            rng.0 = rng.draw() ^ u64::from(byte);
        }
        rng
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of 0 to `n` - 1; 0 if there is none.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high half of a product is even enough for what is drawn here.
        let wide = u128::from(self.draw()) * u128::from(n);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// One of a list.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let n = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of[n]
    }

    /// With a chance of `n` in a hundred.
    pub fn chance(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// Whether something with this chance, in percent, happens. Draws nothing where it can't.
    pub fn percent(&mut self, chance: f64) -> bool {
        chance > 0.0 && (self.below(1 << 32) as f64) < chance / 100.0 * (1u64 << 32) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_what_they_say() {
        let mut rng = Rng::new(1, "test");
        for chance in [0.0, 20.0, 60.0, 100.0] {
            let hits = (0..100_000).filter(|_| rng.percent(chance)).count() as f64;
            assert!((hits / 1_000.0 - chance).abs() < 1.0, "{chance}: {hits}");
        }
        assert!((0..1_000).all(|_| rng.below(7) < 7));
        assert_ne!(Rng::new(1, "a").draw(), Rng::new(1, "b").draw());
    }
}
