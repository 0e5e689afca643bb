//! What the pipeline tells of itself to those who ask whether it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use footfall_event::Micros;

/// Shared between the loop and the HTTP listener.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    started: AtomicBool,
    log_time: AtomicI64,
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
