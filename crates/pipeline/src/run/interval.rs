//! When to commit, and the one commit that may be on its way while the fold goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::{Lake, LakeError};
use tokio::task::JoinHandle;

use crate::committer::Committer;
use crate::metrics::Metrics;
use crate::partition::{PartitionFold, Settled};
use crate::{PipelineError, PipelineSettings, snapshot};

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The rhythm of commits and barriers.
pub struct Interval {
    commit_interval: Duration,
    snapshot_interval: Duration,
    committed_at: Instant,
    barrier_at: Instant,
    barrier_forced: bool,
    running: Option<JoinHandle<Result<Finished, PipelineError>>>,
    /// Where each partition's newest snapshot resumes: what the log must keep while the one before
    /// it is kept.
    resumes: BTreeMap<Partition, Offset>,
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
    published: Vec<(Partition, Offset)>,
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
            barrier_at: Instant::now(),
            barrier_forced: false,
            running: None,
            resumes: BTreeMap::new(),
        }
    }

    pub fn is_due(&self, is_full: bool) -> bool {
        let is_time = self.committed_at.elapsed() >= self.commit_interval;
        self.running.is_none() && (is_time || is_full)
    }

    pub fn is_barrier_due(&self) -> bool {
        self.barrier_forced || self.barrier_at.elapsed() >= self.snapshot_interval
    }

    pub fn force_barrier(&mut self) {
        self.barrier_forced = true;
    }

    /// Settles the partitions and commits them in a task of its own. Partitions in which only ticks
    /// were read wait for the barrier.
    ///
    /// # Errors
    /// `Rows`, `Snapshot`.
    pub fn begin<'f>(
        &mut self,
        folds: impl Iterator<Item = &'f mut PartitionFold>,
        is_barrier: bool,
        committer: Arc<Committer>,
        lake: Lake,
        metrics: Metrics,
    ) -> Result<(), PipelineError> {
        self.committed_at = Instant::now();
        let (mut settled, mut drafts) = (Vec::new(), Vec::new());
        let mut log_time = None;
        for fold in folds {
            let time = fold.fold().clock().log_time();
            log_time = if log_time.is_none() { time } else { log_time.min(time) };
            if !is_barrier && !fold.has_news() && !fold.spans_much() {
                continue;
            }
            let part = fold.settle()?;
            metrics.settled(&part.output);
            settled.push(part);
            if is_barrier {
                let began = Instant::now();
                let (partition, offset) = (fold.partition(), fold.position());
                let (resume_from, bytes) = fold.snapshot()?;
                drafts.push(Draft { partition, offset, resume_from, bytes });
                metrics.snapshot(began.elapsed());
            }
        }
        if is_barrier {
            self.barrier_at = Instant::now();
        }
        let task = commit(settled, drafts, is_barrier, log_time, committer, lake);
        self.running = Some(tokio::spawn(task));
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

    /// Waits for the commit that was begun; `None` if there is none.
    ///
    /// # Errors
    /// As [`Interval::finished`].
    pub async fn wait(&mut self) -> Result<Option<Finished>, PipelineError> {
        let Some(running) = self.running.take() else { return Ok(None) };
        let mut finished = match running.await {
            Ok(finished) => finished?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        for (partition, resume_from) in std::mem::take(&mut finished.published) {
            if let Some(before) = self.resumes.insert(partition, resume_from) {
                finished.released.push((partition, before));
            }
        }
        Ok(Some(finished))
    }
}

async fn commit(
    settled: Vec<Settled>,
    drafts: Vec<Draft>,
    is_barrier: bool,
    log_time: Option<Micros>,
    committer: Arc<Committer>,
    lake: Lake,
) -> Result<Finished, PipelineError> {
    let mut patience = Patience::default();
    let overtaken = loop {
        let attempt = committer.commit(&settled, is_barrier).await;
        if let Some(overtaken) = patience.judge("commit", attempt).await? {
            break overtaken;
        }
    };
    let topic = settled.first().map(|part| part.origin.log.clone()).unwrap_or_default();
    drop(settled);
    let mut published = Vec::new();
    for draft in drafts {
        if committer.stands_at(draft.partition, draft.offset).await {
            let Draft { partition, offset, resume_from, bytes } = draft;
            let bytes = Bytes::from(bytes);
            let mut patience = Patience::default();
            loop {
                let attempt = snapshot::publish(&lake, &topic, partition, offset, bytes.clone());
                if patience.judge("snapshot", attempt.await).await?.is_some() {
                    break;
                }
            }
            published.push((partition, resume_from));
        }
    }
    Ok(Finished { released: Vec::new(), overtaken, log_time, published })
}

/// Longer and longer pauses while the lake's store fails: events wait in the log, and nothing is lost.
struct Patience {
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { pause: RETRY_FIRST }
    }
}

impl Patience {
    /// What came of an attempt; `None`, after a pause, when it is worth another.
    async fn judge<T>(
        &mut self,
        what: &str,
        attempt: Result<T, PipelineError>,
    ) -> Result<Option<T>, PipelineError> {
        match attempt {
            Ok(done) => Ok(Some(done)),
            Err(PipelineError::Lake(error)) if !matches!(error, LakeError::Stale { .. }) => {
                tracing::error!(%error, "{what} failed; trying again in {:?}", self.pause);
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(RETRY_MAX);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
