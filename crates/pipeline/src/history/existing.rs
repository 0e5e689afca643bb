//! What the lake holds besides the load: events of other logs, which make rows duplicates or leave
//! them to the repair. How far they speak is left to `limit`.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{SortExpr, when};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{col, lit};
use footfall_event::schema::{Table, time_type};
use footfall_event::{EventKey, Micros};
use footfall_lake::{Lake, TableWriter};
use futures::StreamExt;

use crate::PipelineError;
use crate::scan::{context, failed, fold_order, frame, plain, table};

const COLUMNS: [&str; 4] = ["site", "visitor_id", "event_time", "event_id"];

/// Events of other logs, visitor by visitor in the order of the fold; those without a visitor by
/// their ids.
pub struct Existing {
    stream: SendableRecordBatchStream,
    batch: Option<RecordBatch>,
    row: usize,
}

/// What stands of one visitor: some 30 bytes an event.
#[derive(Debug, Default)]
pub struct OfVisitor {
    pub keys: HashSet<EventKey>,
    /// Ascending.
    pub times: Vec<Micros>,
}

impl OfVisitor {
    /// Whether an event stands within `distance` of `time`.
    pub fn is_near(&self, time: Micros, distance: Micros) -> bool {
        let behind = self.times.partition_point(|other| *other < time - distance);
        self.times.get(behind).is_some_and(|other| *other <= time + distance)
    }
}

impl Existing {
    /// # Errors
    /// `Lake`.
    pub async fn of_others(events: &TableWriter, log: &str) -> Result<Existing, PipelineError> {
        let rows = frame(&context()?, events).await?;
        let rows = rows
            .filter(col("log").not_eq(lit(log)))
            .and_then(|rows| rows.select_columns(&COLUMNS))
            .and_then(|rows| rows.sort(order()?));
        let stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
        Ok(Existing { stream, batch: None, row: 0 })
    }

    /// What stands of a visitor; visitors must be asked for in the order of the fold.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn of(&mut self, site: &str, visitor_id: &str) -> Result<OfVisitor, PipelineError> {
        let wanted = (Some(site), Some(visitor_id));
        let mut found = OfVisitor::default();
        while self.fill().await? {
            let Some(batch) = &self.batch else { break };
            let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            while self.row < batch.num_rows() {
                let [site, visitor_id, event_id] = texts(batch, self.row);
                match (site, visitor_id).cmp(&wanted) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        let (site, id) = (site.unwrap_or_default(), event_id.unwrap_or_default());
                        found.keys.insert(EventKey::of_event(site, visitor_id, id));
                        found.times.push(Micros(times.value(self.row)));
                    }
                    std::cmp::Ordering::Greater => return Ok(found),
                }
                self.row += 1;
            }
        }
        Ok(found)
    }

    /// Whether an event without a visitor stands; they must be asked for by ascending ids, before the
    /// visitors of their site.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn has_cookieless(
        &mut self,
        site: &str,
        event_id: &str,
    ) -> Result<bool, PipelineError> {
        let wanted = [Some(site), None, Some(event_id)];
        while self.fill().await? {
            let Some(batch) = &self.batch else { break };
            while self.row < batch.num_rows() {
                match texts(batch, self.row).cmp(&wanted) {
                    std::cmp::Ordering::Less => self.row += 1,
                    order => return Ok(order.is_eq()),
                }
            }
        }
        Ok(false)
    }

    /// Whether there is a row left.
    async fn fill(&mut self) -> Result<bool, PipelineError> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            let Some(batch) = self.stream.next().await else {
                self.batch = None;
                return Ok(false);
            };
            let batch = batch.map_err(failed)?;
            let events = Table::Events.schema();
            let columns: Vec<usize> =
                COLUMNS.iter().filter_map(|name| events.index_of(name).ok()).collect();
            let schema = events.project(&columns)?.into();
            self.batch = Some(plain(&batch, &schema)?);
            self.row = 0;
        }
        Ok(true)
    }
}

/// Site, visitor, id.
fn texts(batch: &RecordBatch, row: usize) -> [Option<&str>; 3] {
    [0, 1, 3].map(|column| {
        let texts = batch.column(column).as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row))
    })
}

/// As packed rows are ordered.
fn order() -> Result<Vec<SortExpr>, DataFusionError> {
    let none = lit(ScalarValue::try_new_null(&time_type())?);
    let time = when(col("visitor_id").is_null(), none).otherwise(col("event_time"))?;
    let mut order = fold_order(&["site", "visitor_id"]);
    order.extend([time.sort(true, true), col("event_id").sort(true, true)]);
    Ok(order)
}

/// Rows of a load by their numbers: a bit each.
#[derive(Default)]
pub struct RowSet(Vec<u64>);

impl RowSet {
    pub fn contains(&self, row: i64) -> bool {
        let (word, bit) = RowSet::place(row);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn insert(&mut self, row: i64) {
        let (word, bit) = RowSet::place(row);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    fn place(row: i64) -> (usize, u64) {
        let row = row.max(0) as usize;
        (row / 64, 1 << (row % 64))
    }
}

/// The rows of this load that stand in `events`.
///
/// # Errors
/// `Lake`.
pub async fn standing_rows(lake: &Lake, log: &str) -> Result<RowSet, PipelineError> {
    let rows = table(&context()?, lake, Table::Events).await?;
    let rows = rows
        .filter(col("log").eq(lit(log)))
        .and_then(|rows| rows.select_columns(&["log_offset"]))
        .map_err(failed)?;
    let mut stream = rows.execute_stream().await.map_err(failed)?;
    let mut standing = RowSet::default();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        for row in batch.column(0).as_primitive::<Int64Type>().values() {
            standing.insert(*row);
        }
    }
    Ok(standing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exactly a session's gap away is near: such events are of one session.
    #[test]
    fn what_is_as_far_away_as_may_be_is_near() {
        let (times, distance) = (vec![Micros(100), Micros(500)], Micros(30));
        let found = OfVisitor { times, ..OfVisitor::default() };
        for (time, is_near) in [(69, false), (70, true), (130, true), (131, false), (469, false)] {
            assert_eq!(found.is_near(Micros(time), distance), is_near, "{time}");
        }
    }
}
