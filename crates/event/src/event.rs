//! The canonical event: what every protocol is turned into at the door.

use std::borrow::Cow;

use crate::{ClientTimes, Micros, Money, Text, Whole};

/// One event as a client meant it. Texts borrow from the request's body where they can.
///
/// Not yet checked: [`Event::check`](crate::Event::check) is, for the doors of all protocols.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    texts: [Option<Cow<'a, str>>; Text::ALL.len()],
    wholes: [Option<i64>; Whole::ALL.len()],
    pub cls: Option<f64>,
    pub value: Option<Money>,
    pub items: Vec<Item<'a>>,
    /// A JSON object of what has no column.
    pub properties: Option<Cow<'a, str>>,
    pub client: ClientTimes,
    /// Was it refused once, and taken when it was replayed? Then it may have been sent again since. So may what a topic
    /// gave without a time have been read before.
    pub is_replayed: bool,
}

/// A product within an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item<'a> {
    pub item_id: Option<Cow<'a, str>>,
    pub item_name: Option<Cow<'a, str>>,
    pub item_brand: Option<Cow<'a, str>>,
    pub item_category: Option<Cow<'a, str>>,
    pub item_variant: Option<Cow<'a, str>>,
    pub price: Option<Money>,
    pub quantity: Option<f64>,
}

/// When an event happened and was received, fixed once at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub event_time: Micros,
    pub received_time: Micros,
}

/// Bounds on one event, each answered by a rejection that names the field.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest text of an identifier or a name, in bytes.
    pub id_bytes_max: usize,
    /// Longest other text, in bytes.
    pub text_bytes_max: usize,
    pub items_max: usize,
    /// Oldest event time taken, counted from the time of receipt.
    pub max_age: Micros,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            id_bytes_max: 512,
            text_bytes_max: 8_192,
            items_max: 500,
            max_age: Micros(7 * Micros::DAY.0),
        }
    }
}

impl Default for Event<'_> {
    fn default() -> Self {
        Event {
            texts: [const { None }; Text::ALL.len()],
            wholes: [None; Whole::ALL.len()],
            cls: None,
            value: None,
            items: Vec::new(),
            properties: None,
            client: ClientTimes::default(),
            is_replayed: false,
        }
    }
}

impl<'a> Event<'a> {
    pub fn text(&self, column: Text) -> Option<&str> {
        self.texts[column as usize].as_deref()
    }

    /// Sets a text; an empty one counts as absent, as SDKs send `""` for what they do not know.
    pub fn set_text(&mut self, column: Text, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        self.texts[column as usize] = (!text.is_empty()).then_some(text);
    }

    pub fn whole(&self, column: Whole) -> Option<i64> {
        self.wholes[column as usize]
    }

    pub fn set_whole(&mut self, column: Whole, whole: impl Into<Option<i64>>) {
        self.wholes[column as usize] = whole.into();
    }
}
