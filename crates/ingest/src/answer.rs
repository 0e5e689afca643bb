//! Answers: their bodies, headers and statuses. What is answered is decided by the callers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

/// How long a client shall wait after a 503, in seconds.
const RETRY_AFTER_SECONDS: u16 = 2;

pub type Answer = Response<Once>;

/// A body in one piece.
pub struct Once(Option<Bytes>);

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "application/json", body.into())
}

/// Without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Once(None));
    *answer.status_mut() = status;
    answer
}

pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

/// A transparent GIF of one pixel, which nobody is to keep: whoever has it sends nothing.
pub fn pixel() -> Answer {
    const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let answer = answer(StatusCode::OK, "image/gif", Bytes::from_static(PIXEL));
    with(answer, CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// `{"error": message}`: a sentence for whoever reads the client's log.
pub fn error(status: StatusCode, message: &str) -> Answer {
    json(status, serde_json::json!({ "error": message }).to_string())
}

/// 503: the client shall send the same again, a little later.
pub fn overloaded(message: &str) -> Answer {
    let answer = error(StatusCode::SERVICE_UNAVAILABLE, message);
    with(answer, RETRY_AFTER, RETRY_AFTER_SECONDS.into())
}

pub fn unauthorized(message: &str) -> Answer {
    let answer = error(StatusCode::UNAUTHORIZED, message);
    // Basic is taken too, but naming it would have browsers ask their users for a password.
    with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"footfall\""))
}

pub fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Once((!body.is_empty()).then_some(body)));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, HeaderValue::from_static(content_type))
}
