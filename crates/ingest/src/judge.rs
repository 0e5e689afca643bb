//! Judges a body: each of its events alone, each into a record of the log and a line of the answer.
//! Reads no socket and writes no log.

mod door;
mod message;
#[cfg(test)]
mod mutants;
mod verdicts;

use std::net::IpAddr;

use footfall_event::{BadField, Event, Micros, Reason, Text, Times};
use hyper::StatusCode;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::IngestSettings;
use crate::body::{Body, Cut, Hold};
use crate::consent::Consent;
use crate::gzip::{self, NotInflated};
use crate::keys::{Access, Denial};
use crate::protocol::{Dialect, Hits, Names, Piece, Protocol, Split, Unpacked, place, surrogates};
use crate::refusal::Payload;
use door::{AgentMemo, Door, Facts};
pub use message::{Message, MessageReader, judge_messages};
pub use verdicts::Verdicts;

/// Finding out about a user agent takes some 50 µs, and a request is to be over in milliseconds.
const FOUND_OUT_MAX: usize = 100;

/// What a request's head said, and when it came.
#[derive(Clone)]
pub struct Head {
    pub dialect: Dialect,
    pub access: Access,
    /// Of the page that sends.
    pub origin: Option<String>,
    pub received: Micros,
    /// Only a browser's: a server's says nothing about the visitor.
    pub user_agent: Option<String>,
    /// Likewise, and not of this machine.
    pub address: Option<IpAddr>,
    /// It asks by Global Privacy Control.
    pub has_privacy_control: bool,
    /// Does how fast it comes tell anything of its visitors?
    pub is_paced: bool,
    pub encoding: Encoding,
    /// Shall the answer list every event?
    pub wants_list: bool,
    /// How many partitions the log has.
    pub partitions: u32,
    /// A query that says what holds for all lines of the body, where the protocol has one.
    pub beside: Option<String>,
    /// Which refused row is replayed, where one is.
    pub replay_of: Option<String>,
}

impl Head {
    /// Of what no request brings: nothing is known of a sender, how fast it comes tells nothing of its visitors, and nobody
    /// waits for a list.
    pub fn of_no_request(dialect: Dialect, received: Micros, partitions: u32) -> Head {
        Head {
            dialect,
            access: Access::Open,
            origin: None,
            received,
            user_agent: None,
            address: None,
            has_privacy_control: false,
            is_paced: false,
            encoding: Encoding::Plain,
            wants_list: false,
            partitions,
            beside: None,
            replay_of: None,
        }
    }
}

/// Of the body, as announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
    Unknown(String),
}

/// What to do about a request.
pub enum Judgement {
    /// Append the records of these verdicts; then answer `status`, with `error` where there is one.
    Append { verdicts: Verdicts, status: StatusCode, error: Option<String>, hold: Hold },
    /// Answer this at once: there is nothing to keep.
    Answer(StatusCode, String),
    /// The request's key is missing or unknown, or not for this page.
    Deny(Denial),
    /// The bodies in memory leave no room.
    Overloaded,
}

/// Judges a body.
pub fn judge(settings: &IngestSettings, head: &Head, protocol: Protocol, body: Body) -> Judgement {
    let door = Door::new(settings, head);
    let (bytes, mut hold) = match body {
        Body::Whole { bytes, hold } => (bytes, hold),
        Body::TooLarge { cut, hold } => return too_large(&door, &cut, hold),
    };
    if let Encoding::Unknown(name) = &head.encoding {
        let message = format!("`{name}` is not taken: send gzip, or no encoding");
        let bad = BadField::new(Reason::Unsupported, "Content-Encoding", message);
        return refuse(&door, bad, Payload::whole(&bytes), hold);
    }
    let is_packed = head.encoding == Encoding::Gzip || gzip::is_gzip(&bytes);
    if !is_packed || bytes.is_empty() {
        return judge_text(door, protocol, &bytes, hold);
    }
    match gzip::inflate(&bytes, settings.inflated_bytes_max, &mut hold) {
        Ok(inflated) => judge_text(door, protocol, &inflated, hold),
        Err(NotInflated::Overloaded) => Judgement::Overloaded,
        Err(NotInflated::Corrupt(error)) => {
            let bad = BadField::new(Reason::BadValue, "body", format!("is not gzip: {error}"));
            refuse(&door, bad, Payload::whole(&bytes), hold)
        }
        Err(NotInflated::TooLarge { first }) => {
            let max = settings.inflated_bytes_max;
            let message = format!("inflates to more than inflated_bytes_max, {max} bytes");
            let bad = BadField::new(Reason::TooLarge, "body", message);
            let digest = Sha256::digest(&bytes).into();
            let payload = Payload::begins(&first, first.len() as u64, digest);
            refuse(&door, bad, payload, hold)
        }
    }
}

