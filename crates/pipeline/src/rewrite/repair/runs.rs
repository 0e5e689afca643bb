//! The runs to fold again. A run is all events of a visitor between two pauses longer than the session
//! gap, so every session lies in one.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use footfall_event::schema::Table;
use footfall_event::{Day, Micros, Offset, Partition};
use footfall_lake::{Lake, TableFile};
use futures::StreamExt;

use super::super::rows_of;
use super::horizon::Horizon;
use super::queue::Queue;
use super::replace::place_of;
use crate::PipelineError;
use crate::rows::DuplicateRow;
use crate::scan::{failed, fold_order, places_of, plain, text_at, time_at};
use crate::sort::sorted;

/// A record: where it stands in its log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub log: String,
    pub partition: Partition,
    pub offset: Offset,
}

/// From a run's first event to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Micros,
    pub to: Micros,
    /// Whether the history that was loaded ends with it.
    pub ends_history: bool,
}

/// Runs that are over and hold an event that waits.
#[derive(Debug, Default)]
pub struct Runs {
    /// By site and visitor, ascending.
    spans: HashMap<String, HashMap<String, Vec<Span>>>,
    pub count: usize,
    /// Runs that are not over yet.
    pub waiting: usize,
    /// Rows of loads whose event stands in the live log or in another load too: they are duplicates.
    pub doubled: BTreeMap<Place, DuplicateRow>,
}

impl Runs {
    /// The run of the visitor that `at` lies in.
    pub fn at(&self, site: &str, visitor_id: &str, at: Micros) -> Option<&Span> {
        let spans = self.spans.get(site)?.get(visitor_id)?;
        let next = spans.partition_point(|span| span.to < at);
        spans.get(next).filter(|span| span.from <= at)
    }

    /// Whether a row with `site`, `visitor_id` and a time lies in a run.
    pub fn hold(&self, rows: &RecordBatch, time_column: &str, row: usize) -> bool {
        let (site, visitor) = (text_at(rows, "site", row), text_at(rows, "visitor_id", row));
        let (Some(site), Some(visitor)) = (site, visitor) else { return false };
        time_at(rows, time_column, row).is_some_and(|time| self.at(site, visitor, time).is_some())
    }

    /// The rows of `events` that are folded again.
    ///
    /// # Errors
    /// `ArrowError`, which is a mistake in this program.
    pub fn only_counted(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let counts = |row: usize| {
            self.hold(rows, "event_time", row)
                && (self.doubled.is_empty()
                    || place_of(rows, row).is_none_or(|place| !self.doubled.contains_key(&place)))
        };
        let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(counts(row))).collect();
        filter_record_batch(rows, &mask)
    }

    /// The days of their rows, in each table.
    pub fn days(&self) -> RangeInclusive<Day> {
        let spans = || self.spans.values().flat_map(HashMap::values).flatten();
        let from = spans().map(|span| span.from).min().unwrap_or_default();
        let to = spans().map(|span| span.to).max().unwrap_or_default();
        from.day()..=to.day()
    }

    fn add(&mut self, site: String, visitor_id: String, span: Span) {
        self.count += 1;
        self.spans.entry(site).or_default().entry(visitor_id).or_default().push(span);
    }
}

/// How a run's last session ends where there is no live log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the history, if it is the visitor's last: all later days must be read to tell.
    OfHistory,
    /// As its rows say.
    AsItStands,
}

