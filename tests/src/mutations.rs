//! Inputs that nobody wrote: good ones with bytes changed, cut, repeated and mixed, the same for the
//! same seed. What must hold of them is left to the tests.

use std::panic::RefUnwindSafe;

/// Inputs of one run.
const COUNT: u64 = 3_000;
/// Mutations of one input.
const CHANGES_MAX: u64 = 4;
/// Longest run of bytes that a mutation moves, and how often it may repeat it.
const RUN_MAX: u64 = 64;
const REPEATS: [usize; 4] = [2, 3, 200, 20_000];
/// Bytes that mean something in JSON, TOML, gzip or a varint.
const SPECIAL: &[u8] = b"\"\\{}[]:,.=#-+eEu0159nt\n\r \x00\x01\x1f\x7f\x80\xbf\xc0\xed\xf0\xff";

/// Runs `property` on many mutants of `seeds`. `MUTANT=17` runs the 17th alone, `MUTANTS=1000000` so many.
///
/// # Panics
/// When `property` does; which mutant it was is printed.
pub fn for_mutants(seeds: &[&[u8]], property: impl Fn(&[u8]) + RefUnwindSafe) {
    let named = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let numbers = match named("MUTANT") {
        Some(one) => one..one + 1,
        None => 0..named("MUTANTS").unwrap_or(COUNT),
    };
    for number in numbers {
        let mutant = Chance(number).mutant(seeds);
        let run = std::panic::AssertUnwindSafe(|| property(&mutant));
        if let Err(panic) = std::panic::catch_unwind(run) {
            let begin = String::from_utf8_lossy(&mutant[..mutant.len().min(500)]);
            eprintln!("failed with MUTANT={number}, {} bytes: {begin}", mutant.len());
            std::panic::resume_unwind(panic);
        }
    }
}

/// `SplitMix64` (Steele, Lea, Flood, 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    fn mutant(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].to_vec();
        for _ in 0..=self.below(CHANGES_MAX as usize) {
            self.change(&mut bytes, seeds);
        }
        bytes
    }

    /// A piece of `bytes`.
    fn run(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..bytes.len().min(start + self.below(RUN_MAX as usize))
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[&[u8]]) {
        let at = self.below(bytes.len() + 1);
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(self.run(&bytes.clone()))),
            2 => bytes.insert(at, SPECIAL[self.below(SPECIAL.len())]),
            3 => bytes.insert(at, self.below(256) as u8),
            4 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            5 if at < bytes.len() => bytes[at] = SPECIAL[self.below(SPECIAL.len())],
            6 => {
                let other = seeds[self.below(seeds.len())];
                let run = self.run(other);
                bytes.splice(at..at, other[run].iter().copied());
            }
            _ => {
                let run = self.run(bytes);
                let repeated = bytes[run].repeat(REPEATS[self.below(REPEATS.len())]);
                bytes.splice(at..at, repeated);
            }
        }
    }
}
