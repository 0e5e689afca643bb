//! The clients' protocols: each turns a body into canonical events, and nothing else.
//! Keys, ids, checks and answers are left to the callers.

mod cloudevents;
mod events;
mod fields;
mod fill;
mod ga4;
mod pieces;
mod segment;
mod snowplow;
pub mod surrogates;
#[cfg(test)]
mod testing;

use std::borrow::Cow;

use footfall_event::{BadField, Event, Limits, Reason, parse_event};
use serde_json::value::RawValue;

use fields::Fields;
pub use ga4::Hits;
pub use segment::Call;
pub use snowplow::Unpacked;

/// A family of protocols: a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Events,
    Segment,
    Snowplow,
    Ga4,
    CloudEvents,
    /// Messages of another system's topic, which no request brings.
    Bridge,
}

impl Dialect {
    pub const ALL: [Dialect; 6] = [
        Dialect::Events,
        Dialect::Segment,
        Dialect::Snowplow,
        Dialect::Ga4,
        Dialect::CloudEvents,
        Dialect::Bridge,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Events => "events",
            Dialect::Segment => "segment",
            Dialect::Snowplow => "snowplow",
            Dialect::Ga4 => "ga4",
            Dialect::CloudEvents => "cloudevents",
            Dialect::Bridge => "bridge",
        }
    }

    /// How keys are called in a body, as a text that stands before their values.
    pub fn keys_in_body(self) -> &'static [&'static str] {
        match self {
            Dialect::Events | Dialect::Segment | Dialect::CloudEvents | Dialect::Bridge => {
                &["writeKey"]
            }
            // Its key stands in the query alone.
            Dialect::Ga4 => &[],
            Dialect::Snowplow => &["\"aid\""],
        }
    }
}

/// How the body of a path is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Footfall's own: an event, an array of events, or a line for each.
    Events,
    Segment(Call),
    Snowplow,
    /// The Measurement Protocol, and what gtag.js sends once it is put into the same form.
    Ga4,
    CloudEvents,
}

/// The events of a body, not looked into yet.
pub struct Split<'a> {
    /// May be none.
    pub pieces: Vec<Piece<'a>>,
    /// The path of what holds them.
    pub holder: &'static str,
    /// Were they sent as a batch, even if of one? A single event that is bad fails its request.
    pub is_batch: bool,
    /// A write key in the body that stands beside the events.
    pub key: Option<Cow<'a, str>>,
    /// The size of what is said beside the events, as it becomes part of each of them.
    pub beside_bytes: usize,
    /// What is said beside the events, of all of them.
    envelope: Fields<'a>,
    /// How many pieces before each are equal to it, where that tells ids apart.
    repeats: Vec<u32>,
}

impl<'a> Split<'a> {
    /// Of a body that holds events and says nothing else.
    fn of(pieces: Vec<Piece<'a>>, holder: &'static str, is_batch: bool) -> Split<'a> {
        Split {
            pieces,
            holder,
            is_batch,
            key: None,
            beside_bytes: 0,
            envelope: Fields::default(),
            repeats: Vec::new(),
        }
    }

    fn with_key(self, key: Option<Cow<'a, str>>) -> Split<'a> {
        Split { key, ..self }
    }

    fn beside(self, envelope: Fields<'a>) -> Split<'a> {
        // Quotes, a colon and a comma.
        const AROUND: usize = 4;
        let bytes = envelope.iter().map(|(key, raw)| key.len() + raw.len() + AROUND);
        Split { beside_bytes: bytes.sum(), envelope, ..self }
    }
}

/// One event's text, or its bytes where they are not UTF-8.
pub type Piece<'a> = Result<&'a str, &'a [u8]>;

/// What a bad event still says about itself.
#[derive(Default)]
pub struct Names<'a> {
    pub event_id: Option<Cow<'a, str>>,
    pub visitor_id: Option<Cow<'a, str>>,
    pub site: Option<Cow<'a, str>>,
}

impl Protocol {
    pub fn dialect(self) -> Dialect {
        match self {
            Protocol::Events => Dialect::Events,
            Protocol::Segment(_) => Dialect::Segment,
            Protocol::Snowplow => Dialect::Snowplow,
            Protocol::Ga4 => Dialect::Ga4,
            Protocol::CloudEvents => Dialect::CloudEvents,
        }
    }

    /// May a write key stand in the body?
    pub fn has_key_in_body(self) -> bool {
        matches!(self, Protocol::Segment(_) | Protocol::Snowplow)
    }

