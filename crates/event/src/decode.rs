//! The log's event records to Arrow: one pass over the JSON, straight into columns.
//!
//! Written by hand, because everything that Footfall reads passes here: arrow-json took about twice
//! the time (it builds a tape of each row first). A test holds the two against each other.

mod builders;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use arrow::array::RecordBatch;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::columns::InOrder;
use crate::parse::PlainText;
use crate::{Column, Event, Item, Micros, Money, Offset, Partition, Text, Times, Whole};
use builders::{Builders, Repeated, RowTimes};

/// What is wrong with a record whose `column` is a time outside [`TIME_RANGE`](crate::TIME_RANGE).
pub fn beyond_readers(column: &str) -> String {
    format!("`{column}` is not within the years 1 to 9999 of UTC")
}

/// A record that is not an event's: what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("not an event's record: {0}")]
pub struct DecodeError(serde_json::Error);

/// Collects records of one partition as rows of the `events` schema.
pub struct EventDecoder {
    builders: Builders,
}

/// Rows decoded together.
pub struct Decoded {
    /// The schema of `events`; `session_id`, `late` and `overflow` are NULL until the fold settles
    /// them.
    pub rows: RecordBatch,
    /// Each row's `sent_at`, which no table keeps.
    pub sent_at: Vec<Option<Micros>>,
    /// Whether each row's event was replayed, which no table keeps either.
    pub replayed: Vec<bool>,
}

impl EventDecoder {
    /// `log` is the topic's name, a column of every row.
    pub fn new(log: &str, partition: Partition) -> EventDecoder {
        EventDecoder { builders: Builders::new(log, partition) }
    }

    pub fn len(&self) -> usize {
        self.builders.rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for so many rows, which will be much like those of the batch before; there may be
    /// more of them, or less.
    pub fn expect(&mut self, rows: usize) {
        self.builders.expect(rows);
    }

    /// Appends one row.
    ///
    /// # Errors
    /// When `record` is no JSON object with texts and numbers where the columns want them, lacks
    /// `event_id`, `site`, `event_name`, `event_time` or `received_time`, or has a time beyond
    /// [`TIME_RANGE`](crate::TIME_RANGE); no row is added then.
    pub fn push(
        &mut self,
        record: &[u8],
        offset: Offset,
        append_time: Micros,
    ) -> Result<(), DecodeError> {
        // At once, which is faster than text by text.
        let text = simdutf8::compat::from_utf8(record).map_err(serde_json::Error::custom);
        match text.and_then(|text| self.read(text)) {
            Ok(()) => {
                self.builders.end_row(offset, Some(append_time));
                Ok(())
            }
            Err(error) => {
                self.builders.discard_row();
                Err(DecodeError(error))
            }
        }
    }

    fn read(&mut self, record: &str) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(record);
        RowSeed { builders: &mut self.builders }.deserialize(&mut json)?;
        json.end()?;
        if let Some(column) = self.builders.missing() {
            return Err(serde_json::Error::custom(format!("`{column}` is missing")));
        }
        match self.builders.times.unreadable() {
            Some(column) => Err(serde_json::Error::custom(beyond_readers(column))),
            None => Ok(()),
        }
    }

    /// Appends a checked event, which has an id, as the row that its record would become.
    /// `append_time` is `None` for what no log holds.
    pub fn push_event(
        &mut self,
        event: &Event<'_>,
        times: Times,
        offset: Offset,
        append_time: Option<Micros>,
    ) {
        let pushed = self.push_columns(event);
        debug_assert!(pushed.is_ok(), "an event has each column once");
        self.builders.times = RowTimes {
            event_time: Some(times.event_time),
            client_time: event.client.timestamp,
            received_time: Some(times.received_time),
            sent_at: event.client.sent_at,
            is_replayed: event.is_replayed,
        };
        debug_assert_eq!(self.builders.missing(), None, "a checked event with an id lacks nothing");
        self.builders.end_row(offset, append_time);
    }

    fn push_columns(&mut self, event: &Event<'_>) -> Result<(), Repeated> {
        let builders = &mut self.builders;
        for column in Text::ALL {
            event.text(*column).map_or(Ok(()), |text| builders.text(*column, text))?;
        }
        for column in Whole::ALL {
            event.whole(*column).map_or(Ok(()), |whole| builders.whole(*column, whole))?;
        }
        event.cls.map_or(Ok(()), |cls| builders.cls(cls))?;
        event.value.map_or(Ok(()), |value| builders.value(value))?;
        event.properties.as_deref().map_or(Ok(()), |json| builders.properties(json))?;
        if event.items.is_empty() { Ok(()) } else { builders.items(&event.items) }
    }

    /// The rows so far, in the order of `push`; the decoder is empty afterwards.
    pub fn finish(&mut self) -> Decoded {
        self.builders.finish()
    }
}

/// The column that a key names, if it names one.
struct KeySeed<'o>(&'o mut InOrder);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<Column>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Column>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<Column>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a column's name")
    }
    fn visit_str<E>(self, name: &str) -> Result<Option<Column>, E> {
        Ok(self.0.named(name))
    }
}

struct RowSeed<'b> {
    builders: &'b mut Builders,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event's record: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let builders = self.builders;
        let mut columns = InOrder::default();
        while let Some(column) = map.next_key_seed(KeySeed(&mut columns))? {
            match column {
                Some(Column::Text(column)) => {
                    builders.text(column, &map.next_value_seed(PlainText)?)
                }
                Some(Column::Whole(column)) => builders.whole(column, map.next_value()?),
                Some(Column::Cls) => builders.cls(map.next_value()?),
                Some(Column::Value) => builders.value(amount(map.next_value()?)?),
                Some(Column::Items) => {
                    let items: Vec<RecordItem<'_>> = map.next_value()?;
                    builders.items(items.into_iter().map(RecordItem::into_item))
                }
                Some(Column::Properties) => {
                    let raw: &RawValue = map.next_value()?;
                    builders.properties(raw.get())
                }
                column => {
                    let times = &mut builders.times;
                    match column {
                        Some(Column::EventTime) => times.event_time = Some(map.next_value()?),
                        Some(Column::ClientTime) => times.client_time = Some(map.next_value()?),
                        Some(Column::ReceivedTime) => times.received_time = Some(map.next_value()?),
                        Some(Column::SentAt) => times.sent_at = Some(map.next_value()?),
                        Some(Column::Replayed) => times.is_replayed = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                    Ok(())
                }
            }
            .map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

fn amount<E: serde::de::Error>(units: f64) -> Result<Money, E> {
    Money::from_units(units).ok_or_else(|| E::custom(format!("{units} is out of range for money")))
}

#[derive(serde::Deserialize)]
struct RecordItem<'a> {
    #[serde(borrow, default)]
    item_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    item_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    item_brand: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    item_category: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    item_variant: Option<Cow<'a, str>>,
    #[serde(default)]
    price: Option<f64>,
    #[serde(default)]
    quantity: Option<f64>,
}

impl<'a> RecordItem<'a> {
    fn into_item(self) -> Item<'a> {
        Item {
            item_id: self.item_id,
            item_name: self.item_name,
            item_brand: self.item_brand,
            item_category: self.item_category,
            item_variant: self.item_variant,
            price: self.price.and_then(Money::from_units),
            quantity: self.quantity,
        }
    }
}
