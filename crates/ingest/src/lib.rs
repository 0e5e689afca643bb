//! The collector: HTTP in, records of the event log out, and 2xx only for what the log holds for
//! good. Sessions, tables and queries are left to the crates behind the log.

mod answer;
mod body;
mod bridge;
mod clock;
mod collect;
mod config;
mod consent;
mod crowd;
mod error;
mod gzip;
mod judge;
mod keys;
mod metrics;
mod origins;
mod peer;
mod protocol;
mod rate;
mod refusal;
mod replay;
mod schema;
mod sdk_settings;
mod serve;
mod service;

mod stream;

pub use bridge::Bridge;
pub use config::{IngestSettings, Key};
pub use consent::{Consent, ConsentPolicy};
pub use error::IngestError;
pub use gzip::INFLATE_EXTRA_BYTES;
pub use judge::MessageReader;
pub use metrics::Metrics;
pub use rate::{Rate, RateSettings, Rates};
pub use replay::{PayloadForm, RejectedRow, Replayed, replay};
pub use schema::Schemas;
pub use serve::serve;
