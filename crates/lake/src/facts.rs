//! How large a table is, as its own log tells it: no data file is opened.

use footfall_event::schema::Table;
use serde::{Deserialize, Serialize};

use crate::{Lake, LakeError, TableVersion};

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
    pub fn of(table: Table, version: Option<&TableVersion>) -> TableFacts {
        let mut facts = TableFacts {
            name: table.name().to_owned(),
            version: None,
            files: 0,
            bytes: 0,
            rows: Some(0),
        };
        let Some(version) = version else { return facts };
        facts.version = i64::try_from(version.version()).ok();
        for file in version.files() {
            facts.files += 1;
            facts.bytes += file.bytes;
            facts.rows = facts.rows.zip(file.rows).map(|(sum, rows)| sum + rows);
        }
        facts
    }
}

impl Lake {
    /// All tables, read for this call.
    ///
    /// # Errors
    /// `Delta`, `Unfit`.
    pub async fn facts(&self) -> Result<Vec<TableFacts>, LakeError> {
        let mut all = Vec::new();
        for table in Table::ALL {
            all.push(TableFacts::of(table, self.version(table).await?.as_ref()));
        }
        Ok(all)
    }
}
