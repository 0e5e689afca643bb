//! The late events that wait for repair: rows of `events` that are `late`, have a visitor and no
//! session, are neither hidden nor beyond a cap.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_lake::{Lake, TableFile};
use footfall_sessionizer::Rules;
use futures::StreamExt;

use super::super::rows_of;
use crate::PipelineError;
use crate::batch::place;
use crate::conditions::Conditions;
use crate::scan::{is_set, places_of};

/// A load may leave all of its rows to the repair. Visitors that are repaired at once, and events of
/// more than one of them, at most.
const VISITORS_MAX: usize = 100_000;
const EVENTS_MAX: usize = 5_000_000;

/// Files that are known to hold nothing that waits. Files never change, so none is looked at twice by
/// one process.
#[derive(Debug, Default)]
pub struct SettledFiles {
    config_id: String,
    paths: HashSet<String>,
}

/// Site and visitor id.
pub type VisitorKey = (String, String);

/// When waiting events happened, ascending, by visitor: of the visitors of the lowest ids.
#[derive(Debug, Default)]
pub struct Queue {
    times: BTreeMap<VisitorKey, Vec<Micros>>,
    /// Up to which visitor others were looked at before: those that cannot be repaired yet must not stand
    /// before the rest for ever.
    behind: Option<VisitorKey>,
    events: usize,
    /// Visitors beyond the bounds were left to the next part.
    has_more: bool,
}

impl Queue {
    /// An empty one of the visitors behind one.
    pub fn behind(behind: Option<VisitorKey>) -> Queue {
        Queue { behind, ..Queue::default() }
    }

    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn read(
        lake: &Lake,
        files: &[TableFile],
        conditions: &Conditions,
        rules: &Rules,
        settled: &mut SettledFiles,
        behind: Option<VisitorKey>,
    ) -> Result<Queue, PipelineError> {
        settled.forget_others(files, rules.config_id());
        let mut queue = Queue::behind(behind);
        let marks = ["visitor_id", "session_id", "late", "overflow"];
        let marks = places_of(Table::Events, &marks)?;
        let all: Vec<usize> = (0..Table::Events.schema().fields().len()).collect();
        for file in files {
            if settled.paths.contains(file.path()) {
                continue;
            }
            let mut may_wait = false;
            let mut rows = rows_of(lake.clone(), Table::Events, vec![file.clone()], marks.clone());
            while let Some(batch) = rows.next().await {
                may_wait |= waits(&batch?).true_count() > 0;
            }
            if may_wait {
                let mut rows =
                    rows_of(lake.clone(), Table::Events, vec![file.clone()], all.clone());
                may_wait = false;
                while let Some(batch) = rows.next().await {
                    let batch = batch?;
                    may_wait |=
                        queue.take(&filter_record_batch(&batch, &waits(&batch))?, conditions)?;
                }
            }
            if !may_wait {
                settled.paths.insert(file.path().to_owned());
            }
        }
        queue.close();
        Ok(queue)
    }

    /// Takes rows that may wait; whether any does.
    pub fn take(
        &mut self,
        rows: &RecordBatch,
        conditions: &Conditions,
    ) -> Result<bool, PipelineError> {
        let (sites, visitors) = (rows.column(place("site")), rows.column(place("visitor_id")));
        let (sites, visitors) = (sites.as_string::<i32>(), visitors.as_string::<i32>());
        let times = rows.column(place("event_time")).as_primitive::<TimestampMicrosecondType>();
        let mut any = false;
        for (row, bits) in conditions.evaluate(rows)?.into_iter().enumerate() {
            if !bits.hidden() {
                self.add(sites.value(row), visitors.value(row), Micros(times.value(row)));
                any = true;
            }
        }
        self.keep_bounds();
        Ok(any)
    }

    /// Adds a time of a visitor; [`Queue::close`] follows, and [`Queue::keep_bounds`] now and then.
    pub fn add(&mut self, site: &str, visitor_id: &str, time: Micros) {
        let visitor = (site.to_owned(), visitor_id.to_owned());
        if self.behind.as_ref().is_some_and(|behind| visitor <= *behind) {
            return;
        }
        self.times.entry(visitor).or_default().push(time);
        self.events += 1;
    }

    /// All times were added.
    pub fn close(&mut self) {
        self.times.values_mut().for_each(|times| times.sort_unstable());
    }

