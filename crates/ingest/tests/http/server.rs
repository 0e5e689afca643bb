//! A collector with a log of its own, and a client that speaks raw HTTP.

use std::sync::Arc;
use std::time::Duration;

use footfall_ingest::{IngestSettings, Metrics, serve};
use footfall_log::{EventLog, Kind, LocalLog, LocalSettings, Record};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PARTITIONS: u32 = 4;
/// Nothing here takes long; what hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub address: String,
    pub log: Arc<LocalLog>,
    pub shutdown: CancellationToken,
    served: JoinHandle<()>,
    directory: tempfile::TempDir,
}

/// A record as read back.
pub struct Row {
    pub partition: i32,
    pub kind: Kind,
    pub json: Value,
}

impl Server {
    pub async fn start(settings: IngestSettings) -> Server {
        Server::start_with(settings, |_| {}).await
    }

    pub async fn start_with(
        settings: IngestSettings,
        tune: impl FnOnce(&mut LocalSettings),
    ) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let mut local = LocalSettings::new(directory.path(), "test", PARTITIONS);
        tune(&mut local);
        let log = Arc::new(LocalLog::open(local).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let shutdown = CancellationToken::new();
        let (shared, token) = (Arc::clone(&log) as Arc<dyn EventLog>, shutdown.clone());
        let served = tokio::spawn(async move {
            serve(listener, shared, settings, metrics, token).await.unwrap();
        });
        Server { address, log, shutdown, served, directory }
    }

    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(&self.address).await.unwrap())
    }

    /// A client whose system keeps little of what it has not read.
    pub async fn connect_narrow(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Client(socket.connect(self.address.parse().unwrap()).await.unwrap())
    }

    /// Ends the collector, and the log before its directory goes. Every test ends with it: a log
    /// that loses its directory while it is open ends the process.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.served.await.unwrap();
        drop(Arc::into_inner(self.log).expect("no one else has the log"));
        self.directory.close().unwrap();
    }

    /// One request on a connection of its own.
    pub async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.connect().await.post(path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        client.answer().await.expect("an answer")
    }

    /// The value of a metric, with its labels as Prometheus writes them.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Everything that the log holds, partition by partition.
    pub async fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for partition in (0..PARTITIONS as i32).map(footfall_event::Partition) {
            let mut offset = self.log.bounds(partition).await.unwrap().start;
            while let Some(record) = self.log.read_one(partition, offset).await.unwrap() {
                rows.push(row(partition.0, &record));
                offset = offset.next();
            }
        }
        rows
    }
}

fn row(partition: i32, record: &Record) -> Row {
    let json = serde_json::from_slice(&record.payload).unwrap();
    Row { partition, kind: record.kind, json }
}

pub struct Client<S = TcpStream>(pub S);

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub async fn send_head(&mut self, path: &str, headers: &str, body_bytes: usize) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {body_bytes}\r\n{headers}\r\n"
        );
        self.send(head.as_bytes()).await;
    }

    pub async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send_head(path, headers, body.len()).await;
        self.send(body).await;
        self.answer().await.expect("an answer")
    }

    /// Asks whether a body is wanted, and sends none: 100 if it is.
    pub async fn ask(&mut self, path: &str, body_bytes: usize) -> u16 {
        self.send_head(path, "Expect: 100-continue\r\n", body_bytes).await;
        let mut status = [0; 12];
        let read = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut status));
        read.await.expect("an answer in time").unwrap();
        std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
    }

    /// Takes pieces of an answer until the server closes; how many bytes came.
    pub async fn take_slowly(&mut self, piece_bytes: usize, pause: Duration) -> usize {
        let mut piece = vec![0; piece_bytes];
        let mut taken = 0;
        let taking = async {
            while let Ok(bytes @ 1..) = self.0.read(&mut piece).await {
                taken += bytes;
                tokio::time::sleep(pause).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, taking).await.expect("an end in time");
        taken
    }

    /// The next answer; `None` when the server closed the connection.
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer()).await.expect("an answer in time")
    }

    /// What still comes until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest));
        // A connection that is reset has ended too.
        let _ = read.await.expect("an end in time");
        rest
    }

    /// The head of an answer that has no body.
    pub async fn head(&mut self) -> String {
        let head = tokio::time::timeout(PATIENCE, self.read_head()).await;
        head.expect("an answer in time").expect("an answer")
    }

    async fn read_head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return None,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let head = self.read_head().await?;
        let bytes = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; bytes.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A good event of a visitor.
pub fn event(id: &str, visitor: &str) -> String {
    format!(r#"{{"event_id":"{id}","site":"shop","visitor_id":"{visitor}","event_name":"click"}}"#)
}
