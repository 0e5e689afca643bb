//! The receipts recomputed from the rows of `events`, `duplicates` and `rejected`: each record counts
//! in the range that holds it, and an event's row was written in the first range whose watermark has
//! passed it.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use datafusion::prelude::{SessionContext, col, lit};
use footfall_event::schema::Table;
use footfall_event::{Day, Micros, Offset, Reason};
use futures::StreamExt;

use super::Verified;
use super::erased::Erased;
use super::receipts::{Counts, LogPart, Range};
use super::versions::Versions;
use crate::PipelineError;
use crate::erasure::ErasedRange;
use crate::scan::{context, failed, plain, text_at};

/// Holds the ranges against the rows of a log's partition.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn verify(
    versions: &Versions,
    part: &LogPart,
    ranges: &[Range],
    (has_repaired, erased): (bool, &Erased),
    verified: &mut Verified,
) -> Result<(), PipelineError> {
    let mut tally = Tally::new(part, ranges, has_repaired);
    tally.removed = versions.removed().map(|(table, day)| (table, day.start())).collect();
    for (site, range) in erased.ranges(part) {
        tally.add_erased(site, range);
    }
    for (table, columns) in COLUMNS {
        let schema = schema_of(table, columns)?;
        let is_of = col("log").eq(lit(part.log.as_str()));
        let is_of = is_of.and(col("log_partition").eq(lit(part.partition.0)));
        let rows = versions.read(&context()?, table).await?.filter(is_of);
        let rows = rows.and_then(|rows| rows.select_columns(columns)).map_err(failed)?;
        let mut stream = rows.execute_stream().await.map_err(failed)?;
        while let Some(batch) = stream.next().await {
            let batch = plain(&batch.map_err(failed)?, &schema)?;
            verified.looked_at(table, batch.num_rows() as u64);
            tally.take(table, &batch, verified);
        }
    }
    tally.hold(verified);
    verify_once(versions, part, verified).await
}

/// How far a collector's clock may be from the log's before rows that retention removed look lost.
const CLOCKS_APART_MAX: Micros = Micros::DAY;

const COLUMNS: [(Table, &[&str]); 3] = [
    (
        Table::Events,
        &[
            "site",
            "log_offset",
            "event_time",
            "event_date",
            "event_id",
            "event_name",
            "visitor_id",
            "session_id",
            "late",
            "overflow",
        ],
    ),
    (Table::Duplicates, &["site", "log_offset", "received_time", "received_date", "event_id"]),
    (
        Table::Rejected,
        &[
            "site",
            "log_offset",
            "received_time",
            "received_date",
            "reason",
            "payload",
            "payload_bytes",
        ],
    ),
];

fn schema_of(table: Table, columns: &[&str]) -> Result<SchemaRef, PipelineError> {
    let schema = table.schema();
    let places = columns.iter().map(|column| schema.index_of(column));
    Ok(schema.project(&places.collect::<Result<Vec<_>, _>>()?)?.into())
}

/// What the tables hold of one range and site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    on_time: i64,
    late: i64,
    duplicate: i64,
    rejected: i64,
    /// Events on time whose row a record of the range let be written, and those that overflow.
    written: i64,
    overflow: i64,
}

struct Tally<'r> {
    part: &'r LogPart,
    ranges: &'r [Range],
    /// Late events that found their session may have put others beyond the cap, and rows of a load
    /// whose event is live too became duplicates.
    has_repaired: bool,
    /// The time from which on retention left all rows, of tables that it removed days of.
    removed: BTreeMap<Table, Micros>,
    /// By range, then by site.
    found: Vec<BTreeMap<String, Found>>,
}

/// An event's row, as far as the receipt goes.
struct EventRow<'r> {
    site: &'r str,
    offset: Offset,
    event_time: Micros,
    is_late: bool,
    overflows: bool,
}

