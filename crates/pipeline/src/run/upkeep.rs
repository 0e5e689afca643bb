//! When the rewrite job runs, beside the fold: in the pipeline that owns partition 0, one at a time.

use std::sync::Arc;
use std::time::Duration;

use footfall_event::Partition;
use footfall_lake::Lake;
use footfall_sessionizer::Rules;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::job::{Job, JobsRun};
use crate::metrics::Metrics;
use crate::{PipelineError, PipelineSettings, Retention, Rewritten, SettledFiles, rewrite};

/// Whose owner looks after the tables of all.
pub const CARETAKER: Partition = Partition(0);

pub struct Upkeep {
    interval: Duration,
    rules: Arc<Rules>,
    retention: Retention,
    due: Instant,
    settled: SettledFiles,
    jobs_run: JobsRun,
    running: Option<Job<(SettledFiles, Result<Rewritten, PipelineError>)>>,
    stop: CancellationToken,
}

impl Upkeep {
    pub fn new(settings: &PipelineSettings) -> Upkeep {
        let (interval, rules) = (settings.rewrite_interval, settings.rules.clone());
        Upkeep {
            interval,
            rules,
            retention: settings.retention.clone(),
            due: Instant::now() + interval,
            settled: SettledFiles::default(),
            jobs_run: settings.jobs_run,
            running: None,
            stop: CancellationToken::new(),
        }
    }

    /// Repairs by other rules from here on, where no live log tells which are in force.
    pub fn follow(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Takes up a run that has ended, and begins the next when it is time. One that failed leaves nothing
    /// behind that the next would not find.
    pub fn look(&mut self, is_caretaker: bool, lake: &Lake, metrics: &Metrics) {
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            self.take(running.ended(), metrics);
        }
        if is_caretaker && self.running.is_none() && self.due <= Instant::now() {
            self.due = Instant::now() + self.interval;
            if let Err(error) = self.begin(lake.clone(), metrics.clone()) {
                self.tell(&error.to_string(), metrics);
            }
        }
    }

    fn begin(&mut self, lake: Lake, metrics: Metrics) -> std::io::Result<()> {
        let (rules, retention) = (self.rules.clone(), self.retention.clone());
        let stop = self.stop.clone();
        let mut settled = std::mem::take(&mut self.settled);
        let run = move || async move {
            let began = Instant::now();
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => Err(PipelineError::Stopping),
                done = rewrite(&lake, &rules, &retention, &mut settled) => done,
            };
            metrics.rewrite_took(began.elapsed());
            (settled, done)
        };
        self.running = Some(Job::begin("rewrite", self.jobs_run, run)?);
        Ok(())
    }

    fn take(
        &mut self,
        ended: Option<(SettledFiles, Result<Rewritten, PipelineError>)>,
        metrics: &Metrics,
    ) {
        match ended {
            Some((settled, done)) => {
                self.settled = settled;
                match done {
                    Ok(done) => metrics.rewritten(&done),
                    Err(error) => self.tell(&error.to_string(), metrics),
                }
            }
            None => self.tell("it panicked", metrics),
        }
    }

    fn tell(&self, error: &str, metrics: &Metrics) {
        metrics.rewrite_failed();
        tracing::error!(error, "the tables were not rewritten; again in {:?}", self.interval);
    }

    /// Ends a run where it is: what it has not committed is as if it had not begun.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
