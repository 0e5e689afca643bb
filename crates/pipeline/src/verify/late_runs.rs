//! Runs with late events: folded again across logs when they were repaired, left out while they wait. And
//! runs that retention cut, which are left out for good.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::prelude::{SessionContext, col};
use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use futures::StreamExt;

use super::rules::KnownRules;
use super::versions::Versions;
use super::visitor_rows::VisitorRows;
use crate::PipelineError;
use crate::batch::place;
use crate::scan::{context, failed, fold_order, plain, text_at};

/// Why a run is not folded log by log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateRun {
    /// All of them have a session.
    Repaired,
    /// Some are waiting for their repair.
    Waiting,
    /// Retention may have removed some of its events.
    Cut,
}

struct Span {
    from: Micros,
    to: Micros,
    is: LateRun,
}

/// The runs that hold a late event or were cut, of the visitors of a partition.
#[derive(Default)]
pub struct LateRuns {
    spans: HashMap<String, HashMap<String, Vec<Span>>>,
    pub waiting: usize,
    pub repaired: usize,
    pub cut: usize,
    /// A run that begins before was cut.
    cut_before: Option<Micros>,
}

/// When late events happened, and whether each waits: by site and visitor.
type LateEvents = HashMap<String, HashMap<String, Vec<(Micros, bool)>>>;

impl LateRuns {
    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn find(versions: &Versions, rules: &KnownRules) -> Result<LateRuns, PipelineError> {
        let context = &context()?;
        let late = late_events(context, versions, rules).await?;
        let events_from = versions.removed_before(Table::Events).map(Day::start);
        let cut_before = events_from.map(|start| start + versions.session_gap);
        let mut runs = LateRuns { cut_before, ..LateRuns::default() };
        if late.is_empty() && cut_before.is_none() {
            return Ok(runs);
        }
        let rows = versions.read(context, Table::Events).await?;
        let rows = rows.filter(col("visitor_id").is_not_null()).map_err(failed)?;
        let names = ["site", "visitor_id", "event_time"];
        let schema = Table::Events.schema();
        let schema = schema.project(&names.map(place))?.into();
        let of = (versions.partitions, versions.partition);
        let mut rows = VisitorRows::sorted(rows, schema, fold_order(&names), of).await?;
        let mut run: Option<(String, String, Micros, Micros)> = None;
        while let Some(batch) = rows.next().await? {
            let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                let text = |column| text_at(&batch, column, row).unwrap_or_default();
                let (site, visitor, time) =
                    (text("site"), text("visitor_id"), Micros(times.value(row)));
                match &mut run {
                    Some((of_site, of_visitor, _, to))
                        if *of_site == site
                            && *of_visitor == visitor
                            && time - *to <= versions.session_gap =>
                    {
                        *to = time;
                    }
                    _ => {
                        runs.end(run.take(), &late);
                        run = Some((site.to_owned(), visitor.to_owned(), time, time));
                    }
                }
            }
        }
        runs.end(run, &late);
        Ok(runs)
    }

    fn end(&mut self, run: Option<(String, String, Micros, Micros)>, late: &LateEvents) {
        let Some((site, visitor, from, to)) = run else { return };
        let events = late.get(&site).and_then(|of| of.get(&visitor)).map_or(&[][..], Vec::as_slice);
        let within = || events.iter().filter(|(time, _)| (from..=to).contains(time));
        let is = match within().map(|(_, waits)| *waits).reduce(|any, waits| any || waits) {
            _ if self.cut_before.is_some_and(|time| from < time) => LateRun::Cut,
            Some(true) => LateRun::Waiting,
            Some(false) => LateRun::Repaired,
            None => return,
        };
        match is {
            LateRun::Cut => self.cut += 1,
            LateRun::Repaired => self.repaired += 1,
            LateRun::Waiting => self.waiting += 1,
        }
        let span = Span { from, to, is };
        self.spans.entry(site).or_default().entry(visitor).or_default().push(span);
    }

    /// What the run is that a time of the visitor lies in; `None` for an ordinary run.
    pub fn at(&self, site: &str, visitor_id: &str, at: Micros) -> Option<LateRun> {
        let spans = self.spans.get(site)?.get(visitor_id)?;
        let next = spans.partition_point(|span| span.to < at);
        spans.get(next).filter(|span| span.from <= at).map(|span| span.is)
    }
}

/// The late events of visitors.
async fn late_events(
    context: &SessionContext,
    versions: &Versions,
    rules: &KnownRules,
) -> Result<LateEvents, PipelineError> {
    let schema = Table::Events.schema();
    let rows = versions.read(context, Table::Events).await?;
    let rows = rows
        .filter(col("late").is_true())
        .and_then(|rows| rows.filter(col("visitor_id").is_not_null()))
        .and_then(|rows| rows.select(schema.fields().iter().map(|field| col(field.name()))))
        .map_err(failed)?;
    let mut late = LateEvents::new();
    let mut stream = rows.execute_stream().await.map_err(failed)?;
    while let Some(batch) = stream.next().await {
        let batch = plain(&batch.map_err(failed)?, &schema)?;
        take_late(&batch, rules, &mut late)?;
    }
    Ok(late)
}

fn take_late(
    rows: &RecordBatch,
    rules: &KnownRules,
    late: &mut LateEvents,
) -> Result<(), PipelineError> {
    let times = rows.column(place("event_time")).as_primitive::<TimestampMicrosecondType>();
    let overflows = rows.column(place("overflow")).as_boolean();
    for (row, judged) in rules.judge(rows)?.iter().enumerate() {
        let text = |column| text_at(rows, column, row);
        let has_session = text("session_id").is_some();
        let is_hidden = rules.is_hidden(judged);
        if !has_session && (is_hidden || overflows.is_valid(row) && overflows.value(row)) {
            continue;
        }
        let (site, visitor) =
            (text("site").unwrap_or_default(), text("visitor_id").unwrap_or_default());
        let of_visitor = late.entry(site.to_owned()).or_default().entry(visitor.to_owned());
        of_visitor.or_default().push((Micros(times.value(row)), !has_session));
    }
    Ok(())
}
