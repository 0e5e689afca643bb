//! What each path answers. Connections are left to `server`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use datafusion::common::ScalarValue;
use footfall_guard::{Refusal, Tokens};
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Engine, Format, Parameters, QueryError};

/// The longest statement.
const SQL_BYTES_MAX: usize = 256 * 1024;
/// How long a client may take to send it.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// What the routes share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tokens: Tokens,
    pub(crate) registry: Registry,
    pub(crate) shutdown: CancellationToken,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql))
        .route("/v1/tables", get(tables))
        .route("/v1/status", get(status))
        // What stands above shows data, what follows does not.
        .route_layer(from_fn_with_state(shared.clone(), admit))
        .route("/openapi.json", get(openapi))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(async || {
            refused(StatusCode::NOT_FOUND, "there is no such path; see /v1/tables and POST /v1/sql")
        })
        .method_not_allowed_fallback(async || {
            refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path takes another method: POST /v1/sql, GET for all others",
            )
        })
        .with_state(shared)
}

async fn admit(
    State(shared): State<Arc<Shared>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let Err(refusal) = shared.tokens.admit(request.headers()) else {
        return next.run(request).await;
    };
    let (status, code) = match refusal {
        Refusal::Missing | Refusal::Unknown => (StatusCode::UNAUTHORIZED, "unauthorized"),
        Refusal::Page | Refusal::ReadsOnly => (StatusCode::FORBIDDEN, "forbidden"),
    };
    let message = refusal.to_string();
    let mut answer = error(status, code, &message);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"footfall\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
    /// Values for `$1`, `$2`, … as a list, for `$name` as an object.
    #[serde(default)]
    parameters: Values,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Numbered(Vec<Value>),
    Named(BTreeMap<String, Value>),
}

impl Default for Values {
    fn default() -> Self {
        Values::Numbered(Vec::new())
    }
}

impl Values {
    fn parameters(self) -> Result<Parameters, String> {
        Ok(match self {
            Values::Numbered(values) => {
                let values: Result<Vec<_>, _> = values.into_iter().map(scalar).collect();
                Parameters::numbered(values?)
            }
            Values::Named(values) => {
                let value = |(name, value)| scalar(value).map(|value| (name, value));
                let values: Result<Vec<_>, _> = values.into_iter().map(value).collect();
                Parameters::named(values?)
            }
        })
    }
}

/// A JSON value as one of SQL; a time is a text, which SQL reads where it wants a time.
fn scalar(value: Value) -> Result<ScalarValue, String> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(flag) => Ok(ScalarValue::from(flag)),
        Value::String(text) => Ok(ScalarValue::from(text)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(ScalarValue::from(whole)),
            (None, Some(number)) => Ok(ScalarValue::from(number)),
            (None, None) => Err(format!("{number} is no number that SQL has")),
        },
        Value::Array(_) | Value::Object(_) => {
            Err(format!("{value} is a list or an object: a parameter is one value"))
        }
    }
}

