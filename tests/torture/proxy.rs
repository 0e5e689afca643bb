//! A network that fails: a proxy that cuts, resets and holds connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;

/// How long a side waits for bytes before it looks whether something went wrong.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct State {
    /// Connections of an earlier generation are ended.
    generation: AtomicU64,
    /// Whether they end with a reset.
    resets: AtomicBool,
    /// Whether nothing is passed on.
    holds: AtomicBool,
    is_over: AtomicBool,
    /// Connections that the server ended while it owed an answer.
    broken_off: AtomicU64,
}

/// Passes bytes on between clients and one server. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// One on any free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(server: &str) -> Result<Proxy> {
        Proxy::on(TcpListener::bind("127.0.0.1:0")?, server)
    }

    /// One on a port that is held already.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn on(listener: TcpListener, server: &str) -> Result<Proxy> {
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let (server, shared) = (server.to_owned(), state.clone());
        std::thread::spawn(move || accept(&listener, &server, &shared));
        Ok(Proxy { port, state })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections the server has ended while it owed an answer.
    pub fn broken_off(&self) -> u64 {
        self.state.broken_off.load(Ordering::Relaxed)
    }

    /// Ends all connections in mid-stream, by a reset or a close.
    pub fn cut(&self, resets: bool) {
        self.state.resets.store(resets, Ordering::Relaxed);
        self.state.generation.fetch_add(1, Ordering::Release);
    }

    /// Passes nothing on, until it is told otherwise.
    pub fn hold(&self, holds: bool) {
        self.state.holds.store(holds, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.cut(false);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(listener: &TcpListener, server: &str, state: &Arc<State>) {
    for client in listener.incoming() {
        if state.is_over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else {
            std::thread::sleep(LOOK);
            continue;
        };
        // A server that is down refuses the client too.
        let Ok(upstream) = TcpStream::connect(server) else { continue };
        let Ok((back, there)) = both(&client, &upstream) else { continue };
        let owes = Arc::new(AtomicBool::new(false));
        for (from, to, asks) in [(client, upstream, true), (there, back, false)] {
            let (state, owes) = (state.clone(), owes.clone());
            std::thread::spawn(move || pass_on(from, to, &state, asks, &owes));
        }
    }
}

fn both(client: &TcpStream, upstream: &TcpStream) -> std::io::Result<(TcpStream, TcpStream)> {
    for side in [client, upstream] {
        side.set_read_timeout(Some(LOOK))?;
        side.set_write_timeout(Some(LOOK))?;
        side.set_nodelay(true)?;
    }
    Ok((client.try_clone()?, upstream.try_clone()?))
}

/// Passes one direction on: what the client `asks`, or what the server answers.
fn pass_on(mut from: TcpStream, mut to: TcpStream, state: &State, asks: bool, owes: &AtomicBool) {
    let generation = state.generation.load(Ordering::Acquire);
    let is_cut = || state.generation.load(Ordering::Acquire) != generation;
    let mut bytes = [0; 16 << 10];
    loop {
        let read = match from.read(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Ok(read) if read > 0 => {
                owes.store(asks, Ordering::Relaxed);
                read
            }
            Ok(_) | Err(_) => {
                // A client that waits no longer is owed nothing.
                if owes.swap(false, Ordering::Relaxed) && !asks && !is_cut() {
                    state.broken_off.fetch_add(1, Ordering::Relaxed);
                }
                break;
            }
        };
        while state.holds.load(Ordering::Relaxed) && !is_cut() {
            std::thread::sleep(LOOK);
        }
        if is_cut() {
            if state.resets.load(Ordering::Relaxed) {
                // The last of both threads to close the socket then sends a reset.
                let _ = SockRef::from(&from).set_linger(Some(Duration::ZERO));
                let _ = SockRef::from(&to).set_linger(Some(Duration::ZERO));
                return;
            }
            break;
        }
        if pass(&mut to, &bytes[..read], is_cut).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Writes all, unless the connection is cut before the other side takes it.
fn pass(to: &mut TcpStream, mut bytes: &[u8], is_cut: impl Fn() -> bool) -> std::io::Result<()> {
    while !bytes.is_empty() && !is_cut() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
