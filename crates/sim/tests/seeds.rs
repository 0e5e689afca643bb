//! A few seeds, and that a seed is one run and no other.

use std::collections::BTreeMap;

use footfall_sim::{Definitions, Manner, Size, missing, run};

const SEEDS: u64 = 60;

#[test]
fn nothing_is_lost_or_doubled_whatever_goes_wrong() {
    let mut definitions = Definitions::start().unwrap();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 1..=SEEDS {
        match run(seed, Size::FULL, Manner::default(), &mut definitions) {
            Ok(outcome) => {
                for (what, count) in outcome.counts {
                    *counts.entry(what).or_default() += count;
                }
            }
            Err(error) => panic!(
                "seed {seed}: {error:#}\nagain: cargo run --release --bin footfall-sim -- --from {seed} --seeds 1 --trace"
            ),
        }
    }
    let missing = missing(&counts, SEEDS, Size::FULL, false);
    assert!(missing.is_empty(), "{missing:?}: {counts:?}");
}

/// The model of the table's log is held against this one; a few short storms, for it is slow.
#[test]
fn nor_is_anything_on_real_tables() {
    let mut definitions = Definitions::start().unwrap();
    let manner = Manner { on_real_tables: true, shows: false };
    let size = Size { visitors: 3, events_each: 6, steps: 5 };
    for seed in 1..=3 {
        if let Err(error) = run(seed, size, manner, &mut definitions) {
            panic!("seed {seed} on real tables: {error:#}");
        }
    }
}

#[test]
fn a_seed_is_one_run_and_no_other() {
    let mut definitions = Definitions::start().unwrap();
    let mut run = |seed| match run(seed, Size::FULL, Manner::default(), &mut definitions) {
        Ok(outcome) => outcome,
        Err(error) => panic!("seed {seed}: {error:#}"),
    };
    for seed in 3..=12 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(3), run(4));
}
