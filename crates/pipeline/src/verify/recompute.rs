//! Sessions, needs and page views as the events give them, with the rules that each session says it
//! was folded with; and what each event says of its session. Events are folded log by log, those of
//! runs that were repaired all together. Visitors pass one by one, so memory does not grow with the
//! tables.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::SortExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, Expr, SessionContext, coalesce, col, lit};
use footfall_event::Micros;
use footfall_event::SessionId;
use footfall_event::schema::Table;
use footfall_sessionizer::{
    Bits, CloseCause, Fact, Hit, Membership, Rows, RulesId, Session, Signalled, Visitor, step,
};
use futures::StreamExt;

use super::Verified;
use super::compare::{Comparison, Marks};
use super::late_runs::{LateRun, LateRuns};
use super::receipts::Watermarks;
use super::rules::{Followed, KnownRules, rules_of};
use super::versions::Versions;
use super::visitor_rows::{VisitorKey, VisitorRows, by_visitor, visitor_at};
use crate::PipelineError;
use crate::batch::{HitColumns, place};
use crate::rows::{need_rows, page_view_rows, session_rows, with_revisions};
use crate::scan::{context, failed, plain};
use crate::sort::sorted;

/// In place of a log's name, for the events of runs that were repaired; no log has such a name.
const REPAIRED: &str = "";
/// Rows are compared when so many have come together.
const ROWS_AT_ONCE: usize = 16_384;

/// Folds the events of the logs that `watermarks` names, and holds the tables against what they give.
///
/// # Errors
/// `Lake`, `Rows`, `Conditions`.
pub async fn verify(
    versions: &Versions,
    rules: &KnownRules,
    watermarks: &Watermarks,
    late_runs: LateRuns,
    verified: &mut Verified,
) -> Result<(), PipelineError> {
    let late_runs = Arc::new(late_runs);
    // One context: the four sorts share its memory.
    let context = context()?;
    let mut events = events_in_order(&context, versions, watermarks, late_runs.clone()).await?;
    let mut comparisons = Vec::new();
    for table in [Table::Sessions, Table::Needs, Table::PageViews] {
        comparisons.push(Comparison::new(&context, versions, table, late_runs.clone()).await?);
    }
    let followed = match rules.is_one() {
        true => None,
        false => Some(Followed::read(versions).await?),
    };
    let torn = versions.torn_loads().cloned().collect();
    let mut refold = Refold {
        versions,
        rules,
        watermarks,
        torn,
        followed,
        comparisons,
        current: None,
        rows: Rows::default(),
        late: HashMap::new(),
        marks: Marks::default(),
    };
    while let Some(batch) = events.next().await {
        let batch = plain(&batch.map_err(failed)?, &Table::Events.schema())?;
        refold.fold(&batch, verified).await?;
    }
    refold.end_log();
    refold.compare(None, verified).await
}

/// The events that sessions are made of, visitor by visitor, log by log, in event order. Those of runs
/// that were repaired come before them, under [`REPAIRED`]; those of runs that wait, or were cut, are left out.
async fn events_in_order(
    context: &SessionContext,
    versions: &Versions,
    watermarks: &Watermarks,
    late_runs: Arc<LateRuns>,
) -> Result<SendableRecordBatchStream, PipelineError> {
    let schema = Table::Events.schema();
    let is_of_live = col("log").eq(lit(versions.topic.as_str()));
    let is_of_live = is_of_live.and(col("log_partition").eq(lit(versions.partition.0)));
    let mut is_wanted = any_of(versions.loads());
    if watermarks.contains_key(&versions.topic) {
        is_wanted = is_wanted.or(is_of_live);
    }
    let with_visitor = |rows: DataFrame, is_wanted: Expr| {
        rows.filter(is_wanted)?
            .filter(col("visitor_id").is_not_null())?
            .select(schema.fields().iter().map(|field| col(field.name())))
    };
    let whole = versions.read(context, Table::Events).await?;
    let mut rows = with_visitor(whole, is_wanted).map_err(failed)?;
    if versions.torn_loads().next().is_some() {
        // What another table holds of a load stands in `events`, though not at the barrier.
        let torn = versions.read_newest_events(context).await?;
        let torn = with_visitor(torn, any_of(versions.torn_loads())).map_err(failed)?;
        rows = rows.union(torn).map_err(failed)?;
    }
    let of = (versions.partitions, versions.partition);
    let rows = VisitorRows::unsorted(rows, schema.clone(), of).await?;
    let rows = rows.into_stream().map(move |batch| {
        let batch = batch.and_then(|batch| Ok(to_be_folded(&batch, &late_runs)?));
        batch.map_err(|error| DataFusionError::External(Box::new(error)))
    });
    sorted(rows, schema, event_order()).await
}

