//! Refused events once more, after the cause was mended: the same checks, as of when they were received.
//! Where the rows come from, and which log takes the events, is left to the caller.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use footfall_event::{Micros, REJECTED_PAYLOAD_BYTES_MAX};
use footfall_log::{EventLog, Kind, LogError, NewRecord};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::IngestSettings;
use crate::body::{Body, Hold};
use crate::judge::{Head, Judgement, judge};
use crate::keys::Access;
use crate::protocol::{Call, Protocol, form_of};

/// A row of `rejected`, as it stands in the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RejectedRow {
    pub log: String,
    pub log_partition: i64,
    pub log_offset: i64,
    pub received_time: Micros,
    pub site: String,
    pub field: String,
    pub payload: String,
    pub payload_bytes: i64,
}

/// How a payload is understood: by which path it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadForm {
    Events,
    Batch,
    Track,
    Page,
    Screen,
    Identify,
    Group,
    Alias,
    Snowplow,
    Ga4,
    Cloudevents,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    pub log_partition: i64,
    pub log_offset: i64,
    /// Events of it that were taken.
    pub accepted: u64,
    /// Why the first of the others was refused again, or why nothing of the row can be taken.
    pub refused: Option<String>,
}

/// Judges rows again and appends what is taken; with `is_trial` nothing is appended. What is refused
/// again leaves no further row: its own still stands.
///
/// # Errors
/// The log's; the same rows can be replayed again, for what it took is known by its id.
pub async fn replay(
    log: &dyn EventLog,
    settings: &IngestSettings,
    rows: &[RejectedRow],
    form: Option<PayloadForm>,
    is_trial: bool,
) -> Result<Vec<Replayed>, LogError> {
    let (mut all, mut records) = (Vec::new(), Vec::new());
    for row in rows {
        let (replayed, taken) = judge_again(log, settings, row, form);
        all.push(replayed);
        records.extend(taken);
    }
    if !is_trial && !records.is_empty() {
        log.append(records).await?;
    }
    Ok(all)
}

fn judge_again(
    log: &dyn EventLog,
    settings: &IngestSettings,
    row: &RejectedRow,
    form: Option<PayloadForm>,
) -> (Replayed, Vec<NewRecord>) {
    let RejectedRow { log_partition, log_offset, .. } = *row;
    let replayed = |accepted, refused| Replayed { log_partition, log_offset, accepted, refused };
    let protocol = form.map_or_else(|| form_of(&row.payload), protocol_of);
    if let Some(why) = unfit(row, log.topic(), protocol) {
        return (replayed(0, Some(why)), Vec::new());
    }
    // An event that names no site is of the row's, as it was then.
    let settings = IngestSettings { default_site: row.site.clone(), ..settings.clone() };
    let bodies = Arc::new(Semaphore::new(settings.bodies_in_flight_bytes_max));
    let Ok(hold) = Hold::new(&bodies, 0) else { return (replayed(0, None), Vec::new()) };
    let head = Head {
        // With keys it was the key that decided the site.
        access: match settings.keys.is_empty() {
            true => Access::Open,
            false => Access::Site(row.site.clone()),
        },
        wants_list: true,
        replay_of: Some(format!("rejected:{}/{log_partition}/{log_offset}", row.log)),
        ..Head::of_no_request(protocol.dialect(), row.received_time, log.partitions())
    };
    let bytes = Bytes::copy_from_slice(row.payload.as_bytes());
    match judge(&settings, &head, protocol, Body::Whole { bytes, hold }) {
        Judgement::Append { mut verdicts, error, .. } => {
            let refused = refusal(&verdicts.answer(error.as_deref()));
            let mut records = verdicts.take_records();
            records.retain(|record| record.kind == Kind::Event);
            (replayed(records.len() as u64, refused), records)
        }
        Judgement::Answer(_, why) => (replayed(0, Some(why)), Vec::new()),
        Judgement::Deny(why) => (replayed(0, Some(why.to_string())), Vec::new()),
        Judgement::Overloaded => (replayed(0, Some("is too large".to_owned())), Vec::new()),
    }
}

/// Why a row cannot be replayed, whatever was mended.
fn unfit(row: &RejectedRow, topic: &str, protocol: Protocol) -> Option<String> {
    let (stored, bytes) = (row.payload.len() as i64, row.payload_bytes);
    // Write keys are blanked, which makes a payload shorter.
    let has_key = protocol.dialect().keys_in_body().iter().any(|name| row.payload.contains(name));
    let is_blanked = bytes <= REJECTED_PAYLOAD_BYTES_MAX as i64 && has_key;
    if stored == 0 && bytes > 0 {
        return Some("nothing of it was kept, as its visitor did not consent".to_owned());
    }
    if bytes > stored && !is_blanked {
        return Some(format!(
            "the payload is cut: {stored} of {bytes} bytes are stored; have its client send it again"
        ));
    }
    if row.field.contains("is not UTF-8") || row.payload_bytes < stored {
        let way_out = "have its client send it again";
        return Some(format!("the payload was not UTF-8 and is not stored as it came; {way_out}"));
    }
    let log = &row.log;
    (log != topic)
        .then(|| format!("it came by `{log}`, not by `{topic}`: mend the file and load it again"))
}

const fn protocol_of(form: PayloadForm) -> Protocol {
    match form {
        PayloadForm::Events => Protocol::Events,
        PayloadForm::Batch => Protocol::Segment(Call::Batch),
        PayloadForm::Track => Protocol::Segment(Call::One("track")),
        PayloadForm::Page => Protocol::Segment(Call::One("page")),
        PayloadForm::Screen => Protocol::Segment(Call::One("screen")),
        PayloadForm::Identify => Protocol::Segment(Call::One("identify")),
        PayloadForm::Group => Protocol::Segment(Call::One("group")),
        PayloadForm::Alias => Protocol::Segment(Call::One("alias")),
        PayloadForm::Snowplow => Protocol::Snowplow,
        PayloadForm::Ga4 => Protocol::Ga4,
        PayloadForm::Cloudevents => Protocol::CloudEvents,
    }
}

/// The first refusal that an answer tells.
fn refusal(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(borrow, default)]
        error: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        events: Vec<Line<'a>>,
    }
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, default)]
        reason: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        field: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        message: Option<Cow<'a, str>>,
    }
    let told: Told<'_> = serde_json::from_slice(answer).ok()?;
    let line = told.events.into_iter().find_map(|line| {
        let reason = line.reason?;
        Some(format!("{reason}: {}: {}", line.field?, line.message?))
    });
    line.or(told.error.map(Cow::into_owned))
}
