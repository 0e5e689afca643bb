//! Rows expected against rows found: what is missing, doubled, changed, or nobody's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::row::{RowConverter, SortField};
use footfall_event::schema::Table;

use super::Verified;
use crate::PipelineError;

/// Columns that the fold alone knows: whether a signal was due depends on when records arrived.
const NOT_COMPARED: [&str; 2] = ["signalled", "revision"];

pub struct Comparison {
    table: Table,
    compared: Vec<usize>,
    rows: HashMap<String, Seen>,
    found: u64,
}

#[derive(Default)]
struct Seen {
    expected: Vec<Box<[u8]>>,
    found: Vec<Box<[u8]>>,
}

impl Comparison {
    pub fn new(table: Table) -> Comparison {
        let schema = table.schema();
        let is_compared =
            |column: &usize| !NOT_COMPARED.contains(&schema.field(*column).name().as_str());
        let compared = (0..schema.fields().len()).filter(is_compared).collect();
        Comparison { table, compared, rows: HashMap::new(), found: 0 }
    }

    /// # Errors
    /// `Rows`.
    pub fn expect(&mut self, rows: &RecordBatch) -> Result<(), PipelineError> {
        for (key, bytes) in self.encode(rows)? {
            self.rows.entry(key).or_default().expected.push(bytes);
        }
        Ok(())
    }

    /// # Errors
    /// `Rows`.
    pub fn find(&mut self, rows: &RecordBatch) -> Result<(), PipelineError> {
        self.found += rows.num_rows() as u64;
        for (key, bytes) in self.encode(rows)? {
            self.rows.entry(key).or_default().found.push(bytes);
        }
        Ok(())
    }

    /// Tells the differences; rows of sessions in `torn` are left out.
    pub fn finish(self, torn: &BTreeSet<String>, verified: &mut Verified) {
        let name = self.table.name();
        *verified.rows.entry(name).or_default() += self.found;
        let mut rows: BTreeMap<String, Seen> = BTreeMap::new();
        rows.extend(self.rows);
        for (key, mut seen) in rows {
            let session = key.split(' ').next().unwrap_or_default();
            if torn.contains(session) {
                continue;
            }
            seen.expected.sort();
            seen.found.sort();
            if seen.expected != seen.found {
                let what = match (seen.expected.len(), seen.found.len()) {
                    (_, 0) => "is missing",
                    (0, _) => "is nobody's: the events do not give it",
                    (expected, found) if found > expected => "stands there more than once",
                    _ => "was changed: the events give other values",
                };
                verified.differ(|| format!("`{name}`: row {key} {what}"));
            }
        }
    }

    /// Each row's name and its compared columns.
    fn encode(&self, rows: &RecordBatch) -> Result<Vec<(String, Box<[u8]>)>, PipelineError> {
        let columns: Vec<_> =
            self.compared.iter().map(|column| rows.column(*column).clone()).collect();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let encoded = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        let named = encoded.iter().enumerate();
        Ok(named.map(|(row, bytes)| (self.name(rows, row), bytes.as_ref().into())).collect())
    }

    fn name(&self, rows: &RecordBatch, row: usize) -> String {
        let text = |column: &str| {
            rows.column_by_name(column).map_or("", |texts| texts.as_string::<i32>().value(row))
        };
        let session = text("session_id");
        match self.table {
            Table::Needs => format!("{session} need {}", text("need")),
            Table::PageViews => {
                let index = rows.column_by_name("index_in_session");
                let index = index.map_or(0, |index| index.as_primitive::<Int64Type>().value(row));
                format!("{session} page view {index}")
            }
            _ => session.to_owned(),
        }
    }
}
