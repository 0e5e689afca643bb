//! Rows expected against rows found, visitor by visitor: what is missing, doubled, changed, or
//! nobody's. Held are the rows of one visitor and a batch of each side, whatever the tables' size.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::prelude::SessionContext;
use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use footfall_sessionizer::CloseCause;

use super::Verified;
use super::late_runs::{LateRun, LateRuns};
use super::versions::Versions;
use super::visitor_rows::{VisitorKey, VisitorRows, by_visitor, visitor_at};
use crate::PipelineError;
use crate::scan::text_at;

/// What the fold alone knows: whether a signal was due depends on when records arrived. Of loads it
/// is known to be false.
const NOT_COMPARED: &str = "signalled";

/// Sessions that are compared in a way of their own.
#[derive(Debug, Default)]
pub struct Marks {
    /// Of loads that not all tables hold: their rows are left out.
    pub torn: HashSet<String>,
    /// Of the live log: those alone have signals. One that was loaded may have the id of a live one,
    /// where its first event was posted too.
    pub live: HashSet<String>,
}

/// The rows of one table.
pub struct Comparison {
    table: Table,
    rows: Encoder,
    found: VisitorRows,
    /// Found rows that were read and not compared yet.
    read: VecDeque<Row>,
    /// Rows of live sessions cannot be told from those that are nobody's.
    ignores_others: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    visitor: VisitorKey,
    session: String,
    name: String,
    bytes: Box<[u8]>,
    signalled: Option<bool>,
}

impl Comparison {
    /// # Errors
    /// `Lake`.
    pub async fn new(
        context: &SessionContext,
        versions: &Versions,
        table: Table,
        late_runs: Arc<LateRuns>,
    ) -> Result<Comparison, PipelineError> {
        let rows = versions.read(context, table).await?;
        let of = (versions.partitions, versions.partition);
        Ok(Comparison {
            table,
            rows: Encoder::new(table, Judged::of(versions, table, late_runs))?,
            found: VisitorRows::sorted(rows, table.schema(), by_visitor(), of).await?,
            read: VecDeque::new(),
            ignores_others: !versions.has_live(),
        })
    }

    /// Compares the visitors up to `last`, or to the end; `expected` holds all rows of those that
    /// were not compared before, visitor by visitor.
    ///
    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn compare(
        &mut self,
        expected: &RecordBatch,
        last: Option<&VisitorKey>,
        marks: &Marks,
        verified: &mut Verified,
    ) -> Result<(), PipelineError> {
        let mut expected = self.rows.encode(expected)?.into_iter().peekable();
        loop {
            let found = self.next_found(last, verified).await?;
            let visitor = match (expected.peek().map(|row| &row.visitor), found) {
                (Some(expected), Some(found)) => expected.min(&found).clone(),
                (Some(expected), None) => expected.clone(),
                (None, Some(found)) => found,
                (None, None) => return Ok(()),
            };
            let mut rows = OfVisitor::default();
            while let Some(row) = expected.next_if(|row| row.visitor == visitor) {
                rows.expect(row);
            }
            while self.next_found(Some(&visitor), verified).await?.is_some() {
                self.read.pop_front().into_iter().for_each(|row| rows.find(row));
            }
            rows.tell(self.table, marks, self.ignores_others, verified);
        }
    }

    /// Whose the next found row is, if it is of a visitor up to `last`.
    async fn next_found(
        &mut self,
        last: Option<&VisitorKey>,
        verified: &mut Verified,
    ) -> Result<Option<VisitorKey>, PipelineError> {
        while self.read.is_empty() {
            let Some(batch) = self.found.next().await? else { return Ok(None) };
            verified.looked_at(self.table, batch.num_rows() as u64);
            self.read = self.rows.encode(&batch)?.into();
        }
        let visitor = self.read.front().map(|row| &row.visitor);
        Ok(visitor.filter(|visitor| last.is_none_or(|last| *visitor <= last)).cloned())
    }
}

/// The rows of one visitor, by their names.
#[derive(Default)]
struct OfVisitor(BTreeMap<String, Seen>);

#[derive(Default)]
struct Seen {
    session: String,
    expected: Vec<Box<[u8]>>,
    found: Vec<Box<[u8]>>,
    signalled: Vec<Option<bool>>,
}

impl OfVisitor {
    fn expect(&mut self, row: Row) {
        let seen = self.0.entry(row.name).or_default();
        seen.session = row.session;
        seen.expected.push(row.bytes);
    }

    fn find(&mut self, row: Row) {
        let seen = self.0.entry(row.name).or_default();
        seen.session = row.session;
        seen.found.push(row.bytes);
        seen.signalled.push(row.signalled);
    }

