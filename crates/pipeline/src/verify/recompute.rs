//! Sessions, needs and page views as the events give them, log by log, with the rules that each
//! session says it was folded with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::prelude::{col, lit};
use footfall_event::schema::Table;
use footfall_event::{Micros, Partition, SessionId, partition_of};
use footfall_lake::{Lake, LakeSettings};
use footfall_sessionizer::{
    CloseCause, Fact, Hit, Rows, RuleBook, Rules, RulesId, Session, Signalled, Visitor, step,
};
use futures::StreamExt;

use super::receipts::Watermarks;
use super::versions::Versions;
use crate::PipelineError;
use crate::batch::{HitColumns, place};
use crate::conditions::Conditions;
use crate::history::{failed, fold_order, plain};
use crate::rows::{need_rows, page_view_rows, session_rows};
use crate::rules_store;

/// Rows are turned to Arrow when so many have come together.
const ROWS_AT_ONCE: usize = 65_536;

/// What the tables should hold of a partition.
#[derive(Default)]
pub struct Expected {
    sessions: Vec<RecordBatch>,
    needs: Vec<RecordBatch>,
    page_views: Vec<RecordBatch>,
    /// Sessions of loads that not all tables hold.
    pub torn: BTreeSet<String>,
}

impl Expected {
    pub fn rows(&self, table: Table) -> &[RecordBatch] {
        match table {
            Table::Sessions => &self.sessions,
            Table::Needs => &self.needs,
            Table::PageViews => &self.page_views,
            _ => &[],
        }
    }

    fn add(&mut self, rows: &mut Rows, book: &RuleBook) -> Result<(), PipelineError> {
        let rows = std::mem::take(rows);
        self.sessions.push(session_rows(&rows.sessions, book)?);
        self.needs.push(need_rows(&rows.needs, book)?);
        self.page_views.push(page_view_rows(&rows.page_views, book)?);
        Ok(())
    }
}

/// Folds the events of each log that `watermarks` names.
///
/// # Errors
/// `Lake`, `Rows`, `Conditions`.
pub async fn recompute(
    lake: &Lake,
    versions: &Versions,
    settings: &LakeSettings,
    partition: Partition,
    watermarks: &Watermarks,
) -> Result<Expected, PipelineError> {
    let followed = Followed::read(lake, versions, settings, partition).await?;
    let mut expected = Expected::default();
    for (log, watermark) in watermarks {
        recompute_log(versions, settings, partition, log, *watermark, &followed, &mut expected)
            .await?;
    }
    for log in versions.torn_loads() {
        let mut torn = Expected::default();
        recompute_log(versions, settings, partition, log, None, &followed, &mut torn).await?;
        for rows in &torn.sessions {
            let ids = rows.column(0).as_string::<i32>();
            expected.torn.extend(ids.iter().flatten().map(str::to_owned));
        }
    }
    Ok(expected)
}

async fn recompute_log(
    versions: &Versions,
    settings: &LakeSettings,
    partition: Partition,
    log: &str,
    watermark: Option<Micros>,
    followed: &Followed,
    expected: &mut Expected,
) -> Result<(), PipelineError> {
    let schema = Table::Events.schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let rows = versions
        .read(Table::Events)
        .await?
        .filter(col("log").eq(lit(log)).and(col("late").is_not_true()))
        .and_then(|rows| rows.filter(col("visitor_id").is_not_null()))
        .and_then(|rows| rows.select_columns(&columns))
        .and_then(|rows| {
            rows.sort(fold_order(&["site", "visitor_id", "event_time", "seq", "event_id"]))
        });
    let mut stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
    let mut fold = Refold {
        followed,
        current: None,
        rows: Rows::default(),
        watermark,
        is_load: log != settings.topic,
    };
    while let Some(batch) = stream.next().await {
        let batch = plain(&batch.map_err(failed)?, &schema)?;
        fold.fold(&of_partition(&batch, settings.partitions, partition)?)?;
        if fold.rows.page_views.len() + fold.rows.sessions.len() > ROWS_AT_ONCE {
            expected.add(&mut fold.rows, &followed.book)?;
        }
    }
    fold.end_visitor();
    expected.add(&mut fold.rows, &followed.book)
}

/// The rules that were ever in force, and which each session followed.
struct Followed {
    book: RuleBook,
    conditions: Vec<(RulesId, Conditions)>,
    newest: RulesId,
    by_session: BTreeMap<String, RulesId>,
}

