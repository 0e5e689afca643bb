//! The lake's tables as they are at this moment: each is kept, and brought up to date when a query
//! names it. What a query sees of them is left to `catalog`.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use deltalake_core::DeltaTable;
use footfall_event::schema::Table;
use footfall_lake::{Lake, TableFacts};
use tokio::sync::Mutex;

use crate::QueryError;
use crate::functions::Declared;
use crate::live::Asker;

/// All tables of one lake.
pub(crate) struct Tables {
    lake: Lake,
    declared: Declared,
    pipelines: Asker,
    kept: [Mutex<Kept>; Table::ALL.len()],
}

#[derive(Default)]
struct Kept {
    table: Option<DeltaTable>,
    /// When the read that gave `table` began.
    read_at: Option<Instant>,
}

impl Tables {
    pub(crate) fn new(lake: Lake, declared: Declared, pipelines: Asker) -> Self {
        Self { lake, declared, pipelines, kept: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Who is asked for a live table.
    pub(crate) fn pipelines(&self) -> &Asker {
        &self.pipelines
    }

    /// What the configuration declares beside the tables.
    pub(crate) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// The table with every commit that ended before this call; without rows until it is made.
    ///
    /// # Errors
    /// `Lake`.
    pub(crate) async fn newest(&self, table: Table) -> Result<Arc<dyn TableProvider>, QueryError> {
        match self.refreshed(table).await? {
            Some(delta) => delta.table_provider().await.map_err(|error| lake(table, error)),
            None => Ok(Arc::new(EmptyTable::new(schema_as_read(table)))),
        }
    }

    /// Where the tables lie.
    pub(crate) fn location(&self) -> &str {
        self.lake.url().as_str()
    }

    /// How large each table is, with every commit that ended before this call.
    ///
    /// # Errors
    /// `Lake`.
    pub(crate) async fn facts(&self) -> Result<Vec<TableFacts>, QueryError> {
        let mut all = Vec::new();
        for table in Table::ALL {
            let delta = self.refreshed(table).await?;
            let facts =
                TableFacts::of(table, delta.as_ref()).map_err(|error| lake(table, error))?;
            all.push(facts);
        }
        Ok(all)
    }

    async fn refreshed(&self, table: Table) -> Result<Option<DeltaTable>, QueryError> {
        let asked_at = Instant::now();
        let mut kept = self.kept[table as usize].lock().await;
        // Who waited here while another query read the log has what that query found.
        if kept.read_at.is_some_and(|read_at| read_at >= asked_at) {
            return Ok(kept.table.clone());
        }
        let read_at = Instant::now();
        let updated = match &mut kept.table {
            Some(delta) => delta.update_state().await.is_ok(),
            None => false,
        };
        // A kept version that cannot be followed (its log was cleaned up) is opened again.
        if !updated {
            kept.table = self.lake.table(table).await.map_err(|error| lake(table, error))?;
        }
        kept.read_at = Some(read_at);
        Ok(kept.table.clone())
    }
}

fn lake(table: Table, error: impl std::fmt::Display) -> QueryError {
    QueryError::Lake { reason: format!("table `{}`: {error}", table.name()) }
}

/// The schema in the types in which a Delta scan yields it, so that a query's types do not change
/// with the table's first commit.
fn schema_as_read(table: Table) -> SchemaRef {
    let fields: Vec<FieldRef> = table.schema().fields().iter().map(field_as_read).collect();
    Arc::new(Schema::new(fields))
}

fn field_as_read(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::List(entry) => DataType::List(field_as_read(entry)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_as_read).collect()),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}
