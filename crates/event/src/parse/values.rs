//! How single values of a client's JSON are read: texts, numbers, amounts, times, items.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::parse_time;
use crate::{Item, Micros, Money};

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
    ($seed:ident => $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = Option<$value>;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_any(self)
            }
        }
    };
}

pub(super) struct TextSeed {
    pub numbers: bool,
}
nullable_seed!(TextSeed => Cow<'de, str>);

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.numbers { "a text or a number" } else { "a text" })
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
        if self.numbers { Ok(Some(number.to_string().into())) } else { Err(wrong(number, &self)) }
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        if self.numbers { Ok(Some(number.to_string().into())) } else { Err(wrong(number, &self)) }
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        if self.numbers { Ok(Some(number.to_string().into())) } else { Err(wrong(number, &self)) }
    }
}

fn wrong<E: serde::de::Error>(number: impl std::fmt::Display, wanted: &TextSeed) -> E {
    let number = format!("number `{number}`");
    E::invalid_type(serde::de::Unexpected::Other(&number), wanted)
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
pub(super) struct MoneySeed;
nullable_seed!(MoneySeed => Money);

impl MoneySeed {
    fn amount<E: serde::de::Error>(units: f64) -> Result<Option<Money>, E> {
        let amount = Money::from_units(units);
        amount.map(Some).ok_or_else(|| E::custom(format!("{units} is out of range for money")))
    }
}

impl Visitor<'_> for MoneySeed {
    type Value = Option<Money>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an amount of money, a number")
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Self::amount(number)
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Self::amount(number as f64)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Self::amount(number as f64)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.trim() {
            "" => Ok(None),
            trimmed => trimmed
                .parse()
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
                .and_then(Self::amount),
        }
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

pub(super) struct TimeSeed;
nullable_seed!(TimeSeed => Micros);

impl Visitor<'_> for TimeSeed {
    type Value = Option<Micros>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time as text, such as \"2026-11-22T10:00:00.000000Z\"")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        parse_time(text).map(Some).map_err(E::custom)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A list of items; tells where it failed and whether an item held a key that has no column.
pub(super) struct ItemsSeed<'p> {
    pub bad_path: &'p mut String,
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
            *self.bad_path = format!("[{}]", items.len());
            match seq.next_element_seed(ItemSeed { list: self })? {
                Some(item) => items.push(item),
                None => return Ok(items),
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
            match read_item_field(&mut item, &key, &mut map) {
                Ok(known) => self.list.has_unknown |= !known,
                Err(error) => {
                    self.list.bad_path.push('.');
                    self.list.bad_path.push_str(&key);
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
) -> Result<bool, A::Error> {
    match key {
        "item_id" => item.item_id = map.next_value_seed(TextSeed { numbers: true })?,
        "item_name" => item.item_name = map.next_value_seed(TextSeed { numbers: false })?,
        "item_brand" => item.item_brand = map.next_value_seed(TextSeed { numbers: false })?,
        "item_category" => item.item_category = map.next_value_seed(TextSeed { numbers: false })?,
        "item_variant" => item.item_variant = map.next_value_seed(TextSeed { numbers: false })?,
        "price" => item.price = map.next_value_seed(MoneySeed)?,
        "quantity" => item.quantity = map.next_value_seed(NumberSeed)?,
        _ => {
            map.next_value::<serde::de::IgnoredAny>()?;
            return Ok(false);
        }
    }
    Ok(true)
}
