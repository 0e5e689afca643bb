//! What gtag.js sends from a browser (`/g/collect`), as a body of the Measurement Protocol. It is not documented:
//! this is what is publicly known of it, and may change.

use std::borrow::Cow;

use footfall_event::{BadField, Reason};
use serde_json::{Map, Number, Value};

use super::super::pieces::too_many;
use super::super::text_of;
use crate::keys::IN_HITS;

/// Short names of who and where from an event is; of a line, it holds for that line.
const OF_ALL: [(&str, &str); 3] =
    [("cid", "client_id"), ("uid", "user_id"), ("_uip", "ip_override")];

/// Short names of parameters.
const PARAMETERS: [(&str, &str); 7] = [
    ("dl", "page_location"),
    ("dt", "page_title"),
    ("dr", "page_referrer"),
    ("ul", "language"),
    ("sid", "session_id"),
    ("cu", "currency"),
    ("_et", "engagement_time_msec"),
];

/// Short names of an item's fields, which stand before their values.
const ITEM: [(&str, &str); 7] = [
    ("id", "item_id"),
    ("nm", "item_name"),
    ("br", "item_brand"),
    ("ca", "item_category"),
    ("va", "item_variant"),
    ("pr", "price"),
    ("qt", "quantity"),
];

/// A request's query says what holds for all of its events; each line of its body is one of them, or, where there is
/// none, the query is.
pub struct Hits<'l> {
    query: &'l str,
    lines: Vec<&'l str>,
    /// About how large they become.
    pub bytes: usize,
}

impl<'l> Hits<'l> {
    /// # Errors
    /// When there are more than `events_max`, or they become larger than `bytes_max`; what is no text.
    pub fn of(
        query: &'l str,
        body: &'l [u8],
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Hits<'l>, BadField> {
        let lines = text_of(body)?.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.take(events_max + 1).collect();
        if lines.len() > events_max {
            return Err(too_many("body", events_max));
        }
        // Names become longer, by some letters each.
        let bytes = 4 * (body.len() + query.len() * lines.len().max(1));
        if bytes > bytes_max {
            let why = format!(
                "becomes more than inflated_bytes_max, {bytes_max} bytes; send fewer lines"
            );
            return Err(BadField::new(Reason::TooLarge, "body", why));
        }
        Ok(Hits { query, lines, bytes })
    }

    /// As a body of the Measurement Protocol.
    pub fn convert(&self) -> String {
        let (mut all, mut of_query) = (Map::new(), Map::new());
        take(self.query, &mut all, &mut of_query);
        let mut events: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let (mut own, mut parameters) = (Map::new(), of_query.clone());
                take(line, &mut own, &mut parameters);
                named(own, parameters)
            })
            .collect();
        if events.is_empty() && !of_query.is_empty() {
            events.push(named(Map::new(), of_query));
        }
        all.insert("events".to_owned(), Value::from(events));
        Value::from(all).to_string()
    }
}

/// An event of what it says itself and its parameters, of which `en` is the name.
fn named(own: Map<String, Value>, mut parameters: Map<String, Value>) -> Value {
    let mut event = own;
    event.insert("name".to_owned(), parameters.remove("en").unwrap_or_default());
    event.insert("params".to_owned(), Value::from(parameters));
    Value::from(event)
}

/// Takes the pairs of a query into what tells whose it is, and into parameters. Keys are neither.
fn take(query: &str, whose: &mut Map<String, Value>, parameters: &mut Map<String, Value>) {
    let mut items = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if IN_HITS.contains(&name.as_ref()) || name == "status" {
            continue;
        }
        if let Some(long) = long(&OF_ALL, &name) {
            whose.insert(long.to_owned(), Value::from(value));
        } else if let Some(key) = name.strip_prefix("epn.") {
            parameters.insert(key.to_owned(), number(value));
        } else if let Some(key) = name.strip_prefix("ep.") {
            parameters.insert(key.to_owned(), Value::from(value));
        } else if let Some(key) = name.strip_prefix("upn.") {
            user_property(whose, key, number(value));
        } else if let Some(key) = name.strip_prefix("up.") {
            user_property(whose, key, Value::from(value));
        } else if is_item(&name) {
            items.push(item(&value));
        } else {
            // What the event says of it comes before.
            if name == "gcs" && is_without_analytics(&value) {
                parameters.entry("consent").or_insert_with(|| Value::from("cookieless"));
            }
            let key = long(&PARAMETERS, &name).unwrap_or(&name);
            let value = if name == "_et" { number(value) } else { Value::from(value) };
            parameters.insert(key.to_owned(), value);
        }
    }
    if !items.is_empty() {
        parameters.insert("items".to_owned(), Value::from(items));
    }
}

fn user_property(whose: &mut Map<String, Value>, key: &str, value: Value) {
    let properties = whose.entry("user_properties").or_insert_with(|| Value::from(Map::new()));
    properties[key] = serde_json::json!({ "value": value });
}

fn long<'l>(names: &[(&str, &'l str)], short: &str) -> Option<&'l str> {
    names.iter().find(|(known, _)| *known == short).map(|(_, long)| *long)
}

/// `G1`, then 1 or 0 for what consent mode lets be kept for advertising, and for analytics.
fn is_without_analytics(signals: &str) -> bool {
    signals.len() == 4 && signals.starts_with("G1") && signals.ends_with('0')
}

/// `pr1`, `pr2` …
fn is_item(name: &str) -> bool {
    let digits = name.strip_prefix("pr").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Fields separated by `~`, each behind a name of two letters; `k0`, `v0` and so on name others, and their values.
fn item(text: &str) -> Value {
    let mut item = Map::new();
    let mut key = None;
    for field in text.split('~') {
        let Some((short, value)) = field.split_at_checked(2) else { continue };
        let is_numbered = short.as_bytes()[1].is_ascii_digit();
        match (short.as_bytes()[0], long(&ITEM, short)) {
            (b'k', None) if is_numbered => key = Some(value),
            (b'v', None) if is_numbered => {
                item.insert(key.take().unwrap_or(short).to_owned(), Value::from(value));
            }
            (_, Some(name @ ("price" | "quantity"))) => {
                item.insert(name.to_owned(), number(Cow::Borrowed(value)));
            }
            (_, name) => {
                item.insert(name.unwrap_or(short).to_owned(), Value::from(value));
            }
        }
    }
    Value::from(item)
}

/// A number, if it is one.
fn number(text: Cow<'_, str>) -> Value {
    let number: Option<Number> = serde_json::from_str(&text).ok();
    number.map_or_else(|| Value::from(text), Value::from)
}