/// The rows that are folded, with what they are folded together by in the column `log`.
fn to_be_folded(rows: &RecordBatch, late_runs: &LateRuns) -> Result<RecordBatch, ArrowError> {
    let logs = rows.column(place("log")).as_string::<i32>();
    let late = rows.column(place("late")).as_boolean();
    let times = rows.column(place("event_time")).as_primitive::<TimestampMicrosecondType>();
    let (mut is_folded, mut together) = (Vec::new(), Vec::new());
    for row in 0..rows.num_rows() {
        let (site, visitor) = visitor_at(rows, row);
        let time = Micros(times.value(row));
        let run = late_runs.at(site.unwrap_or_default(), visitor.unwrap_or_default(), time);
        let is_late = late.is_valid(row) && late.value(row);
        is_folded.push(match run {
            Some(LateRun::Repaired) => true,
            Some(LateRun::Waiting | LateRun::Cut) => false,
            None => !is_late,
        });
        together.push(if run.is_some() { REPAIRED } else { logs.value(row) });
    }
    let mut columns = rows.columns().to_vec();
    columns[place("log")] = Arc::new(StringArray::from(together));
    let rows = RecordBatch::try_new(rows.schema(), columns)?;
    filter_record_batch(&rows, &BooleanArray::from(is_folded))
}

fn any_of<'l>(logs: impl Iterator<Item = &'l String>) -> Expr {
    logs.fold(lit(false), |any, log| any.or(col("log").eq(lit(log.as_str()))))
}

/// `seq` is 0 when absent; what ties in all else was sent again after its id was forgotten.
fn event_order() -> Vec<SortExpr> {
    let mut order = by_visitor();
    let seq = coalesce(vec![col("seq"), lit(0i64)]);
    let within = [col("log"), col("event_time"), seq, col("event_id"), col("log_offset")];
    order.extend(within.map(|expression| expression.sort(true, true)));
    order
}

struct Refold<'v> {
    versions: &'v Versions,
    rules: &'v KnownRules,
    watermarks: &'v Watermarks,
    torn: BTreeSet<String>,
    /// `None` where all sessions follow the same rules.
    followed: Option<Followed>,
    comparisons: Vec<Comparison>,
    current: Option<Current>,
    rows: Rows,
    /// Late events by session.
    late: HashMap<SessionId, i64>,
    marks: Marks,
}

