//! Reads a request's body within its bounds: bytes of one body, bytes of all bodies, time.
//! Decompressing and understanding it are left to `gzip` and `protocol`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use footfall_event::REJECTED_PAYLOAD_BYTES_MAX;
use hyper::body::{Body as _, Incoming};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of a body that is too large is read and thrown away, so that a client which sends
/// before it listens gets its answer. Beyond it the connection is closed in mid-body.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A body, or what is kept of one that is too large.
pub enum Body {
    Whole { bytes: Bytes, hold: Hold },
    TooLarge(Cut),
}

/// The beginning of a body that was not kept.
pub struct Cut {
    pub first: Bytes,
    /// As announced by the client, or as many as were read.
    pub bytes: u64,
    /// Of all that was read: what a resend of the same body is recognised by.
    pub sha256: [u8; 32],
}

/// Why there is no body.
pub enum NoBody {
    /// The bodies in memory leave no room; nothing of this one need have been read.
    Overloaded,
    TimedOut,
    /// The client went away or broke the protocol.
    Broken,
}

/// A share of the bytes that bodies may take together, given back when dropped.
pub struct Hold {
    bodies: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

impl Hold {
    pub fn new(bodies: &Arc<Semaphore>, bytes: usize) -> Result<Hold, NoBody> {
        let permit = reserve(bodies, bytes)?;
        Ok(Hold { bodies: Arc::clone(bodies), permit })
    }

    pub fn grow(&mut self, bytes: usize) -> Result<(), NoBody> {
        self.permit.merge(reserve(&self.bodies, bytes)?);
        Ok(())
    }
}

fn reserve(bodies: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, NoBody> {
    let count = u32::try_from(bytes).map_err(|_| NoBody::Overloaded)?;
    Arc::clone(bodies).try_acquire_many_owned(count).map_err(|_| NoBody::Overloaded)
}

/// Reads a body of at most `bytes_max`. Its room is reserved before anything is read where the
/// client announced its length, else as it comes.
pub async fn read(
    incoming: Incoming,
    bodies: &Arc<Semaphore>,
    bytes_max: usize,
    within: Duration,
) -> Result<Body, NoBody> {
    let announced = incoming.size_hint().exact();
    let is_large = announced.is_some_and(|bytes| bytes > bytes_max as u64);
    let room = if is_large { REJECTED_PAYLOAD_BYTES_MAX } else { announced.unwrap_or(0) as usize };
    let hold = Hold::new(bodies, room)?;
    let reading = async {
        if is_large {
            return discard(incoming, BytesMut::new(), announced).await.map(Body::TooLarge);
        }
        read_within(incoming, hold, bytes_max, announced).await
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Err(NoBody::TimedOut))
}

async fn read_within(
    mut incoming: Incoming,
    mut hold: Hold,
    bytes_max: usize,
    announced: Option<u64>,
) -> Result<Body, NoBody> {
    let Some(first) = next(&mut incoming).await? else {
        return Ok(Body::Whole { bytes: Bytes::new(), hold });
    };
    if announced == Some(first.len() as u64) {
        return Ok(Body::Whole { bytes: first, hold });
    }
    let mut body = BytesMut::with_capacity(announced.map_or(2 * first.len(), |n| n as usize));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        if announced.is_none() {
            hold.grow(bytes.len())?;
        }
        body.extend_from_slice(&bytes);
        if body.len() > bytes_max {
            return discard(incoming, body, announced).await.map(Body::TooLarge);
        }
        piece = next(&mut incoming).await?;
    }
    Ok(Body::Whole { bytes: body.freeze(), hold })
}

async fn discard(
    mut incoming: Incoming,
    mut first: BytesMut,
    announced: Option<u64>,
) -> Result<Cut, NoBody> {
    let mut hash = Sha256::new_with_prefix(&first);
    let mut read = first.len() as u64;
    first.truncate(REJECTED_PAYLOAD_BYTES_MAX);
    while read < DISCARD_BYTES_MAX
        && let Some(bytes) = next(&mut incoming).await?
    {
        hash.update(&bytes);
        read += bytes.len() as u64;
        let missing = REJECTED_PAYLOAD_BYTES_MAX - first.len();
        first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
    }
    let bytes = announced.unwrap_or(read);
    Ok(Cut { first: first.freeze(), bytes, sha256: hash.finalize().into() })
}

/// The next piece of data; trailers are passed over.
async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, NoBody> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(NoBody::Broken),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
