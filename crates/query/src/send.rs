//! From an answer to a stream of bytes that a client takes at its own speed, for a limited time.
//! The formats are left to `format`.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::format::{Encoder, Format};
use crate::{Answer, QueryError};

/// Pieces that are encoded before the client takes them.
const PIECES_AHEAD: usize = 2;
/// Rows and bytes of one piece, at most where a single row is not longer.
const PIECE_ROWS: usize = 4096;
const PIECE_BYTES: usize = 1024 * 1024;

enum Piece {
    Part(Bytes),
    Last(Bytes),
}

/// Encodes `answer` on `threads`. The stream ends with an error unless all was taken within `limit`;
/// the answer's memory is freed at `limit` even where nobody takes anything.
///
/// # Errors
/// `Statement` when the format cannot hold one of the answer's types; `Table` when it is too long.
pub(crate) fn send(
    answer: Answer,
    format: Format,
    limit: Duration,
    threads: &Handle,
) -> Result<impl Stream<Item = Result<Bytes, QueryError>> + use<>, QueryError> {
    let encoder = Encoder::new(format, answer.schema(), answer.batches())?;
    let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
    threads.spawn(async move {
        let encoding = encode(answer, encoder, pieces);
        match tokio::time::timeout(limit, encoding).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "an answer was cut off"),
            Err(_) => tracing::warn!(?limit, "a client was too slow to take its answer"),
        }
    });
    Ok(try_unfold(Some(taken), |taken| async {
        let Some(mut taken) = taken else { return Ok(None) };
        match taken.recv().await {
            Some(Piece::Part(bytes)) => Ok(Some((bytes, Some(taken)))),
            Some(Piece::Last(bytes)) => Ok(Some((bytes, None))),
            None => Err(QueryError::Engine { reason: "the answer was not sent whole".to_owned() }),
        }
    }))
}

async fn encode(
    answer: Answer,
    mut encoder: Encoder,
    pieces: mpsc::Sender<Piece>,
) -> Result<(), QueryError> {
    for batch in answer.batches() {
        let row_bytes = batch.get_array_memory_size() / batch.num_rows().max(1);
        let piece_rows = (PIECE_BYTES / row_bytes.max(1)).clamp(1, PIECE_ROWS);
        for start in (0..batch.num_rows()).step_by(piece_rows) {
            let rows = piece_rows.min(batch.num_rows() - start);
            encoder.rows(&batch.slice(start, rows))?;
            // A closed channel is a client that went away.
            if pieces.send(Piece::Part(encoder.take().into())).await.is_err() {
                return Ok(());
            }
        }
    }
    encoder.finish()?;
    let _ = pieces.send(Piece::Last(encoder.take().into())).await;
    Ok(())
}
