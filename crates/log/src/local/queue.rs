//! The bounded queue between callers and the writer. Order of answers is order of submission.
//! What is done with the work is left to the writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use footfall_event::{Offset, Partition};
use tokio::sync::oneshot;

use super::store::Segment;
use crate::{Appended, LogError, NewRecord};

/// One group, written with one fsync, takes requests up to this many bytes, but at least one.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Requests that wait; beyond it a further one is `Overloaded`.
const REQUESTS_MAX: usize = 65_536;

pub enum Work {
    Append(Vec<NewRecord>),
    Publish {
        topic: String,
        frames: Vec<Bytes>,
    },
    Release(Vec<(Partition, Offset)>),
    /// Closes the newest segment, so that nothing is written to what stands.
    Close,
    /// A copy takes the place of a closed segment, which is deleted.
    Replace(Arc<Segment>),
}

pub type Answer = Result<Vec<Appended>, LogError>;

pub struct Request {
    pub work: Work,
    pub answer: oneshot::Sender<Answer>,
    bytes: usize,
}

pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), bytes_max }
    }

    /// Queues work of `bytes`, and resolves to the writer's answer.
    pub async fn submit(&self, work: Work, bytes: usize) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.push(Request { work, answer, bytes })?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    fn push(&self, request: Request) -> Result<(), LogError> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        // Each of these is awaited before the next, and a release is what makes room.
        let spared = !matches!(request.work, Work::Append(_) | Work::Publish { .. });
        let fits =
            state.bytes + request.bytes <= self.bytes_max && state.requests.len() < REQUESTS_MAX;
        if !(fits || spared || state.requests.is_empty()) {
            return Err(self.overloaded(&state));
        }
        state.bytes += request.bytes;
        state.requests.push_back(request);
        // The writer waits for the first; the others find it awake.
        if state.requests.len() == 1 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The next group, in order; empty when none came within `max_wait`; `None` when the queue is
    /// closed and empty.
    pub fn take_group(&self, max_wait: Duration) -> Option<Vec<Request>> {
        let idle = |state: &mut State| state.requests.is_empty() && !state.closed;
        let waited = self.filled.wait_timeout_while(self.lock(), max_wait, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.requests.is_empty() && state.closed {
            return None;
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(request) = state.requests.pop_front() {
            if bytes > 0 && bytes + request.bytes > GROUP_BYTES_MAX {
                state.requests.push_front(request);
                break;
            }
            bytes += request.bytes;
            group.push(request);
        }
        state.bytes -= bytes;
        Some(group)
    }

    /// Refuses further work; what is queued is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Is there room for more?
    pub fn has_room(&self) -> Result<(), LogError> {
        let state = self.lock();
        let has_room = state.bytes < self.bytes_max && state.requests.len() < REQUESTS_MAX;
        match (state.closed, has_room) {
            (true, _) => Err(closed()),
            (false, true) => Ok(()),
            (false, false) => Err(self.overloaded(&state)),
        }
    }

    fn overloaded(&self, state: &State) -> LogError {
        let (bytes, requests) = (state.bytes, state.requests.len());
        let waiting = format!("{bytes} of {} bytes in {requests} requests", self.bytes_max);
        LogError::Overloaded { waiting }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> LogError {
    let (at, why) = ("on local disk".to_owned(), "it is being closed".to_owned());
    LogError::Unavailable { at, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &Queue, work: Work, bytes: usize) -> Result<(), LogError> {
        queue.push(Request { work, answer: oneshot::channel().0, bytes })
    }

    #[test]
    fn a_release_is_taken_however_much_is_waiting() {
        let queue = Queue::new(10);
        let append = || Work::Append(Vec::new());
        // Alone in the queue it is taken whatever its size.
        push(&queue, append(), 11).unwrap();
        let refused = push(&queue, append(), 0).unwrap_err();
        assert!(matches!(refused, LogError::Overloaded { .. }), "{refused}");
        assert_eq!(queue.has_room().unwrap_err().to_string(), refused.to_string());
        push(&queue, Work::Release(Vec::new()), 0).unwrap();
        assert_eq!(queue.take_group(Duration::ZERO).unwrap().len(), 2);
        queue.has_room().unwrap();
        push(&queue, append(), 10).unwrap();
    }
}