    /// Leaves the visitors of the highest ids to the next time where there are too many.
    pub fn keep_bounds(&mut self) {
        while self.times.len() > VISITORS_MAX || (self.events > EVENTS_MAX && self.times.len() > 1)
        {
            let last = self.times.pop_last();
            self.events -= last.map_or(0, |(_, times)| times.len());
            self.has_more = true;
        }
    }

    /// Behind whom the next part begins; `None` where this is the last.
    pub fn next(&self) -> Option<VisitorKey> {
        let last = self.times.last_key_value().map(|(visitor, _)| visitor.clone());
        last.filter(|_| self.has_more)
    }

    /// The visitor's events wait on.
    pub fn leave_out(&mut self, site: String, visitor_id: String) {
        self.times.remove(&(site, visitor_id));
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When the first and the last of all happened.
    pub fn times(&self) -> Option<(Micros, Micros)> {
        let times = || self.times.values().flatten();
        Some((*times().min()?, *times().max()?))
    }

    /// The visitors by site.
    pub fn visitors(&self) -> HashMap<String, HashSet<String>> {
        let mut visitors: HashMap<String, HashSet<String>> = HashMap::new();
        for (site, visitor_id) in self.times.keys() {
            visitors.entry(site.clone()).or_default().insert(visitor_id.clone());
        }
        visitors
    }

    /// Whether an event of the visitor waits in that time.
    pub fn waits_within(&self, site: &str, visitor_id: &str, from: Micros, to: Micros) -> bool {
        let times = self.times.get(&(site.to_owned(), visitor_id.to_owned()));
        times.is_some_and(|times| {
            let first = times.partition_point(|time| *time < from);
            times.get(first).is_some_and(|time| *time <= to)
        })
    }
}

impl SettledFiles {
    /// Files that are gone, and, when other rules say what is hidden, all.
    fn forget_others(&mut self, files: &[TableFile], config_id: String) {
        if self.config_id != config_id {
            *self = SettledFiles { config_id, paths: HashSet::new() };
        }
        let standing: HashSet<&str> = files.iter().map(TableFile::path).collect();
        self.paths.retain(|path| standing.contains(path.as_str()));
    }
}

/// Which rows wait, unless they are hidden.
fn waits(rows: &RecordBatch) -> BooleanArray {
    let outside = has_no_session(rows);
    let flag = |name, row| is_set(rows, name, row);
    let waits = |row: usize| outside.value(row) && flag("late", row) && !flag("overflow", row);
    (0..rows.num_rows()).map(|row| Some(waits(row))).collect()
}

/// Which rows are of a visitor and of no session.
pub fn has_no_session(rows: &RecordBatch) -> BooleanArray {
    let is_given = |name: &str, row: usize| {
        rows.column_by_name(name).is_some_and(|column| column.is_valid(row))
    };
    let is_outside = |row: usize| is_given("visitor_id", row) && !is_given("session_id", row);
    (0..rows.num_rows()).map(|row| Some(is_outside(row))).collect()
}

#[cfg(test)]
mod tests {
    use footfall_lake::TableWriter;

    use super::*;
    use crate::testing::{Shop, at};

    /// What is hidden by some rules may wait by others.
    #[tokio::test]
    async fn by_other_rules_all_files_are_looked_at_again() {
        let shop = Shop::new().await;
        shop.load("1", &[&at(0, "a", "")]).await;
        let files = TableWriter::open(&shop.lake, Table::Events).await.unwrap().files().unwrap();
        let paths: HashSet<String> = files.iter().map(|file| file.path().to_owned()).collect();
        assert_eq!(paths.len(), 1);
        let mut settled = SettledFiles { config_id: "one".to_owned(), paths: paths.clone() };
        settled.forget_others(&files, "one".to_owned());
        assert_eq!(settled.paths, paths);
        settled.forget_others(&files, "other".to_owned());
        assert!(settled.paths.is_empty());
        settled.paths = paths;
        settled.forget_others(&[], "other".to_owned());
        assert!(settled.paths.is_empty());
    }

    #[test]
    fn those_who_wait_for_long_do_not_stand_before_the_rest() {
        let parts = |behind| {
            let mut queue = Queue::behind(behind);
            for number in 0..=VISITORS_MAX {
                queue.add("shop", &format!("v{number:06}"), Micros(0));
                queue.keep_bounds();
            }
            queue.close();
            (queue.times.len(), queue.next())
        };
        let (first, next) = parts(None);
        assert_eq!(first, VISITORS_MAX);
        assert_eq!(next, Some(("shop".to_owned(), format!("v{:06}", VISITORS_MAX - 1))));
        assert_eq!(parts(next), (1, None));
    }
}
