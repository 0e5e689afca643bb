//! How far each partition is, for the metrics and for who asks. The log is asked in a task of its own: the fold does not
//! wait for the network to show a number.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use footfall_event::{Micros, Offset, Partition};
use footfall_log::EventLog;
use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::partition::PartitionFold;
use crate::{Health, PartitionStatus};

const SHOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Lag {
    shown_at: Option<Instant>,
    asking: Option<JoinHandle<Vec<Behind>>>,
    /// What the log last answered.
    behind: BTreeMap<Partition, Behind>,
}

/// How far a partition was behind when the log was asked.
struct Behind {
    partition: Partition,
    bounds: Range<Offset>,
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
        let now = Micros::clock();
        metrics.freshness(health.freshness_seconds(now));
        let (mut positions, mut partitions) = (Vec::new(), Vec::new());
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
            partitions.push(status(fold, self.behind.get(&partition)));
            positions.push((partition, fold.position(), fold.last_append_time()));
        }
        health.shows(partitions, now);
        self.ask(positions, log, metrics);
    }

    fn ask(
        &mut self,
        positions: Vec<(Partition, Offset, Micros)>,
        log: &Arc<dyn EventLog>,
        metrics: &Metrics,
    ) {
        let is_ours = |of: Partition| positions.iter().any(|(ours, ..)| *ours == of);
        self.behind.retain(|partition, _| is_ours(*partition));
        if let Some(asking) = &mut self.asking {
            // A task that broke off knows nothing; the next may.
            let Some(answered) = asking.now_or_never() else { return };
            for of in answered.unwrap_or_default() {
                if is_ours(of.partition) {
                    metrics.lag(of.partition, of.records, of.seconds);
                    self.behind.insert(of.partition, of);
                }
            }
        }
        self.asking = Some(tokio::spawn(ask(log.clone(), positions)));
    }
}

fn status(fold: &PartitionFold, behind: Option<&Behind>) -> PartitionStatus {
    let state = fold.fold();
    PartitionStatus {
        partition: fold.partition().0,
        start_offset: behind.map(|behind| behind.bounds.start.0),
        end_offset: behind.map(|behind| behind.bounds.end.0),
        position: fold.position().0,
        lag_records: behind.map(|behind| behind.records),
        lag_seconds: behind.map(|behind| behind.seconds),
        watermark: state.clock().watermark().map(|watermark| watermark.to_string()),
        open_sessions: state.open_sessions(),
        held_events: state.held_events() as u64,
        remembered_ids: state.remembered_ids() as u64,
    }
}

async fn ask(log: Arc<dyn EventLog>, positions: Vec<(Partition, Offset, Micros)>) -> Vec<Behind> {
    let mut behind = Vec::new();
    for (partition, position, last_append_time) in positions {
        let Ok(bounds) = log.bounds(partition).await else { continue };
        let records = (bounds.end.0 - position.0).max(0);
        let age = (Micros::clock() - last_append_time).seconds().max(0.0);
        let seconds = if records == 0 { 0.0 } else { age };
        behind.push(Behind { partition, bounds, records, seconds });
    }
    behind
}
