//! Runs statements on threads of its own, within the bounds of [`QuerySettings`]. HTTP is left to
//! `server`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use footfall_event::schema::Table;
use footfall_lake::{Lake, TableFacts};
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::bind::{bind, bind_known};
use crate::catalog::{QuerySchema, listing};
use crate::diagnose::diagnose;
use crate::fence::Fence;
use crate::format::Format;
use crate::live::Asker;
use crate::plain::plain_schema;
use crate::rows::{self, Held, Part, Terms, tell};
use crate::send::send;
use crate::session::{PlainSessions, Sessions};
use crate::tables::Tables;
use crate::threads::Threads;
use crate::{
    Metrics, Outcome, Parameters, QueryError, QuerySettings, Rows, depth, dictionary, functions,
    names, scan, session, size, statement,
};

/// Queries that wait for a slot, beside those that run.
const WAITING_MAX: usize = 200;
/// When a refused query may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long the lake may take to show that it can be read.
const READY_TIME_MAX: Duration = Duration::from_secs(2);

/// SQL over one lake. To drop it ends its queries, and waits up to 5 s for their threads.
pub struct Engine {
    settings: QuerySettings,
    metrics: Metrics,
    tables: Arc<Tables>,
    template: SessionState,
    sessions: Arc<dyn Sessions>,
    /// Queries that run or wait.
    admitted: Arc<Semaphore>,
    /// Queries that run.
    running: Arc<Semaphore>,
    fence: Arc<Fence>,
    threads: Threads,
}

