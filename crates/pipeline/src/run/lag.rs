//! How far each partition is, for the metrics. The log is asked in a task of its own: the fold does not
//! wait for the network to show a number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use footfall_event::Micros;
use footfall_log::EventLog;
use tokio::task::JoinHandle;

use crate::Health;
use crate::metrics::Metrics;
use crate::partition::PartitionFold;

const SHOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Lag {
    shown_at: Option<Instant>,
    asking: Option<JoinHandle<()>>,
}

impl Lag {
    /// Shows the state of the folds, if it was not shown within the last second.
    pub fn show<'f>(
        &mut self,
        folds: impl Iterator<Item = &'f PartitionFold>,
        log: &Arc<dyn EventLog>,
        metrics: &Metrics,
        health: &Health,
    ) {
        if self.shown_at.is_some_and(|at| at.elapsed() < SHOW_INTERVAL) {
            return;
        }
        self.shown_at = Some(Instant::now());
        metrics.freshness(health.freshness_seconds(Micros::clock()));
        let mut positions = Vec::new();
        for fold in folds {
            let (partition, state) = (fold.partition(), fold.fold());
            metrics.state(
                partition,
                state.open_sessions(),
                state.held_events(),
                state.remembered_ids(),
            );
            if let Some(watermark) = state.clock().watermark() {
                metrics.watermark(partition, watermark.seconds());
            }
            positions.push((partition, fold.position(), fold.last_append_time()));
        }
        if self.asking.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (log, metrics) = (log.clone(), metrics.clone());
        self.asking = Some(tokio::spawn(async move {
            for (partition, position, last_append_time) in positions {
                let Ok(bounds) = log.bounds(partition).await else { continue };
                let behind = (bounds.end.0 - position.0).max(0);
                let age = (Micros::clock() - last_append_time).seconds().max(0.0);
                metrics.lag(partition, behind, if behind == 0 { 0.0 } else { age });
            }
        }));
    }
}
