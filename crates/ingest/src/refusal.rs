//! The row that a refused event or body leaves in the log.

use std::borrow::Cow;

use footfall_event::{BadField, Limits, Micros, REJECTED_PAYLOAD_BYTES_MAX, Rejection, check_site};
use sha2::{Digest, Sha256};

use crate::protocol::Names;

/// Longest path and message of a bad field that are kept and answered: both may quote the client.
const FIELD_BYTES_MAX: usize = 512;

/// What was refused, whole or its beginning.
pub struct Payload<'a> {
    first: &'a [u8],
    bytes: u64,
    sha256: Option<[u8; 32]>,
}

impl<'a> Payload<'a> {
    pub fn whole(payload: &'a [u8]) -> Payload<'a> {
        Payload { first: payload, bytes: payload.len() as u64, sha256: None }
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
        payload: shown(payload.first),
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

/// The beginning of a payload as text; bytes that are no UTF-8 become U+FFFD.
fn shown(payload: &[u8]) -> String {
    let first = &payload[..payload.len().min(REJECTED_PAYLOAD_BYTES_MAX)];
    let mut text = String::from_utf8_lossy(first).into_owned();
    text.truncate(text.floor_char_boundary(REJECTED_PAYLOAD_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use footfall_event::Reason;

    use super::*;

    fn row(payload: &[u8], names: Names<'_>) -> Rejection {
        let bad = BadField::new(Reason::BadJson, "body", "is bad");
        let limits = Limits::default();
        rejection(&bad, &Payload::whole(payload), names, "shop", &limits, Micros(7))
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
}
