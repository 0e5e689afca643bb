//! The metrics of the query part, one function each. Serving them is left to `server`.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    BadQuery,
    Timeout,
    Memory,
    Rows,
    Busy,
    Cancelled,
    Failed,
}

impl Outcome {
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::BadQuery,
        Outcome::Timeout,
        Outcome::Memory,
        Outcome::Rows,
        Outcome::Busy,
        Outcome::Cancelled,
        Outcome::Failed,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::BadQuery => "bad_query",
            Outcome::Timeout => "timeout",
            Outcome::Memory => "memory",
            Outcome::Rows => "rows",
            Outcome::Busy => "busy",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
        }
    }
}

/// The metrics of one query part.
#[derive(Clone, Debug)]
pub struct Metrics {
    queries: IntCounterVec,
    seconds: Histogram,
    rows: IntCounter,
    running: IntGauge,
    connections: IntGauge,
}

/// A client of Postgres that is there, until this is dropped.
pub(crate) struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers all metrics, each outcome at 0.
    ///
    /// # Errors
    /// When `registry` has metrics of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let queries = IntCounterVec::new(
            Opts::new("footfall_queries_total", "Queries by outcome."),
            &["outcome"],
        )?;
        for outcome in Outcome::ALL {
            queries.with_label_values(&[outcome.label()]);
        }
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "footfall_query_seconds",
                "From a query's arrival until its last row was taken; all outcomes.",
            )
            .buckets(vec![
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10., 30., 60., 300.,
            ]),
        )?;
        let rows = IntCounter::new("footfall_query_rows_total", "Rows in the answers of queries.")?;
        let running = IntGauge::new(
            "footfall_queries_running",
            "Queries that hold a slot: they run, or their answer is being sent.",
        )?;
        let connections = IntGauge::new(
            "footfall_postgres_connections",
            "Clients that are logged in over Postgres' protocol.",
        )?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(queries.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(rows.clone()))?;
        registry.register(Box::new(running.clone()))?;
        Ok(Self { queries, seconds, rows, running, connections })
    }

    pub(crate) fn query_ended(&self, outcome: Outcome) {
        self.queries.with_label_values(&[outcome.label()]).inc();
    }

    pub(crate) fn query_took(&self, elapsed: Duration) {
        self.seconds.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn rows_returned(&self, count: usize) {
        self.rows.inc_by(count as u64);
    }

    pub(crate) fn connection_opened(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    pub(crate) fn slot_taken(&self) {
        self.running.inc();
    }

    pub(crate) fn slot_freed(&self) {
        self.running.dec();
    }
}
