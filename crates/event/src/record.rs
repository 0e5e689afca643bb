//! The JSON form of the log's records: an event with its times fixed, or a rejection.

use serde::{Deserialize, Serialize};

use crate::{Event, Item, Micros, Money, Text, Times, Whole};

/// How much of a refused payload is kept, in bytes.
pub const REJECTED_PAYLOAD_BYTES_MAX: usize = 16_384;

/// A refused event or body, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The event's id, else the hash of the payload: what resends are recognised by.
    pub id: String,
    pub site: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor_id: Option<String>,
    /// A code of [`Reason`](crate::Reason).
    pub reason: String,
    /// Path of the bad field and what is wrong with it.
    pub field: String,
    /// Cut at [`REJECTED_PAYLOAD_BYTES_MAX`].
    pub payload: String,
    pub payload_bytes: i64,
    pub received_time: Micros,
}

/// What is kept of a refused payload: its beginning, cut between characters; bytes that are no UTF-8
/// become U+FFFD.
pub fn rejected_payload(payload: &[u8]) -> String {
    // So many bytes more that a character which crosses the cut is whole.
    let end = payload.len().min(REJECTED_PAYLOAD_BYTES_MAX + 3);
    let mut text = String::from_utf8_lossy(&payload[..end]).into_owned();
    text.truncate(text.floor_char_boundary(REJECTED_PAYLOAD_BYTES_MAX));
    text
}

impl Event<'_> {
    /// Appends the event's record to `out`: its columns, `event_time`, `client_time`, `sent_at` and
    /// `received_time` as microseconds, and `replayed` where it was.
    pub fn write_record(&self, times: Times, out: &mut Vec<u8>) {
        // Each field is written behind a comma, and the first comma becomes the brace.
        let begin = out.len();
        for column in Text::ALL {
            if let Some(text) = self.text(*column) {
                out.extend_from_slice(column.key().as_bytes());
                write_text(text, out);
            }
        }
        for column in Whole::ALL {
            if let Some(whole) = self.whole(*column) {
                number(out, column.key(), whole);
            }
        }
        if let Some(cls) = self.cls {
            out.extend_from_slice(b",\"cls\":");
            json(out, &cls);
        }
        if let Some(value) = self.value {
            out.extend_from_slice(b",\"value\":");
            money(out, value);
        }
        if !self.items.is_empty() {
            out.extend_from_slice(b",\"items\":");
            items(out, &self.items);
        }
        if let Some(properties) = &self.properties {
            out.extend_from_slice(b",\"properties\":");
            out.extend_from_slice(properties.as_bytes());
        }
        number(out, ",\"event_time\":", times.event_time.0);
        if let Some(client_time) = self.client.timestamp {
            number(out, ",\"client_time\":", client_time.0);
        }
        if let Some(sent_at) = self.client.sent_at {
            number(out, ",\"sent_at\":", sent_at.0);
        }
        number(out, ",\"received_time\":", times.received_time.0);
        if self.is_replayed {
            out.extend_from_slice(b",\"replayed\":true");
        }
        out[begin] = b'{';
        out.push(b'}');
    }
}

/// Appends `text` as a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    if has_escaped(text.as_bytes()) {
        return json(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether JSON escapes a byte of these: a control, a quote or a backslash. Every text of every event passes here and most
/// have none, so that eight are looked at in one word: a byte that is less than what is taken from it borrows, which sets
/// its highest bit, and one that has that bit is no ASCII. serde_json's reader does likewise; the tests compare with it.
fn has_escaped(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let escaped = |word: u64| {
        let is_control = word.wrapping_sub(ONES * 0x20) & !word;
        let is_quote = is_zero(word ^ (ONES * u64::from(b'"')));
        (is_control | is_quote | is_zero(word ^ (ONES * u64::from(b'\\')))) & HIGHEST
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let last = match bytes.last_chunk::<8>() {
        // What is looked at twice is told no other.
        Some(last) => *last,
        None => std::array::from_fn(|i| rest.get(i).copied().unwrap_or(b' ')),
    };
    let any = words.iter().fold(0, |any, word| any | escaped(u64::from_ne_bytes(*word)));
    any | escaped(u64::from_ne_bytes(last)) != 0
}

fn items(out: &mut Vec<u8>, items: &[Item<'_>]) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'{');
        let texts = [
            ("item_id", &item.item_id),
            ("item_name", &item.item_name),
            ("item_brand", &item.item_brand),
            ("item_category", &item.item_category),
            ("item_variant", &item.item_variant),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                key(out, name);
                write_text(text, out);
            }
        }
        if let Some(price) = item.price {
            key(out, "price");
            money(out, price);
        }
        if let Some(quantity) = item.quantity {
            key(out, "quantity");
            json(out, &quantity);
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, key: &str, number: i64) {
    out.extend_from_slice(key.as_bytes());
    json(out, &number);
}

/// Amounts are written as decimals; fifteen digits and four places survive a reader's f64.
fn money(out: &mut Vec<u8>, amount: Money) {
    out.extend_from_slice(amount.to_string().as_bytes());
}

/// Writing JSON into memory fails only for keys that are no text, which none of ours are.
fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "texts and numbers are always JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_serde_json_writes_it() {
        let letters = (0..0x100).chain([0x2028, 0x1f600]).filter_map(char::from_u32);
        for letter in letters {
            for before in 0..20 {
                for after in 0..10 {
                    let text = format!("{}{letter}{}", "a".repeat(before), "b".repeat(after));
                    let mut written = Vec::new();
                    write_text(&text, &mut written);
                    assert_eq!(written, serde_json::to_vec(&text).unwrap(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_refused_payload_is_cut_between_characters() {
        let max = REJECTED_PAYLOAD_BYTES_MAX;
        assert_eq!(rejected_payload(&[b'a'; 20_000]), "a".repeat(max));
        for (before, letter) in
            [(max - 1, "\u{e9}"), (max - 1, "\u{1f600}"), (max - 3, "\u{1f600}")]
        {
            let text = format!("{}{letter}", "a".repeat(before));
            assert_eq!(rejected_payload(text.as_bytes()), "a".repeat(before), "{letter}");
        }
        let whole = format!("{}\u{e9}", "a".repeat(max - 2));
        assert_eq!(rejected_payload(format!("{whole}b").as_bytes()), whole);
        assert_eq!(rejected_payload(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(rejected_payload(&[0xff; 20_000]).len(), max - 1);
    }
}
