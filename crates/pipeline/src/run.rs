//! The pipeline's loop: assignments and records in, commits and snapshots out.

mod erasing;
mod interval;
mod job;
mod lag;
mod live;
mod owned;
mod starting;
#[cfg(test)]
mod tests;
mod ticks;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use footfall_event::Partition;
use footfall_lake::Lake;
use footfall_log::{Delivery, EventLog, LogError, Record, Subscription};
use footfall_sessionizer::Rules;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::committer::Committer;
use crate::metrics::Metrics;
use crate::partition::PartitionFold;
use crate::patience::Patience;
use crate::signals::SignalHub;
use crate::start::first_rules;
use crate::tail::Tail;
use crate::{Erasures, Health, Live, PipelineError, PipelineSettings};
use erasing::Erasing;
use interval::{Finished, Interval, Outlets};
pub use job::JobsRun;
use lag::Lag;
use live::Looking;
use owned::{Folding, Owned};
use tokio::time::Instant;
use upkeep::{CARETAKER, Upkeep};

/// The loop looks at least this often whether a tick or a commit is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the last commits may take when the pipeline is asked to stop. What they do not commit, the
/// next start folds again.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Everything a running pipeline works with.
pub struct Pipeline {
    log: Arc<dyn EventLog>,
    settings: PipelineSettings,
    health: Health,
    outlets: Outlets,
    tail: Tail,
    subscription: Box<dyn Subscription>,
    partitions: BTreeMap<Partition, Owned>,
    interval: Interval,
    lag: Lag,
    upkeep: Upkeep,
    /// The rules that are to be in force.
    wanted: watch::Receiver<Arc<Rules>>,
    rules: watch::Sender<Arc<Rules>>,
    erasing: Erasing,
    live: Live,
    looking: Looking,
    shutdown: CancellationToken,
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
        let committer = Arc::new(Committer::open(&lake, log.topic(), metrics.clone()).await?);
        let subscription = log.subscribe(&settings.group)?;
        let signals = SignalHub::start(log.clone(), &settings.signals_topic, metrics.clone());
        let interval = Interval::new(&settings);
        let upkeep = Upkeep::new(&settings);
        let (rules, wanted) = watch::channel(settings.rules.clone());
        let erasing = Erasing::new(&settings, &lake, &log);
        let (live, asked) = Live::new(log.partitions());
        health.reads(log.topic(), log.partitions(), lake.url().as_str());
        Ok(Pipeline {
            log,
            settings,
            health,
            outlets: Outlets { committer, lake, signals, metrics },
            tail: Tail::default(),
            subscription,
            partitions: BTreeMap::new(),
            interval,
            lag: Lag::default(),
            upkeep,
            wanted,
            rules,
            erasing,
            live,
            looking: Looking::new(asked),
            shutdown: CancellationToken::new(),
        })
    }

    pub fn signals(&self) -> SignalHub {
        self.outlets.signals.clone()
    }

    /// Where erasures are asked for.
    pub fn erasures(&self) -> Erasures {
        self.erasing.erasures()
    }

    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Where the open sessions are asked for.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Where other rules are given while it runs; they must be right, with the lake's gap and cap. They
    /// hold for what follows the control records that say them.
    pub fn rules(&self) -> watch::Sender<Arc<Rules>> {
        self.rules.clone()
    }

    /// Runs until `shutdown`, then commits what is settled and publishes snapshots.
    ///
    /// # Errors
    /// What only a person can mend; a lost race, an unreachable log or store is waited out.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        self.shutdown = shutdown;
        while !self.shutdown.is_cancelled() {
            match self.turn().await {
                Ok(()) | Err(PipelineError::Stopping) => {}
                Err(error) => return Err(error),
            }
        }
        match tokio::time::timeout(DRAIN_MAX, self.finish()).await {
            Ok(finished) => finished?,
            Err(_) => tracing::warn!("the last commits took longer than {DRAIN_MAX:?}: left out"),
        }
        tracing::info!("pipeline stopped");
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), PipelineError> {
        let is_asked = self.looking.is_under_way();
        let wait = if is_asked { Duration::ZERO } else { LOOK_INTERVAL };
        let delivery = self.subscription.next(wait).await;
        self.take_delivery(delivery).await?;
        self.start_waiting().await?;
        self.take_rules();
        self.look_after_commits().await?;
        self.look_after_tables();
        self.send_ticks().await?;
        self.looking.look(&self.partitions, &self.outlets.metrics);
        self.show_state();
        Ok(())
    }

    async fn take_delivery(
        &mut self,
        delivery: Result<Delivery, LogError>,
    ) -> Result<(), PipelineError> {
        match delivery? {
            Delivery::Idle => Ok(()),
            Delivery::Assigned(partitions) => {
                for partition in partitions {
                    self.start_partition(partition, Patience::default()).await?;
                }
                Ok(())
            }
            Delivery::Revoked(partitions) => {
                for partition in partitions {
                    tracing::info!(partition = partition.0, "partition given away");
                    self.partitions.remove(&partition);
                    self.outlets.metrics.forget(partition);
                }
                self.health.started(!self.partitions.is_empty());
                Ok(())
            }
            Delivery::Records { partition, records } => {
                self.take_records(partition, &records).await
            }
        }
    }

    async fn take_records(
        &mut self,
        partition: Partition,
        records: &[Record],
    ) -> Result<(), PipelineError> {
        match self.partitions.get_mut(&partition) {
            None | Some(Owned::Waiting { .. }) => Ok(()),
            Some(Owned::Folding(_)) => self.fold_records(partition, records).await,
            Some(Owned::FindingRules { end, quiet_since }) => {
                *quiet_since = Instant::now();
                let end = *end;
                let behind = records.last().map_or(end, |last| last.offset.next());
                let found = match first_rules(records) {
                    Some(rules) => self.begin(partition, rules).await,
                    None if behind >= end => self.find_rules(partition, behind, behind).await,
                    None => return Ok(()),
                };
                match found {
                    Ok(owned) => drop(self.partitions.insert(partition, owned)),
                    Err(error) if error.passes() => {
                        tracing::error!(%error, partition = partition.0, "not started yet");
                        self.start_partition(partition, Patience::default()).await?;
                    }
                    Err(error) => return Err(error),
                }
                Ok(())
            }
        }
    }

    /// Folds a delivery, and commits in between where it spans much.
    async fn fold_records(
        &mut self,
        partition: Partition,
        records: &[Record],
    ) -> Result<(), PipelineError> {
        let mut rest = records;
        while let Some(Owned::Folding(folding)) = self.partitions.get_mut(&partition)
            && !rest.is_empty()
        {
            let Folding { fold, resends, .. } = folding.as_mut();
            let (read, signals) = fold.read(rest, resends, &self.outlets.metrics).await?;
            let spans_much = fold.spans_much();
            folding.heard();
            self.outlets.signals.send(&signals).await;
            rest = &rest[read..];
            // A partition that starts again is given all of its records again.
            if spans_much && self.commit_now().await?.contains(&partition) {
                break;
            }
        }
        Ok(())
    }

    /// Takes up a finished commit, and begins the next when it is time.
    async fn look_after_commits(&mut self) -> Result<(), PipelineError> {
        if let Some(finished) = self.interval.finished().await? {
            self.after_commit(finished).await?;
        }
        let waiting: usize = self.folds().map(PartitionFold::rows_waiting).sum();
        let is_full = waiting >= self.settings.commit_rows_max;
        if is_full {
            self.wait_for_commit().await?;
        }
        if self.interval.is_due(is_full) {
            self.begin_due_commit()?;
        }
        Ok(())
    }

    /// Takes up rules that were given since the last turn; each partition is told them next.
    fn take_rules(&mut self) {
        if !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        self.settings.rules = self.wanted.borrow_and_update().clone();
        self.upkeep.follow(self.settings.rules.clone());
        tracing::info!(config_id = self.settings.rules.config_id(), "the rules are changed");
        for owned in self.partitions.values_mut() {
            if let Owned::Folding(folding) = owned {
                folding.announced_at = None;
            }
        }
    }

    fn look_after_tables(&mut self) {
        let is_caretaker = matches!(self.partitions.get(&CARETAKER), Some(Owned::Folding(_)));
        let Outlets { lake, metrics, .. } = &self.outlets;
        self.upkeep.look(is_caretaker, lake, metrics);
        self.erasing.look(is_caretaker, lake, metrics);
    }

    /// Commits what is settled by now, and waits for it; the partitions that had to start again.
    async fn commit_now(&mut self) -> Result<BTreeSet<Partition>, PipelineError> {
        let mut overtaken = self.wait_for_commit().await?;
        self.begin_due_commit()?;
        overtaken.extend(self.wait_for_commit().await?);
        Ok(overtaken)
    }

    async fn wait_for_commit(&mut self) -> Result<BTreeSet<Partition>, PipelineError> {
        let finished = tokio::select! {
            biased;
            finished = self.interval.wait() => finished?,
            () = self.shutdown.cancelled() => return Err(PipelineError::Stopping),
        };
        match finished {
            Some(finished) => self.after_commit(finished).await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// A commit with the barriers that are due, whatever it is begun for: commits that come for other reasons
    /// faster than their interval would leave none for them.
    fn begin_due_commit(&mut self) -> Result<(), PipelineError> {
        let barriers = self.folds().map(PartitionFold::partition).collect::<Vec<_>>();
        let barriers = self.interval.barriers_due(barriers.into_iter());
        self.begin_commit(&barriers)
    }

    fn begin_commit(&mut self, barriers: &BTreeSet<Partition>) -> Result<(), PipelineError> {
        let folds = self.partitions.values_mut().filter_map(Owned::fold_mut);
        self.interval.begin(folds, barriers, &self.outlets)
    }

    async fn after_commit(
        &mut self,
        finished: Finished,
    ) -> Result<BTreeSet<Partition>, PipelineError> {
        if !finished.released.is_empty()
            && let Err(error) = self.subscription.release(finished.released).await
        {
            // The next snapshot releases more.
            tracing::warn!(%error, "the log keeps what is needed no more");
        }
        if let Some(log_time) = finished.log_time {
            self.health.committed(log_time);
        }
        for partition in &finished.overtaken {
            if self.partitions.remove(partition).is_some() {
                self.start_partition(*partition, Patience::default()).await?;
            }
        }
        Ok(finished.overtaken)
    }

    fn folds(&self) -> impl Iterator<Item = &PartitionFold> {
        self.partitions.values().filter_map(Owned::fold)
    }

    async fn send_ticks(&mut self) -> Result<(), PipelineError> {
        for (partition, owned) in &mut self.partitions {
            match owned {
                Owned::Folding(folding) => folding.send_tick(&self.log, &self.settings)?,
                // A record behind what never comes tells that all before it was read.
                Owned::FindingRules { quiet_since, .. }
                    if quiet_since.elapsed() >= ticks::COMES_WITHIN =>
                {
                    *quiet_since = Instant::now();
                    match ticks::append_tick(self.log.as_ref(), *partition).await {
                        Err(error @ LogError::Io { .. }) => return Err(error.into()),
                        Err(error) => tracing::warn!(%error, "a tick was not written"),
                        Ok(()) => {}
                    }
                }
                Owned::FindingRules { .. } | Owned::Waiting { .. } => {}
            }
        }
        Ok(())
    }

    fn show_state(&mut self) {
        let folds = self.partitions.values().filter_map(Owned::fold);
        self.lag.show(folds, &self.log, &self.outlets.metrics, &self.health);
    }

    /// Last barriers, one partition after the other, so that the next start has nothing to fold again.
    async fn finish(&mut self) -> Result<(), PipelineError> {
        self.upkeep.stop();
        self.erasing.stop();
        let partitions: Vec<Partition> = self.folds().map(PartitionFold::partition).collect();
        if let Some(finished) = self.interval.wait().await? {
            self.after_commit(finished).await?;
        }
        for partition in partitions {
            self.begin_commit(&BTreeSet::from([partition]))?;
            if let Some(finished) = self.interval.wait().await? {
                self.after_commit(finished).await?;
            }
        }
        Ok(())
    }
}
