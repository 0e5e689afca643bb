//! Accepts connections within their bound, serves HTTP/1.1 on each, and drains at shutdown.
//! What is answered is left to `service`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use footfall_log::{EventLog, LogError};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::ClockWatch;
use crate::crowd::{Crowd, Guest, Room};
use crate::peer::Peer;
use crate::service::{self, Shared};
use crate::stream::{Patience, Stream, Turns};
use crate::{IngestError, IngestSettings, Metrics};

/// Connections beyond `connections_max` that are served, with a 503 where they bring events; beyond
/// these, clients wait in the kernel's queue.
const EXCESS_CONNECTIONS_MAX: usize = 256;
/// How often a place is looked for while nobody can be turned out yet.
const PLACE_PAUSE: Duration = Duration::from_millis(5);
/// Pause after an accept that failed, as when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log is asked whether it has failed for good.
const LOG_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Most header fields of a request.
const HEADERS_MAX: usize = 100;

/// Serves the collector on `listener` until `shutdown` is cancelled; then accepts no more, finishes
/// the requests under way within `drain_timeout`, and returns.
///
/// # Errors
/// `Unfit` when the settings do not fit each other; nothing is served then. `Log` when the event log has failed for
/// good: whatever is posted would be answered 503 until somebody starts this process again.
pub async fn serve(
    listener: TcpListener,
    log: Arc<dyn EventLog>,
    settings: IngestSettings,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), IngestError> {
    settings.check()?;
    let shutdown = shutdown.child_token();
    let shared = Arc::new(Shared {
        bodies: Arc::new(Semaphore::new(settings.bodies_in_flight_bytes_max)),
        clock: ClockWatch::new(settings.allowed_lateness),
        settings: Arc::new(settings),
        log,
        metrics,
        shutdown,
    });
    let connections = Connections {
        tracker: TaskTracker::new(),
        cut: CancellationToken::new(),
        slots: Arc::new(Semaphore::new(shared.settings.connections_max)),
        excess: Arc::new(Semaphore::new(EXCESS_CONNECTIONS_MAX)),
        crowd: Arc::new(Crowd::new(shared.settings.client_wait_min)),
        shared,
    };
    let ended = tokio::select! {
        () = connections.accept_all(&listener) => Ok(()),
        error = failure(connections.shared.log.as_ref()) => Err(error.into()),
    };
    connections.shared.shutdown.cancel();
    drop(listener);
    connections.drain().await;
    ended
}

/// Why the log takes nothing until this process is started again, once that is so.
async fn failure(log: &dyn EventLog) -> LogError {
    loop {
        if let Err(error @ LogError::Io { .. }) = log.has_room() {
            return error;
        }
        tokio::time::sleep(LOG_LOOK_INTERVAL).await;
    }
}

struct Connections {
    shared: Arc<Shared>,
    tracker: TaskTracker,
    /// Cancelled when the time to drain is over.
    cut: CancellationToken,
    slots: Arc<Semaphore>,
    excess: Arc<Semaphore>,
    crowd: Arc<Crowd>,
}

/// A connection's place: among those served, or among those told that there are too many.
struct Place {
    is_excess: bool,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let Some(place) = self.place().await else { return };
                    self.spawn(socket, place);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A place for a connection, if need be that of one which keeps the collector waiting; waits when
    /// even the excess is taken by who is served. `None` at shutdown.
    async fn place(&self) -> Option<Place> {
        loop {
            for (places, is_excess) in [(&self.slots, false), (&self.excess, true)] {
                if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
                    return Some(Place { is_excess, _permit: permit });
                }
                match self.crowd.turn_one_out(is_excess) {
                    Room::Now => return self.wait_for(places, is_excess).await,
                    // An excess place would be refused what it posts.
                    Room::Soon => break,
                    Room::None => {}
                }
            }
            let pause = tokio::time::sleep(PLACE_PAUSE);
            self.shared.shutdown.run_until_cancelled(pause).await?;
        }
    }

    async fn wait_for(&self, places: &Arc<Semaphore>, is_excess: bool) -> Option<Place> {
        let free = Arc::clone(places).acquire_owned();
        let permit = self.shared.shutdown.run_until_cancelled(free).await?.ok()?;
        Some(Place { is_excess, _permit: permit })
    }

    fn spawn(&self, socket: TcpStream, place: Place) {
        let (shared, cut) = (Arc::clone(&self.shared), self.cut.clone());
        let seat = self.crowd.enter(place.is_excess);
        self.tracker.spawn(async move {
            tokio::select! {
                () = serve_connection(socket, &shared, place.is_excess, &seat) => {}
                () = seat.turned_out.cancelled() => shared.metrics.turned_out(),
                () = cut.cancelled() => {}
            }
            drop(seat);
            drop(place);
        });
    }

    async fn drain(&self) {
        self.tracker.close();
        let limit = self.shared.settings.drain_timeout;
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            let left = self.tracker.len();
            tracing::warn!(connections = left, "requests were not finished in time and are cut");
            self.cut.cancel();
            self.tracker.wait().await;
        }
    }
}

/// Serves requests until the client closes, breaks a bound, or the collector drains.
async fn serve_connection(socket: TcpStream, shared: &Arc<Shared>, is_excess: bool, guest: &Guest) {
    let turns = Turns::default();
    let settings = &shared.settings;
    let patience = Patience {
        head: settings.header_timeout,
        request: settings.keep_alive_timeout,
        answer: settings.body_timeout,
    };
    // Answers are small and whole: waiting for more of them only delays.
    let _best_effort = socket.set_nodelay(true);
    let connected = Instant::now();
    let peer = socket.peer_addr().ok().map(|address| Peer(address.ip()));
    let socket = match settings.tls.accept(socket, patience.head).await {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%error, "TLS was not agreed on"),
    };
    let stream = TokioIo::new(Stream::new(socket, &turns, patience, connected));
    let service = service_fn(|mut request: Request<Incoming>| {
        let turns = &turns;
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        async move {
            turns.turn();
            guest.waited_for();
            let answer = service::respond(shared, request, is_excess, guest).await;
            guest.waited_for();
            turns.turn();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        // `Stream` keeps the time: hyper's timer knows no idle time of its own.
        .header_read_timeout(None)
        .keep_alive(!is_excess)
        .max_headers(HEADERS_MAX)
        .max_buf_size(settings.header_bytes_max)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    let mut shutdown = pin!(shared.shutdown.cancelled());
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.as_mut() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
