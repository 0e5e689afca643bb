//! The ways in which a log fails, one variant for each thing that a caller does differently.
//! Retrying, waiting and reporting are left to the caller.

use std::ops::Range;
use std::path::PathBuf;

use footfall_event::{Offset, Partition};

/// Why a log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Too much is waiting to be written: nothing of this call need be kept; try again later.
    #[error("the event log's queue is full ({waiting}): send less, or try again later")]
    Overloaded { waiting: String },
    /// The log cannot be reached or did not answer in time: what was in flight is in doubt.
    #[error("event log {at}: {why}")]
    Unavailable { at: String, why: String },
    /// The log is not fit for use as it is set up. Stops the start.
    #[error("{thing}: {setting} is {value}, but {need}")]
    Unfit { thing: String, setting: &'static str, value: String, need: String },
    /// Another process holds the directory.
    #[error("{}: another process has this event log open: stop it, or name another directory", .0.display())]
    Locked(PathBuf),
    /// This log has a subscription already.
    #[error("event log {0} has a subscription already: drop it first")]
    Subscribed(String),
    /// The partition does not exist.
    #[error("event log {topic} has no partition {}: it has {partitions}", .partition.0)]
    NoPartition { topic: String, partition: Partition, partitions: u32 },
    /// The partition is not assigned to this subscription.
    #[error("partition {} is not assigned to this subscription", .0.0)]
    NotAssigned(Partition),
    /// Records that were to be read are not in the log: it was lost, replaced or cut by retention.
    #[error("partition {}: offset {} was to be read, but the log holds {}..{}", .partition.0, .wanted.0, .bounds.start.0, .bounds.end.0)]
    Gone { partition: Partition, wanted: Offset, bounds: Range<Offset> },
    /// A record is larger than any log takes.
    #[error("a record of {bytes} bytes is larger than the {max} that the event log takes")]
    TooLarge { bytes: usize, max: usize },
    /// What was read is not what was written.
    #[error("{at}: {what}: restore the event log from a copy, or begin a new one")]
    Corrupt { at: String, what: String },
    /// The disk, or the client, failed for good: the process has to be started again.
    #[error("event log {at}: {why}")]
    Io { at: String, why: String },
}
