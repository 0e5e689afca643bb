//! What may become of the log: retention takes what was read, or what came before anybody read, which is nothing to a
//! lake; or it takes more, or the last records are lost, or somebody makes the topic anew, which must be refused.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use footfall_event::{Offset, Partition};
use footfall_lake::Lake;
use footfall_pipeline::PipelineError;
use rand::Rng;

use crate::definitions::Definitions;
use crate::oracle;
use crate::scenario::{SECOND, Scenario};
use crate::snapshots::{snapshot_at, snapshots};

/// How soon the first receipt is there.
const RECEIVED_WITHIN: Duration = Duration::from_secs(60);
/// How soon a pipeline must see that the topic is another.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

impl Scenario {
    /// In some runs the log begins behind records that nobody read.
    pub fn begin_emptied(&self) {
        if self.world.chance().random_bool(0.12) {
            for partition in (0..self.broker.partitions() as i32).map(Partition) {
                let count = self.world.chance().random_range(0..4);
                self.world.trace("broker", "begins emptied", &count.to_string());
                self.broker.begin_emptied(partition, count);
            }
        }
    }

    /// In a few runs the pipeline dies behind its first commit, and the log is made anew.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn lose_the_log_at_once(&mut self, lake: &Lake) -> Result<bool> {
        if !self.world.chance().random_bool(0.06) {
            return Ok(false);
        }
        for probe in self.probes("first") {
            self.probe(probe).visit().await;
        }
        let began = self.world.elapsed();
        let (partition, read) = loop {
            ensure!(self.world.elapsed() < began + RECEIVED_WITHIN, "nothing was received");
            tokio::time::sleep(SECOND / 10).await;
            if let Some(received) = oracle::received(lake).await? {
                break received;
            }
        };
        // Until there is one nothing can be computed again of what is read.
        let received = self.world.elapsed();
        while lake.list(&snapshots(partition)).await?.is_empty() {
            let is_due = self.world.elapsed() < received + SECOND;
            ensure!(is_due, "no snapshot came right behind the first receipt");
            tokio::time::sleep(SECOND / 10).await;
        }
        self.pipelines.iter().for_each(|running| running.process.die());
        while !self.pipelines.is_empty() {
            tokio::time::sleep(SECOND).await;
            self.bury().await?;
        }
        let count = self.world.chance().random_range(0..2 * read.0 as usize);
        self.world.trace("broker", "lost at once", &format!("{} {count}", partition.0));
        self.broker.make_anew(partition, count);
        let why = "the log was made anew behind the first commit";
        self.require_refused(lake, why).await.map(|_| true)
    }

    /// After some runs, one of these; what stands for all rows, where there are more.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn lose_the_log(
        &mut self,
        lake: &Lake,
        definitions: &mut Definitions,
    ) -> Result<Option<u64>> {
        let drawn = self.world.chance().random_range(0..6);
        match drawn {
            0 => self.empty_partitions(lake, definitions).await.map(Some),
            1 => self.make_topic_anew(lake).await.map(|()| None),
            2 => self.cut_the_log(lake).await.map(|()| None),
            3 => self.cut_the_tail(lake).await.map(|()| None),
            _ => Ok(None),
        }
    }

    async fn empty_partitions(
        &mut self,
        lake: &Lake,
        definitions: &mut Definitions,
    ) -> Result<u64> {
        for partition in (0..self.broker.partitions() as i32).map(Partition) {
            // Beyond the newest snapshot nobody has read, and what goes there is lost.
            let is_read = snapshot_at(lake, partition).await? == self.broker.end(partition);
            if is_read && self.world.chance().random_bool(0.7) {
                self.world.trace("broker", "emptied", &partition.0.to_string());
                self.broker.empty(partition);
            }
        }
        self.start_pipeline().await?;
        self.calm(lake, "later").await?;
        self.settle(lake).await?;
        self.check(lake, definitions).await.context("after retention took the log")
    }

    async fn make_topic_anew(&mut self, lake: &Lake) -> Result<()> {
        let partitions = (0..self.broker.partitions() as i32).map(Partition);
        let of = |partition: &Partition| self.broker.records(*partition).len();
        let partition = partitions.max_by_key(of).context("a topic without partitions")?;
        let count = self.world.chance().random_range(0..2 * of(&partition));
        self.world.trace("broker", "made anew", &format!("{} {count}", partition.0));
        self.broker.make_anew(partition, count);
        let why = format!("the topic was made anew with {count} records");
        self.require_refused(lake, &why).await.map(drop)
    }

    /// Events come that nobody reads before retention takes them: that is for a person to know.
    async fn cut_the_log(&mut self, lake: &Lake) -> Result<()> {
        for probe in self.probes("unread") {
            self.probe(probe).visit().await;
        }
        let partitions = self.broker.partitions() as i32;
        let partition = Partition(self.world.chance().random_range(0..partitions));
        ensure!(
            snapshot_at(lake, partition).await? < self.broker.end(partition),
            "a snapshot speaks of what nobody has read"
        );
        self.world.trace("broker", "cut", &partition.0.to_string());
        self.broker.empty(partition);
        self.require_refused(lake, "records went that nobody had read").await.map(drop)
    }

    /// The last records go, of which tables speak and no snapshot, as where a pipeline died before it published its
    /// newest: what came in their place, fewer or more, would be taken for written.
    async fn cut_the_tail(&mut self, lake: &Lake) -> Result<()> {
        let partitions = self.broker.partitions() as i32;
        let partition = Partition(self.world.chance().random_range(0..partitions));
        let written = snapshot_at(lake, partition).await?;
        let newest = lake.list(&snapshots(partition)).await?.pop().context("no snapshot")?;
        lake.delete(&format!("{}/{newest}", snapshots(partition))).await?;
        let known = snapshot_at(lake, partition).await?;
        let end = Offset(self.world.chance().random_range(known.0..written.0));
        let come = self.world.chance().random_range(0..2 * (written.0 - end.0));
        self.world.trace("broker", "tail cut", &format!("{} {end} {come}", partition.0));
        self.broker.cut_tail(partition, end.0 as usize, come as usize);
        let refused = self.require_refused(lake, "records went that tables have").await?;
        let (end, last) = (Offset(end.0 + come), Offset(written.0 - 1));
        // A table may speak further than the snapshot that was the newest.
        let is_told = match &refused {
            PipelineError::LogLost { partition: of, from, to, .. } => {
                (*of, *from) == (partition, end) && *to >= written
            }
            PipelineError::LogReplaced { partition: of, offset, .. } => {
                end >= written && *of == partition && *offset >= last
            }
            _ => false,
        };
        ensure!(is_told, "{last} of {partition} is missing, and what is told is: {refused}");
        Ok(())
    }

    /// What a start is refused with.
    async fn require_refused(&mut self, lake: &Lake, why: &str) -> Result<PipelineError> {
        let before = oracle::rows_of_events(lake).await?;
        self.start_pipeline().await?;
        let running = self.pipelines.pop().context("no pipeline")?;
        let refused = match tokio::time::timeout(REFUSED_WITHIN, running.task).await {
            Ok(ended) => match ended.context("a pipeline panicked")? {
                Err(
                    refused @ (PipelineError::LogLost { .. } | PipelineError::LogReplaced { .. }),
                ) => refused,
                ended => bail!("{why}: {ended:?}"),
            },
            Err(_) => bail!("{why}, and the log is read"),
        };
        tokio::time::sleep(SECOND).await;
        let after = oracle::rows_of_events(lake).await?;
        ensure!(before == after, "{why}, and rows changed");
        Ok(refused)
    }
}
