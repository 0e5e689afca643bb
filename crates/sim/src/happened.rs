//! What must have happened in so many seeds: a proof that never met a fault says nothing of it.

use std::collections::BTreeMap;

/// In fewer seeds, chance decides.
const SEEDS_MIN: u64 = 60;

/// What happens, and in how many seeds at least once; it is drawn some three times as often.
const HAPPENS: [(&str, u64); 26] = [
    ("death", 1),
    ("failure", 1),
    ("delay", 1),
    ("stall", 30),
    ("unreachable", 1),
    ("full", 1),
    ("deafened", 3),
    ("clock", 1),
    ("leap", 4),
    ("hours", 30),
    ("stands still", 60),
    ("rules", 2),
    ("load", 3),
    ("loaded", 6),
    ("emptied", 30),
    ("cut", 15),
    ("lands later", 2),
    ("sent again", 1),
    ("sent again after hours", 60),
    ("made anew", 15),
    ("conflict", 6),
    ("commit", 1),
    ("rewrite", 1),
    ("acknowledged", 1),
    ("deleted", 120),
    ("publish", 1),
];

/// What should have happened in so many seeds and did not, or too seldom; nothing where they are few.
pub fn missing(counts: &BTreeMap<String, u64>, seeds: u64) -> Vec<String> {
    if seeds < SEEDS_MIN {
        return Vec::new();
    }
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    let is_seldom = |(what, within): &&(&str, u64)| count(what) < seeds / within;
    let told = |(what, within): &(&str, u64)| {
        format!("{what} happened {} times, and should have {} times", count(what), seeds / within)
    };
    HAPPENS.iter().filter(is_seldom).map(told).collect()
}
