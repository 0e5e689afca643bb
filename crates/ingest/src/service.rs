//! Which path answers what. The collecting itself is left to `collect`.

use std::sync::Arc;
use std::time::Duration;

use footfall_log::EventLog;
use hyper::body::Incoming;
use hyper::header::{ALLOW, EXPECT, HeaderValue};
use hyper::{Method, Request, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Answer};
use crate::body;
use crate::clock::ClockWatch;
use crate::collect::{Purpose, collect};
use crate::crowd::Guest;
use crate::protocol::{Call, Protocol};
use crate::{IngestSettings, Metrics, origins};

/// Answers that leave a body unread: what is left of it is passed over, so that they are not lost on a
/// client which sends before it listens.
const BODY_UNREAD: [StatusCode; 5] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// How long the log may take to say whether it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// What all requests share.
pub struct Shared {
    pub settings: Arc<IngestSettings>,
    pub log: Arc<dyn EventLog>,
    pub metrics: Metrics,
    /// The bytes that bodies may still take.
    pub bodies: Arc<Semaphore>,
    pub clock: ClockWatch,
    /// Cancelled when the collector begins to drain.
    pub shutdown: CancellationToken,
}

enum Route {
    Collect(Protocol),
    /// What [`Route::Collect`] answers for Footfall's own events, and nothing is kept.
    Validate,
    Live,
    Ready,
    Metrics,
}

/// All paths there are.
const ROUTES: [(&str, Route); 9] = [
    ("/v1/events", Route::Collect(Protocol::Events)),
    ("/v1/validate", Route::Validate),
    ("/v1/batch", Route::Collect(Protocol::Segment(Call::Batch))),
    ("/v1/track", Route::Collect(Protocol::Segment(Call::One("track")))),
    ("/v1/page", Route::Collect(Protocol::Segment(Call::One("page")))),
    ("/v1/identify", Route::Collect(Protocol::Segment(Call::One("identify")))),
    ("/livez", Route::Live),
    ("/readyz", Route::Ready),
    ("/metrics", Route::Metrics),
];

impl Route {
    const fn method(&self) -> Method {
        match self {
            Route::Collect(_) | Route::Validate => Method::POST,
            Route::Live | Route::Ready | Route::Metrics => Method::GET,
        }
    }
}

/// Answers one request. On a connection that `is_excess`, nothing is collected; but who watches the
/// process still sees it.
pub async fn respond(
    shared: &Arc<Shared>,
    mut request: Request<Incoming>,
    is_excess: bool,
    guest: &Guest,
) -> Answer {
    let _in_flight = shared.metrics.in_flight();
    let answer = route(shared, &mut request, is_excess, guest).await;
    // Who asks first whether to send a body is told by the answer that it is not wanted.
    let has_asked = request.headers().contains_key(EXPECT);
    if BODY_UNREAD.contains(&answer.status()) && !has_asked {
        body::pass_over(request.body_mut()).await;
    }
    shared.metrics.answered(answer.status());
    origins::readable(answer, &shared.settings.keys, request.headers())
}

async fn route(
    shared: &Arc<Shared>,
    request: &mut Request<Incoming>,
    is_excess: bool,
    guest: &Guest,
) -> Answer {
    let path = request.uri().path();
    match ROUTES.iter().find(|(known, _)| *known == path) {
        None => not_found(path),
        Some((_, Route::Collect(_) | Route::Validate)) if *request.method() == Method::OPTIONS => {
            origins::preflight(&shared.settings.keys, request.headers())
        }
        Some((_, route)) if route.method() != *request.method() => not_allowed(path, route),
        Some((_, Route::Collect(_) | Route::Validate)) if is_excess => too_many_connections(shared),
        Some((_, Route::Collect(protocol))) => {
            collect(shared, *protocol, Purpose::Keep, request, guest).await
        }
        Some((_, Route::Validate)) => {
            collect(shared, Protocol::Events, Purpose::Validate, request, guest).await
        }
        Some((_, Route::Live)) => answer::text(StatusCode::OK, "ok\n"),
        Some((_, Route::Ready)) => ready(shared).await,
        Some((_, Route::Metrics)) => metrics(shared),
    }
}

fn too_many_connections(shared: &Shared) -> Answer {
    let max = shared.settings.connections_max;
    answer::overloaded(&format!("{max} connections are open, connections_max"))
}

async fn ready(shared: &Shared) -> Answer {
    let unready = |why: &str| answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    match tokio::time::timeout(READY_TIMEOUT, shared.log.ready()).await {
        Ok(Ok(())) => answer::text(StatusCode::OK, "ready\n"),
        Ok(Err(error)) => unready(&error.to_string()),
        Err(_) => unready("the event log did not say within 5 s whether it is ready"),
    }
}

fn metrics(shared: &Shared) -> Answer {
    match shared.metrics.text() {
        Ok(text) => answer::text(StatusCode::OK, text),
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn not_found(path: &str) -> Answer {
    let shown: String = path.chars().take(80).collect();
    let list = |(path, route): &(&str, Route)| format!("{} {path}", route.method());
    let known: Vec<String> = ROUTES.iter().map(list).collect();
    let message = format!("there is no `{shown}`; there are {}", known.join(", "));
    answer::error(StatusCode::NOT_FOUND, &message)
}

fn not_allowed(path: &str, route: &Route) -> Answer {
    let method = route.method();
    let message = format!("{path} takes {method} only");
    let answer = answer::error(StatusCode::METHOD_NOT_ALLOWED, &message);
    let allowed = if method == Method::POST { "POST" } else { "GET" };
    answer::with(answer, ALLOW, HeaderValue::from_static(allowed))
}
