//! One JSON object into one event, as the plan says: a line of a file, or a message of a topic. What the values mean is
//! left to `fill`, or to the event's own parser where the objects are events as clients post them.

use std::borrow::Cow;

use footfall_event::{BadField, Event, Reason, Text, parse_event, write_text};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fill::{Cell, Unnamed, fill};
use super::plan::Plan;

/// Fills `event`, which is empty, from a JSON object. `holder` is what messages call the text.
///
/// # Errors
/// What keeps it from being one, or the first value that does not fit. What was filled by then stays.
pub fn read_json<'a>(
    bytes: &'a [u8],
    holder: &str,
    plan: &'a Plan,
    event: &mut Event<'a>,
) -> Result<(), BadField> {
    let filled = match std::str::from_utf8(bytes) {
        Ok(text) if plan.is_identity => match parse_event(text) {
            Ok(parsed) => {
                *event = parsed;
                Ok(())
            }
            Err(bad) => {
                if let Some(site) = site_of(text) {
                    event.set_text(Text::Site, site);
                }
                Err(placed(bad, text, holder))
            }
        },
        Ok(text) => fill_from(text, event, plan).map_err(|bad| placed(bad, text, holder)),
        Err(_) => Err(BadField::new(Reason::BadJson, holder, "is not UTF-8")),
    };
    plan.complete(event);
    filled
}

fn fill_from<'a>(text: &'a str, event: &mut Event<'a>, plan: &'a Plan) -> Result<(), BadField> {
    let fields: Fields<'a> = serde_json::from_str(text)
        .map_err(|error| BadField::new(Reason::BadJson, "", not_an_object(text, &error)))?;
    let mut cells = vec![Cell::Null; plan.columns().len()];
    let mut others = Vec::new();
    for (name, json) in &fields.0 {
        match plan.slot(name) {
            Some(slot) => cells[slot] = Cell::Json(json),
            None => others.push((name.as_ref(), *json)),
        }
    }
    // Of columns that stand within objects.
    let mut paths = Vec::new();
    for (column, cell) in plan.columns().iter().zip(&mut cells) {
        if *cell == Cell::Null
            && column.contains('.')
            && let Some(json) = fields.at(column)
        {
            *cell = Cell::Json(json);
            paths.push(column.as_str());
        }
    }
    let others = others.into_iter().map(|(name, json)| {
        let cut = cut(name, json, &paths);
        Unnamed { name, cell: Cell::Json(json), cut, target: plan.same_name(name) }
    });
    fill(plan, event, |slot| cells[slot], others)
}

/// What is left of a value of which parts have columns of their own; `None` where none has.
fn cut(name: &str, json: &str, paths: &[&str]) -> Option<String> {
    let within: Vec<&str> = paths.iter().filter_map(|path| within(path, name)).collect();
    let fields = (!within.is_empty()).then(|| serde_json::from_str::<Fields<'_>>(json).ok())??;
    Some(fields.without(&within).unwrap_or_else(|| "{}".to_owned()))
}

/// A path's way within the object of this name.
fn within<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.strip_prefix(name)?.strip_prefix('.')
}

/// Why a text holds no fields. One that is no JSON is told by `placed`.
fn not_an_object(text: &str, error: &serde_json::Error) -> String {
    let found = match text.as_bytes().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        _ => return error.to_string(),
    };
    format!("expected a JSON object, found {found}")
}

/// The site that a text which is no event names.
fn site_of(text: &str) -> Option<String> {
    let fields: Fields<'_> = serde_json::from_str(text).ok()?;
    let (_, site) = fields.0.iter().find(|(name, _)| name == Text::Site.name())?;
    serde_json::from_str(site).ok()
}

/// A text that is no JSON is told by the place in it: there may be no field to name.
fn placed(bad: BadField, text: &str, holder: &str) -> BadField {
    let broken = serde_json::from_str::<&RawValue>(text).err();
    match broken {
        Some(error) if bad.reason == Reason::BadJson => {
            let path = if bad.path.is_empty() { holder.to_owned() } else { bad.path };
            let message = error.to_string().replace(" at line 1 column ", " at byte ");
            BadField::new(Reason::BadJson, path, message)
        }
        _ if bad.path.is_empty() => BadField { path: holder.to_owned(), ..bad },
        _ => bad,
    }
}

/// A JSON object's names and values, in its order.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

/// A text that borrows where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// The value that stands within others: at `user.id` the `id` of `user`, unless a field has the whole name.
    fn at(&self, path: &str) -> Option<&'a str> {
        self.last(path).or_else(|| {
            let (outer, within) = path.split_once('.')?;
            serde_json::from_str::<Fields<'a>>(self.last(outer)?).ok()?.at(within)
        })
    }

    /// Of a repeated name the last counts.
    fn last(&self, wanted: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(name, _)| name == wanted).map(|(_, json)| *json)
    }

    /// The fields without those that stand at these paths, as JSON; `None` where none is left.
    fn without(&self, paths: &[&str]) -> Option<String> {
        let mut object = Vec::new();
        for (name, json) in self.0.iter().filter(|(name, _)| !paths.contains(&name.as_ref())) {
            let kept = cut(name, json, paths).map_or(Cow::Borrowed(*json), Cow::Owned);
            if kept == "{}" && *json != "{}" {
                continue;
            }
            object.push(if object.is_empty() { b'{' } else { b',' });
            write_text(name, &mut object);
            object.push(b':');
            object.extend_from_slice(kept.as_bytes());
        }
        object.push(b'}');
        (object.len() > 1).then(|| String::from_utf8_lossy(&object).into_owned())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields<'a>, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), json)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    fields.push((name, json.get()));
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(InOrder)
    }
}