fn too_large(door: &Door<'_>, cut: &Cut, hold: Hold) -> Judgement {
    let (bytes, max) = (cut.bytes, door.settings.body_bytes_max);
    let message = format!("{bytes} bytes, more than body_bytes_max, {max}; send smaller batches");
    let bad = BadField::new(Reason::TooLarge, "body", message);
    refuse(door, bad, Payload::begins(&cut.first, bytes, cut.sha256), hold)
}

/// Refuses a body as a whole: one row, and a status that says so.
fn refuse(door: &Door<'_>, bad: BadField, payload: Payload<'_>, hold: Hold) -> Judgement {
    if !door.is_admitted() {
        return Judgement::Deny(Denial::Missing);
    }
    let status = match bad.reason {
        Reason::TooLarge | Reason::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut verdicts = Verdicts::new(door.head);
    let consent = door.consent_of_unread(payload.first());
    let bad = verdicts.reject(door, bad, payload, Names::default(), consent);
    Judgement::Append { verdicts, status, error: Some(bad.to_string()), hold }
}

fn judge_text(door: Door<'_>, protocol: Protocol, body: &[u8], mut hold: Hold) -> Judgement {
    let mended = surrogates::mended(body);
    let body = mended.as_deref().unwrap_or(body);
    let Some(query) = &door.head.beside else { return judge_body(door, protocol, body, hold) };
    let settings = door.settings;
    let bytes_max = settings.inflated_bytes_max;
    let hits = match Hits::of(query, body, settings.batch_events_max, bytes_max) {
        Ok(hits) => hits,
        Err(bad) => return refuse(&door, bad, Payload::whole(body), hold),
    };
    if hold.grow_to(body.len() + hits.bytes).is_err() {
        return Judgement::Overloaded;
    }
    judge_body(door, protocol, hits.convert().as_bytes(), hold)
}

fn judge_body(mut door: Door<'_>, protocol: Protocol, body: &[u8], hold: Hold) -> Judgement {
    let split = match protocol.split(body, door.settings.batch_events_max) {
        Ok(split) => split,
        Err(bad) => return refuse(&door, bad, Payload::whole(body), hold),
    };
    if let Err(why) = door.admit(protocol, &split) {
        return Judgement::Deny(why);
    }
    if split.pieces.is_empty() {
        let message = format!("{}: holds no event", split.holder);
        return Judgement::Answer(StatusCode::BAD_REQUEST, message);
    }
    let (beside, bytes_max) = (split.beside_bytes, door.settings.inflated_bytes_max);
    if beside.saturating_mul(split.pieces.len()) > bytes_max {
        let message = format!(
            "says {beside} bytes of all of its events, with each of them more than inflated_bytes_max, {bytes_max}; send smaller batches"
        );
        let bad = BadField::new(Reason::TooLarge, "body", message);
        return refuse(&door, bad, Payload::whole(body), hold);
    }
    let mut verdicts = Verdicts::new(door.head);
    verdicts.expect(split.pieces.len(), body.len());
    let (facts, unpacked) = (Facts::with_capacity(1), Unpacked::with_capacity(1));
    let mut agents = AgentMemo::new(&facts, FOUND_OUT_MAX);
    let mut bad = None;
    for piece in &split.pieces {
        bad = judge_event(&door, protocol, &split, *piece, &unpacked, &mut agents, &mut verdicts)
            .err();
    }
    // A batch is taken whatever its events are: a client would drop the good with the bad.
    let error = bad.filter(|_| !split.is_batch).map(|bad| bad.to_string());
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { verdicts.taken() };
    Judgement::Append { verdicts, status, error, hold }
}

fn judge_event<'a>(
    door: &'a Door<'_>,
    protocol: Protocol,
    split: &Split<'a>,
    piece: Piece<'a>,
    unpacked: &'a Unpacked,
    agents: &mut AgentMemo<'a>,
    verdicts: &mut Verdicts,
) -> Result<(), BadField> {
    let max = door.settings.event_bytes_max;
    let limits = &door.settings.limits;
    let reject = |verdicts: &mut Verdicts, bad, names: Names<'_>, consent| {
        let payload = protocol.alone(piece, split);
        verdicts.reject(door, bad, Payload::whole(&payload), names, consent)
    };
    let consent = |text: &[u8]| door.consent_of_unread(text);
    let text = match piece {
        Ok(text) => text,
        Err(bytes) => {
            let bad = BadField::new(Reason::BadJson, "body", "is not UTF-8");
            return Err(reject(verdicts, bad, Names::default(), consent(bytes)));
        }
    };
    // What is said beside an event becomes part of its record.
    let bytes = text.len() + split.beside_bytes;
    if bytes > max {
        let bad = too_large_event(bytes, max);
        let names = protocol.names(text, split, limits);
        return Err(reject(verdicts, bad, names, consent(text.as_bytes())));
    }
    let mut event = match protocol.parse(text, split, unpacked, limits) {
        Ok(event) => event,
        Err(bad) => {
            let bad = place(bad, text);
            let names = protocol.names(text, split, limits);
            return Err(reject(verdicts, bad, names, consent(text.as_bytes())));
        }
    };
    let has_id = event.text(Text::EventId).is_some();
    if !has_id {
        let index = verdicts.decided();
        let own = protocol.id_of(&event, text, split, index);
        event.set_text(Text::EventId, own.unwrap_or_else(|| given_id(door.head, index)));
    }
    match settle(door, &mut event, agents, verdicts) {
        Ok(times) => {
            verdicts.accept(&event, times);
            Ok(())
        }
        // Its sender did no wrong, and shall not send it again.
        Err(Unfit { bad, consent: Consent::Denied }) => {
            reject(verdicts, bad, names_of(&event), Consent::Denied);
            Ok(())
        }
        Err(Unfit { bad, consent }) => {
            let names = names_of(&event);
            let event_id = names.event_id.filter(|_| has_id);
            Err(reject(verdicts, protocol.rename(bad, text), Names { event_id, ..names }, consent))
        }
    }
}