impl Engine {
    /// Starts the threads; the lake is not read yet, and need not be there.
    ///
    /// # Errors
    /// `Engine` when threads or the spill folder cannot be made.
    ///
    /// # Panics
    /// When the settings have problems, or not one thread can be made.
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
        let pipelines =
            Asker::new(settings.pipelines.clone()).map_err(|error| failed(error.to_string()))?;
        let threads =
            Threads::start(settings.thread_count()).map_err(|error| failed(error.to_string()))?;
        let fence = Arc::new(Fence::new(settings.time_max));
        if let Some(bytes_max) = settings.process_bytes_max {
            let fence = fence.clone();
            let thread = std::thread::Builder::new().name("query-fence".to_owned());
            thread
                .spawn(move || fence.keep(bytes_max))
                .map_err(|error| failed(error.to_string()))?;
        }
        let template = session::template(&settings)
            .and_then(|template| scan::register(&lake, template.runtime_env()).map(|()| template))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            fence,
            sessions: Arc::new(PlainSessions(template.clone())),
            template,
            tables: Arc::new(Tables::new(lake, settings.declared.in_sql(), pipelines)),
            admitted: Arc::new(Semaphore::new(settings.concurrency_max + WAITING_MAX)),
            running: Arc::new(Semaphore::new(settings.concurrency_max)),
            metrics,
            settings,
            threads,
        })
    }

    /// The rows of the one statement in `text`, over all commits that ended before this call. Dropping
    /// the future or the rows stops the query.
    ///
    /// # Errors
    /// Any [`QueryError`]; each is counted.
    pub async fn sql(&self, text: &str) -> Result<Rows, QueryError> {
        self.ask(text, &Parameters::default()).await
    }

    /// [`Engine::sql`] of a statement with placeholders.
    ///
    /// # Errors
    /// Any [`QueryError`]; each is counted.
    pub async fn ask(&self, text: &str, parameters: &Parameters) -> Result<Rows, QueryError> {
        let (text, parameters): (Arc<str>, _) = (text.into(), parameters.clone());
        let (sessions, tables) = (self.sessions.clone(), self.tables.clone());
        self.run(text.clone(), async move {
            let statement = read(&text)?;
            start(Question { text, statement, parameters, sessions }, &tables).await
        })
        .await
    }

    /// [`Engine::ask`] of a statement that was read before.
    ///
    /// # Errors
    /// Any [`QueryError`]; each is counted.
    pub(crate) async fn answer(&self, question: Question) -> Result<Rows, QueryError> {
        let tables = self.tables.clone();
        let text = question.text.clone();
        self.run(text, async move { start(question, &tables).await }).await
    }

    /// What the answer of a statement looks like, and what its placeholders take that have no value.
    ///
    /// # Errors
    /// `Statement`, `Lake`; `Time` when it cannot be planned within `time_max`.
    pub(crate) async fn describe(&self, question: Question) -> Result<Description, QueryError> {
        let tables = self.tables.clone();
        self.think(async move { describe(question, &tables).await }).await?
    }

    /// Runs what needs the deep stack of the engine's threads, such as reading a statement.
    ///
    /// # Errors
    /// `Time` when it takes longer than a query may; `Engine`.
    pub(crate) async fn think<T: Send + 'static>(
        &self,
        thought: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, QueryError> {
        let limit = self.settings.time_max;
        match tokio::time::timeout(limit, self.spawn(thought)).await {
            Ok(result) => result.map_err(engine_error),
            Err(_) => Err(QueryError::Time { limit }),
        }
    }

    /// Runs the query `text`, which `begun` begins, within all bounds.
    async fn run(
        &self,
        text: Arc<str>,
        begun: impl Future<Output = Result<SendableRecordBatchStream, QueryError>> + Send + 'static,
    ) -> Result<Rows, QueryError> {
        let watch = Watch::start(&self.metrics);
        let slot = match self.admit().await {
            Ok(slot) => slot,
            Err(error) => {
                watch.end(error.outcome(), 0);
                return Err(error);
            }
        };
        let limit = self.settings.time_max;
        let leash = self.fence.leash();
        let (rows_max, taking_max) = (self.settings.rows_max, limit);
        let held = Arc::new(Held::default());
        let waiting = Arc::downgrade(&held);
        let mut terms =
            Terms { _slot: slot, _held: held, leash: leash.clone(), rows_max, taking_max };
        let (parts, taken) = rows::channel();
        let task = self.spawn(async move {
            match begun.await {
                Ok(rows) => tell(rows, &text, parts, &mut terms).await,
                Err(error) => drop(parts.send(Part::Error(error)).await),
            }
        });
        // Without a watch nobody would forget the query again.
        let is_watched = self.settings.process_bytes_max.is_some();
        let must_end = is_watched.then(|| self.fence.watch(task.abort_handle(), leash));
        Rows::begin(taken, must_end, waiting, watch, limit, task).await
    }

    /// Rows in a format, piece by piece; encoded on the engine's threads. What fails after 1 MiB ends
    /// the stream with an error, and the answer is then not whole.
    ///
    /// # Errors
    /// `Statement` when the format cannot hold one of the answer's types; any other of the query's.
    pub async fn send(
        &self,
        rows: Rows,
        format: Format,
    ) -> Result<impl Stream<Item = Result<Bytes, QueryError>> + use<>, QueryError> {
        // As long as it may run, and once more as long as it may wait for its client.
        send(rows, format, 2 * self.settings.time_max, self.threads.handle()).await
    }

    /// Where the lake lies.
    pub fn location(&self) -> &str {
        self.tables.location()
    }

    /// How long a query may run, and its answer may be taken.
    pub(crate) fn time_max(&self) -> Duration {
        self.settings.time_max
    }

    /// How many queries run at once.
    pub(crate) fn concurrency_max(&self) -> usize {
        self.settings.concurrency_max
    }

    /// The tables, and what all sessions over them share.
    pub(crate) fn ground(&self) -> (&Arc<Tables>, &SessionState) {
        (&self.tables, &self.template)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How large each table is, as their logs tell it.
    ///
    /// # Errors
    /// `Lake`; `Time` when the store does not answer within `time_max`.
    pub async fn facts(&self) -> Result<Vec<TableFacts>, QueryError> {
        let tables = self.tables.clone();
        self.think(async move { tables.facts().await }).await?
    }

    /// The tables and views with their columns, and Footfall's own functions: `{"tables": [{"name", "kind",
    /// "comment", "columns": [{"name", "type", "comment"}]}], "functions": [{"name", "call", "comment"}]}`.
    ///
    /// # Errors
    /// `Lake`; `Time` when the store does not answer within `time_max`.
    pub async fn listing(&self) -> Result<Value, QueryError> {
        let schema = QuerySchema::new(self.tables.clone(), self.template.clone());
        let listed = self.think(async move { listing(&schema).await }).await?;
        let tables = listed.map_err(|error| diagnose(&error, ""))?;
        let functions: Vec<Value> = dictionary::functions()
            .map(|(name, call, says)| json!({"name": name, "call": call, "comment": says}))
            .collect();
        Ok(json!({"tables": tables, "functions": functions}))
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

    async fn admit(&self) -> Result<Slot, QueryError> {
        let busy = || QueryError::Busy {
            concurrency_max: self.settings.concurrency_max,
            retry_after: RETRY_AFTER,
        };
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| busy())?;
        let running = tokio::time::timeout(
            self.settings.queue_time_max,
            self.running.clone().acquire_owned(),
        );
        let running = running.await.ok().and_then(Result::ok).ok_or_else(busy)?;
        self.metrics.slot_taken();
        Ok(Slot { metrics: self.metrics.clone(), _admitted: admitted, _running: running })
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.threads.handle().spawn(future))
    }
}

