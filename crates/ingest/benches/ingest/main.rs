//! Events per CPU second of the whole server process: HTTP, checks, and a log that fsyncs; and what part that is of what
//! a bare server does, which parses the same events and drops them.
//! The client is a process of its own (this binary, started again), so that its work is not counted.
//!
//! `cargo bench --bench ingest`; `-- 100 8 segment` runs batches of 100 only, for 8 seconds, by one protocol only.

mod bare;
mod forms;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footfall_event::Partition;
use footfall_ingest::{IngestSettings, Metrics, serve};
use footfall_log::{EventLog, LocalLog, LocalSettings};
use footfall_tests::{cpu_seconds, cpu_seconds_of_threads};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use forms::Form;

const CONNECTIONS: usize = 16;
const PARTITIONS: u32 = 8;
/// Bodies are made before the clock runs, and sent in turn.
const BODIES: usize = 64;
const CLIENT: &str = "--client";

/// As in the binary that is shipped.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.first().is_some_and(|first| first == CLIENT) {
        let [address, form, batch, seconds] = &arguments[1..] else {
            return Err("not four".into());
        };
        let form =
            forms::FORMS.iter().find(|known| known.name == form).ok_or("no such protocol")?;
        return client(address, form, batch.parse()?, seconds.parse()?);
    }
    let batches = match arguments.first() {
        Some(batch) => vec![batch.parse()?],
        None => vec![1, 10, 100],
    };
    let seconds = arguments.get(1).map_or(Ok(5), |text| text.parse())?;
    let wanted = |form: &&Form| arguments.get(2).is_none_or(|name| name == form.name);
    let forms: Vec<&Form> = forms::FORMS.iter().filter(wanted).collect();
    println!(
        "protocol     batch  events/CPU s  of bare  without the log  of bare  requests/s  bytes/event"
    );
    for batch in batches {
        let bare = measure_bare(batch, seconds)?;
        forms.iter().try_for_each(|form| measure(form, batch, seconds, bare))?;
    }
    Ok(())
}

/// Events a CPU second of a server that keeps nothing, by Footfall's own protocol.
fn measure_bare(batch: usize, seconds: u64) -> Result<f64, Failure> {
    let form = &forms::FORMS[0];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?.to_string();
    runtime.spawn(bare::serve(listener));
    let run = run_client(&address, form, batch, seconds)?;
    print_line("bare axum", form, batch, &run, run.cpu, run.events / run.cpu);
    Ok(run.events / run.cpu)
}

/// Serves one client for some seconds, and prints what it cost.
fn measure(form: &Form, batch: usize, seconds: u64, bare: f64) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let settings = LocalSettings::new(directory.path(), "bench", PARTITIONS);
    let log = Arc::new(LocalLog::open(settings)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?.to_string();
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let shutdown = CancellationToken::new();
    let (shared, token) = (Arc::clone(&log) as Arc<dyn EventLog>, shutdown.clone());
    let served = runtime.spawn(serve(listener, shared, IngestSettings::default(), metrics, token));

    let run = run_client(&address, form, batch, seconds)?;
    // Both are made anew for each measurement.
    let of_log = cpu_seconds_of_threads("log-writer")? + cpu_seconds_of_threads("fjall:worker")?;
    assert_eq!(runtime.block_on(held(&log))?, run.events as i64, "the log holds what was answered");
    shutdown.cancel();
    runtime.block_on(served)??;
    print_line(form.name, form, batch, &run, run.cpu - of_log, bare);
    Ok(())
}

/// What a client was answered, and what that took of this process.
struct Run {
    events: f64,
    cpu: f64,
    elapsed: f64,
}

fn run_client(address: &str, form: &Form, batch: usize, seconds: u64) -> Result<Run, Failure> {
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let client = Command::new(std::env::current_exe()?)
        .args([CLIENT, address, form.name, &batch.to_string(), &seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    assert!(client.status.success(), "an event was not accepted");
    let events = String::from_utf8(client.stdout)?.trim().parse()?;
    Ok(Run { events, cpu, elapsed })
}

fn print_line(name: &str, form: &Form, batch: usize, run: &Run, without_log: f64, bare: f64) {
    let (all, door) = (run.events / run.cpu, run.events / without_log);
    println!(
        "{name:<11}  {batch:>5}  {all:>12.0}  {:>7.2}  {door:>15.0}  {:>7.2}  {:>10.0}  {:>11}",
        all / bare,
        door / bare,
        run.events / batch as f64 / run.elapsed,
        (form.body)(0, batch).len() / batch,
    );
}

async fn held(log: &LocalLog) -> Result<i64, Failure> {
    let mut records = 0;
    for partition in (0..PARTITIONS as i32).map(Partition) {
        let bounds = log.bounds(partition).await?;
        records += bounds.end.0 - bounds.start.0;
    }
    Ok(records)
}

/// Posts on all connections until the time is over; prints how many events were accepted.
fn client(address: &str, form: &'static Form, batch: usize, seconds: u64) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|i| {
            let address = address.to_owned();
            std::thread::spawn(move || post_all(&address, form, i, batch, until))
        })
        .collect();
    let mut posted = 0;
    for worker in workers {
        posted += worker.join().map_err(|_| "a connection failed")??;
    }
    println!("{posted}");
    Ok(())
}

fn post_all(
    address: &str,
    form: &Form,
    connection: usize,
    batch: usize,
    until: Instant,
) -> Result<usize, Failure> {
    let requests: Vec<Vec<u8>> = (0..BODIES)
        .map(|i| request(form.path, &(form.body)(connection * BODIES + i, batch)))
        .collect();
    let expected = format!("\"accepted\":{batch},\"rejected\":0");
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut answer = Vec::new();
    let mut posted = 0;
    for request in requests.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        socket.write_all(request)?;
        let body = read_answer(&mut socket, &mut answer)?;
        let counts = String::from_utf8_lossy(&answer[body..]);
        if !answer.starts_with(b"HTTP/1.1 20") || !counts.contains(&expected) {
            return Err(String::from_utf8_lossy(&answer).into());
        }
        posted += batch;
    }
    Ok(posted)
}

/// Reads one answer and gives where its body begins.
fn read_answer(socket: &mut TcpStream, answer: &mut Vec<u8>) -> Result<usize, Failure> {
    const LENGTH: &str = "content-length: ";
    answer.clear();
    let mut piece = [0; 16_384];
    loop {
        let bytes = socket.read(&mut piece)?;
        if bytes == 0 {
            return Err("closed".into());
        }
        answer.extend_from_slice(&piece[..bytes]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end])?;
        let from = head.find(LENGTH).ok_or("no length")? + LENGTH.len();
        let digits = head[from..].split("\r\n").next().unwrap_or_default();
        if answer.len() >= end + 4 + digits.parse::<usize>()? {
            return Ok(end + 4);
        }
    }
}

fn request(path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/126.0.0.0 Safari/537.36\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
