//! How far each partition is, for the metrics. The log is asked in a task of its own: the fold does not
//! wait for the network to show a number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use footfall_event::{Micros, Offset, Partition};
use footfall_log::EventLog;
use futures::FutureExt;
use tokio::task::JoinHandle;

use crate::Health;
use crate::metrics::Metrics;
use crate::partition::PartitionFold;

const SHOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Lag {
    shown_at: Option<Instant>,
    asking: Option<JoinHandle<Vec<Behind>>>,
}

/// How far a partition was behind when the log was asked.
struct Behind {
    partition: Partition,
    records: i64,
    seconds: f64,
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
        if let Some(asking) = &mut self.asking {
            // A task that broke off knows nothing; the next may.
            let Some(answered) = asking.now_or_never() else { return };
            let is_ours = |of: &&Behind| positions.iter().any(|(ours, ..)| *ours == of.partition);
            for of in answered.unwrap_or_default().iter().filter(is_ours) {
                metrics.lag(of.partition, of.records, of.seconds);
            }
        }
        self.asking = Some(tokio::spawn(ask(log.clone(), positions)));
    }
}

async fn ask(log: Arc<dyn EventLog>, positions: Vec<(Partition, Offset, Micros)>) -> Vec<Behind> {
    let mut behind = Vec::new();
    for (partition, position, last_append_time) in positions {
        let Ok(bounds) = log.bounds(partition).await else { continue };
        let records = (bounds.end.0 - position.0).max(0);
        let age = (Micros::clock() - last_append_time).seconds().max(0.0);
        behind.push(Behind { partition, records, seconds: if records == 0 { 0.0 } else { age } });
    }
    behind
}
