//! Runs statements on threads of its own, within the bounds of [`QuerySettings`]. HTTP is left to
//! `server`.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::dataframe::DataFrame;
use datafusion::execution::session_state::SessionState;
use footfall_event::schema::Table;
use footfall_lake::{Lake, TableFacts};
use futures::{Stream, StreamExt};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::diagnose::diagnose;
use crate::fence::Fence;
use crate::format::Format;
use crate::send::send;
use crate::tables::Tables;
use crate::{
    Answer, Metrics, Outcome, QueryError, QuerySettings, depth, names, session, size, statement,
};

/// Stack of a thread, for plans as deep as a statement may be; memory is taken only as it is used.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// How long a query waits for a slot.
const QUEUE_TIME_MAX: Duration = Duration::from_secs(2);
/// When a refused query may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long the lake may take to show that it can be read.
const READY_TIME_MAX: Duration = Duration::from_secs(2);

/// SQL over one lake.
pub struct Engine {
    settings: QuerySettings,
    metrics: Metrics,
    tables: Arc<Tables>,
    template: SessionState,
    /// Queries that run or wait.
    admitted: Arc<Semaphore>,
    /// Queries that run.
    running: Arc<Semaphore>,
    threads: Handle,
    fence: Arc<Fence>,
    _runtime: OwnRuntime,
}

impl Engine {
    /// Starts the threads; the lake is not read yet, and need not be there.
    ///
    /// # Errors
    /// `Engine` when threads or the spill folder cannot be made.
    ///
    /// # Panics
    /// When the settings have problems.
    pub fn open(lake: Lake, settings: QuerySettings, metrics: Metrics) -> Result<Self, QueryError> {
        assert!(settings.problems().is_empty(), "{:?}", settings.problems());
        let failed = |reason: String| QueryError::Engine { reason };
        if let Some(folder) = &settings.spill_folder {
            let cleared = std::fs::remove_dir_all(folder)
                .or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })
                .and_then(|()| std::fs::create_dir_all(folder));
            cleared
                .map_err(|error| failed(format!("spill folder {}: {error}", folder.display())))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.thread_count())
            .thread_name("footfall-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let fence = Arc::new(Fence::new(settings.time_max));
        if let Some(bytes_max) = settings.process_bytes_max {
            let fence = fence.clone();
            let thread = std::thread::Builder::new().name("query-fence".to_owned());
            thread
                .spawn(move || fence.keep(bytes_max))
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(Self {
            fence,
            template: session::template(&settings).map_err(|error| failed(error.to_string()))?,
            tables: Arc::new(Tables::new(lake)),
            admitted: Arc::new(Semaphore::new(2 * settings.concurrency_max)),
            running: Arc::new(Semaphore::new(settings.concurrency_max)),
            threads: runtime.handle().clone(),
            _runtime: OwnRuntime(Some(runtime)),
            metrics,
            settings,
        })
    }

    /// The whole answer to the one statement in `text`, over all commits that ended before this
    /// call. Dropping the future stops the query.
    ///
    /// # Errors
    /// Any [`QueryError`]; each is counted.
    pub async fn sql(&self, text: &str) -> Result<Answer, QueryError> {
        let mut watch = Watch::start(&self.metrics);
        let result = self.admit_and_run(text).await;
        watch.outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(error) => error.outcome(),
        };
        if let Ok(answer) = &result {
            self.metrics.rows_returned(answer.row_count());
        }
        result
    }

    /// The answer in a format, piece by piece; encoded on the engine's threads. It ends with an
    /// error, and is then not whole, when it is not taken within `time_max`.
    ///
    /// # Errors
    /// `Statement` when the format cannot hold one of the answer's types; `Table` when the answer is
    /// too long for one.
    pub fn send(
        &self,
        answer: Answer,
        format: Format,
    ) -> Result<impl Stream<Item = Result<Bytes, QueryError>> + use<>, QueryError> {
        send(answer, format, self.settings.time_max, &self.threads)
    }

    /// Where the lake lies.
    pub fn location(&self) -> &str {
        self.tables.location()
    }

    /// How long a query may run, and its answer may be taken.
    pub(crate) fn time_max(&self) -> Duration {
        self.settings.time_max
    }

    /// How large each table is, as their logs tell it.
    ///
    /// # Errors
    /// `Lake`; `Time` when the store does not answer within `time_max`.
    pub async fn facts(&self) -> Result<Vec<TableFacts>, QueryError> {
        let (tables, limit) = (self.tables.clone(), self.settings.time_max);
        let read = self.spawn(async move { tables.facts().await });
        match tokio::time::timeout(limit, read).await {
            Ok(result) => result.map_err(engine_error)?,
            Err(_) => Err(QueryError::Time { limit }),
        }
    }

    /// Whether the lake can be read.
    ///
    /// # Errors
    /// `Lake`.
    pub async fn ready(&self) -> Result<(), QueryError> {
        let tables = self.tables.clone();
        let read = self.spawn(async move { tables.newest(Table::Events).await.map(drop) });
        let slow = QueryError::Lake { reason: format!("no answer within {READY_TIME_MAX:?}") };
        match tokio::time::timeout(READY_TIME_MAX, read).await {
            Ok(result) => result.map_err(engine_error)?,
            Err(_) => Err(slow),
        }
    }

    async fn admit_and_run(&self, text: &str) -> Result<Answer, QueryError> {
        let slot = self.admit().await?;
        let session = session::for_query(&self.template, &self.tables)
            .map_err(|error| QueryError::Engine { reason: error.to_string() })?;
        let rows_max = self.settings.rows_max;
        let text = text.to_owned();
        let query = self.spawn(async move { run(session, &text, rows_max, slot).await });
        let limit = self.settings.time_max;
        // Without a watch nobody would forget the query again.
        if self.settings.process_bytes_max.is_none() {
            return within(limit, query).await;
        }
        let must_end = self.fence.watch(query.abort_handle());
        tokio::select! {
            biased;
            Ok(why) = must_end => Err(why),
            result = within(limit, query) => result,
        }
    }

    async fn admit(&self) -> Result<Slot, QueryError> {
        let busy = || QueryError::Busy {
            concurrency_max: self.settings.concurrency_max,
            retry_after: RETRY_AFTER,
        };
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| busy())?;
        let running = tokio::time::timeout(QUEUE_TIME_MAX, self.running.clone().acquire_owned());
        let running = running.await.ok().and_then(Result::ok).ok_or_else(busy)?;
        self.metrics.slot_taken();
        Ok(Slot { metrics: self.metrics.clone(), _admitted: admitted, _running: running })
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.threads.spawn(future))
    }
}

