//! The pipeline's metrics, one function each.

use std::time::Duration;

use crate::Rewritten;
use crate::erasure::Advanced;
use footfall_event::Partition;
use footfall_event::schema::Table;
use footfall_sessionizer::{CloseCause, Outcome, Output, Status};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// All of them, registered together.
#[derive(Clone)]
pub struct Metrics {
    accepted: IntCounter,
    duplicate: IntCounter,
    rejected: IntCounter,
    late: IntCounter,
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    watermark: GaugeVec,
    freshness: Gauge,
    open_sessions: IntGaugeVec,
    held_events: IntGaugeVec,
    remembered_ids: IntGaugeVec,
    sessions_closed: IntCounterVec,
    needs: IntCounterVec,
    signals: IntCounterVec,
    signal_delay: Histogram,
    live_seconds: Histogram,
    commit_seconds: HistogramVec,
    commit_conflicts: IntCounterVec,
    rows: IntCounterVec,
    snapshot_seconds: Histogram,
    repair_waiting: IntGauge,
    repaired: IntCounter,
    rewrite_files: IntCounterVec,
    expired_rows: IntCounterVec,
    rewrite_failures: IntCounter,
    rewrite_seconds: Histogram,
    erasures_waiting: IntGauge,
    erasures: IntCounter,
    erasure_failures: IntCounter,
}

impl Metrics {
    /// # Errors
    /// When a name is registered already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let made = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let by_partition = |name: &str, help: &str| {
            let made = IntGaugeVec::new(Opts::new(name, help), &["partition"])?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let seconds_by_partition = |name: &str, help: &str| {
            let made = GaugeVec::new(Opts::new(name, help), &["partition"])?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let histogram = |name: &str, help: &str| {
            let buckets = prometheus::exponential_buckets(0.001, 2.0, 16)?;
            let made = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let freshness = Gauge::new(
            "footfall_pipeline_freshness_seconds",
            "Time since the log time up to which the tables speak",
        )?;
        registry.register(Box::new(freshness.clone()))?;
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 16)?;
        let commits =
            HistogramOpts::new("footfall_pipeline_commit_seconds", "Time of a table's commit");
        let commit_seconds = HistogramVec::new(commits.buckets(buckets), &["table"])?;
        registry.register(Box::new(commit_seconds.clone()))?;
        let repair_waiting = IntGauge::new(
            "footfall_pipeline_repair_waiting_runs",
            "Runs whose late events wait for their repair",
        )?;
        registry.register(Box::new(repair_waiting.clone()))?;
        let erasures_waiting = IntGauge::new(
            "footfall_pipeline_erasures_waiting",
            "Erasures of visitors that are not done yet",
        )?;
        registry.register(Box::new(erasures_waiting.clone()))?;
        let records = counters(
            "footfall_pipeline_records_total",
            "Records read, by what they turned out to be",
            "status",
        )?;
        Ok(Metrics {
            // Looked up once, as each record counts here.
            accepted: records.with_label_values(&["accepted"]),
            duplicate: records.with_label_values(&["duplicate"]),
            rejected: records.with_label_values(&["rejected"]),
            late: counter("footfall_pipeline_late_total", "Accepted events behind the watermark")?,
            lag_records: by_partition("footfall_pipeline_lag_records", "Records not read yet")?,
            lag_seconds: seconds_by_partition(
                "footfall_pipeline_lag_seconds",
                "Age of the record read last, 0 when all are read",
            )?,
            watermark: seconds_by_partition(
                "footfall_pipeline_watermark_seconds",
                "The watermark, in seconds since 1970",
            )?,
            freshness,
            open_sessions: by_partition("footfall_pipeline_open_sessions", "Sessions open")?,
            held_events: by_partition(
                "footfall_pipeline_held_events",
                "Events that the watermark has not passed",
            )?,
            remembered_ids: by_partition(
                "footfall_pipeline_remembered_ids",
                "Ids by which resends are known",
            )?,
            sessions_closed: counters(
                "footfall_pipeline_sessions_closed_total",
                "Sessions closed, by cause",
                "cause",
            )?,
            needs: counters(
                "footfall_pipeline_needs_total",
                "Needs of closed sessions",
                "outcome",
            )?,
            signals: counters(
                "footfall_pipeline_signals_total",
                "Signals, by what became of them",
                "outcome",
            )?,
            signal_delay: histogram(
                "footfall_pipeline_signal_delay_seconds",
                "From a signal's deadline to its publication",
            )?,
            live_seconds: histogram(
                "footfall_pipeline_live_seconds",
                "How long a partition's fold stood still to tell its open sessions",
            )?,
            commit_seconds,
            commit_conflicts: counters(
                "footfall_pipeline_commit_conflicts_total",
                "Commits that another writer won",
                "table",
            )?,
            rows: counters("footfall_pipeline_rows_total", "Rows committed", "table")?,
            snapshot_seconds: histogram(
                "footfall_pipeline_snapshot_seconds",
                "Time of a snapshot",
            )?,
            repair_waiting,
            repaired: counter(
                "footfall_pipeline_repaired_total",
                "Late events that got their session",
            )?,
            rewrite_files: counters(
                "footfall_pipeline_rewrite_files_total",
                "Files of tables that the rewrite job replaced, wrote in their place, deleted as old, or removed with their days",
                "action",
            )?,
            expired_rows: counters(
                "footfall_pipeline_expired_rows_total",
                "Rows of days that retention removed",
                "table",
            )?,
            rewrite_failures: counter(
                "footfall_pipeline_rewrite_failures_total",
                "Runs of the rewrite job that failed",
            )?,
            rewrite_seconds: histogram(
                "footfall_pipeline_rewrite_seconds",
                "Time of a run of the rewrite job",
            )?,
            erasures_waiting,
            erasures: counter("footfall_pipeline_erasures_total", "Erasures that were done")?,
            erasure_failures: counter(
                "footfall_pipeline_erasure_failures_total",
                "Steps of erasures that failed, and were tried again",
            )?,
        })
    }

