//! Reads a map file and finds all its mistakes. What a map can fill is left to `target`.

use std::collections::HashMap;

use toml::de::DeValue;

use super::target::Shape;
use super::{Format, LoadMap, Mapping, Rest, Source, Target, TimeFormat};
use crate::config::toml_reader::{Document, Given, Table, Value, in_place};
use crate::config::values::{self, must};
use crate::config::{Mistakes, Origin, nearest, way_out};

const KEYS: [&str; 8] =
    ["format", "site", "time_format", "rest", "columns", "constants", "values", "only"];
const FORMATS: [(&str, Format); 3] =
    [("csv", Format::Csv), ("jsonl", Format::JsonLines), ("parquet", Format::Parquet)];
const RESTS: [(&str, Rest); 3] =
    [("properties", Rest::Properties), ("drop", Rest::Drop), ("same_name", Rest::SameName)];
/// Columns that Footfall fills: many a source has one of these names.
const OURS_ALONE: [&str; 3] = ["event_time", "client_time", "received_time"];

/// The map, as far as it is right.
pub fn read(document: &Document<'_>, mistakes: &mut Mistakes) -> LoadMap {
    let root = document.root();
    root.refuse_unknown(&KEYS, mistakes);
    let format = root.read("format", mistakes, |value| values::choice(value, &FORMATS));
    let site = root.read("site", mistakes, values::site);
    let time_format = root.read("time_format", mistakes, time_format);
    let rest = root.read("rest", mistakes, |value| values::choice(value, &RESTS));
    let mut mappings = mappings(&root, mistakes);
    check_site(&root, &mappings, mistakes);
    if rest != Some(Rest::SameName) && root.is_whole() {
        for target in [Target::TIMESTAMP, Target::EVENT_NAME] {
            require(target, &root, &mappings, mistakes);
        }
    }
    mappings.sort_by_key(|(_, mapping)| mapping.target != Target::EVENT_NAME);
    LoadMap {
        format,
        site,
        time_format: time_format.unwrap_or(TimeFormat::Rfc3339),
        rest: rest.unwrap_or_default(),
        mappings: mappings.into_iter().map(|(_, mapping)| mapping).collect(),
    }
}

/// With where each is declared.
type Mappings = Vec<(Origin, Mapping)>;

/// One of our columns on the left of a line.
struct Line<'d> {
    target: Target,
    /// Of the key.
    origin: Origin,
    /// As messages name the key.
    name: String,
    right: Given<'d>,
}

fn mappings(root: &Table<'_>, mistakes: &mut Mistakes) -> Mappings {
    let mut mappings = Mappings::new();
    for line in lines(root, "columns", mistakes) {
        let column = line.right.read(&line.name, mistakes, values::some_text);
        declare(&line, column.map(Source::Column), &mut mappings, mistakes);
    }
    for line in lines(root, "constants", mistakes) {
        let shape = line.target.shape();
        let text = line.right.read(&line.name, mistakes, |value| constant(value, shape));
        declare(&line, text.map(Source::Constant), &mut mappings, mistakes);
    }
    for line in lines(root, "values", mistakes) {
        let values = translation(&line, mistakes);
        if let Some(mapping) = declared(&line, &mut mappings, mistakes) {
            mapping.values = values;
        }
    }
    for line in lines(root, "only", mistakes) {
        let names = event_names(&line, mistakes);
        if let Some(mapping) = declared(&line, &mut mappings, mistakes) {
            mapping.only = names;
        }
    }
    mappings
}

/// The lines of a section. `items.price` may be written with quotes or without.
fn lines<'d>(root: &Table<'d>, section: &str, mistakes: &mut Mistakes) -> Vec<Line<'d>> {
    let place = format!("`[{section}]`");
    let table = root.find(section).and_then(|given| given.table(&place, mistakes));
    let mut lines = Vec::new();
    for (key, origin, right) in table.iter().flat_map(Table::entries) {
        match right.value {
            Value::Toml(DeValue::Table(_)) if key == "items" => {
                let items = right.table(&place, mistakes);
                for (field, origin, right) in items.iter().flat_map(Table::entries) {
                    lines.extend(line(&format!("items.{field}"), &place, origin, right, mistakes));
                }
            }
            _ => lines.extend(line(key, &place, origin, right, mistakes)),
        }
    }
    lines
}

fn line<'d>(
    key: &str,
    place: &str,
    origin: Origin,
    right: Given<'d>,
    mistakes: &mut Mistakes,
) -> Option<Line<'d>> {
    let name = in_place(key, place);
    if let Some(target) = Target::named(key) {
        return Some(Line { target, origin, name, right });
    }
    let all: Vec<&str> = Target::all().map(Target::name).collect();
    let reversed = values::as_text(&right.value).filter(|text| all.contains(text));
    let turned = |ours: &str| format!("`{ours} = \"{key}\"` (ours stands on the left)?");
    let way_out = match (nearest(key, &all), reversed) {
        _ if OURS_ALONE.contains(&key) => {
            ": Footfall fills it; a source's time is `timestamp`".to_owned()
        }
        (Some(near), Some(ours)) => format!(": did you mean `{near}`, or {}", turned(ours)),
        (None, Some(ours)) => format!(": did you mean {}", turned(ours)),
        (_, None) => way_out(key, all),
    };
    mistakes.push(&origin, format!("unknown column {name}{way_out}"));
    None
}

