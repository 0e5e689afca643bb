//! The row that a refused event or body leaves in the log.

use std::borrow::Cow;
use std::ops::Range;

use footfall_event::{BadField, Limits, Micros, Reason, Rejection, check_site, rejected_payload};
use sha2::{Digest, Sha256};

use crate::protocol::Names;

/// Longest path and message of a bad field that are kept and answered: both may quote the client.
const FIELD_BYTES_MAX: usize = 512;

/// What was refused, whole or its beginning.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    first: &'a [u8],
    bytes: u64,
    sha256: Option<[u8; 32]>,
}

impl<'a> Payload<'a> {
    pub fn whole(payload: &'a [u8]) -> Payload<'a> {
        Payload { first: payload, bytes: payload.len() as u64, sha256: None }
    }

    /// As far as it is there.
    pub fn first(&self) -> &'a [u8] {
        self.first
    }

    /// The same, of which nothing may be kept: its size and its digest tell it from others.
    pub fn untold(self) -> Payload<'static> {
        let sha256 = self.sha256.unwrap_or_else(|| Sha256::digest(self.first).into());
        Payload { first: &[], bytes: self.bytes, sha256: Some(sha256) }
    }

    /// Of a payload of `bytes`, of which only the beginning is there.
    pub fn begins(first: &'a [u8], bytes: u64, sha256: [u8; 32]) -> Payload<'a> {
        Payload { first, bytes, sha256: Some(sha256) }
    }
}

/// Makes the row. Its id is the event's own, else the SHA-256 of the payload; names that break
/// their own bounds are left out, so that a row is always small.
pub fn rejection(
    bad: &BadField,
    payload: &Payload<'_>,
    names: Names<'_>,
    site: &str,
    keys: &[&str],
    limits: &Limits,
    received: Micros,
) -> Rejection {
    let fits = |id: &Cow<'_, str>| !id.is_empty() && id.len() <= limits.id_bytes_max;
    let digest = || payload.sha256.unwrap_or_else(|| Sha256::digest(payload.first).into());
    let event_id = names.event_id.filter(fits).map(Cow::into_owned);
    let own_site = names.site.filter(|site| check_site(site).is_ok());
    Rejection {
        id: event_id.unwrap_or_else(|| hex::encode(digest())),
        site: own_site.map_or_else(|| site.to_owned(), Cow::into_owned),
        visitor_id: names.visitor_id.filter(fits).map(Cow::into_owned),
        reason: bad.reason.code().to_owned(),
        field: bad.to_string(),
        payload: without_keys(&rejected_payload(payload.first), keys),
        payload_bytes: payload.bytes as i64,
        received_time: received,
    }
}

/// A bad field whose texts are cut to what is kept of them.
pub fn cut(mut bad: BadField) -> BadField {
    for text in [&mut bad.path, &mut bad.message] {
        text.truncate(text.floor_char_boundary(FIELD_BYTES_MAX));
    }
    bad
}

/// The same without its message, which may quote what may not be kept.
pub fn unquoted(bad: &BadField) -> BadField {
    match bad.reason {
        Reason::NoConsent => bad.clone(),
        _ => BadField::new(bad.reason, bad.path.clone(), "is not told without consent"),
    }
}

/// A text without the write keys that stand behind these names, be it JSON, cut, or of another form: they are credentials.
fn without_keys(text: &str, keys: &[&str]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let next = |rest: &str| {
        let found = keys.iter().filter_map(|name| Some((rest.find(name)?, name.len())));
        found.min()
    };
    while let Some((at, name_bytes)) = next(rest) {
        let after = &rest[at + name_bytes..];
        let value = value_in(after);
        shown.push_str(&rest[..at + name_bytes + value.start]);
        rest = &after[value.end..];
    }
    shown.push_str(rest);
    shown
}

/// Where the value stands in what follows its name: a text in quotes, one whose quotes are escaped, as
/// in JSON within JSON, or one without, as in a form. Empty where there is none.
fn value_in(after: &str) -> Range<usize> {
    let is_around = |letter: char| letter.is_whitespace() || "\"'\\".contains(letter);
    let sign = after.trim_start_matches(is_around);
    let Some(value) = sign.strip_prefix([':', '=']).map(str::trim_start) else { return 0..0 };
    let unescaped = value.strip_prefix('\\');
    let value = unescaped.unwrap_or(value);
    let quote = value.chars().next().filter(|letter| "\"'".contains(*letter));
    let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
    let mut is_escaped = false;
    let is_end = |letter: char| match quote {
        None => letter.is_whitespace() || "&,;}]".contains(letter),
        Some(_) if unescaped.is_some() => letter == '\\',
        Some(quote) => {
            let is_end = letter == quote && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        }
    };
    let start = after.len() - value.len();
    start..start + value.find(is_end).unwrap_or(value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(payload: &[u8], names: Names<'_>) -> Rejection {
        let bad = BadField::new(Reason::BadJson, "body", "is bad");
        let limits = Limits::default();
        let (payload, keys) = (Payload::whole(payload), ["writeKey", "\"aid\""]);
        rejection(&bad, &payload, names, "shop", &keys, &limits, Micros(7))
    }

    #[test]
    fn a_payload_is_cut_and_its_size_is_told() {
        let row = row(&[0xff; 20_000], Names::default());
        assert_eq!((row.payload.len(), row.payload_bytes), (16_383, 20_000));
        assert_eq!(row.id, hex::encode(Sha256::digest([0xff; 20_000])));
        assert_eq!(row.field, "body: is bad");
    }

    #[test]
    fn names_beyond_their_bounds_are_left_out() {
        let long = "x".repeat(513);
        let names = Names {
            event_id: Some(long.as_str().into()),
            visitor_id: Some(long.as_str().into()),
            site: Some("not a site".into()),
        };
        let row = row(b"p", names);
        assert_eq!((row.id.len(), row.visitor_id, row.site.as_str()), (64, None, "shop"));
    }

    #[test]
    fn a_write_key_is_blanked_wherever_it_stands() {
        for (payload, shown) in [
            (r#"{"event":1,"writeKey":"WK_A"}"#, r#"{"event":1,"writeKey":""}"#),
            (r#"{"writeKey" : "WK_A", "b":"WK"}"#, r#"{"writeKey" : "", "b":"WK"}"#),
            (r#"{"writeKey":"a \"WK_A\" b","c":1}"#, r#"{"writeKey":"","c":1}"#),
            (
                r#"[{"writeKey":"WK_A"},{"writeKey":"WK_B"}]"#,
                r#"[{"writeKey":""},{"writeKey":""}]"#,
            ),
            (r#""{\"writeKey\":\"WK_A\",\"b\":1}""#, r#""{\"writeKey\":\"\",\"b\":1}""#),
            (r#"{"writeKey":"WK_A"#, r#"{"writeKey":""#),
            ("{writeKey: 'WK_A', b", "{writeKey: '', b"),
            ("a=1&writeKey=WK_A&b=2", "a=1&writeKey=&b=2"),
            (r#"{"e":"pv","aid":"WK_A","tv":"js"}"#, r#"{"e":"pv","aid":"","tv":"js"}"#),
            (r#"{"said":"so"}"#, r#"{"said":"so"}"#),
            (r#"{"writeKey":"","b":"c"}"#, r#"{"writeKey":"","b":"c"}"#),
            (r#"["writeKey","b"]"#, r#"["writeKey","b"]"#),
            ("writeKey", "writeKey"),
        ] {
            assert_eq!(row(payload.as_bytes(), Names::default()).payload, shown);
        }
    }
}
