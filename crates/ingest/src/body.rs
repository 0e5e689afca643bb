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

/// How much of a body that is not wanted is read and thrown away, so that a client which sends before
/// it listens gets its answer. Beyond it the connection is closed in mid-body.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Memory that is asked for at a body's first piece; beyond it, it is as the body grows.
const FIRST_BYTES_MAX: u64 = 64 * 1024;
/// How long that may take where nothing of the body is kept.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A body, or what is kept of one that is too large.
pub enum Body {
    Whole { bytes: Bytes, hold: Hold },
    TooLarge { cut: Cut, hold: Hold },
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

/// A share of the bytes that bodies and answers may take together, given back when dropped.
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

    /// Holds `bytes` or more.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), NoBody> {
        match bytes.saturating_sub(self.permit.num_permits()) {
            0 => Ok(()),
            missing => self.grow(missing),
        }
    }

    /// Holds `bytes` or less.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.permit.num_permits().saturating_sub(bytes);
        drop(self.permit.split(excess));
    }

    /// Bytes that take up this share until the last of them is written, or nobody wants them.
    pub fn with(self, bytes: Vec<u8>) -> Bytes {
        struct Held {
            bytes: Vec<u8>,
            _hold: Hold,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Held { bytes, _hold: self })
    }
}

fn reserve(bodies: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, NoBody> {
    let count = u32::try_from(bytes).map_err(|_| NoBody::Overloaded)?;
    Arc::clone(bodies).try_acquire_many_owned(count).map_err(|_| NoBody::Overloaded)
}

/// Reads a body of at most `bytes_max`. Its room is held as it comes: a word about its length holds none,
/// but where there is none for it, that is said before anything is read.
pub async fn read(
    incoming: &mut Incoming,
    bodies: &Arc<Semaphore>,
    bytes_max: usize,
    within: Duration,
) -> Result<Body, NoBody> {
    let announced = incoming.size_hint().exact();
    let is_large = announced.is_some_and(|bytes| bytes > bytes_max as u64);
    let hold = Hold::new(bodies, if is_large { REJECTED_PAYLOAD_BYTES_MAX } else { 0 })?;
    if !is_large && announced.is_some_and(|bytes| bytes > bodies.available_permits() as u64) {
        return Err(NoBody::Overloaded);
    }
    let reading = async {
        if is_large {
            let cut = discard(incoming, BytesMut::new(), announced).await?;
            return Ok(Body::TooLarge { cut, hold });
        }
        read_within(incoming, hold, bytes_max, announced).await
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Err(NoBody::TimedOut))
}

async fn read_within(
    incoming: &mut Incoming,
    mut hold: Hold,
    bytes_max: usize,
    announced: Option<u64>,
) -> Result<Body, NoBody> {
    let Some(first) = next(incoming).await? else {
        return Ok(Body::Whole { bytes: Bytes::new(), hold });
    };
    hold.grow_to(first.len())?;
    if announced == Some(first.len() as u64) {
        return Ok(Body::Whole { bytes: first, hold });
    }
    let least = announced.map_or(0, |bytes| bytes.min(FIRST_BYTES_MAX) as usize);
    let mut body = BytesMut::with_capacity(least.max(2 * first.len()));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        hold.grow_to(body.len() + bytes.len())?;
        body.extend_from_slice(&bytes);
        if body.len() > bytes_max {
            let cut = discard(incoming, body, announced).await?;
            return Ok(Body::TooLarge { cut, hold });
        }
        piece = next(incoming).await?;
    }
    Ok(Body::Whole { bytes: body.freeze(), hold })
}

async fn discard(
    incoming: &mut Incoming,
    mut first: BytesMut,
    announced: Option<u64>,
) -> Result<Cut, NoBody> {
    let mut hash = Sha256::new_with_prefix(&first);
    let mut read = first.len() as u64;
    first.truncate(REJECTED_PAYLOAD_BYTES_MAX);
    while read < DISCARD_BYTES_MAX
        && let Some(bytes) = next(incoming).await?
    {
        hash.update(&bytes);
        read += bytes.len() as u64;
        let missing = REJECTED_PAYLOAD_BYTES_MAX - first.len();
        first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
    }
    let bytes = announced.unwrap_or(read);
    Ok(Cut { first: first.freeze(), bytes, sha256: hash.finalize().into() })
}

/// Reads what is left of a body and forgets it, as far as that is soon done.
pub async fn pass_over(incoming: &mut Incoming) {
    let is_soon_done = |incoming: &Incoming| incoming.size_hint().lower() <= DISCARD_BYTES_MAX;
    let reading = async {
        let mut read = 0;
        while read <= DISCARD_BYTES_MAX
            && is_soon_done(incoming)
            && let Ok(Some(bytes)) = next(incoming).await
        {
            read += bytes.len() as u64;
        }
    };
    let _in_time = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
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
