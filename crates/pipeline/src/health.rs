//! What the pipeline tells of itself to those who ask whether it works.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use footfall_event::Micros;

use crate::{PartitionStatus, PipelineStatus};

/// Shared between the loop and the HTTP listener.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    started: AtomicBool,
    log_time: AtomicI64,
    told: Mutex<Told>,
}

/// What the loop last told of its partitions.
#[derive(Debug, Default)]
struct Told {
    topic: String,
    partition_count: u32,
    lake: String,
    at: Micros,
    partitions: Vec<PartitionStatus>,
}

impl Health {
    /// At least one partition is assigned.
    pub fn started(&self, started: bool) {
        self.state.started.store(started, Ordering::Relaxed);
    }

    /// The tables speak up to `log_time`.
    pub fn committed(&self, log_time: Micros) {
        self.state.log_time.store(log_time.0, Ordering::Relaxed);
    }

    /// Time since the log time up to which the tables speak; 0 before the first commit.
    pub fn freshness_seconds(&self, now: Micros) -> f64 {
        match self.state.log_time.load(Ordering::Relaxed) {
            0 => 0.0,
            log_time => (now - Micros(log_time)).seconds(),
        }
    }

    /// The log that is read, and the lake that is written.
    pub fn reads(&self, topic: &str, partition_count: u32, lake: &str) {
        let mut told = self.told();
        told.topic = topic.to_owned();
        told.partition_count = partition_count;
        told.lake = lake.to_owned();
    }

    /// The partitions that are folded here, as of `now`.
    pub fn shows(&self, partitions: Vec<PartitionStatus>, now: Micros) {
        let mut told = self.told();
        told.partitions = partitions;
        told.at = now;
    }

    /// All that the loop last told.
    pub fn status(&self, now: Micros) -> PipelineStatus {
        let freshness_seconds = self.freshness_seconds(now);
        let told = self.told();
        PipelineStatus {
            part: PipelineStatus::PART.to_owned(),
            topic: told.topic.clone(),
            partition_count: told.partition_count,
            lake: told.lake.clone(),
            freshness_seconds: (freshness_seconds != 0.0).then_some(freshness_seconds),
            told_seconds_ago: (told.at != Micros(0)).then(|| (now - told.at).seconds()),
            partitions: told.partitions.clone(),
        }
    }

    /// Whoever held the lock when it panicked left whole values.
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.state.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// Why it is not ready, in words.
    pub fn ready(&self) -> Result<(), &'static str> {
        if self.state.started.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("no partition of the log is assigned to this pipeline yet")
        }
    }
}
