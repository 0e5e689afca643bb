//! Messages of the Postgres protocol on a connection: read within bounds, written in large pieces. What
//! they mean is left to `login` and `connection`.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use footfall_guard::Socket;
use pgwire::error::{ErrorInfo, PgWireResult};
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_io_timeout::TimeoutStream;

use super::error::{FATAL, protocol_violation};

/// The longest message that brings a statement, and the longest one that brings values.
pub(super) const STATEMENT_BYTES_MAX: usize = 256 * 1024;
const VALUES_BYTES_MAX: usize = 1024 * 1024;
/// The longest of all others.
const MESSAGE_BYTES_MAX: usize = 10_000;
/// So much is gathered before it is written, and read ahead while a query runs.
const PIECE_BYTES: usize = 64 * 1024;
/// The kind of a message and its length, which counts itself.
const HEAD_BYTES: usize = 5;
const LENGTH_BYTES: usize = 4;

/// Why no message comes.
#[derive(Debug)]
pub(super) enum NoMessage {
    /// The client went away, or sends nothing any more.
    Gone,
    /// It sent what is no message; what follows cannot be told apart any more.
    Broken(Box<ErrorInfo>),
}

impl From<io::Error> for NoMessage {
    fn from(_: io::Error) -> Self {
        NoMessage::Gone
    }
}

const CUT_OFF: &str = "it is cut off";

/// What a decoder gives. It takes what it needs without looking whether that is there, and panics where it is
/// not.
///
/// # Errors
/// `Broken`.
pub(super) fn decoded<T>(
    kind: u8,
    decode: impl FnOnce() -> PgWireResult<T>,
) -> Result<T, NoMessage> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(error)) => Err(unreadable(kind, &error.to_string())),
        Err(_) => Err(unreadable(kind, CUT_OFF)),
    }
}

fn unreadable(kind: u8, why: &str) -> NoMessage {
    let message = format!("a message `{}` cannot be read: {why}", kind.escape_ascii());
    NoMessage::Broken(Box::new(protocol_violation(FATAL, &message)))
}

pub(super) struct Wire {
    socket: Pin<Box<TimeoutStream<Socket>>>,
    read: BytesMut,
    unsent: BytesMut,
    context: DecodeContext,
}

impl Wire {
    /// `write_time_max` is how long a client may take nothing of what is sent.
    pub(super) fn new(socket: Socket, write_time_max: Duration) -> Wire {
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(write_time_max));
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Wire { socket: Box::pin(socket), read: BytesMut::new(), unsent: BytesMut::new(), context }
    }

    /// The next message.
    ///
    /// # Errors
    /// `Gone`, also where the client ends the connection; `Broken`.
    pub(super) async fn message(&mut self) -> Result<PgWireFrontendMessage, NoMessage> {
        while self.read.len() < HEAD_BYTES {
            self.read_more().await?;
        }
        let (kind, length) = (self.read[0], (&self.read[1..HEAD_BYTES]).get_i32());
        let bytes_max = match kind {
            b'Q' | b'P' => STATEMENT_BYTES_MAX,
            b'B' => VALUES_BYTES_MAX,
            _ => MESSAGE_BYTES_MAX,
        };
        let length = usize::try_from(length).unwrap_or_default();
        if length < LENGTH_BYTES || length > bytes_max + LENGTH_BYTES {
            let what = kind.escape_ascii();
            let message = format!("a message `{what}` of {length} bytes: it may have {bytes_max}");
            return Err(NoMessage::Broken(Box::new(protocol_violation(FATAL, &message))));
        }
        while self.read.len() < 1 + length {
            self.read_more().await?;
        }
        // Alone, so that one whose inner lengths are wrong does not read on into the next.
        let mut frame = self.read.split_to(1 + length);
        let context = &self.context;
        let decoded = decoded(kind, || PgWireFrontendMessage::decode(&mut frame, context))?;
        decoded.ok_or_else(|| unreadable(kind, CUT_OFF))
    }

    async fn read_more(&mut self) -> io::Result<()> {
        self.read.reserve(LENGTH_BYTES * 1024);
        match self.socket.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Returns when the client is gone. What it sends meanwhile is kept.
    pub(super) async fn gone(&mut self) -> io::Error {
        loop {
            if self.read.len() >= PIECE_BYTES {
                // Who sends so far ahead is there; whether it stays shows when it is written to.
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.read_more().await {
                return error;
            }
        }
    }

    /// Puts a message to those that are to be sent.
    ///
    /// # Errors
    /// A message that is longer than the protocol allows.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) -> io::Result<()> {
        message.encode(&mut self.unsent).map_err(io::Error::other)
    }

    /// Whether so much was put that it is to be sent.
    pub(super) fn has_much(&self) -> bool {
        self.unsent.len() >= PIECE_BYTES
    }

    /// Sends all that was put.
    ///
    /// # Errors
    /// When the client is gone, or takes nothing for too long.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        self.socket.write_all_buf(&mut self.unsent).await?;
        self.socket.flush().await
    }

    /// Sends what was put and ends the connection.
    pub(super) async fn close(&mut self) {
        if self.send().await.is_ok() {
            let _ = self.socket.shutdown().await;
        }
    }
}
