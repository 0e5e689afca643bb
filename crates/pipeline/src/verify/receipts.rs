//! The receipts: ranges without gaps, sums that add up, and as many rows in the tables as they say.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::LakeSettings;

use super::Verified;
use super::versions::Versions;
use crate::PipelineError;
use crate::history::{context, failed, plain};

/// Each log's watermark, `None` for a load.
pub type Watermarks = BTreeMap<String, Option<Micros>>;

/// A row of `receipts`.
struct Receipt {
    log: String,
    from: i64,
    to: i64,
    site: Option<String>,
    hour: i64,
    counts: [i64; 8],
    watermark: Option<Micros>,
}

const COUNTS: [&str; 8] =
    ["received", "accepted", "on_time", "late", "duplicate", "rejected", "overflow", "pending"];
const RECEIVED: usize = 0;
const ACCEPTED: usize = 1;
const ON_TIME: usize = 2;
const LATE: usize = 3;
const DUPLICATE: usize = 4;
const REJECTED: usize = 5;
const OVERFLOW: usize = 6;
const PENDING: usize = 7;

/// Checks the receipts of a partition's live log, and with partition 0 those of the loads.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn verify(
    versions: &Versions,
    settings: &LakeSettings,
    partition: Partition,
    barrier: Option<Offset>,
    verified: &mut Verified,
) -> Result<Watermarks, PipelineError> {
    let mut watermarks = Watermarks::new();
    let mut logs: Vec<String> = versions.loads().cloned().collect();
    for load in &logs {
        watermarks.insert(load.clone(), None);
    }
    if partition != Partition(0) {
        logs.clear();
    }
    logs.push(settings.topic.clone());
    for log in logs {
        let is_live = log == settings.topic;
        let of = if is_live { partition } else { Partition(0) };
        let receipts = read(versions, &log, of).await?;
        *verified.rows.entry(Table::Receipts.name()).or_default() += receipts.len() as u64;
        let end = barrier.filter(|_| is_live);
        verify_ranges(&log, of, &receipts, end, verified);
        verify_sums(versions, &log, of, &receipts, verified).await?;
        if is_live {
            let newest = receipts.iter().max_by_key(|receipt| receipt.to);
            watermarks.insert(log, newest.and_then(|receipt| receipt.watermark));
        }
    }
    Ok(watermarks)
}

