//! CloudEvents 1.0 in JSON (github.com/cloudevents/spec, "JSON Event Format"), one or an array of them: `data` is an
//! event in Footfall's own form, and the attributes around it say what it leaves open.

use std::borrow::Cow;

use footfall_event::{BadField, Event, Limits, Reason, Text, parse_event, parse_time};
use sha2::{Digest, Sha256};

use super::fields::{self, Fields, Object};
use super::fill::check_part;
use super::{Names, Split, bad_json, pieces, text_of};

/// Attributes that say nothing of the event, but how it is written.
const OF_FORM: [&str; 2] = ["specversion", "datacontenttype"];

/// # Errors
/// When it is not JSON, or holds more than `events_max` events.
pub fn split(body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
    let text = text_of(body)?;
    let pieces = match text.as_bytes().first() {
        None => Vec::new(),
        Some(b'[') => pieces::of_array(text, "body", events_max)?,
        Some(_) => vec![Ok(text)],
    };
    Ok(Split::of(pieces, "body", text.starts_with('[')))
}

pub fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Event<'a>, BadField> {
    // Most hold an event that is as it should be, so that nothing of it is read twice.
    let (mut fields, inner) = match Fields::parse_holding::<Event<'a>, 1>(text, ["data"]) {
        Ok((fields, [inner])) => (fields, inner),
        Err(_) => (Fields::parse(text).map_err(bad_object)?, None),
    };
    let version = required(&mut fields, "specversion").map_err(|bad| match bad.reason {
        Reason::Missing => BadField::new(bad.reason, bad.path, "is required, in the body"),
        _ => bad,
    })?;
    if version != "1.0" {
        let told: String = version.chars().take(20).collect();
        let why = format!("`{told}` is not taken: send 1.0");
        return Err(BadField::new(Reason::Unsupported, "specversion", why));
    }
    let (id, source) = (required(&mut fields, "id")?, required(&mut fields, "source")?);
    let kind = required(&mut fields, "type")?;
    if fields.get("data_base64").is_some_and(|raw| raw != "null") {
        return Err(expected("data_base64", "JSON, in `data`"));
    }
    let mut event = match (inner, fields.take("data").filter(|raw| *raw != "null")) {
        (Some(event), _) => event,
        (None, Some(data)) => parse_event(data).map_err(within_data)?,
        (None, None) => Event::default(),
    };
    if event.text(Text::EventId).is_none() {
        // An id tells a source's events apart, and no others.
        event.set_text(Text::EventId, event_id(&source, &id, limits));
    }
    let is_named = event.text(Text::EventName).is_some();
    if !is_named {
        event.set_text(Text::EventName, kind.clone());
    }
    if let Some(raw) = fields.take("time").filter(|raw| *raw != "null") {
        let time = fields::text(raw).ok_or_else(|| expected("time", "a time as text"))?;
        let time = parse_time(&time).map_err(|why| BadField::new(Reason::BadTime, "time", why))?;
        event.client.timestamp.get_or_insert(time);
    }
    let mut rest = Object::default();
    let own = event.properties.take();
    if let Some(own) = &own {
        let own = Fields::parse(own).map_err(bad_json)?;
        own.iter().for_each(|(key, raw)| rest.push_new(key, "ce_", raw));
    }
    rest.push_new("source", "ce_", &fields::json(&source));
    if is_named && event.text(Text::EventName) != Some(kind.as_ref()) {
        rest.push_new("type", "ce_", &fields::json(&kind));
    }
    for (key, raw) in fields.iter().filter(|(key, raw)| !OF_FORM.contains(key) && *raw != "null") {
        check_part(raw).map_err(|why| BadField::new(Reason::BadType, key, why))?;
        rest.push_new(key, "ce_", raw);
    }
    event.properties = rest.finish().map(Cow::Owned);
    Ok(event)
}

fn bad_object(error: serde_json::Error) -> BadField {
    match error.classify() {
        serde_json::error::Category::Data => expected("", "an event: a JSON object"),
        _ => bad_json(error),
    }
}

/// An attribute that every event has.
fn required<'a>(fields: &mut Fields<'a>, name: &str) -> Result<Cow<'a, str>, BadField> {
    let raw = fields.take(name).filter(|raw| *raw != "null");
    let raw = raw.ok_or_else(|| BadField::new(Reason::Missing, name, "is required"))?;
    let text = fields::text(raw).ok_or_else(|| expected(name, "a text"))?;
    match text.is_empty() {
        true => Err(BadField::new(Reason::Missing, name, "is required")),
        false => Ok(text),
    }
}

/// Source and id as they are, or, where they are too long, by their digest.
fn event_id(source: &str, id: &str, limits: &Limits) -> String {
    let both = format!("{source}#{id}");
    match both.len() <= limits.id_bytes_max {
        true => both,
        false => hex::encode(Sha256::digest(both)),
    }
}

fn within_data(mut bad: BadField) -> BadField {
    bad.path = if bad.path.is_empty() { "data".to_owned() } else { format!("data.{}", bad.path) };
    bad
}

fn expected(path: &str, what: &str) -> BadField {
    BadField::new(Reason::BadType, path, format!("expected {what}"))
}

/// What is wrong with a column, by the attribute that filled it where `data` did not.
pub fn rename(mut bad: BadField, text: &str) -> BadField {
    let fields = Fields::parse(text).unwrap_or_default();
    let data = fields.get("data").and_then(Fields::of_object).unwrap_or_default();
    let is_in_data = data.get(&bad.path).is_some();
    bad.path = match bad.path.as_str() {
        _ if is_in_data => format!("data.{}", bad.path),
        "event_name" => "type".to_owned(),
        "timestamp" => "time".to_owned(),
        _ => return bad,
    };
    bad
}

/// What can be read of an event that could not be parsed.
pub fn names<'a>(text: &'a str, limits: &Limits) -> Names<'a> {
    let Ok(mut fields) = Fields::parse(text) else { return Names::default() };
    let mut data = fields.take("data").and_then(Fields::of_object).unwrap_or_default();
    let mut of_data = |name| data.take(name).and_then(fields::id);
    let mut text = |name| fields.take(name).and_then(fields::text);
    let own = text("source").zip(text("id")).map(|(source, id)| event_id(&source, &id, limits));
    let event_id = of_data("event_id").or(own.map(Cow::Owned));
    Names { event_id, visitor_id: of_data("visitor_id"), site: of_data("site") }
}

#[cfg(test)]
mod tests;