    fn tell(self, table: Table, marks: &Marks, ignores_others: bool, verified: &mut Verified) {
        for (name, mut seen) in self.0 {
            if marks.torn.contains(&seen.session) {
                continue;
            }
            if ignores_others && seen.holds_expected() {
                continue;
            }
            seen.expected.sort();
            seen.found.sort();
            let table = table.name();
            if seen.expected != seen.found {
                let what = match (seen.expected.len(), seen.found.len()) {
                    (_, 0) => "is missing",
                    (0, _) => "is nobody's: the events do not give it",
                    (expected, found) if found > expected => "stands there more than once",
                    _ => "was changed: the events give other values",
                };
                verified.differ(|| format!("`{table}`: row {name} {what}"));
            } else if table == Table::Needs.name() {
                let may_be = |signalled: &Option<bool>| match signalled {
                    Some(true) => marks.live.contains(&seen.session),
                    Some(false) => true,
                    None => false,
                };
                verified.require(seen.signalled.iter().all(may_be), || {
                    format!("`{table}`: row {name} was changed: it cannot be `signalled`")
                });
            }
        }
    }
}

impl Seen {
    /// Whether rows are found for all that are expected, and further ones.
    fn holds_expected(&self) -> bool {
        let mut found = self.found.clone();
        let mut takes = |wanted: &[u8]| {
            found.iter().position(|row| **row == *wanted).map(|at| found.swap_remove(at)).is_some()
        };
        self.found.len() > self.expected.len() && self.expected.iter().all(|row| takes(row))
    }
}

/// Turns rows of a table into what is compared.
struct Encoder {
    table: Table,
    compared: Vec<usize>,
    converter: RowConverter,
    judged: Judged,
}

/// Which rows are compared, and how.
#[derive(Default)]
struct Judged {
    late_runs: Arc<LateRuns>,
    /// The first day that retention left in this table, and in `events`.
    from: Option<Day>,
    events_from: Option<Day>,
    is_recomputed: bool,
}

impl Judged {
    fn of(versions: &Versions, table: Table, late_runs: Arc<LateRuns>) -> Judged {
        let from = versions.removed_before(table);
        let events_from = versions.removed_before(Table::Events);
        Judged { late_runs, from, events_from, is_recomputed: versions.is_recomputed() }
    }
}

impl Encoder {
    fn new(table: Table, judged: Judged) -> Result<Encoder, PipelineError> {
        let schema = table.schema();
        let is_compared = |column: &usize| schema.field(*column).name() != NOT_COMPARED;
        let compared: Vec<usize> = (0..schema.fields().len()).filter(is_compared).collect();
        let types = compared.iter().map(|column| schema.field(*column).data_type().clone());
        let converter = RowConverter::new(types.map(SortField::new).collect())?;
        Ok(Encoder { table, compared, converter, judged })
    }

    /// The rows, but those of runs that wait for their repair, and of days or runs that retention removed.
    fn encode(&self, rows: &RecordBatch) -> Result<Vec<Row>, PipelineError> {
        let runs: Vec<Option<LateRun>> =
            (0..rows.num_rows()).map(|row| self.run(rows, row)).collect();
        let rows = &self.at_their_word(rows, &runs)?;
        let columns: Vec<_> =
            self.compared.iter().map(|column| rows.column(*column).clone()).collect();
        let encoded = self.converter.convert_columns(&columns)?;
        let row = |(row, bytes): (usize, arrow::row::Row<'_>)| {
            let (site, visitor_id) = visitor_at(rows, row);
            let session = text_at(rows, "session_id", row).unwrap_or_default();
            Row {
                visitor: (site.map(str::to_owned), visitor_id.map(str::to_owned)),
                name: self.name(session, rows, row),
                session: session.to_owned(),
                bytes: bytes.as_ref().into(),
                signalled: signalled(rows, row),
            }
        };
        let encoded = encoded.iter().enumerate();
        let is_left_out = |row: usize| {
            matches!(runs[row], Some(LateRun::Waiting | LateRun::Cut)) || self.is_removed(rows, row)
        };
        let judged = encoded.filter(|(row, _)| !is_left_out(*row));
        Ok(judged.map(row).collect())
    }

    fn run(&self, rows: &RecordBatch, row: usize) -> Option<LateRun> {
        let (site, visitor_id) = visitor_at(rows, row);
        self.judged.late_runs.at(site?, visitor_id?, self.time(rows, row)?)
    }

    fn time(&self, rows: &RecordBatch, row: usize) -> Option<Micros> {
        let column = if self.table == Table::Needs { "raised_at" } else { "started_at" };
        let times = rows.column_by_name(column)?.as_primitive::<TimestampMicrosecondType>();
        Some(Micros(times.value(row)))
    }

    /// Whether retention removes the row's day, or has removed its events.
    fn is_removed(&self, rows: &RecordBatch, row: usize) -> bool {
        let days = rows.column_by_name(self.table.partition_column());
        let day = days.map(|days| Day(days.as_primitive::<Date32Type>().value(row)));
        let time = self.time(rows, row);
        day < self.judged.from || time < self.judged.events_from.map(Day::start)
    }

