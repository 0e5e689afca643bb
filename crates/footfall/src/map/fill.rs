//! One row's values into one event, as the plan says. Splitting rows into values is left to the
//! formats, bounds and required fields to the event's checks.

use std::borrow::Cow;

use footfall_event::{
    BadField, Column, Event, Item, Micros, Money, Reason, Text, Whole, check_raw, parse_items,
    write_text,
};
use serde_json::value::RawValue;

use super::plan::{From, Plan};
use super::{ItemField, Rest, Target, TimeFormat};

/// Whole numbers up to here have an f64 of their own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Longest part of a value that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 40;

/// A value of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Text(&'a str),
    /// As JSON writes it, whatever it is.
    Json(&'a str),
    Time(Micros),
    /// Bytes that are not UTF-8.
    Bytes(&'a [u8]),
}

/// A value whose column the map does not name.
pub struct Unnamed<'r, 'a> {
    pub name: &'r str,
    pub cell: Cell<'a>,
    /// What is left of it where parts of it have columns of their own.
    pub cut: Option<String>,
    /// What it fills all the same.
    pub target: Option<Target>,
}

/// Fills `event`, which is empty, from a row: `cell` gives the value of a slot. What a bad value left
/// unfilled stays so.
///
/// # Errors
/// The first value that does not fit, by its column in the source.
pub fn fill<'r, 'a: 'r>(
    plan: &'a Plan,
    event: &mut Event<'a>,
    cell: impl Fn(usize) -> Cell<'a>,
    others: impl Iterator<Item = Unnamed<'r, 'a>>,
) -> Result<(), BadField> {
    let mut filler = Filler { plan, event, item: Item::default(), rest: RestOf::default() };
    for other in others {
        match (other.target, other.cut) {
            // A part of theirs is ours: what is left of it, and has no column, stays.
            (Some(Target::Column(Column::Properties)), Some(left)) => {
                filler.rest.object = Some(Cow::Owned(left));
            }
            (Some(target), _) => filler.set(target, other.cell, other.name, None)?,
            (None, _) if plan.rest == Rest::Drop => {}
            (None, Some(left)) if left == "{}" => {}
            (None, Some(left)) => filler.rest.push_json(other.name, &left),
            (None, None) => filler.rest.push(other.name, other.cell)?,
        }
    }
    for (i, fill) in plan.fills.iter().enumerate() {
        if !fill.is_for(filler.event.text(Text::EventName)) {
            continue;
        }
        match &fill.from {
            From::Slot(slot) => {
                filler.set(fill.target, cell(*slot), &plan.columns()[*slot], Some(i))?;
            }
            From::Constant(text) => {
                filler.set(fill.target, Cell::Text(text), fill.target.name(), Some(i))?;
            }
        }
    }
    filler.finish();
    Ok(())
}

struct Filler<'e, 'a> {
    plan: &'a Plan,
    event: &'e mut Event<'a>,
    item: Item<'a>,
    rest: RestOf<'a>,
}

