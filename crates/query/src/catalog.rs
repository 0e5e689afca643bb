//! What one query can name: the lake's tables, each read once for the query, the live tables and the
//! views.
//! Reading the tables is left to `tables`.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::datasource::TableType;
use datafusion::execution::session_state::SessionState;
use footfall_event::schema::{LiveTable, Table};
use tokio::sync::Mutex;

use crate::format::type_name;
use crate::live::LiveProvider;
use crate::tables::Tables;
use crate::view::View;
use crate::{dictionary, session};

/// A name that can be queried.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Listed {
    name: &'static str,
    /// `table` or `view`.
    kind: &'static str,
    comment: Option<&'static str>,
    columns: Vec<Column>,
}

#[derive(Debug, serde::Serialize)]
pub(crate) struct Column {
    name: String,
    r#type: String,
    comment: Option<&'static str>,
}

impl Listed {
    fn new(name: &'static str, kind: &'static str, schema: &Schema) -> Listed {
        let column = |field: &FieldRef| Column {
            name: field.name().clone(),
            r#type: type_name(field.data_type()),
            comment: dictionary::of_column(name, field.name()),
        };
        let columns = schema.fields().iter().map(column).collect();
        Listed { name, kind, comment: dictionary::of_table(name), columns }
    }
}

/// All names that a query can put after FROM.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let live = LiveTable::ALL.into_iter().map(LiveTable::name);
    let views = View::ALL.into_iter().map(View::name);
    Table::ALL.into_iter().map(Table::name).chain(live).chain(views)
}

/// All names, with their columns in order.
///
/// # Errors
/// When a view cannot be planned.
pub(crate) async fn listing(schema: &QuerySchema) -> Result<Vec<Listed>> {
    let tables = Table::ALL.map(|table| Listed::new(table.name(), "table", &table.schema()));
    let live = LiveTable::ALL.map(|table| Listed::new(table.name(), "table", &table.schema()));
    let mut listed = Vec::from(tables);
    listed.extend(live);
    for view in View::ALL {
        let table = schema.view(view).await?;
        listed.push(Listed::new(view.name(), "view", &table.schema()));
    }
    Ok(listed)
}

/// The schema of one query. A table named twice is the same version both times.
pub(crate) struct QuerySchema {
    tables: Arc<Tables>,
    read: Mutex<HashMap<Table, Arc<dyn TableProvider>>>,
    /// For the session that views are planned in.
    template: SessionState,
    this: Weak<QuerySchema>,
}

impl QuerySchema {
    pub(crate) fn new(tables: Arc<Tables>, template: SessionState) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            tables,
            read: Mutex::default(),
            template,
            this: this.clone(),
        })
    }

    async fn view(&self, view: View) -> Result<Arc<dyn TableProvider>> {
        let Some(schema) = self.this.upgrade() else { return internal_err!("a schema is over") };
        let session = session::over(&self.template, schema)?;
        let sql = view.sql(self.tables.declared());
        let plan = session.create_logical_plan(&sql).await?;
        let definition = format!("CREATE VIEW {} AS {sql}", view.name());
        Ok(Arc::new(ViewTable::new(plan, Some(definition))))
    }

    async fn read(&self, table: Table) -> Result<Arc<dyn TableProvider>> {
        let mut read = self.read.lock().await;
        if let Some(provider) = read.get(&table) {
            return Ok(provider.clone());
        }
        let newest = self.tables.newest(table).await;
        let provider = newest.map_err(|error| DataFusionError::External(Box::new(error)))?;
        read.insert(table, provider.clone());
        Ok(provider)
    }
}

impl std::fmt::Debug for QuerySchema {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("QuerySchema")
    }
}

#[async_trait]
impl SchemaProvider for QuerySchema {
    fn table_names(&self) -> Vec<String> {
        names().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(view) = View::named(name) {
            return self.view(view).await.map(Some);
        }
        if let Some(live) = LiveTable::ALL.into_iter().find(|table| table.name() == name) {
            let asker = self.tables.pipelines().clone();
            return Ok(Some(Arc::new(LiveProvider::new(live, asker))));
        }
        match Table::ALL.into_iter().find(|table| table.name() == name) {
            Some(table) => self.read(table).await.map(Some),
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        let is_view = View::named(name).is_some();
        Ok(self.table_exist(name).then_some(if is_view {
            TableType::View
        } else {
            TableType::Base
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        names().any(|known| known == name)
    }
}
