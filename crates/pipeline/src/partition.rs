//! One partition under this pipeline: records to the fold, and what the fold settled until it is
//! committed.

mod resume;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use footfall_event::{
    EventDecoder, EventKey, Micros, Offset, Partition, Reason, Rejection, TIME_RANGE,
    beyond_readers, rejected_payload,
};
use footfall_log::{Kind, Record};
use footfall_sessionizer::{
    Bits, Fact, Fold, Output, RuleBook, Rules, RulesId, Signal, Signalled, Status, Visitor,
};

use crate::PipelineError;
use crate::batch::{HitColumns, place};
use crate::conditions::Conditions;
use crate::erasure::Mark;
use crate::metrics::Metrics;
use crate::old_resend::{OldResends, suspects};
use crate::rows::{DuplicateRow, EventPlaces, Origin, RejectedRow};
use crate::snapshot::Header;
use crate::tail::{Place, Tail};

/// A partition that is being folded.
pub struct PartitionFold {
    pub origin: Origin,
    decoder: EventDecoder,
    fold: Fold,
    conditions: Vec<(RulesId, Conditions)>,
    places: EventPlaces,
    duplicates: Vec<DuplicateRow>,
    rejected: Vec<RejectedRow>,
    /// Which rules are in force from which record on.
    rules_from: Vec<(Offset, RulesId)>,
    /// The next record to fold, and the append time of the one before.
    position: Offset,
    last_append_time: Micros,
    /// Log time of the last settling, or the first that was known.
    settled_at: Option<Micros>,
    /// Held events that a snapshot names and that the log has yet to give again.
    to_hold: BTreeMap<Offset, Signalled>,
    /// Who watches what is read.
    tail: Tail,
    /// It began anew, and no snapshot was made since.
    is_unsaved: bool,
}

/// What became final in a partition up to `position`, with all that rows are made of.
pub struct Settled {
    pub origin: Origin,
    pub position: Offset,
    /// The append time of the record before the position.
    pub last_append_time: Micros,
    pub output: Output,
    /// The rows of `output.rows.events`, in its order.
    pub events: RecordBatch,
    pub duplicates: Vec<DuplicateRow>,
    pub rejected: Vec<RejectedRow>,
    pub book: RuleBook,
    /// Whether all tables commit up to `position`, with or without rows.
    pub is_barrier: bool,
}

impl PartitionFold {
    /// A partition whose log is folded from record `begin`, its first; the receipt goes on at
    /// `receipts_from`, or begins at `begin`.
    ///
    /// # Errors
    /// `Conditions`.
    pub fn begin(
        origin: Origin,
        begin: Offset,
        receipts_from: Option<Offset>,
        rules: Arc<Rules>,
    ) -> Result<Self, PipelineError> {
        let fold = Fold::new(rules, receipts_from.unwrap_or(begin));
        let (newest, _) = fold.rules().newest();
        let rules_from = vec![(begin, newest)];
        let made =
            PartitionFold::with(origin, fold, rules_from, begin, Micros(0), BTreeMap::new())?;
        Ok(PartitionFold { is_unsaved: true, ..made })
    }

    /// Whether no snapshot tells of it yet.
    pub fn is_unsaved(&self) -> bool {
        self.is_unsaved
    }

    fn with(
        origin: Origin,
        fold: Fold,
        rules_from: Vec<(Offset, RulesId)>,
        position: Offset,
        last_append_time: Micros,
        to_hold: BTreeMap<Offset, Signalled>,
    ) -> Result<Self, PipelineError> {
        let decoder = EventDecoder::new(&origin.log, origin.partition);
        let conditions = Vec::new();
        let (places, duplicates, rejected) = (EventPlaces::default(), Vec::new(), Vec::new());
        let mut made = PartitionFold {
            origin,
            decoder,
            fold,
            conditions,
            places,
            duplicates,
            rejected,
            rules_from,
            position,
            last_append_time,
            settled_at: None,
            to_hold,
            tail: Tail::default(),
            is_unsaved: false,
        };
        made.settled_at = made.fold.clock().log_time();
        made.compile()?;
        Ok(made)
    }