/// The one statement in `text`, if it only reads and is not too deep.
fn read(text: &str) -> Result<Statement, QueryError> {
    depth::check(text)?;
    let parsed = statement::parse(text)?;
    names::check(&parsed)?;
    Ok(parsed)
}

/// A statement that was read, with what it needs to be answered.
pub(crate) struct Question {
    /// What was sent, for the places of mistakes.
    pub(crate) text: Arc<str>,
    pub(crate) statement: Statement,
    pub(crate) parameters: Parameters,
    pub(crate) sessions: Arc<dyn Sessions>,
}

/// What is known of an answer before it is asked for.
pub(crate) struct Description {
    /// By the names of the placeholders, `$1`; `None` where nothing tells it.
    pub(crate) parameters: HashMap<String, Option<DataType>>,
    pub(crate) columns: SchemaRef,
}

/// Begins to answer `question`.
async fn start(
    mut question: Question,
    tables: &Arc<Tables>,
) -> Result<SendableRecordBatchStream, QueryError> {
    bind(&mut question.statement, &question.parameters)?;
    let text = question.text.clone();
    let wrong = |error| diagnose(&error, &text);
    let session = question.sessions.open(tables).map_err(wrong)?;
    functions::expand(&mut question.statement, &session, tables.declared())?;
    let plan = plan(&session, question.statement, &text).await?;
    let frame = DataFrame::new(session, plan);
    frame.execute_stream().await.map_err(wrong)
}

async fn describe(mut question: Question, tables: &Arc<Tables>) -> Result<Description, QueryError> {
    let text = question.text;
    let session = question.sessions.open(tables).map_err(|error| diagnose(&error, &text))?;
    // A placeholder that stands for a constant goes with the call; the others get their types behind it.
    functions::expand(&mut question.statement, &session, tables.declared())?;
    bind_known(&mut question.statement, &question.parameters)?;
    let plan = plan(&session, question.statement, &text).await?;
    let parameters = parameter_types(&plan).map_err(|error| diagnose(&error, &text))?;
    Ok(Description { parameters, columns: plain_schema(plan.schema().as_arrow()) })
}

/// The plan of `statement`, whose text is `text`.
async fn plan(
    session: &SessionState,
    statement: Statement,
    text: &str,
) -> Result<LogicalPlan, QueryError> {
    let wrong = |error| diagnose(&error, text);
    session::read_receipts_first(session, &statement).await.map_err(wrong)?;
    let plan = session.statement_to_plan(statement).await.map_err(wrong)?;
    size::check(&plan)?;
    statement::check_plan(&plan, text)?;
    Ok(plan)
}

/// Of each placeholder in `plan`: what it is compared with, or cast to.
fn parameter_types(
    plan: &LogicalPlan,
) -> datafusion::common::Result<HashMap<String, Option<DataType>>> {
    let mut types = plan.get_parameter_types()?;
    plan.apply_with_subqueries(|step| {
        step.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::Cast(cast) = part
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    let known = types.entry(placeholder.id.clone()).or_default();
                    known.get_or_insert_with(|| cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
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
#[derive(Debug)]
pub(crate) struct Watch {
    metrics: Metrics,
    started: Instant,
    outcome: Outcome,
}

impl Watch {
    /// A query that is dropped before it has an outcome was cancelled.
    fn start(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), started: Instant::now(), outcome: Outcome::Cancelled }
    }

    pub(crate) fn end(mut self, outcome: Outcome, row_count: usize) {
        self.outcome = outcome;
        self.metrics.rows_returned(row_count);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.metrics.query_took(self.started.elapsed());
        self.metrics.query_ended(self.outcome);
    }
}
