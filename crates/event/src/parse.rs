//! One event from a client's JSON, in Footfall's own form; what is wrong is named by its path.
//! Bounds and required fields are left to `check`.

#[cfg(test)]
mod tests;
mod values;

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Column, Event, Item, Micros, Text, Whole};
pub(crate) use values::PlainText;
use values::{IdSeed, ItemsSeed, MoneySeed, NumberSeed, TextSeed, TimeSeed};

/// Deepest nesting of `properties`; readers of JSON give up somewhere beyond a hundred.
const PROPERTIES_DEPTH_MAX: usize = 64;

/// 0001-01-01 to 9999-12-31: Python's datetime, among others, knows no year beyond them.
pub const TIME_RANGE: RangeInclusive<Micros> =
    Micros(-62_135_596_800_000_000)..=Micros(253_402_300_799_999_999);

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
    NoConsent,
    Schema,
    BadRecord,
}

impl Reason {
    pub const ALL: [Reason; 13] = [
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
        Reason::NoConsent,
        Reason::Schema,
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
            Reason::NoConsent => "no_consent",
            Reason::Schema => "schema",
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

/// Where parsing failed, and why where serde's error does not tell it. Its text alone would not do: it
/// may quote the client's.
#[derive(Default)]
struct Fault {
    path: String,
    reason: Option<Reason>,
}

/// Parses one JSON object. Keys without a column, and those that only Footfall fills, end up in
/// `properties`, so that nothing sent is lost. Of a repeated key the last counts, as in JavaScript.
///
/// # Errors
/// The first field whose type or value does not fit, by its path.
pub fn parse_event(json: &str) -> Result<Event<'_>, BadField> {
    let (mut event, mut fault) = (Event::default(), Fault::default());
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parsed = EventSeed { event: &mut event, fault: &mut fault }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match parsed {
        Ok(()) => Ok(event),
        Err(error) => Err(bad_field(fault, &error)),
    }
}

/// Parses a list of items as it stands in an event, and tells whether an item held a key that has no
/// column.
///
/// # Errors
/// The first field that does not fit, by its path within the list (`[2].price`).
pub fn parse_items(json: &str) -> Result<(Vec<Item<'_>>, bool), BadField> {
    check_raw(json).map_err(|message| BadField::new(Reason::BadJson, "", message))?;
    let mut fault = Fault::default();
    let mut seed = ItemsSeed { fault: &mut fault, has_unknown: false };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parsed = (&mut seed)
        .deserialize(&mut deserializer)
        .and_then(|items| deserializer.end().map(|()| items));
    let has_unknown = seed.has_unknown;
    parsed.map(|items| (items, has_unknown)).map_err(|error| bad_field(fault, &error))
}

/// A time as RFC 3339 text, to the microsecond.
///
/// # Errors
/// A sentence that shows the form, when `text` is not RFC 3339 with a zone, or that names the bound,
/// when the time lies beyond what other readers of the tables can represent.
pub fn parse_time(text: &str) -> Result<Micros, String> {
    let shown = || text.chars().take(40).collect::<String>();
    let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) else {
        return Err(format!("`{}` is not a time such as 2026-11-22T10:00:00.000000Z", shown()));
    };
    let time = Micros(time.timestamp_micros());
    match TIME_RANGE.contains(&time) {
        true => Ok(time),
        false => Err(format!("`{}` is not within the years 1 to 9999 of UTC", shown())),
    }
}

fn bad_field(fault: Fault, error: &serde_json::Error) -> BadField {
    use serde_json::error::Category;
    let message = without_position(error);
    let reason = fault.reason.unwrap_or(match error.classify() {
        Category::Data => Reason::BadType,
        // The one error of syntax that is about a value: JSON bounds no number, readers do.
        Category::Syntax if message == "number out of range" => Reason::BadValue,
        _ => Reason::BadJson,
    });
    BadField { reason, path: fault.path, message }
}

/// What is wrong: the position is one in the line that the client sent, and often the end of it.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).map_or(text.clone(), str::to_owned)
}

