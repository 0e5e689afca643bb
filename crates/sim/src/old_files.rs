//! Files of tables that no version has any more are deleted behind everybody's back, as `VACUUM` does. It waits for a
//! day; here an hour is enough, behind which no writer commits what it wrote: loads may, and none takes as long here.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use footfall_event::schema::Table;
use footfall_lake::{Commit, Lake, Outcome, Progress, TableWriter};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::scenario::Scenario;
use crate::world::Weather;

/// The application id of who deletes.
const VACUUM: &str = "vacuum";

impl Scenario {
    /// The files of rows that no table's newest version has.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn old_files(&self, lake: &Lake) -> Result<BTreeSet<Path>> {
        // Whoever looks is not part of the storm.
        let weather = self.world.set_weather(Weather::CALM);
        let mut held = BTreeSet::new();
        for table in Table::ALL {
            let files = TableWriter::open(lake, table).await?.files()?;
            held.extend(files.iter().map(|file| format!("{}/{}", table.name(), file.path())));
        }
        self.world.set_weather(weather);
        let listed: Vec<Path> =
            self.store.list(None).map_ok(|meta| meta.location).try_collect().await?;
        // A checkpoint is of the log.
        let has_rows = |path: &str| path.ends_with(".parquet") && !path.contains("/_delta_log/");
        let is_old = |path: &Path| has_rows(path.as_ref()) && !held.contains(path.as_ref());
        let is_of_table = |path: &Path| Table::ALL.iter().any(|table| is_of(path, *table));
        Ok(listed.into_iter().filter(|path| is_of_table(path) && is_old(path)).collect())
    }

    /// Deletes those of `old` that no version has come to hold since.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn delete_old_files(&self, old: &BTreeSet<Path>, lake: &Lake) -> Result<()> {
        let weather = self.world.set_weather(Weather::CALM);
        let old: Vec<Path> = self.old_files(lake).await?.intersection(old).cloned().collect();
        for table in Table::ALL {
            let mut of_table = old.iter().filter(|path| is_of(path, table)).peekable();
            if of_table.peek().is_some() {
                // Delta makes a version of it, behind which no commit falls that has not seen it.
                let mut writer = TableWriter::open(lake, table).await?;
                let (app_id, from) = (VACUUM.to_owned(), writer.progress(VACUUM).await?);
                let progress = vec![Progress { app_id, from, to: from.unwrap_or(0) + 1 }];
                let made = writer.commit(&Commit { progress, ..Commit::default() }).await?;
                ensure!(matches!(made, Outcome::Committed { .. }), "two delete old files at once");
            }
            for path in of_table {
                self.store.delete(path).await?;
                self.world.trace("world", "deleted", table.name());
            }
        }
        self.world.set_weather(weather);
        Ok(())
    }
}

fn is_of(path: &Path, table: Table) -> bool {
    path.as_ref().starts_with(&format!("{}/", table.name()))
}