/// The visitor whose events pass, and the log that they are of.
struct Current {
    visitor: Arc<Visitor>,
    log: String,
    kind: LogKind,
    session: Option<Box<Session>>,
    /// The session that was marked last.
    marked: Option<SessionId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LogKind {
    Live {
        watermark: Option<Micros>,
    },
    Load,
    TornLoad,
    /// Of all logs, in runs that were repaired.
    Repaired,
}

impl Refold<'_> {
    async fn fold(
        &mut self,
        events: &RecordBatch,
        verified: &mut Verified,
    ) -> Result<(), PipelineError> {
        let columns = HitColumns::of(events);
        let logs = events.column(place("log")).as_string::<i32>();
        let settled = SettledColumns::of(events);
        let late = events.column(place("late")).as_boolean();
        let judged = self.rules.judge(events)?;
        for (row, judged) in judged.iter().enumerate() {
            let text = |fact| columns.fact(row, fact).unwrap_or_default();
            self.turn_to(text(Fact::Site), text(Fact::VisitorId), logs.value(row), verified)
                .await?;
            let stands = settled.at(row);
            let is_refused = stands == (None, Some(true));
            let rules =
                rules_of(judged, self.begun_by(text(Fact::EventId)), stands == (None, Some(false)));
            let membership = match rules {
                None => Membership::Outside,
                Some(rules) => {
                    let is_own = |(id, _): &&(RulesId, Bits)| *id == rules;
                    let own = judged.iter().find(is_own).map_or(Bits::default(), |own| own.1);
                    let others = judged.iter().filter(|other| !is_own(other)).copied();
                    let hit = columns.hit(row, (rules, own), others.collect());
                    // Beyond the cap of open sessions an event opens none; only its row tells.
                    self.step(&hit, !is_refused)
                }
            };
            if let Membership::In { session, .. } = membership
                && (late.is_valid(row) && late.value(row))
            {
                *self.late.entry(session).or_default() += 1;
            }
            self.hold_event(stands, membership, &columns, row, verified);
        }
        Ok(())
    }

    /// The rules of the session that an event begins, if one is known to begin with it.
    fn begun_by(&self, event_id: &str) -> Option<RulesId> {
        let (followed, current) = (self.followed.as_ref()?, self.current.as_ref()?);
        let Visitor { site, visitor_id } = current.visitor.as_ref();
        followed.of(&SessionId::new(site, visitor_id, event_id).to_string())
    }

    fn step(&mut self, hit: &Hit, may_open: bool) -> Membership {
        let Some(current) = &mut self.current else { return Membership::Outside };
        let Current { visitor, kind, session, marked, .. } = current;
        let mut torn = Rows::default();
        let rows = if *kind == LogKind::TornLoad { &mut torn } else { &mut self.rows };
        let unsignalled = Signalled::default();
        let book = &self.rules.book;
        let membership = step(session, visitor, hit, &unsignalled, may_open, book, rows);
        if let Membership::In { session, .. } = membership
            && *marked != Some(session)
        {
            *marked = Some(session);
            match kind {
                LogKind::Live { .. } => drop(self.marks.live.insert(session.to_string())),
                LogKind::Load => {}
                LogKind::Repaired => drop(self.marks.live.insert(session.to_string())),
                LogKind::TornLoad => drop(self.marks.torn.insert(session.to_string())),
            }
        }
        membership
    }

    /// Holds what the event's row says of its session against the step.
    fn hold_event(
        &self,
        (stands, overflows): (Option<&str>, Option<bool>),
        membership: Membership,
        columns: &HitColumns<'_>,
        row: usize,
        verified: &mut Verified,
    ) {
        let (session, overflow) = match membership {
            Membership::In { session, overflow } => (Some(session.to_string()), overflow),
            Membership::Outside => (None, false),
            Membership::Refused => (None, true),
        };
        let is_known = self.rules.agree_on_overflow()
            || session.as_ref().is_none_or(|session| self.follows_known(session));
        let is_same = stands == session.as_deref()
            && match overflows {
                Some(overflows) => overflows == overflow || !is_known,
                None => false,
            };
        verified.require(is_same, || {
            let event_id = columns.fact(row, Fact::EventId).unwrap_or_default();
            let log = self.current.as_ref().map_or("", |current| current.log.as_str());
            let or_none = |session: Option<&str>| session.unwrap_or("none").to_owned();
            format!(
                "`events`: event {event_id}, record {} of {log}, says session {}, overflow {overflows:?}; the events give {}, {overflow}",
                columns.offset(row),
                or_none(stands),
                or_none(session.as_deref()),
            )
        });
    }

    /// Whether the rules of a session are known: those of an open one are not before its first row.
    fn follows_known(&self, session: &str) -> bool {
        self.followed.as_ref().is_none_or(|followed| followed.of(session).is_some())
    }

