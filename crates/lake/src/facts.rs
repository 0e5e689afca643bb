//! How large a table is, as its own log tells it: no data file is opened.

use deltalake_core::DeltaTable;
use footfall_event::schema::Table;
use serde::{Deserialize, Serialize};

use crate::{Lake, LakeError};

/// A table at its newest version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    pub name: String,
    /// `None` until the table is made.
    pub version: Option<i64>,
    pub files: u64,
    /// Of the files of this version; those of older ones lie there until they are removed.
    pub bytes: u64,
    /// `None` where a file does not say how many it has.
    pub rows: Option<u64>,
}

impl TableFacts {
    /// What the table's log says; `None` stands for a table that was not made yet.
    ///
    /// # Errors
    /// `Delta` when its log cannot be read.
    pub fn of(table: Table, delta: Option<&DeltaTable>) -> Result<TableFacts, LakeError> {
        let mut facts = TableFacts {
            name: table.name().to_owned(),
            version: None,
            files: 0,
            bytes: 0,
            rows: Some(0),
        };
        let Some(delta) = delta else { return Ok(facts) };
        let state = delta.snapshot().map_err(|source| LakeError::Delta { table, source })?;
        facts.version = Some(state.version() as i64);
        for file in state.log_data().iter() {
            facts.files += 1;
            facts.bytes += file.size().max(0) as u64;
            facts.rows = facts.rows.zip(file.num_records()).map(|(sum, rows)| sum + rows as u64);
        }
        Ok(facts)
    }
}

impl Lake {
    /// All tables, read for this call.
    ///
    /// # Errors
    /// `Delta`.
    pub async fn facts(&self) -> Result<Vec<TableFacts>, LakeError> {
        let mut all = Vec::new();
        for table in Table::ALL {
            all.push(TableFacts::of(table, self.table(table).await?.as_ref())?);
        }
        Ok(all)
    }
}
