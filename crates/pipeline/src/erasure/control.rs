//! The control record of an erasure: from where on what comes is a stranger's. It stays in the log, so
//! that it holds a salted hash of the visitor, and no id.

use bytes::Bytes;
use footfall_event::Partition;
use footfall_log::{Kind, NewRecord, Record};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Whom an erasure means, without saying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub id: String,
    /// Random, so that a hash cannot be looked up in a list made before.
    pub salt: String,
    /// In hex, over salt, site and visitor id, each preceded by its length in bytes as 4 bytes,
    /// big-endian.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    erase: Mark,
}

impl Mark {
    pub fn new(id: String, salt: String, site: &str, visitor_id: &str) -> Mark {
        let sha256 = sha256(&salt, site, visitor_id);
        Mark { id, salt, sha256 }
    }

    pub fn is_of(&self, site: &str, visitor_id: &str) -> bool {
        self.sha256 == sha256(&self.salt, site, visitor_id)
    }

    /// The mark of a control record; `None` for one of another sort.
    pub fn read(record: &Record) -> Option<Mark> {
        let control: Control = serde_json::from_slice(&record.payload).ok()?;
        Some(control.erase)
    }

    pub fn record(&self, partition: Partition) -> NewRecord {
        let control = Control { erase: self.clone() };
        let payload = Bytes::from(serde_json::to_vec(&control).unwrap_or_default());
        NewRecord { partition, kind: Kind::Control, payload }
    }
}

fn sha256(salt: &str, site: &str, visitor_id: &str) -> String {
    let mut hash = Sha256::new();
    for part in [salt, site, visitor_id] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}
