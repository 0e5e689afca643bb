//! One event from a client's JSON, in Footfall's own form; what is wrong is named by its path.
//! Bounds and required fields are left to `check`.

#[cfg(test)]
mod tests;
mod values;

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Column, Event, Item, Micros, Text, Whole};
pub(crate) use values::PlainText;
use values::{ItemsSeed, MoneySeed, NumberSeed, TextSeed, TimeSeed};

/// Deepest nesting of `properties`; readers of JSON give up somewhere beyond a hundred.
const PROPERTIES_DEPTH_MAX: usize = 64;

/// Why a record was refused: the `reason` of `rejected` and a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    BadJson,
    BadType,
    BadTime,
    BadValue,
    Missing,
    TooLong,
    TooOld,
    TooLarge,
    TooMany,
    Unsupported,
    BadRecord,
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::BadJson,
        Reason::BadType,
        Reason::BadTime,
        Reason::BadValue,
        Reason::Missing,
        Reason::TooLong,
        Reason::TooOld,
        Reason::TooLarge,
        Reason::TooMany,
        Reason::Unsupported,
        Reason::BadRecord,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Reason::BadJson => "bad_json",
            Reason::BadType => "bad_type",
            Reason::BadTime => "bad_time",
            Reason::BadValue => "bad_value",
            Reason::Missing => "missing",
            Reason::TooLong => "too_long",
            Reason::TooOld => "too_old",
            Reason::TooLarge => "too_large",
            Reason::TooMany => "too_many",
            Reason::Unsupported => "unsupported",
            Reason::BadRecord => "bad_record",
        }
    }
}

/// A refusal: why, where (`items[2].price`; empty for the whole event), and a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", .path, if .path.is_empty() { "" } else { ": " })]
pub struct BadField {
    pub reason: Reason,
    pub path: String,
    pub message: String,
}

impl BadField {
    pub fn new(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> BadField {
        BadField { reason, path: path.into(), message: message.into() }
    }
}

/// Parses one JSON object. Keys without a column, and those that only Footfall fills, end up in
/// `properties`, so that nothing sent is lost.
///
/// # Errors
/// The first field whose type or value does not fit, by its path.
pub fn parse_event(json: &str) -> Result<Event<'_>, BadField> {
    let mut bad_path = None;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parsed = EventSeed { bad_path: &mut bad_path }
        .deserialize(&mut deserializer)
        .and_then(|event| deserializer.end().map(|()| event));
    parsed.map_err(|error| bad_field(bad_path.unwrap_or_default(), &error))
}

/// Parses a list of items as it stands in an event, and tells whether an item held a key that has no
/// column.
///
/// # Errors
/// The first field that does not fit, by its path within the list (`[2].price`).
pub fn parse_items(json: &str) -> Result<(Vec<Item<'_>>, bool), BadField> {
    check_raw(json).map_err(|message| BadField::new(Reason::BadJson, "", message))?;
    let mut path = String::new();
    let mut seed = ItemsSeed { bad_path: &mut path, has_unknown: false };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parsed = (&mut seed)
        .deserialize(&mut deserializer)
        .and_then(|items| deserializer.end().map(|()| items));
    let has_unknown = seed.has_unknown;
    parsed.map(|items| (items, has_unknown)).map_err(|error| bad_field(path, &error))
}

/// A time as RFC 3339 text, to the microsecond.
///
/// # Errors
/// A sentence that shows the form, when `text` is not RFC 3339 with a zone.
pub fn parse_time(text: &str) -> Result<Micros, String> {
    chrono::DateTime::parse_from_rfc3339(text).map(|time| Micros(time.timestamp_micros())).map_err(
        |_| {
            let shown: String = text.chars().take(40).collect();
            format!("`{shown}` is not a time such as 2026-11-22T10:00:00.000000Z")
        },
    )
}

fn bad_field(path: String, error: &serde_json::Error) -> BadField {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let reason = match error.classify() {
        _ if message.contains("is not a time") => Reason::BadTime,
        _ if message.contains("out of range") => Reason::BadValue,
        serde_json::error::Category::Data => Reason::BadType,
        _ => Reason::BadJson,
    };
    BadField { reason, path, message }
}