impl<'r> Tally<'r> {
    fn new(part: &'r LogPart, ranges: &'r [Range], has_repaired: bool) -> Tally<'r> {
        let (removed, found) = (BTreeMap::new(), vec![BTreeMap::new(); ranges.len()]);
        Tally { part, ranges, has_repaired, removed, found }
    }

    /// Counts rows, whose first four columns are site, record, time and day.
    fn take(&mut self, table: Table, rows: &RecordBatch, verified: &mut Verified) {
        let offsets = rows.column(1).as_primitive::<Int64Type>();
        let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
        let days = rows.column(3).as_primitive::<Date32Type>();
        for row in 0..rows.num_rows() {
            let site = text_at(rows, "site", row).unwrap_or_default();
            let (offset, time) = (Offset(offsets.value(row)), Micros(times.value(row)));
            let is_sound = Day(days.value(row)) == time.day()
                && (0..4).all(|column| rows.column(column).is_valid(row))
                && match table {
                    Table::Events => is_sound_event(rows, row),
                    Table::Rejected => is_sound_rejection(rows, row),
                    _ => text_at(rows, "event_id", row).is_some(),
                };
            let part = self.part;
            verified.require(is_sound, || {
                format!(
                    "`{}`: record {offset} of {part}: its columns contradict each other",
                    table.name()
                )
            });
            let is_counted = match table {
                Table::Events => {
                    let flag = |column| rows.column(column).as_boolean().value(row);
                    let (is_late, overflows) = (flag(8), flag(9));
                    let event = EventRow { site, offset, event_time: time, is_late, overflows };
                    self.event(&event)
                }
                Table::Duplicates => self.count(site, offset, |found| found.duplicate += 1),
                _ => self.count(site, offset, |found| found.rejected += 1),
            };
            verified.require(is_counted, || {
                format!("`{}`: record {offset} of {part} stands in no range of the receipt, or its row was not due", table.name())
            });
        }
    }

    /// Whether the event has a place in the receipt.
    fn event(&mut self, event: &EventRow<'_>) -> bool {
        let EventRow { site, offset, event_time, is_late, overflows } = *event;
        let Some(read) = self.range_of(offset) else { return false };
        if is_late {
            entry(&mut self.found[read], site).late += 1;
            return true;
        }
        entry(&mut self.found[read], site).on_time += 1;
        let not_passed = |range: &Range| range.watermark.is_none_or(|passed| passed <= event_time);
        let written = match self.part.is_load {
            true => read,
            false => read.max(self.ranges.partition_point(not_passed)),
        };
        let Some(found) = self.found.get_mut(written) else { return false };
        let found = entry(found, site);
        found.written += 1;
        found.overflow += i64::from(overflows);
        true
    }

    /// Counts rows that went as if they stood. Those of a range behind the barrier are not looked for.
    fn add_erased(&mut self, site: &str, erased: &ErasedRange) {
        let Some(range) = self.range_of(Offset(erased.from_offset)) else { return };
        let found = entry(&mut self.found[range], site);
        found.on_time += erased.on_time;
        found.late += erased.late;
        found.written += erased.written;
        found.overflow += erased.overflow;
    }

    fn count(&mut self, site: &str, offset: Offset, add: impl FnOnce(&mut Found)) -> bool {
        let Some(range) = self.range_of(offset) else { return false };
        add(entry(&mut self.found[range], site));
        true
    }

    fn range_of(&self, offset: Offset) -> Option<usize> {
        let range = self.ranges.partition_point(|range| range.to <= offset);
        self.ranges.get(range).is_some_and(|at| at.from <= offset).then_some(range)
    }

    /// Holds each row of the receipt against what was counted.
    fn hold(&self, verified: &mut Verified) {
        let mut pending: BTreeMap<&str, i64> = BTreeMap::new();
        let mut watermark = None;
        for (range, found) in self.ranges.iter().zip(&self.found) {
            let sites: BTreeSet<&String> = range.sites.keys().chain(found.keys()).collect();
            for site in sites {
                let found = found.get(site).copied().unwrap_or_default();
                let before = pending.entry(site).or_default();
                let mistakes = match range.sites.get(site) {
                    None => vec!["the site has records there and no row".to_owned()],
                    Some(said) => {
                        let found = match self.has_repaired {
                            true => self.as_it_was_read(said, found),
                            false => found,
                        };
                        let found = self.with_removed(said, found, *before, watermark);
                        let mistakes = mistakes(said, found, *before);
                        *before = said.pending;
                        mistakes
                    }
                };
                for mistake in mistakes {
                    let (part, from) = (self.part, range.from);
                    verified.differ(|| {
                        format!("receipt of {part}, range from {from}, site {site}: {mistake}")
                    });
                }
            }
            watermark = range.watermark;
        }
    }

    /// What was found, and what the receipt says of it where retention may have removed some of it. What
    /// the range let be written lies behind `watermark`, that of the range before.
    fn with_removed(
        &self,
        said: &Counts,
        mut found: Found,
        pending: i64,
        watermark: Option<Micros>,
    ) -> Found {
        let may_be_gone = |table: Table, leeway: Micros| {
            let from = self.removed.get(&table);
            from.is_some_and(|from| watermark.is_none_or(|watermark| watermark < *from + leeway))
        };
        // More than there was is a mistake all the same.
        let fill = |found: &mut i64, said: i64| *found = said.max(*found);
        if self.removed.contains_key(&Table::Events) {
            // Nothing says how late they were.
            fill(&mut found.late, said.late);
        }
        if may_be_gone(Table::Events, Micros(0)) {
            fill(&mut found.written, pending + said.on_time - said.pending);
            fill(&mut found.overflow, said.overflow);
        }
        if may_be_gone(Table::Duplicates, CLOCKS_APART_MAX) {
            fill(&mut found.duplicate, said.duplicate);
        }
        if may_be_gone(Table::Rejected, CLOCKS_APART_MAX) {
            fill(&mut found.rejected, said.rejected);
        }
        found
    }

    /// What was found, less what repairs changed of it.
    fn as_it_was_read(&self, said: &Counts, found: Found) -> Found {
        let mut found = Found { overflow: said.overflow, ..found };
        let moved = (found.duplicate - said.duplicate).max(0);
        let missing = (said.late - found.late, said.on_time - found.on_time);
        let gone = missing.0 + missing.1 - moved;
        let may_be_gone = self.removed.contains_key(&Table::Events);
        let is_moved = missing.0 >= 0 && missing.1 >= 0 && (gone == 0 || may_be_gone && gone > 0);
        if self.part.is_load && is_moved {
            found.duplicate -= moved;
            (found.late, found.on_time) = (said.late, said.on_time);
            found.written += missing.1;
        }
        found
    }
}