impl Followed {
    async fn read(
        lake: &Lake,
        versions: &Versions,
        settings: &LakeSettings,
        partition: Partition,
    ) -> Result<Followed, PipelineError> {
        let stored = rules_store::all(lake).await?;
        let mut sets = stored.into_iter().map(Arc::new);
        let none = || PipelineError::Source("no rules stand beside the tables".to_owned());
        let first: Arc<Rules> = sets.next().ok_or_else(none)?;
        let mut book = RuleBook::new(first);
        for rules in sets {
            book.push(rules);
        }
        let conditions = book.iter().map(|(id, rules)| Ok((id, Conditions::compile(rules)?)));
        let conditions: Result<Vec<_>, String> = conditions.collect();
        let ids: BTreeMap<String, RulesId> =
            book.iter().map(|(id, _)| (book.config_id(id).to_owned(), id)).collect();
        let mut by_session = BTreeMap::new();
        for table in [Table::PageViews, Table::Sessions] {
            versions
                .each_row_of(table, settings.partitions, partition, |rows| {
                    let column =
                        |name: &str| rows.column_by_name(name).map(|c| c.as_string::<i32>());
                    if let (Some(sessions), Some(configs)) =
                        (column("session_id"), column("config_id"))
                    {
                        for (session, config) in sessions.iter().zip(configs) {
                            let id = config.and_then(|config| ids.get(config));
                            if let (Some(session), Some(id)) = (session, id) {
                                by_session.insert(session.to_owned(), *id);
                            }
                        }
                    }
                    Ok(())
                })
                .await?;
        }
        let newest = book.newest().0;
        let conditions = conditions.map_err(PipelineError::Conditions)?;
        Ok(Followed { book, conditions, newest, by_session })
    }

    /// The rules of a session that `event_id` begins.
    fn of(&self, site: &str, visitor_id: &str, event_id: &str) -> RulesId {
        if self.conditions.len() == 1 {
            return self.newest;
        }
        let session = SessionId::new(site, visitor_id, event_id).to_string();
        self.by_session.get(&session).copied().unwrap_or(self.newest)
    }
}

struct Refold<'f> {
    followed: &'f Followed,
    current: Option<(Arc<Visitor>, Option<Box<Session>>)>,
    rows: Rows,
    watermark: Option<Micros>,
    is_load: bool,
}

impl Refold<'_> {
    fn fold(&mut self, events: &RecordBatch) -> Result<(), PipelineError> {
        let columns = HitColumns::of(events);
        let overflow = events.column(place("overflow")).as_boolean();
        let session_ids = events.column(place("session_id")).as_string::<i32>();
        let mut bits = Vec::new();
        for (id, conditions) in &self.followed.conditions {
            bits.push((*id, conditions.evaluate(events)?));
        }
        for row in 0..events.num_rows() {
            // Beyond the cap of open sessions an event is of no session.
            if session_ids.is_null(row) && overflow.is_valid(row) && overflow.value(row) {
                continue;
            }
            let text = |fact| columns.fact(row, fact).unwrap_or_default();
            let (site, visitor_id) = (text(Fact::Site), text(Fact::VisitorId));
            self.turn_to(site, visitor_id);
            let rules = self.followed.of(site, visitor_id, text(Fact::EventId));
            let own = bits.iter().find(|(id, _)| *id == rules).map(|(_, bits)| bits[row]);
            let others =
                bits.iter().filter(|(id, _)| *id != rules).map(|(id, bits)| (*id, bits[row]));
            let hit = columns.hit(row, (rules, own.unwrap_or_default()), others.collect());
            self.step(&hit);
        }
        Ok(())
    }

    fn step(&mut self, hit: &Hit) {
        if let Some((visitor, session)) = &mut self.current {
            step(
                session,
                visitor,
                hit,
                &Signalled::default(),
                true,
                &self.followed.book,
                &mut self.rows,
            );
        }
    }

    fn turn_to(&mut self, site: &str, visitor_id: &str) {
        let is_same = self.current.as_ref().is_some_and(|(visitor, _)| {
            &*visitor.site == site && &*visitor.visitor_id == visitor_id
        });
        if !is_same {
            self.end_visitor();
            let visitor = Visitor { site: site.into(), visitor_id: visitor_id.into() };
            self.current = Some((Arc::new(visitor), None));
        }
    }

    /// A load's last session ends with the load; a live one that the watermark has not passed is
    /// still open.
    fn end_visitor(&mut self) {
        let Some(session) = self.current.take().and_then(|(_, session)| session) else { return };
        let book = &self.followed.book;
        let ends = session.ended_at + book.at(session.rules).session_gap;
        if self.is_load {
            session.close(CloseCause::EndOfLoad, book, &mut self.rows);
        } else if self.watermark.is_some_and(|watermark| ends < watermark) {
            session.close(CloseCause::Timeout, book, &mut self.rows);
        }
    }
}

fn of_partition(
    events: &RecordBatch,
    partitions: u32,
    partition: Partition,
) -> Result<RecordBatch, PipelineError> {
    let columns = HitColumns::of(events);
    let is_of = |row: usize| {
        let text = |fact| columns.fact(row, fact).unwrap_or_default();
        partition_of(text(Fact::Site), text(Fact::VisitorId), partitions) == partition
    };
    let mask = (0..events.num_rows()).map(|row| Some(is_of(row))).collect::<BooleanArray>();
    Ok(filter_record_batch(events, &mask)?)
}
