//! A table of the lake as DataFusion reads it: a plain Parquet scan of the files that a query's
//! conditions leave. Which files a version has is left to `footfall_lake`.

mod groups;
mod pruning;
mod statistics;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::ObjectMeta;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;
use footfall_lake::{DataFile, Lake, TableVersion};

use statistics::Columns;

/// What the lake's store is called in plans.
const STORE: &str = "lake://footfall/";
/// What is read at once of a file's end, where its metadata lie.
const METADATA_BYTES: usize = 64 * 1024;

/// Makes the lake's files known to queries.
///
/// # Errors
/// Never: the name of the store is one.
pub(crate) fn register(lake: &Lake, environment: &RuntimeEnv) -> Result<()> {
    let url = ObjectStoreUrl::parse(STORE)?;
    environment.register_object_store(url.as_ref(), lake.store().clone());
    Ok(())
}

/// The schema in the types in which it is scanned: texts as views.
pub(crate) fn schema_as_read(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(field_as_read).collect();
    Arc::new(Schema::new(fields))
}

fn field_as_read(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::List(entry) => DataType::List(field_as_read(entry)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_as_read).collect()),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// One version of a table.
#[derive(Debug)]
pub(crate) struct LakeTable {
    version: Arc<TableVersion>,
    schema: SchemaRef,
    /// The columns as the scan has them: those of the files, and behind them the day.
    scanned: TableSchema,
    /// For each column of `schema` its place in `scanned`.
    places: Vec<usize>,
}

impl LakeTable {
    pub(crate) fn new(version: Arc<TableVersion>) -> LakeTable {
        let schema = schema_as_read(version.schema());
        let day = version.table().partition_column();
        let is_day = |field: &&FieldRef| field.name() == day;
        let days: Vec<FieldRef> = schema.fields().iter().filter(is_day).cloned().collect();
        let in_files: Vec<FieldRef> =
            schema.fields().iter().filter(|field| !is_day(field)).cloned().collect();
        let behind_files = in_files.len();
        let mut before = 0;
        let places = schema.fields().iter().map(|field| match is_day(&field) {
            true => behind_files,
            false => {
                before += 1;
                before - 1
            }
        });
        let places = places.collect();
        let scanned = TableSchema::builder(Arc::new(Schema::new(in_files)))
            .with_table_partition_cols(days)
            .build();
        LakeTable { version, schema, scanned, places }
    }

    fn partitioned(&self, file: &DataFile) -> PartitionedFile {
        let day = ScalarValue::Date32(file.day.map(|day| day.0));
        PartitionedFile::new_from_meta(ObjectMeta {
            location: self.version.location(file),
            last_modified: file.modified,
            size: file.bytes,
            e_tag: None,
            version: None,
        })
        .with_partition_values(vec![day])
    }

    /// Whether a condition is about the day alone, so that each file fulfils it or not.
    fn is_of_days(&self, filter: &Expr) -> bool {
        expr_applicable_for_cols(&[self.version.table().partition_column()], filter)
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let how = |filter: &&Expr| {
            Ok(match () {
                () if asks_elsewhere(filter)? => TableProviderFilterPushDown::Unsupported,
                () if self.is_of_days(filter) => TableProviderFilterPushDown::Exact,
                () => TableProviderFilterPushDown::Inexact,
            })
        };
        filters.iter().map(how).collect()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (of_days, of_rows): (Vec<&Expr>, Vec<&Expr>) =
            filters.iter().partition(|filter| self.is_of_days(filter));
        let files: Vec<&DataFile> = self.version.files().map(Arc::as_ref).collect();
        let files = pruning::by_day(self, session, &of_days, files)?;
        let files = pruning::by_bounds(self, session, &of_rows, files)?;
        let projection = projection.cloned().unwrap_or_else(|| (0..self.places.len()).collect());
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?))));
        }
        // How much a query that stops early reads is for the rows to tell: conditions drop some.
        let limit = limit.filter(|_| of_rows.is_empty());
        let columns = Columns::of(self, &projection, &of_rows)?;
        let total = statistics::of_files(self, &columns, &files);
        let (groups, order) = groups::of(self, session, &columns, &files)?;
        let store = session.runtime_env().object_store(ObjectStoreUrl::parse(STORE)?)?;
        let cache = session.runtime_env().cache_manager.get_file_metadata_cache();
        let source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(options(session))
            .with_metadata_size_hint(METADATA_BYTES)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                store, cache,
            )));
        let place = |column: &usize| {
            let missing = || internal_datafusion_err!("there is no column {column}");
            self.places.get(*column).copied().ok_or_else(missing)
        };
        let projection = projection.iter().map(place).collect::<Result<Vec<_>>>()?;
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(total)
            .with_projection_indices(Some(projection))?
            .with_limit(limit)
            .with_output_ordering(order)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Whether a condition has a query in it, which is not answered yet when files are chosen.
fn asks_elsewhere(filter: &Expr) -> Result<bool> {
    filter.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    })
}

fn options(session: &dyn Session) -> TableParquetOptions {
    TableParquetOptions {
        global: session.config_options().execution.parquet.clone(),
        ..TableParquetOptions::default()
    }
}
