//! The pipeline's loop: assignments and records in, commits, ticks and snapshots out.

mod interval;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Lake;
use footfall_log::{Delivery, EventLog, Kind, LogError, NewRecord, Record, Subscription};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::committer::Committer;
use crate::metrics::Metrics;
use crate::old_resend::OldResends;
use crate::partition::PartitionFold;
use crate::rows::Origin;
use crate::signals::SignalHub;
use crate::start::{Start, control_record, first_rules, start};
use crate::{Health, PipelineError, PipelineSettings};
use interval::{Finished, Interval};

/// The loop looks at least this often whether a tick or a commit is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A tick comes when a partition was quiet for so long,
const TICK_AFTER: Duration = Duration::from_secs(1);
/// or for so long while an event is held or a deadline lies ahead.
const TICK_AFTER_WAITING: Duration = Duration::from_millis(200);
/// Rules that were announced and not read back are announced again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(30);
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Everything a running pipeline works with.
pub struct Pipeline {
    log: Arc<dyn EventLog>,
    lake: Lake,
    settings: PipelineSettings,
    metrics: Metrics,
    health: Health,
    signals: SignalHub,
    committer: Arc<Committer>,
    subscription: Box<dyn Subscription>,
    partitions: BTreeMap<Partition, Owned>,
    interval: Interval,
    ticking: Option<JoinHandle<()>>,
    metrics_at: Instant,
}

/// A partition that is assigned to this pipeline.
enum Owned {
    FindingRules { begin: Begin, end: Offset },
    Folding(Box<Folding>),
}

/// Where a partition without a snapshot begins.
#[derive(Clone, Copy)]
struct Begin {
    offset: Offset,
    receipts_from: Option<Offset>,
}

struct Folding {
    fold: PartitionFold,
    resends: OldResends,
    /// When the last record was read, by this process's clock.
    quiet_since: Instant,
    /// When the rules configured here were last written to the log.
    announced_at: Option<Instant>,
}

impl Pipeline {
    /// # Errors
    /// `Lake`, `Log`.
    pub async fn open(
        log: Arc<dyn EventLog>,
        lake: Lake,
        settings: PipelineSettings,
        metrics: Metrics,
        health: Health,
    ) -> Result<Pipeline, PipelineError> {
        crate::rules_store::keep(&lake, &settings.rules).await?;
        let committer = Committer::open(&lake, log.topic(), metrics.clone()).await?;
        let subscription = log.subscribe(&settings.group)?;
        let signals = SignalHub::start(log.clone(), &settings.signals_topic, metrics.clone());
        let interval = Interval::new(&settings);
        Ok(Pipeline {
            log,
            lake,
            settings,
            metrics,
            health,
            signals,
            committer: Arc::new(committer),
            subscription,
            partitions: BTreeMap::new(),
            interval,
            ticking: None,
            metrics_at: Instant::now(),
        })
    }

    pub fn signals(&self) -> SignalHub {
        self.signals.clone()
    }

