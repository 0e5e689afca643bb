//! Why the collector does not start, or ends by itself. What is wrong with a request is an answer, not an error.

use footfall_log::LogError;

/// The ways in which the collector fails as a whole.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Settings that do not fit each other, all of them at once.
    #[error("ingest: {}", .problems.join("; "))]
    Unfit { problems: Vec<String> },
    /// A site's JSON Schema.
    #[error("ingest: {path}: {why}")]
    Schema { path: String, why: String },
    /// The registry already holds metrics of these names.
    #[error("ingest: its metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The event log takes nothing until this process is started again.
    #[error(transparent)]
    Log(#[from] LogError),
}
