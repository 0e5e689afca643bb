//! A server, and a client that says what it is told to, byte by byte.

use std::time::Duration;

use footfall_guard::Guard;
use footfall_lake::Lake;
use footfall_query::{Engine, Metrics, QuerySettings, serve_postgres};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A server over a lake without tables, and how to reach it.
pub struct Server {
    pub address: std::net::SocketAddr,
    stop: CancellationToken,
    _lake: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn start(settings: QuerySettings) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::at(folder.path().to_str().unwrap(), Vec::new()).unwrap();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let engine = std::sync::Arc::new(Engine::open(lake, settings, metrics).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve_postgres(listener, engine, Guard::default(), stop.clone()));
    Server { address, stop, _lake: folder }
}

pub struct Client(pub TcpStream);

/// A message's kind and body.
pub type Message = (char, Vec<u8>);

impl Client {
    /// Logs in and reads up to the first ReadyForQuery.
    pub async fn open(server: &Server) -> Client {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&startup(196_608, &[("user", "test")])).await.unwrap();
        let mut client = Client(stream);
        let greeting = client.until('Z').await;
        assert!(greeting.iter().any(|(kind, _)| *kind == 'K'), "{greeting:?}");
        client
    }

    pub async fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&message(kind, body)).await.unwrap();
    }

    /// The next message; `None` where the connection is over.
    pub async fn next(&mut self) -> Option<Message> {
        let read = async {
            let kind = self.0.read_u8().await.ok()?;
            let length = self.0.read_u32().await.ok()? as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).await.ok()?;
            Some((char::from(kind), body))
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("no answer")
    }

    pub async fn until(&mut self, kind: char) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push(message);
            if messages.last().is_some_and(|(last, _)| *last == kind) {
                break;
            }
        }
        messages
    }

    /// A simple query: the kinds that were answered, and the code of the error if there was one.
    pub async fn query(&mut self, sql: &str) -> (String, Option<String>) {
        self.send(b'Q', &text(sql)).await;
        told(&self.until('Z').await)
    }
}

pub fn told(messages: &[Message]) -> (String, Option<String>) {
    let kinds = messages.iter().map(|(kind, _)| *kind).collect();
    let error = messages.iter().find(|(kind, _)| *kind == 'E');
    (kinds, error.map(|(_, body)| field(body, b'C')))
}

/// A field of an error.
pub fn field(body: &[u8], name: u8) -> String {
    let fields = body.split(|byte| *byte == 0);
    let mut fields = fields;
    let found = fields.find(|field| field.first() == Some(&name));
    String::from_utf8_lossy(&found.unwrap_or_default()[1..]).into_owned()
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([text(name), text(value)].concat());
    }
    body.push(0);
    [(body.len() as u32 + 4).to_be_bytes().to_vec(), body].concat()
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[text(name), text(sql), vec![0, 0]].concat())
}

/// One that binds texts.
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let mut body = [text(portal), text(statement), vec![0, 0]].concat();
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend([0, 0]);
    message(b'B', &body)
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    message(b'E', &[text(portal), rows_max.to_be_bytes().to_vec()].concat())
}

/// The one value of an answer's first row.
pub fn value(messages: &[Message]) -> Option<String> {
    let (_, row) = messages.iter().find(|(kind, _)| *kind == 'D')?;
    let length = i32::from_be_bytes(row[2..6].try_into().unwrap());
    (length >= 0).then(|| String::from_utf8_lossy(&row[6..]).into_owned())
}
