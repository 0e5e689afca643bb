//! Ids for rows that name none: the hash of site and row, and which of the load's equal rows it is.
//! What a row's bytes are is left to the formats.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

/// Bytes of a hash that become an id.
const ID_BYTES: usize = 16;

/// Tells a load's equal rows apart. Bounded by the load: 10 to 20 bytes for each row without an id,
/// half as much again while the set grows.
///
/// Rows are remembered by 64 bits of their hash. Should two different rows share them, the second one
/// counts as an equal row: its id is another one than it could be, and still its own.
#[derive(Default)]
pub struct RowIds {
    seen: HashSet<u64>,
    /// How often those were seen that were seen more than once.
    again: HashMap<u64, u64>,
}

impl RowIds {
    /// The id of the load's next row that has none: 128 bits of SHA-256 over site and row, each
    /// preceded by its byte length, 4 bytes big-endian, as hex; from the second of equal rows on
    /// followed by `-2`, `-3` and so on.
    pub fn next(&mut self, site: &str, row: &[u8]) -> String {
        let mut hash = Sha256::new();
        for part in [site.as_bytes(), row] {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let key = u64::from_be_bytes(std::array::from_fn(|i| digest[i]));
        let mut id = vec![0; 2 * ID_BYTES];
        let encoded = hex::encode_to_slice(&digest[..ID_BYTES], &mut id);
        debug_assert!(encoded.is_ok(), "two digits a byte");
        let id = String::from_utf8(id).unwrap_or_default();
        if self.seen.insert(key) {
            return id;
        }
        let count = self.again.entry(key).or_insert(1);
        *count += 1;
        format!("{id}-{count}")
    }
}