/// Finds the runs of the times in `queue` among the rows of `files`.
///
/// # Errors
/// `Lake`, `Rows`.
pub async fn find_runs(
    lake: &Lake,
    files: &[TableFile],
    queue: &Queue,
    horizon: &Horizon,
    end: End,
) -> Result<Runs, PipelineError> {
    let session_gap = horizon.session_gap;
    let Some((first, last)) = queue.times() else { return Ok(Runs::default()) };
    let all = files.iter().map(|file| file.day);
    let (first_day, last_day) = (all.clone().min(), all.max());
    let (Some(first_day), Some(last_day)) = (first_day, last_day) else {
        return Ok(Runs::default());
    };
    let (mut from, mut to) = ((first - session_gap).day(), (last + session_gap).day());
    if end == End::OfHistory && !horizon.has_live() {
        // Which run is a visitor's last decides how it ends.
        to = last_day;
    }
    let mut reach = 1;
    loop {
        let days = from..=to;
        let within: Vec<TableFile> =
            files.iter().filter(|file| days.contains(&file.day)).cloned().collect();
        let found = Finder::find(lake, within, queue, horizon, session_gap).await?;
        // A run that begins with the first day read, or ends with the last, may go on beyond.
        let goes_on_before =
            from > first_day && found.earliest.is_some_and(|at| at - session_gap < from.start());
        let goes_on_behind =
            to < last_day && found.latest.is_some_and(|at| at + session_gap >= to.next().start());
        if !goes_on_before && !goes_on_behind {
            return without_doubles(lake, files, found).await;
        }
        from = if goes_on_before { Day(from.0 - reach).max(first_day) } else { from };
        to = if goes_on_behind { Day(to.0 + reach).min(last_day) } else { to };
        reach *= 2;
    }
}

/// The run that passes.
struct Current {
    site: String,
    visitor_id: String,
    from: Micros,
    to: Micros,
    logs: Vec<String>,
}

struct Finder<'q> {
    queue: &'q Queue,
    horizon: &'q Horizon,
    session_gap: Micros,
    current: Option<Current>,
    runs: Runs,
    /// The last run of the visitor that passes, if it is to be folded again.
    last: Option<(String, String)>,
    /// The ends of the runs with events that wait.
    earliest: Option<Micros>,
    latest: Option<Micros>,
    /// Runs with rows of several logs, where an event may stand twice.
    mixed: Runs,
}

impl<'q> Finder<'q> {
    async fn find(
        lake: &Lake,
        files: Vec<TableFile>,
        queue: &'q Queue,
        horizon: &'q Horizon,
        session_gap: Micros,
    ) -> Result<Finder<'q>, PipelineError> {
        let mut finder = Finder {
            queue,
            horizon,
            session_gap,
            current: None,
            runs: Runs::default(),
            last: None,
            earliest: None,
            latest: None,
            mixed: Runs::default(),
        };
        let names = ["site", "visitor_id", "event_time", "log"];
        let (columns, schema) = columns_of(&names)?;
        let visitors = queue.visitors();
        let rows = rows_of(lake.clone(), Table::Events, files, columns)
            .map(move |batch| of_visitors(&batch?, &visitors).map_err(PipelineError::from))
            .map(|batch| batch.map_err(|error| DataFusionError::External(Box::new(error))));
        let order = fold_order(&["site", "visitor_id", "event_time"]);
        let mut rows = sorted(rows, schema.clone(), order).await?;
        while let Some(batch) = rows.next().await {
            let batch = plain(&batch.map_err(failed)?, &schema)?;
            let times = batch
                .column_by_name("event_time")
                .map(|times| times.as_primitive::<TimestampMicrosecondType>().clone());
            for row in 0..batch.num_rows() {
                let text = |column| text_at(&batch, column, row).unwrap_or_default();
                let time = times.as_ref().map_or(Micros(0), |times| Micros(times.value(row)));
                finder.take(text("site"), text("visitor_id"), time, text("log"));
            }
        }
        finder.end_run();
        finder.end_visitor();
        Ok(finder)
    }

    fn take(&mut self, site: &str, visitor_id: &str, time: Micros, log: &str) {
        let is_same_visitor = self
            .current
            .as_ref()
            .is_some_and(|run| run.site == site && run.visitor_id == visitor_id);
        if let Some(run) = self.current.as_mut().filter(|_| is_same_visitor)
            && time - run.to <= self.session_gap
        {
            run.to = time;
            if !run.logs.iter().any(|known| known == log) {
                run.logs.push(log.to_owned());
            }
            return;
        }
        self.end_run();
        if !is_same_visitor {
            self.end_visitor();
        }
        self.last = None;
        let (site, visitor_id) = (site.to_owned(), visitor_id.to_owned());
        let logs = vec![log.to_owned()];
        self.current = Some(Current { site, visitor_id, from: time, to: time, logs });
    }

    fn end_run(&mut self) {
        let Some(Current { site, visitor_id, from, to, logs }) = self.current.take() else {
            return;
        };
        if !self.queue.waits_within(&site, &visitor_id, from, to) {
            return;
        }
        if self.horizon.is_cut(from) {
            return;
        }
        self.earliest = Some(self.earliest.map_or(from, |earliest| earliest.min(from)));
        self.latest = self.latest.max(Some(to));
        let is_over = self.horizon.is_over(&site, &visitor_id, to)
            && logs.iter().all(|log| self.horizon.is_whole(log));
        if !is_over {
            self.runs.waiting += 1;
            return;
        }
        let span = Span { from, to, ends_history: false };
        if logs.len() > 1 {
            self.mixed.add(site.clone(), visitor_id.clone(), span);
        }
        self.runs.add(site.clone(), visitor_id.clone(), span);
        self.last = Some((site, visitor_id));
    }

    /// Of a visitor without live rows the last run ends with the history.
    fn end_visitor(&mut self) {
        let Some((site, visitor_id)) = self.last.take() else { return };
        let spans = self.runs.spans.get_mut(&site).and_then(|of| of.get_mut(&visitor_id));
        if let Some(span) = spans.and_then(|spans| spans.last_mut()) {
            span.ends_history = !self.horizon.has_live();
        }
    }
}

