//! Which records are to be erased, and what became of them. Why is left to the caller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use footfall_event::{Offset, Partition};

use crate::Kind;

/// Whether a record of this kind, with this payload, is meant.
pub type IsMeant = dyn Fn(Kind, &[u8]) -> bool + Send + Sync;

/// Records below an offset of each partition, and those of the side topics, whose payloads `is_meant` names. A
/// published payload counts as an event.
#[derive(Clone)]
pub struct Redaction {
    /// Exclusive. Of a partition that is not listed nothing is erased.
    pub below: BTreeMap<Partition, Offset>,
    pub is_meant: Arc<IsMeant>,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").field("below", &self.below).finish_non_exhaustive()
    }
}

/// What became of the records that were meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redacted {
    /// So many were there.
    Records(u64),
    /// The log cannot change a record: they go when its retention takes them.
    LeftToRetention,
}
