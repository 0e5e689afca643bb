//! Connections to the query part, each with its time limits. What is answered is left to `routes`.

use std::sync::Arc;
use std::time::Duration;

use footfall_guard::Guard;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::routes::{Shared, router};

/// Connections that are open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to shake hands over TLS, to send a request's head, or to begin its next
/// request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// How long running queries may go on once shutdown begins.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long accepting rests when the system has no more files for connections.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves `engine` to whom `guard` lets in until `shutdown`, and then what is being answered for a short
/// time more. `registry` is what `/metrics` shows.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    guard: Guard,
    registry: Registry,
    shutdown: CancellationToken,
) {
    let Guard { tls, tokens } = guard;
    // What waits to be taken is freed by then too; but nobody would look at the connection again.
    let write_time_max = engine.time_max();
    let router = router(Arc::new(Shared { engine, tokens, registry, shutdown: shutdown.clone() }));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let accept = async || {
        let slot = slots.clone().acquire_owned().await;
        (slot, listener.accept().await)
    };
    while let Some((slot, accepted)) = shutdown.run_until_cancelled(accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let (http, watcher) = (http.clone(), graceful.watcher());
        let (tls, shutdown) = (tls.clone(), shutdown.clone());
        connections.spawn(async move {
            let shaken = shutdown.run_until_cancelled(tls.accept(stream, HEAD_TIME_MAX)).await;
            let served = match shaken {
                Some(Ok(socket)) => {
                    let mut socket = TimeoutStream::new(socket);
                    socket.set_write_timeout(Some(write_time_max));
                    let io = TokioIo::new(Box::pin(socket));
                    watcher.watch(http.serve_connection(io, service)).await
                }
                Some(Err(error)) => return tracing::debug!(%error, "TLS was not agreed on"),
                None => return,
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("queries still ran when their time to end was over: they are stopped");
    }
}
