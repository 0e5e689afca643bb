//! The pipelines of a run: started, killed as a process is, buried, asked to stop.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use footfall_event::Micros;
use footfall_log::EventLog;
use footfall_pipeline::{
    Health, JobsRun, Metrics, Pipeline, PipelineError, PipelineSettings, Retention,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::SimLog;
use crate::process::Process;
use crate::scenario::{RECOVERY_MAX, SECOND, Scenario};
use crate::snapshots::SNAPSHOT_INTERVAL;

pub struct Running {
    pub process: Arc<Process>,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), PipelineError>>,
}

impl Scenario {
    pub async fn start_pipeline(&mut self) -> Result<()> {
        self.started += 1;
        let process = Process::new(&self.world, format!("pipeline{}", self.started));
        self.world.trace(&process.name, "started", "");
        let (lake, stop) = (self.lake(&process)?, CancellationToken::new());
        let log: Arc<dyn EventLog> =
            Arc::new(SimLog { broker: self.broker.clone(), process: process.clone() });
        let slow = self.slowness();
        let settings = PipelineSettings {
            jobs_run: JobsRun::OnRuntime,
            group: "pipelines".to_owned(),
            signals_topic: "signals".to_owned(),
            commit_interval: 2 * SECOND * slow,
            commit_rows_max: 10_000,
            snapshot_interval: SNAPSHOT_INTERVAL * slow,
            rewrite_interval: 5 * SECOND * slow,
            retention: Retention::default(),
            erasure_grace: 60 * SECOND,
            max_age: Micros(7 * Micros::DAY.0),
            rules: Arc::new(self.edition.rules()),
        };
        let (told, dying) = (stop.clone(), process.clone());
        let is_of_one = self.is_of_one;
        let task = tokio::spawn(async move {
            let run = async {
                let metrics = Metrics::register(&prometheus::Registry::new())
                    .map_err(|error| PipelineError::Source(error.to_string()))?;
                let health = Health::default();
                loop {
                    let opened = Pipeline::open(
                        log.clone(),
                        lake.clone(),
                        settings.clone(),
                        metrics.clone(),
                        health.clone(),
                    );
                    match opened.await {
                        Ok(pipeline) => return pipeline.run(told.clone()).await,
                        // A person, or whatever runs it, starts it again.
                        Err(error) if error.passes() => tokio::time::sleep(SECOND).await,
                        Err(error) => return Err(error),
                    }
                }
            };
            let mut run = Box::pin(run);
            tokio::select! {
                biased;
                // Killed, it says no goodbye: the group waits until its time is over.
                () = dying.death() => {
                    if !is_of_one {
                        tokio::time::sleep(10 * SECOND).await;
                    }
                    drop(run);
                    Ok(())
                }
                ended = &mut run => ended,
            }
        });
        self.pipelines.push(Running { process, stop, task });
        Ok(())
    }

    /// How much slower pipelines commit in a long run: hours of commits every other second would take hours. It is as
    /// slow as a window of two minutes allows, a commit in a quarter of it.
    pub fn slowness(&self) -> u32 {
        if self.is_long { 14 } else { 1 }
    }

    /// Takes those away that ended; one that failed for good fails the run.
    pub async fn bury(&mut self) -> Result<()> {
        let mut alive = Vec::new();
        for running in std::mem::take(&mut self.pipelines) {
            if running.task.is_finished() {
                let ended = running.task.await.context("a pipeline panicked")?;
                ended.with_context(|| format!("{} ended", running.process.name))?;
            } else {
                alive.push(running);
            }
        }
        self.pipelines = alive;
        Ok(())
    }

    /// Opens the door and starts a pipeline where there is none.
    pub async fn keep_running(&mut self) -> Result<()> {
        self.bury().await?;
        if self.door.process().is_dead() {
            self.door.open_again();
        }
        let mut pipelines = self.pipelines.iter();
        let is_served = pipelines.any(|it| !it.process.is_dead() && !it.stop.is_cancelled());
        match !is_served && (self.pipelines.is_empty() || !self.is_of_one) {
            true => self.start_pipeline().await,
            false => Ok(()),
        }
    }

    pub async fn stop_all(&mut self) -> Result<()> {
        for running in &self.pipelines {
            running.stop.cancel();
        }
        let told_at = self.world.elapsed();
        while !self.pipelines.is_empty() {
            ensure!(
                self.world.elapsed() < told_at + RECOVERY_MAX,
                "a pipeline did not stop {RECOVERY_MAX:?} after it was asked to"
            );
            tokio::time::sleep(SECOND).await;
            self.bury().await?;
        }
        Ok(())
    }
}
