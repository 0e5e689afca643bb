//! What names a person: rows by site and visitor id, refused payloads by the id wherever it stands in
//! them.

use std::borrow::Cow;

use arrow::array::RecordBatch;
use footfall_event::{Rejection, write_text};
use footfall_log::Kind;
use serde::Deserialize;

use crate::scan::text_at;

/// An id of so many bytes stands in no text by chance; a shorter one counts where it is a word.
const UNMISTAKABLE_BYTES: usize = 16;

/// Who is to be erased.
#[derive(Clone, Debug)]
pub struct Person {
    site: String,
    visitor_id: String,
    /// The id as our JSON writes it, without the quotes.
    escaped: String,
}

/// Whose an event's record is.
#[derive(Deserialize)]
struct Whose<'r> {
    #[serde(borrow, default)]
    site: Cow<'r, str>,
    #[serde(borrow, default)]
    visitor_id: Option<Cow<'r, str>>,
}

impl Person {
    pub fn new(site: &str, visitor_id: &str) -> Person {
        let mut escaped = Vec::new();
        write_text(visitor_id, &mut escaped);
        let escaped = String::from_utf8_lossy(&escaped);
        let escaped = escaped.get(1..escaped.len() - 1).unwrap_or(visitor_id).to_owned();
        Person { site: site.to_owned(), visitor_id: visitor_id.to_owned(), escaped }
    }

    pub fn visitor_id(&self) -> &str {
        &self.visitor_id
    }

    /// Whether a row with `site` and `visitor_id` is the person's.
    pub fn has_row(&self, rows: &RecordBatch, row: usize) -> bool {
        text_at(rows, "visitor_id", row) == Some(&self.visitor_id)
            && text_at(rows, "site", row) == Some(&self.site)
    }

    /// Whether the text holds the id, plain or with escapes as JSON has them.
    pub fn is_named_in(&self, text: &str) -> bool {
        self.stands_in(text) || (text.contains('\\') && self.stands_in(&unescaped(text)))
    }

    /// As [`Person::is_named_in`], of bytes that need be no text, and without escapes.
    pub fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        let id = self.visitor_id.as_bytes();
        let goes_on = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        bytes.windows(id.len()).enumerate().any(|(at, window)| {
            window == id
                && (id.len() >= UNMISTAKABLE_BYTES
                    || !(goes_on(bytes[..at].last()) || goes_on(bytes.get(at + id.len()))))
        })
    }

    fn stands_in(&self, text: &str) -> bool {
        let id = self.visitor_id.as_str();
        if id.len() >= UNMISTAKABLE_BYTES {
            return text.contains(id);
        }
        let goes_on = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        text.match_indices(id).any(|(at, _)| {
            let (before, behind) = (&text[..at], &text[at + id.len()..]);
            !goes_on(before.chars().next_back()) && !goes_on(behind.chars().next())
        })
    }

    /// Whether a record of the log, or a signal, is the person's, or refuses what names them.
    pub fn is_record(&self, kind: Kind, payload: &[u8]) -> bool {
        match kind {
            Kind::Event => self.is_event(payload),
            Kind::Rejected => self.is_rejection(payload),
            Kind::Tick | Kind::Control => false,
        }
    }

    fn is_event(&self, payload: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(payload) else {
            return self.is_named_in(&String::from_utf8_lossy(payload));
        };
        match serde_json::from_str::<Whose<'_>>(text) {
            // Most records are not, which is seen without reading their JSON.
            _ if !text.contains(&self.escaped) && !self.is_named_in(text) => false,
            Ok(Whose { site, visitor_id }) => {
                site == self.site && visitor_id.is_some_and(|id| id == self.visitor_id)
            }
            Err(_) => true,
        }
    }

    fn is_rejection(&self, payload: &[u8]) -> bool {
        match serde_json::from_slice::<Rejection>(payload) {
            Ok(rejection) => {
                let is_theirs = rejection.site == self.site
                    && rejection.visitor_id.as_ref() == Some(&self.visitor_id);
                let texts = [&rejection.payload, &rejection.field, &rejection.id];
                is_theirs || texts.into_iter().any(|text| self.is_named_in(text))
            }
            Err(_) => self.is_named_in(&String::from_utf8_lossy(payload)),
        }
    }
}

