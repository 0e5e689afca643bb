//! A JSON object as its fields in order, their values as they are written: so that what finds no
//! column is passed on to the letter.

use std::borrow::Cow;
use std::marker::PhantomData;

use footfall_event::{Micros, Money, TIME_RANGE, write_text};
use hashbrown::HashSet;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// So many names are sooner compared with each other than hashed; most objects have fewer than half of them.
const COMPARED_MAX: usize = 24;

/// Names and raw values, in the order of the object. Of a repeated name the last counts, as in
/// JavaScript, and stands alone.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Fields<'a> {
    /// # Errors
    /// serde_json's, when `text` is not one JSON object.
    pub fn parse(text: &'a str) -> Result<Fields<'a>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The fields of an object but those of `names`, and what those hold, in one pass; `None` for each that is not there.
    ///
    /// # Errors
    /// serde_json's, also where one of `names` holds no `T`.
    pub fn parse_holding<T: Deserialize<'a>, const N: usize>(
        text: &'a str,
        names: [&str; N],
    ) -> Result<(Fields<'a>, [Option<T>; N]), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = json.deserialize_map(Holding { names, held: PhantomData })?;
        json.end().map(|()| parsed)
    }

    /// Of names and raw values in the order of their object.
    pub fn of(fields: Vec<(Cow<'a, str>, &'a str)>) -> Fields<'a> {
        Fields(fields).each_once()
    }

    /// The fields of an object, none of `null`, or `None` for any other value.
    pub fn of_object(raw: &'a str) -> Option<Fields<'a>> {
        if raw == "null" { Some(Fields::default()) } else { Fields::parse(raw).ok() }
    }

    /// Removes a field and gives its value.
    pub fn take(&mut self, name: &str) -> Option<&'a str> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(index).1)
    }

    /// Takes a field out if `fill` finds a place for its value.
    pub fn fill(&mut self, name: &str, mut fill: impl FnMut(&'a str) -> bool) {
        if let Some(index) = self.0.iter().position(|(key, raw)| key == name && fill(raw)) {
            self.0.remove(index);
        }
    }

    /// Keeps the fields for which `fill` finds no place.
    pub fn fill_each(&mut self, mut fill: impl FnMut(&str, &'a str) -> bool) {
        self.0.retain(|(key, raw)| !fill(key, raw));
    }

    fn each_once(mut self) -> Fields<'a> {
        if self.has_repeated() {
            let mut seen = HashSet::new();
            self.0.reverse();
            self.0.retain(|(key, _)| seen.insert(key.clone()));
            self.0.reverse();
        }
        self
    }

    fn has_repeated(&self) -> bool {
        if self.0.len() <= COMPARED_MAX {
            let is_before = |(at, (key, _)): (usize, &(Cow<'_, str>, _))| {
                self.0[..at].iter().any(|(other, _)| other == key)
            };
            return self.0.iter().enumerate().any(is_before);
        }
        let mut seen = HashSet::with_capacity(self.0.len());
        self.0.iter().any(|(key, _)| !seen.insert(key.as_ref()))
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(key, raw)| (key.as_ref(), *raw))
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields<'a>, D::Error> {
        let all = Holding::<IgnoredAny, 0> { names: [], held: PhantomData };
        from.deserialize_map(all).map(|(fields, [])| fields)
    }
}

/// Reads an object's fields, of which some hold a `T`.
struct Holding<'n, T, const N: usize> {
    names: [&'n str; N],
    held: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Holding<'_, T, N> {
    type Value = (Fields<'de>, [Option<T>; N]);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(COMPARED_MAX / 2);
        let mut held = [const { None }; N];
        while let Some(Text(key)) = map.next_key()? {
            match self.names.iter().position(|name| *name == key) {
                Some(index) => held[index] = Some(map.next_value()?),
                None => fields.push((key, map.next_value::<&RawValue>()?.get())),
            }
        }
        Ok((Fields::of(fields), held))
    }
}

/// A text that borrows where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A text as JSON.
pub fn json(text: &str) -> String {
    let mut json = Vec::with_capacity(text.len() + 2);
    write_text(text, &mut json);
    let json = String::from_utf8(json);
    debug_assert!(json.is_ok(), "it is made of a text");
    json.unwrap_or_default()
}

/// The text of a raw value that is one. Without an escape it is what stands between its quotes: the parser that found the
/// value has looked at all else.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?;
    match inner.strip_suffix('"').filter(|inner| !inner.as_bytes().contains(&b'\\')) {
        Some(inner) => Some(Cow::Borrowed(inner)),
        None => serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0),
    }
}

/// A text, or a number as it is written: shops send numeric ids.
pub fn id(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw)),
        _ => text(raw),
    }
}

pub fn number(raw: &str) -> Option<f64> {
    serde_json::from_str(raw).ok()
}

/// A number, or a text that holds one.
pub fn number_or_text(raw: &str) -> Option<f64> {
    match text(raw) {
        Some(text) => text.trim().parse().ok(),
        None => number(raw),
    }
}

/// A time in ms since 1970, as a number or as a text that holds one.
pub fn millis(raw: &str) -> Option<Micros> {
    let millis: i64 = id(raw)?.trim().parse().ok()?;
    millis.checked_mul(1_000).map(Micros).filter(|time| TIME_RANGE.contains(time))
}

/// An amount as a number, or as a text that holds one.
pub fn money(raw: &str) -> Option<Money> {
    number_or_text(raw).and_then(Money::from_units)
}

/// Most of what finds no column is smaller.
const OBJECT_BYTES: usize = 256;

/// Writes a JSON object field by field.
#[derive(Default)]
pub struct Object {
    json: Vec<u8>,
    names: HashSet<String>,
}

impl Object {
    /// `raw` is JSON already.
    pub fn push(&mut self, key: &str, raw: &str) {
        if self.json.capacity() == 0 {
            self.json.reserve(OBJECT_BYTES);
        }
        self.json.push(if self.json.is_empty() { b'{' } else { b',' });
        write_text(key, &mut self.json);
        self.json.push(b':');
        self.json.extend_from_slice(raw.as_bytes());
    }

    /// As `push`, under a name that nothing has yet: with `prefix` before it where it is taken.
    pub fn push_new(&mut self, key: &str, prefix: &str, raw: &str) {
        let mut name = key.to_owned();
        while self.names.contains(&name) {
            name.insert_str(0, prefix);
        }
        self.push(&name, raw);
        self.names.insert(name);
    }

    /// `None` if nothing was pushed.
    pub fn finish(mut self) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        self.json.push(b'}');
        let json = String::from_utf8(self.json);
        debug_assert!(json.is_ok(), "it is made of texts");
        json.ok()
    }
}
