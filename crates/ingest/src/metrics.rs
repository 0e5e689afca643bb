//! The collector's metrics, one function each. Serving them to Prometheus is left to `service`.

use std::time::Duration;

use footfall_enrich::Failure;
use footfall_event::{Micros, Reason};
use hyper::StatusCode;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use crate::IngestError;
use crate::protocol::Dialect;

/// From a local disk's fsync to a struggling cluster, in seconds.
const ACKNOWLEDGE_BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Every status that the collector answers with.
const STATUSES: [StatusCode; 13] = [
    StatusCode::OK,
    StatusCode::ACCEPTED,
    StatusCode::NO_CONTENT,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Handles of all metrics, registered once. Events and rows are counted when the log holds them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    received: [IntCounter; Dialect::ALL.len()],
    accepted: IntCounter,
    rejected: [IntCounter; Reason::ALL.len()],
    requests: [IntCounter; STATUSES.len()],
    enrichment_failed: [IntCounter; Failure::ALL.len()],
    acknowledge: Histogram,
    bytes: IntCounter,
    in_flight: IntGauge,
    turned_out: IntCounter,
    clock_offset: Gauge,
}

/// A request under way, counted until it is dropped.
pub struct InFlight(IntGauge);

impl Metrics {
    /// Registers the metrics; `/metrics` shows all that `registry` holds.
    ///
    /// # Errors
    /// `Metrics` when it holds one of these names already.
    pub fn new(registry: &Registry) -> Result<Metrics, IngestError> {
        let counters = |name: &str, help: &str, label: &str| -> prometheus::Result<_> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let received = counters(
            "footfall_ingest_received_total",
            "Events received: accepted or rejected, and held by the log.",
            "protocol",
        )?;
        let rejected =
            counters("footfall_ingest_rejected_total", "Rows written to rejected.", "reason")?;
        let requests = counters("footfall_ingest_requests_total", "Answers given.", "status")?;
        let enrichment_failed = counters(
            "footfall_ingest_enrichment_failed_total",
            "Events that went on without a part of what is derived.",
            "part",
        )?;
        let accepted = IntCounter::new("footfall_ingest_accepted_total", "Events accepted.")?;
        let bytes = IntCounter::new(
            "footfall_ingest_bytes_total",
            "Bytes of the bodies taken, as they were sent.",
        )?;
        let in_flight = IntGauge::new("footfall_ingest_in_flight", "Requests under way.")?;
        let turned_out = IntCounter::new(
            "footfall_ingest_turned_out_total",
            "Connections closed to make room for others.",
        )?;
        let clock_offset = Gauge::new(
            "footfall_ingest_clock_offset_seconds",
            "The log's clock less this one's, at the last append.",
        )?;
        let acknowledge = Histogram::with_opts(
            HistogramOpts::new(
                "footfall_ingest_acknowledge_seconds",
                "From a request's head until the log held all of its records.",
            )
            .buckets(ACKNOWLEDGE_BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(accepted.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(turned_out.clone()))?;
        registry.register(Box::new(clock_offset.clone()))?;
        registry.register(Box::new(acknowledge.clone()))?;
        Ok(Metrics {
            registry: registry.clone(),
            received: Dialect::ALL.map(|dialect| received.with_label_values(&[dialect.name()])),
            accepted,
            rejected: Reason::ALL.map(|reason| rejected.with_label_values(&[reason.code()])),
            requests: STATUSES.map(|status| requests.with_label_values(&[status.as_str()])),
            enrichment_failed: Failure::ALL
                .map(|failure| enrichment_failed.with_label_values(&[failure.name()])),
            acknowledge,
            bytes,
            in_flight,
            turned_out,
            clock_offset,
        })
    }

    pub(crate) fn received(&self, dialect: Dialect, events: u64) {
        self.received[dialect as usize].inc_by(events);
    }

    pub(crate) fn accepted(&self, events: u64) {
        self.accepted.inc_by(events);
    }

    pub(crate) fn rejected(&self, reason: Reason, rows: u64) {
        self.rejected[reason as usize].inc_by(rows);
    }

    pub(crate) fn enrichment_failed(&self, failure: Failure, events: u64) {
        self.enrichment_failed[failure as usize].inc_by(events);
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let known = STATUSES.iter().position(|known| *known == status);
        debug_assert!(known.is_some(), "{status} is missing in STATUSES");
        if let Some(index) = known {
            self.requests[index].inc();
        }
    }

    pub(crate) fn acknowledged(&self, after: Duration) {
        self.acknowledge.observe(after.as_secs_f64());
    }

    pub(crate) fn bytes(&self, bytes: usize) {
        self.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn turned_out(&self) {
        self.turned_out.inc();
    }

    pub(crate) fn clock_offset(&self, offset: Micros) {
        self.clock_offset.set(offset.seconds());
    }

    /// All metrics of the registry in Prometheus' text form.
    pub(crate) fn text(&self) -> Result<String, IngestError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
