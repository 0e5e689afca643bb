//! The bounds of the query part. Where their values come from is left to the binary.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Declared, Pipelines};

/// The least memory in which DataFusion's sort can still merge what it spilled.
const MEMORY_BYTES_MIN: usize = 16 * 1024 * 1024;

/// What one query, and all of them together, may use.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    /// Memory of all running queries and unsent answers together, in bytes.
    pub memory_bytes_max: usize,
    /// What all running queries may write to disk when memory runs out, in bytes.
    pub spill_bytes_max: u64,
    /// A folder that belongs to this process alone: what is found in it at the start is deleted.
    /// `None`: a folder of its own in the system's temporary folder.
    pub spill_folder: Option<PathBuf>,
    /// How long one query may run, and once more how long its answer may take to be sent.
    pub time_max: Duration,
    /// Rows of one answer.
    pub rows_max: usize,
    /// Queries that run at once; as many again may wait for a short time.
    pub concurrency_max: usize,
    /// How long a query waits for one of those to end.
    pub queue_time_max: Duration,
    /// Memory of the whole process, in bytes; beyond it queries end, and the process with them if that
    /// does not help. `None`: not watched, as where other parts live in the process.
    pub process_bytes_max: Option<u64>,
    /// Threads that run queries; they run nothing else. 0: one for each core.
    pub threads: usize,
    /// Steps and needs that functions may name.
    pub declared: Declared,
    /// Who holds the live tables.
    pub pipelines: Pipelines,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1024 * 1024 * 1024,
            spill_bytes_max: 4 * 1024 * 1024 * 1024,
            spill_folder: None,
            time_max: Duration::from_secs(60),
            rows_max: 1_000_000,
            concurrency_max: 4,
            queue_time_max: Duration::from_secs(20),
            process_bytes_max: None,
            threads: 0,
            declared: Declared::default(),
            pipelines: Pipelines::default(),
        }
    }
}

/// What a process of queries takes beside their memory: itself, and the files it has open.
const PROCESS_BYTES: u64 = 256 * 1024 * 1024;

impl QuerySettings {
    /// Watches the process, which is to hold queries alone: half as much again as they may take, for
    /// what DataFusion does not account for, and the process itself.
    #[must_use]
    pub fn with_process_watched(self) -> Self {
        let queries = self.memory_bytes_max as u64;
        Self { process_bytes_max: Some(queries + queries / 2 + PROCESS_BYTES), ..self }
    }

    /// All that is wrong with the settings, each as `key: why`; empty when they are fit.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.memory_bytes_max < MEMORY_BYTES_MIN {
            problems.push(format!(
                "memory_bytes_max: {} is less than the {MEMORY_BYTES_MIN} that a sort needs",
                self.memory_bytes_max
            ));
        }
        for (key, is_zero) in [
            ("time_max", self.time_max.is_zero()),
            ("rows_max", self.rows_max == 0),
            ("concurrency_max", self.concurrency_max == 0),
        ] {
            if is_zero {
                problems.push(format!("{key}: 0 would refuse every query"));
            }
        }
        problems
    }

    /// Threads, with 0 resolved to the cores of this machine.
    pub(crate) fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            threads => threads,
        }
    }
}