    /// Runs until `shutdown`, then commits what is settled and publishes snapshots.
    ///
    /// # Errors
    /// What only a person can mend; a lost race, an unreachable log or store is waited out.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        while !shutdown.is_cancelled() {
            let delivery = self.subscription.next(LOOK_INTERVAL).await;
            self.take_delivery(delivery).await?;
            self.look_after_commits().await?;
            self.send_ticks();
            self.show_metrics().await;
        }
        self.finish().await
    }

    async fn take_delivery(
        &mut self,
        delivery: Result<Delivery, LogError>,
    ) -> Result<(), PipelineError> {
        match delivery? {
            Delivery::Idle => Ok(()),
            Delivery::Assigned(partitions) => {
                for partition in partitions {
                    self.start_partition(partition).await?;
                }
                Ok(())
            }
            Delivery::Revoked(partitions) => {
                for partition in partitions {
                    tracing::info!(partition = partition.0, "partition given away");
                    self.partitions.remove(&partition);
                    self.metrics.forget(partition);
                }
                Ok(())
            }
            Delivery::Records { partition, records } => {
                self.take_records(partition, &records).await
            }
        }
    }

    async fn start_partition(&mut self, partition: Partition) -> Result<(), PipelineError> {
        let log = self.log.clone();
        let owned = match start(log.as_ref(), &self.lake, &self.committer, partition).await? {
            Start::Fold { fold, read_from } => {
                tracing::info!(partition = partition.0, offset = read_from.0, "partition resumed");
                self.subscription.start(partition, read_from).await?;
                self.folding(*fold)
            }
            Start::FindRules { begin, end, receipts_from } => {
                let begin = Begin { offset: begin, receipts_from };
                if begin.offset == end {
                    self.announce_rules(partition).await?;
                    self.fold_from(partition, begin, self.settings.rules.clone()).await?
                } else {
                    self.subscription.start(partition, begin.offset).await?;
                    Owned::FindingRules { begin, end }
                }
            }
        };
        self.partitions.insert(partition, owned);
        self.health.started(true);
        Ok(())
    }

    fn folding(&self, fold: PartitionFold) -> Owned {
        let resends =
            OldResends::new(&self.lake, self.log.topic(), fold.partition(), self.settings.max_age);
        Owned::Folding(Box::new(Folding {
            fold,
            resends,
            quiet_since: Instant::now(),
            announced_at: None,
        }))
    }

    /// A fold from the log's beginning, with its first rules.
    async fn fold_from(
        &mut self,
        partition: Partition,
        begin: Begin,
        rules: Arc<footfall_sessionizer::Rules>,
    ) -> Result<Owned, PipelineError> {
        let Begin { offset, receipts_from } = begin;
        tracing::info!(partition = partition.0, offset = offset.0, "partition begun");
        self.subscription.start(partition, offset).await?;
        let origin = Origin { log: self.log.topic().into(), partition };
        Ok(self.folding(PartitionFold::begin(origin, offset, receipts_from, rules)?))
    }

    async fn announce_rules(&self, partition: Partition) -> Result<(), PipelineError> {
        let record = control_record(partition, &self.settings.rules);
        self.log.append(vec![record]).await?;
        Ok(())
    }

    async fn take_records(
        &mut self,
        partition: Partition,
        records: &[Record],
    ) -> Result<(), PipelineError> {
        match self.partitions.get_mut(&partition) {
            None => Ok(()),
            Some(Owned::Folding(folding)) => {
                let Folding { fold, resends, .. } = folding.as_mut();
                let signals = fold.read(records, resends, &self.metrics).await?;
                self.signals.send(&signals);
                folding.quiet_since = Instant::now();
                Ok(())
            }
            Some(Owned::FindingRules { begin, end }) => {
                let (begin, end) = (*begin, *end);
                let found = first_rules(records);
                let is_end = records.last().is_some_and(|last| last.offset.next() >= end);
                let rules = match found {
                    Some(rules) => rules,
                    None if is_end => {
                        self.announce_rules(partition).await?;
                        self.settings.rules.clone()
                    }
                    None => return Ok(()),
                };
                let owned = self.fold_from(partition, begin, rules).await?;
                self.partitions.insert(partition, owned);
                Ok(())
            }
        }
    }

    /// Takes up a finished commit, and begins the next when it is time.
    async fn look_after_commits(&mut self) -> Result<(), PipelineError> {
        if let Some(finished) = self.interval.finished().await? {
            self.after_commit(finished).await?;
        }
        let waiting: usize = self.folds().map(PartitionFold::rows_waiting).sum();
        // An id must not be forgotten before its row can be looked up, so a commit spans little log
        // time also where much of it is caught up with.
        let spans_much = self.folds().any(PartitionFold::spans_much);
        let is_full = waiting >= self.settings.commit_rows_max || spans_much;
        if is_full && let Some(finished) = self.interval.wait().await? {
            self.after_commit(finished).await?;
        }
        if self.interval.is_due(is_full) {
            self.begin_commit()?;
        }
        Ok(())
    }

    fn begin_commit(&mut self) -> Result<(), PipelineError> {
        let is_barrier = self.interval.is_barrier_due();
        let committer = self.committer.clone();
        let folds = self.partitions.values_mut().filter_map(|owned| match owned {
            Owned::Folding(folding) => Some(&mut folding.fold),
            Owned::FindingRules { .. } => None,
        });
        let (lake, metrics) = (self.lake.clone(), self.metrics.clone());
        self.interval.begin(folds, is_barrier, committer, lake, metrics)
    }

    async fn after_commit(&mut self, finished: Finished) -> Result<(), PipelineError> {
        if !finished.released.is_empty() {
            self.subscription.release(finished.released).await?;
        }
        if let Some(log_time) = finished.log_time {
            self.health.committed(log_time);
        }
        for partition in finished.overtaken {
            if self.partitions.remove(&partition).is_some() {
                self.start_partition(partition).await?;
            }
        }
        Ok(())
    }

    fn folds(&self) -> impl Iterator<Item = &PartitionFold> {
        self.partitions.values().filter_map(|owned| match owned {
            Owned::Folding(folding) => Some(&folding.fold),
            Owned::FindingRules { .. } => None,
        })
    }

    /// Ticks let log time go on where no record comes; the records of one round are one append.
    fn send_ticks(&mut self) {
        if self.ticking.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (mut quiet, mut records) = (Vec::new(), Vec::new());
        for (partition, owned) in &mut self.partitions {
            let Owned::Folding(folding) = owned else { continue };
            let is_waiting = folding.fold.fold().waits();
            let after = if is_waiting { TICK_AFTER_WAITING } else { TICK_AFTER };
            if folding.announces(&self.settings) {
                records.push(control_record(*partition, &self.settings.rules));
            } else if folding.quiet_since.elapsed() >= after {
                quiet.push((*partition, folding.fold.position()));
            }
        }
        if quiet.is_empty() && records.is_empty() {
            return;
        }
        let log = self.log.clone();
        self.ticking = Some(tokio::spawn(async move {
            for (partition, position) in quiet {
                let bounds = log.bounds(partition).await;
                if bounds.is_ok_and(|bounds| bounds.end <= position) {
                    records.push(NewRecord { partition, kind: Kind::Tick, payload: Bytes::new() });
                }
            }
            if !records.is_empty()
                && let Err(error) = log.append(records).await
            {
                tracing::warn!(%error, "a tick was not written; log time stands until the log is back");
            }
        }));
    }

    async fn show_metrics(&mut self) {
        if self.metrics_at.elapsed() < METRICS_INTERVAL {
            return;
        }
        self.metrics_at = Instant::now();
        let now = Micros::clock();
        for fold in self.partitions.values().filter_map(|owned| match owned {
            Owned::Folding(folding) => Some(&folding.fold),
            Owned::FindingRules { .. } => None,
        }) {
            let (partition, state) = (fold.partition(), fold.fold());
            self.metrics.state(
                partition,
                state.open_sessions(),
                state.held_events(),
                state.remembered_ids(),
            );
            if let Some(watermark) = state.clock().watermark() {
                self.metrics.watermark(partition, watermark.seconds());
            }
            if let Ok(bounds) = self.log.bounds(partition).await {
                let behind = (bounds.end.0 - fold.position().0).max(0);
                let age = if behind == 0 { 0.0 } else { (now - fold.last_append_time()).seconds() };
                self.metrics.lag(partition, behind, age.max(0.0));
            }
        }
        self.metrics.freshness(self.health.freshness_seconds(now));
    }

    /// A last barrier, so that the next start has nothing to fold again.
    async fn finish(mut self) -> Result<(), PipelineError> {
        if let Some(ticking) = self.ticking.take() {
            ticking.abort();
        }
        if let Some(finished) = self.interval.wait().await? {
            self.after_commit(finished).await?;
        }
        self.interval.force_barrier();
        self.begin_commit()?;
        if let Some(finished) = self.interval.wait().await? {
            self.after_commit(finished).await?;
        }
        tracing::info!("pipeline stopped");
        Ok(())
    }
}

impl Folding {
    /// Whether rules other than those in force are configured, and it is time to say so: they are
    /// said again until they are read back.
    fn announces(&mut self, settings: &PipelineSettings) -> bool {
        let differ = **self.fold.fold().rules().newest().1 != *settings.rules;
        let is_time = self.announced_at.is_none_or(|at| at.elapsed() >= ANNOUNCE_AGAIN);
        if differ && is_time {
            self.announced_at = Some(Instant::now());
        }
        differ && is_time
    }
}
