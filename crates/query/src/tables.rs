//! The lake's tables as they are at this moment: each is kept, and brought up to date when a query
//! names it. What a query sees of them is left to `catalog`.

use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use footfall_event::schema::Table;
use footfall_lake::{Followed, Lake, LakeError, TableFacts, TableVersion};
use tokio::sync::Mutex;

use crate::QueryError;
use crate::functions::Declared;
use crate::live::Asker;
use crate::scan::{LakeTable, schema_as_read};

/// All tables of one lake.
pub(crate) struct Tables {
    lake: Lake,
    declared: Declared,
    pipelines: Asker,
    kept: [Mutex<Kept>; Table::ALL.len()],
}

#[derive(Default)]
struct Kept {
    version: Option<Arc<TableVersion>>,
    /// When the read that gave `version` began.
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
            Some(version) => Ok(Arc::new(LakeTable::new(version))),
            None => Ok(Arc::new(EmptyTable::new(schema_as_read(&table.schema())))),
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
            all.push(TableFacts::of(table, self.refreshed(table).await?.as_deref()));
        }
        Ok(all)
    }

    async fn refreshed(&self, table: Table) -> Result<Option<Arc<TableVersion>>, QueryError> {
        let asked_at = Instant::now();
        let mut kept = self.kept[table as usize].lock().await;
        // Who waited here while another query read the log has what that query found.
        if kept.read_at.is_some_and(|read_at| read_at >= asked_at) {
            return Ok(kept.version.clone());
        }
        let read_at = Instant::now();
        let followed = match &mut kept.version {
            // The files are copied where a query still reads the version before, and only when they change.
            Some(version) => Arc::make_mut(version).follow().await.map_err(lake)?,
            None => Followed::Lost,
        };
        if followed == Followed::Lost {
            // Not to be told of a table that is gone, should opening it fail.
            kept.version = None;
            kept.version = self.lake.version(table).await.map_err(lake)?.map(Arc::new);
        }
        kept.read_at = Some(read_at);
        Ok(kept.version.clone())
    }
}

fn lake(error: LakeError) -> QueryError {
    QueryError::Lake { reason: error.to_string() }
}
