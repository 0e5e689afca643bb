//! `footfall maintain`: one run of the job that looks after the tables.

use std::sync::Arc;

use footfall_lake::Lake;
use footfall_pipeline::{Compacted, Retention, SettledFiles, rewrite};

use crate::config::{Config, process_environment};
use crate::settings::pipeline_rules;

/// Repairs what waits for it, removes old days, compacts, deletes old files, and prints what was done.
///
/// # Errors
/// When there is no lake, or it cannot be read or written.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let lake = Lake::at(&config.lake(), process_environment())?;
    if lake.settings().await?.is_none() {
        anyhow::bail!("there is no lake at {}: name it by --lake or --data-dir", lake.url());
    }
    let rules = Arc::new(pipeline_rules(config));
    let retention = Retention(config.retention.clone());
    let done = rewrite(&lake, &rules, &retention, &mut SettledFiles::default()).await?;
    let repaired = done.repaired;
    println!("{} late events of {} runs repaired", repaired.late_events, repaired.runs);
    if repaired.waiting > 0 {
        println!("{} runs wait: they may still go on, or a load is not whole", repaired.waiting);
    }
    for (table, expired) in &done.expired {
        if expired.rows > 0 {
            println!("{}: {} rows of old days removed", table.name(), expired.rows);
        }
    }
    for (table, compacted) in &done.compacted {
        let Compacted { replaced, written, replaced_bytes, written_bytes, .. } = compacted;
        let deleted = done.deleted.get(table).copied().unwrap_or(0);
        if *replaced > 0 || deleted > 0 {
            println!(
                "{}: {replaced} files ({replaced_bytes} bytes) became {written} ({written_bytes} bytes), {deleted} old files deleted",
                table.name()
            );
        }
    }
    if done.broken_writes > 0 {
        println!("{} files deleted that broken writes left", done.broken_writes);
    }
    let is_overtaken = repaired.is_overtaken
        || done.expired.values().any(|expired| expired.is_overtaken)
        || done.compacted.values().any(|compacted| compacted.is_overtaken);
    if is_overtaken {
        println!("another one is rewriting the tables: the rest is left to it");
    }
    Ok(())
}
