//! The pipeline: the log's records through the sessionizer into the lake's tables, exactly once. What
//! events mean is left to the sessionizer, how tables are written to the lake.

mod batch;
mod committer;
mod conditions;
mod config;
mod erasure;
mod error;
mod health;
mod history;
mod http;
mod live;
mod metrics;
mod old_resend;
mod partition;
mod patience;
mod rewrite;
mod rows;
mod rules_store;
mod run;
mod scan;
mod signals;
mod snapshot;
mod sort;
mod start;
mod status;
mod tail;
#[cfg(test)]
mod testing;
mod verify;

pub use conditions::{Conditions, check_condition};
pub use config::PipelineSettings;
pub use erasure::{
    Erasure, Erasures, Found, LogSearch, Person, find as find_erasure, search as search_lake,
    search_log,
};
pub use error::PipelineError;
pub use health::Health;
pub use history::{HistoryBatch, HistoryFiles, HistorySource, Load, LoadReceipt, load};
pub use http::{Shown, serve};
pub use live::{Live, LiveRefused, LiveRows, LiveWanted};
pub use metrics::Metrics;
pub use rewrite::{
    Compacted, DayRange, Expired, Recomputed, Repaired, Retention, Rewritten, SettledFiles, Turn,
    outdated, recompute, rewrite,
};
pub use run::{JobsRun, Pipeline};
pub use signals::SignalHub;
pub use status::{PartitionStatus, PipelineStatus};
pub use tail::Tail;
pub use verify::{Verified, verify};
