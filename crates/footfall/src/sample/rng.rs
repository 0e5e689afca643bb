//! A random source whose numbers are the same on every platform and in every release; what is drawn
//! from it is left to the callers.

/// SplitMix64 (Steele, Lea, Flood, 2014): small, fast, and fixed by its published constants.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// A stream of its own for each (seed, stream), so that what one consumer draws does not move
    /// what another one sees.
    pub(super) fn new(seed: u64, stream: u64) -> Rng {
        let mut mixed = Rng(seed ^ stream.wrapping_mul(GOLDEN).rotate_left(23));
        Rng(mixed.word() ^ stream)
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn wide(&mut self) -> u128 {
        u128::from(self.word()) << 64 | u128::from(self.word())
    }

    /// In [0, 1), a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In [0, n); 0 if `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(n)) >> 64) as u64
    }

    /// In [low, high], both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).max(0) as u64 + 1) as i64
    }

    /// In [low, high], mostly near `low`: the cube of a uniform number.
    pub(super) fn skewed(&mut self, low: i64, high: i64) -> i64 {
        let u = self.unit();
        low + ((high - low) as f64 * (u * u * u)) as i64
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// One of `choices`, each as likely as its weight; at least one weight is above 0.
    pub(super) fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let total: u64 = choices.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (weight, choice) in choices {
            if left < u64::from(*weight) {
                return *choice;
            }
            left -= u64::from(*weight);
        }
        choices[choices.len() - 1].1
    }
}
