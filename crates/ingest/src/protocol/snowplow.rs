//! Snowplow's tracker protocol (docs.snowplow.io, "Snowplow Tracker Protocol"): events are flat lists of texts under short
//! names; what describes itself, events of one's own and contexts, is JSON in such a text, plain or as base64.

mod schemas;

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use footfall_event::{BadField, Event, Limits, Micros, Reason, Text, check_raw, check_site};
use typed_arena::Arena;

use super::fields::{self, Fields, Object};
use super::fill::{fill, fill_text, path_of};
use super::{Names, Split, bad_json, pieces, surrogates, text_of};
use crate::keys::IN_QUERY;
use schemas::SelfDescribing;

/// JSON that was packed into an event, for as long as the event borrows from it.
pub type Unpacked = Arena<String>;

/// Trackers differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What identifies, under its names in the protocol.
const IDENTITY: [(&str, Text); 3] =
    [("eid", Text::EventId), ("duid", Text::VisitorId), ("uid", Text::UserId)];

/// Columns that a field fills which fits them.
const COLUMNS: [(&str, Text); 8] = [
    ("sid", Text::ClientSessionId),
    ("url", Text::PageUrl),
    ("page", Text::PageTitle),
    ("refr", Text::Referrer),
    ("ua", Text::UserAgent),
    ("lang", Text::Language),
    ("ip", Text::Ip),
    ("tr_id", Text::OrderId),
];

/// Names of a structured event's parts in `properties`, those of Snowplow's table.
const STRUCTURED: [(&str, &str); 4] = [
    ("se_ca", "se_category"),
    ("se_la", "se_label"),
    ("se_pr", "se_property"),
    ("se_va", "se_value"),
];

/// # Errors
/// When it is no `payload_data`, or holds more than `events_max` events.
pub fn split(body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
    let text = text_of(body)?;
    let (pieces, fields) = pieces::of_object(text, "data", events_max)?;
    // What came by GET is an event.
    let alone = || fields.get("e").map(|_| vec![Ok(text)]);
    let Some(pieces) = pieces.or_else(alone) else {
        return Err(BadField::new(Reason::Missing, "data", "is required, an array of events"));
    };
    Ok(Split::of(pieces, "data", true))
}

/// Where a write key stands: trackers have no other place for one than the name of the app.
pub const KEY: &str = "aid";

pub fn parse<'a>(
    text: &'a str,
    unpacked: &'a Unpacked,
    limits: &Limits,
) -> Result<Event<'a>, BadField> {
    let mut fields = Fields::parse(text).map_err(bad_json)?;
    let mut event = Event::default();
    for (name, column) in IDENTITY {
        if let Some(raw) = fields.take(name).filter(|raw| *raw != "null") {
            let text = fields::id(raw).ok_or_else(|| expected(name, "a text"))?;
            event.set_text(column, text);
        }
    }
    for (name, column) in COLUMNS {
        fields.fill(name, |raw| fill_text(&mut event, column, raw, limits));
    }
    // What is left of an address would not be cut.
    let _unfit = fields.take("ip");
    if let Some(path) = event.text(Text::PageUrl).and_then(path_of).map(str::to_owned) {
        event.set_text(Text::PagePath, path);
    }
    // What an older tracker knows the visitor by.
    fields.fill("nuid", |raw| fill_text(&mut event, Text::VisitorId, raw, limits));
    fields.fill("tnuid", |raw| fill_text(&mut event, Text::VisitorId, raw, limits));
    if let Some(app) = fields.take("aid").and_then(fields::text)
        && check_site(&app).is_ok()
    {
        event.set_text(Text::Site, app);
    }
    take_times(&mut event, &mut fields)?;
    let mut rest = Object::default();
    name(&mut event, &mut fields, unpacked, limits, &mut rest)?;
    let contexts = packed(&mut fields, "co", "cx", unpacked)?;
    let contexts = contexts.map(|(name, json)| contexts_of(name, json)).transpose()?;
    let left = schemas::fill_from_contexts(&mut event, contexts.unwrap_or_default(), limits);
    for (key, raw) in fields.iter().filter(|(_, raw)| *raw != "null") {
        check_raw(raw).map_err(|message| BadField::new(Reason::BadType, key, message))?;
        rest.push_new(key, "snowplow_", raw);
    }
    if let Some(left) = left {
        rest.push_new("contexts", "snowplow_", &left);
    }
    event.properties = rest.finish().map(Cow::Owned);
    Ok(event)
}

