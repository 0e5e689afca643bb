//! When to commit, and the one commit that may be on its way while the fold goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Lake;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::committer::Committer;
use crate::metrics::Metrics;
use crate::partition::{PartitionFold, Settled};
use crate::patience::Patience;
use crate::{PipelineError, PipelineSettings, SignalHub, snapshot};

/// The rhythm of commits and barriers.
pub struct Interval {
    commit_interval: Duration,
    snapshot_interval: Duration,
    committed_at: Instant,
    /// Each partition's last barrier, or when it was first seen.
    barriers: BTreeMap<Partition, Instant>,
    running: Option<JoinHandle<Result<Finished, PipelineError>>>,
    /// Where each partition's newest snapshot stands, and where it resumes: what the log must keep while the one before
    /// it is kept.
    resumes: BTreeMap<Partition, (Offset, Offset)>,
}

/// Where commits and snapshots go, and whom they wait for.
#[derive(Clone)]
pub struct Outlets {
    pub committer: Arc<Committer>,
    pub lake: Lake,
    pub signals: SignalHub,
    pub metrics: Metrics,
}

/// What a commit led to.
#[derive(Debug, Default)]
pub struct Finished {
    /// Up to where the log is needed no more.
    pub released: Vec<(Partition, Offset)>,
    /// Partitions that must start again from their snapshots.
    pub overtaken: BTreeSet<Partition>,
    /// The lowest log time up to which the tables speak.
    pub log_time: Option<Micros>,
    published: Vec<(Partition, Offset, Offset)>,
}

/// A partition's snapshot, to be published when all tables stand at its offset.
struct Draft {
    partition: Partition,
    offset: Offset,
    resume_from: Offset,
    bytes: Vec<u8>,
}

impl Interval {
    pub fn new(settings: &PipelineSettings) -> Interval {
        Interval {
            commit_interval: settings.commit_interval,
            snapshot_interval: settings.snapshot_interval,
            committed_at: Instant::now(),
            barriers: BTreeMap::new(),
            running: None,
            resumes: BTreeMap::new(),
        }
    }

    pub fn is_due(&self, is_full: bool) -> bool {
        let is_time = self.committed_at.elapsed() >= self.commit_interval;
        self.running.is_none() && (is_time || is_full)
    }

    /// The partitions whose barrier the next commit is. They take turns, so that few snapshots are in
    /// memory at once, yet so many go together that each has its turn within the interval.
    pub fn barriers_due(
        &mut self,
        partitions: impl Iterator<Item = Partition>,
    ) -> BTreeSet<Partition> {
        let partitions: BTreeSet<Partition> = partitions.collect();
        self.barriers.retain(|partition, _| partitions.contains(partition));
        for partition in &partitions {
            self.barriers.entry(*partition).or_insert_with(Instant::now);
        }
        let commits = self.snapshot_interval.div_duration_f64(self.commit_interval).max(1.0);
        let at_once = (partitions.len() as f64 / commits).ceil() as usize;
        let mut due: Vec<_> =
            self.barriers.iter().map(|(partition, at)| (*at, *partition)).collect();
        due.retain(|(at, _)| at.elapsed() >= self.snapshot_interval);
        due.sort_unstable();
        due.into_iter().take(at_once).map(|(_, partition)| partition).collect()
    }

    /// Settles the partitions and commits them in a task of its own. Partitions in which only ticks
    /// were read wait for their barrier; those that are not whole yet have nothing to settle.
    ///
    /// # Errors
    /// `Rows`, `Snapshot`.
    pub fn begin<'f>(
        &mut self,
        folds: impl Iterator<Item = &'f mut PartitionFold>,
        barriers: &BTreeSet<Partition>,
        outlets: &Outlets,
    ) -> Result<(), PipelineError> {
        self.committed_at = Instant::now();
        let (mut settled, mut drafts) = (Vec::new(), Vec::new());
        let mut log_time = None;
        for fold in folds.filter(|fold| fold.is_whole()) {
            let time = fold.fold().clock().log_time();
            log_time = if log_time.is_none() { time } else { log_time.min(time) };
            let is_due = fold.has_news() || fold.spans_much();
            // The first does not wait for its turn: until there is a snapshot, nothing can be computed again of what is read.
            let is_first = is_due && fold.is_unsaved();
            let is_barrier = is_first || barriers.contains(&fold.partition());
            if !is_barrier && !is_due {
                continue;
            }
            let part = fold.settle(is_barrier)?;
            outlets.metrics.settled(&part.output);
            settled.push(part);
            if is_barrier {
                let began = Instant::now();
                let (partition, offset) = (fold.partition(), fold.position());
                let (resume_from, bytes) = fold.snapshot()?;
                drafts.push(Draft { partition, offset, resume_from, bytes });
                self.barriers.insert(partition, began);
                outlets.metrics.snapshot(began.elapsed());
            }
        }
        self.running = Some(tokio::spawn(commit(settled, drafts, log_time, outlets.clone())));
        Ok(())
    }

    /// The commit that was begun, if it has ended.
    ///
    /// # Errors
    /// What the commit failed with, when waiting does not mend it.
    pub async fn finished(&mut self) -> Result<Option<Finished>, PipelineError> {
        match &self.running {
            Some(running) if running.is_finished() => self.wait().await,
            _ => Ok(None),
        }
    }

    /// Waits for the commit that was begun; `None` if there is none. Safe to cancel.
    ///
    /// # Errors
    /// As [`Interval::finished`].
    pub async fn wait(&mut self) -> Result<Option<Finished>, PipelineError> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let ended = running.await;
        self.running = None;
        let mut finished = match ended {
            Ok(finished) => finished?,
            // It is never aborted, so it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        for (partition, offset, resume_from) in std::mem::take(&mut finished.published) {
            // One at the same offset took the place of the one before, and left the one before that.
            if let Some((before, its_resume)) =
                self.resumes.insert(partition, (offset, resume_from))
                && before != offset
            {
                finished.released.push((partition, its_resume));
            }
        }
        Ok(Some(finished))
    }
}

async fn commit(
    settled: Vec<Settled>,
    drafts: Vec<Draft>,
    log_time: Option<Micros>,
    outlets: Outlets,
) -> Result<Finished, PipelineError> {
    let Outlets { committer, lake, signals, .. } = outlets;
    let mut patience = Patience::default();
    let overtaken = loop {
        let attempt = committer.commit(&settled).await;
        if let Some(overtaken) = patience.judge("commit", attempt).await? {
            break overtaken;
        }
    };
    let topic = settled.first().map(|part| part.origin.log.clone()).unwrap_or_default();
    drop(settled);
    if !drafts.is_empty() {
        signals.drained().await;
    }
    let mut published = Vec::new();
    for Draft { partition, offset, resume_from, bytes } in drafts {
        if !committer.stands_at(partition, offset).await {
            continue;
        }
        let bytes = Bytes::from(bytes);
        let mut patience = Patience::default();
        loop {
            let attempt = snapshot::publish(&lake, &topic, partition, offset, bytes.clone()).await;
            if patience.judge("snapshot", attempt).await?.is_some() {
                break;
            }
        }
        published.push((partition, offset, resume_from));
    }
    Ok(Finished { released: Vec::new(), overtaken, log_time, published })
}