/// An event within other JSON, in one pass with it. What is wrong is told without its path: [`parse_event`] tells all.
impl<'de> serde::Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (mut event, mut fault) = (Event::default(), Fault::default());
        EventSeed { event: &mut event, fault: &mut fault }.deserialize(from)?;
        Ok(event)
    }
}

/// Fills an event where it stands: one has a kilobyte, which each layer of serde's would move.
struct EventSeed<'f, 'de> {
    event: &'f mut Event<'de>,
    fault: &'f mut Fault,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut rest = Rest::default();
        while let Some(key) = map.next_key_seed(PlainText)? {
            if let Err(error) = read_field(self.event, &mut rest, &key, &mut map, self.fault) {
                self.fault.path.insert_str(0, &key);
                return Err(error);
            }
        }
        self.event.properties = rest.into_object();
        Ok(())
    }
}

fn read_field<'de, A: MapAccess<'de>>(
    event: &mut Event<'de>,
    rest: &mut Rest<'de>,
    key: &Cow<'de, str>,
    map: &mut A,
    fault: &mut Fault,
) -> Result<(), A::Error> {
    match Column::named(key) {
        Some(Column::Text(column)) => {
            let text = match takes_numbers(column) {
                true => map.next_value_seed(IdSeed(&mut fault.reason))?,
                false => map.next_value_seed(TextSeed)?,
            };
            event.set_text(column, text.unwrap_or_default());
        }
        Some(Column::Whole(column)) => {
            let number = map.next_value_seed(NumberSeed)?;
            event.set_whole(column, number.map(|n| whole(column, n, fault)).transpose()?);
        }
        Some(Column::Cls) => event.cls = map.next_value_seed(NumberSeed)?,
        Some(Column::Value) => event.value = map.next_value_seed(MoneySeed(&mut fault.reason))?,
        Some(Column::Items) => {
            let raw: &RawValue = map.next_value()?;
            let items = sound(raw).map_err(A::Error::custom)?;
            let mut seed = ItemsSeed { fault, has_unknown: false };
            let mut json = serde_json::Deserializer::from_str(items);
            event.items = (&mut seed).deserialize(&mut json).map_err(A::Error::custom)?;
            if seed.has_unknown {
                rest.others.push((key.clone(), items));
            }
        }
        Some(Column::Timestamp) => {
            event.client.timestamp = map.next_value_seed(TimeSeed(&mut fault.reason))?;
        }
        Some(Column::SentAt) => {
            event.client.sent_at = map.next_value_seed(TimeSeed(&mut fault.reason))?;
        }
        Some(Column::Properties) => {
            let raw: &RawValue = map.next_value()?;
            rest.properties = object(raw).map_err(A::Error::custom)?;
        }
        Some(Column::EventTime | Column::ClientTime | Column::ReceivedTime | Column::Replayed)
        | None => {
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

fn whole<E: serde::de::Error>(column: Whole, number: f64, fault: &mut Fault) -> Result<i64, E> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.abs() <= EXACT_MAX {
        return Ok(number.round() as i64);
    }
    fault.reason = Some(Reason::BadValue);
    Err(E::custom(format!("{number} is out of range for `{}`", column.name())))
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
    check_raw_below(0, text)
}

/// The same of a value that is to stand so many levels below `properties`.
///
/// # Errors
/// As [`check_raw`].
pub fn check_raw_below(levels: usize, text: &str) -> Result<(), String> {
    let depth_max = PROPERTIES_DEPTH_MAX.saturating_sub(levels);
    // Most hold fewer brackets than that, and no backslash: two looks at all bytes at once tell.
    let openings = text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if openings > depth_max && depth(text) > depth_max {
        return Err(format!("expected at most {PROPERTIES_DEPTH_MAX} levels of nesting"));
    }
    if text.as_bytes().contains(&b'\\') && text.contains("\\u") {
        let read = serde_json::from_str::<serde_json::Value>(text);
        read.map_err(|error| without_position(&error))?;
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
            // What is not JSON may close what it never opened.
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