fn declare(
    line: &Line<'_>,
    source: Option<Source>,
    mappings: &mut Mappings,
    mistakes: &mut Mistakes,
) {
    let is_item = |target| matches!(target, Target::Item(_));
    let clashes = |other: Target| {
        other == line.target
            || (other == Target::ITEMS && is_item(line.target))
            || (line.target == Target::ITEMS && is_item(other))
    };
    if let Some((first, other)) = mappings.iter().find(|(_, other)| clashes(other.target)) {
        let message = format!("{} is filled by `{}` of {first}", line.name, other.target.name());
        mistakes.push(&line.origin, format!("{message}: keep one of them"));
        return;
    }
    // A line with a mistake still declares its target, for what else speaks of it.
    let source = source.unwrap_or(Source::Constant(String::new()));
    let (values, only) = (HashMap::new(), Vec::new());
    mappings.push((line.origin.clone(), Mapping { target: line.target, source, values, only }));
}

/// The mapping that a line of `[values]` or `[only]` speaks of.
fn declared<'m>(
    line: &Line<'_>,
    mappings: &'m mut Mappings,
    mistakes: &mut Mistakes,
) -> Option<&'m mut Mapping> {
    let mapping = mappings.iter_mut().find(|(_, mapping)| mapping.target == line.target);
    if mapping.is_none() {
        let message = format!("{} is not filled: name it in `[columns]`", line.name);
        mistakes.push(&line.origin, message);
    }
    mapping.map(|(_, mapping)| mapping)
}

fn translation(line: &Line<'_>, mistakes: &mut Mistakes) -> HashMap<String, String> {
    if line.target.shape() != Shape::Text {
        let message = format!("{} is not a text: only texts are translated", line.name);
        mistakes.push(&line.origin, message);
        return HashMap::new();
    }
    let place = format!("`[values.{}]`", line.target.name());
    let Some(table) = line.right.table(&place, mistakes) else { return HashMap::new() };
    let texts = table.entries().into_iter().filter_map(|(theirs, _, ours)| {
        let ours = ours.read(&in_place(theirs, &place), mistakes, values::some_text)?;
        Some((theirs.to_owned(), ours))
    });
    texts.collect()
}

fn event_names(line: &Line<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    if line.target == Target::EVENT_NAME {
        let message = format!("{} is what `[only]` asks for: leave it out", line.name);
        mistakes.push(&line.origin, message);
        return Vec::new();
    }
    let Some(names) = line.right.list(&line.name, mistakes) else { return Vec::new() };
    if names.is_empty() {
        mistakes.push(&line.origin, format!("{} is empty: name some events", line.name));
    }
    let name = format!("an event name of {}", line.name);
    names.iter().filter_map(|given| given.read(&name, mistakes, values::some_text)).collect()
}

/// A text, or a number as it is written.
fn constant(value: &Value<'_>, shape: Shape) -> Result<String, String> {
    let text = match value {
        Value::Toml(DeValue::Integer(number)) => number.to_string(),
        Value::Toml(DeValue::Float(number)) => number.as_str().to_owned(),
        value => values::text(value)?,
    };
    shape.check(&text).map_err(|wish| must(value, wish))?;
    Ok(text)
}

fn time_format(value: &Value<'_>) -> Result<TimeFormat, String> {
    values::as_text(value).and_then(TimeFormat::named).ok_or_else(|| {
        let wish = "be \"rfc3339\", \"unix_s\", \"unix_ms\", \"unix_us\", or a pattern that has \
                    date and time, such as \"%Y-%m-%d %H:%M:%S\"";
        must(value, wish)
    })
}

fn check_site(root: &Table<'_>, mappings: &Mappings, mistakes: &mut Mistakes) {
    let site = mappings.iter().find(|(_, mapping)| mapping.target == Target::SITE);
    if let (Some(given), Some((origin, _))) = (root.find("site"), site) {
        let message = format!("`site` is filled by `site` of {}: keep one of them", given.origin);
        mistakes.push(origin, message);
    }
}

fn require(target: Target, root: &Table<'_>, mappings: &Mappings, mistakes: &mut Mistakes) {
    if !mappings.iter().any(|(_, mapping)| mapping.target == target) {
        let name = target.name();
        let message = format!("nothing fills `{name}`: name the source's column in `[columns]`");
        mistakes.push(&root.origin, message);
    }
}
