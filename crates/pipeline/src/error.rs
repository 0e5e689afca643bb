//! What ends the pipeline. A lost race and an unreachable log or store do not.

use footfall_event::{Offset, Partition};
use footfall_lake::LakeError;
use footfall_log::LogError;

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot form rows: {0}")]
    Rows(#[from] arrow::error::ArrowError),
    #[error("cannot evaluate the conditions: {0}")]
    Conditions(String),
    #[error("snapshot `{name}` is not readable: {reason}; delete it to start from the one before")]
    Snapshot { name: String, reason: String },
    #[error(
        "snapshot `{name}` has layout {version}, and this program knows {known}: use the version of Footfall that wrote it, or, while the log still begins at record 0, delete the folder's snapshots, and all of it is folded again"
    )]
    SnapshotVersion { name: String, version: u32, known: u32 },
    #[error(
        "partition {partition} of `{topic}`: records {from} to {to} are needed and gone: the log was lost, replaced, or its retention is too short. Restore the log, or make another lake"
    )]
    LogLost { topic: String, partition: Partition, from: Offset, to: Offset },
    #[error(
        "partition {partition} of `{topic}`: record {offset} is not the one that was read before (its append time is {found}, not {wanted}): the log was replaced. Restore it, or make another lake"
    )]
    LogReplaced {
        topic: String,
        partition: Partition,
        offset: Offset,
        found: String,
        wanted: String,
    },
    #[error(
        "table `{table}`: {attempts} commits in a row were lost to other writers; is another lake's pipeline writing here?"
    )]
    Races { table: &'static str, attempts: usize },
    #[error(
        "partition {partition} of `{topic}`: record {offset} is named by the snapshot as held, and {why}: restore the log, or make another lake"
    )]
    HeldLost { topic: String, partition: Partition, offset: Offset, why: String },
    #[error("erasure {id} was taken further by another process, and is looked at again")]
    ErasureOvertaken { id: String },
    #[error("the pipeline was asked to stop")]
    Stopping,
    #[error("{0}")]
    Source(String),
    #[error(
        "the files have more rows than the {rows_max} that one load takes: load them in parts, each of some of the files"
    )]
    LoadRows { rows_max: i64 },
    #[error(
        "`{log}` was loaded by other rules (config_id {loaded_by}) than those given ({given}), and its sessions follow those: run the command with the `[rules]` it was loaded by, which _footfall/rules/{loaded_by}.json in the lake tells"
    )]
    LoadRules { log: String, loaded_by: String, given: String },
    #[error(
        "`{log}`: {runs} times in a row another load was committed while this one ran, and what that brought may be in this one as well: nothing of it was loaded. Start it again when the others are done"
    )]
    LoadRaces { log: String, runs: usize },
    #[error(
        "the pipeline of this lake goes by other rules (config_id {in_force}) than those given ({given}): give the configuration that it runs with, or let it run with this one first; it may take a minute until its next snapshot tells so"
    )]
    RecomputeRules { in_force: String, given: String },
    #[error("cannot listen for HTTP: {0}")]
    Listen(#[from] std::io::Error),
}

impl PipelineError {
    /// Whether waiting may mend it: a store or a log that cannot be reached comes back.
    pub fn passes(&self) -> bool {
        match self {
            PipelineError::Lake(error) => matches!(
                error,
                LakeError::Delta { .. } | LakeError::Store(_) | LakeError::Stale { .. }
            ),
            PipelineError::Log(error) => {
                matches!(error, LogError::Unavailable { .. } | LogError::Overloaded { .. })
            }
            _ => false,
        }
    }
}
