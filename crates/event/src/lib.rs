//! The event: its columns, its JSON forms, its clock, its checks, and the Arrow schemas of all tables.
//! Logs, files and sessions are left to the other crates.

mod check;
mod clock;
mod columns;
mod decode;
mod event;
mod id;
mod money;
mod parse;
mod record;
pub mod schema;
mod time;

pub use check::check_site;
pub use clock::{ClientTimes, correct_clock};
pub use columns::{Column, Text, Whole};
pub use decode::{DecodeError, Decoded, EventDecoder, beyond_readers};
pub use event::{Event, Item, Limits, Times};
pub use id::{EventKey, Offset, Partition, SessionId, partition_of, visitor_hash};
pub use money::Money;
pub use parse::{
    BadField, Reason, TIME_RANGE, check_raw, check_raw_below, parse_event, parse_items, parse_time,
};
pub use record::{REJECTED_PAYLOAD_BYTES_MAX, Rejection, rejected_payload, write_text};
pub use time::{Day, Micros, simulate_clock};
