//! The version of each table that speaks of a partition exactly up to a barrier, with what was
//! changed by hand since, and the loads that stand there.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::prelude::{DataFrame, SessionContext};
use footfall_event::schema::Table;
use footfall_event::{Day, Micros, Offset, Partition};
use footfall_lake::{
    DeltaTable, Lake, LakeError, LakeSettings, app_id, load_app_id, recompute_app_id,
    removed_before_app_id, rewrite_app_id,
};

use super::erased::Erased;
use crate::PipelineError;
use crate::scan::{context, failed};

/// Rewrites of `events` that may come while its tables are opened, before they are taken as they are.
const OPENINGS_MAX: usize = 5;

/// How many versions behind the newest the barrier's is looked for: a minute holds some twelve
/// commits of the pipeline, and loads beside them.
const LOOK_BACK_MAX: u64 = 2_000;

pub struct Versions {
    pub topic: String,
    pub partitions: u32,
    pub partition: Partition,
    pub session_gap: Micros,
    tables: BTreeMap<Table, DeltaTable>,
    /// `events` as it stands, opened behind all others: it holds each load that any of them holds.
    newest_events: Option<DeltaTable>,
    /// Loads, with the tables that hold each.
    loads: BTreeMap<String, BTreeSet<Table>>,
    has_live: bool,
    /// The first day that retention left, of tables that it removed days of.
    removed_before: BTreeMap<Table, Day>,
    /// How often rows of a table were folded again by `recompute`.
    recomputes: BTreeMap<Table, i64>,
    /// An erasure took the versions that were looked for.
    pub is_cut: bool,
}

/// Where a barrier was looked for.
enum At {
    Version(DeltaTable),
    None,
    Cut,
}

