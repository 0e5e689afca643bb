//! Signals on their way out: to their topic, and to whoever listens at `GET /v1/signals`.

use std::sync::Arc;

use bytes::Bytes;
use footfall_event::Micros;
use footfall_log::EventLog;
use footfall_sessionizer::Signal;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc};

use crate::metrics::Metrics;

/// A signal whose deadline is older helps nobody: a restart does not repeat the past.
const AGE_MAX: Micros = Micros(10 * Micros::SECOND.0);
/// Signals that may wait for the topic; beyond it they reach listeners only.
const QUEUE_MAX: usize = 10_000;
/// Signals a slow listener may lag behind before it misses some.
const LISTENER_LAG_MAX: usize = 1_024;

/// A signal's JSON form.
#[derive(Serialize)]
struct SignalJson<'s> {
    signal_id: &'s str,
    need: &'s str,
    site: &'s str,
    visitor_id: &'s str,
    session_id: String,
    raised_at: String,
    raised_path: Option<&'s str>,
    raised_page_type: Option<&'s str>,
    click_count: u64,
    deadline: String,
}

/// Takes signals from the fold and gives them out without holding it up.
#[derive(Clone)]
pub struct SignalHub {
    listeners: broadcast::Sender<Arc<str>>,
    queue: mpsc::Sender<(String, Bytes, Micros)>,
    metrics: Metrics,
}

impl SignalHub {
    /// Starts the task that publishes to `topic`, on the current runtime.
    pub fn start(log: Arc<dyn EventLog>, topic: &str, metrics: Metrics) -> SignalHub {
        let (listeners, _) = broadcast::channel(LISTENER_LAG_MAX);
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(publish(log, topic.to_owned(), waiting, metrics.clone()));
        SignalHub { listeners, queue, metrics }
    }

    pub fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.listeners.subscribe()
    }

    /// Gives out the signals that are not too old by the clock.
    pub fn send(&self, signals: &[Signal]) {
        let now = Micros::clock();
        for signal in signals.iter().filter(|signal| now - signal.deadline <= AGE_MAX) {
            let json: Arc<str> = json_of(signal).into();
            // Nobody needs to listen.
            let _ = self.listeners.send(json.clone());
            let key = signal.visitor.visitor_id.to_string();
            let payload = Bytes::copy_from_slice(json.as_bytes());
            if self.queue.try_send((key, payload, signal.deadline)).is_err() {
                tracing::warn!(signal_id = signal.id, "too many signals wait: not published");
                self.metrics.signal((Micros::clock() - signal.deadline).seconds());
            }
        }
    }
}

fn json_of(signal: &Signal) -> String {
    let json = SignalJson {
        signal_id: &signal.id,
        need: &signal.need,
        site: &signal.visitor.site,
        visitor_id: &signal.visitor.visitor_id,
        session_id: signal.session_id.to_string(),
        raised_at: signal.raised_at.to_string(),
        raised_path: signal.raised_path.as_deref(),
        raised_page_type: signal.raised_page_type.as_deref(),
        click_count: signal.click_count,
        deadline: signal.deadline.to_string(),
    };
    serde_json::to_string(&json).unwrap_or_default()
}

async fn publish(
    log: Arc<dyn EventLog>,
    topic: String,
    mut waiting: mpsc::Receiver<(String, Bytes, Micros)>,
    metrics: Metrics,
) {
    while let Some((key, payload, deadline)) = waiting.recv().await {
        // At least once: a failure is told, and the next restart within ten seconds repeats it.
        if let Err(error) = log.publish(&topic, &key, vec![payload]).await {
            tracing::warn!(%error, topic, "a signal was not published");
        }
        metrics.signal((Micros::clock() - deadline).seconds());
    }
}
