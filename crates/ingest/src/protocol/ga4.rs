//! GA4's Measurement Protocol (developers.google.com, "Measurement Protocol (Google Analytics 4)"): events by name and
//! parameters, beside what holds for all of a body. Events have no ids; those that tell their time are known by all
//! that they say.

mod browser;

use std::borrow::Cow;
use std::collections::HashMap;

use footfall_event::{BadField, Event, Limits, Micros, Reason, TIME_RANGE, Text};
use sha2::{Digest, Sha256};

use super::fields::{self, Fields, Object};
use super::fill::{check_part, fill_items, fill_named, fill_text, path_of};
use super::{Names, Split, pieces, text_of};
use crate::keys::IN_QUERY;

pub use browser::Hits;

/// What identifies, of the body; of two for one column the first that is there.
const IDENTITY: [(&str, Text); 3] = [
    ("client_id", Text::VisitorId),
    ("app_instance_id", Text::VisitorId),
    ("user_id", Text::UserId),
];

/// Parameters that are called otherwise than their columns.
const PARAMETERS: [(&str, Text); 4] = [
    ("page_location", Text::PageUrl),
    ("page_referrer", Text::Referrer),
    ("session_id", Text::ClientSessionId),
    ("transaction_id", Text::OrderId),
];

/// Parameters of `campaign_details`.
const CAMPAIGN: [(&str, Text); 5] = [
    ("source", Text::UtmSource),
    ("medium", Text::UtmMedium),
    ("campaign", Text::UtmCampaign),
    ("term", Text::UtmTerm),
    ("content", Text::UtmContent),
];

/// What the body says of the visitor's device and place, under the names of its parts.
const PARTS: [(&str, &[(&str, Text)]); 2] = [
    (
        "device",
        &[
            ("category", Text::DeviceType),
            ("browser", Text::Browser),
            ("operating_system", Text::Os),
            ("language", Text::Language),
        ],
    ),
    ("user_location", &[("country_id", Text::Country), ("region_id", Text::Region)]),
];

/// Bytes of an id made of a digest.
const DIGEST_BYTES: usize = 16;

/// # Errors
/// When there are no `events`, or more than `events_max`.
pub fn split(body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
    let text = text_of(body)?;
    let (Some(pieces), mut envelope) = pieces::of_object(text, "events", events_max)? else {
        return Err(BadField::new(Reason::Missing, "events", "is required, an array of events"));
    };
    // A key here is in the wrong place, and must not reach the tables.
    for key in IN_QUERY {
        envelope.take(key);
    }
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let repeats = pieces.iter().map(|piece| {
        let times = seen.entry(piece.unwrap_or_default()).or_default();
        std::mem::replace(times, *times + 1)
    });
    let repeats = repeats.collect();
    Ok(Split { repeats, ..Split::of(pieces, "events", true).beside(envelope) })
}

pub fn parse<'a>(
    text: &'a str,
    envelope: &Fields<'a>,
    limits: &Limits,
) -> Result<Event<'a>, BadField> {
    let mut fields = Fields::parse(text).map_err(|_| expected("", "an event: a JSON object"))?;
    let (mut event, mut envelope) = (Event::default(), envelope.clone());
    match fields.take("name").map(fields::text) {
        Some(Some(name)) if !name.is_empty() => event.set_text(Text::EventName, name),
        Some(None) => return Err(expected("name", "a text")),
        _ => return Err(BadField::new(Reason::Missing, "name", "is required")),
    }
    for (name, column) in IDENTITY {
        let of_all = envelope.take(name);
        if let Some(raw) = fields.take(name).or(of_all).filter(|raw| *raw != "null") {
            let id = fields::id(raw).ok_or_else(|| expected(name, "a text"))?;
            if event.text(column).is_none() {
                event.set_text(column, id);
            }
        }
    }
    let of_all = time(&mut envelope)?;
    event.client.timestamp = time(&mut fields)?.or(of_all);
    // Before a parameter can take its place: what is left of an address is not cut.
    envelope.fill("ip_override", |raw| fill_text(&mut event, Text::Ip, raw, limits));
    let _unfit = envelope.take("ip_override");
    let parameters = fields.take("params").map_or(Some(Fields::default()), Fields::of_object);
    let mut parameters = parameters.ok_or_else(|| expected("params", "an object"))?;
    fill_from_parameters(&mut event, &mut parameters, limits);
    let _unfit = parameters.take("ip");
    let parts = PARTS.map(|(part, columns)| {
        (part, fill_from_part(&mut event, &mut envelope, part, columns, limits))
    });
    let mut rest = Object::default();
    for (key, raw) in parameters.iter() {
        let path = || format!("params.{key}");
        check_part(raw).map_err(|why| BadField::new(Reason::BadType, path(), why))?;
        rest.push_new(key, "ga4_", raw);
    }
    let parts = parts.iter().filter_map(|(part, left)| Some((*part, left.as_deref()?)));
    for (key, raw) in fields.iter().chain(envelope.iter()).chain(parts) {
        if raw == "null" || raw == "{}" {
            continue;
        }
        check_part(raw).map_err(|why| BadField::new(Reason::BadType, key, why))?;
        rest.push_new(key, "ga4_", raw);
    }
    event.properties = rest.finish().map(Cow::Owned);
    Ok(event)
}