struct EventSeed<'f> {
    bad_path: &'f mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut event = Event::default();
        let mut rest = Rest::default();
        while let Some(key) = map.next_key_seed(PlainText)? {
            let mut within = String::new();
            if let Err(error) = read_field(&mut event, &mut rest, &key, &mut map, &mut within) {
                *self.bad_path = Some(format!("{key}{within}"));
                return Err(error);
            }
        }
        event.properties = rest.into_object();
        Ok(event)
    }
}

fn read_field<'de, A: MapAccess<'de>>(
    event: &mut Event<'de>,
    rest: &mut Rest<'de>,
    key: &Cow<'de, str>,
    map: &mut A,
    within: &mut String,
) -> Result<(), A::Error> {
    match Column::named(key) {
        Some(Column::Text(column)) => {
            if let Some(text) = map.next_value_seed(TextSeed { numbers: takes_numbers(column) })? {
                event.set_text(column, text);
            }
        }
        Some(Column::Whole(column)) => {
            if let Some(number) = map.next_value_seed(NumberSeed)? {
                event.set_whole(column, whole(column, number).map_err(A::Error::custom)?);
            }
        }
        Some(Column::Cls) => event.cls = map.next_value_seed(NumberSeed)?,
        Some(Column::Value) => event.value = map.next_value_seed(MoneySeed)?,
        Some(Column::Items) => {
            let raw: &RawValue = map.next_value()?;
            let items = sound(raw).map_err(A::Error::custom)?;
            let mut seed = ItemsSeed { bad_path: within, has_unknown: false };
            let mut json = serde_json::Deserializer::from_str(items);
            event.items = (&mut seed).deserialize(&mut json).map_err(A::Error::custom)?;
            if seed.has_unknown {
                rest.others.push((key.clone(), items));
            }
        }
        Some(Column::Timestamp) => event.client.timestamp = map.next_value_seed(TimeSeed)?,
        Some(Column::SentAt) => event.client.sent_at = map.next_value_seed(TimeSeed)?,
        Some(Column::Properties) => {
            let raw: &RawValue = map.next_value()?;
            rest.properties = object(raw).map_err(A::Error::custom)?;
        }
        Some(Column::EventTime | Column::ClientTime | Column::ReceivedTime) | None => {
            let raw: &RawValue = map.next_value()?;
            rest.others.push((key.clone(), sound(raw).map_err(A::Error::custom)?));
        }
    }
    Ok(())
}

/// SDKs send numeric ids; a number anywhere else in a text is a mistake worth telling.
fn takes_numbers(column: Text) -> bool {
    column.name().ends_with("_id")
}

fn whole(column: Whole, number: f64) -> Result<i64, String> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.abs() <= EXACT_MAX {
        return Ok(number.round() as i64);
    }
    Err(format!("{number} is out of range for `{}`", column.name()))
}

/// What has no column, on its way to `properties`.
#[derive(Default)]
struct Rest<'de> {
    properties: Option<&'de str>,
    others: Vec<(Cow<'de, str>, &'de str)>,
}

impl<'de> Rest<'de> {
    fn into_object(self) -> Option<Cow<'de, str>> {
        if self.others.is_empty() {
            return self.properties.map(Cow::Borrowed);
        }
        let mut text = String::from("{");
        if let Some(inner) = self.properties.map(|object| object[1..object.len() - 1].trim()) {
            text.push_str(inner);
        }
        for (key, raw) in self.others {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(key.as_ref()).to_string());
            text.push(':');
            text.push_str(raw);
        }
        text.push('}');
        Some(Cow::Owned(text))
    }
}

fn object(raw: &RawValue) -> Result<Option<&str>, String> {
    let text = sound(raw)?;
    match text.as_bytes().first() {
        Some(b'{') => Ok((text.len() > 2).then_some(text)),
        Some(b'n') => Ok(None),
        _ => Err("expected an object".to_owned()),
    }
}

fn sound(raw: &RawValue) -> Result<&str, String> {
    check_raw(raw.get()).map(|()| raw.get())
}

/// Whether a later reader can take `text`, a raw JSON value that is to stand in `properties`:
/// serde_json passes such a value on without looking at its depth or its `\u` escapes.
///
/// # Errors
/// A sentence, when it is nested too deeply or an escape in it is no character.
pub fn check_raw(text: &str) -> Result<(), String> {
    if depth(text) > PROPERTIES_DEPTH_MAX {
        return Err(format!("expected at most {PROPERTIES_DEPTH_MAX} levels of nesting"));
    }
    if text.contains("\\u") {
        serde_json::from_str::<serde_json::Value>(text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
    }
    deepest
}
