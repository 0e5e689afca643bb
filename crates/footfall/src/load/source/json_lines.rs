//! JSON lines: one object a line. What the values mean is left to `fill`, or to the event's own
//! parser where the lines are events as clients post them.

use std::borrow::Cow;
use std::path::Path;

use footfall_event::{BadField, Event, Reason, Text, parse_event};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::SourceError;
use super::file::{BytesRead, Lines, More, too_long};
use super::fill::{Cell, Unnamed, fill};
use super::plan::Plan;
use super::rows::{Raw, Rows};

pub struct JsonLinesReader {
    lines: Lines,
}

impl JsonLinesReader {
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path, read: &BytesRead) -> Result<JsonLinesReader, SourceError> {
        Ok(JsonLinesReader { lines: Lines::open(path, read)? })
    }

    /// Reads a row, or finds that there is none left.
    pub fn read_row(&mut self, plan: &Plan, rows: &mut Rows) -> Result<bool, SourceError> {
        if self.lines.kept().is_empty() && self.lines.more()? == More::End {
            return Ok(false);
        }
        if self.lines.is_cut() {
            return self.reject_long(plan, rows).map(|()| true);
        }
        // Lines are taken one by one, so what is kept is one.
        let end = self.lines.kept().len();
        let line = self.lines.kept().trim_ascii();
        if !line.is_empty() {
            take(line, plan, rows);
            self.lines.rows += 1;
        }
        self.lines.pass(end);
        Ok(true)
    }

    fn reject_long(&mut self, plan: &Plan, rows: &mut Rows) -> Result<(), SourceError> {
        let (line, bytes) = self.lines.take_line()?;
        let mut event = Event::default();
        plan.complete(&mut event);
        rows.take(&mut event, Err(too_long("line")), &Raw::Line(&line, bytes));
        self.lines.rows += 1;
        Ok(())
    }
}

fn take(line: &[u8], plan: &Plan, rows: &mut Rows) {
    let raw = Raw::Line(line, line.len());
    let mut event = Event::default();
    let filled = match std::str::from_utf8(line) {
        Ok(text) if plan.is_identity => match parse_event(text) {
            Ok(parsed) => {
                event = parsed;
                Ok(())
            }
            Err(bad) => {
                if let Some(site) = site_of(text) {
                    event.set_text(Text::Site, site);
                }
                Err(placed(bad, text))
            }
        },
        Ok(text) => fill_from(text, &mut event, plan).map_err(|bad| placed(bad, text)),
        Err(_) => Err(BadField::new(Reason::BadJson, "line", "is not UTF-8")),
    };
    plan.complete(&mut event);
    rows.take(&mut event, filled, &raw);
}

fn fill_from<'a>(line: &'a str, event: &mut Event<'a>, plan: &'a Plan) -> Result<(), BadField> {
    let fields: Fields<'a> = serde_json::from_str(line)
        .map_err(|error| BadField::new(Reason::BadJson, "", not_an_object(line, &error)))?;
    let mut cells = vec![Cell::Null; plan.columns().len()];
    let mut others = Vec::new();
    for (name, json) in &fields.0 {
        match plan.slot(name) {
            Some(slot) => cells[slot] = Cell::Json(json),
            None => others.push((name.as_ref(), Cell::Json(json))),
        }
    }
    let others = others.into_iter().map(|(name, cell)| {
        let target = plan.same_name(name);
        Unnamed { name, cell, target }
    });
    fill(plan, event, |slot| cells[slot], others)
}

/// Why a line holds no fields. One that is no JSON is told by `placed`.
fn not_an_object(line: &str, error: &serde_json::Error) -> String {
    let found = match line.as_bytes().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        _ => return error.to_string(),
    };
    format!("expected a JSON object, found {found}")
}

/// The site that a line which is no event names.
fn site_of(line: &str) -> Option<String> {
    let fields: Fields<'_> = serde_json::from_str(line).ok()?;
    let (_, site) = fields.0.iter().find(|(name, _)| name == Text::Site.name())?;
    serde_json::from_str(site).ok()
}

/// A line that is no JSON is told by the place in it: there may be no field to name.
fn placed(bad: BadField, line: &str) -> BadField {
    let broken = serde_json::from_str::<&RawValue>(line).err();
    match broken {
        Some(error) if bad.reason == Reason::BadJson => {
            let path = if bad.path.is_empty() { "line".to_owned() } else { bad.path };
            let message = error.to_string().replace(" at line 1 column ", " at byte ");
            BadField::new(Reason::BadJson, path, message)
        }
        _ if bad.path.is_empty() => BadField { path: "line".to_owned(), ..bad },
        _ => bad,
    }
}

/// A JSON object's names and values, in its order.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

/// A text that borrows where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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