    /// A session of a repaired or recomputed run that ends the history says so; whether it did end there is not known
    /// any more.
    fn at_their_word(
        &self,
        rows: &RecordBatch,
        runs: &[Option<LateRun>],
    ) -> Result<RecordBatch, PipelineError> {
        let Ok(place) = rows.schema().index_of("close_cause") else { return Ok(rows.clone()) };
        let causes = rows.column(place).as_string::<i32>();
        let word = |(row, cause)| match cause {
            Some(cause)
                if (runs[row] == Some(LateRun::Repaired) || self.judged.is_recomputed)
                    && cause == CloseCause::EndOfLoad.name() =>
            {
                Some(CloseCause::Timeout.name())
            }
            cause => cause,
        };
        let causes: StringArray = causes.iter().enumerate().map(word).collect();
        let mut columns = rows.columns().to_vec();
        columns[place] = Arc::new(causes);
        Ok(RecordBatch::try_new(rows.schema(), columns)?)
    }

    fn name(&self, session: &str, rows: &RecordBatch, row: usize) -> String {
        match self.table {
            Table::Needs => {
                format!("{session} need {}", text_at(rows, "need", row).unwrap_or_default())
            }
            Table::PageViews => {
                let index = rows.column_by_name("index_in_session");
                let index = index.map_or(0, |index| index.as_primitive::<Int64Type>().value(row));
                format!("{session} page view {index}")
            }
            _ => session.to_owned(),
        }
    }
}

fn signalled(rows: &RecordBatch, row: usize) -> Option<bool> {
    let column = rows.column_by_name(NOT_COMPARED)?.as_boolean_opt()?;
    column.is_valid(row).then(|| column.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row as `session name bytes`, and `!` behind it where it was signalled.
    fn row(text: &str) -> Row {
        let signalled = Some(text.ends_with('!'));
        let parts: Vec<&str> = text.trim_end_matches('!').split(' ').collect();
        let (session, name) = (parts[0].to_owned(), format!("{} {}", parts[0], parts[1]));
        Row { visitor: (None, None), session, name, bytes: parts[2].as_bytes().into(), signalled }
    }

    #[track_caller]
    fn check(expected: &[&str], found: &[&str], ignores_others: bool, differences: &[&str]) {
        let mut rows = OfVisitor::default();
        expected.iter().for_each(|text| rows.expect(row(text)));
        found.iter().for_each(|text| rows.find(row(text)));
        let marks = Marks {
            torn: HashSet::from(["torn".to_owned()]),
            live: HashSet::from(["live".to_owned()]),
        };
        let mut verified = Verified::default();
        rows.tell(Table::Needs, &marks, ignores_others, &mut verified);
        assert_eq!(verified.listed, differences);
    }

    #[test]
    fn what_differs_is_told_by_name() {
        check(&["s a 1", "s b 2"], &["s b 2", "s a 1"], false, &[]);
        check(&["s a 1"], &[], false, &["`needs`: row s a is missing"]);
        check(
            &["s a 1"],
            &["s a 1", "s a 1"],
            false,
            &["`needs`: row s a stands there more than once"],
        );
        check(
            &["s a 1"],
            &["s a 2"],
            false,
            &["`needs`: row s a was changed: the events give other values"],
        );
        check(&[], &["s a 1"], false, &["`needs`: row s a is nobody's: the events do not give it"]);
    }

    #[test]
    fn only_live_needs_are_signalled() {
        check(&["live a 1"], &["live a 1!"], false, &[]);
        let cannot = "`needs`: row loaded a was changed: it cannot be `signalled`";
        check(&["loaded a 1"], &["loaded a 1!"], false, &[cannot]);
    }

    #[test]
    fn rows_that_cannot_be_judged_are_left_out() {
        let missing = "`needs`: row s a is missing";
        check(&["s a 1"], &[], true, &[missing]);
        check(&[], &["torn a 1"], false, &[]);
        check(&[], &["s a 1"], true, &[]);
        check(&["s a 1"], &["s a 2!", "s a 1"], true, &[]);
        check(
            &["s a 1"],
            &["s a 2"],
            true,
            &["`needs`: row s a was changed: the events give other values"],
        );
    }

    #[test]
    fn every_column_but_signalled_is_compared() {
        for table in [Table::Sessions, Table::Needs, Table::PageViews] {
            let schema = table.schema();
            let compared = Encoder::new(table, Judged::default()).unwrap().compared;
            let left_out = (0..schema.fields().len()).filter(|column| !compared.contains(column));
            let left_out: Vec<&str> = left_out.map(|at| schema.field(at).name().as_str()).collect();
            let expected: &[&str] = if table == Table::Needs { &["signalled"] } else { &[] };
            assert_eq!(left_out, expected, "{table:?}");
        }
    }
}
