//! The receipts: ranges that follow each other, rows that add up, clocks that never go back. What
//! the other tables hold of each range is left to the tally.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::{col, lit};
use footfall_event::schema::Table;
use footfall_event::{Day, Micros, Offset, Partition};

use super::Verified;
use super::erased::Erased;
use super::rules::KnownRules;
use super::tally;
use super::versions::Versions;
use crate::PipelineError;
use crate::scan::{context, failed, plain};

/// The logs whose rows are verified, each with its watermark; `None` for a load.
pub type Watermarks = BTreeMap<String, Option<Micros>>;

/// What a row of `receipts` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub received: i64,
    pub accepted: i64,
    pub on_time: i64,
    pub late: i64,
    pub duplicate: i64,
    pub rejected: i64,
    pub overflow: i64,
    pub pending: i64,
}

impl Counts {
    fn adds_up(&self) -> bool {
        let all = [self.on_time, self.late, self.duplicate, self.rejected];
        let is_natural = all.iter().chain([&self.overflow, &self.pending]).all(|count| *count >= 0);
        is_natural
            && self.received == self.accepted + self.duplicate + self.rejected
            && self.accepted == self.on_time + self.late
    }
}

/// A row of `receipts`.
#[derive(Clone, Debug)]
struct Receipt {
    from: Offset,
    to: Offset,
    site: Option<String>,
    hour: Micros,
    day: Day,
    counts: Counts,
    watermark: Option<Micros>,
}

/// A range of a log's partition, with the counts of each site that has a row. All ranges of one
/// partition are held at once, some 200 bytes a row of `receipts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Offset,
    pub to: Offset,
    pub watermark: Option<Micros>,
    pub sites: BTreeMap<String, Counts>,
}

/// One partition of the topic, or a load.
#[derive(Clone, Debug)]
pub struct LogPart {
    pub log: String,
    pub partition: Partition,
    pub is_load: bool,
}

impl std::fmt::Display for LogPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.log, self.partition)
    }
}

/// Checks the receipts of a partition's live log, and with partition 0 those of the loads.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn verify(
    versions: &Versions,
    rules: &KnownRules,
    erased: &Erased,
    barrier: Option<Offset>,
    has_repaired: bool,
    verified: &mut Verified,
) -> Result<Watermarks, PipelineError> {
    let mut watermarks: Watermarks = versions.loads().map(|load| (load.clone(), None)).collect();
    let mut parts = Vec::new();
    if versions.partition == Partition(0) {
        let of =
            |log: &String| LogPart { log: log.clone(), partition: Partition(0), is_load: true };
        parts.extend(versions.loads().map(of));
    }
    if versions.has_live() {
        let (log, partition) = (versions.topic.clone(), versions.partition);
        parts.push(LogPart { log, partition, is_load: false });
    }
    for part in parts {
        let receipts = read(versions, &part).await?;
        verified.looked_at(Table::Receipts, receipts.len() as u64);
        let ranges = verify_ranges(&part, receipts, barrier, rules.lateness(), verified);
        let has_repaired = has_repaired || erased.has_repaired(&part);
        tally::verify(versions, &part, &ranges, (has_repaired, erased), verified).await?;
        if !part.is_load {
            watermarks.insert(part.log, ranges.last().and_then(|range| range.watermark));
        }
    }
    Ok(watermarks)
}

/// The rows of a log's partition, range by range, the one without a site first.
async fn read(versions: &Versions, part: &LogPart) -> Result<Vec<Receipt>, PipelineError> {
    let schema = Table::Receipts.schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let is_of = col("log").eq(lit(part.log.as_str()));
    let is_of = is_of.and(col("log_partition").eq(lit(part.partition.0)));
    let rows = versions.read(&context()?, Table::Receipts).await?.filter(is_of);
    let rows = rows.and_then(|rows| rows.select_columns(&columns)).map_err(failed)?;
    let mut receipts = Vec::new();
    for batch in rows.collect().await.map_err(failed)? {
        receipts.extend(receipts_of(&plain(&batch, &schema)?));
    }
    receipts.sort_by(|a, b| (a.from, &a.site).cmp(&(b.from, &b.site)));
    Ok(receipts)
}

fn receipts_of(rows: &RecordBatch) -> Vec<Receipt> {
    let schema = Table::Receipts.schema();
    let column = |name: &str| rows.column(schema.index_of(name).unwrap_or_default());
    let whole = |name: &str, row: usize| column(name).as_primitive::<Int64Type>().value(row);
    let time = |name: &str, row: usize| {
        Micros(column(name).as_primitive::<TimestampMicrosecondType>().value(row))
    };
    let receipt = |row: usize| Receipt {
        from: Offset(whole("from_offset", row)),
        to: Offset(whole("to_offset", row)),
        site: crate::scan::text_at(rows, "site", row).map(str::to_owned),
        hour: time("hour", row),
        day: Day(column("receipt_date").as_primitive::<Date32Type>().value(row)),
        counts: Counts {
            received: whole("received", row),
            accepted: whole("accepted", row),
            on_time: whole("on_time", row),
            late: whole("late", row),
            duplicate: whole("duplicate", row),
            rejected: whole("rejected", row),
            overflow: whole("overflow", row),
            pending: whole("pending", row),
        },
        watermark: column("watermark").is_valid(row).then(|| time("watermark", row)),
    };
    (0..rows.num_rows()).map(receipt).collect()
}

