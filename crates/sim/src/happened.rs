//! What must have happened in so many seeds: a proof that never met a fault says nothing of it.

use std::collections::BTreeMap;

use crate::scenario::Size;

/// In fewer seeds chance decides.
const SEEDS_MIN: u64 = 60;

/// The same of what few runs have.
const RARE_SEEDS_MIN: u64 = 200;

/// What happens, and how often in 600 seeds at least: half as often as is usual, or less where few runs have it.
const SEEDS: u64 = 600;
const HAPPENS: [(&str, u64); 44] = [
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
    ("halt", 3),
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
    ("death of a door at append", 150),
    ("death of a load at commit", 3),
    ("death of a pipeline at commit", 20),
    ("death of a pipeline at rewrite", 3),
    // Only compaction replaces them.
    ("rewrite receipts", 6_000),
    ("clock of a visitor", 600),
    ("late event", 3_500),
    ("repaired event", 3_000),
    ("event of a load", 90),
    ("event without room", 20),
    ("refused event", 600),
    ("duplicate", 4_000),
];

/// What happens at least once in so many seeds on real tables, whose runs are small, for they are slow.
const HAPPENS_ON_REAL_TABLES: [&str; 16] = [
    "death",
    "death of a pipeline at commit",
    "failure",
    "delay",
    "unreachable",
    "full",
    "deafened",
    "clock",
    "leap",
    "rules",
    "load",
    "lands later",
    "sent again",
    "commit",
    "acknowledged",
    "late event",
];

/// What should have happened in so many seeds and did not, or too seldom; nothing where they are few, or, on the model,
/// of another size than the usual.
pub fn missing(
    counts: &BTreeMap<String, u64>,
    seeds: u64,
    size: Size,
    on_real_tables: bool,
) -> Vec<String> {
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    if seeds < SEEDS_MIN || on_real_tables && seeds < RARE_SEEDS_MIN {
        return Vec::new();
    }
    if on_real_tables {
        let never = HAPPENS_ON_REAL_TABLES.into_iter().filter(|what| count(what) == 0);
        return never.map(|what| format!("{what} never happened")).collect();
    }
    if size != Size::FULL {
        return Vec::new();
    }
    // What comes in few runs comes in clumps.
    let is_rare = |often: u64| often < 10 * SEEDS / SEEDS_MIN && seeds < RARE_SEEDS_MIN;
    let least = |often: u64| if is_rare(often) { 0 } else { often * seeds / SEEDS };
    let is_seldom = |(what, often): &&(&str, u64)| count(what) < least(*often);
    let told = |(what, often): &(&str, u64)| {
        format!("{what} happened {} times, and should have {} times", count(what), least(*often))
    };
    HAPPENS.iter().filter(is_seldom).map(told).collect()
}