/// A `ttm` is true, and needs no correction by the time of sending.
fn take_times(event: &mut Event<'_>, fields: &mut Fields<'_>) -> Result<(), BadField> {
    let (created, sent) = (millis(fields, "dtm")?, millis(fields, "stm")?);
    (event.client.timestamp, event.client.sent_at) = match millis(fields, "ttm")? {
        None => (created, sent),
        is_true => (is_true, None),
    };
    Ok(())
}

fn millis(fields: &mut Fields<'_>, name: &str) -> Result<Option<Micros>, BadField> {
    let Some(raw) = fields.take(name).filter(|raw| *raw != "null") else { return Ok(None) };
    fields::millis(raw).map(Some).ok_or_else(|| {
        let told: String = fields::id(raw).unwrap_or_default().chars().take(40).collect();
        BadField::new(Reason::BadTime, name, format!("`{told}` is not a time in ms"))
    })
}

/// Sets the event's name by its type, and what belongs to that type.
fn name<'a>(
    event: &mut Event<'a>,
    fields: &mut Fields<'a>,
    unpacked: &'a Unpacked,
    limits: &Limits,
    rest: &mut Object,
) -> Result<(), BadField> {
    let missing = |name: &str, what: &str| BadField::new(Reason::Missing, name, what);
    let kind = fields.take("e").and_then(fields::text).unwrap_or_default();
    match kind.as_ref() {
        "pv" => event.set_text(Text::EventName, "page_view"),
        "pp" => event.set_text(Text::EventName, "page_ping"),
        "se" => {
            let action = fields.take("se_ac").and_then(fields::text);
            let action = action.filter(|action| !action.is_empty());
            let action = action.ok_or_else(|| missing("se_ac", "is required, the action"))?;
            event.set_text(Text::EventName, action);
            for (short, name) in STRUCTURED {
                if let Some(raw) = fields.take(short) {
                    rest.push_new(name, "snowplow_", raw);
                }
            }
        }
        "ue" => {
            let packed = packed(fields, "ue_pr", "ue_px", unpacked)?;
            let (name, json) = packed.ok_or_else(|| missing("ue_pr", "is required, the event"))?;
            let inner = SelfDescribing::parse(json).map_err(|why| expected(name, &why))?;
            let inner = SelfDescribing::parse(inner.data).map_err(|why| expected(name, &why))?;
            schemas::fill_from_event(event, &inner, limits, rest)
                .map_err(|why| expected(name, &why))?;
        }
        "tr" => {
            event.set_text(Text::EventName, "purchase");
            fields.fill("tr_tt", |raw| fill(&mut event.value, fields::money(raw)));
            fields.fill("tr_cu", |raw| fill_text(event, Text::Currency, raw, limits));
        }
        "ti" => {
            event.set_text(Text::EventName, "transaction_item");
            fields.fill("ti_id", |raw| fill_text(event, Text::OrderId, raw, limits));
            fields.fill("ti_cu", |raw| fill_text(event, Text::Currency, raw, limits));
            event.items.extend(schemas::transaction_item(fields, limits));
        }
        "" => return Err(missing("e", "is required, such as `pv`")),
        _ => event.set_text(Text::EventName, kind.clone()),
    }
    Ok(())
}

