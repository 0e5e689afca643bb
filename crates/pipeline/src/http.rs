//! The pipeline's listener: health, metrics, its status, the open state, and signals and records as
//! server-sent events.

mod erasures;
mod live;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use footfall_event::Micros;
use footfall_guard::{Guard, Refusal, Tokens};
use futures::{Stream, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_util::sync::CancellationToken;

use crate::tail::{STATUSES, TailLine, Watching};
use crate::{Erasures, Health, Live, PipelineError, SignalHub, Tail};

/// Connections that are open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to shake hands over TLS, and to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the listener shows.
#[derive(Clone)]
pub struct Shown {
    pub health: Health,
    pub signals: SignalHub,
    pub tail: Tail,
    pub live: Live,
    pub erasures: Erasures,
    pub registry: Registry,
}

/// Serves until `shutdown`, signals to whom `guard` lets in.
///
/// # Errors
/// `Listen` when the listener breaks.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    guard: Guard,
    shutdown: CancellationToken,
) -> Result<(), PipelineError> {
    let Guard { tls, tokens } = guard;
    let erasers = erasures::routes().route_layer(from_fn_with_state(tokens.clone(), admit_eraser));
    let readers = readers().route_layer(from_fn_with_state(tokens, admit));
    let router = open().merge(readers).merge(erasers).with_state(shown);
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
    match tokens.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    }
}

async fn admit_eraser(State(tokens): State<Tokens>, request: Request, next: Next) -> Response {
    match tokens.admit_eraser(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Response {
    let message = format!("{refusal}\n");
    match refusal {
        Refusal::Missing | Refusal::Unknown => {
            let scheme = HeaderValue::from_static("Bearer realm=\"footfall\"");
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, scheme)], message).into_response()
        }
        Refusal::Page | Refusal::ReadsOnly => (StatusCode::FORBIDDEN, message).into_response(),
    }
}

/// What anybody may see who reaches the listener.
fn open() -> Router<Shown> {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// What shows visitors, or how much is going on: for those who may read.
fn readers() -> Router<Shown> {
    Router::new()
        .route("/v1/signals", get(listen))
        .route("/v1/status", get(status))
        .route("/v1/tail", get(tail))
        .merge(live::routes())
}

async fn ready(State(shown): State<Shown>) -> Response {
    match shown.health.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    match TextEncoder::new().encode_to_string(&shown.registry.gather()) {
        Ok(text) => text.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Signals from now on. One that a slow listener missed is in the topic.
async fn listen(State(shown): State<Shown>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let signals = BroadcastStream::new(shown.signals.listen());
    let events = signals.filter_map(|signal| async move {
        signal.ok().map(|json| Ok(Event::default().event("signal").data(json)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

async fn status(State(shown): State<Shown>) -> Response {
    Json(shown.health.status(Micros::clock())).into_response()
}

/// Which lines are wanted; all of them where nothing is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    site: Option<String>,
    status: Option<String>,
}

impl Wanted {
    fn has(&self, line: &TailLine) -> bool {
        self.site.as_ref().is_none_or(|site| *site == line.site)
            && self.status.as_ref().is_none_or(|status| status == line.status)
    }
}

/// Records from now on, as they are read. A watcher that is too slow for them is told how many it missed.
async fn tail(
    State(shown): State<Shown>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let bad = |message: String| (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response();
    let Query(wanted) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return bad(rejection.body_text()),
    };
    if let Some(status) = wanted.status.as_deref().filter(|status| !STATUSES.contains(status)) {
        return bad(format!("status `{status}`: there are {}", STATUSES.join(", ")));
    }
    let Watching { lines, place } = match shown.tail.watch() {
        Ok(watching) => watching,
        Err(count) => {
            let message = format!("{count} watch already, and no more may; end one of them\n");
            return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
        }
    };
    let events = BroadcastStream::new(lines).filter_map(move |line| {
        // The place is given back with the stream.
        let _place = &place;
        let event = match line {
            Ok(line) if wanted.has(&line) => {
                Some(Event::default().event("record").data(&line.json))
            }
            Ok(_) => None,
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                Some(Event::default().event("missed").data(format!("{{\"missed\":{missed}}}")))
            }
        };
        std::future::ready(event.map(Ok::<_, Infallible>))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
