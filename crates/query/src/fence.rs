//! What holds where DataFusion's own accounts do not: a bound on the memory of the whole process, and one
//! on how long a query may go on behind its end. Starting the process again is left to who started it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::QueryError;

/// How often the process is looked at. In that time two threads take up some 40 MB.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long queries that were told to end may take to give their memory back.
const GRACE: Duration = Duration::from_millis(300);
/// How far beyond its bound the process may be in that time, as a share of the bound.
const GRACE_SHARE: u64 = 4;
/// How long a query may go on beyond `time_max`: it ends between two batches of rows, and a batch that
/// takes longer than this would hold its thread for as long as it likes.
const STUCK_MAX: Duration = Duration::from_secs(5);
/// How long the errors of ended queries may take to reach their clients.
const TELL_TIME: Duration = Duration::from_millis(150);
/// A page of memory, on every machine that Footfall is built for.
const PAGE_BYTES: u64 = 4096;

/// The queries that run, and the bound on the memory of their process.
pub(crate) struct Fence {
    time_max: Duration,
    running: Mutex<Vec<Watched>>,
}

struct Watched {
    leash: Leash,
    task: AbortHandle,
    /// Taken when the query is told to end.
    end: Option<oneshot::Sender<QueryError>>,
}

/// Until when a query may run, as its own task knows it: what its client takes is not its own time.
#[derive(Clone, Debug)]
pub(crate) struct Leash(Arc<Mutex<Until>>);

#[derive(Debug)]
struct Until {
    /// Without what is added while it waits.
    own: Instant,
    waits: Duration,
}

impl Leash {
    fn new(length: Duration) -> Leash {
        Leash(Arc::new(Mutex::new(Until { own: Instant::now() + length, waits: Duration::ZERO })))
    }

    /// As long as it waits for its client, it may do so.
    pub(crate) fn lengthen(&self, waits: Duration) {
        self.until().waits = waits;
    }

    /// It waited for so long.
    pub(crate) fn forgive(&self, waited: Duration) {
        self.until().own += waited;
    }

    fn is_over(&self) -> bool {
        let until = self.until();
        until.own + until.waits < Instant::now()
    }

    fn until(&self) -> MutexGuard<'_, Until> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at the process comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    GoOn,
    /// End the queries.
    End,
    /// End the process.
    GiveUp,
}

impl Fence {
    pub(crate) fn new(time_max: Duration) -> Fence {
        Fence { time_max, running: Mutex::default() }
    }

    /// For a query that is yet to be watched.
    pub(crate) fn leash(&self) -> Leash {
        Leash::new(self.time_max + STUCK_MAX)
    }

    /// Watches a query until it ends. What comes is why it must end before.
    pub(crate) fn watch(&self, task: AbortHandle, leash: Leash) -> oneshot::Receiver<QueryError> {
        let (end, ended) = oneshot::channel();
        let watched = Watched { leash, task, end: Some(end) };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        ended
    }

    /// Watches this process, which is to have at most `bytes_max` of memory, for as long as it lives. It
    /// ends itself when its queries do not end: whoever runs it starts it again.
    pub(crate) fn keep(&self, bytes_max: u64) {
        let mut over_since = None;
        loop {
            std::thread::sleep(LOOK_INTERVAL);
            if self.is_stuck() {
                let reason = "another query did not stop, and the query process starts again; send \
                              this one again";
                self.end_all(&QueryError::Engine { reason: reason.to_owned() });
                give_up("a query did not stop within 5 s of its time limit");
            }
            // Without /proc there is nothing to see.
            let Some(bytes) = resident_bytes() else { continue };
            let now = Instant::now();
            let step = step(bytes, bytes_max, over_since, now);
            if step == Step::GoOn {
                over_since = None;
                continue;
            }
            over_since = over_since.or(Some(now));
            let reason = format!(
                "the query process has {bytes} bytes and may have {bytes_max}: all of its queries end"
            );
            self.end_all(&QueryError::Memory { reason });
            if step == Step::GiveUp {
                give_up("its queries did not give back their memory");
            }
        }
    }

    fn is_stuck(&self) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|watched| !watched.task.is_finished());
        running.iter().any(|watched| watched.leash.is_over())
    }

    fn end_all(&self, why: &QueryError) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for watched in running.iter_mut() {
            if let Some(end) = watched.end.take() {
                tracing::warn!(%why, "a query is ended");
                // Its client may have gone.
                let _ = end.send(why.clone());
            }
            watched.task.abort();
        }
    }
}

fn step(bytes: u64, bytes_max: u64, over_since: Option<Instant>, now: Instant) -> Step {
    if bytes <= bytes_max {
        return Step::GoOn;
    }
    let is_far = bytes > bytes_max + bytes_max / GRACE_SHARE;
    let is_long = over_since.is_some_and(|since| now.duration_since(since) > GRACE);
    if is_far || is_long { Step::GiveUp } else { Step::End }
}

/// Nothing of the query process is worth a clean end: it writes nothing, and its spill folder is emptied
/// at the next start.
fn give_up(why: &str) -> ! {
    std::thread::sleep(TELL_TIME);
    tracing::error!("the query process ends, to be started again: {why}");
    std::process::exit(1)
}

/// Memory of this process; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
