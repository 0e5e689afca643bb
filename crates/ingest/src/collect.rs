//! One request's way: key, body, judgement, log, answer. Nothing is answered 2xx before the log
//! holds every record of it for good.

use std::sync::Arc;
use std::time::Instant;

use footfall_event::Micros;
use footfall_log::LogError;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap, USER_AGENT};
use hyper::{Request, StatusCode};

use crate::answer::{self, Answer};
use crate::body::{self, Body, NoBody};
use crate::judge::{Encoding, Head, Judgement, KEY_MISSING, KEY_UNKNOWN, Verdicts, judge};
use crate::keys::{self, Access};
use crate::protocol::Protocol;
use crate::service::Shared;

/// A body larger than this, or one that may inflate beyond it, is judged away from the threads that
/// serve sockets, so that it does not hold up other requests.
const ASIDE_BYTES: usize = 256 * 1024;

/// Collects the events of one request.
pub async fn collect(
    shared: &Arc<Shared>,
    protocol: Protocol,
    request: Request<Incoming>,
) -> Answer {
    let began = Instant::now();
    let settings = &shared.settings;
    let head = match head(shared, protocol, &request) {
        Ok(head) => head,
        Err(why) => return answer::unauthorized(why),
    };
    let reading = body::read(
        request.into_body(),
        &shared.bodies,
        settings.body_bytes_max,
        settings.body_read_timeout,
    );
    let body = match reading.await {
        Ok(body) => body,
        Err(why) => return no_body(shared, &why),
    };
    let is_heavy = match &body {
        Body::Whole { bytes, .. } => {
            shared.metrics.bytes(bytes.len());
            bytes.len() > ASIDE_BYTES || (bytes.len() > ASIDE_BYTES / 16 && is_packed(&head, bytes))
        }
        Body::TooLarge(_) => false,
    };
    let judgement = if is_heavy {
        let settings = Arc::clone(settings);
        match tokio::task::spawn_blocking(move || judge(&settings, &head, body)).await {
            Ok(judgement) => judgement,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    } else {
        judge(settings, &head, body)
    };
    match judgement {
        Judgement::Answer(status, error) => answer::error(status, &error),
        Judgement::Deny(why) => answer::unauthorized(why),
        Judgement::Overloaded => no_body(shared, &NoBody::Overloaded),
        Judgement::Append { verdicts, status, error, hold } => {
            let answer = append(shared, verdicts, status, error.as_deref(), began).await;
            drop(hold);
            answer
        }
    }
}

/// What the request's head says; `Err` says why its sender is not admitted.
fn head(
    shared: &Shared,
    protocol: Protocol,
    request: &Request<Incoming>,
) -> Result<Head, &'static str> {
    let headers = request.headers();
    let access = keys::access(&shared.settings.keys, headers);
    match access {
        Access::Unknown => return Err(KEY_UNKNOWN),
        Access::Missing if !protocol.has_key_in_body() => return Err(KEY_MISSING),
        _ => {}
    }
    let browser = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let wants_summary =
        request.uri().query().is_some_and(|query| query.split('&').any(|q| q == "status=summary"));
    Ok(Head {
        protocol,
        access,
        received: Micros::clock(),
        user_agent: browser.filter(|agent| agent.starts_with("Mozilla/")).map(str::to_owned),
        encoding: encoding(headers),
        wants_list: !wants_summary,
        partitions: shared.log.partitions(),
    })
}

fn encoding(headers: &HeaderMap) -> Encoding {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Encoding::Plain };
    let name = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    match name.as_str() {
        "" | "identity" => Encoding::Plain,
        "gzip" | "x-gzip" => Encoding::Gzip,
        _ => Encoding::Unknown(name),
    }
}

fn is_packed(head: &Head, bytes: &[u8]) -> bool {
    head.encoding == Encoding::Gzip || crate::gzip::is_gzip(bytes)
}

fn no_body(shared: &Shared, why: &NoBody) -> Answer {
    let settings = &shared.settings;
    match why {
        NoBody::Overloaded => {
            let max = settings.bodies_bytes_max;
            answer::overloaded(&format!("bodies under way fill bodies_bytes_max, {max} bytes"))
        }
        NoBody::TimedOut => {
            let seconds = settings.body_read_timeout.as_secs_f64();
            let message = format!("body: did not come within body_read_timeout, {seconds} s");
            answer::error(StatusCode::REQUEST_TIMEOUT, &message)
        }
        NoBody::Broken => answer::error(StatusCode::BAD_REQUEST, "body: ended before its end"),
    }
}

async fn append(
    shared: &Shared,
    mut verdicts: Verdicts,
    status: StatusCode,
    error: Option<&str>,
    began: Instant,
) -> Answer {
    let before = Micros::clock();
    let appended = match shared.log.append(verdicts.take_records()).await {
        Ok(appended) => appended,
        Err(error) => return not_appended(&error),
    };
    shared.metrics.acknowledged(began.elapsed());
    shared.clock.observe(&shared.metrics, before, Micros::clock(), &appended);
    verdicts.count(&shared.metrics);
    answer::json(status, verdicts.answer(error))
}

/// Nothing of the request counts as taken: the client shall send it again, by the same ids.
fn not_appended(error: &LogError) -> Answer {
    match error {
        LogError::Overloaded { .. } => tracing::debug!(%error, "the event log takes no more"),
        _ => tracing::error!(%error, "events could not be written to the event log"),
    }
    answer::overloaded(&error.to_string())
}
