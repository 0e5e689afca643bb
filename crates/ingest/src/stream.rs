//! A client's socket with the three patiences that a connection needs: for a request's head, for
//! the next request, for a client that takes its answer. A request's body has one of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use footfall_guard::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Counts the beginnings and ends of requests on a connection: odd while one is being served.
/// Shared with whoever serves them.
#[derive(Clone, Default)]
pub struct Turns(Arc<AtomicU64>);

impl Turns {
    /// A request begins or ends.
    pub fn turn(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// How long is waited.
#[derive(Clone, Copy)]
pub struct Patience {
    /// For a request's head, from its first byte on.
    pub head: Duration,
    /// For the next request.
    pub request: Duration,
    /// Until a whole answer is taken, however steadily.
    pub answer: Duration,
}

/// The socket; a read or write that takes too long fails with `TimedOut`.
pub struct Stream {
    socket: Socket,
    turns: Turns,
    /// The turn at the last look.
    seen: u64,
    patience: Patience,
    waiting: Waiting,
    read_deadline: Deadline,
    write_deadline: Deadline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For nothing that has a time of its own here.
    Not,
    ForHead,
    ForRequest,
}

impl Stream {
    /// The first head is waited for from the connection on: who connects has something to say.
    pub fn new(socket: Socket, turns: &Turns, patience: Patience, connected: Instant) -> Stream {
        Stream {
            socket,
            turns: turns.clone(),
            seen: 0,
            patience,
            waiting: Waiting::ForHead,
            read_deadline: Deadline { at: Some(connected + patience.head), timer: None },
            write_deadline: Deadline::default(),
        }
    }

    /// Is a request being served? What was waited for before it began, is over.
    fn is_busy(&mut self) -> bool {
        let turn = self.turns.0.load(Relaxed);
        if turn != self.seen {
            self.seen = turn;
            self.waiting = Waiting::Not;
        }
        turn % 2 == 1
    }

    /// Keeps the time between requests, while nothing comes.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.is_busy() {
            return Poll::Pending;
        }
        self.begin_idle(cx);
        self.read_deadline.poll(cx)
    }

    /// An answer is on its way: from here on the next request is waited for. Looked at with every
    /// write, as a read that is pending already may not be tried again until something comes.
    fn begin_idle(&mut self, cx: &mut Context<'_>) {
        if !self.is_busy() && self.waiting == Waiting::Not {
            self.waiting = Waiting::ForRequest;
            self.read_deadline.set(self.patience.request);
            self.read_deadline.arm(cx);
        }
    }

    /// Bytes came: between requests they are a head's first, or more of it.
    fn note_read(&mut self) {
        if !self.is_busy() && self.waiting != Waiting::ForHead {
            self.waiting = Waiting::ForHead;
            self.read_deadline.set(self.patience.head);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.note_read();
                Poll::Ready(read)
            }
            Poll::Pending => Poll::Ready(Err(ready!(self.poll_patience(cx)))),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written everything: the answer is taken. TLS keeps what the socket
        // does not take yet.
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        let flushed = ready!(self.watch_write(cx, flushed));
        self.write_deadline.clear();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS says farewell, which a client that takes nothing holds up.
        let closed = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.watch_write(cx, closed)
    }
}

impl Stream {
    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if !self.write_deadline.is_set() {
            self.write_deadline.set(self.patience.answer);
        }
        if written.is_ready() {
            self.begin_idle(cx);
            return written;
        }
        Poll::Ready(Err(ready!(self.write_deadline.poll(cx))))
    }
}

/// A deadline that moves with every request, over a timer that seldom does: a timer which fires
/// early is set again, which costs less than setting it each time.
#[derive(Default)]
struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn set(&mut self, time: Duration) {
        self.at = Some(Instant::now() + time);
    }

    fn clear(&mut self) {
        self.at = None;
    }

    fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Sees to it that the task wakes at the deadline or before.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let wakes = |at| {
            let timer = self.timer.as_ref();
            timer.is_some_and(|timer| timer.deadline() <= at && !timer.is_elapsed())
        };
        if !self.at.is_none_or(wakes) {
            let _not_yet = self.poll(cx);
        }
    }

    /// Pends until the deadline has passed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}
