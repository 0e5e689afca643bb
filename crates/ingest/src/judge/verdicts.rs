//! What was decided about a request's events: the records to append and the lines of the answer,
//! each in one growing buffer.

use bytes::Bytes;
use footfall_enrich::Failure;
use footfall_event::{BadField, Event, Partition, Reason, Text, Times, partition_of, write_text};
use footfall_log::{Kind, NewRecord};
use hyper::StatusCode;

use super::{Door, Head};
use crate::Metrics;
use crate::consent::Consent;
use crate::protocol::{Dialect, Names};
use crate::refusal::{self, Payload};

/// What a record is larger than its event's JSON by, as a rule, beside the user agent: names, times, what is derived.
const RECORD_EXTRA_BYTES: usize = 256;
/// A user agent of usual length; for a longer one, which may be none that is kept, the room grows.
const USER_AGENT_BYTES: usize = 256;
/// What the answer says about an accepted event with an id of usual length.
const LINE_BYTES: usize = 80;
/// What the answer says beside its list, as a rule.
const ANSWER_EXTRA_BYTES: usize = 256;

/// The decisions so far.
pub struct Verdicts {
    dialect: Dialect,
    /// How many partitions the log has.
    partitions: u32,
    /// What a record is larger than its event's JSON by, as a rule.
    extra_bytes: usize,
    /// The payloads of all records, one after the other.
    payloads: Vec<u8>,
    /// Where each record goes, and where its payload ends.
    records: Vec<(Partition, Kind, usize)>,
    /// The answer's list of events, without its brackets; `None` if the client wants none.
    lines: Option<Vec<u8>>,
    accepted: u64,
    rejected: [u32; Reason::ALL.len()],
    /// Parts of the enrichment that failed.
    failed: [u32; Failure::ALL.len()],
}

impl Verdicts {
    pub fn new(head: &Head) -> Verdicts {
        let of_agent = head.user_agent.as_ref().map_or(0, |it| it.len().min(USER_AGENT_BYTES));
        Verdicts {
            dialect: head.dialect,
            partitions: head.partitions,
            extra_bytes: RECORD_EXTRA_BYTES + of_agent,
            payloads: Vec::new(),
            records: Vec::new(),
            lines: head.wants_list.then(Vec::new),
            accepted: 0,
            rejected: [0; Reason::ALL.len()],
            failed: [0; Failure::ALL.len()],
        }
    }

    /// Makes room for `events` that take `bytes` of JSON.
    pub fn expect(&mut self, events: usize, bytes: usize) {
        self.payloads.reserve(bytes + self.extra_bytes * events);
        self.records.reserve(events);
        if let Some(lines) = &mut self.lines {
            lines.reserve(LINE_BYTES * events);
        }
    }

    /// How many events were decided about.
    pub fn decided(&self) -> usize {
        self.records.len()
    }

    pub fn accept(&mut self, event: &Event<'_>, times: Times) {
        let (site, id) = (event.text(Text::Site), event.text(Text::EventId));
        let (site, id) = (site.unwrap_or_default(), id.unwrap_or_default());
        debug_assert!(!site.is_empty() && !id.is_empty(), "a checked event has both");
        let visitor = event.text(Text::VisitorId).unwrap_or(id);
        let partition = partition_of(site, visitor, self.partitions);
        event.write_record(times, &mut self.payloads);
        self.records.push((partition, Kind::Event, self.payloads.len()));
        self.accepted += 1;
        if let Some(lines) = &mut self.lines {
            line(lines, "event_id", id);
            lines.extend_from_slice(b",\"status\":\"accepted\"}");
        }
    }

    /// An event goes on without what failed.
    pub fn failed(&mut self, failure: Failure) {
        self.failed[failure as usize] += 1;
    }

