//! Attacks on a collector on the loopback, and what others meanwhile get. Which outcome is right is left
//! to tests, how fast it is to benchmarks.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a socket may say nothing before an attack is told that it was neither answered nor closed.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Others post so often, each.
const PACE: Duration = Duration::from_millis(20);

/// How others fared, in seconds from before a post to its 202; ascending.
#[derive(Debug, Default)]
pub struct Fared {
    pub seconds: Vec<f64>,
    /// What was not answered 202, in words.
    pub refused: Vec<String>,
}

impl Fared {
    pub fn p99_ms(&self) -> f64 {
        let last = self.seconds.len().saturating_sub(1);
        self.seconds.get((last as f64 * 0.99).round() as usize).map_or(0.0, |s| s * 1_000.0)
    }
}

/// Clients beside an attack: half keep their connection, half make one for each post.
pub struct Others {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Fared>>,
}

impl Others {
    pub fn start(server: &str, count: usize) -> Others {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let (stop, url) = (Arc::clone(&stop), format!("{server}/v1/events"));
            std::thread::spawn(move || post_on(&url, number, &stop))
        };
        let clients = (0..count).map(client).collect();
        Others { stop, clients }
    }

    /// # Errors
    /// When a client broke.
    pub fn finish(self) -> Result<Fared> {
        self.stop.store(true, Relaxed);
        let mut all = Fared::default();
        for client in self.clients {
            let fared = client.join().ok().context("a client panicked")?;
            all.seconds.extend(fared.seconds);
            all.refused.extend(fared.refused);
        }
        all.seconds.sort_by(f64::total_cmp);
        Ok(all)
    }
}

fn post_on(url: &str, number: usize, stop: &AtomicBool) -> Fared {
    let keeps = usize::from(number.is_multiple_of(2));
    let client = reqwest::blocking::Client::builder().pool_max_idle_per_host(keeps).build();
    let mut fared = Fared::default();
    let Ok(client) = client else { return fared };
    let body = format!(r#"{{"visitor_id":"other-{number}","event_name":"page_view"}}"#);
    loop {
        let began = Instant::now();
        match client.post(url).body(body.clone()).send().map(|answer| answer.status().as_u16()) {
            Ok(202) => fared.seconds.push(began.elapsed().as_secs_f64()),
            Ok(status) => fared.refused.push(status.to_string()),
            Err(error) => fared.refused.push(format!("{error:?}")),
        }
        // An attack may be over sooner than the first answer comes.
        if stop.load(Relaxed) {
            return fared;
        }
        std::thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
}

/// A raw connection to `server`, `http://host:port`.
///
/// # Errors
/// When it is not made.
pub fn connect(server: &str) -> Result<TcpStream> {
    let address = server.trim_start_matches("http://").parse()?;
    let socket = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    socket.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(socket)
}

/// What comes on a connection until it is closed: the status of the first answer, 0 where it was closed
/// without one.
///
/// # Errors
/// When it is neither answered nor closed.
pub fn outcome(mut socket: TcpStream) -> Result<u16> {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => said.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error).context("neither answered nor closed"),
        }
        // Kept alive: the answer is all that comes.
        if said.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&said);
    Ok(text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}

/// Connections on which nothing is said; as many of `count` as were made.
pub fn idle(server: &str, count: usize) -> Vec<TcpStream> {
    const MAKERS: usize = 8;
    let makers: Vec<_> = (0..MAKERS)
        .map(|_| {
            let server = server.to_owned();
            let make = move || {
                (0..count / MAKERS).filter_map(|_| connect(&server).ok()).collect::<Vec<_>>()
            };
            std::thread::spawn(make)
        })
        .collect();
    makers.into_iter().filter_map(|maker| maker.join().ok()).flatten().collect::<Vec<_>>()
}

/// A request whose head does not end, until somebody stops it; the outcome.
///
/// # Errors
/// When 16 MiB of it are taken, or it is neither answered nor closed.
pub fn endless_head(server: &str) -> Result<u16> {
    const BYTES_MAX: usize = 16 * 1024 * 1024;
    let mut socket = connect(server)?;
    socket.write_all(b"POST /v1/events HTTP/1.1\r\nHost: x\r\n")?;
    let line = format!("X-Padding: {}\r\n", "x".repeat(1_000));
    let mut sent = 0;
    while socket.write_all(line.as_bytes()).is_ok() {
        sent += line.len();
        ensure!(sent < BYTES_MAX, "{sent} bytes of a head were taken");
    }
    outcome(socket)
}

/// A request that stops in the middle of its body.
///
/// # Errors
/// When it is not taken that far.
pub fn half_request(server: &str) -> Result<TcpStream> {
    let mut socket = connect(server)?;
    let head =
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"event_name\":";
    socket.write_all(head.as_bytes())?;
    Ok(socket)
}

/// Spaces, gzipped: they inflate a thousand times.
///
/// # Errors
/// Never: it is written to memory.
pub fn bomb(inflated_bytes: usize) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b' '; 1024 * 1024];
    for _ in 0..inflated_bytes / piece.len() {
        encoder.write_all(&piece)?;
    }
    Ok(encoder.finish()?)
}

/// Debian's slowhttptest: heads (`-H`) or bodies (`-B`) that come a few bytes at a time.
///
/// # Errors
/// When it is not installed.
pub fn slow(server: &str, mode: &str, connections: usize, seconds: u64) -> Result<Child> {
    Command::new("slowhttptest")
        .args([mode, "-c", &connections.to_string(), "-r", "500", "-i", "1", "-p", "2"])
        .args(["-l", &seconds.to_string(), "-t", "POST", "-u", &format!("{server}/v1/events")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("slowhttptest is missing: run ./test, which installs it")
}
