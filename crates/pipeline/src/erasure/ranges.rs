//! Which ranges of the receipts count the rows of `events` that an erasure takes: `verify` adds them to
//! the rows that are left.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::{col, lit};
use footfall_event::schema::Table;
use footfall_event::{Micros, Partition};
use footfall_lake::Lake;

use super::{ErasedRange, Erasure};
use crate::PipelineError;
use crate::scan::{context, failed, table};

/// A row of `events`, as far as the receipts go.
#[derive(Clone, Copy, Debug)]
pub struct EventPlace<'r> {
    pub log: &'r str,
    pub partition: i32,
    pub offset: i64,
    pub event_time: Micros,
    pub is_late: bool,
    pub overflows: bool,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    from: i64,
    to: i64,
    watermark: Option<Micros>,
}

/// The ranges of the logs that hold rows of a person, and what was counted of each.
pub struct Ranges {
    /// By log and partition, ascending.
    ranges: HashMap<(String, i32), Vec<Range>>,
    log: String,
    control_offsets: BTreeMap<i32, i64>,
    counted: BTreeMap<(String, i32, i64), ErasedRange>,
}

impl Ranges {
    /// Those of the person's partition, and of all loads.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn read(
        lake: &Lake,
        erasure: &Erasure,
        home: Partition,
    ) -> Result<Ranges, PipelineError> {
        let is_live = col("log").eq(lit(erasure.log.as_str()));
        let is_live = is_live.and(col("log_partition").eq(lit(home.0)));
        let rows = table(&context()?, lake, Table::Receipts).await?;
        let rows = rows
            .filter(col("site").is_null())
            .and_then(|rows| rows.filter(is_live.or(col("log").like(lit("load:%")))))
            .and_then(|rows| {
                let columns = ["log", "log_partition", "from_offset", "to_offset", "watermark"];
                rows.select_columns(&columns)
            })
            .map_err(failed)?;
        let mut ranges: HashMap<(String, i32), Vec<Range>> = HashMap::new();
        for batch in rows.collect().await.map_err(failed)? {
            let logs = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            let logs = logs.as_string::<i32>();
            let partitions = batch.column(1).as_primitive::<Int32Type>();
            let whole = |column: usize| batch.column(column).as_primitive::<Int64Type>();
            let watermarks = batch.column(4).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                let watermark = watermarks.is_valid(row).then(|| Micros(watermarks.value(row)));
                let range = Range { from: whole(2).value(row), to: whole(3).value(row), watermark };
                let part = (logs.value(row).to_owned(), partitions.value(row));
                ranges.entry(part).or_default().push(range);
            }
        }
        ranges.values_mut().for_each(|ranges| ranges.sort_by_key(|range| range.from));
        let (log, control_offsets) = (erasure.log.clone(), erasure.control_offsets.clone());
        Ok(Ranges { ranges, log, control_offsets, counted: BTreeMap::new() })
    }

    /// Counts a row that goes. A load that has no receipt yet has no range.
    pub fn count(&mut self, event: EventPlace<'_>) {
        let Some((read, written)) = self.ranges_of(&event) else { return };
        let range = self.at(&event, read);
        range.overflow += i64::from(event.overflows && event.is_late);
        match event.is_late {
            true => range.late += 1,
            false => {
                range.on_time += 1;
                let range = self.at(&event, written);
                range.written += 1;
                range.overflow += i64::from(event.overflows);
            }
        }
    }

    /// Where the ranges begin that read an event and that let its row be written: the first whose
    /// watermark has passed it, but at the latest that of the control record, which let all be written.
    fn ranges_of(&self, event: &EventPlace<'_>) -> Option<(i64, i64)> {
        let ranges = self.ranges.get(&(event.log.to_owned(), event.partition))?;
        let holds = |offset: i64| ranges.partition_point(|range| range.to <= offset);
        let read = holds(event.offset);
        let mut written = read;
        if event.log == self.log {
            let not_passed =
                |range: &Range| range.watermark.is_none_or(|passed| passed <= event.event_time);
            let control = self.control_offsets.get(&event.partition).copied()?;
            written = read.max(ranges.partition_point(not_passed)).min(holds(control));
        }
        Some((ranges.get(read)?.from, ranges.get(written)?.from))
    }

    fn at(&mut self, event: &EventPlace<'_>, from_offset: i64) -> &mut ErasedRange {
        let (log, log_partition) = (event.log.to_owned(), event.partition);
        let place = (log.clone(), log_partition, from_offset);
        let empty = ErasedRange { log, log_partition, from_offset, ..ErasedRange::default() };
        self.counted.entry(place).or_insert(empty)
    }

    /// What was counted, in the place of what `before` says of the same logs: an erasure that died before
    /// it took the rows counts them again.
    pub fn replace(self, before: &mut Vec<ErasedRange>) {
        let logs: Vec<(String, i32)> =
            self.counted.keys().map(|(log, partition, _)| (log.clone(), *partition)).collect();
        before.retain(|range| !logs.contains(&(range.log.clone(), range.log_partition)));
        before.extend(self.counted.into_values());
    }
}
