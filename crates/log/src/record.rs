//! The records of a log: what is handed in, what is answered, what is read.
//! How they are laid out on disk or wire is left to the two logs.

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};

/// What a record is for. Every log keeps it beside the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Event = 0,
    Rejected = 1,
    Tick = 2,
    Control = 3,
}

impl Kind {
    /// The kind as one byte, on disk and in Kafka's header `kind`.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a code; `None` if there is none of that code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Event),
            1 => Some(Self::Rejected),
            2 => Some(Self::Tick),
            3 => Some(Self::Control),
            _ => None,
        }
    }
}

/// A record to be appended.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub partition: Partition,
    pub kind: Kind,
    pub payload: Bytes,
}

/// Where and when a record was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub partition: Partition,
    pub offset: Offset,
    /// The log's own clock; Kafka's has whole milliseconds.
    pub append_time: Micros,
}

/// A record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    /// As in [`Appended`]. The local log's steps back within a partition only where the one before lies
    /// more than five minutes ahead of the clock; Kafka's may at any time.
    pub append_time: Micros,
    pub kind: Kind,
    pub payload: Bytes,
}
