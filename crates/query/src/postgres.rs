//! SQL for clients of Postgres, over its wire protocol: connections, and who may cancel what runs on them.

mod answer;
mod catalog;
mod command;
mod connection;
mod error;
mod escape;
mod extended;
mod functions;
mod information_schema;
mod login;
mod parameters;
mod portal;
mod rewrite;
mod sending;
mod settings;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use footfall_guard::{Guard, Tls, Tokens};
use pgwire::messages::PgWireBackendMessage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::diagnose::diagnose;
use crate::{Engine, QueryError};
use catalog::Catalog;
use connection::Connection;
use login::Opened;

/// Connections that are open at once; more are refused.
const CONNECTIONS_MAX: usize = 100;
/// Clients that are coming in at once, beside those.
const COMING_MAX: usize = 100;
/// How long a client may take to come in.
const LOGIN_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a running query may go on once shutdown begins.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long accepting rests when the system has no more files for connections.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// What Postgres is called where TLS asks for the protocol.
const ALPN: &[u8] = b"postgresql";

/// Serves `engine` to whom `guard` lets in until `shutdown`, and then the queries that run for a short time
/// more.
///
/// # Errors
/// When the catalog cannot be made.
pub async fn serve_postgres(
    listener: TcpListener,
    engine: Arc<Engine>,
    guard: Guard,
    shutdown: CancellationToken,
) -> Result<(), QueryError> {
    let (tables, template) = engine.ground();
    let users = guard.tokens.names().map(str::to_owned).collect();
    let catalog = Catalog::new(tables.clone(), template.clone(), users);
    let catalog = engine.think(catalog).await?.map_err(|error| diagnose(&error, ""))?;
    let server = Arc::new(Server {
        // Whoever lets an answer wait must leave a place to the others.
        waiting: Arc::new(Semaphore::new(engine.concurrency_max().saturating_sub(1).max(1))),
        connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        engine,
        catalog: Arc::new(catalog),
        tls: guard.tls.speaking(ALPN),
        tokens: guard.tokens,
        nobody: rand::random(),
        running: Mutex::default(),
        shutdown: shutdown.clone(),
    });
    let coming = Arc::new(Semaphore::new(COMING_MAX));
    let mut clients = JoinSet::new();
    let accept = async || {
        let place = coming.clone().acquire_owned().await;
        (place, listener.accept().await)
    };
    while let Some((place, accepted)) = shutdown.run_until_cancelled(accept()).await {
        match accepted {
            Ok((stream, _)) => {
                clients.spawn(server.clone().serve(stream, place.ok()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
        while clients.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIME_MAX, drained).await.is_err() {
        tracing::warn!("queries still ran when their time to end was over: they are stopped");
    }
    Ok(())
}

/// What all connections share.
struct Server {
    engine: Arc<Engine>,
    catalog: Arc<Catalog>,
    tls: Tls,
    tokens: Tokens,
    /// For log-ins of names that are not known.
    nobody: [u8; 32],
    connections: Arc<Semaphore>,
    /// Answers that their clients let wait.
    waiting: Arc<Semaphore>,
    running: Mutex<HashMap<i32, Running>>,
    shutdown: CancellationToken,
}

/// What a connection runs, for another one to cancel.
struct Running {
    secret: i32,
    /// Of the statement at hand.
    cancel: Arc<Mutex<CancellationToken>>,
}

impl Server {
    async fn serve(self: Arc<Self>, stream: TcpStream, coming: Option<OwnedSemaphorePermit>) {
        let write_time_max = self.engine.time_max();
        let opened = login::open(stream, &self.tls, LOGIN_TIME_MAX, write_time_max);
        let opened = tokio::time::timeout(LOGIN_TIME_MAX, opened);
        match self.shutdown.run_until_cancelled(opened).await {
            Some(Ok(Ok(Opened::Cancel { process, secret }))) => self.cancel(process, secret),
            Some(Ok(Ok(Opened::Session { mut wire, parameters }))) => {
                let Ok(_place) = self.connections.clone().try_acquire_owned() else {
                    let message = format!("there are {CONNECTIONS_MAX} connections already");
                    let refusal = error::fatal("53300", &message);
                    let _ = wire.put(&PgWireBackendMessage::ErrorResponse(refusal.into()));
                    return wire.close().await;
                };
                let begun = Connection::begin(self.clone(), wire, parameters);
                let begun = tokio::time::timeout(LOGIN_TIME_MAX, begun);
                let Some(Ok(Some(connection))) = self.shutdown.run_until_cancelled(begun).await
                else {
                    return;
                };
                drop(coming);
                let _open = self.engine.metrics().connection_opened();
                connection.run().await;
            }
            Some(Ok(Err(error))) => tracing::debug!(%error, "a client did not come in"),
            Some(Err(_)) | None => {}
        }
    }

    /// Cancels what runs on the connection `process`, if who asks knows its secret.
    fn cancel(&self, process: i32, secret: i32) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.get(&process).filter(|running| running.secret == secret) {
            running.cancel.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        }
    }

    /// A number and a secret for a connection, which it gives back by [`Server::leave`].
    fn enter(&self, cancel: Arc<Mutex<CancellationToken>>) -> (i32, i32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = rand::random();
        loop {
            let process = rand::random_range(1..=i32::MAX);
            if let std::collections::hash_map::Entry::Vacant(place) = running.entry(process) {
                place.insert(Running { secret, cancel });
                return (process, secret);
            }
        }
    }

    fn leave(&self, process: i32) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&process);
    }
}