/// The text with JSON's escapes undone, wherever they stand. What is no escape stays.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text;
    loop {
        let unit = rest.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        if let Some(unit) = unit.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            units.push(unit);
            rest = &rest[6..];
            continue;
        }
        out.extend(char::decode_utf16(units.drain(..)).map(|unit| unit.unwrap_or('\u{fffd}')));
        let mut letters = rest.chars();
        match (letters.next(), letters.clone().next()) {
            (None, _) => return out,
            (Some('\\'), Some(escaped)) if "\"\\/bfnrt".contains(escaped) => {
                out.push(match escaped {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                });
                rest = &rest[2..];
            }
            (Some(letter), _) => {
                out.push(letter);
                rest = letters.as_str();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{STARTED, TOPIC, at, decoded};

    fn named(id: &str, text: &str) -> bool {
        Person::new("shop", id).is_named_in(text)
    }

    #[test]
    fn an_id_is_found_however_json_writes_it() {
        assert!(named("a\"b/é😀", r#"{"visitor_id":"a\"b\/\u00e9\ud83d\ude00"}"#));
        assert!(named("v-1", r#"{"visitor_id":"\u0076-1"#));
        assert!(named("v-1", r#"{"u":"/x?v=v-1&y"}"#));
        assert!(!named("v-1", r"\u007"));
        assert_eq!(unescaped(r"a\q\\u0041\"), r"a\q\u0041\");
    }

    #[test]
    fn a_short_id_counts_as_a_word_and_a_long_one_anywhere() {
        for text in ["v-12", "av-1", "éxv-1", ""] {
            assert!(!named("v-1", text), "{text}");
        }
        assert!(named("v-1", "v-12 v-1"));
        assert!(named("0123456789abcdef", "x0123456789abcdefx"));
    }

    #[test]
    fn rows_are_the_persons_by_site_and_id() {
        let rows = decoded(TOPIC, &[&at(1, "a", "")], STARTED);
        for (site, visitor_id, is_theirs) in
            [("shop", "v", true), ("other", "v", false), ("shop", "w", false)]
        {
            let person = Person::new(site, visitor_id);
            assert_eq!(person.has_row(&rows, 0), is_theirs, "{site} {visitor_id}");
        }
    }

    #[test]
    fn records_are_the_persons_by_site_and_id() {
        let person = Person::new("shop", "v\"1");
        let event = |text: &str| person.is_record(Kind::Event, text.as_bytes());
        assert!(event(r#"{"site":"shop","visitor_id":"v\"1","event_name":"x"}"#));
        assert!(!event(r#"{"site":"other","visitor_id":"v\"1"}"#));
        assert!(!event(r#"{"site":"shop","visitor_id":"v2","page_url":"/v\"1"}"#));
        assert!(event("no JSON, and it names v\"1"));
        assert!(!event("no JSON"));
        let rejection = |visitor_id: Option<&str>, payload: &str| {
            let rejection = Rejection {
                id: "e".to_owned(),
                site: "shop".to_owned(),
                visitor_id: visitor_id.map(str::to_owned),
                reason: "missing".to_owned(),
                field: String::new(),
                payload: payload.to_owned(),
                payload_bytes: 1,
                received_time: footfall_event::Micros(0),
            };
            person.is_record(Kind::Rejected, &serde_json::to_vec(&rejection).unwrap())
        };
        assert!(rejection(Some("v\"1"), "cut"));
        assert!(rejection(None, r#"{"visitor_id":"v\"1"}"#));
        assert!(!rejection(Some("v2"), "{}"));
        assert!(!person.is_record(Kind::Control, b"v\"1"));
    }
}