async fn read(
    versions: &Versions,
    log: &str,
    partition: Partition,
) -> Result<Vec<Receipt>, PipelineError> {
    let context = context()?;
    let rows = versions.read(Table::Receipts).await?.into_view();
    context.register_table("receipts", rows).map_err(failed)?;
    let columns: Vec<String> =
        Table::Receipts.schema().fields().iter().map(|field| field.name().clone()).collect();
    let sql = format!(
        "SELECT {} FROM receipts WHERE log = '{}' AND log_partition = {partition}",
        columns.join(", "),
        log.replace('\'', "''")
    );
    let batches = context.sql(&sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    let mut receipts = Vec::new();
    for batch in batches {
        receipts.extend(receipts_of(&plain(&batch, &Table::Receipts.schema())?));
    }
    receipts.sort_by(|a, b| (a.from, &a.site).cmp(&(b.from, &b.site)));
    Ok(receipts)
}

fn receipts_of(rows: &RecordBatch) -> Vec<Receipt> {
    let schema = Table::Receipts.schema();
    let column = |name: &str| rows.column(schema.index_of(name).unwrap_or_default());
    let whole = |name: &str, row: usize| column(name).as_primitive::<Int64Type>().value(row);
    let time =
        |name: &str, row: usize| column(name).as_primitive::<TimestampMicrosecondType>().value(row);
    let text = |name: &str, row: usize| {
        let texts = column(name).as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    };
    let receipt = |row: usize| Receipt {
        log: text("log", row).unwrap_or_default(),
        from: whole("from_offset", row),
        to: whole("to_offset", row),
        site: text("site", row),
        hour: time("hour", row),
        counts: COUNTS.map(|name| whole(name, row)),
        watermark: column("watermark").is_valid(row).then(|| Micros(time("watermark", row))),
    };
    (0..rows.num_rows()).map(receipt).collect()
}

/// Ranges follow each other from the first record to the barrier; each has one row without a site
/// and at most one of each site.
fn verify_ranges(
    log: &str,
    partition: Partition,
    receipts: &[Receipt],
    end: Option<Offset>,
    verified: &mut Verified,
) {
    let mut ranges: BTreeMap<i64, Vec<&Receipt>> = BTreeMap::new();
    for receipt in receipts {
        ranges.entry(receipt.from).or_default().push(receipt);
    }
    let mut at = None;
    for (from, rows) in &ranges {
        let place = || format!("receipt of {log}/{partition}, range from {from}");
        verified.require(at.is_none_or(|at| at == *from), || {
            format!("{}: a gap or overlap lies before it", place())
        });
        verified.require(at.is_some() || *from == 0 || end.is_none(), || {
            format!("{}: it is the first, and not from 0", place())
        });
        let first = rows[0];
        let is_alike = |row: &&Receipt| {
            (row.to, row.hour, row.watermark) == (first.to, first.hour, first.watermark)
        };
        verified.require(rows.iter().all(is_alike), || format!("{}: its rows disagree", place()));
        let mut sites: Vec<_> = rows.iter().map(|row| &row.site).collect();
        let all = sites.len();
        sites.dedup();
        verified.require(sites.len() == all && sites[0].is_none(), || {
            format!("{}: a site's row is doubled, or the row without a site is gone", place())
        });
        for row in rows {
            let c = &row.counts;
            let adds_up = c[RECEIVED] == c[ACCEPTED] + c[DUPLICATE] + c[REJECTED]
                && c[ACCEPTED] == c[ON_TIME] + c[LATE];
            let site = row.site.as_deref().unwrap_or("(none)");
            verified.require(adds_up && row.log == log, || {
                format!("{}, site {site}: it does not add up", place())
            });
        }
        at = Some(first.to);
    }
    if let Some(Offset(end)) = end {
        verified.require(at == Some(end), || {
            format!("receipt of {log}/{partition}: it ends at {at:?}, not at the barrier {end}")
        });
    }
}

/// The rows of each site in the tables are as many as its receipts say.
async fn verify_sums(
    versions: &Versions,
    log: &str,
    partition: Partition,
    receipts: &[Receipt],
    verified: &mut Verified,
) -> Result<(), PipelineError> {
    let mut sums: BTreeMap<String, [i64; 8]> = BTreeMap::new();
    for receipt in receipts {
        let Some(site) = &receipt.site else { continue };
        let sum = sums.entry(site.clone()).or_default();
        for (count, sum) in receipt.counts.iter().zip(sum.iter_mut()).take(PENDING) {
            *sum += count;
        }
        // Receipts ascend, so the last one's stands.
        sum[PENDING] = receipt.counts[PENDING];
    }
    let counted = count_rows(versions, log, partition).await?;
    let sites: std::collections::BTreeSet<&String> = sums.keys().chain(counted.keys()).collect();
    for site in sites {
        let sum = sums.get(site).copied().unwrap_or_default();
        let rows = counted.get(site).copied().unwrap_or_default();
        let checks = [
            ("events", rows[0], sum[ACCEPTED] - sum[PENDING]),
            ("late events", rows[1], sum[LATE]),
            ("events beyond a cap", rows[2], sum[OVERFLOW]),
            ("duplicates", rows[3], sum[DUPLICATE]),
            ("rejected", rows[4], sum[REJECTED]),
            ("events that stand more than once", rows[5], 0),
        ];
        for (what, found, said) in checks {
            verified.require(found == said, || {
                format!("{log}/{partition}, site {site}: {found} {what}, the receipt says {said}")
            });
        }
        for (table, count) in [("events", rows[0]), ("duplicates", rows[3]), ("rejected", rows[4])]
        {
            *verified.rows.entry(table).or_default() += count as u64;
        }
    }
    Ok(())
}

/// By site: events, late ones, overflowing ones, duplicates, rejected, events too many.
async fn count_rows(
    versions: &Versions,
    log: &str,
    partition: Partition,
) -> Result<BTreeMap<String, [i64; 6]>, PipelineError> {
    let context = context()?;
    for table in [Table::Events, Table::Duplicates, Table::Rejected] {
        let rows = versions.read(table).await?.into_view();
        context.register_table(table.name(), rows).map_err(failed)?;
    }
    let of = format!("log = '{}' AND log_partition = {partition}", log.replace('\'', "''"));
    let queries = [
        (0, format!("SELECT site, count(*) FROM events WHERE {of} GROUP BY site")),
        (1, format!("SELECT site, count(*) FROM events WHERE {of} AND late GROUP BY site")),
        (2, format!("SELECT site, count(*) FROM events WHERE {of} AND overflow GROUP BY site")),
        (3, format!("SELECT site, count(*) FROM duplicates WHERE {of} GROUP BY site")),
        (4, format!("SELECT site, count(*) FROM rejected WHERE {of} GROUP BY site")),
        (
            5,
            format!(
                "SELECT site, sum(n - 1) FROM (SELECT site, visitor_id, event_id, count(*) AS n FROM events \
             WHERE {of} GROUP BY site, visitor_id, event_id HAVING count(*) > 1) GROUP BY site"
            ),
        ),
    ];
    let mut counted: BTreeMap<String, [i64; 6]> = BTreeMap::new();
    for (which, sql) in queries {
        let batches = context.sql(&sql).await.map_err(failed)?.collect().await.map_err(failed)?;
        for batch in batches {
            let sites = cast(batch.column(0), &DataType::Utf8)?;
            let counts = cast(batch.column(1), &DataType::Int64)?;
            for row in 0..batch.num_rows() {
                let site = sites.as_string::<i32>().value(row).to_owned();
                counted.entry(site).or_default()[which] =
                    counts.as_primitive::<Int64Type>().value(row);
            }
        }
    }
    Ok(counted)
}
