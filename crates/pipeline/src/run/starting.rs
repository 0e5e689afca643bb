//! How a partition that was given to this pipeline comes to be folded: from its snapshot, or from the log's beginning
//! once its first rules are known.

use std::sync::Arc;

use footfall_event::{Offset, Partition};
use footfall_log::LogError;
use footfall_sessionizer::Rules;
use tokio::time::Instant;

use super::Pipeline;
use super::interval::Outlets;
use super::owned::{Folding, Owned};
use crate::old_resend::OldResends;
use crate::partition::PartitionFold;
use crate::patience::Patience;
use crate::rows::Origin;
use crate::start::{Start, control_record, start};
use crate::{PipelineError, snapshot};

impl Pipeline {
    /// Starts a partition; where the log or the store cannot be reached, it is tried again later, and
    /// the others go on.
    pub(super) async fn start_partition(
        &mut self,
        partition: Partition,
        mut patience: Patience,
    ) -> Result<(), PipelineError> {
        let owned = match self.try_start(partition).await {
            Ok(owned) => owned,
            Err(error) if error.passes() => {
                let pause = patience.pause();
                tracing::error!(%error, partition = partition.0, "not started; again in {pause:?}");
                Owned::Waiting { until: Instant::now() + pause, patience }
            }
            // It was given away in the meantime, which the next delivery tells.
            Err(PipelineError::Log(LogError::NotAssigned(_))) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.partitions.insert(partition, owned);
        self.health.started(true);
        Ok(())
    }

    pub(super) async fn start_waiting(&mut self) -> Result<(), PipelineError> {
        let waiting = self.partitions.iter().filter_map(|(partition, owned)| match owned {
            Owned::Waiting { until, patience } if *until <= Instant::now() => {
                Some((*partition, *patience))
            }
            _ => None,
        });
        for (partition, patience) in waiting.collect::<Vec<_>>() {
            self.start_partition(partition, patience).await?;
        }
        Ok(())
    }

    async fn try_start(&mut self, partition: Partition) -> Result<Owned, PipelineError> {
        let (lake, committer) = (&self.outlets.lake, &self.outlets.committer);
        match start(self.log.as_ref(), lake, committer, partition).await? {
            Start::Fold { fold, read_from } => self.go_on(*fold, read_from).await,
            Start::FindRules { begin, end, .. } => self.find_rules(partition, begin, end).await,
        }
    }

    async fn go_on(
        &mut self,
        fold: PartitionFold,
        read_from: Offset,
    ) -> Result<Owned, PipelineError> {
        let partition = fold.partition();
        tracing::info!(partition = partition.0, offset = read_from.0, "partition resumed");
        self.subscription.start(partition, read_from).await?;
        Ok(self.folding(fold))
    }

    /// Looks for the first rules from record `from` on; where none come before `end`, those configured
    /// here are announced, and looked for behind it: another pipeline may have been first.
    pub(super) async fn find_rules(
        &mut self,
        partition: Partition,
        from: Offset,
        mut end: Offset,
    ) -> Result<Owned, PipelineError> {
        if from == end {
            let record = control_record(partition, &self.settings.rules);
            let appended = self.log.append(vec![record]).await?;
            end = appended.first().map_or(end, |announced| announced.offset.next());
        }
        self.subscription.start(partition, from).await?;
        Ok(Owned::FindingRules { end, quiet_since: Instant::now() })
    }

    pub(super) fn folding(&self, mut fold: PartitionFold) -> Owned {
        fold.show_to(self.tail.clone());
        let resends = OldResends::new(
            &self.outlets.lake,
            self.log.topic(),
            fold.partition(),
            self.settings.max_age,
            self.shutdown.clone(),
        );
        Owned::Folding(Box::new(Folding::new(fold, resends)))
    }

    /// A fold from the log's beginning, with its first rules. Where it begins is asked again, as retention goes on while
    /// they are looked for. Where the log does not begin at 0, a snapshot keeps its beginning, or a crash before the first
    /// barrier would look like a log that was lost; the first commit is one all the same.
    pub(super) async fn begin(
        &mut self,
        partition: Partition,
        rules: Arc<Rules>,
    ) -> Result<Owned, PipelineError> {
        let (topic, Outlets { lake, committer, .. }) = (self.log.topic(), &self.outlets);
        let started = start(self.log.as_ref(), lake, committer, partition).await?;
        let (offset, receipts_from) = match started {
            Start::FindRules { begin, receipts_from, .. } => (begin, receipts_from),
            // Another pipeline has begun it meanwhile.
            Start::Fold { fold, read_from } => return self.go_on(*fold, read_from).await,
        };
        let origin = Origin { log: topic.into(), partition };
        let begin = || PartitionFold::begin(origin.clone(), offset, receipts_from, rules.clone());
        if offset > Offset(0) {
            let (_, bytes) = begin()?.snapshot()?;
            snapshot::publish(lake, topic, partition, offset, bytes.into()).await?;
        }
        let fold = begin()?;
        self.subscription.start(partition, offset).await?;
        tracing::info!(partition = partition.0, offset = offset.0, "partition begun");
        Ok(self.folding(fold))
    }
}
