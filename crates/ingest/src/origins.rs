//! Which web pages may send: CORS, the rules by which browsers ask and pages read (fetch.spec.whatwg.org).
//! Only browsers keep them: a key, not an origin, says who sends.

use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};

use crate::Key;
use crate::answer::{self, Answer};

/// In a key's origins: pages of every origin may send.
const ANY: &str = "*";
/// Longest part of an origin that an answer repeats, in characters.
const SHOWN_CHARS_MAX: usize = 200;
/// What an answer tells a browser: how to ask.
const PREFLIGHT: [(HeaderName, &str); 2] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
    // As long as any browser keeps it: 2 hours.
    (ACCESS_CONTROL_MAX_AGE, "7200"),
];
/// Headers that a page may send where its browser does not ask for them by name.
const HEADERS: &str = "authorization, content-type, content-encoding, x-write-key";
/// Longest list of headers that is repeated: SDKs send some of their own, to which nothing is done.
const HEADERS_BYTES_MAX: usize = 1_024;

/// The origin of the page that sends; `None` for whoever is no browser.
pub fn origin(headers: &HeaderMap) -> Option<String> {
    headers.get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned())
}

/// May pages of `origin` send with one of these keys? Without keys nobody is asked.
fn may_send(keys: &[Key], origin: &str) -> bool {
    keys.is_empty() || keys.iter().any(|key| allows(key, origin))
}

/// May pages of `origin` send with this key?
pub fn allows(key: &Key, origin: &str) -> bool {
    key.origins.iter().any(|allowed| allowed == ANY || allowed.eq_ignore_ascii_case(origin))
}

/// An origin as answers show it.
pub fn shown(origin: &str) -> String {
    origin.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Answers a browser that asks whether a page may send. Its request shows no key, so that one of any
/// site is enough.
pub fn preflight(keys: &[Key], headers: &HeaderMap) -> Answer {
    let Some(origin) = origin(headers) else {
        let answer = answer::empty(StatusCode::NO_CONTENT);
        return answer::with(answer, ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    };
    if !may_send(keys, &origin) {
        let origin = shown(&origin);
        let message =
            format!("pages of `{origin}` may not send here: no [[key]] lists it in `origins`");
        return answer::error(StatusCode::FORBIDDEN, &message);
    }
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked.filter(|asked| asked.len() <= HEADERS_BYTES_MAX).cloned();
    let allowed = asked.unwrap_or(HeaderValue::from_static(HEADERS));
    let answer = answer::empty(StatusCode::NO_CONTENT);
    let answer = answer::with(answer, ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    PREFLIGHT.into_iter().fold(answer, |answer, (name, value)| {
        answer::with(answer, name, HeaderValue::from_static(value))
    })
}

/// Lets the page that sent read the answer, if a key lists its origin: also one that says what was
/// wrong.
pub fn readable(answer: Answer, keys: &[Key], headers: &HeaderMap) -> Answer {
    let (Some(value), Some(origin)) = (headers.get(ORIGIN), origin(headers)) else { return answer };
    if !may_send(keys, &origin) {
        return answer;
    }
    let answer = answer::with(answer, ACCESS_CONTROL_ALLOW_ORIGIN, value.clone());
    // Some SDKs ask browsers to send cookies along. None is set or looked at here.
    let credentials = HeaderValue::from_static("true");
    let answer = answer::with(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
    let exposed = HeaderValue::from_static("retry-after");
    let answer = answer::with(answer, ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    answer::with(answer, VARY, HeaderValue::from_static("origin"))
}