impl<'a> Filler<'_, 'a> {
    /// `fill` is the place of the plan's fill, if it is one of those.
    fn set(
        &mut self,
        target: Target,
        cell: Cell<'a>,
        name: &str,
        fill: Option<usize>,
    ) -> Result<(), BadField> {
        let place = |mut bad: BadField| {
            bad.path.insert_str(0, name);
            bad
        };
        match target {
            Target::Column(Column::Items) => self.set_items(cell, name).map_err(place),
            Target::Column(Column::Properties) => self.set_properties(cell).map_err(place),
            Target::Column(Column::Timestamp) => {
                self.event.client.timestamp = time(cell, &self.plan.time_format).map_err(place)?;
                Ok(())
            }
            Target::Column(Column::SentAt) => {
                self.event.client.sent_at = time(cell, &self.plan.time_format).map_err(place)?;
                Ok(())
            }
            target => match scalar(cell).map_err(place)? {
                Some(text) => self.set_scalar(target, text, fill).map_err(place),
                None => Ok(()),
            },
        }
    }

    fn set_scalar(
        &mut self,
        target: Target,
        text: Cow<'a, str>,
        fill: Option<usize>,
    ) -> Result<(), BadField> {
        let plan = self.plan;
        let ours = |text| match fill {
            Some(fill) => plan.fills[fill].translate(text),
            None => text,
        };
        match target {
            Target::Column(Column::Text(column)) => self.event.set_text(column, ours(text)),
            Target::Column(Column::Whole(column)) => {
                self.event.set_whole(column, whole(column, &text)?);
            }
            Target::Column(Column::Cls) => self.event.cls = Some(number(&text)?),
            Target::Column(Column::Value) => self.event.value = Some(money(&text)?),
            Target::Item(ItemField::Id) => self.item.item_id = Some(ours(text)),
            Target::Item(ItemField::Name) => self.item.item_name = Some(ours(text)),
            Target::Item(ItemField::Brand) => self.item.item_brand = Some(ours(text)),
            Target::Item(ItemField::Category) => self.item.item_category = Some(ours(text)),
            Target::Item(ItemField::Variant) => self.item.item_variant = Some(ours(text)),
            Target::Item(ItemField::Price) => self.item.price = Some(money(&text)?),
            Target::Item(ItemField::Quantity) => self.item.quantity = Some(number(&text)?),
            // No map has a target of another kind.
            Target::Column(_) => {}
        }
        Ok(())
    }

    fn set_items(&mut self, cell: Cell<'a>, name: &str) -> Result<(), BadField> {
        let Some(json) = nested(cell)? else { return Ok(()) };
        let (items, has_unknown) = match &json {
            Cow::Borrowed(json) => parse_items(json)?,
            Cow::Owned(json) => {
                let (items, has_unknown) = parse_items(json)?;
                (items.into_iter().map(owned).collect(), has_unknown)
            }
        };
        self.event.items = items;
        if has_unknown {
            self.rest.push_json(name, &json);
        }
        Ok(())
    }

    fn set_properties(&mut self, cell: Cell<'a>) -> Result<(), BadField> {
        let Some(json) = nested(cell)? else { return Ok(()) };
        if !json.starts_with('{') {
            return Err(BadField::new(Reason::BadType, "", "expected an object"));
        }
        check_raw(&json).map_err(|message| BadField::new(Reason::BadJson, "", message))?;
        self.rest.object = Some(json);
        Ok(())
    }

    fn finish(self) {
        if self.item != Item::default() {
            self.event.items.push(self.item);
        }
        if let Some(properties) = self.rest.into_object() {
            self.event.properties = Some(properties);
        }
    }
}

/// The text of a value; `None` for none and for an empty one.
fn scalar(cell: Cell<'_>) -> Result<Option<Cow<'_, str>>, BadField> {
    let text = match cell {
        Cell::Null => return Ok(None),
        Cell::Text(text) => Cow::Borrowed(text),
        Cell::Time(time) => Cow::Owned(time.to_string()),
        Cell::Bytes(_) => return Err(not_utf8("")),
        Cell::Json(json) => match json.as_bytes().first() {
            Some(b'"') => unescaped(json)?,
            Some(b'n') => return Ok(None),
            Some(b'{' | b'[') => {
                return Err(BadField::new(Reason::BadType, "", "expected a single value"));
            }
            _ => Cow::Borrowed(json),
        },
    };
    Ok((!text.is_empty()).then_some(text))
}

/// The text that a JSON text stands for.
fn unescaped(json: &str) -> Result<Cow<'_, str>, BadField> {
    if !json.contains('\\') {
        return Ok(Cow::Borrowed(&json[1..json.len() - 1]));
    }
    serde_json::from_str::<String>(json).map(Cow::Owned).map_err(|error| {
        // Its place is counted from the value's beginning, and the value is named.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&place).unwrap_or(&message);
        BadField::new(Reason::BadJson, "", message)
    })
}

fn not_utf8(path: &str) -> BadField {
    BadField::new(Reason::BadValue, path, "is not UTF-8")
}

