//! What a partition is to the pipeline that it is assigned to.

use footfall_event::Offset;
use footfall_log::LogError;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::old_resend::OldResends;
use crate::partition::PartitionFold;
use crate::patience::Patience;

/// A partition that is assigned to this pipeline.
pub enum Owned {
    /// The log or the store could not be reached when it was to start.
    Waiting {
        until: Instant,
        patience: Patience,
    },
    /// Its first rules are looked for, in the records before `end`.
    FindingRules {
        end: Offset,
        /// As of [`Folding`].
        quiet_since: Instant,
    },
    Folding(Box<Folding>),
}

pub struct Folding {
    pub fold: PartitionFold,
    pub resends: OldResends,
    /// When the last record was read, by this process's clock.
    pub quiet_since: Instant,
    /// When the rules configured here were last written to the log.
    pub announced_at: Option<Instant>,
    /// A tick, or rules, on their way to the log. Answers the log's end where a tick was left to what waits before it.
    pub ticking: Option<JoinHandle<Result<Option<Offset>, LogError>>>,
    /// That end, and since when it has been the same while nothing was read.
    pub waiting: Option<(Offset, Instant)>,
}

impl Folding {
    pub fn new(fold: PartitionFold, resends: OldResends) -> Folding {
        let quiet_since = Instant::now();
        Folding { fold, resends, quiet_since, announced_at: None, ticking: None, waiting: None }
    }

    /// Records were read.
    pub fn heard(&mut self) {
        self.quiet_since = Instant::now();
        self.waiting = None;
    }
}

impl Owned {
    pub fn fold(&self) -> Option<&PartitionFold> {
        match self {
            Owned::Folding(folding) => Some(&folding.fold),
            Owned::Waiting { .. } | Owned::FindingRules { .. } => None,
        }
    }

    pub fn fold_mut(&mut self) -> Option<&mut PartitionFold> {
        match self {
            Owned::Folding(folding) => Some(&mut folding.fold),
            Owned::Waiting { .. } | Owned::FindingRules { .. } => None,
        }
    }
}
