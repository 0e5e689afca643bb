//! Which runs are over: up to where the tables speak of each partition's live log, and which loads they
//! hold in full.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::{col, lit};
use footfall_event::schema::Table;
use footfall_event::{Day, Micros, Offset, Partition, partition_of};
use footfall_lake::{Lake, LakeError, LakeSettings, TableWriter, app_id, load_app_id};
use futures::StreamExt;

use crate::PipelineError;
use crate::scan::{context, failed, table};

/// Of the snapshots that a repair replaces files of.
pub struct Horizon {
    partitions: u32,
    pub session_gap: Micros,
    /// The committed watermark of each partition; without a live log, none.
    watermarks: Option<Vec<Option<Micros>>>,
    /// When the lake was looked at.
    now: Micros,
    /// The first day of which retention left the events.
    events_from: Option<Day>,
    /// Whether all tables hold a load, by the `log` of its rows.
    loads: HashMap<String, bool>,
}

impl Horizon {
    /// # Errors
    /// `Lake`.
    pub async fn read(
        lake: &Lake,
        settings: &LakeSettings,
        session_gap: Micros,
        tables: &mut [(Table, TableWriter)],
    ) -> Result<Horizon, PipelineError> {
        let logs = loads(lake).await?;
        let mut horizon = Horizon {
            partitions: settings.partitions,
            session_gap,
            watermarks: None,
            now: Micros::clock(),
            events_from: None,
            loads: logs.into_iter().map(|log| (log, true)).collect(),
        };
        let mut spoken: BTreeMap<Partition, Option<Offset>> = BTreeMap::new();
        // A pipeline that died in its first commit left some tables that speak of its log, and no receipt.
        let mut has_live = false;
        for (table, writer) in tables {
            if *table == Table::Events {
                horizon.follow_retention(writer).await?;
            }
            for number in 0..settings.partitions {
                let partition = Partition(number as i32);
                let id = app_id(*table, &settings.topic, partition);
                let up_to = writer.progress(&id).await?.map(Offset);
                has_live |= up_to.is_some();
                let lowest = spoken.entry(partition).or_insert(up_to);
                *lowest = (*lowest).min(up_to);
            }
            for (log, is_whole) in &mut horizon.loads {
                let hash = log.trim_start_matches("load:");
                *is_whole &= writer.progress(&load_app_id(*table, hash)).await?.is_some();
            }
        }
        horizon.watermarks = watermarks(lake, &settings.topic, &spoken, has_live).await?;
        Ok(horizon)
    }

    /// Takes up what retention removed since. All else that was over before is over still.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn follow_retention(&mut self, events: &mut TableWriter) -> Result<(), LakeError> {
        self.events_from = events.removed_before().await?;
        Ok(())
    }

    /// Whether nothing more can come to a run of the visitor that ends at `end`, but what is late.
    pub fn is_over(&self, site: &str, visitor_id: &str, end: Micros) -> bool {
        match &self.watermarks {
            None => end + self.session_gap < self.now,
            Some(watermarks) => {
                let partition = partition_of(site, visitor_id, self.partitions);
                let watermark = watermarks.get(partition.0 as usize).copied().flatten();
                watermark.is_some_and(|watermark| end + self.session_gap < watermark)
            }
        }
    }

    /// Whether retention may have taken events of a run that begins at `begin`, which is left as it stands
    /// then.
    pub fn is_cut(&self, begin: Micros) -> bool {
        self.events_from.is_some_and(|day| begin - self.session_gap < day.start())
    }

    /// Whether all tables hold what they should of the log's rows.
    pub fn is_whole(&self, log: &str) -> bool {
        !log.starts_with("load:") || self.loads.get(log).copied().unwrap_or(false)
    }

    /// Whether any partition was read live.
    pub fn has_live(&self) -> bool {
        self.watermarks.is_some()
    }
}

/// The loads that have a receipt, which is committed last; any other is not whole.
async fn loads(lake: &Lake) -> Result<Vec<String>, PipelineError> {
    let context = context()?;
    let rows = table(&context, lake, Table::Receipts).await?;
    let rows = rows.filter(col("log").like(lit("load:%"))).map_err(failed)?;
    let rows = rows.select_columns(&["log"]).and_then(|rows| rows.distinct()).map_err(failed)?;
    let mut logs = Vec::new();
    for batch in rows.collect().await.map_err(failed)? {
        let names = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        logs.extend(names.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(logs)
}

/// Of each partition, the newest watermark of a range that all tables speak of; `None` where nothing was
/// read live: no table that `has_live` looked at speaks of it, nor any receipt.
async fn watermarks(
    lake: &Lake,
    topic: &str,
    spoken: &BTreeMap<Partition, Option<Offset>>,
    mut has_live: bool,
) -> Result<Option<Vec<Option<Micros>>>, PipelineError> {
    let rows = table(&context()?, lake, Table::Receipts).await?;
    let rows = rows
        .filter(col("log").eq(lit(topic)))
        .and_then(|rows| rows.select_columns(&["log_partition", "to_offset", "watermark"]))
        .map_err(failed)?;
    let mut newest = vec![None; spoken.len()];
    let mut stream = rows.execute_stream().await.map_err(failed)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        let partitions = batch.column(0).as_primitive::<Int32Type>();
        let offsets = batch.column(1).as_primitive::<Int64Type>();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        has_live |= batch.num_rows() > 0;
        for row in (0..batch.num_rows()).filter(|row| times.is_valid(*row)) {
            let partition = Partition(partitions.value(row));
            let up_to = spoken.get(&partition).copied().flatten();
            if up_to >= Some(Offset(offsets.value(row)))
                && let Some(newest) = newest.get_mut(partition.0 as usize)
            {
                *newest = (*newest).max(Some(Micros(times.value(row))));
            }
        }
    }
    Ok(has_live.then_some(newest))
}