    /// A write key that stands in one of the events.
    pub fn key_in_events<'a>(self, pieces: &[Piece<'a>]) -> Option<Cow<'a, str>> {
        let name = match self {
            Protocol::Segment(Call::One(_)) => "writeKey",
            Protocol::Snowplow => snowplow::KEY,
            _ => return None,
        };
        let key_of = |text| Fields::parse(text).ok()?.take(name).and_then(fields::text);
        pieces.iter().find_map(|piece| key_of((*piece).ok()?))
    }

    /// Splits a body into at most `events_max` events, without looking into them.
    ///
    /// # Errors
    /// What keeps it from being split.
    pub fn split(self, body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
        match self {
            Protocol::Events => events::split(body, events_max),
            Protocol::Segment(call) => segment::split(call, body, events_max),
            Protocol::Snowplow => snowplow::split(body, events_max),
            Protocol::Ga4 => ga4::split(body, events_max),
            Protocol::CloudEvents => cloudevents::split(body, events_max),
        }
    }

    /// One event of a split body.
    ///
    /// # Errors
    /// The first field that does not fit, by its path in what the client sent.
    pub fn parse<'a>(
        self,
        text: &'a str,
        split: &Split<'a>,
        unpacked: &'a Unpacked,
        limits: &Limits,
    ) -> Result<Event<'a>, BadField> {
        match self {
            Protocol::Events => parse_event(text),
            Protocol::Segment(call) => segment::parse(call, text, &split.envelope, limits),
            Protocol::Snowplow => snowplow::parse(text, unpacked, limits),
            Protocol::Ga4 => ga4::parse(text, &split.envelope, limits),
            Protocol::CloudEvents => cloudevents::parse(text, limits),
        }
    }

    /// The id of parsed event number `index`, if what it and its body say tells it from all others.
    pub fn id_of(
        self,
        event: &Event<'_>,
        text: &str,
        split: &Split<'_>,
        index: usize,
    ) -> Option<String> {
        match self {
            Protocol::Ga4 => {
                let repeats = split.repeats.get(index).copied().unwrap_or(0);
                ga4::id_of(event, text, &split.envelope, repeats)
            }
            _ => None,
        }
    }

    /// One event as it is kept when it is refused: so that it can be understood by itself.
    pub fn alone<'p>(self, piece: Piece<'p>, split: &Split<'_>) -> Cow<'p, [u8]> {
        match (self, piece) {
            (Protocol::Ga4, Ok(text)) => Cow::Owned(ga4::alone(text, &split.envelope).into_bytes()),
            (_, piece) => Cow::Borrowed(piece.map_or_else(|bytes| bytes, str::as_bytes)),
        }
    }

    /// What came in a query as the body that it stands for.
    pub fn body_of_query(self, query: &str) -> String {
        match self {
            Protocol::Snowplow => snowplow::of_query(query),
            _ => query.to_owned(),
        }
    }

    /// What is wrong with a column of a parsed event, by the path of the field that filled it.
    pub fn rename(self, bad: BadField, text: &str) -> BadField {
        match self {
            Protocol::Events => bad,
            Protocol::Segment(call) => segment::rename(call, bad, text),
            Protocol::Snowplow => snowplow::rename(bad, text),
            Protocol::Ga4 => ga4::rename(bad),
            Protocol::CloudEvents => cloudevents::rename(bad, text),
        }
    }

    /// What can be read of an event that could not be parsed.
    pub fn names<'a>(self, text: &'a str, split: &Split<'a>, limits: &Limits) -> Names<'a> {
        match self {
            Protocol::Snowplow => return snowplow::names(text),
            Protocol::Ga4 => return ga4::names(&split.envelope),
            Protocol::CloudEvents => return cloudevents::names(text, limits),
            Protocol::Events | Protocol::Segment(_) => {}
        }
        let Ok(mut fields) = Fields::parse(text) else { return Names::default() };
        let mut id = |name| fields.take(name).and_then(fields::id);
        match self {
            Protocol::Events => {
                Names { event_id: id("event_id"), visitor_id: id("visitor_id"), site: id("site") }
            }
            _ => Names { event_id: id("messageId"), visitor_id: id("anonymousId"), site: None },
        }
    }
}

/// By which path a payload came, as far as it tells: what names a `specversion` is a CloudEvent, an `event_name` Footfall's
/// own, a tracker's version Snowplow's; what holds `events` is GA4's, what has names of Segment's is one of its calls, and
/// else it is Footfall's.
pub fn form_of(payload: &str) -> Protocol {
    let Ok(fields) = Fields::parse(payload) else { return Protocol::Events };
    let has = |name| fields.get(name).is_some();
    match () {
        () if has("specversion") => Protocol::CloudEvents,
        () if has("event_name") => Protocol::Events,
        () if has("e") && ["tv", "eid", "aid", "duid"].into_iter().any(has)
            || has("schema") && has("data") =>
        {
            Protocol::Snowplow
        }
        () if has("events") => Protocol::Ga4,
        () if has("batch") => Protocol::Segment(Call::Batch),
        () if has("traits") => Protocol::Segment(Call::One("identify")),
        () if has("event") || has("messageId") || has("anonymousId") => {
            Protocol::Segment(Call::One("track"))
        }
        () => Protocol::Events,
    }
}

/// Text that is no JSON is told by line and column too: there may be no field to name.
pub fn place(bad: BadField, text: &str) -> BadField {
    let broken = serde_json::from_str::<&RawValue>(text).err();
    match broken {
        Some(error) if bad.reason == Reason::BadJson => {
            let path = if bad.path.is_empty() { "body".to_owned() } else { bad.path };
            BadField::new(Reason::BadJson, path, error.to_string())
        }
        _ => bad,
    }
}

fn bad_json(error: impl std::fmt::Display) -> BadField {
    BadField::new(Reason::BadJson, "body", error.to_string())
}

/// The body as text without a byte order mark and space around it.
fn text_of(body: &[u8]) -> Result<&str, BadField> {
    let text = std::str::from_utf8(body)
        .map_err(|error| bad_json(format!("is not UTF-8 from byte {} on", error.valid_up_to())))?;
    Ok(text.trim_start_matches('\u{feff}').trim())
}
