//! One request's way: key, body, judgement, log, answer. Nothing is answered 2xx before the log
//! holds every record of it for good.

use std::sync::Arc;
use std::time::Instant;

use footfall_event::Micros;
use footfall_log::LogError;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderName, USER_AGENT};
use hyper::{Request, StatusCode};

use crate::answer::{self, Answer};
use crate::body::{self, Body, Hold, NoBody};
use crate::crowd::Guest;
use crate::judge::{Encoding, Head, Judgement, Verdicts, judge};
use crate::keys::{self, Access, Denial};
use crate::origins;
use crate::peer;
use crate::protocol::Protocol;
use crate::service::Shared;

/// A body larger than this, or one that may inflate beyond it, is judged away from the threads that
/// serve sockets, so that it does not hold up other requests.
const ASIDE_BYTES: usize = 256 * 1024;
/// Deflate makes at most 1,032 bytes of one.
const INFLATION_MAX: usize = 1_032;

/// Global Privacy Control's.
const PRIVACY_CONTROL: HeaderName = HeaderName::from_static("sec-gpc");

/// By which Snowplow's trackers ask that the visitor's address is not looked at.
const ANONYMOUS: HeaderName = HeaderName::from_static("sp-anonymous");

/// What a request's events are judged for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The log keeps what was decided.
    Keep,
    /// Nothing is kept, whatever was decided: the answer alone is wanted.
    Validate,
}

/// Where a request has its events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Body,
    /// An image of a page asks, and is answered with one.
    Query,
    /// Of what holds for all of them, or of one, a query tells; of each of several a body.
    Both,
}

