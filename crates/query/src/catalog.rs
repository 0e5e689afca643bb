//! What one query can name: the lake's tables, each read once for the query, and the views.
//! Reading the tables is left to `tables`.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use footfall_event::schema::Table;
use tokio::sync::Mutex;

use crate::format::type_name;
use crate::tables::Tables;
use crate::view;

/// A name that can be queried.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Listed {
    name: &'static str,
    /// `table` or `view`.
    kind: &'static str,
    columns: Vec<Column>,
}

#[derive(Debug, serde::Serialize)]
pub(crate) struct Column {
    name: String,
    r#type: String,
}

/// All names, with their columns in order; needs no lake.
pub(crate) fn listing() -> Vec<Listed> {
    let columns = |table: Table, keep: &dyn Fn(&str) -> bool| -> Vec<Column> {
        let schema = table.schema();
        let kept = schema.fields().iter().filter(|field| keep(field.name()));
        kept.map(|field| Column {
            name: field.name().clone(),
            r#type: type_name(field.data_type()),
        })
        .collect()
    };
    let tables = Table::ALL.map(|table| Listed {
        name: table.name(),
        kind: "table",
        columns: columns(table, &|_| true),
    });
    let abandonment = Listed {
        name: view::ABANDONMENT,
        kind: "view",
        columns: columns(Table::Sessions, &|name| view::ABANDONMENT_COLUMNS.contains(&name)),
    };
    tables.into_iter().chain([abandonment]).collect()
}

/// All names that a query can put after FROM.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    Table::ALL.into_iter().map(Table::name).chain([view::ABANDONMENT])
}

/// The schema of one query. A table named twice is the same version both times.
pub(crate) struct QuerySchema {
    tables: Arc<Tables>,
    read: Mutex<HashMap<Table, Arc<dyn TableProvider>>>,
}

impl QuerySchema {
    pub(crate) fn new(tables: Arc<Tables>) -> Self {
        Self { tables, read: Mutex::default() }
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
        if name == view::ABANDONMENT {
            let sessions = self.read(Table::Sessions).await?;
            return Ok(Some(Arc::new(view::abandonment(sessions)?)));
        }
        match Table::ALL.into_iter().find(|table| table.name() == name) {
            Some(table) => self.read(table).await.map(Some),
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        let is_view = name == view::ABANDONMENT;
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
