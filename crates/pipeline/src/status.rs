//! What `GET /v1/status` answers: the log and the fold of each partition, as the loop last told them.

use serde::{Deserialize, Serialize};

/// A pipeline, seen from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// [`PipelineStatus::PART`]: who asks tells parts apart by it.
    pub part: String,
    pub topic: String,
    /// How many partitions the log has; other pipelines may fold some of them.
    pub partition_count: u32,
    pub lake: String,
    /// Time since the lowest log time up to which the tables speak; `None` before the first commit.
    pub freshness_seconds: Option<f64>,
    /// Age of what follows: the loop tells it every second, unless something holds it up. `None`
    /// before the first time.
    pub told_seconds_ago: Option<f64>,
    /// Those that are folded here, ascending.
    pub partitions: Vec<PartitionStatus>,
}

/// A partition that a pipeline folds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub partition: i32,
    /// The first offset that the log still has, and the next that it gives out; `None` until the log
    /// was asked.
    pub start_offset: Option<i64>,
    pub end_offset: Option<i64>,
    /// The next record to fold.
    pub position: i64,
    pub lag_records: Option<i64>,
    /// Age of the record read last; 0 when all are read.
    pub lag_seconds: Option<f64>,
    /// RFC 3339; `None` before the first believed record.
    pub watermark: Option<String>,
    pub open_sessions: u64,
    pub held_events: u64,
    pub remembered_ids: u64,
}

impl PipelineStatus {
    pub const PART: &'static str = "pipeline";
}
