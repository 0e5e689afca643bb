//! Identifiers: places in the log, sessions, the key by which resent events are recognised, and the
//! partition a visitor's records go to.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// A record's place within its partition, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition of the event log, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Partition(pub i32);

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A session: the first 128 bits of SHA-256 over site, visitor and id of its first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// The length of an id as text.
    pub const TEXT_BYTES: usize = 32;

    /// Each part is preceded by its byte length, 4 bytes big-endian, so that no two triples collide
    /// by concatenation.
    pub fn new(site: &str, visitor_id: &str, first_event_id: &str) -> SessionId {
        let mut hash = Sha256::new();
        for part in [site, visitor_id, first_event_id] {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        SessionId(std::array::from_fn(|i| digest[i]))
    }

    /// The id as hex, written to `place`.
    pub fn text(self, place: &mut [u8; Self::TEXT_BYTES]) -> &str {
        let written = hex::encode_to_slice(self.0, place);
        debug_assert!(written.is_ok(), "the place has two bytes for each");
        std::str::from_utf8(place).unwrap_or_default()
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text(&mut [0; Self::TEXT_BYTES]))
    }
}

/// 128 bits that stand for (kind, site, visitor, id) of a record: equal for a record and its resend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventKey(pub u128);

impl EventKey {
    pub fn of_event(site: &str, visitor_id: Option<&str>, event_id: &str) -> EventKey {
        Self::of(0, site, visitor_id, event_id)
    }

    /// Rejected records are duplicates among themselves only.
    pub fn of_rejection(site: &str, visitor_id: Option<&str>, id: &str) -> EventKey {
        Self::of(1, site, visitor_id, id)
    }

    fn of(kind: u8, site: &str, visitor_id: Option<&str>, id: &str) -> EventKey {
        let visitor = visitor_id.unwrap_or("");
        let length = |part: &str| (part.len() as u32).to_be_bytes();
        let parts: [&[u8]; 7] = [
            &[kind, u8::from(visitor_id.is_some())],
            &length(site),
            site.as_bytes(),
            &length(visitor),
            visitor.as_bytes(),
            &length(id),
            id.as_bytes(),
        ];
        EventKey(in_one_piece(&parts, xxh3_128))
    }
}

/// 64 bits that tell visitors apart in a hash table; equal ones must be compared.
pub fn visitor_hash(site: &str, visitor_id: &str) -> u64 {
    in_one_piece(&[site.as_bytes(), &[0], visitor_id.as_bytes()], xxh3_64)
}

/// Hashes `parts` as one text, copied together on the stack where they are short: to hash a short text
/// in pieces costs several times as much.
fn in_one_piece<H>(parts: &[&[u8]], hash: impl FnOnce(&[u8]) -> H) -> H {
    let mut short = [0; 256];
    let length = parts.iter().map(|part| part.len()).sum();
    let Some(text) = short.get_mut(..length) else { return hash(&parts.concat()) };
    let mut rest = &mut *text;
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    hash(text)
}

/// The partition of (site, visitor), or of (site, id) for a record without a visitor: Kafka's
/// murmur2 over `site`, a zero byte and the second part, so that both logs agree.
pub fn partition_of(site: &str, visitor_or_id: &str, partitions: u32) -> Partition {
    let hash = in_one_piece(&[site.as_bytes(), &[0], visitor_or_id.as_bytes()], murmur2);
    Partition(((hash & 0x7fff_ffff) % partitions) as i32)
}

/// MurmurHash2 with the seed and shifts of Kafka's default partitioner.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ bytes.len() as u32;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Apache Kafka's own UtilsTest.testMurmur2.
    #[test]
    fn murmur2_agrees_with_kafka() {
        let vectors: [(&str, i32); 5] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (text, expected) in vectors {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    /// Computed by another program: visitors must not move from one version to the next.
    #[test]
    fn visitors_stay_in_their_partitions() {
        let ends = [("a", -1_563_381_124), ("12345", -1_188_365_604), ("1234567", -605_210_426)];
        for (text, expected) in ends {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
        let places = [("shop", "v2", 7, 6), ("ab", "c", 3, 1), ("outlet", "v1", 7, 4)];
        for (site, visitor, partitions, expected) in places {
            assert_eq!(partition_of(site, visitor, partitions), Partition(expected), "{visitor}");
        }
    }

    #[test]
    fn a_session_id_does_not_depend_on_where_its_parts_meet() {
        assert_ne!(SessionId::new("ab", "c", "d"), SessionId::new("a", "bc", "d"));
        assert_eq!(SessionId::new("a", "b", "c").to_string().len(), 32);
    }

    /// Snapshots keep keys: they must not change from one version to the next.
    #[test]
    fn a_key_is_the_hash_of_its_parts_however_long() {
        for length in [1, 200, 300] {
            let id = "é".repeat(length);
            let mut hash = xxhash_rust::xxh3::Xxh3::new();
            hash.update(&[0, 1]);
            for part in ["shop", "v", &id] {
                hash.update(&(part.len() as u32).to_be_bytes());
                hash.update(part.as_bytes());
            }
            assert_eq!(EventKey::of_event("shop", Some("v"), &id).0, hash.digest128(), "{length}");
        }
    }

    #[test]
    fn a_rejected_and_an_accepted_record_never_share_a_key() {
        let event = EventKey::of_event("s", Some("v"), "1");
        assert_ne!(event, EventKey::of_rejection("s", Some("v"), "1"));
        assert_ne!(event, EventKey::of_event("s", None, "1"));
        assert_eq!(event, EventKey::of_event("s", Some("v"), "1"));
    }
}
