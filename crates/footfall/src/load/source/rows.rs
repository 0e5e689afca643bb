//! Judges rows one by one, and collects them as a batch. Reading them is left to the formats.

use std::borrow::Cow;
use std::sync::Arc;

use footfall_event::{
    BadField, Event, EventDecoder, Limits, Micros, Offset, Partition, REJECTED_PAYLOAD_BYTES_MAX,
    Reason, Rejection, Text, Times, Whole, check_site,
};

use super::SourceBatch;
use super::parquet::ParquetRow;
use super::row_id::RowIds;
use crate::map::Plan;

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 8_192;
/// A batch of large rows ends earlier, so that memory is bounded.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// The earliest time taken: what lies before stands for "unknown" in many a system.
const EARLIEST: Micros = Micros(0);
/// What is kept of a bad field's path and message.
const FIELD_BYTES_MAX: usize = 1_024;

/// A batch under construction, and what goes on from batch to batch.
pub struct Rows {
    plan: Arc<Plan>,
    limits: Limits,
    received: Micros,
    decoder: EventDecoder,
    rejected: Vec<(u64, Rejection)>,
    /// The number of the next row, over the files as named.
    row: u64,
    ids: RowIds,
    rows: usize,
    bytes: usize,
    /// The events of the file being read have counters of their own.
    pub has_seq: bool,
    /// Reused for each row's bytes.
    key: Vec<u8>,
}

/// A row as it was read.
pub enum Raw<'r> {
    /// A line without its end, and how many bytes it has in all.
    Line(&'r [u8], usize),
    /// A CSV row: its line or lines, its values one after the other, and where each ends.
    Fields {
        line: &'r [u8],
        values: &'r [u8],
        ends: &'r [usize],
    },
    Parquet(ParquetRow<'r>),
}

impl Rows {
    pub fn new(plan: Arc<Plan>, limits: Limits, log: &str, received: Micros) -> Rows {
        Rows {
            plan,
            limits,
            received,
            decoder: EventDecoder::new(log, Partition(0)),
            rejected: Vec::new(),
            row: 0,
            ids: RowIds::default(),
            rows: 0,
            bytes: 0,
            has_seq: false,
            key: Vec::new(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The batch; `None` if it has no rows.
    pub fn finish(&mut self) -> Option<SourceBatch> {
        if self.rows == 0 {
            return None;
        }
        let rejected = std::mem::take(&mut self.rejected);
        let events = self.decoder.finish().rows;
        self.decoder.expect(self.rows);
        (self.rows, self.bytes) = (0, 0);
        Some(SourceBatch { events, rejected })
    }

    /// Takes the next row: `event` is what was filled from it, up to what is wrong in `filled`.
    pub fn take(&mut self, event: &mut Event<'_>, filled: Result<(), BadField>, raw: &Raw<'_>) {
        let checked = filled.and_then(|()| event.check_fields(&self.limits));
        match checked.and_then(|()| self.times(event)) {
            Ok(times) => {
                let is_named = event.text(Text::EventId).is_some();
                if !is_named {
                    let id = self.id(event.text(Text::Site).unwrap_or_default(), raw);
                    event.set_text(Text::EventId, id);
                }
                // A counter that is empty is 0; but what has no id has no order of its own either.
                let has_order = self.has_seq && is_named;
                if !has_order && event.whole(Whole::Seq).is_none() {
                    event.set_whole(Whole::Seq, self.row as i64);
                }
                self.decoder.push_event(event, times, Offset(self.row as i64), None);
            }
            Err(bad) => {
                let rejection = self.rejection(event, &bad, raw);
                self.rejected.push((self.row, rejection));
            }
        }
        self.row += 1;
        self.rows += 1;
        self.bytes += raw.bytes();
    }

    /// `sent_at` corrects nothing here: when a file is loaded says nothing about a client's clock.
    fn times(&self, event: &Event<'_>) -> Result<Times, BadField> {
        match event.client.timestamp {
            Some(time) if time < EARLIEST => {
                let message = format!("{time} is before 1970");
                Err(BadField::new(Reason::BadTime, "timestamp", message))
            }
            Some(time) => {
                Ok(Times { event_time: time.min(self.received), received_time: self.received })
            }
            // The load's own time would be no history, and another one with each repetition.
            None => Err(BadField::new(Reason::Missing, "timestamp", "is required of history")),
        }
    }

    fn id(&mut self, site: &str, raw: &Raw<'_>) -> String {
        self.key.clear();
        raw.write_key(&mut self.key);
        self.ids.next(site, &self.key)
    }

    fn rejection(&mut self, event: &Event<'_>, bad: &BadField, raw: &Raw<'_>) -> Rejection {
        let fits = |id: &&str| id.len() <= self.limits.id_bytes_max;
        let name = |column| event.text(column).filter(fits).map(str::to_owned);
        let (id, visitor_id) = (name(Text::EventId), name(Text::VisitorId));
        let site = event.text(Text::Site).filter(|site| check_site(site).is_ok());
        let site = site.unwrap_or(&self.plan.default_site).to_owned();
        let mut field = bad.to_string();
        field.truncate(field.floor_char_boundary(FIELD_BYTES_MAX));
        let line = raw.line();
        let first = &line[..line.len().min(REJECTED_PAYLOAD_BYTES_MAX)];
        let mut payload = String::from_utf8_lossy(first).into_owned();
        payload.truncate(payload.floor_char_boundary(REJECTED_PAYLOAD_BYTES_MAX));
        Rejection {
            id: id.unwrap_or_else(|| self.id(&site, raw)),
            site,
            visitor_id,
            reason: bad.reason.code().to_owned(),
            field,
            payload,
            payload_bytes: raw.bytes().max(line.len()) as i64,
            received_time: self.received,
        }
    }
}

impl<'r> Raw<'r> {
    /// What rows are compared by: equal for equal values alone.
    fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            Raw::Line(line, _) => key.extend_from_slice(line),
            Raw::Fields { values, ends, .. } => {
                key.extend_from_slice(&(ends.len() as u32).to_be_bytes());
                for end in *ends {
                    key.extend_from_slice(&(*end as u32).to_be_bytes());
                }
                key.extend_from_slice(values);
            }
            Raw::Parquet(row) => row.write_json(key),
        }
    }

    fn line(&self) -> Cow<'r, [u8]> {
        match self {
            Raw::Line(line, _) | Raw::Fields { line, .. } => Cow::Borrowed(line),
            Raw::Parquet(row) => {
                let mut json = Vec::new();
                row.write_json(&mut json);
                Cow::Owned(json)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Raw::Line(_, bytes) => *bytes,
            Raw::Fields { line, .. } => line.len(),
            Raw::Parquet(row) => row.bytes(),
        }
    }
}
