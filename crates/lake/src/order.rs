//! Whether a file's rows go by visitor and time, found out as they are written: who reads the file then
//! need not sort. Nothing is sorted here.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use footfall_event::schema::Table;

/// The tag of a file's entry in the log that names the columns by which its rows are sorted.
const TAG: &str = "footfall.sorted_by";

/// The columns by which a table's files are sorted when they are at all: ascending, NULL first. `None`
/// for tables whose rows are nobody's.
pub fn sort_columns(table: Table) -> Option<[&'static str; 2]> {
    match table {
        Table::Events => Some(["visitor_id", "event_time"]),
        Table::Sessions | Table::PageViews => Some(["visitor_id", "started_at"]),
        Table::Needs => Some(["visitor_id", "raised_at"]),
        Table::Rejected | Table::Duplicates | Table::Receipts => None,
    }
}

/// The tags of a file whose rows are sorted.
pub(crate) fn tags(table: Table) -> Option<HashMap<String, Option<String>>> {
    let columns = sort_columns(table)?;
    Some(HashMap::from([(TAG.to_owned(), Some(columns.join(",")))]))
}

/// Whether a file with these tags is sorted by the table's columns.
pub(crate) fn is_sorted(table: Table, tags: Option<&HashMap<String, Option<String>>>) -> bool {
    let named = tags.and_then(|tags| tags.get(TAG)).and_then(Option::as_deref);
    sort_columns(table).is_some_and(|columns| named == Some(columns.join(",").as_str()))
}

/// Watches the rows of one file. A row's place is its visitor and time; NULL lies before all values.
pub(crate) struct OrderWatch {
    columns: Option<[&'static str; 2]>,
    last: Option<(Option<String>, Option<i64>)>,
}

impl OrderWatch {
    pub(crate) fn new(table: Table) -> OrderWatch {
        OrderWatch { columns: sort_columns(table), last: None }
    }

    /// Takes note of the next rows.
    pub(crate) fn see(&mut self, rows: &RecordBatch) {
        let Some(columns) = self.columns else { return };
        if !self.are_next(rows, columns) {
            self.columns = None;
        }
    }

    /// Whether all rows seen were in order.
    pub(crate) fn holds(&self) -> bool {
        self.columns.is_some()
    }

    fn are_next(&mut self, rows: &RecordBatch, [visitor, time]: [&str; 2]) -> bool {
        let visitors = rows.column_by_name(visitor).and_then(|c| c.as_string_opt::<i32>());
        let times = rows.column_by_name(time);
        let times = times.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let (Some(visitors), Some(times)) = (visitors, times) else { return false };
        let Some(last) = rows.num_rows().checked_sub(1) else { return true };
        if self
            .last
            .as_ref()
            .is_some_and(|(visitor, time)| (visitor.as_deref(), *time) > place(visitors, times, 0))
        {
            return false;
        }
        let (visitor, time) = place(visitors, times, last);
        self.last = Some((visitor.map(str::to_owned), time));
        (0..last).all(|row| place(visitors, times, row) <= place(visitors, times, row + 1))
    }
}

fn place<'r>(
    visitors: &'r StringArray,
    times: &TimestampMicrosecondArray,
    row: usize,
) -> (Option<&'r str>, Option<i64>) {
    let visitor = visitors.is_valid(row).then(|| visitors.value(row));
    (visitor, times.is_valid(row).then(|| times.value(row)))
}

#[cfg(test)]
mod tests;
