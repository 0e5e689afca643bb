//! One version of a table as readers want it: its files, and what its log says of each. Kept by a
//! reader, it follows the table: only the commits that it does not have yet are read, and without any
//! it costs two small requests. Reading the files is left to others.

mod bounds;
mod data_file;
mod follow;
mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use footfall_event::schema::Table;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::{Lake, LakeError};
pub use bounds::{Bound, ColumnFacts};
pub use data_file::DataFile;
pub use follow::Followed;
use follow::Identity;

/// A version of a table. A clone shares the files.
#[derive(Clone)]
pub struct TableVersion {
    table: Table,
    version: u64,
    schema: SchemaRef,
    /// By their paths, and so by day.
    files: Arc<BTreeMap<Arc<str>, Arc<DataFile>>>,
    store: Arc<dyn ObjectStore>,
    /// The table's folder in the store.
    folder: Path,
    /// What the newest commit's file looked like.
    identity: Option<Identity>,
}

impl std::fmt::Debug for TableVersion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} at version {}", self.table.name(), self.version)
    }
}

impl Lake {
    /// The table at its newest version; `None` until it was made.
    ///
    /// # Errors
    /// `Delta`; `Unfit` for a table that is kept in a way this program does not read.
    pub async fn version(&self, table: Table) -> Result<Option<TableVersion>, LakeError> {
        let Some(delta) = self.table(table).await? else { return Ok(None) };
        let failed = |source| LakeError::Delta { table, source };
        let state = delta.snapshot().map_err(failed)?;
        reading::check(table, state.protocol(), state.metadata())?;
        let schema = state.snapshot().arrow_schema();
        let mut version = TableVersion {
            table,
            version: state.version(),
            schema,
            files: Arc::default(),
            store: self.store().clone(),
            folder: self.path(table.name()),
            identity: None,
        };
        version.take_up(&delta)?;
        version.identity = version.seen_identity().await?;
        Ok(Some(version))
    }
}

impl TableVersion {
    pub fn table(&self) -> Table {
        self.table
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The table's columns, in plain types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The files, by day.
    pub fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.files.values()
    }

    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Where a file lies in the lake's store.
    pub fn location(&self, file: &DataFile) -> Path {
        file.path().split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }

    fn take_up(&mut self, delta: &DeltaTable) -> Result<(), LakeError> {
        let failed = |source| LakeError::Delta { table: self.table, source };
        let state = delta.snapshot().map_err(failed)?;
        let mut files = BTreeMap::new();
        for view in state.log_data().iter() {
            #[expect(deprecated, reason = "nothing else gives the tags")]
            let file = self.data_file(&view.add_action())?;
            files.insert(Arc::from(file.path()), Arc::new(file));
        }
        self.files = Arc::new(files);
        Ok(())
    }

    fn data_file(&self, add: &Add) -> Result<DataFile, LakeError> {
        DataFile::of(self.table, &self.schema, add)
    }
}

#[cfg(test)]
mod tests;