async fn sql(
    State(shared): State<Arc<Shared>>,
    options: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let format = match format(options, &headers) {
        Ok(format) => format,
        Err(response) => return response,
    };
    let (text, values) = match statement(&headers, body).await {
        Ok(statement) => statement,
        Err(response) => return response,
    };
    let answer = async {
        let rows = shared.engine.ask(&text, &values).await?;
        shared.engine.send(rows, format).await
    };
    match answer.await {
        Ok(bytes) => {
            ([(CONTENT_TYPE, media_type(format))], Body::from_stream(bytes)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

async fn tables(State(shared): State<Arc<Shared>>) -> Response {
    match shared.engine.listing().await {
        Ok(listing) => axum::Json(listing).into_response(),
        Err(error) => error.into_response(),
    }
}

/// What `footfall status` asks: where the lake lies, and how large its tables are.
async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.engine.facts().await {
        Ok(tables) => {
            let lake = shared.engine.location();
            axum::Json(json!({"part": "query", "lake": lake, "tables": tables})).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// What the routes are, for client generators.
async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if shared.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    match shared.engine.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn format(
    options: Result<Query<Options>, QueryRejection>,
    headers: &HeaderMap,
) -> Result<Format, Response> {
    let bad = |message: String| refused(StatusCode::BAD_REQUEST, &message);
    let Query(options) = options.map_err(|rejection| bad(rejection.body_text()))?;
    if let Some(name) = options.format {
        let known = Format::named(&name);
        let names = Format::ALL.map(Format::name).join(", ");
        return known.ok_or_else(|| bad(format!("format `{name}`: there are {names}")));
    }
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let offered = [Format::JsonLines, Format::Json, Format::Csv, Format::Arrow, Format::Parquet];
    let position = |format: &Format| accepted.find(bare_media_type(*format));
    let wanted =
        offered.into_iter().filter(|format| position(format).is_some()).min_by_key(position);
    Ok(wanted.unwrap_or(Format::Json))
}

async fn statement(headers: &HeaderMap, body: Body) -> Result<(String, Parameters), Response> {
    let read = tokio::time::timeout(BODY_TIME_MAX, axum::body::to_bytes(body, SQL_BYTES_MAX)).await;
    let bytes = match read {
        Err(_) => {
            return Err(refused(StatusCode::REQUEST_TIMEOUT, "the statement came too slowly"));
        }
        Ok(Err(error)) => {
            let message = format!("no statement of at most {SQL_BYTES_MAX} bytes: {error}");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &message));
        }
        Ok(Ok(bytes)) => bytes,
    };
    let bad = |message: String| refused(StatusCode::BAD_REQUEST, &message);
    let text = String::from_utf8(bytes.into())
        .map_err(|error| bad(format!("the statement is not UTF-8: {error}")))?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|value| value.starts_with("application/json"));
    // No SQL begins with a brace, and curl sends no content type of its own for JSON.
    if !is_json && !text.trim_start().starts_with('{') {
        return Ok((text, Parameters::default()));
    }
    let request: Request = serde_json::from_str(&text)
        .map_err(|error| bad(format!("the body is not {{\"sql\": \"…\"}}: {error}")))?;
    let values = request.parameters.parameters().map_err(bad)?;
    Ok((request.sql, values))
}

const fn media_type(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv; charset=utf-8; header=present",
        other => bare_media_type(other),
    }
}

const fn bare_media_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::JsonLines => "application/x-ndjson",
        Format::Csv => "text/csv",
        Format::Arrow => "application/vnd.apache.arrow.stream",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Table => "text/plain; charset=utf-8",
    }
}

/// A refusal that concerns the request, not the statement in it.
fn refused(status: StatusCode, message: &str) -> Response {
    error(status, "bad_request", message)
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

impl IntoResponse for QueryError {
    /// 400: the statement must change. 422: it is sound, but asks for more than a query may use;
    /// not one of the codes that proxies and clients repeat by themselves. 503: try again.
    /// 500: not the caller's fault.
    fn into_response(self) -> Response {
        let status = match &self {
            QueryError::Statement { .. } => StatusCode::BAD_REQUEST,
            QueryError::Time { .. }
            | QueryError::Memory { .. }
            | QueryError::Rows { .. }
            | QueryError::Table { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            QueryError::Busy { .. } | QueryError::Live { .. } => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Lake { .. } | QueryError::Engine { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        match &self {
            QueryError::Lake { .. } => tracing::error!(error = %self, "a query failed"),
            QueryError::Live { .. } => tracing::warn!(error = %self, "a query failed"),
            // It may quote the statement, and so whom it asks for: who asked is told.
            QueryError::Engine { .. } => {
                tracing::error!("a query failed in the engine; its answer says why");
                tracing::debug!(error = %self, "a query failed in the engine");
            }
            _ => {}
        }
        let mut error = json!({"code": self.outcome().label(), "message": self.to_string()});
        if let Some(place) = self.place() {
            error["line"] = place.line.into();
            error["column"] = place.column.into();
            error["snippet"] = place.snippet.clone().into();
        }
        if let Some(hint) = self.hint() {
            error["hint"] = hint.into();
        }
        let mut response = (status, axum::Json(json!({"error": error}))).into_response();
        if let QueryError::Busy { retry_after, .. } = &self {
            let seconds = HeaderValue::from(retry_after.as_secs());
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}