/// Why a parsed event is not taken, and what of it may be kept.
struct Unfit {
    bad: BadField,
    consent: Consent,
}

/// Adds to a parsed event what follows from it, takes out what may not be kept, and checks it.
fn settle<'a>(
    door: &'a Door<'_>,
    event: &mut Event<'a>,
    agents: &mut AgentMemo<'a>,
    verdicts: &mut Verdicts,
) -> Result<Times, Unfit> {
    if let Err(failure) = door.complete(event, agents) {
        verdicts.failed(failure);
    }
    let consent = door.consent(event);
    if consent == Consent::Denied {
        let why = "was denied: nothing of the event is kept";
        return Err(Unfit { bad: BadField::new(Reason::NoConsent, "consent", why), consent });
    }
    if door.head.is_paced {
        door.settings.rates.flag(event);
    }
    consent.strip(event);
    let times = event.check(&door.settings.limits, door.head.received);
    let times = times.and_then(|times| door.hold(event, times));
    // No schema of a site's knows of replays.
    event.is_replayed = door.head.replay_of.is_some();
    times.map_err(|bad| Unfit { bad, consent })
}

fn names_of(event: &Event<'_>) -> Names<'static> {
    let name = |column| event.text(column).map(|text| text.to_owned().into());
    Names {
        event_id: name(Text::EventId),
        visitor_id: name(Text::VisitorId),
        site: name(Text::Site),
    }
}

fn too_large_event(bytes: usize, max: usize) -> BadField {
    let message = format!("{bytes} bytes, more than event_bytes_max, {max}");
    BadField::new(Reason::TooLarge, "event", message)
}

/// The id of an event without one, number `index` of its body. A row that is replayed again gives the
/// same.
fn given_id(head: &Head, index: usize) -> String {
    match &head.replay_of {
        Some(row) => format!("{row}/{index}"),
        None => Uuid::now_v7().to_string(),
    }
}
