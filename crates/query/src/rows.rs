//! The rows of one query, which it makes as fast as they are taken. Which query is left to `engine`,
//! writing rows in a format to `format`.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::diagnose::diagnose;
use crate::engine::{Slot, Watch};
use crate::fence::Leash;
use crate::plain::{plain_batch, plain_schema};
use crate::{Outcome, QueryError};

/// Batches that are made before they are taken.
const BATCHES_AHEAD: usize = 1;

/// Rows that are to be taken one batch after the other. Dropping them stops the query.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    parts: mpsc::Receiver<Part>,
    /// How long the query was waited for, and how long that may be.
    waited: Duration,
    limit: Duration,
    row_count: usize,
    must_end: Option<oneshot::Receiver<QueryError>>,
    held: Weak<Held>,
    /// Taken when the rows are over.
    watch: Option<Watch>,
    _task: AbortOnDropHandle<()>,
}

/// What a query's task tells.
#[derive(Debug)]
pub(crate) enum Part {
    Schema(SchemaRef),
    Rows(RecordBatch),
    Error(QueryError),
    End,
}

/// What is given back with a query's slot, beside it.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Option<OwnedSemaphorePermit>>);

impl Held {
    fn put(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

/// What a query's task holds, and obeys, as long as it runs.
pub(crate) struct Terms {
    pub(crate) _slot: Slot,
    pub(crate) _held: Arc<Held>,
    pub(crate) leash: Leash,
    pub(crate) rows_max: usize,
    /// How long all waiting for the client may take.
    pub(crate) taking_max: Duration,
}

impl Rows {
    /// The rows of the task that sends `parts`; waits until it knows its columns.
    ///
    /// # Errors
    /// Whatever keeps the query from starting.
    pub(crate) async fn begin(
        parts: mpsc::Receiver<Part>,
        must_end: Option<oneshot::Receiver<QueryError>>,
        held: Weak<Held>,
        watch: Watch,
        limit: Duration,
        task: AbortOnDropHandle<()>,
    ) -> Result<Rows, QueryError> {
        let schema = arrow::datatypes::Schema::empty().into();
        let (waited, row_count, watch) = (Duration::ZERO, 0, Some(watch));
        let mut rows =
            Rows { schema, parts, waited, limit, row_count, must_end, held, watch, _task: task };
        match rows.part().await {
            Part::Schema(schema) => {
                rows.schema = schema;
                Ok(rows)
            }
            Part::Error(error) => Err(rows.fail(error)),
            Part::Rows(_) | Part::End => Err(rows.fail(stopped())),
        }
    }

    /// Types are plain: no string views, no dictionaries, zoned times in UTC.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, in the query's order; `None` when there are no more.
    ///
    /// # Errors
    /// Any [`QueryError`]; the rows are over then.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        self.watch.as_ref()?;
        match self.part().await {
            Part::Rows(batch) => {
                self.row_count += batch.num_rows();
                Some(Ok(batch))
            }
            Part::End => {
                if let Some(watch) = self.watch.take() {
                    watch.end(Outcome::Ok, self.row_count);
                }
                None
            }
            Part::Error(error) => Some(Err(self.fail(error))),
            Part::Schema(_) => Some(Err(self.fail(stopped()))),
        }
    }

    /// Keeps `permit` as long as the query has its slot, or until [`Rows::let_go`].
    pub(crate) fn hold(&self, permit: OwnedSemaphorePermit) {
        if let Some(held) = self.held.upgrade() {
            held.put(Some(permit));
        }
    }

    pub(crate) fn let_go(&self) {
        if let Some(held) = self.held.upgrade() {
            held.put(None);
        }
    }

    async fn part(&mut self) -> Part {
        let began = Instant::now();
        let left = self.limit.saturating_sub(self.waited);
        let parts = &mut self.parts;
        let part = async {
            match tokio::time::timeout(left, parts.recv()).await {
                Ok(part) => part.unwrap_or_else(|| Part::Error(stopped())),
                Err(_) => Part::Error(QueryError::Time { limit: self.limit }),
            }
        };
        let told = async {
            match &mut self.must_end {
                Some(must_end) => match must_end.await {
                    Ok(why) => why,
                    // The query is over and nobody watches it any more.
                    Err(_) => {
                        self.must_end = None;
                        std::future::pending().await
                    }
                },
                None => std::future::pending().await,
            }
        };
        let part = tokio::select! {
            biased;
            why = told => Part::Error(why),
            part = part => part,
        };
        self.waited += began.elapsed();
        part
    }

    fn fail(&mut self, error: QueryError) -> QueryError {
        if let Some(watch) = self.watch.take() {
            watch.end(error.outcome(), self.row_count);
        }
        self.parts.close();
        error
    }
}

/// Takes all `rows` of the query `text` and tells `parts` of them.
pub(crate) async fn tell(
    mut rows: SendableRecordBatchStream,
    text: &str,
    parts: mpsc::Sender<Part>,
    terms: &mut Terms,
) {
    let schema = plain_schema(&rows.schema());
    let (mut row_count, mut left) = (0, terms.taking_max);
    let mut part = Part::Schema(schema.clone());
    loop {
        let is_last = matches!(part, Part::End | Part::Error(_));
        if !terms.give(&parts, part, &mut left).await || is_last {
            return;
        }
        part = match rows.next().await {
            None => Part::End,
            Some(Err(error)) => Part::Error(diagnose(&error, text)),
            Some(Ok(batch)) => {
                row_count += batch.num_rows();
                match plain_batch(&batch, &schema) {
                    _ if row_count > terms.rows_max => {
                        Part::Error(QueryError::Rows { rows_max: terms.rows_max })
                    }
                    Ok(batch) => Part::Rows(batch),
                    Err(error) => Part::Error(diagnose(&error.into(), text)),
                }
            }
        };
    }
}

impl Terms {
    /// Whether the client took `part` in the time that is `left` to it.
    async fn give(&mut self, parts: &mpsc::Sender<Part>, part: Part, left: &mut Duration) -> bool {
        let began = Instant::now();
        self.leash.lengthen(*left);
        let given = tokio::time::timeout(*left, parts.send(part)).await;
        let took = began.elapsed();
        self.leash.forgive(took);
        self.leash.lengthen(Duration::ZERO);
        *left = left.saturating_sub(took);
        match given {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                tracing::warn!(limit = ?self.taking_max, "a client was too slow to take its answer");
                false
            }
        }
    }
}

pub(crate) fn channel() -> (mpsc::Sender<Part>, mpsc::Receiver<Part>) {
    mpsc::channel(BATCHES_AHEAD)
}

fn stopped() -> QueryError {
    let reason = "the query stopped before its answer was whole, or was not taken in time";
    QueryError::Engine { reason: reason.to_owned() }
}
