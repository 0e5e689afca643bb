//! `/v1/erasures`: asks for an erasure, tells how far it is, and searches the log for what it should have
//! taken. The id of a visitor is in bodies alone, as paths end up in logs.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::Shown;
use crate::PipelineError;
use crate::erasure::{Erasure, Refused};

pub fn routes() -> Router<Shown> {
    Router::new()
        .route("/v1/erasures", post(ask))
        .route("/v1/erasures/{id}", get(tell))
        .route("/v1/erasures/{id}/search", post(search))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    site: String,
    visitor: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Searched {
    visitor: String,
}

async fn ask(State(shown): State<Shown>, asked: Result<Json<Asked>, JsonRejection>) -> Response {
    // What is wrong with a body may quote it.
    let Ok(Json(Asked { site, visitor })) = asked else { return bad("site and visitor") };
    match shown.erasures.request(&site, &visitor).await {
        Ok(erasure) => (StatusCode::ACCEPTED, Json(json!({ "id": erasure.id }))).into_response(),
        Err(refused @ Refused::Bad(_)) => {
            (StatusCode::BAD_REQUEST, format!("{refused}\n")).into_response()
        }
        Err(refused @ Refused::TooMany) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{refused}\n")).into_response()
        }
        Err(Refused::Failed(error)) => failed(&error),
    }
}

async fn tell(State(shown): State<Shown>, Path(id): Path<String>) -> Response {
    match shown.erasures.find(&id).await {
        Ok(Some(erasure)) => Json(erasure).into_response(),
        Ok(None) => unknown(),
        Err(error) => failed(&error),
    }
}

/// How many records of the log are still the person's: of Kafka's, in which partitions they may be.
async fn search(
    State(shown): State<Shown>,
    Path(id): Path<String>,
    searched: Result<Json<Searched>, JsonRejection>,
) -> Response {
    let Ok(Json(Searched { visitor })) = searched else { return bad("visitor") };
    let found = async {
        let Some(erasure) = shown.erasures.find(&id).await? else { return Ok(None) };
        let is_of = |erasure: &Erasure| erasure.mark().is_of(&erasure.site, &visitor);
        if !is_of(&erasure) {
            return Ok(None);
        }
        shown.erasures.search_log(&erasure, &visitor).await.map(Some)
    };
    match found.await {
        Ok(Some(found)) => Json(found).into_response(),
        Ok(None) => unknown(),
        Err(error) => failed(&error),
    }
}

fn bad(wanted: &str) -> Response {
    let message = format!("the body must be a JSON object of {wanted}, sent as application/json\n");
    (StatusCode::BAD_REQUEST, message).into_response()
}

fn unknown() -> Response {
    let message = "there is no erasure of that id, or it is another visitor's\n";
    (StatusCode::NOT_FOUND, message).into_response()
}

fn failed(error: &PipelineError) -> Response {
    tracing::error!(%error, "an erasure could not be looked after");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}
