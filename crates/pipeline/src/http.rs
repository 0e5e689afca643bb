//! The pipeline's listener: health, metrics, and signals as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use footfall_guard::{Guard, Refusal, Tokens};
use futures::{Stream, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use crate::{Health, PipelineError, SignalHub};

/// Connections that are open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to shake hands over TLS, and to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Clone)]
struct Served {
    health: Health,
    signals: SignalHub,
    registry: Registry,
}

/// Serves until `shutdown`, signals to whom `guard` lets in.
///
/// # Errors
/// `Listen` when the listener breaks.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    signals: SignalHub,
    guard: Guard,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), PipelineError> {
    let Guard { tls, tokens } = guard;
    let router = Router::new()
        .route("/v1/signals", get(listen))
        // What stands above shows data, what follows does not.
        .route_layer(from_fn_with_state(tokens, admit))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Served { health, signals, registry });
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async || {
        let slot = slots.clone().acquire_owned().await;
        listener.accept().await.map(|(stream, _)| (slot, stream))
    };
    loop {
        let (slot, stream) = tokio::select! {
            accepted = accept() => match accepted {
                Ok(accepted) => accepted,
                // Out of files or a connection that is gone already: the next may be fine.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => return Ok(()),
        };
        let service = TowerToHyperService::new(router.clone());
        let (shutdown, tls) = (shutdown.clone(), tls.clone());
        let serving = async move {
            let socket = match tls.accept(stream, HEADER_TIMEOUT).await {
                Ok(socket) => socket,
                Err(error) => return tracing::debug!(%error, "TLS was not agreed on"),
            };
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            // A client that went away is its own affair.
            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
        };
        tokio::spawn(async move {
            shutdown.run_until_cancelled(serving).await;
            drop(slot);
        });
    }
}

async fn admit(State(tokens): State<Tokens>, request: Request, next: Next) -> Response {
    let Err(refusal) = tokens.admit(request.headers()) else { return next.run(request).await };
    let message = format!("{refusal}\n");
    match refusal {
        Refusal::Missing | Refusal::Unknown => {
            let scheme = HeaderValue::from_static("Bearer realm=\"footfall\"");
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, scheme)], message).into_response()
        }
        Refusal::Page => (StatusCode::FORBIDDEN, message).into_response(),
    }
}

async fn ready(State(served): State<Served>) -> Response {
    match served.health.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(served): State<Served>) -> Response {
    match TextEncoder::new().encode_to_string(&served.registry.gather()) {
        Ok(text) => text.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Signals from now on. One that a slow listener missed is in the topic.
async fn listen(
    State(served): State<Served>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let signals = BroadcastStream::new(served.signals.listen());
    let events = signals.filter_map(|signal| async move {
        signal.ok().map(|json| Ok(Event::default().event("signal").data(json)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
