//! From rows to a stream of bytes that a client takes at its own speed, for a limited time. The formats
//! are left to `format`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::format::{Encoder, Format};
use crate::{QueryError, Rows};

/// Pieces that are encoded before the client takes them.
const PIECES_AHEAD: usize = 2;
/// Rows and bytes of one piece, at most where a single row is not longer.
const PIECE_ROWS: usize = 4096;
const PIECE_BYTES: usize = 1024 * 1024;
/// An answer of so many bytes is made before the first of them is sent: what fails until then is an
/// error, what fails behind it cuts the answer off.
const HEAD_BYTES: usize = 1024 * 1024;

enum Piece {
    Part(Bytes),
    Last(Bytes),
    Error(QueryError),
}

/// Encodes `rows` on `threads`, and waits for the beginning of the answer. The stream ends with an
/// error unless all rows came and were taken within `limit`, however slowly the last of them.
///
/// # Errors
/// `Statement` when the format cannot hold one of the answer's types; what failed before the answer
/// was so long that its sending began.
pub(crate) async fn send(
    rows: Rows,
    format: Format,
    limit: Duration,
    threads: &Handle,
) -> Result<impl Stream<Item = Result<Bytes, QueryError>> + use<>, QueryError> {
    let encoder = Encoder::new(format, rows.schema())?;
    let (pieces, mut taken) = mpsc::channel(PIECES_AHEAD);
    threads.spawn(async move {
        match timeout(limit, encode(rows, encoder, &pieces)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => drop(pieces.send(Piece::Error(error)).await),
            Err(_) => tracing::warn!(?limit, "a client was too slow to take its answer"),
        }
    });
    let (mut head, mut head_bytes) = (VecDeque::new(), 0);
    while head_bytes < HEAD_BYTES {
        match taken.recv().await {
            Some(Piece::Error(error)) => return Err(error),
            Some(piece) => {
                let (Piece::Part(bytes) | Piece::Last(bytes)) = &piece else { break };
                head_bytes += bytes.len();
                let is_last = matches!(piece, Piece::Last(_));
                head.push_back(piece);
                if is_last {
                    break;
                }
            }
            None => return Err(cut()),
        }
    }
    Ok(try_unfold(Some((head, taken)), |left| async {
        let Some((mut head, mut taken)) = left else { return Ok(None) };
        let piece = match head.pop_front() {
            Some(piece) => Some(piece),
            None => taken.recv().await,
        };
        match piece {
            Some(Piece::Part(bytes)) => Ok(Some((bytes, Some((head, taken))))),
            Some(Piece::Last(bytes)) => Ok(Some((bytes, None))),
            Some(Piece::Error(error)) => {
                tracing::warn!(error = error.outcome().label(), "an answer was cut off");
                Err(error)
            }
            None => Err(cut()),
        }
    }))
}

async fn encode(
    mut rows: Rows,
    mut encoder: Encoder,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), QueryError> {
    loop {
        // A closed channel is a client that went away: the query stops with its rows.
        let batch = tokio::select! {
            biased;
            () = pieces.closed() => return Ok(()),
            batch = rows.next() => batch,
        };
        let Some(batch) = batch.transpose()? else { break };
        let row_bytes = batch.get_array_memory_size() / batch.num_rows().max(1);
        let piece_rows = (PIECE_BYTES / row_bytes.max(1)).clamp(1, PIECE_ROWS);
        for start in (0..batch.num_rows()).step_by(piece_rows) {
            let count = piece_rows.min(batch.num_rows() - start);
            encoder.rows(&batch.slice(start, count))?;
            let bytes = encoder.take();
            if !bytes.is_empty() && pieces.send(Piece::Part(bytes.into())).await.is_err() {
                return Ok(());
            }
        }
    }
    encoder.finish()?;
    let _ = pieces.send(Piece::Last(encoder.take().into())).await;
    Ok(())
}

fn cut() -> QueryError {
    QueryError::Engine { reason: "the answer was not sent whole".to_owned() }
}