/// Checks ranges by themselves; `receipts` are sorted by range and site. The first of a live log
/// begins where the log began when the lake was made.
fn verify_ranges(
    part: &LogPart,
    receipts: Vec<Receipt>,
    barrier: Option<Offset>,
    lateness: (Micros, Micros),
    verified: &mut Verified,
) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut hours: Vec<Micros> = Vec::new();
    for rows in receipts.chunk_by(|a, b| a.from == b.from) {
        let first = &rows[0];
        verify_rows(part, rows, verified);
        let differ = |what: &str| format!("receipt of {part}, range from {}: {what}", first.from);
        if let (Some(before), Some(hour)) = (ranges.last(), hours.last()) {
            let follows = before.to == first.from;
            verified.require(follows, || differ("a gap or overlap lies before it"));
            let is_behind = before.watermark <= first.watermark;
            verified.require(is_behind, || differ("its watermark lies before the last one"));
            // Before log time is known, hours are those of append times, which may go back.
            let is_behind = before.watermark.is_none() || *hour <= first.hour;
            verified.require(is_behind, || differ("its hour lies before the last one"));
        }
        verify_clock(first, lateness, verified, &differ);
        hours.push(first.hour);
        let sites = rows.iter().filter_map(|row| Some((row.site.clone()?, row.counts)));
        let Receipt { from, to, watermark, .. } = *first;
        ranges.push(Range { from, to, watermark, sites: sites.collect() });
    }
    verify_ends(part, &ranges, barrier, verified);
    ranges
}

/// The rows of one range.
fn verify_rows(part: &LogPart, rows: &[Receipt], verified: &mut Verified) {
    let first = &rows[0];
    let differ = |what: &str| format!("receipt of {part}, range from {}: {what}", first.from);
    verified.require(first.from < first.to, || differ("it is empty"));
    let is_alike = |row: &Receipt| {
        (row.to, row.hour, row.day, row.watermark)
            == (first.to, first.hour, first.day, first.watermark)
    };
    verified.require(rows.iter().all(is_alike), || differ("its rows disagree"));
    let is_doubled = rows.windows(2).any(|pair| pair[0].site == pair[1].site);
    verified.require(!is_doubled && first.site.is_none(), || {
        differ("a site's row is doubled, or the row without a site is gone")
    });
    for row in rows {
        let is_right = match row.site {
            Some(_) => row.counts.adds_up(),
            None => row.counts == Counts::default(),
        };
        let site = row.site.as_deref().unwrap_or("(none)");
        verified.require(is_right, || differ(&format!("the row of site {site} does not add up")));
    }
    let received: i64 = rows.iter().map(|row| row.counts.received).sum();
    let records = first.to.0 - first.from.0;
    // Of live records some are ticks and control records, which are not counted.
    let fits = if part.is_load { received == records } else { received <= records };
    verified.require(fits, || differ(&format!("{received} received of {records} records")));
}

/// Log time is the watermark and the lateness, and lies in the range's hour.
fn verify_clock(
    range: &Receipt,
    (least, greatest): (Micros, Micros),
    verified: &mut Verified,
    differ: &dyn Fn(&str) -> String,
) {
    let is_whole = range.hour == range.hour.hour() && range.day == range.hour.day();
    verified.require(is_whole, || differ("its hour is none, or is not of its day"));
    if let Some(watermark) = range.watermark {
        let hours = (watermark + least).hour()..=(watermark + greatest).hour();
        let fits = hours.contains(&range.hour);
        verified.require(fits, || differ("its watermark does not lie in its hour"));
    }
}

/// Where the ranges begin and end.
fn verify_ends(part: &LogPart, ranges: &[Range], barrier: Option<Offset>, verified: &mut Verified) {
    if part.is_load {
        let is_one = matches!(ranges, [Range { from: Offset(0), watermark: None, .. }]);
        verified.require(is_one, || {
            format!("receipt of {part}: a load has one range, from 0 and without a watermark")
        });
    } else if let Some(barrier) = barrier {
        // No range is written before the first record.
        let end = ranges.last().map_or(Offset(0), |range| range.to);
        verified.require(end == barrier, || {
            format!("receipt of {part}: it ends at {end}, not at the barrier {barrier}")
        });
    }
}

#[cfg(test)]
mod tests;
