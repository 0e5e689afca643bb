//! The version of each table that speaks of a partition exactly up to a barrier, with what was
//! changed by hand since.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::prelude::{DataFrame, SessionContext};
use footfall_event::schema::Table;
use footfall_event::{Offset, Partition, partition_of};
use footfall_lake::{DeltaTable, Lake, LakeError, app_id, load_app_id};
use futures::StreamExt;

use crate::PipelineError;
use crate::history::{context, failed, plain};

/// How many versions behind the newest the barrier's is looked for: a minute holds some twelve
/// commits of the pipeline, and loads beside them.
const LOOK_BACK_MAX: u64 = 2_000;

pub struct Versions {
    tables: BTreeMap<Table, DeltaTable>,
    /// Loads that are in `events`, with the tables that hold each.
    loads: BTreeMap<String, BTreeSet<Table>>,
}

impl Versions {
    /// Without a barrier, the newest version of each table.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn at(
        lake: &Lake,
        topic: &str,
        partition: Partition,
        barrier: Option<Offset>,
    ) -> Result<Versions, PipelineError> {
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            let id = app_id(table, topic, partition);
            if let Some(delta) = version_at(lake, table, &id, barrier).await? {
                tables.insert(table, delta);
            }
        }
        let mut versions = Versions { tables, loads: BTreeMap::new() };
        if versions.missing().is_none() {
            versions.find_loads().await?;
        }
        Ok(versions)
    }

    /// A table no version of which speaks up to the barrier.
    pub fn missing(&self) -> Option<Table> {
        Table::ALL.into_iter().find(|table| !self.tables.contains_key(table))
    }

    /// Loads that some tables hold and others do not.
    pub fn torn_loads(&self) -> impl Iterator<Item = &String> {
        let is_torn = |(_, tables): &(&String, &BTreeSet<Table>)| tables.len() < Table::ALL.len();
        self.loads.iter().filter(is_torn).map(|(log, _)| log)
    }

    /// The whole loads, by the `log` of their rows.
    pub fn loads(&self) -> impl Iterator<Item = &String> {
        let is_whole = |(_, tables): &(&String, &BTreeSet<Table>)| tables.len() == Table::ALL.len();
        self.loads.iter().filter(is_whole).map(|(log, _)| log)
    }

    /// # Errors
    /// `Lake`.
    pub async fn read(&self, table: Table) -> Result<DataFrame, PipelineError> {
        self.read_in(&context()?, table).await
    }

    async fn read_in(
        &self,
        context: &SessionContext,
        table: Table,
    ) -> Result<DataFrame, PipelineError> {
        let delta = &self.tables[&table];
        let provider = delta.table_provider().await.map_err(failed)?;
        context.read_table(provider).map_err(failed)
    }

    /// The rows of a derived table whose visitors are of the partition.
    ///
    /// # Errors
    /// `Lake`, or what `take` fails with.
    pub async fn each_row_of(
        &self,
        table: Table,
        partitions: u32,
        partition: Partition,
        mut take: impl FnMut(&RecordBatch) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError> {
        let rows = self.read(table).await?;
        let schema = table.schema();
        let columns: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = rows.select_columns(&columns).map_err(failed)?;
        let mut stream = rows.execute_stream().await.map_err(failed)?;
        while let Some(batch) = stream.next().await {
            let batch = plain(&batch.map_err(failed)?, &schema)?;
            take(&of_partition(&batch, partitions, partition)?)?;
        }
        Ok(())
    }

    async fn find_loads(&mut self) -> Result<(), PipelineError> {
        let context = context()?;
        let mut logs = BTreeSet::new();
        for table in [Table::Events, Table::Receipts] {
            let rows = self.read_in(&context, table).await?.into_view();
            context.register_table(table.name(), rows).map_err(failed)?;
            let sql = format!("SELECT DISTINCT log FROM {} WHERE log LIKE 'load:%'", table.name());
            let batches =
                context.sql(&sql).await.map_err(failed)?.collect().await.map_err(failed)?;
            for batch in batches {
                let texts =
                    arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
                logs.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
        for log in logs {
            let hash = log.trim_start_matches("load:").to_owned();
            let mut holding = BTreeSet::new();
            for (table, delta) in &self.tables {
                if version_of(delta, *table, &load_app_id(*table, &hash)).await?.is_some() {
                    holding.insert(*table);
                }
            }
            self.loads.insert(log, holding);
        }
        Ok(())
    }
}

async fn version_at(
    lake: &Lake,
    table: Table,
    app_id: &str,
    barrier: Option<Offset>,
) -> Result<Option<DeltaTable>, PipelineError> {
    let Some(mut delta) = lake.table(table).await? else { return Ok(None) };
    let Some(Offset(barrier)) = barrier else { return Ok(Some(delta)) };
    let newest = delta.version().unwrap_or(0);
    for version in (newest.saturating_sub(LOOK_BACK_MAX)..=newest).rev() {
        if delta.version() != Some(version) {
            let loaded = delta.load_version(version).await;
            loaded.map_err(|source| LakeError::Delta { table, source })?;
        }
        match version_of(&delta, table, app_id).await? {
            Some(offset) if offset == barrier => return Ok(Some(delta)),
            Some(offset) if offset > barrier => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

async fn version_of(
    delta: &DeltaTable,
    table: Table,
    app_id: &str,
) -> Result<Option<i64>, PipelineError> {
    let failed = |source| LakeError::Delta { table, source };
    let state = delta.snapshot().map_err(failed)?;
    let version = state.transaction_version(delta.log_store().as_ref(), app_id).await;
    Ok(version.map_err(failed)?)
}

fn of_partition(
    rows: &RecordBatch,
    partitions: u32,
    partition: Partition,
) -> Result<RecordBatch, PipelineError> {
    let column = |name: &str| rows.column_by_name(name).map(|column| column.as_string::<i32>());
    let (Some(sites), Some(visitors)) = (column("site"), column("visitor_id")) else {
        return Ok(rows.slice(0, 0));
    };
    let is_of = |row: usize| {
        let site = if sites.is_valid(row) { sites.value(row) } else { "" };
        let visitor = if visitors.is_valid(row) { visitors.value(row) } else { "" };
        partition_of(site, visitor, partitions) == partition
    };
    let mask = (0..rows.num_rows()).map(|row| Some(is_of(row))).collect::<BooleanArray>();
    Ok(filter_record_batch(rows, &mask)?)
}