/// A value that is JSON, or a text that holds JSON; `None` for none, `null` and an empty one.
fn nested(cell: Cell<'_>) -> Result<Option<Cow<'_, str>>, BadField> {
    let text = match cell {
        Cell::Json(json) if json.starts_with(['{', '[']) => return Ok(Some(Cow::Borrowed(json))),
        cell => scalar(cell)?,
    };
    let Some(text) = text else { return Ok(None) };
    let raw: &RawValue = serde_json::from_str(&text)
        .map_err(|error| BadField::new(Reason::BadJson, "", error.to_string()))?;
    let is_null = raw.get() == "null";
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    Ok((!is_null).then_some(text))
}

fn time(cell: Cell<'_>, format: &TimeFormat) -> Result<Option<Micros>, BadField> {
    if let Cell::Time(time) = cell {
        return Ok(Some(time));
    }
    let Some(text) = scalar(cell)? else { return Ok(None) };
    let time = format.parse(text.trim());
    time.map(Some).map_err(|message| BadField::new(Reason::BadTime, "", message))
}

fn number(text: &str) -> Result<f64, BadField> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        BadField::new(Reason::BadType, "", format!("`{shown}` is not a number"))
    })
}

fn whole(column: Whole, text: &str) -> Result<i64, BadField> {
    let number = number(text)?;
    if number.abs() <= EXACT_MAX {
        return Ok(number.round() as i64);
    }
    let message = format!("{number} is out of range for `{}`", column.name());
    Err(BadField::new(Reason::BadValue, "", message))
}

fn money(text: &str) -> Result<Money, BadField> {
    let units = number(text)?;
    Money::from_units(units).ok_or_else(|| {
        BadField::new(Reason::BadValue, "", format!("{units} is out of range for money"))
    })
}

fn owned(item: Item<'_>) -> Item<'static> {
    let text = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
    Item {
        item_id: text(item.item_id),
        item_name: text(item.item_name),
        item_brand: text(item.item_brand),
        item_category: text(item.item_category),
        item_variant: text(item.item_variant),
        price: item.price,
        quantity: item.quantity,
    }
}

/// What has no column, on its way to `properties`.
#[derive(Default)]
struct RestOf<'a> {
    /// The source's own properties.
    object: Option<Cow<'a, str>>,
    /// `"name":value` of the others, with commas between.
    others: Vec<u8>,
}

impl<'a> RestOf<'a> {
    /// An absent or empty value is left out.
    fn push(&mut self, name: &str, cell: Cell<'_>) -> Result<(), BadField> {
        match cell {
            Cell::Null | Cell::Text("") => {}
            Cell::Text(text) => {
                self.push_name(name);
                write_text(text, &mut self.others);
            }
            Cell::Time(time) => {
                self.push_name(name);
                write_text(&time.to_string(), &mut self.others);
            }
            Cell::Bytes(_) => return Err(not_utf8(name)),
            Cell::Json(json) => {
                check_raw(json).map_err(|message| BadField::new(Reason::BadJson, name, message))?;
                self.push_json(name, json);
            }
        }
        Ok(())
    }

    fn push_json(&mut self, name: &str, json: &str) {
        self.push_name(name);
        self.others.extend_from_slice(json.as_bytes());
    }

    fn push_name(&mut self, name: &str) {
        if !self.others.is_empty() {
            self.others.push(b',');
        }
        write_text(name, &mut self.others);
        self.others.push(b':');
    }

    fn into_object(mut self) -> Option<Cow<'a, str>> {
        let object = self.object.filter(|object| object.len() > "{}".len());
        if self.others.is_empty() {
            return object;
        }
        let mut json = vec![b'{'];
        let inner = object.as_ref().map_or("", |object| object[1..object.len() - 1].trim());
        if !inner.is_empty() {
            json.extend_from_slice(inner.as_bytes());
            json.push(b',');
        }
        json.append(&mut self.others);
        json.push(b'}');
        let json = String::from_utf8(json);
        debug_assert!(json.is_ok(), "it is made of texts");
        json.ok().map(Cow::Owned)
    }
}
