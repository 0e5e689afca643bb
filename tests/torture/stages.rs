//! The stages of an event's way at which a process was killed, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};
use rand::Rng;
use rand::seq::IteratorRandom;
use serde_json::Value;

/// The tables that the pipeline commits to.
pub const TABLES: [&str; 7] =
    ["events", "sessions", "needs", "page_views", "rejected", "duplicates", "receipts"];

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// A request was under way.
    Accept,
    /// The embedded log wrote, or had its file synced.
    Log,
    /// Records were acknowledged of which no table spoke.
    Fold,
    /// A file of rows was written, or had been given its name.
    Parquet,
    /// Rows were appended to a table.
    Commit(&'static str),
    Snapshot,
    /// Late events got their session: rows were replaced.
    Repair,
    /// Few files were made of many.
    Compaction,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Accept => f.write_str("accept"),
            Stage::Log => f.write_str("log and its fsync"),
            Stage::Fold => f.write_str("fold"),
            Stage::Parquet => f.write_str("Parquet"),
            Stage::Commit(table) => write!(f, "commit of {table}"),
            Stage::Snapshot => f.write_str("snapshot"),
            Stage::Repair => f.write_str("repair"),
            Stage::Compaction => f.write_str("compaction"),
        }
    }
}

/// How often each stage was hit.
#[derive(Default)]
pub struct Hits(BTreeMap<Stage, u64>);

impl Hits {
    pub fn all() -> impl Iterator<Item = Stage> {
        let commits = TABLES.into_iter().map(Stage::Commit);
        [Stage::Accept, Stage::Log, Stage::Fold, Stage::Parquet].into_iter().chain(commits).chain([
            Stage::Snapshot,
            Stage::Repair,
            Stage::Compaction,
        ])
    }

    pub fn count(&mut self, stage: Stage) {
        *self.0.entry(stage).or_default() += 1;
    }

    pub fn of(&self, stage: Stage) -> u64 {
        self.0.get(&stage).copied().unwrap_or(0)
    }

    /// Of the stages that can be aimed at, one of those that were hit least.
    pub fn rarest(&self, rng: &mut impl Rng) -> Option<Stage> {
        // Every kill of a process that is busy hits the other two.
        let aimed = || Hits::all().filter(|stage| !matches!(stage, Stage::Accept | Stage::Fold));
        let least = aimed().map(|stage| self.of(stage)).min()?;
        aimed().filter(|stage| self.of(*stage) == least).choose(rng)
    }

    /// # Errors
    /// With the stages that were never hit.
    pub fn require_all(&self) -> Result<()> {
        let missed: Vec<String> = Hits::all()
            .filter(|stage| self.of(*stage) == 0)
            .map(|stage| stage.to_string())
            .collect();
        ensure!(missed.is_empty(), "never hit: {}. Give it more minutes", missed.join(", "));
        Ok(())
    }
}

/// What a commit does, by its file: one that takes no file away appends, one that changes rows repairs. `None` where
/// the file is none, or not whole.
pub fn kind_of(commit: &Path, table: &'static str) -> Option<Stage> {
    let text = std::fs::read_to_string(commit).ok()?;
    let actions: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let removes: Vec<&Value> = actions.iter().filter_map(|action| action.get("remove")).collect();
    if removes.is_empty() {
        // A commit of receipts alone is one too, and so is one of progress without rows.
        return actions
            .iter()
            .any(|action| action.get("txn").is_some())
            .then_some(Stage::Commit(table));
    }
    let changes = removes.iter().any(|remove| remove["dataChange"] == true);
    Some(if changes { Stage::Repair } else { Stage::Compaction })
}