    /// Shows what is read from here on to those who watch `tail`.
    pub fn show_to(&mut self, tail: Tail) {
        self.tail = tail;
    }

    /// The next record to fold.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The append time of the record before the position.
    pub fn last_append_time(&self) -> Micros {
        self.last_append_time
    }

    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    pub fn rows_waiting(&self) -> usize {
        self.fold.rows_waiting() + self.duplicates.len() + self.rejected.len()
    }

    /// Whether a quarter of the window in which ids are remembered has passed since the last settling:
    /// an id must not be forgotten before its row can be looked up.
    pub fn spans_much(&self) -> bool {
        self.is_span(self.settled_at, self.fold.clock().log_time())
    }

    fn is_span(&self, from: Option<Micros>, to: Option<Micros>) -> bool {
        let window = self.fold.rules().newest().1.dedupe_window;
        from.zip(to).is_some_and(|(from, to)| (to - from).0 > window.0 / 4)
    }

    /// Whether anything but ticks was read since the last [`PartitionFold::settle`].
    pub fn has_news(&self) -> bool {
        self.fold.has_news()
    }

    /// Folds the first of `records`, which ascend without one left out, and tells how many; those
    /// before the position are only held again where the snapshot names them.
    ///
    /// A piece ends behind a control record, as conditions change there, and where it spans much: a
    /// delivery after a long rest spans hours, and what it brought must be committed in between.
    ///
    /// # Errors
    /// `HeldLost`, `Conditions`, or `Stopping` when old resends cannot be looked up; the records from
    /// the position on can be read again.
    pub async fn read(
        &mut self,
        records: &[Record],
        resends: &mut OldResends,
        metrics: &Metrics,
    ) -> Result<(usize, Vec<Signal>), PipelineError> {
        let again = records.partition_point(|record| record.offset < self.position);
        self.hold_again(&records[..again])?;
        if again < records.len() {
            self.require_whole()?;
        }
        let (piece, settled_at) = self.piece(&records[again..]);
        let end = again + piece;
        match records[again..end].split_last() {
            Some((control, batch)) if control.kind == Kind::Control => {
                self.read_batch(batch, resends, metrics).await?;
                self.read_control(control)?;
            }
            _ => self.read_batch(&records[again..end], resends, metrics).await?,
        }
        self.settled_at = settled_at;
        Ok((end, self.fold.take_signals()))
    }

    /// How many records the next piece has, and from which log time on it spans: that of the last
    /// settling, or the first that the partition knows.
    fn piece(&self, records: &[Record]) -> (usize, Option<Micros>) {
        let (mut clock, mut settled_at) = (self.fold.clock(), self.settled_at);
        let is_last = |record: &Record| {
            // Log time does not depend on the lateness.
            clock.advance(record.append_time, Micros(0));
            settled_at = settled_at.or(clock.log_time());
            record.kind == Kind::Control || self.is_span(settled_at, clock.log_time())
        };
        let end = records.iter().position(is_last).map_or(records.len(), |last| last + 1);
        (end, settled_at)
    }

