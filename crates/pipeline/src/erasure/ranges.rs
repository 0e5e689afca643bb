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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges of ten records, each with its watermark in seconds, and a control record.
    fn ranges(watermarks: &[Option<i64>], control: i64) -> Ranges {
        let range = |(number, seconds): (usize, &Option<i64>)| Range {
            from: number as i64 * 10,
            to: number as i64 * 10 + 10,
            watermark: seconds.map(|seconds| Micros(seconds * 1_000_000)),
        };
        let ranges = watermarks.iter().enumerate().map(range).collect();
        Ranges {
            ranges: HashMap::from([(("live".to_owned(), 0), ranges)]),
            log: "live".to_owned(),
            control_offsets: BTreeMap::from([(0, control)]),
            counted: BTreeMap::new(),
        }
    }

    fn event(offset: i64, seconds: i64) -> EventPlace<'static> {
        let event_time = Micros(seconds * 1_000_000);
        EventPlace {
            log: "live",
            partition: 0,
            offset,
            event_time,
            is_late: false,
            overflows: false,
        }
    }

    #[track_caller]
    fn check(control: i64, event: EventPlace<'_>, expected: Option<(i64, i64)>) {
        let ranges = ranges(&[None, Some(5), Some(20), Some(40)], control);
        assert_eq!(ranges.ranges_of(&event), expected);
    }

    #[test]
    fn a_row_was_written_where_the_watermark_passed_it_or_where_the_person_was_erased() {
        check(35, event(3, 4), Some((0, 10)));
        check(35, event(3, 5), Some((0, 20)));
        check(35, event(12, 30), Some((10, 30)));
        // It was held still.
        check(25, event(12, 30), Some((10, 20)));
        check(12, event(3, 30), Some((0, 10)));
        check(35, event(99, 1), None);
    }

    #[test]
    fn what_was_counted_before_stays_where_nothing_is_left_to_count() {
        let mut before = vec![ErasedRange { log: "load:x".to_owned(), ..ErasedRange::default() }];
        let mut first = ranges(&[Some(5)], 9);
        first.count(event(1, 1));
        first.count(EventPlace { is_late: true, overflows: true, ..event(2, 1) });
        first.replace(&mut before);
        assert_eq!(before.len(), 2);
        let live = before[1].clone();
        assert_eq!((live.on_time, live.late, live.written, live.overflow), (1, 1, 1, 1));
        ranges(&[Some(5)], 9).replace(&mut before);
        assert_eq!(before.len(), 2);
    }
}
