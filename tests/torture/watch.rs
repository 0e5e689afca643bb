//! A process that is killed as soon as a file is staged where a stage stages it. It lives at full speed, unlike
//! under strace, so this finds what is rare: a rewrite's commit, a snapshot.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use footfall_tests::Running;

use crate::stages::{Stage, TABLES, kind_of};

const POLL: Duration = Duration::from_micros(300);

/// Where one stage stages its files.
pub struct Watch {
    folders: Vec<PathBuf>,
    stage: Stage,
    /// What was staged before: a process that was killed leaves it behind.
    left: HashSet<PathBuf>,
}

impl Watch {
    /// `None` for a stage that stages no files.
    pub fn new(stage: Stage, lake: &Path) -> Option<Watch> {
        let log = |table: &str| lake.join(table).join("_delta_log");
        let folders = match stage {
            Stage::Commit(table) => vec![log(table)],
            Stage::Repair | Stage::Compaction => TABLES.into_iter().map(log).collect(),
            Stage::Parquet => {
                let within = TABLES.into_iter().flat_map(|table| entries(&lake.join(table)));
                within.filter(|path| path.to_string_lossy().contains('=')).collect()
            }
            Stage::Snapshot => {
                let topics = entries(&lake.join("_footfall/snapshots"));
                topics.iter().flat_map(|topic| entries(topic)).collect()
            }
            Stage::Accept | Stage::Log | Stage::Fold => return None,
        };
        let mut watch = Watch { folders, stage, left: HashSet::new() };
        watch.left = watch.staged().collect();
        Some(watch)
    }

    /// Kills `running` within `limit` at the latest, unless it `may_end` by itself and does so well. The stage that it
    /// was killed in, if it was: what it had staged has not got its name, or has not lost the one before.
    ///
    /// # Errors
    /// When it ended by itself before.
    pub fn kill(
        self,
        mut running: Running,
        limit: Duration,
        may_end: bool,
    ) -> Result<Option<Stage>> {
        let began = Instant::now();
        while began.elapsed() < limit && running.ended()?.is_none() {
            let new = self.staged().filter(|path| !self.left.contains(path));
            if let Some(path) = new.into_iter().find(|path| self.is_wanted(path)) {
                end(running, may_end)?;
                return Ok(self.stage_of(&path));
            }
            std::thread::sleep(POLL);
        }
        end(running, may_end)?;
        Ok(None)
    }

    fn is_wanted(&self, path: &Path) -> bool {
        match self.stage {
            Stage::Compaction => rewrites(path) == Some(Stage::Compaction),
            Stage::Repair => rewrites(path).is_some(),
            _ => true,
        }
    }

    /// What a file that is still staged is of; `None` where that cannot be said.
    fn stage_of(&self, path: &Path) -> Option<Stage> {
        match self.stage {
            Stage::Commit(table) => kind_of(path, table),
            Stage::Repair | Stage::Compaction => rewrites(path),
            stage => path.exists().then_some(stage),
        }
    }

    fn staged(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.folders.iter().flat_map(|folder| entries(folder));
        let is_of_log = !matches!(self.stage, Stage::Parquet | Stage::Snapshot);
        // A table's log also has checkpoints.
        let sign = if is_of_log { ".json#" } else { "#" };
        files.filter(move |path| path.to_string_lossy().contains(sign))
    }
}

fn end(running: Running, may_end: bool) -> Result<()> {
    if may_end { running.kill_unless_done() } else { running.kill() }
}

/// Repair or compaction, if the commit is one.
fn rewrites(path: &Path) -> Option<Stage> {
    kind_of(path, "").filter(|kind| matches!(kind, Stage::Repair | Stage::Compaction))
}

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
