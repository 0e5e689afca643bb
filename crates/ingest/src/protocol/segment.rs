//! Segment's protocol, as its SDKs and RudderStack's speak it: calls that become canonical events.
//! What fits a column fills it; everything else stays in `properties`, so that nothing sent is lost.

mod columns;
mod ecommerce;

use std::borrow::Cow;

use footfall_event::{BadField, Event, Limits, Micros, Reason, Text, parse_time};
use hashbrown::{HashMap, HashSet};

use super::fields::{self, Fields, Object};
use super::fill::{check_part, fill_text};
use super::{Split, bad_json, pieces, text_of};

/// What a path calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Batch,
    /// One event, of this type unless it names its own.
    One(&'static str),
}

/// Columns under their names in Segment's events.
const IDENTITY: [(&str, Text); 3] =
    [("messageId", Text::EventId), ("anonymousId", Text::VisitorId), ("userId", Text::UserId)];

/// # Errors
/// When it is not a batch, or holds more than `events_max` events.
pub fn split(call: Call, body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
    let text = text_of(body)?;
    if call != Call::Batch || text.is_empty() {
        // What is wrong with a single event is found when it is parsed.
        let pieces = if text.is_empty() { Vec::new() } else { vec![Ok(text)] };
        return Ok(Split::of(pieces, "body", false));
    }
    let (Some(pieces), mut fields) = pieces::of_object(text, "batch", events_max)? else {
        return Err(BadField::new(Reason::Missing, "batch", "is required, an array of events"));
    };
    let key = fields.take("writeKey").and_then(fields::text);
    fields.fill_each(|name, _| !["sentAt", "context"].contains(&name));
    Ok(Split::of(pieces, "batch", true).with_key(key).beside(fields))
}

pub fn parse<'a>(
    call: Call,
    text: &'a str,
    envelope: &Fields<'a>,
    limits: &Limits,
) -> Result<Event<'a>, BadField> {
    let holding = Fields::parse_holding::<Option<Fields<'a>>, 2>(text, ["properties", "context"]);
    let (mut fields, held) = match holding {
        Ok((fields, held)) => (fields, Some(held.map(Option::flatten))),
        // What is wrong is told in its turn.
        Err(_) => (Fields::parse(text).map_err(bad_object)?, None),
    };
    let mut event = Event::default();
    for (name, column) in IDENTITY {
        if let Some(raw) = fields.take(name).filter(|raw| *raw != "null") {
            let id = fields::id(raw).ok_or_else(|| wrong_type(name, "a text or a number"))?;
            event.set_text(column, id);
        }
    }
    event.client.timestamp = match time(&mut fields, "timestamp")? {
        None => time(&mut fields, "originalTimestamp")?,
        timestamp => timestamp,
    };
    event.client.sent_at = match time(&mut fields, "sentAt")? {
        // One that cannot be read is no reason to refuse a whole batch.
        None => envelope.get("sentAt").and_then(|raw| parse_raw_time("sentAt", raw).ok()?),
        sent_at => sent_at,
    };
    // A credential: it must not reach the tables.
    let _key = fields.take("writeKey");
    let kind = name(call, &mut fields, &mut event)?;
    let [mut properties, mut context] = match held {
        Some(held) => held.map(Option::unwrap_or_default),
        None => [object(&mut fields, "properties")?, object(&mut fields, "context")?],
    };
    if context.is_empty() {
        context = envelope.get("context").and_then(Fields::of_object).unwrap_or_default();
    }
    columns::fill_from_properties(&mut event, &kind, &mut properties, limits);
    let context = columns::fill_from_context(&mut event, context, limits);
    // A call without properties says it of the visitor.
    if event.text(Text::Consent).is_none()
        && let Some(mut traits) = fields.get("traits").and_then(Fields::of_object)
    {
        traits.fill("consent", |raw| fill_text(&mut event, Text::Consent, raw, limits));
    }
    event.properties = rest(properties, fields, context)?.map(Cow::Owned);
    Ok(event)
}

fn bad_object(error: serde_json::Error) -> BadField {
    match error.classify() {
        serde_json::error::Category::Data => wrong_type("", "an event: a JSON object"),
        _ => bad_json(error),
    }
}