async fn within(
    limit: Duration,
    query: AbortOnDropHandle<Result<Answer, QueryError>>,
) -> Result<Answer, QueryError> {
    match tokio::time::timeout(limit, query).await {
        Ok(result) => result.map_err(engine_error)?,
        Err(_) => Err(QueryError::Time { limit }),
    }
}

async fn run(
    session: SessionState,
    text: &str,
    rows_max: usize,
    slot: Slot,
) -> Result<Answer, QueryError> {
    let wrong = |error| diagnose(&error, text);
    depth::check(text)?;
    let parsed = statement::parse(text)?;
    names::check(&parsed)?;
    let plan = session.statement_to_plan(parsed).await.map_err(wrong)?;
    size::check(&plan)?;
    statement::check_plan(&plan, text)?;
    let pool = session.runtime_env().memory_pool.clone();
    let mut rows = DataFrame::new(session, plan).execute_stream().await.map_err(wrong)?;
    let mut answer = Answer::new(&rows.schema(), &pool, slot);
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(wrong)?;
        if answer.row_count() + batch.num_rows() > rows_max {
            return Err(QueryError::Rows { rows_max });
        }
        answer.push(&batch).map_err(wrong)?;
    }
    Ok(answer)
}

fn engine_error(error: tokio::task::JoinError) -> QueryError {
    QueryError::Engine { reason: error.to_string() }
}

/// The right to run a query, and then to hold its answer.
pub(crate) struct Slot {
    metrics: Metrics,
    _admitted: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.metrics.slot_freed();
    }
}

/// Counts a query when it ends, in whatever way.
struct Watch<'a> {
    metrics: &'a Metrics,
    started: Instant,
    outcome: Outcome,
}

impl<'a> Watch<'a> {
    /// A query whose future is dropped before it has an outcome was cancelled.
    fn start(metrics: &'a Metrics) -> Self {
        Self { metrics, started: Instant::now(), outcome: Outcome::Cancelled }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.metrics.query_took(self.started.elapsed());
        self.metrics.query_ended(self.outcome);
    }
}

/// A runtime that may be dropped on another runtime's thread.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
