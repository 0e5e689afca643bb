//! What of a day follows other rules: its sessions by their `config_id`, and events of no session that the
//! rules given do not hide.

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use footfall_event::Day;
use footfall_event::schema::Table;
use footfall_lake::{Lake, TableFile, TableWriter};
use footfall_sessionizer::Rules;
use futures::StreamExt;

use super::super::repair::{Queue, VisitorKey, has_no_session};
use super::super::rows_of;
use crate::PipelineError;
use crate::conditions::Conditions;
use crate::scan::{places_of, text_at, time_at};

/// How many sessions that began on `day` follow other rules.
///
/// # Errors
/// `Lake`.
pub async fn outdated_sessions(
    lake: &Lake,
    tables: &[(Table, TableWriter)],
    day: Day,
    rules: &Rules,
) -> Result<u64, PipelineError> {
    let mut count = 0;
    each_outdated(lake, tables, day, rules, |rows, outdated| {
        count += rows_with(rows, outdated).count() as u64;
    })
    .await?;
    Ok(count)
}

/// The visitors of `day`, behind one, with a session of other rules.
///
/// # Errors
/// `Lake`.
pub async fn told_by_sessions(
    lake: &Lake,
    tables: &[(Table, TableWriter)],
    day: Day,
    rules: &Rules,
    behind: Option<VisitorKey>,
) -> Result<Queue, PipelineError> {
    let mut queue = Queue::behind(behind);
    each_outdated(lake, tables, day, rules, |rows, outdated| {
        for row in rows_with(rows, outdated) {
            let text = |column| text_at(rows, column, row).unwrap_or_default();
            if let Some(started_at) = time_at(rows, "started_at", row) {
                queue.add(text("site"), text("visitor_id"), started_at);
            }
        }
        queue.keep_bounds();
    })
    .await?;
    queue.close();
    Ok(queue)
}

/// The visitors of `day`, behind one, with an event that has no session and should.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn told_by_events(
    lake: &Lake,
    tables: &[(Table, TableWriter)],
    day: Day,
    conditions: &Conditions,
    behind: Option<VisitorKey>,
) -> Result<Queue, PipelineError> {
    let mut queue = Queue::behind(behind);
    let all: Vec<usize> = (0..Table::Events.schema().fields().len()).collect();
    let mut rows = rows_of(lake.clone(), Table::Events, files(tables, Table::Events, day)?, all);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let outside = filter_record_batch(&batch, &has_no_session(&batch))?;
        queue.take(&outside, conditions)?;
    }
    queue.close();
    Ok(queue)
}

/// Gives batches of the sessions of `day`, with the id that those have which are not outdated.
async fn each_outdated(
    lake: &Lake,
    tables: &[(Table, TableWriter)],
    day: Day,
    rules: &Rules,
    mut take: impl FnMut(&RecordBatch, &str),
) -> Result<(), PipelineError> {
    let columns = ["site", "visitor_id", "started_at", "config_id"];
    let columns = places_of(Table::Sessions, &columns)?;
    let config_id = rules.config_id();
    let files = files(tables, Table::Sessions, day)?;
    let mut rows = rows_of(lake.clone(), Table::Sessions, files, columns);
    while let Some(batch) = rows.next().await {
        take(&batch?, &config_id);
    }
    Ok(())
}

/// The rows that follow other rules than those of `config_id`.
fn rows_with<'r>(rows: &'r RecordBatch, config_id: &'r str) -> impl Iterator<Item = usize> + 'r {
    (0..rows.num_rows()).filter(move |row| text_at(rows, "config_id", *row) != Some(config_id))
}

fn files(
    tables: &[(Table, TableWriter)],
    wanted: Table,
    day: Day,
) -> Result<Vec<TableFile>, PipelineError> {
    let Some((_, writer)) = tables.iter().find(|(table, _)| *table == wanted) else {
        return Ok(Vec::new());
    };
    Ok(writer.files()?.into_iter().filter(|file| file.day == day).collect())
}
