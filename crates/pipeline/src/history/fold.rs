//! The fold of history: visitor by visitor, with the step that live reading uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use footfall_event::{EventKey, Micros, Offset};
use footfall_sessionizer::{
    Bits, CloseCause, Counts, EventRow, Fact, Membership, Rows, RuleBook, RulesId, Session,
    Signalled, Visitor, step,
};

use super::Load;
use super::existing::{Existing, OfVisitor};
use crate::PipelineError;
use crate::batch::{HitColumns, place};
use crate::conditions::Conditions;
use crate::rows::{DuplicateRow, settled_rows};

/// Folds sorted rows. Sessions end with their visitor.
pub struct HistoryFold {
    book: RuleBook,
    conditions: Conditions,
    existing: Existing,
    /// Rows from here on are left to the repair.
    live_limit: Micros,
    /// The rows stand in `events`, with what became of each.
    is_resumed: bool,
    visitor: Option<CurrentVisitor>,
    counts: BTreeMap<String, Counts>,
    rows: Rows,
}

struct CurrentVisitor {
    site: String,
    visitor_id: Option<String>,
    visitor: Arc<Visitor>,
    session: Option<Box<Session>>,
    standing: OfVisitor,
}

/// What came of some rows.
pub struct Folded {
    /// `None` where the rows stand in the table already.
    pub events: Option<RecordBatch>,
    pub duplicates: Vec<DuplicateRow>,
    pub rows: Rows,
    pub book: RuleBook,
}

impl HistoryFold {
    /// # Errors
    /// `Conditions`.
    pub fn new(
        load: &Load,
        live_limit: Micros,
        existing: Existing,
        is_resumed: bool,
    ) -> Result<HistoryFold, PipelineError> {
        let conditions = Conditions::compile(&load.rules).map_err(PipelineError::Conditions)?;
        Ok(HistoryFold {
            book: RuleBook::new(load.rules.clone()),
            conditions,
            existing,
            live_limit,
            is_resumed,
            visitor: None,
            counts: BTreeMap::new(),
            rows: Rows::default(),
        })
    }

    /// Folds the next rows in order.
    ///
    /// # Errors
    /// `Lake` when the existing events cannot be read; `Rows`.
    pub async fn fold(&mut self, events: &RecordBatch) -> Result<Folded, PipelineError> {
        let columns = HitColumns::of(events);
        let bits = self.conditions.evaluate(events)?;
        let late = events.column(place("late")).as_boolean();
        let received = events.column(place("received_time"));
        let received = received.as_primitive::<TimestampMicrosecondType>();
        let (mut settled, mut fresh, mut duplicates) = (Vec::new(), Vec::new(), Vec::new());
        for (row, bits) in bits.into_iter().enumerate() {
            let site = columns.fact(row, Fact::Site).unwrap_or_default();
            self.turn_to(site, columns.fact(row, Fact::VisitorId)).await?;
            let event_id = columns.fact(row, Fact::EventId).unwrap_or_default();
            let is_duplicate = !self.is_resumed && self.stands(site, event_id).await?;
            fresh.push(!is_duplicate);
            if is_duplicate {
                self.count(site).duplicate += 1;
                let offset = columns.offset(row);
                let received_time = Micros(received.value(row));
                let (site, event_id) = (site.to_owned(), event_id.to_owned());
                duplicates.push(DuplicateRow { offset, site, event_id, received_time });
                continue;
            }
            settled.push(self.settle(&columns, row, bits, late));
        }
        let events = match (self.is_resumed, duplicates.is_empty()) {
            (true, _) => None,
            (false, true) => Some(settled_rows(events, &settled)?),
            (false, false) => {
                let events = filter_record_batch(events, &BooleanArray::from(fresh))?;
                Some(settled_rows(&events, &settled)?)
            }
        };
        Ok(self.folded(events, duplicates))
    }

    /// Closes the last session.
    pub fn finish(mut self) -> (Folded, BTreeMap<String, Counts>) {
        self.end_visitor();
        let counts = std::mem::take(&mut self.counts);
        (self.folded(None, Vec::new()), counts)
    }

    fn folded(&mut self, events: Option<RecordBatch>, duplicates: Vec<DuplicateRow>) -> Folded {
        let rows = std::mem::take(&mut self.rows);
        Folded { events, duplicates, rows, book: self.book.clone() }
    }

    fn settle(
        &mut self,
        columns: &HitColumns<'_>,
        row: usize,
        bits: Bits,
        late: &BooleanArray,
    ) -> EventRow {
        let (offset, time) = (columns.offset(row), columns.event_time(row));
        let site = columns.fact(row, Fact::Site).unwrap_or_default();
        let is_late = match self.is_resumed {
            true => late.is_valid(row) && late.value(row),
            false => self.is_left_to_repair(time),
        };
        let mut settled =
            EventRow { cause: Offset(0), offset, session_id: None, late: is_late, overflow: false };
        let counts = self.count(site);
        if is_late {
            counts.late += 1;
            return settled;
        }
        counts.on_time += 1;
        let Some(current) = self.visitor.as_mut().filter(|current| current.visitor_id.is_some())
        else {
            return settled;
        };
        let hit = columns.hit(row, (RulesId::default(), bits), Vec::new());
        let CurrentVisitor { visitor, session, .. } = current;
        let member =
            step(session, visitor, &hit, &Signalled::default(), true, &self.book, &mut self.rows);
        if let Membership::In { session, overflow } = member {
            settled.session_id = Some(session);
            settled.overflow = overflow;
            if overflow {
                self.count(site).overflow += 1;
            }
        }
        settled
    }

    fn is_left_to_repair(&self, time: Micros) -> bool {
        let gap = self.book.at(RulesId::default()).session_gap;
        let Some(current) = &self.visitor else { return false };
        current.visitor_id.is_some()
            && (time >= self.live_limit || current.standing.is_near(time, gap))
    }

    /// Whether the current visitor's event stands in another log.
    async fn stands(&mut self, site: &str, event_id: &str) -> Result<bool, PipelineError> {
        let Some(current) = &self.visitor else { return Ok(false) };
        let Some(visitor_id) = &current.visitor_id else {
            return self.existing.has_cookieless(site, event_id).await;
        };
        let keys = &current.standing.keys;
        Ok(!keys.is_empty() && keys.contains(&EventKey::of_event(site, Some(visitor_id), event_id)))
    }

    fn count(&mut self, site: &str) -> &mut Counts {
        self.counts.entry(site.to_owned()).or_default()
    }

    async fn turn_to(&mut self, site: &str, visitor_id: Option<&str>) -> Result<(), PipelineError> {
        let is_same = self.visitor.as_ref().is_some_and(|current| {
            current.visitor_id.as_deref() == visitor_id && current.site == site
        });
        if is_same {
            return Ok(());
        }
        self.end_visitor();
        let standing = match visitor_id {
            Some(visitor_id) if !self.is_resumed => self.existing.of(site, visitor_id).await?,
            _ => OfVisitor::default(),
        };
        let visitor =
            Visitor { site: site.into(), visitor_id: visitor_id.unwrap_or_default().into() };
        self.visitor = Some(CurrentVisitor {
            site: site.to_owned(),
            visitor_id: visitor_id.map(str::to_owned),
            visitor: Arc::new(visitor),
            session: None,
            standing,
        });
        Ok(())
    }

    fn end_visitor(&mut self) {
        if let Some(session) = self.visitor.take().and_then(|current| current.session) {
            session.close(CloseCause::EndOfLoad, &self.book, &mut self.rows);
        }
    }
}
