//! DataFusion's settings, and a session for each query. Running it is left to `engine`.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider,
};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use footfall_event::schema::Table;

use crate::catalog::QuerySchema;
use crate::tables::Tables;
use crate::window::GaugeWindows;
use crate::{QuerySettings, functions, growth};

pub(crate) const CATALOG: &str = "footfall";
pub(crate) const SCHEMA: &str = "public";
/// How many of the greatest consumers a memory error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
/// Metadata of Parquet files that were read before, of about 30 kB each.
const METADATA_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A sort keeps so much of its memory for merging; more would leave a small pool nothing to sort in.
const MERGE_SHARE: usize = 32;

/// What all queries share: memory pool, spill folder, functions.
pub(crate) fn template(settings: &QuerySettings) -> Result<SessionState> {
    let config = SessionConfig::new()
        .with_target_partitions(settings.thread_count())
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_sort_spill_reservation_bytes(settings.memory_bytes_max / MERGE_SHARE)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        .set_str("datafusion.execution.time_zone", "UTC");
    let batch_rows = config.batch_size();
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime_env(settings)?))
        .with_default_features()
        .with_physical_optimizer_rules(optimizer().rules)
        .build();
    growth::bound(&mut state, settings.memory_bytes_max, batch_rows)?;
    functions::register(&mut state, &settings.declared)?;
    Ok(state)
}

/// DataFusion's rules, and before the filters that plans hand down while they run, ours: those
/// filters refer to steps of the plan, which must not change any more.
fn optimizer() -> PhysicalOptimizer {
    let mut optimizer = PhysicalOptimizer::new();
    let rules = &mut optimizer.rules;
    let last_filters = rules.iter().position(|rule| rule.name() == "FilterPushdown(Post)");
    let place = last_filters.unwrap_or(rules.len());
    rules.insert(place, Arc::new(GaugeWindows));
    rules.insert(place, Arc::new(functions::CollectOnce));
    optimizer
}

/// The sessions that a client's statements run in, one for each.
pub(crate) trait Sessions: Send + Sync {
    /// A session in which `tables` are what they are when the query first names them.
    ///
    /// # Errors
    /// When DataFusion refuses its parts.
    fn open(&self, tables: &Arc<Tables>) -> Result<SessionState>;
}

/// Footfall's tables and functions, and nothing else.
pub(crate) struct PlainSessions(pub(crate) SessionState);

impl Sessions for PlainSessions {
    fn open(&self, tables: &Arc<Tables>) -> Result<SessionState> {
        over(&self.0, QuerySchema::new(tables.clone(), self.0.clone()))
    }
}

/// A session in which names are those of `schema`.
pub(crate) fn over(
    template: &SessionState,
    schema: Arc<dyn SchemaProvider>,
) -> Result<SessionState> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, schema)?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let mut session = SessionStateBuilder::new_from_existing(template.clone())
        .with_catalog_list(Arc::new(catalogs))
        .build();
    // From here on now() is this moment.
    session.mark_start_execution();
    Ok(session)
}

/// Where `statement` names `receipts`, they are read now, before the other tables. They are committed last:
/// up to the watermark that they tell, what is read behind them is whole.
pub(crate) async fn read_receipts_first(
    session: &SessionState,
    statement: &Statement,
) -> Result<()> {
    let receipts = Table::Receipts.name();
    let named = session.resolve_table_references(statement)?;
    if named.iter().any(|table| table.table() == receipts) {
        let schema = session.catalog_list().catalog(CATALOG).and_then(|it| it.schema(SCHEMA));
        if let Some(schema) = schema {
            schema.table(receipts).await?;
        }
    }
    Ok(())
}

fn runtime_env(settings: &QuerySettings) -> Result<RuntimeEnv> {
    let mode = match &settings.spill_folder {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(settings.spill_bytes_max);
    let pool =
        TrackConsumersPool::new(FairSpillPool::new(settings.memory_bytes_max), CONSUMERS_NAMED);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(METADATA_BYTES_MAX)
        .build()
}