/// JSON that stands in a text, plain under one name or as base64 under another; the name that it had.
fn packed<'a>(
    fields: &mut Fields<'a>,
    plain: &'static str,
    encoded: &'static str,
    unpacked: &'a Unpacked,
) -> Result<Option<(&'static str, &'a str)>, BadField> {
    let text = |fields: &mut Fields<'a>, name: &str| {
        let raw = fields.take(name).filter(|raw| *raw != "null");
        raw.map(|raw| fields::text(raw).ok_or_else(|| expected(name, "JSON in a text"))).transpose()
    };
    let keep = |name, json: String| -> Result<Option<(&'static str, &'a str)>, BadField> {
        let mended = surrogates::mended(json.as_bytes()).and_then(|it| String::from_utf8(it).ok());
        let json = mended.unwrap_or(json);
        check_raw(&json).map_err(|why| BadField::new(Reason::BadType, name, why))?;
        Ok(Some((name, unpacked.alloc(json).as_str())))
    };
    if let Some(json) = text(fields, plain)?.filter(|json| !json.is_empty()) {
        return keep(plain, json.into_owned());
    }
    let Some(base64) = text(fields, encoded)?.filter(|base64| !base64.is_empty()) else {
        return Ok(None);
    };
    let is_standard = |letter| letter == '+' || letter == '/';
    let base64 = match base64.contains(is_standard) {
        true => Cow::Owned(base64.replace('+', "-").replace('/', "_")),
        false => base64,
    };
    let bytes = BASE64.decode(base64.trim().as_bytes());
    let bytes = bytes.map_err(|error| expected(encoded, &format!("base64: {error}")))?;
    let json = String::from_utf8(bytes).map_err(|_| expected(encoded, "base64 of UTF-8"))?;
    keep(encoded, json)
}

fn contexts_of<'a>(name: &str, json: &'a str) -> Result<Vec<SelfDescribing<'a>>, BadField> {
    let outer = SelfDescribing::parse(json).map_err(|why| expected(name, &why))?;
    let contexts: Result<Vec<&serde_json::value::RawValue>, _> = serde_json::from_str(outer.data);
    let contexts = contexts.map_err(|_| expected(name, "an array of contexts as `data`"))?;
    contexts
        .into_iter()
        .map(|context| SelfDescribing::parse(context.get()).map_err(|why| expected(name, &why)))
        .collect()
}

fn expected(path: &str, what: &str) -> BadField {
    BadField::new(Reason::BadType, path, format!("expected {what}"))
}

/// What can be read of an event that could not be parsed.
pub fn names(text: &str) -> Names<'_> {
    let Ok(mut fields) = Fields::parse(text) else { return Names::default() };
    let mut id = |name| fields.take(name).and_then(fields::id);
    Names { event_id: id("eid"), visitor_id: id("duid"), site: id("aid") }
}

/// What is wrong with a column, by the name that fills it.
pub fn rename(mut bad: BadField, text: &str) -> BadField {
    let known = IDENTITY.iter().find(|(_, column)| column.name() == bad.path);
    let given = Fields::parse(text).unwrap_or_default();
    let has = |name| given.get(name).is_some_and(|raw| raw != "null");
    let name = match (known, bad.path.as_str()) {
        (Some((name, _)), _) => *name,
        (None, "timestamp") if has("ttm") => "ttm",
        (None, "timestamp") => "dtm",
        (None, "event_name") if has("se_ac") => "se_ac",
        _ => return bad,
    };
    bad.path = name.to_owned();
    bad
}

/// A query string as the event that it is: an object of texts.
pub fn of_query(query: &str) -> String {
    let mut object = Object::default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    for (name, value) in pairs.filter(|(name, _)| !IN_QUERY.contains(&name.as_ref())) {
        object.push(&name, &fields::json(&value));
    }
    object.finish().unwrap_or_else(|| "{}".to_owned())
}

#[cfg(test)]
mod tests;
