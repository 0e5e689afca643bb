//! `footfall status`: what an operator looks at first. Asks the parts that run, and reads the lake itself
//! where none answers.

mod ask;
mod render;

use std::io::Write;

use anyhow::bail;
use footfall_lake::TableFacts;
use footfall_pipeline::PipelineStatus;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::RowFormat;
use crate::config::Config;

/// Asks for the rows of `events` that wait for their repair: `hidden` ones, by the rules of this
/// configuration, wait for nothing.
fn pending_sql(config: &Config) -> String {
    let hidden = &config.rules.conditions.hidden;
    format!(
        "SELECT count(*), CAST(min(event_time) AS VARCHAR) FROM events WHERE late \
         AND session_id IS NULL AND visitor_id IS NOT NULL AND NOT overflow AND ({hidden}) IS NOT TRUE"
    )
}

/// How far the tables speak, by the newest receipt of each partition.
const RECEIPTS: &str = "SELECT log, log_partition, CAST(max(to_offset) AS BIGINT), \
    CAST(max(watermark) AS VARCHAR) FROM receipts WHERE log NOT LIKE 'load:%' GROUP BY 1, 2 ORDER BY 1, 2";

/// All that was found out.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    pub parts: Vec<Part>,
    pub pipelines: Vec<PipelineStatus>,
    /// Where the tables lie; `None` where none could be seen.
    pub lake: Option<String>,
    pub tables: Vec<TableFacts>,
    pub settled: Vec<Settled>,
    pub pending_repairs: Option<Pending>,
    /// What an operator should know, a sentence each.
    pub notes: Vec<String>,
}

/// Somebody who was asked.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: String,
    pub server: String,
    /// `ready`, or why not.
    pub state: String,
}

/// How far the tables speak of a partition.
#[derive(Debug, PartialEq, Serialize)]
pub struct Settled {
    pub log: String,
    pub partition: i64,
    /// The first record that no receipt speaks of.
    pub offset: i64,
    pub watermark: Option<String>,
}

/// Late events that no session has yet.
#[derive(Debug, Serialize)]
pub struct Pending {
    pub events: i64,
    pub earliest: Option<String>,
}

/// Prints the state of the parts, the log and the lake.
///
/// # Errors
/// When a server that was named does not answer, or nothing at all can be seen.
pub async fn run(config: &Config, servers: &[String], format: RowFormat) -> anyhow::Result<()> {
    let mut status = ask::all(config, servers).await?;
    status.notes.extend(worries(&status));
    if status.pipelines.is_empty() && status.lake.is_none() {
        for note in &status.notes {
            eprintln!("{note}");
        }
        bail!("nothing runs here, and there is no lake at {}", config.lake());
    }
    let text = match format {
        RowFormat::Table => render::table(&status),
        RowFormat::Csv => render::csv(&status)?,
        RowFormat::Json => format!("{}\n", serde_json::to_string_pretty(&status)?),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Tables that are older, and partitions that lag by more, need somebody to look: as the alerts have it.
const SECONDS_WORRYING: f64 = 60.0;
/// The loop tells its state every second.
const SILENCE_SECONDS_WORRYING: f64 = 10.0;

fn worries(status: &Status) -> Vec<String> {
    let mut notes = Vec::new();
    for pipeline in &status.pipelines {
        if let Some(age) = pipeline.freshness_seconds.filter(|age| *age > SECONDS_WORRYING) {
            notes.push(format!(
                "the tables are {age:.0} s old: commits fail or are slow, see the log lines"
            ));
        }
        if let Some(ago) = pipeline.told_seconds_ago.filter(|ago| *ago > SILENCE_SECONDS_WORRYING) {
            notes
                .push(format!("the pipeline told its state {ago:.0} s ago: something holds it up"));
        }
        for partition in &pipeline.partitions {
            if let Some(lag) = partition.lag_seconds.filter(|lag| *lag > SECONDS_WORRYING) {
                let number = partition.partition;
                notes.push(format!("partition {number} lags {lag:.0} s: is there CPU for it?"));
            }
        }
    }
    let count = status.pipelines.iter().map(|pipeline| pipeline.partition_count).max().unwrap_or(0);
    let is_folded = |number: &i32| {
        let mut all = status.pipelines.iter().flat_map(|pipeline| &pipeline.partitions);
        all.any(|partition| partition.partition == *number)
    };
    let missing: Vec<String> = (0..count as i32)
        .filter(|number| !is_folded(number))
        .map(|number| number.to_string())
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        notes.push(format!("no pipeline that was asked folds partition {missing} yet"));
    }
    notes
}

/// A cell of an answer in JSON.
fn text(cell: &Value) -> Option<String> {
    cell.as_str().map(str::to_owned)
}

fn settled(rows: &[Value]) -> Vec<Settled> {
    let row = |row: &Value| Settled {
        log: text(&row[0]).unwrap_or_default(),
        partition: row[1].as_i64().unwrap_or_default(),
        offset: row[2].as_i64().unwrap_or_default(),
        watermark: text(&row[3]),
    };
    rows.iter().map(row).collect()
}

fn pending(rows: &[Value]) -> Option<Pending> {
    let row = rows.first()?;
    Some(Pending { events: row[0].as_i64()?, earliest: text(&row[1]) })
}

#[cfg(test)]
mod tests;
