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
use crate::collect::{Purpose, Source, collect, denied};
use crate::crowd::Guest;
use crate::protocol::{Call, Protocol};
use crate::sdk_settings::{self, Sdk};
use crate::{IngestSettings, Metrics, keys, origins, peer};

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

#[derive(Clone, Copy)]
enum Route {
    Collect(Protocol),
    /// The same of what a query tells, by GET.
    Pixel(Protocol),
    /// The same of what a query and a body tell, by POST or, without a body, by GET.
    Hit(Protocol),
    /// What an SDK asks before it sends.
    Settings(Sdk),
    /// What [`Route::Collect`] answers for Footfall's own events, and nothing is kept.
    Validate,
    Live,
    Ready,
    Metrics,
}

const BATCH: Route = Route::Collect(Protocol::Segment(Call::Batch));

const fn call(kind: &'static str) -> Route {
    Route::Collect(Protocol::Segment(Call::One(kind)))
}

/// All paths there are, but for Segment's settings, whose path holds a key. Segment's calls have two: those of
/// one letter are the browser's. Its SDKs for Ruby and Java call a batch an import.
const ROUTES: [(&str, Route); 27] = [
    ("/v1/events", Route::Collect(Protocol::Events)),
    ("/v1/cloudevents", Route::Collect(Protocol::CloudEvents)),
    ("/v1/validate", Route::Validate),
    ("/v1/batch", BATCH),
    ("/v1/import", BATCH),
    ("/v1/track", call("track")),
    ("/v1/page", call("page")),
    ("/v1/screen", call("screen")),
    ("/v1/identify", call("identify")),
    ("/v1/group", call("group")),
    ("/v1/alias", call("alias")),
    ("/v1/b", BATCH),
    ("/v1/t", call("track")),
    ("/v1/p", call("page")),
    ("/v1/s", call("screen")),
    ("/v1/i", call("identify")),
    ("/v1/g", call("group")),
    ("/v1/a", call("alias")),
    ("/com.snowplowanalytics.snowplow/tp2", Route::Collect(Protocol::Snowplow)),
    ("/i", Route::Pixel(Protocol::Snowplow)),
    // RudderStack's, of a page that is left.
    ("/beacon/v1/batch", BATCH),
    ("/mp/collect", Route::Collect(Protocol::Ga4)),
    ("/g/collect", Route::Hit(Protocol::Ga4)),
    ("/sourceConfig", Route::Settings(Sdk::RudderStack)),
    ("/livez", Route::Live),
    ("/readyz", Route::Ready),
    ("/metrics", Route::Metrics),
];

impl Route {
    const fn method(&self) -> Method {
        match self {
            Route::Collect(_) | Route::Hit(_) | Route::Validate => Method::POST,
            Route::Pixel(_) | Route::Settings(_) | Route::Live | Route::Ready | Route::Metrics => {
                Method::GET
            }
        }
    }

    const fn is_without_events(&self) -> bool {
        matches!(self, Route::Settings(_) | Route::Live | Route::Ready | Route::Metrics)
    }

    /// Pages of shops ask for it.
    const fn is_of_pages(&self) -> bool {
        !matches!(self, Route::Live | Route::Ready | Route::Metrics)
    }

    fn find(path: &str) -> Option<Route> {
        // Some SDKs end theirs with a slash.
        let bare = path.strip_suffix('/').unwrap_or(path);
        let known = ROUTES.iter().find(|(known, _)| *known == bare).map(|(_, route)| *route);
        known.or_else(|| sdk_settings::segment_key(path).map(|_| Route::Settings(Sdk::Segment)))
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
    let Some(route) = Route::find(path) else { return not_found(path) };
    let method = request.method();
    if *method == Method::OPTIONS && route.is_of_pages() {
        return origins::preflight(&shared.settings.keys, request.headers());
    }
    let is_hit = matches!(route, Route::Hit(_)) && *method == Method::GET;
    // hyper leaves the body out of what it answers.
    let is_look = *method == Method::HEAD && route.is_without_events();
    if route.method() != *method && !is_hit && !is_look {
        return not_allowed(path, route);
    }
    match route {
        Route::Collect(_) | Route::Pixel(_) | Route::Hit(_) | Route::Validate if is_excess => {
            too_many_connections(shared)
        }
        Route::Collect(protocol) => {
            collect(shared, protocol, Source::Body, Purpose::Keep, request, guest).await
        }
        Route::Pixel(protocol) => {
            collect(shared, protocol, Source::Query, Purpose::Keep, request, guest).await
        }
        Route::Hit(protocol) => {
            collect(shared, protocol, Source::Both, Purpose::Keep, request, guest).await
        }
        Route::Validate => {
            collect(shared, Protocol::Events, Source::Body, Purpose::Validate, request, guest).await
        }
        Route::Settings(sdk) => settings_of(shared, sdk, request),
        Route::Live => answer::text(StatusCode::OK, "ok\n"),
        Route::Ready => ready(shared).await,
        Route::Metrics => metrics(shared),
    }
}

/// An SDK that asks with a key that is not known here is told so, or nobody would know why nothing comes.
fn settings_of(shared: &Shared, sdk: Sdk, request: &Request<Incoming>) -> Answer {
    let (uri, headers) = (request.uri(), request.headers());
    let key = match sdk {
        Sdk::Segment => sdk_settings::segment_key(uri.path()).map(str::to_owned),
        Sdk::RudderStack => {
            let in_query = uri.query().and_then(|query| keys::query_key(query, keys::IN_QUERY));
            in_query.or_else(|| String::from_utf8(keys::shown_key(headers)?).ok())
        }
    };
    let Some(key) = key else {
        return answer::error(StatusCode::BAD_REQUEST, "writeKey: is required in the query");
    };
    let keys = &shared.settings.keys;
    let origin = origins::origin(headers);
    if !keys.is_empty()
        && let Err(why) = keys::site_of(keys, key.as_bytes(), origin.as_deref())
    {
        return denied(&why);
    }
    sdk_settings::of(sdk, &key, peer::host(request, shared.settings.proxies))
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

fn not_allowed(path: &str, route: Route) -> Answer {
    let method = route.method();
    let message = format!("{path} takes {method} only");
    let answer = answer::error(StatusCode::METHOD_NOT_ALLOWED, &message);
    let allowed = match route {
        Route::Hit(_) => "GET, POST",
        _ if method == Method::POST => "POST",
        _ => "GET",
    };
    answer::with(answer, ALLOW, HeaderValue::from_static(allowed))
}