/// The runs, with the rows that stand for an event another row stands for.
async fn without_doubles(
    lake: &Lake,
    files: &[TableFile],
    found: Finder<'_>,
) -> Result<Runs, PipelineError> {
    let Finder { mut runs, mixed, .. } = found;
    if mixed.count == 0 {
        return Ok(runs);
    }
    let names = [
        "site",
        "visitor_id",
        "event_id",
        "event_time",
        "received_time",
        "log",
        "log_partition",
        "log_offset",
    ];
    let (columns, _) = columns_of(&names)?;
    let days = mixed.days();
    let files = files.iter().filter(|file| days.contains(&file.day)).cloned().collect();
    let mut rows = rows_of(lake.clone(), Table::Events, files, columns);
    let mut kept: HashMap<(String, String, String), (Place, DuplicateRow)> = HashMap::new();
    while let Some(batch) = rows.next().await {
        let batch = mixed.only_counted(&batch?)?;
        for row in 0..batch.num_rows() {
            let text = |column| text_at(&batch, column, row).unwrap_or_default().to_owned();
            let Some(place) = place_of(&batch, row) else { continue };
            let told = DuplicateRow {
                offset: place.offset,
                site: text("site"),
                event_id: text("event_id"),
                received_time: time_at(&batch, "received_time", row).unwrap_or_default(),
            };
            let id = (text("site"), text("visitor_id"), text("event_id"));
            let row = (place, told);
            let (first, second) = match kept.remove(&id) {
                None => (row, None),
                Some(other) if rank(&other.0) <= rank(&row.0) => (other, Some(row)),
                Some(other) => (row, Some(other)),
            };
            // What stands twice in the live log was sent again after its id was forgotten.
            runs.doubled.extend(second.filter(|(place, _)| is_of_load(place)));
            kept.insert(id, first);
        }
    }
    Ok(runs)
}

/// The live one comes first, then the first.
fn rank(place: &Place) -> (bool, &Place) {
    (is_of_load(place), place)
}

fn is_of_load(place: &Place) -> bool {
    place.log.starts_with("load:")
}

/// Columns of `events` by name: their places, ascending, and their schema.
fn columns_of(names: &[&str]) -> Result<(Vec<usize>, SchemaRef), ArrowError> {
    let places = places_of(Table::Events, names)?;
    let schema = Table::Events.schema().project(&places)?;
    Ok((places, schema.into()))
}

fn of_visitors(
    rows: &RecordBatch,
    visitors: &HashMap<String, std::collections::HashSet<String>>,
) -> Result<RecordBatch, ArrowError> {
    let is_of = |row: usize| {
        let (site, visitor) = (text_at(rows, "site", row), text_at(rows, "visitor_id", row));
        site.zip(visitor).is_some_and(|(site, visitor)| {
            visitors.get(site).is_some_and(|visitors| visitors.contains(visitor))
        })
    };
    let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_of(row))).collect();
    filter_record_batch(rows, &mask)
}
