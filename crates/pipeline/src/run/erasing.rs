//! When erasures are taken further, beside the fold: in the pipeline that owns partition 0, one thread at
//! a time.

use std::sync::Arc;
use std::time::Duration;

use footfall_lake::Lake;
use footfall_log::EventLog;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::job::{Job, JobsRun};
use crate::erasure::{Advanced, Erasures, advance};
use crate::metrics::Metrics;
use crate::{PipelineError, PipelineSettings};

/// How often another process's requests are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// How often while any waits: for commits, snapshots and the grace.
const WAITING_INTERVAL: Duration = Duration::from_secs(1);

pub struct Erasing {
    erasures: Erasures,
    log: Arc<dyn EventLog>,
    grace: Duration,
    due: Instant,
    jobs_run: JobsRun,
    running: Option<Job<Result<Advanced, PipelineError>>>,
    stop: CancellationToken,
    /// Of the run that is running.
    stop_run: CancellationToken,
}

impl Erasing {
    pub fn new(settings: &PipelineSettings, lake: &Lake, log: &Arc<dyn EventLog>) -> Erasing {
        Erasing {
            erasures: Erasures::new(lake.clone(), log.clone()),
            log: log.clone(),
            grace: settings.erasure_grace,
            due: Instant::now(),
            jobs_run: settings.jobs_run,
            running: None,
            stop: CancellationToken::new(),
            stop_run: CancellationToken::new(),
        }
    }

    /// Where they are asked for.
    pub fn erasures(&self) -> Erasures {
        self.erasures.clone()
    }

    /// Takes up a run that has ended, and begins the next when it is time. One that failed leaves nothing
    /// behind that the next would not find.
    pub fn look(&mut self, is_caretaker: bool, lake: &Lake, metrics: &Metrics) {
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            self.due = Instant::now() + self.take(running.ended(), metrics);
        }
        if !is_caretaker {
            // Whoever has the partition carries them out.
            self.stop_run.cancel();
            return;
        }
        if self.running.is_some() {
            return;
        }
        if self.erasures.take_asked() || self.due <= Instant::now() {
            self.due = Instant::now() + LOOK_INTERVAL;
            if let Err(error) = self.begin(lake.clone()) {
                tell(&error.to_string(), metrics);
            }
        }
    }

    fn begin(&mut self, lake: Lake) -> std::io::Result<()> {
        self.stop_run = self.stop.child_token();
        let (log, grace, stop) = (self.log.clone(), self.grace, self.stop_run.clone());
        let run = move || async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(PipelineError::Stopping),
                advanced = advance(&lake, log.as_ref(), grace) => advanced,
            }
        };
        self.running = Some(Job::begin("erasure", self.jobs_run, run)?);
        Ok(())
    }

    /// When to look again.
    fn take(&self, ended: Option<Result<Advanced, PipelineError>>, metrics: &Metrics) -> Duration {
        match ended {
            Some(Ok(advanced)) => {
                metrics.erased(advanced);
                if advanced.waiting > 0 { WAITING_INTERVAL } else { LOOK_INTERVAL }
            }
            Some(Err(PipelineError::Stopping)) => LOOK_INTERVAL,
            Some(Err(error)) => {
                tell(&error.to_string(), metrics);
                LOOK_INTERVAL
            }
            None => {
                tell("it panicked", metrics);
                LOOK_INTERVAL
            }
        }
    }

    /// Ends a run where it is: what it has not kept is done again.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

fn tell(error: &str, metrics: &Metrics) {
    metrics.erasures_failed();
    tracing::error!(error, "the erasures were not looked after; again in {LOOK_INTERVAL:?}");
}
