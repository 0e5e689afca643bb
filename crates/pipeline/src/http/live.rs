//! `/v1/live/sessions` and `/v1/live/needs`: the open state as an Arrow stream, with the partitions that
//! it is of, so that who asks several pipelines sees whether one is missing.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use footfall_event::schema::{LiveTable, PARTITION_COUNT_HEADER, PARTITIONS_HEADER};
use futures::{Stream, stream};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Shown;
use crate::live::{LiveRefused, LiveRows, LiveWanted};
use crate::rows::{live_need_rows, live_session_rows};

/// Sessions of one batch.
const BATCH_SESSIONS: usize = 4_096;
/// How long a client may take for a batch; then the answer breaks off, for others wait for its memory.
const TAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Seconds after which a refused question may be asked again.
const RETRY_SECONDS: &str = "1";

pub fn routes() -> Router<Shown> {
    LiveTable::ALL.into_iter().fold(Router::new(), |router, table| {
        let answer = async move |state, narrowed| answer(table, state, narrowed).await;
        router.route(table.path(), get(answer))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Narrowed {
    site: Option<String>,
    visitor_id: Option<String>,
}

async fn answer(
    table: LiveTable,
    State(shown): State<Shown>,
    narrowed: Result<Query<Narrowed>, QueryRejection>,
) -> Response {
    let Narrowed { site, visitor_id } = match narrowed {
        Ok(Query(narrowed)) => narrowed,
        Err(rejection) => {
            let message = format!("{}\n", rejection.body_text());
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    let rows = match shown.live.ask(LiveWanted { table, site, visitor_id }).await {
        Ok(rows) => rows,
        Err(refused) => return refuse(&refused),
    };
    let partitions: Vec<String> =
        rows.looks.iter().map(|look| look.partition.to_string()).collect();
    let head = [
        (CONTENT_TYPE.as_str(), "application/vnd.apache.arrow.stream".to_owned()),
        (PARTITIONS_HEADER, partitions.join(",")),
        (PARTITION_COUNT_HEADER, rows.partition_count.to_string()),
    ];
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = send(rows, &pieces).await {
            tracing::error!(%error, "live rows were not sent");
        }
    });
    (head, Body::from_stream(whole(taken))).into_response()
}

fn refuse(refused: &LiveRefused) -> Response {
    let message = format!("{refused}\n");
    match refused {
        LiveRefused::TooMany => (StatusCode::UNPROCESSABLE_ENTITY, message).into_response(),
        LiveRefused::Slow | LiveRefused::Starting(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_SECONDS)], message)
                .into_response()
        }
    }
}

/// Encodes batch by batch as they are taken, and `None` at the end. A client that does not take them ends
/// it without.
async fn send(rows: LiveRows, pieces: &mpsc::Sender<Option<Bytes>>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.table.schema())?;
    for look in &rows.looks {
        for sessions in look.sessions.chunks(BATCH_SESSIONS) {
            let batch: RecordBatch = match rows.table {
                LiveTable::Sessions => live_session_rows(sessions, &look.book, look.as_of)?,
                LiveTable::Needs => live_need_rows(sessions, &look.book, look.as_of)?,
            };
            writer.write(&batch)?;
            let piece = std::mem::take(writer.get_mut());
            if !give(pieces, Some(piece.into())).await {
                return Ok(());
            }
        }
    }
    let end = writer.into_inner()?;
    if give(pieces, Some(end.into())).await {
        give(pieces, None).await;
    }
    Ok(())
}

async fn give(pieces: &mpsc::Sender<Option<Bytes>>, piece: Option<Bytes>) -> bool {
    tokio::time::timeout(TAKE_TIME_MAX, pieces.send(piece)).await.is_ok_and(|sent| sent.is_ok())
}

/// The pieces up to the end; without an end an error, so that no part of an answer looks whole.
fn whole(
    taken: mpsc::Receiver<Option<Bytes>>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold(Some(taken), async |taken| {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(taken))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the answer broke off")), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn taken(pieces: Vec<Option<Bytes>>) -> Vec<Result<Bytes, String>> {
        let (sender, receiver) = mpsc::channel(8);
        for piece in pieces {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        whole(receiver).map(|piece| piece.map_err(|error| error.to_string())).collect().await
    }

    #[tokio::test]
    async fn an_answer_without_its_end_is_an_error() {
        let piece = || Some(Bytes::from_static(b"rows"));
        let rows = || Ok(Bytes::from_static(b"rows"));
        assert_eq!(taken(vec![piece(), piece(), None]).await, [rows(), rows()]);
        let broken = Err("the answer broke off".to_owned());
        assert_eq!(taken(vec![piece()]).await, [rows(), broken]);
    }
}