/// Collects the events of one request.
pub async fn collect(
    shared: &Arc<Shared>,
    protocol: Protocol,
    source: Source,
    purpose: Purpose,
    request: &mut Request<Incoming>,
    guest: &Guest,
) -> Answer {
    let began = Instant::now();
    let settings = &shared.settings;
    let head = match head(shared, protocol, source, purpose, request) {
        Ok(head) => head,
        Err(why) => return denied(&why),
    };
    if purpose == Purpose::Keep
        && let Err(error) = shared.log.has_room()
    {
        return not_appended(&error);
    }
    let body = match source {
        Source::Body | Source::Both => {
            let (bytes_max, within) = (settings.body_bytes_max, settings.body_timeout);
            body::read(request.body_mut(), &shared.bodies, bytes_max, within).await
        }
        Source::Query => {
            let query = protocol.body_of_query(request.uri().query().unwrap_or_default());
            let hold = Hold::new(&shared.bodies, query.len());
            hold.map(|hold| Body::Whole { bytes: query.into(), hold })
        }
    };
    let body = match body {
        Ok(body) => body,
        Err(why) => return no_body(shared, &why),
    };
    guest.served();
    if purpose == Purpose::Keep
        && let Body::Whole { bytes, .. } = &body
    {
        shared.metrics.bytes(bytes.len());
    }
    let judgement = if is_heavy(&body, &head.encoding) {
        let settings = Arc::clone(settings);
        match tokio::task::spawn_blocking(move || judge(&settings, &head, protocol, body)).await {
            Ok(judgement) => judgement,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    } else {
        judge(settings, &head, protocol, body)
    };
    match judgement {
        Judgement::Answer(status, error) => answer::error(status, &error),
        Judgement::Deny(why) => denied(&why),
        Judgement::Overloaded => no_body(shared, &NoBody::Overloaded),
        Judgement::Append { verdicts, status, error, hold } => {
            let keeping = (purpose == Purpose::Keep).then_some((shared.as_ref(), began));
            let answer = conclude(keeping, verdicts, status, error.as_deref(), hold).await;
            let is_image = source == Source::Query && answer.status() == StatusCode::OK;
            if is_image { answer::pixel() } else { answer }
        }
    }
}

pub fn denied(why: &Denial) -> Answer {
    match why {
        Denial::Missing | Denial::Unknown => answer::unauthorized(&why.to_string()),
        Denial::Page(_) => answer::error(StatusCode::FORBIDDEN, &why.to_string()),
    }
}

/// What the request's head says; `Err` says why its sender is not admitted.
fn head(
    shared: &Shared,
    protocol: Protocol,
    source: Source,
    purpose: Purpose,
    request: &Request<Incoming>,
) -> Result<Head, Denial> {
    let headers = request.headers();
    let query = request.uri().query();
    let beside = query.filter(|_| source == Source::Both);
    let key_names = if beside.is_some() { keys::IN_HITS } else { keys::IN_QUERY };
    let access = keys::access(&shared.settings.keys, headers, query, key_names)?;
    if access == Access::Missing && !protocol.has_key_in_body() {
        return Err(Denial::Missing);
    }
    let browser = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let browser = browser.filter(|agent| agent.starts_with("Mozilla/"));
    let origin = origins::origin(headers);
    let is_of_visitor = (browser.is_some() || origin.is_some()) && !headers.contains_key(ANONYMOUS);
    let wants_summary = query.is_some_and(|query| query.split('&').any(|q| q == "status=summary"));
    Ok(Head {
        dialect: protocol.dialect(),
        access,
        origin,
        received: Micros::clock(),
        user_agent: browser.map(str::to_owned),
        address: is_of_visitor.then(|| peer::address(request, shared.settings.proxies)).flatten(),
        has_privacy_control: headers.get(PRIVACY_CONTROL).is_some_and(|value| value == "1"),
        is_paced: purpose == Purpose::Keep,
        encoding: encoding(headers),
        wants_list: !wants_summary,
        partitions: shared.log.partitions(),
        beside: beside.map(str::to_owned),
        replay_of: None,
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

fn is_heavy(body: &Body, encoding: &Encoding) -> bool {
    let Body::Whole { bytes, .. } = body else { return false };
    let is_packed = *encoding == Encoding::Gzip || crate::gzip::is_gzip(bytes);
    bytes.len() > if is_packed { ASIDE_BYTES / INFLATION_MAX } else { ASIDE_BYTES }
}

fn no_body(shared: &Shared, why: &NoBody) -> Answer {
    let settings = &shared.settings;
    match why {
        NoBody::Overloaded => {
            let max = settings.bodies_in_flight_bytes_max;
            let fill = "bodies under way fill bodies_in_flight_bytes_max";
            answer::overloaded(&format!("{fill}, {max} bytes"))
        }
        NoBody::TimedOut => {
            let seconds = settings.body_timeout.as_secs_f64();
            let message = format!("body: did not come within body_timeout, {seconds} s");
            answer::error(StatusCode::REQUEST_TIMEOUT, &message)
        }
        NoBody::Broken => answer::error(StatusCode::BAD_REQUEST, "body: ended before its end"),
    }
}

/// Answers, once the log holds the records where it is to keep them.
async fn conclude(
    keeping: Option<(&Shared, Instant)>,
    mut verdicts: Verdicts,
    status: StatusCode,
    error: Option<&str>,
    mut hold: Hold,
) -> Answer {
    // Who does not take an answer holds its bytes like a body's. The list of events can be left out;
    // the promise of a 2xx cannot be taken back once the log holds them.
    if hold.grow_to(verdicts.answer_bytes()).is_err() {
        verdicts.omit_list();
    }
    if let Some((shared, began)) = keeping
        && let Err(error) = append(shared, &mut verdicts, began).await
    {
        return not_appended(&error);
    }
    let body = verdicts.answer(error);
    hold.shrink_to(body.len());
    answer::json(status, hold.with(body))
}

async fn append(shared: &Shared, verdicts: &mut Verdicts, began: Instant) -> Result<(), LogError> {
    let before = Micros::clock();
    let appended = shared.log.append(verdicts.take_records()).await?;
    shared.metrics.acknowledged(began.elapsed());
    shared.clock.observe(&shared.metrics, before, Micros::clock(), &appended);
    verdicts.count(&shared.metrics);
    Ok(())
}

/// Nothing of the request counts as taken: the client shall send it again, by the same ids.
fn not_appended(error: &LogError) -> Answer {
    match error {
        LogError::Overloaded { .. } => tracing::debug!(%error, "the event log takes no more"),
        _ => tracing::error!(%error, "events could not be written to the event log"),
    }
    answer::overloaded(&error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio::sync::Semaphore;

    use super::*;

    /// Is a body of so many spaces judged aside, as it is and as gzip of them?
    fn is_aside(spaces: usize, is_packed: bool) -> bool {
        let mut bytes = vec![b' '; spaces];
        if is_packed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let hold = Hold::new(&Arc::new(Semaphore::new(0)), 0);
        let hold = hold.unwrap_or_else(|_| panic!("nothing is always there"));
        is_heavy(&Body::Whole { bytes: Bytes::from(bytes), hold }, &Encoding::Plain)
    }

    #[test]
    fn whatever_may_become_large_is_judged_aside() {
        assert!(!is_aside(ASIDE_BYTES, false) && is_aside(ASIDE_BYTES + 1, false));
        assert!(is_aside(ASIDE_BYTES + 1, true), "gzip of a few hundred bytes");
        assert!(!is_aside(1_000, true));
    }
}