    async fn read_batch(
        &mut self,
        records: &[Record],
        resends: &mut OldResends,
        metrics: &Metrics,
    ) -> Result<(), PipelineError> {
        let Some(last) = records.last() else { return Ok(()) };
        let mut bad = Vec::new();
        self.decoder.expect(records.len());
        for record in records.iter().filter(|record| record.kind == Kind::Event) {
            let pushed = self.decoder.push(&record.payload, record.offset, record.append_time);
            if let Err(error) = pushed {
                bad.push((record.offset, error.to_string()));
            }
        }
        let decoded = self.decoder.finish();
        let rows = decoded.rows.num_rows();
        let newest = self.fold.rules().newest().0;
        let mut bits = self.judge(&decoded.rows)?;
        let own = bits.iter().position(|(rules, _)| *rules == newest);
        let own =
            own.map(|at| bits.swap_remove(at).1).unwrap_or_else(|| vec![Bits::default(); rows]);
        let columns = HitColumns::of(&decoded.rows);
        let resent = resends.among(&suspects(&decoded, &columns, &self.fold)).await?;
        self.places.keep(&decoded.rows);
        let mut row = 0;
        let mut bad = bad.into_iter().peekable();
        for record in records {
            match record.kind {
                Kind::Tick | Kind::Control => self.fold.tick(record.offset, record.append_time),
                Kind::Rejected => self.read_rejected(record, metrics),
                Kind::Event => match bad.next_if(|(offset, _)| *offset == record.offset) {
                    Some((_, message)) => self.refuse(record, message, metrics),
                    None => {
                        let others = bits.iter().map(|(rules, bits)| (*rules, bits[row])).collect();
                        let hit = columns.hit(row, (newest, own[row]), others);
                        let is_resent = resent.contains(&record.offset);
                        let status = self.fold.event(record.append_time, hit, is_resent);
                        if status == Status::Duplicate {
                            self.note_duplicate(record.offset, &columns, row, &decoded.rows);
                        }
                        metrics.record(status);
                        if self.tail.is_watched() {
                            self.tail.event(&self.place_of(record), status, &columns, row);
                        }
                        row += 1;
                    }
                },
            }
        }
        self.position = last.offset.next();
        self.last_append_time = last.append_time;
        Ok(())
    }

    fn place_of(&self, record: &Record) -> Place {
        let Record { offset, append_time, .. } = *record;
        Place { partition: self.origin.partition, offset, append_time }
    }

    fn note_duplicate(
        &mut self,
        offset: Offset,
        columns: &HitColumns<'_>,
        row: usize,
        rows: &RecordBatch,
    ) {
        let text = |fact| columns.fact(row, fact).unwrap_or_default().to_owned();
        let (site, event_id) = (text(Fact::Site), text(Fact::EventId));
        let received =
            rows.column(place("received_time")).as_primitive::<TimestampMicrosecondType>();
        let received_time = Micros(received.value(row));
        self.duplicates.push(DuplicateRow { offset, site, event_id, received_time });
        self.places.forget(offset);
    }

    fn read_rejected(&mut self, record: &Record, metrics: &Metrics) {
        match serde_json::from_slice::<Rejection>(&record.payload) {
            Ok(rejection) if TIME_RANGE.contains(&rejection.received_time) => {
                self.take_rejection(record, rejection, metrics);
            }
            Ok(_) => self.refuse(record, beyond_readers("received_time"), metrics),
            Err(error) => self.refuse(record, error.to_string(), metrics),
        }
    }

    /// A record that is none of ours: somebody else wrote it to the topic.
    fn refuse(&mut self, record: &Record, message: String, metrics: &Metrics) {
        let rejection = Rejection {
            id: format!("{}/{}/{}", self.origin.log, self.origin.partition, record.offset),
            site: String::new(),
            visitor_id: None,
            reason: Reason::BadRecord.code().to_owned(),
            field: message,
            payload: rejected_payload(&record.payload),
            payload_bytes: record.payload.len() as i64,
            received_time: record.append_time,
        };
        self.take_rejection(record, rejection, metrics);
    }

    fn take_rejection(&mut self, record: &Record, rejection: Rejection, metrics: &Metrics) {
        let visitor_id = rejection.visitor_id.as_deref();
        let key = EventKey::of_rejection(&rejection.site, visitor_id, &rejection.id);
        let offset = record.offset;
        let status = self.fold.rejection(offset, record.append_time, &rejection.site, key);
        metrics.record(status);
        if self.tail.is_watched() {
            self.tail.rejection(&self.place_of(record), status, &rejection);
        }
        if status == Status::Duplicate {
            let Rejection { site, id: event_id, received_time, .. } = rejection;
            self.duplicates.push(DuplicateRow { offset, site, event_id, received_time });
        } else {
            self.rejected.push(RejectedRow { offset, rejection });
        }
    }