    pub fn record(&self, status: Status) {
        match status {
            Status::OnTime | Status::Late => self.accepted.inc(),
            Status::Duplicate => self.duplicate.inc(),
            Status::Rejected => self.rejected.inc(),
        }
        if status == Status::Late {
            self.late.inc();
        }
    }

    pub fn lag(&self, partition: Partition, records: i64, seconds: f64) {
        let label = partition.to_string();
        self.lag_records.with_label_values(&[&label]).set(records);
        self.lag_seconds.with_label_values(&[&label]).set(seconds);
    }

    pub fn watermark(&self, partition: Partition, seconds: f64) {
        self.watermark.with_label_values(&[&partition.to_string()]).set(seconds);
    }

    pub fn freshness(&self, seconds: f64) {
        self.freshness.set(seconds);
    }

    pub fn state(&self, partition: Partition, sessions: u64, held: usize, ids: usize) {
        let label = partition.to_string();
        self.open_sessions.with_label_values(&[&label]).set(sessions as i64);
        self.held_events.with_label_values(&[&label]).set(held as i64);
        self.remembered_ids.with_label_values(&[&label]).set(ids as i64);
    }

    /// The partition is another's.
    pub fn forget(&self, partition: Partition) {
        let label = partition.to_string();
        let gauges =
            [&self.lag_records, &self.open_sessions, &self.held_events, &self.remembered_ids];
        for gauge in gauges {
            // It fails when the partition had no value yet.
            let _ = gauge.remove_label_values(&[&label]);
        }
        for gauge in [&self.lag_seconds, &self.watermark] {
            let _ = gauge.remove_label_values(&[&label]);
        }
    }

    pub fn settled(&self, output: &Output) {
        for cause in CloseCause::ALL {
            let closed = output.rows.sessions.iter().filter(|session| session.close_cause == cause);
            self.sessions_closed.with_label_values(&[cause.name()]).inc_by(closed.count() as u64);
        }
        for outcome in Outcome::ALL {
            let ended = output.rows.needs.iter().filter(|need| need.outcome == outcome);
            self.needs.with_label_values(&[outcome.name()]).inc_by(ended.count() as u64);
        }
    }

    pub fn signal_published(&self, delay_seconds: f64) {
        self.signals.with_label_values(&["published"]).inc();
        self.signal_delay.observe(delay_seconds);
    }

    /// The topic took it too late, or not at all.
    pub fn signal_expired(&self) {
        self.signals.with_label_values(&["expired"]).inc();
    }

    pub fn looked(&self, took: Duration) {
        self.live_seconds.observe(took.as_secs_f64());
    }

    pub fn commit(&self, table: Table, took: Duration, rows: usize) {
        self.commit_seconds.with_label_values(&[table.name()]).observe(took.as_secs_f64());
        self.rows.with_label_values(&[table.name()]).inc_by(rows as u64);
    }

    pub fn commit_conflict(&self, table: Table) {
        self.commit_conflicts.with_label_values(&[table.name()]).inc();
    }

    pub fn rewritten(&self, done: &Rewritten) {
        self.repair_waiting.set(done.repaired.waiting as i64);
        self.repaired.inc_by(done.repaired.late_events as u64);
        let compacted = || done.compacted.values();
        let counts = [
            ("replaced", compacted().map(|compacted| compacted.replaced).sum::<usize>()),
            ("written", compacted().map(|compacted| compacted.written).sum()),
            ("deleted", done.deleted.values().sum()),
            ("expired", done.expired.values().map(|expired| expired.files).sum()),
        ];
        for (action, files) in counts {
            self.rewrite_files.with_label_values(&[action]).inc_by(files as u64);
        }
        for (table, expired) in &done.expired {
            self.expired_rows.with_label_values(&[table.name()]).inc_by(expired.rows as u64);
        }
    }

    pub fn rewrite_failed(&self) {
        self.rewrite_failures.inc();
    }

    pub fn rewrite_took(&self, took: Duration) {
        self.rewrite_seconds.observe(took.as_secs_f64());
    }

    pub fn erased(&self, advanced: Advanced) {
        self.erasures_waiting.set(advanced.waiting as i64);
        self.erasures.inc_by(advanced.done as u64);
        self.erasure_failures.inc_by(advanced.failed as u64);
    }

    pub fn erasures_failed(&self) {
        self.erasure_failures.inc();
    }

    pub fn snapshot(&self, took: Duration) {
        self.snapshot_seconds.observe(took.as_secs_f64());
    }
}
