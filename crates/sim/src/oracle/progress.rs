//! What the tables say so far, asked while a run goes on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use footfall_event::schema::Table;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Lake;
use footfall_log::{Kind, Record};
use serde_json::Value;

use super::{Found, fixed_rules, is_live, shown};
use crate::broker::Broker;
use crate::tables::{rows, text, time, whole};

/// Whether each of these visitors has an event in the lake.
///
/// # Errors
/// When the lake cannot be read.
pub async fn has_events_of(lake: &Lake, visitors: &[String]) -> Result<bool> {
    let events = rows(lake, Table::Events).await?;
    let found: BTreeSet<&str> = events.iter().map(|event| text(event, "visitor_id")).collect();
    Ok(visitors.iter().all(|visitor_id| found.contains(visitor_id.as_str())))
}

/// Whether anything was read live, up to a receipt.
///
/// # Errors
/// When the lake cannot be read.
pub async fn has_receipts(lake: &Lake) -> Result<bool> {
    Ok(received(lake).await?.is_some())
}

/// A partition that was read live, and up to where a receipt tells of it.
///
/// # Errors
/// When the lake cannot be read.
pub async fn received(lake: &Lake) -> Result<Option<(Partition, Offset)>> {
    let receipts = rows(lake, Table::Receipts).await?;
    let told = |row: &Value| {
        (Partition(whole(row, "log_partition") as i32), Offset(whole(row, "to_offset")))
    };
    Ok(receipts.iter().filter(|row| is_live(row)).map(told).max())
}

/// The events that are in no session, and the newest receipts.
///
/// # Errors
/// When the lake cannot be read.
pub async fn without_session(lake: &Lake) -> Result<String> {
    let events = rows(lake, Table::Events).await?;
    let waiting: Vec<&Value> = events.iter().filter(|row| row["session_id"].is_null()).collect();
    let mut newest = BTreeMap::new();
    for row in rows(lake, Table::Receipts).await? {
        let key = (text(&row, "log").to_owned(), whole(&row, "log_partition"));
        let told = (whole(&row, "to_offset"), text(&row, "watermark").to_owned());
        let known = newest.entry(key).or_insert(told.clone());
        *known = told.max(known.clone());
    }
    Ok(format!("{}\nreceipts: {newest:?}", shown(&waiting)))
}

/// Stands for the rows of events and of what follows from them.
///
/// # Errors
/// When the lake cannot be read.
pub async fn rows_of_events(lake: &Lake) -> Result<u64> {
    let mut found = Found::read(lake).await?;
    found.receipts.clear();
    Ok(found.digest())
}

/// Whether the tables speak of all events, and of every session as closed.
///
/// # Errors
/// When the lake cannot be read.
pub async fn is_settled(broker: &Broker, lake: &Lake) -> Result<bool> {
    let receipts = rows(lake, Table::Receipts).await?;
    for partition in 0..broker.partitions() as i64 {
        let records = broker.records(Partition(partition as i32));
        let is_said = |record: &&Record| matches!(record.kind, Kind::Event | Kind::Rejected);
        let Some(last) = records.iter().rfind(is_said) else { continue };
        let newest = Found::of(&receipts, partition).max_by_key(|row| whole(row, "to_offset"));
        let Some(newest) = newest else { return Ok(false) };
        let events = records.iter().filter(|record| record.kind == Kind::Event);
        let latest = events.filter_map(|record| {
            let payload: Value = serde_json::from_slice(&record.payload).ok()?;
            payload["event_time"].as_i64()
        });
        let latest = latest.max();
        let over = latest.unwrap_or(0) + fixed_rules().session_gap.0 + Micros::SECOND.0;
        if whole(newest, "to_offset") <= last.offset.0 || time(newest, "watermark") < Some(over) {
            return Ok(false);
        }
    }
    Ok(true)
}
