//! Rows of the live tables on request: who asks waits until the loop has looked into each of its
//! partitions, or is told why not. Looking is left to `run/live`, answering over HTTP to `http/live`.

use std::sync::Arc;
use std::time::Duration;

use footfall_event::schema::LiveTable;
use footfall_event::{Micros, Partition};
use footfall_sessionizer::{LiveSession, RuleBook};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Rows of one answer: some 300 MB of memory, as long as it is sent.
pub const ROWS_MAX: usize = 200_000;
/// Answers that are made or sent at once; others wait for their turn.
const ANSWERS_MAX: usize = 2;
/// From the question to the last partition's rows: who looks at what is live does so again and again.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// Which live rows are wanted; of all sites and visitors where nothing is said.
#[derive(Clone, Debug)]
pub struct LiveWanted {
    pub table: LiveTable,
    pub site: Option<String>,
    pub visitor_id: Option<String>,
}

/// The sessions that are not over, of all partitions of a pipeline.
pub struct LiveRows {
    pub table: LiveTable,
    /// Each partition that is folded here, ascending.
    pub looks: Vec<Look>,
    /// How many partitions the log has; other pipelines may fold some of them.
    pub partition_count: u32,
    /// Given back when the rows are.
    _place: OwnedSemaphorePermit,
}

/// What a partition held at one moment.
pub struct Look {
    pub partition: Partition,
    pub sessions: Vec<LiveSession>,
    pub book: RuleBook,
    /// The append time of the record read last.
    pub as_of: Micros,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveRefused {
    #[error(
        "the open state did not answer within {ANSWER_TIME_MAX:?}: the pipeline is busy, or other \
         answers are being sent; ask again"
    )]
    Slow,
    #[error("partition {0} is being started and its open sessions are not known yet; ask again")]
    Starting(Partition),
    #[error("more than {ROWS_MAX} rows are live; narrow them by site, or by site and visitor_id")]
    TooMany,
}

/// Where live rows are asked for.
#[derive(Clone)]
pub struct Live {
    asks: mpsc::Sender<Ask>,
    places: Arc<Semaphore>,
    partition_count: u32,
}

/// A question on its way to the loop.
pub struct Ask {
    pub wanted: LiveWanted,
    pub answer: oneshot::Sender<Result<Vec<Look>, LiveRefused>>,
}

impl Live {
    /// With the loop's end of it.
    pub fn new(partition_count: u32) -> (Live, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ANSWERS_MAX);
        (Live { asks, places: Arc::new(Semaphore::new(ANSWERS_MAX)), partition_count }, asked)
    }

    /// # Errors
    /// Why there is no answer; never a part of one.
    pub async fn ask(&self, wanted: LiveWanted) -> Result<LiveRows, LiveRefused> {
        timeout(ANSWER_TIME_MAX, self.answer(wanted)).await.unwrap_or(Err(LiveRefused::Slow))
    }

    async fn answer(&self, wanted: LiveWanted) -> Result<LiveRows, LiveRefused> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| LiveRefused::Slow)?;
        let table = wanted.table;
        let (answer, answered) = oneshot::channel();
        // The loop is gone when it stops.
        self.asks.send(Ask { wanted, answer }).await.map_err(|_| LiveRefused::Slow)?;
        let looks = answered.await.unwrap_or(Err(LiveRefused::Slow))?;
        Ok(LiveRows { table, looks, partition_count: self.partition_count, _place: place })
    }
}
