//! What must have happened in so many seeds: a proof that never met a fault says nothing of it.

use std::collections::BTreeMap;

/// In fewer seeds chance decides.
const SEEDS_MIN: u64 = 60;

/// The same of what few runs have.
const RARE_SEEDS_MIN: u64 = 200;

/// What happens, and how often in 600 seeds at least: half as often as is usual, or less where few runs have it.
const SEEDS: u64 = 600;
const HAPPENS: [(&str, u64); 31] = [
    ("death", 360),
    ("failure", 6_000),
    ("delay", 3_000),
    ("stall", 10),
    ("unreachable", 5_000),
    ("full", 10_000),
    ("deafened", 120),
    ("clock", 800),
    ("leap", 200),
    ("hours", 20),
    ("stands still", 10),
    ("rules", 400),
    ("load", 140),
    ("loaded", 70),
    ("emptied", 20),
    ("cut", 40),
    ("tail cut", 40),
    ("snapshot lost", 10),
    ("lands later", 400),
    ("sent again", 1_000),
    ("sent again after hours", 10),
    ("made anew", 40),
    ("begins emptied", 40),
    ("lost at once", 10),
    ("conflict", 10_000),
    ("commit", 150_000),
    ("rewrite", 6_000),
    ("acknowledged", 14_000),
    ("deleted", 8),
    ("released", 1_000),
    ("publish", 900),
];

/// What should have happened in so many seeds and did not, or too seldom; nothing where they are few.
pub fn missing(counts: &BTreeMap<String, u64>, seeds: u64) -> Vec<String> {
    if seeds < SEEDS_MIN {
        return Vec::new();
    }
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    // What comes in few runs comes in clumps.
    let is_rare = |often: u64| often < 10 * SEEDS / SEEDS_MIN && seeds < RARE_SEEDS_MIN;
    let least = |often: u64| if is_rare(often) { 0 } else { often * seeds / SEEDS };
    let is_seldom = |(what, often): &&(&str, u64)| count(what) < least(*often);
    let told = |(what, often): &(&str, u64)| {
        format!("{what} happened {} times, and should have {} times", count(what), least(*often))
    };
    HAPPENS.iter().filter(is_seldom).map(told).collect()
}
