//! The rows of the lake's tables as JSON, for the oracle.

use anyhow::{Context, Result};
use arrow::json::LineDelimitedWriter;
use footfall_event::schema::Table;
use footfall_lake::{Lake, TableWriter, read_file};
use futures::TryStreamExt;
use serde_json::Value;

/// All rows of a table's newest version; NULLs are left out.
///
/// # Errors
/// When the lake cannot be read.
pub async fn rows(lake: &Lake, table: Table) -> Result<Vec<Value>> {
    let columns: Vec<usize> = (0..table.schema().fields().len()).collect();
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for file in TableWriter::open(lake, table).await?.files()? {
        let batches = read_file(lake, table, &file, &columns).await?;
        for batch in batches.try_collect::<Vec<_>>().await? {
            writer.write(&batch)?;
        }
    }
    writer.finish()?;
    let lines = String::from_utf8(writer.into_inner())?;
    lines.lines().map(|line| serde_json::from_str(line).context("a row")).collect()
}

/// A text of a row; empty for NULL.
pub fn text<'r>(row: &'r Value, column: &str) -> &'r str {
    row[column].as_str().unwrap_or_default()
}

/// A whole number of a row; 0 for NULL.
pub fn whole(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or(0)
}

/// A time of a row in microseconds; `None` for NULL.
pub fn time(row: &Value, column: &str) -> Option<i64> {
    let text = row[column].as_str()?;
    footfall_event::parse_time(text).ok().map(|time| time.0)
}
