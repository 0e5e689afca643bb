//! A few seeds, and that a seed is one run and no other.

use footfall_sim::{Definitions, Size, run};

const SEEDS: u64 = 60;

#[test]
fn nothing_is_lost_or_doubled_whatever_goes_wrong() {
    let mut definitions = Definitions::start().unwrap();
    let (mut deaths, mut failures) = (0, 0);
    for seed in 1..=SEEDS {
        match run(seed, Size::FULL, false, &mut definitions) {
            Ok(outcome) => {
                deaths += outcome.deaths;
                failures += outcome.failures;
            }
            Err(error) => {
                panic!(
                    "seed {seed}: {error:#}; cargo run --release -p footfall-sim -- --from {seed} --seeds 1 --trace"
                )
            }
        }
    }
    assert!(deaths > SEEDS && failures > 10 * SEEDS, "{deaths} deaths, {failures} failures");
}

#[test]
fn a_seed_is_one_run_and_no_other() {
    let mut definitions = Definitions::start().unwrap();
    let mut run = |seed| run(seed, Size::FULL, false, &mut definitions).unwrap();
    for seed in [3, 4] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(3), run(4));
}