/// Sets the event's name and gives its type.
fn name<'a>(
    call: Call,
    fields: &mut Fields<'a>,
    event: &mut Event<'a>,
) -> Result<Cow<'a, str>, BadField> {
    let kind = match (fields.take("type").filter(|raw| *raw != "null"), call) {
        (Some(raw), _) => fields::text(raw).ok_or_else(|| wrong_type("type", "a text"))?,
        (None, Call::One(kind)) => Cow::Borrowed(kind),
        (None, Call::Batch) => {
            return Err(BadField::new(Reason::Missing, "type", "is required, such as `track`"));
        }
    };
    match kind.as_ref() {
        "" => return Err(BadField::new(Reason::Missing, "type", "is required, such as `track`")),
        "track" => match fields.get("event").map(fields::text) {
            Some(None) => return Err(wrong_type("event", "a text")),
            Some(Some(name)) if !name.is_empty() => match ecommerce::ga4_name(&name) {
                // Its own name stays beside it.
                Some(ga4) => event.set_text(Text::EventName, ga4),
                None => {
                    fields.take("event");
                    event.set_text(Text::EventName, name);
                }
            },
            _ => return Err(BadField::new(Reason::Missing, "event", "is required by `track`")),
        },
        "page" => event.set_text(Text::EventName, "page_view"),
        "screen" => event.set_text(Text::EventName, "screen_view"),
        _ => event.set_text(Text::EventName, kind.clone()),
    }
    Ok(kind)
}

/// In 1973; a smaller number would be of another unit.
const EARLIEST_MS: Micros = Micros(100_000_000_000_000);

fn time(fields: &mut Fields<'_>, name: &str) -> Result<Option<Micros>, BadField> {
    fields.take(name).map_or(Ok(None), |raw| parse_raw_time(name, raw))
}

fn parse_raw_time(path: &str, raw: &str) -> Result<Option<Micros>, BadField> {
    if raw == "null" {
        return Ok(None);
    }
    if let Some(time) = fields::millis(raw).filter(|time| *time >= EARLIEST_MS) {
        return Ok(Some(time));
    }
    let text = fields::text(raw).ok_or_else(|| wrong_type(path, "a time as text or in ms"))?;
    // What names no zone is UTC's, as Segment has it.
    let time = parse_time(&text).or_else(|why| parse_time(&format!("{text}Z")).map_err(|_| why));
    time.map(Some).map_err(|message| BadField::new(Reason::BadTime, path, message))
}

fn object<'a>(fields: &mut Fields<'a>, name: &str) -> Result<Fields<'a>, BadField> {
    let object = fields.take(name).map_or(Some(Fields::default()), Fields::of_object);
    object.ok_or_else(|| wrong_type(name, "an object"))
}

/// What found no column: Segment's properties by their own names, then the event's other fields,
/// `context` and `traits` among them, by theirs.
fn rest(
    properties: Fields<'_>,
    fields: Fields<'_>,
    context: Option<String>,
) -> Result<Option<String>, BadField> {
    let mut rest = Object::default();
    // A client may send many thousand fields of each kind, so that no list of them may be searched.
    let told: HashMap<&str, &str> = properties.iter().collect();
    let mut names: HashSet<Cow<'_, str>> = HashSet::with_capacity(told.len());
    for (key, raw) in properties.iter() {
        check_part(raw).map_err(|message| bad_part(&format!("properties.{key}"), message))?;
        rest.push(key, raw);
        names.insert(Cow::Borrowed(key));
    }
    let context = context.as_deref().map(|context| ("context", context));
    for (key, raw) in fields.iter().chain(context) {
        if told.get(key) == Some(&raw) || raw == "null" || raw == "{}" {
            continue;
        }
        check_part(raw).map_err(|message| bad_part(key, message))?;
        let mut name = Cow::Borrowed(key);
        while !names.insert(name.clone()) {
            name = Cow::Owned(format!("segment_{name}"));
        }
        rest.push(&name, raw);
    }
    Ok(rest.finish())
}

fn bad_part(path: &str, message: String) -> BadField {
    BadField::new(Reason::BadType, path, message)
}

/// What is wrong with a column, by the path of the field that filled it. Properties and context fill
/// only what they fit.
pub fn rename(call: Call, mut bad: BadField, text: &str) -> BadField {
    let fields = Fields::parse(text).unwrap_or_default();
    let given = |name| fields.get(name).filter(|raw| *raw != "null");
    let own = IDENTITY.iter().find(|(_, column)| column.name() == bad.path);
    let path = match (own, bad.path.as_str(), call) {
        (Some((name, _)), ..) => *name,
        (_, "timestamp", _) if given("timestamp").is_none() => "originalTimestamp",
        (_, "event_name", Call::One("track")) if given("type").is_none() => "event",
        (_, "event_name", _) if given("type") == Some("\"track\"") => "event",
        (_, "event_name", _) => "type",
        _ => return bad,
    };
    bad.path = path.to_owned();
    bad
}

fn wrong_type(path: &str, expected: &str) -> BadField {
    BadField::new(Reason::BadType, path, format!("expected {expected}"))
}

#[cfg(test)]
mod tests;