fn fill_from_parameters<'a>(event: &mut Event<'a>, parameters: &mut Fields<'a>, limits: &Limits) {
    for (name, column) in PARAMETERS {
        parameters.fill(name, |raw| fill_text(event, column, raw, limits));
    }
    if event.text(Text::EventName) == Some("campaign_details") {
        for (name, column) in CAMPAIGN {
            parameters.fill(name, |raw| fill_text(event, column, raw, limits));
        }
    }
    fill_named(event, parameters, limits);
    parameters.fill("items", |raw| fill_items(event, raw, limits));
    if event.text(Text::PagePath).is_none()
        && let Some(path) = event.text(Text::PageUrl).and_then(path_of).map(str::to_owned)
        && path.len() <= limits.bytes_max(Text::PagePath)
    {
        event.set_text(Text::PagePath, path);
    }
}

/// Fills columns from an object of the body, and gives what is left of it.
fn fill_from_part<'a>(
    event: &mut Event<'a>,
    envelope: &mut Fields<'a>,
    part: &str,
    columns: &[(&str, Text)],
    limits: &Limits,
) -> Option<String> {
    let mut inner = Fields::default();
    envelope.fill(part, |raw| Fields::of_object(raw).map(|parsed| inner = parsed).is_some());
    for (name, column) in columns {
        inner.fill(name, |raw| fill_text(event, *column, raw, limits));
    }
    let mut left = Object::default();
    inner.iter().for_each(|(key, raw)| left.push(key, raw));
    left.finish()
}

/// `timestamp_micros`, since 1970, as a number or as a text.
fn time(fields: &mut Fields<'_>) -> Result<Option<Micros>, BadField> {
    const NAME: &str = "timestamp_micros";
    let Some(raw) = fields.take(NAME).filter(|raw| *raw != "null") else { return Ok(None) };
    let text = fields::id(raw).unwrap_or_default();
    let told: String = text.chars().take(40).collect();
    let bad = || BadField::new(Reason::BadTime, NAME, format!("`{told}` is not a time in µs"));
    let time = text.trim().parse().ok().map(Micros).filter(|time| TIME_RANGE.contains(time));
    time.map(Some).ok_or_else(bad)
}

/// The id of an event that tells its time, of all that it and its body say and of how many before it are its equals: so
/// that the same body again is known, and an event that was refused and replayed. Of events without a time two that are
/// equal may be two.
pub fn id_of(event: &Event<'_>, text: &str, envelope: &Fields<'_>, repeats: u32) -> Option<String> {
    event.client.timestamp?;
    let mut digest = Sha256::new();
    for part in envelope.iter().flat_map(|(key, raw)| [key, raw]).chain([text]) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.update(repeats.to_le_bytes());
    Some(format!("ga4-{}", hex::encode(&digest.finalize()[..DIGEST_BYTES])))
}

/// One event as a body of its own: what is said beside it is part of it.
pub fn alone(text: &str, envelope: &Fields<'_>) -> String {
    let mut body = Object::default();
    envelope.iter().for_each(|(key, raw)| body.push(key, raw));
    body.push("events", &format!("[{text}]"));
    body.finish().unwrap_or_default()
}

/// What can be read of an event that could not be parsed.
pub fn names<'a>(envelope: &Fields<'a>) -> Names<'a> {
    let id = |name| envelope.get(name).and_then(fields::id);
    let visitor_id = id("client_id").or_else(|| id("app_instance_id"));
    Names { visitor_id, ..Names::default() }
}

/// What is wrong with a column, by the name that fills it.
pub fn rename(mut bad: BadField) -> BadField {
    bad.path = match bad.path.as_str() {
        "timestamp" => "timestamp_micros".to_owned(),
        "event_name" => "name".to_owned(),
        "visitor_id" => "client_id".to_owned(),
        _ => return bad,
    };
    bad
}

fn expected(path: &str, what: &str) -> BadField {
    BadField::new(Reason::BadType, path, format!("expected {what}"))
}

#[cfg(test)]
mod tests;