impl Versions {
    /// Without a barrier, the newest version of each table. Live rows are left out then: the tables
    /// of an interval are committed apart, so nothing says up to where all of them speak.
    ///
    /// A repair replaces rows of one table after the other, of `events` last. One that ended while they
    /// were opened would stand in some of them only: they are opened again.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn at(
        lake: &Lake,
        settings: &LakeSettings,
        erased: &Erased,
        partition: Partition,
        barrier: Option<Offset>,
    ) -> Result<Versions, PipelineError> {
        let mut before = rewrites(lake.table(Table::Events).await?.as_ref()).await?;
        for _ in 1..OPENINGS_MAX {
            let versions = Versions::open(lake, settings, erased, partition, barrier).await?;
            let behind = rewrites(versions.newest_events.as_ref()).await?;
            if before == behind {
                return Ok(versions);
            }
            before = behind;
        }
        Versions::open(lake, settings, erased, partition, barrier).await
    }

    async fn open(
        lake: &Lake,
        settings: &LakeSettings,
        erased: &Erased,
        partition: Partition,
        barrier: Option<Offset>,
    ) -> Result<Versions, PipelineError> {
        let topic = settings.topic.as_str();
        let (mut tables, mut has_progress) = (BTreeMap::new(), false);
        let (mut removed_before, mut recomputes) = (BTreeMap::new(), BTreeMap::new());
        let mut is_cut = false;
        // A load commits `events` first, so what another table holds of it stands in `events` too.
        for table in Table::ALL.into_iter().rev() {
            let id = app_id(table, topic, partition);
            match version_at(lake, table, &id, barrier, erased.first_version(table)).await? {
                At::Version(delta) => {
                    has_progress |= version_of(&delta, table, &id).await?.is_some();
                    let day = version_of(&delta, table, &removed_before_app_id(table)).await?;
                    let day = day.and_then(|day| i32::try_from(day).ok());
                    removed_before.extend(day.map(|day| (table, Day(day))));
                    let recompute = version_of(&delta, table, &recompute_app_id(table)).await?;
                    recomputes.insert(table, recompute.unwrap_or(0));
                    tables.insert(table, delta);
                }
                At::None => {}
                At::Cut => is_cut = true,
            }
        }
        let mut versions = Versions {
            topic: topic.to_owned(),
            partitions: settings.partitions,
            partition,
            session_gap: settings.session_gap,
            tables,
            newest_events: lake.table(Table::Events).await?,
            loads: BTreeMap::new(),
            has_live: barrier.is_some() || !has_progress,
            removed_before,
            recomputes,
            is_cut,
        };
        if versions.missing().is_none() {
            versions.find_loads().await?;
        }
        Ok(versions)
    }

    /// A table no version of which speaks up to the barrier.
    pub fn missing(&self) -> Option<Table> {
        Table::ALL.into_iter().find(|table| !self.tables.contains_key(table))
    }

    /// Whether the live rows can be verified.
    pub fn has_live(&self) -> bool {
        self.has_live
    }

    /// The first day that retention left in a table; `None` where it removed nothing.
    pub fn removed_before(&self, table: Table) -> Option<Day> {
        self.removed_before.get(&table).copied()
    }

    /// The tables of which retention removed days, with the first that it left.
    pub fn removed(&self) -> impl Iterator<Item = (Table, Day)> {
        self.removed_before.iter().map(|(table, day)| (*table, *day))
    }

    /// Whether history was folded again by other rules.
    pub fn is_recomputed(&self) -> bool {
        self.recomputes.values().any(|count| *count > 0)
    }

    /// Whether some tables hold rows of a recomputation, and others do not.
    pub fn is_torn_by_recompute(&self) -> bool {
        let replaced = [Table::Events, Table::Sessions, Table::Needs, Table::PageViews];
        let counts: BTreeSet<_> = replaced.map(|table| self.recomputes.get(&table)).into();
        counts.len() > 1
    }

    /// Loads that some tables hold and others do not, by the `log` of their rows.
    pub fn torn_loads(&self) -> impl Iterator<Item = &String> {
        let is_torn = |(_, tables): &(&String, &BTreeSet<Table>)| tables.len() < Table::ALL.len();
        self.loads.iter().filter(is_torn).map(|(log, _)| log)
    }

    /// The whole loads.
    pub fn loads(&self) -> impl Iterator<Item = &String> {
        let is_whole = |(_, tables): &(&String, &BTreeSet<Table>)| tables.len() == Table::ALL.len();
        self.loads.iter().filter(is_whole).map(|(log, _)| log)
    }

    /// # Errors
    /// `Lake`.
    pub async fn read(
        &self,
        context: &SessionContext,
        table: Table,
    ) -> Result<DataFrame, PipelineError> {
        read(context, table, self.tables.get(&table)).await
    }

    /// The rows of `events` as they stand, whatever the barrier.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn read_newest_events(
        &self,
        context: &SessionContext,
    ) -> Result<DataFrame, PipelineError> {
        read(context, Table::Events, self.newest_events.as_ref()).await
    }

    async fn find_loads(&mut self) -> Result<(), PipelineError> {
        let context = context()?;
        let (events, receipts) =
            (self.read_newest_events(&context).await?, self.read(&context, Table::Receipts).await?);
        context.register_table("events", events.into_view()).map_err(failed)?;
        context.register_table("receipts", receipts.into_view()).map_err(failed)?;
        let sql = "SELECT log FROM events WHERE log LIKE 'load:%' UNION \
                   SELECT log FROM receipts WHERE log LIKE 'load:%'";
        let batches = context.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)?;
        for batch in batches {
            let logs = cast(batch.column(0), &DataType::Utf8)?;
            for log in logs.as_string::<i32>().iter().flatten() {
                let hash = log.trim_start_matches("load:");
                let mut holding = BTreeSet::new();
                for (table, delta) in &self.tables {
                    let id = load_app_id(*table, hash);
                    if version_of(delta, *table, &id).await?.is_some() {
                        holding.insert(*table);
                    }
                }
                self.loads.insert(log.to_owned(), holding);
            }
        }
        Ok(())
    }
}

async fn read(
    context: &SessionContext,
    table: Table,
    delta: Option<&DeltaTable>,
) -> Result<DataFrame, PipelineError> {
    let (path, reason) = (table.name().to_owned(), "it was not made".to_owned());
    let delta = delta.ok_or(LakeError::Unreadable { path, reason })?;
    let provider = delta.table_provider().await.map_err(failed)?;
    context.read_table(provider).map_err(failed)
}

async fn version_at(
    lake: &Lake,
    table: Table,
    app_id: &str,
    barrier: Option<Offset>,
    first_version: u64,
) -> Result<At, PipelineError> {
    let Some(mut delta) = lake.table(table).await? else { return Ok(At::None) };
    let Some(Offset(barrier)) = barrier else { return Ok(At::Version(delta)) };
    let newest = delta.version().unwrap_or(0);
    for version in (newest.saturating_sub(LOOK_BACK_MAX)..=newest).rev() {
        if version < first_version {
            return Ok(At::Cut);
        }
        if delta.version() != Some(version) {
            let loaded = delta.load_version(version).await;
            loaded.map_err(|source| LakeError::Delta { table, source })?;
        }
        match version_of(&delta, table, app_id).await? {
            Some(offset) if offset == barrier => return Ok(At::Version(delta)),
            Some(offset) if offset > barrier => {}
            _ => return Ok(At::None),
        }
    }
    Ok(At::None)
}

/// How often files of `events` were rewritten.
async fn rewrites(events: Option<&DeltaTable>) -> Result<Option<i64>, PipelineError> {
    match events {
        Some(events) => version_of(events, Table::Events, &rewrite_app_id(Table::Events)).await,
        None => Ok(None),
    }
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
