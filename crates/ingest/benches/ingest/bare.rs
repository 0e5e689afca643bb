//! The least that a server of events can do: HTTP by axum, the events parsed by serde_json, and nothing kept.

use std::borrow::Cow;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;

/// All fields of Footfall's own form that the bench sends.
#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed, and dropped")]
struct View<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    site: Cow<'a, str>,
    #[serde(borrow)]
    visitor_id: Cow<'a, str>,
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    seq: i64,
    #[serde(borrow)]
    page_url: Cow<'a, str>,
    #[serde(borrow)]
    page_path: Cow<'a, str>,
    #[serde(borrow)]
    page_type: Cow<'a, str>,
    #[serde(borrow)]
    page_view_id: Cow<'a, str>,
    #[serde(borrow)]
    referrer: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    sent_at: Cow<'a, str>,
}

pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, Router::new().route("/v1/events", post(parse))).await
}

async fn parse(body: Bytes) -> (StatusCode, String) {
    let one = |body| serde_json::from_slice::<View<'_>>(body).map(|view| vec![view]);
    let views = serde_json::from_slice::<Vec<View<'_>>>(&body).or_else(|_| one(&body));
    let Ok(views) = views else { return (StatusCode::BAD_REQUEST, String::new()) };
    let accepted = std::hint::black_box(views).len();
    (StatusCode::OK, format!("\"accepted\":{accepted},\"rejected\":0"))
}