    /// Keeps a refused payload as a row, as far as `consent` lets it be kept; gives what is wrong with it, cut to what is
    /// kept of it.
    pub fn reject(
        &mut self,
        door: &Door<'_>,
        bad: BadField,
        payload: Payload<'_>,
        names: Names<'_>,
        consent: Consent,
    ) -> BadField {
        let bad = refusal::cut(bad);
        let (payload, names, kept) = match consent {
            Consent::Granted => (payload, names, bad.clone()),
            _ => (payload.untold(), Names { visitor_id: None, ..names }, refusal::unquoted(&bad)),
        };
        let event_id = names.event_id.clone();
        let (names, site) = door.names(names);
        let (limits, received) = (&door.settings.limits, door.head.received);
        let keys = door.head.dialect.keys_in_body();
        let row = refusal::rejection(&kept, &payload, names, site, keys, limits, received);
        let visitor = row.visitor_id.as_ref().unwrap_or(&row.id);
        let partition = partition_of(&row.site, visitor, self.partitions);
        let written = serde_json::to_writer(&mut self.payloads, &row);
        debug_assert!(written.is_ok(), "texts and numbers are always JSON");
        self.records.push((partition, Kind::Rejected, self.payloads.len()));
        self.rejected[bad.reason as usize] += 1;
        if let Some(lines) = &mut self.lines {
            rejected_line(lines, &bad, event_id.as_deref().filter(|id| **id == row.id));
        }
        bad
    }

    /// About how large the answer will be.
    pub fn answer_bytes(&self) -> usize {
        self.lines.as_ref().map_or(0, Vec::len) + ANSWER_EXTRA_BYTES
    }

    /// Answers with the counts alone.
    pub fn omit_list(&mut self) {
        self.lines = None;
    }

    /// Takes out the records, in the order of the events.
    pub fn take_records(&mut self) -> Vec<NewRecord> {
        let payloads = Bytes::from(std::mem::take(&mut self.payloads));
        let mut from = 0;
        let slice = |(partition, kind, end)| {
            let payload = payloads.slice(from..end);
            from = end;
            NewRecord { partition, kind, payload }
        };
        std::mem::take(&mut self.records).into_iter().map(slice).collect()
    }

    /// 202 as Footfall says it, 200 as others do.
    pub fn taken(&self) -> StatusCode {
        match self.dialect {
            Dialect::Events | Dialect::CloudEvents | Dialect::Bridge => StatusCode::ACCEPTED,
            Dialect::Segment | Dialect::Snowplow | Dialect::Ga4 => StatusCode::OK,
        }
    }

    /// Counts the events: to be called once the log holds them.
    pub fn count(&self, metrics: &Metrics) {
        metrics.received(self.dialect, self.accepted + self.rejected_count());
        metrics.accepted(self.accepted);
        for reason in Reason::ALL {
            let rows = self.rejected[reason as usize];
            if rows > 0 {
                metrics.rejected(reason, rows.into());
            }
        }
        for failure in Failure::ALL {
            let events = self.failed[failure as usize];
            if events > 0 {
                metrics.enrichment_failed(failure, events.into());
                tracing::warn!(part = failure.name(), events, "events go on without what failed");
            }
        }
    }

    /// The answer's body. `error` says what is wrong with the request as a whole.
    pub fn answer(&self, error: Option<&str>) -> Vec<u8> {
        let lines = self.lines.as_deref();
        let mut body = Vec::with_capacity(self.answer_bytes());
        match (error, self.dialect) {
            (Some(error), _) => {
                body.push(b'{');
                field(&mut body, "error", error);
                body.push(b',');
            }
            (None, Dialect::Segment) => body.extend_from_slice(b"{\"success\":true,"),
            (None, _) => body.push(b'{'),
        }
        let (accepted, rejected) = (self.accepted, self.rejected_count());
        let counts = format!("\"accepted\":{accepted},\"rejected\":{rejected}");
        body.extend_from_slice(counts.as_bytes());
        if let Some(lines) = lines {
            body.extend_from_slice(b",\"events\":[");
            body.extend_from_slice(lines);
            body.push(b']');
        }
        body.push(b'}');
        body
    }

    fn rejected_count(&self) -> u64 {
        self.rejected.iter().map(|rows| u64::from(*rows)).sum()
    }
}

fn rejected_line(lines: &mut Vec<u8>, bad: &BadField, event_id: Option<&str>) {
    match event_id {
        Some(id) => {
            line(lines, "event_id", id);
            lines.extend_from_slice(b",\"status\":\"rejected\"");
        }
        None => line(lines, "status", "rejected"),
    }
    let told = [("reason", bad.reason.code()), ("field", &bad.path), ("message", &bad.message)];
    for (key, text) in told {
        lines.push(b',');
        field(lines, key, text);
    }
    lines.push(b'}');
}

fn line(lines: &mut Vec<u8>, key: &str, text: &str) {
    if !lines.is_empty() {
        lines.push(b',');
    }
    lines.push(b'{');
    field(lines, key, text);
}

fn field(out: &mut Vec<u8>, key: &str, text: &str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    write_text(text, out);
}
