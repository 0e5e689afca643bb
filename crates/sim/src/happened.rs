//! What must have happened in so many seeds: a proof that never met a fault says nothing of it.

use std::collections::BTreeMap;

/// In fewer seeds chance decides.
const SEEDS_MIN: u64 = 60;

/// What happens, and how often in so many seeds at least: half as often as is usual, or less where few runs have it.
const HAPPENS: [(&str, u64); 26] = [
    ("death", 36),
    ("failure", 600),
    ("delay", 300),
    ("stall", 1),
    ("unreachable", 500),
    ("full", 1_000),
    ("deafened", 12),
    ("clock", 80),
    ("leap", 20),
    ("hours", 2),
    ("stands still", 1),
    ("rules", 40),
    ("load", 14),
    ("loaded", 7),
    ("emptied", 2),
    ("cut", 4),
    ("lands later", 40),
    ("sent again", 100),
    ("sent again after hours", 1),
    ("made anew", 4),
    ("conflict", 1_000),
    ("commit", 15_000),
    ("rewrite", 600),
    ("acknowledged", 1_400),
    ("deleted", 1),
    ("publish", 90),
];

/// What should have happened in so many seeds and did not, or too seldom; nothing where they are few.
pub fn missing(counts: &BTreeMap<String, u64>, seeds: u64) -> Vec<String> {
    if seeds < SEEDS_MIN {
        return Vec::new();
    }
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    let least = |often: u64| often * seeds / SEEDS_MIN;
    let is_seldom = |(what, often): &&(&str, u64)| count(what) < least(*often);
    let told = |(what, often): &(&str, u64)| {
        format!("{what} happened {} times, and should have {} times", count(what), least(*often))
    };
    HAPPENS.iter().filter(is_seldom).map(told).collect()
}
