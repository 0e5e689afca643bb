//! Runs folded again: visitor by visitor in event order, with the step that live reading uses.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use footfall_event::{Micros, Offset, SessionId};
use footfall_sessionizer::{
    CloseCause, EventRow, Fact, Membership, Rows, RuleBook, Rules, RulesId, Session, Signalled,
    Visitor, step,
};

use super::replace::Kept;
use super::runs::Runs;
use crate::PipelineError;
use crate::batch::{HitColumns, place};
use crate::conditions::Conditions;
use crate::rows::{need_rows, page_view_rows, session_rows, settled_rows, with_revisions};

pub struct Refold {
    book: RuleBook,
    conditions: Conditions,
    runs: Arc<Runs>,
    kept: Kept,
    /// Whether a session ends with its load where one of its run did, and nowhere else.
    keeps_ends: bool,
    visitor: Arc<Visitor>,
    /// The first event of the run that passes, where ends are kept.
    run: Option<Micros>,
    session: Option<Box<Session>>,
    rows: Rows,
    /// Late events of each session whose rows were not taken yet.
    late: HashMap<SessionId, i64>,
    late_events: usize,
}

impl Refold {
    pub fn new(
        rules: &Arc<Rules>,
        conditions: Conditions,
        runs: Arc<Runs>,
        kept: Kept,
        keeps_ends: bool,
    ) -> Refold {
        Refold {
            book: RuleBook::new(rules.clone()),
            conditions,
            runs,
            kept,
            keeps_ends,
            visitor: Arc::new(Visitor { site: "".into(), visitor_id: "".into() }),
            run: None,
            session: None,
            rows: Rows::default(),
            late: HashMap::new(),
            late_events: 0,
        }
    }

    /// Folds the next rows of `events` in order; the rows with what became of each.
    ///
    /// # Errors
    /// `Rows`.
    pub fn fold(&mut self, events: &RecordBatch) -> Result<RecordBatch, PipelineError> {
        let columns = HitColumns::of(events);
        let bits = self.conditions.evaluate(events)?;
        let late = events.column(place("late")).as_boolean();
        let mut settled = Vec::with_capacity(bits.len());
        for (row, bits) in bits.into_iter().enumerate() {
            let text = |fact| columns.fact(row, fact).unwrap_or_default();
            self.turn_to(text(Fact::Site), text(Fact::VisitorId));
            let hit = columns.hit(row, (RulesId::default(), bits), Vec::new());
            if self.keeps_ends {
                self.turn_to_run(hit.event_time);
            }
            let (visitor, rows) = (&self.visitor, &mut self.rows);
            let unsignalled = Signalled::default();
            let member =
                step(&mut self.session, visitor, &hit, &unsignalled, true, &self.book, rows);
            let is_late = late.is_valid(row) && late.value(row);
            let (session_id, overflow) = match member {
                Membership::In { session, overflow } => (Some(session), overflow),
                Membership::Outside | Membership::Refused => (None, false),
            };
            if let Some(session) = session_id.filter(|_| is_late) {
                *self.late.entry(session).or_default() += 1;
                self.late_events += 1;
            }
            let offset = columns.offset(row);
            settled.push(EventRow {
                cause: Offset(0),
                offset,
                session_id,
                late: is_late,
                overflow,
            });
        }
        Ok(settled_rows(events, &settled)?)
    }

    /// Closes the last session.
    pub fn end(&mut self) {
        let Some(session) = self.session.take() else { return };
        let Visitor { site, visitor_id } = self.visitor.as_ref();
        let run = self.runs.at(site, visitor_id, session.started_at);
        let ends_with_load = run.is_some_and(|run| match self.keeps_ends {
            true => {
                let id = (site.to_string(), visitor_id.to_string(), run.from);
                self.kept.ended_with_load.contains(&id)
            }
            false => run.ends_history,
        });
        let cause = match ends_with_load {
            true => CloseCause::EndOfLoad,
            false => CloseCause::Timeout,
        };
        session.close(cause, &self.book, &mut self.rows);
    }

    /// Rows of `page_views`, `needs` and `sessions` of the sessions that are closed.
    ///
    /// # Errors
    /// `Rows`.
    pub fn take_rows(&mut self) -> Result<[RecordBatch; 3], PipelineError> {
        let Rows { sessions, mut needs, mut page_views, .. } = std::mem::take(&mut self.rows);
        // How many late events an open session has is not known before its end.
        let open = self.session.as_ref().map(|session| session.id);
        self.rows.page_views =
            page_views.extract_if(.., |row| Some(row.session_id) == open).collect();
        for need in &mut needs {
            let name = self.book.at(need.rules).needs[need.need].name.clone();
            let Visitor { site, visitor_id } = need.visitor.as_ref();
            let id = (site.to_string(), visitor_id.to_string(), name, need.raised_at);
            need.signalled = self.kept.signalled.contains(&id);
        }
        let rows = [
            with_revisions(&page_view_rows(&page_views, &self.book)?, &self.late)?,
            with_revisions(&need_rows(&needs, &self.book)?, &self.late)?,
            with_revisions(&session_rows(&sessions, &self.book)?, &self.late)?,
        ];
        self.late.retain(|session, _| Some(*session) == open);
        Ok(rows)
    }

    /// Late events that have a session now.
    pub fn late_events(&self) -> usize {
        self.late_events
    }

    /// A run that is over ends as it did, whatever follows it; within a run the step tells why a session
    /// ends.
    fn turn_to_run(&mut self, at: Micros) {
        let Visitor { site, visitor_id } = self.visitor.as_ref();
        let run = self.runs.at(site, visitor_id, at).map(|run| run.from);
        if self.run != run {
            self.end();
            self.run = run;
        }
    }

    fn turn_to(&mut self, site: &str, visitor_id: &str) {
        if *self.visitor.site == *site && *self.visitor.visitor_id == *visitor_id {
            return;
        }
        self.end();
        self.visitor = Arc::new(Visitor { site: site.into(), visitor_id: visitor_id.into() });
    }
}
