//! Signals on their way out: to their topic, and to whoever listens at `GET /v1/signals`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use footfall_event::Micros;
use footfall_log::EventLog;
use footfall_sessionizer::Signal;
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::metrics::Metrics;

/// A signal whose deadline is older helps nobody: a restart does not repeat the past.
const AGE_MAX: Micros = Micros(10 * Micros::SECOND.0);
/// Signals that may wait for the topic.
const QUEUE_MAX: usize = 10_000;
/// Signals that are being published at once.
const AT_ONCE: usize = 64;
const RETRY_AFTER: Duration = Duration::from_millis(200);
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
    queue: mpsc::Sender<Due>,
    sent: Arc<AtomicU64>,
    /// How many of those sent are published or given up.
    done: watch::Receiver<u64>,
}

/// A signal on its way to the topic.
struct Due {
    key: String,
    json: Arc<str>,
    deadline: Micros,
}

impl SignalHub {
    /// Starts the task that publishes to `topic`, on the current runtime.
    pub fn start(log: Arc<dyn EventLog>, topic: &str, metrics: Metrics) -> SignalHub {
        let (listeners, _) = broadcast::channel(LISTENER_LAG_MAX);
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (count, done) = watch::channel(0);
        tokio::spawn(publish_all(log, topic.into(), waiting, metrics, count));
        SignalHub { listeners, queue, sent: Arc::default(), done }
    }

    pub fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.listeners.subscribe()
    }

    /// Gives out the signals that are not too old by the clock. A full queue holds the fold up: what
    /// waits there goes, or is too old, within seconds.
    pub async fn send(&self, signals: &[Signal]) {
        let now = Micros::clock();
        for signal in signals.iter().filter(|signal| now - signal.deadline <= AGE_MAX) {
            let json: Arc<str> = json_of(signal).into();
            // Nobody needs to listen.
            let _ = self.listeners.send(json.clone());
            let key = signal.visitor.visitor_id.to_string();
            let due = Due { key, json, deadline: signal.deadline };
            if self.queue.send(due).await.is_ok() {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until what was sent is published or too old. A snapshot does not raise them again, so it
    /// comes after this.
    pub async fn drained(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        // It fails when the publishing task is gone, and then nothing is published.
        let _ = self.done.clone().wait_for(|done| *done >= sent).await;
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

async fn publish_all(
    log: Arc<dyn EventLog>,
    topic: Arc<str>,
    waiting: mpsc::Receiver<Due>,
    metrics: Metrics,
    done: watch::Sender<u64>,
) {
    let publishing = ReceiverStream::new(waiting)
        .map(|due| publish(log.clone(), topic.clone(), due, metrics.clone()))
        .buffered(AT_ONCE);
    publishing.for_each(async |()| done.send_modify(|done| *done += 1)).await;
}

/// Publishes one signal, again and again until it is taken or too old.
async fn publish(log: Arc<dyn EventLog>, topic: Arc<str>, due: Due, metrics: Metrics) {
    let Due { key, json, deadline } = due;
    while Micros::clock() - deadline <= AGE_MAX {
        let payload = Bytes::copy_from_slice(json.as_bytes());
        match log.publish(&topic, &key, vec![payload]).await {
            Ok(()) => return metrics.signal_published((Micros::clock() - deadline).seconds()),
            Err(error) => tracing::warn!(%error, %topic, "a signal was not published yet"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    metrics.signal_expired();
}
