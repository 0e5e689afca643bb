//! How single values of a client's JSON are read: texts, numbers, amounts, times, items.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Fault, parse_time, without_position};
use crate::{Item, Micros, Money, Reason};

/// A text that borrows from the input where it has no escapes.
pub(crate) struct PlainText;

impl<'de> DeserializeSeed<'de> for PlainText {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for PlainText {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

/// Implements a seed whose value may be `null`, over `deserialize_any`.
macro_rules! nullable_seed {
    ($seed:ty => $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = Option<$value>;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_any(self)
            }
        }
    };
}

pub(super) struct TextSeed;
nullable_seed!(TextSeed => Cow<'de, str>);

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Err(wrong(number))
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Err(wrong(number))
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Err(wrong(number))
    }
}

fn wrong<E: serde::de::Error>(number: impl std::fmt::Display) -> E {
    let number = format!("number `{number}`");
    E::invalid_type(serde::de::Unexpected::Other(&number), &TextSeed)
}

/// An identifier: a text, or a number as it is written. Ids of more digits than a float has would
/// else become one another.
pub(super) struct IdSeed<'r>(pub &'r mut Option<Reason>);

impl<'de> DeserializeSeed<'de> for IdSeed<'_> {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(from)?.get();
        match raw.as_bytes() {
            [b'-' | b'0'..=b'9', ..] => return Ok(Some(Cow::Borrowed(raw))),
            [b'"', text @ .., b'"'] if !text.contains(&b'\\') => {
                return Ok(Some(Cow::Borrowed(&raw[1..raw.len() - 1])));
            }
            _ => {}
        }
        let mut json = serde_json::Deserializer::from_str(raw);
        json.deserialize_any(IdText).map_err(|error| {
            if error.classify() != serde_json::error::Category::Data {
                *self.0 = Some(Reason::BadJson);
            }
            D::Error::custom(without_position(&error))
        })
    }
}

/// What an id may be besides its plain forms: a text with escapes, or `null`.
struct IdText;

impl<'de> Visitor<'de> for IdText {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or a number")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

pub(super) struct NumberSeed;
nullable_seed!(NumberSeed => f64);

impl Visitor<'_> for NumberSeed {
    type Value = Option<f64>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number")
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// An amount as a number, or as text, as shops that avoid floating point send it.
pub(super) struct MoneySeed<'r>(pub &'r mut Option<Reason>);
nullable_seed!(MoneySeed<'_> => Money);

impl MoneySeed<'_> {
    fn amount<E: serde::de::Error>(self, units: f64) -> Result<Option<Money>, E> {
        let amount = Money::from_units(units);
        amount.map(Some).ok_or_else(|| {
            *self.0 = Some(Reason::BadValue);
            E::custom(format!("{units} is out of range for money"))
        })
    }
}

impl Visitor<'_> for MoneySeed<'_> {
    type Value = Option<Money>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an amount of money, a number")
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        self.amount(number)
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.amount(number as f64)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.amount(number as f64)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.trim() {
            "" => Ok(None),
            trimmed => match trimmed.parse() {
                Ok(units) => self.amount(units),
                Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            },
        }
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

pub(super) struct TimeSeed<'r>(pub &'r mut Option<Reason>);
nullable_seed!(TimeSeed<'_> => Micros);

impl Visitor<'_> for TimeSeed<'_> {
    type Value = Option<Micros>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time as text, such as \"2026-11-22T10:00:00.000000Z\"")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        parse_time(text).map(Some).map_err(|message| {
            *self.0 = Some(Reason::BadTime);
            E::custom(message)
        })
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A list of items; tells where it failed and whether an item held a key that has no column.
pub(super) struct ItemsSeed<'f> {
    pub fault: &'f mut Fault,
    pub has_unknown: bool,
}

impl<'de> DeserializeSeed<'de> for &mut ItemsSeed<'_> {
    type Value = Vec<Item<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut ItemsSeed<'_> {
    type Value = Vec<Item<'de>>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of items")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.fault.path = format!("[{}]", items.len());
            match seq.next_element_seed(ItemSeed { list: self })? {
                Some(item) => items.push(item),
                None => {
                    self.fault.path.clear();
                    return Ok(items);
                }
            }
        }
    }
}

struct ItemSeed<'l, 'p> {
    list: &'l mut ItemsSeed<'p>,
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, '_> {
    type Value = Item<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_, '_> {
    type Value = Item<'de>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an item: a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
        let mut item = Item::default();
        while let Some(key) = map.next_key_seed(PlainText)? {
            match read_item_field(&mut item, &key, &mut map, &mut self.list.fault.reason) {
                Ok(known) => self.list.has_unknown |= !known,
                Err(error) => {
                    self.list.fault.path.push('.');
                    self.list.fault.path.push_str(&key);
                    return Err(error);
                }
            }
        }
        Ok(item)
    }
}

/// Whether `key` has a place in [`Item`].
fn read_item_field<'de, A: MapAccess<'de>>(
    item: &mut Item<'de>,
    key: &str,
    map: &mut A,
    reason: &mut Option<Reason>,
) -> Result<bool, A::Error> {
    match key {
        "item_id" => item.item_id = map.next_value_seed(IdSeed(reason))?,
        "item_name" => item.item_name = map.next_value_seed(TextSeed)?,
        "item_brand" => item.item_brand = map.next_value_seed(TextSeed)?,
        "item_category" => item.item_category = map.next_value_seed(TextSeed)?,
        "item_variant" => item.item_variant = map.next_value_seed(TextSeed)?,
        "price" => item.price = map.next_value_seed(MoneySeed(reason))?,
        "quantity" => item.quantity = map.next_value_seed(NumberSeed)?,
        _ => {
            map.next_value::<serde::de::IgnoredAny>()?;
            return Ok(false);
        }
    }
    Ok(true)
}
