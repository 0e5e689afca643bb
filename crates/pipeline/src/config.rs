//! Settings of the pipeline, filled from the configuration by the binary.

use std::sync::Arc;
use std::time::Duration;

use footfall_event::Micros;
use footfall_sessionizer::Rules;

use crate::{JobsRun, Retention};

#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Consumer group of all pipelines of a lake.
    pub group: String,
    pub signals_topic: String,
    pub commit_interval: Duration,
    /// A commit is made at once when so many rows wait.
    pub commit_rows_max: usize,
    /// Time between barriers.
    pub snapshot_interval: Duration,
    /// Time between runs of the job that repairs late events and compacts the tables.
    pub rewrite_interval: Duration,
    /// How long each table keeps its rows.
    pub retention: Retention,
    /// How long files and versions that an erasure replaced stay for those who read them.
    pub erasure_grace: Duration,
    /// Oldest event time that the collector takes.
    pub max_age: Micros,
    pub rules: Arc<Rules>,
    pub jobs_run: JobsRun,
}