    async fn turn_to(
        &mut self,
        site: &str,
        visitor_id: &str,
        log: &str,
        verified: &mut Verified,
    ) -> Result<(), PipelineError> {
        let same_visitor = |current: &Current| {
            let Visitor { site: other_site, visitor_id: other } = current.visitor.as_ref();
            **other_site == *site && **other == *visitor_id
        };
        let is_same_visitor = self.current.as_ref().is_some_and(same_visitor);
        if is_same_visitor && self.current.as_ref().is_some_and(|current| current.log == log) {
            return Ok(());
        }
        let last = self.end_log();
        if !is_same_visitor {
            let waiting =
                self.rows.sessions.len() + self.rows.needs.len() + self.rows.page_views.len();
            if waiting >= ROWS_AT_ONCE {
                self.compare(last.as_ref(), verified).await?;
            }
            if let Some(followed) = &mut self.followed {
                let visitor = (Some(site.to_owned()), Some(visitor_id.to_owned()));
                followed.turn_to(&visitor, self.rules).await?;
            }
        }
        let kind = match self.watermarks.get(log) {
            _ if log == REPAIRED => LogKind::Repaired,
            _ if self.torn.contains(log) => LogKind::TornLoad,
            Some(watermark) if log == self.versions.topic => {
                LogKind::Live { watermark: *watermark }
            }
            _ => LogKind::Load,
        };
        self.current = Some(Current {
            visitor: Arc::new(Visitor { site: site.into(), visitor_id: visitor_id.into() }),
            log: log.to_owned(),
            kind,
            session: None,
            marked: None,
        });
        Ok(())
    }

    /// A load's last session ends with the load; a live one that the watermark has not passed is
    /// still open. Tells whose it was.
    fn end_log(&mut self) -> Option<VisitorKey> {
        let Current { visitor, kind, session, .. } = self.current.take()?;
        let book = &self.rules.book;
        if let Some(session) = session {
            let ends = session.ended_at + book.at(session.rules).session_gap;
            match kind {
                LogKind::Load => session.close(CloseCause::EndOfLoad, book, &mut self.rows),
                // Or with the history, where nothing was live: its row is taken at its word.
                LogKind::Repaired => session.close(CloseCause::Timeout, book, &mut self.rows),
                LogKind::Live { watermark } if watermark.is_some_and(|time| ends < time) => {
                    session.close(CloseCause::Timeout, book, &mut self.rows);
                }
                LogKind::Live { .. } | LogKind::TornLoad => {}
            }
        }
        Some((Some(visitor.site.to_string()), Some(visitor.visitor_id.to_string())))
    }

    /// Compares the visitors up to `last`, or all that are left.
    async fn compare(
        &mut self,
        last: Option<&VisitorKey>,
        verified: &mut Verified,
    ) -> Result<(), PipelineError> {
        let (rows, marks) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.marks));
        let (book, late) = (&self.rules.book, std::mem::take(&mut self.late));
        let expected = [
            with_revisions(&session_rows(&rows.sessions, book)?, &late)?,
            with_revisions(&need_rows(&rows.needs, book)?, &late)?,
            with_revisions(&page_view_rows(&rows.page_views, book)?, &late)?,
        ];
        for (comparison, expected) in self.comparisons.iter_mut().zip(&expected) {
            comparison.compare(expected, last, &marks, verified).await?;
        }
        Ok(())
    }
}

/// What rows of `events` say the fold settled: `session_id` and `overflow`.
struct SettledColumns<'b> {
    session_ids: &'b arrow::array::StringArray,
    overflow: &'b arrow::array::BooleanArray,
}

impl<'b> SettledColumns<'b> {
    fn of(events: &'b RecordBatch) -> SettledColumns<'b> {
        SettledColumns {
            session_ids: events.column(place("session_id")).as_string(),
            overflow: events.column(place("overflow")).as_boolean(),
        }
    }

    fn at(&self, row: usize) -> (Option<&'b str>, Option<bool>) {
        let session = self.session_ids.is_valid(row).then(|| self.session_ids.value(row));
        (session, self.overflow.is_valid(row).then(|| self.overflow.value(row)))
    }
}