/// What a row of the receipt says wrongly; `pending` is what was pending before it.
fn mistakes(said: &Counts, found: Found, pending: i64) -> Vec<String> {
    let mut mistakes = Vec::new();
    let counts = [
        ("late events", found.late, said.late),
        ("duplicates", found.duplicate, said.duplicate),
        ("rejected", found.rejected, said.rejected),
        ("events beyond a cap", found.overflow, said.overflow),
    ];
    for (what, found, said) in counts {
        if found != said {
            mistakes.push(format!("{found} {what}, the receipt says {said}"));
        }
    }
    if found.on_time > said.on_time {
        mistakes
            .push(format!("{} events on time, the receipt says {}", found.on_time, said.on_time));
    }
    let still = pending + said.on_time - found.written;
    if still != said.pending || still < 0 {
        mistakes.push(format!(
            "with the rows of `events` {still} are pending, the receipt says {}",
            said.pending
        ));
    }
    if said.received == 0 && found.written == 0 {
        mistakes.push("it has a row, and no record there is of the site".to_owned());
    }
    mistakes
}

/// The site's entry, without an allocation where there is one.
fn entry<'m>(sites: &'m mut BTreeMap<String, Found>, site: &str) -> &'m mut Found {
    if !sites.contains_key(site) {
        sites.insert(site.to_owned(), Found::default());
    }
    sites.get_mut(site).unwrap_or_else(|| unreachable!("the site was just added"))
}

/// What an event's columns say of each other. The sessions are left to the fold.
fn is_sound_event(rows: &RecordBatch, row: usize) -> bool {
    let (late, overflow) = (rows.column(8).as_boolean(), rows.column(9).as_boolean());
    // A late event that was repaired has a session.
    let is_of_none = text_at(rows, "visitor_id", row).is_none();
    let says_none = text_at(rows, "session_id", row).is_none() && !overflow.value(row);
    text_at(rows, "event_id", row).is_some()
        && text_at(rows, "event_name", row).is_some()
        && (late.is_valid(row) && overflow.is_valid(row))
        && (says_none || !is_of_none)
}

fn is_sound_rejection(rows: &RecordBatch, row: usize) -> bool {
    let reason = text_at(rows, "reason", row);
    let bytes = rows.column(6).as_primitive::<Int64Type>();
    text_at(rows, "payload", row).is_some()
        && (bytes.is_valid(row) && bytes.value(row) >= 0)
        && Reason::ALL.iter().any(|known| Some(known.code()) == reason)
}

/// No record has two rows. One event may: a full memory forgets ids early, and an event that a client
/// with a wrong clock sent again later is not recognised (docs/semantics.md, section 2).
async fn verify_once(
    versions: &Versions,
    part: &LogPart,
    verified: &mut Verified,
) -> Result<(), PipelineError> {
    let context = context()?;
    for (table, _) in COLUMNS {
        let rows = versions.read(&context, table).await?.into_view();
        context.register_table(table.name(), rows).map_err(failed)?;
    }
    let of =
        format!("log = '{}' AND log_partition = {}", part.log.replace('\'', "''"), part.partition);
    let records =
        COLUMNS.map(|(table, _)| format!("SELECT log_offset FROM {} WHERE {of}", table.name()));
    let records = records.join(" UNION ALL ");
    let twice = format!(
        "SELECT count(*) FROM \
         (SELECT log_offset FROM ({records}) GROUP BY log_offset HAVING count(*) > 1)"
    );
    let twice = number(&context, &twice).await?;
    verified.require(twice == 0, || format!("{part}: {twice} records have more than one row"));
    let again = format!(
        "SELECT sum(rows - 1) FROM (SELECT count(*) AS rows FROM events WHERE {of} \
         GROUP BY site, visitor_id, event_id HAVING count(*) > 1)"
    );
    let again = number(&context, &again).await?;
    if again > 0 && twice == 0 {
        verified.notes.push(format!(
            "{part}: {again} events were sent again after their ids were forgotten, and stand there again"
        ));
    }
    Ok(())
}

/// The one number that a question is answered with; 0 for NULL.
async fn number(context: &SessionContext, sql: &str) -> Result<i64, PipelineError> {
    let batches = context.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    let Some(batch) = batches.first().filter(|batch| batch.num_rows() > 0) else { return Ok(0) };
    let numbers = cast(batch.column(0), &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(if numbers.is_valid(0) { numbers.value(0) } else { 0 })
}

#[cfg(test)]
mod tests;