    fn read_control(&mut self, record: &Record) -> Result<(), PipelineError> {
        self.position = record.offset.next();
        self.last_append_time = record.append_time;
        if let Some(mark) = Mark::read(record) {
            let is_meant = |visitor: &Visitor| mark.is_of(&visitor.site, &visitor.visitor_id);
            self.fold.erase(record.offset, record.append_time, is_meant);
            return Ok(());
        }
        let Some(rules) = rules_of(record) else {
            tracing::warn!(offset = record.offset.0, "a control record that is none of ours");
            self.fold.tick(record.offset, record.append_time);
            return Ok(());
        };
        let before = self.fold.rules().newest().0;
        let id = self.fold.change_rules(record.offset, record.append_time, Arc::new(rules));
        if id != before {
            self.rules_from.push((record.offset.next(), id));
            self.compile()?;
            self.judge_held(id)?;
        }
        Ok(())
    }

    /// Compiles the rules that events must be judged by.
    fn compile(&mut self) -> Result<(), PipelineError> {
        for (id, rules) in self.fold.rules().iter() {
            if !self.conditions.iter().any(|(known, _)| *known == id) {
                let compiled = Conditions::compile(rules).map_err(PipelineError::Conditions)?;
                self.conditions.push((id, compiled));
            }
        }
        Ok(())
    }

    /// Tells the held events' conditions under rules that came after them.
    fn judge_held(&mut self, id: RulesId) -> Result<(), PipelineError> {
        let Some((_, conditions)) = self.conditions.iter().find(|(known, _)| *known == id) else {
            return Ok(());
        };
        let mut bits_of = std::collections::BTreeMap::new();
        for batch in self.places.batches() {
            let bits = conditions.evaluate(batch)?;
            let columns = HitColumns::of(batch);
            bits_of.extend(
                bits.into_iter().enumerate().map(|(row, bits)| (columns.offset(row), bits)),
            );
        }
        self.fold.judge_held(id, |offset| bits_of.get(&offset).copied().unwrap_or_default());
        Ok(())
    }

    /// Each row's conditions under each set of rules.
    fn judge(&self, rows: &RecordBatch) -> Result<Vec<(RulesId, Vec<Bits>)>, PipelineError> {
        let judged =
            self.conditions.iter().map(|(id, conditions)| Ok((*id, conditions.evaluate(rows)?)));
        judged.collect()
    }

    /// Drops the rules that nothing follows any more.
    fn forget_rules(&mut self) {
        self.fold.forget_rules();
        let book = self.fold.rules();
        self.conditions.retain(|(id, _)| book.iter().any(|(known, _)| known == *id));
    }

    /// What became final, to be committed; the fold must be whole.
    ///
    /// # Errors
    /// `Rows`.
    pub fn settle(&mut self, is_barrier: bool) -> Result<Settled, PipelineError> {
        let output = self.fold.take_output();
        self.settled_at = self.fold.clock().log_time();
        let events = self.places.take(&output.rows.events)?;
        let book = self.fold.rules().clone();
        self.forget_rules();
        Ok(Settled {
            origin: self.origin.clone(),
            position: self.position,
            last_append_time: self.last_append_time,
            output,
            events,
            duplicates: std::mem::take(&mut self.duplicates),
            rejected: std::mem::take(&mut self.rejected),
            book,
            is_barrier,
        })
    }

    /// The snapshot at the position, right behind a [`PartitionFold::settle`], and from where it
    /// resumes.
    ///
    /// # Errors
    /// `Snapshot`.
    pub fn snapshot(&mut self) -> Result<(Offset, Vec<u8>), PipelineError> {
        let resume_from = self.fold.lowest_held().unwrap_or(self.position);
        let still = self.rules_from.partition_point(|(from, _)| *from <= resume_from);
        self.rules_from.drain(..still.saturating_sub(1));
        let rules = self.rules_from.clone();
        self.is_unsaved = false;
        let header = Header::new(self.position, self.last_append_time, resume_from, rules);
        Ok((resume_from, crate::snapshot::encode(&header, &self.fold)?))
    }

    pub fn partition(&self) -> Partition {
        self.origin.partition
    }
}

/// The rules that a control record puts in force; `None` where it is none that can be followed.
pub fn rules_of(record: &Record) -> Option<Rules> {
    let rules = serde_json::from_slice::<Rules>(&record.payload).ok()?;
    Conditions::compile(&rules).is_ok().then_some(rules)
}
