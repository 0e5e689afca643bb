//! TLS: what is taken over it, its bounds, and certificates that cannot be used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use footfall_guard::Tls;
use footfall_ingest::IngestSettings;
use footfall_tests::Certificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::{Client, Server, event};

async fn start(certificate: &Certificate, settings: IngestSettings) -> Server {
    let tls = Tls::load(&certificate.certificate, &certificate.key).unwrap();
    Server::start(IngestSettings { tls, ..settings }).await
}

/// A client that trusts the certificate and nothing else.
async fn shake_hands(certificate: &Certificate, socket: TcpStream) -> Client<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    Client(TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap())
}

async fn connect(certificate: &Certificate, server: &Server) -> Client<TlsStream<TcpStream>> {
    shake_hands(certificate, TcpStream::connect(&server.address).await.unwrap()).await
}

#[tokio::test]
async fn events_are_taken_over_tls_and_not_without() {
    let certificate = Certificate::make().unwrap();
    let server = start(&certificate, IngestSettings::default()).await;
    let mut client = connect(&certificate, &server).await;
    for id in ["a", "b"] {
        let answer = client.post("/v1/events", "", event(id, "v").as_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let large = format!("{}{}", event("c", "v"), " ".repeat(3_000_000));
    assert_eq!(client.post("/v1/events", "", large.as_bytes()).await.status, 202);
    let mut plain = server.connect().await;
    plain.send_head("/v1/events", "", 0).await;
    assert!(!plain.rest().await.windows(4).any(|bytes| bytes == b"HTTP"));
    assert_eq!(server.rows().await.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_has_an_end() {
    let certificate = Certificate::make().unwrap();
    let header_timeout = Duration::from_millis(50);
    let server = start(&certificate, IngestSettings { header_timeout, ..Default::default() }).await;
    let mut silent = server.connect().await;
    assert!(silent.rest().await.is_empty(), "a client that says nothing");
    let mut halting = server.connect().await;
    // The beginning of a ClientHello: a record of 512 bytes, of which the last never come.
    halting.send(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await;
    assert!(halting.rest().await.is_empty(), "a client that stops in the middle");
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_takes_a_place_and_gives_it_to_who_posts() {
    let certificate = Certificate::make().unwrap();
    let server =
        start(&certificate, IngestSettings { connections_max: 1, ..Default::default() }).await;
    let mut silent = server.connect().await;
    let mut client = connect(&certificate, &server).await;
    let answer = client.post("/v1/events", "", event("a", "v").as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert!(silent.rest().await.is_empty(), "a client that says nothing");
    server.stop().await;
}

/// TLS keeps what the socket does not take: its client is waited for no longer.
#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_cut_over_tls() {
    let certificate = Certificate::make().unwrap();
    let settings = IngestSettings {
        batch_events_max: 100_000,
        body_timeout: Duration::from_secs(2),
        ..Default::default()
    };
    let server = start(&certificate, settings).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let socket = socket.connect(server.address.parse().unwrap()).await.unwrap();
    let mut reader = shake_hands(&certificate, socket).await;
    let body = format!("[{}5]", r#"{"event_name":"e"},"#.repeat(100_000));
    reader.send_head("/v1/events", "", body.len() - 1).await;
    reader.send(body.replace(",5]", "]").as_bytes()).await;
    let taken = reader.take_slowly(4_096, Duration::from_millis(20)).await;
    assert!((1..7_000_000).contains(&taken), "{taken} bytes were taken");
    server.stop().await;
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_by_its_file() {
    let (good, other) = (Certificate::make().unwrap(), Certificate::make().unwrap());
    let ended = Certificate::ended().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let empty = write("empty.pem", b"");
    let cut = write("cut.pem", b"-----BEGIN CERTIFICATE-----\nMIIB\n");
    let torn = write("torn.pem", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let missing = folder.path().join("missing.pem");
    let (certificate, key) = (&good.certificate, &good.key);
    let cases: [(&Path, &Path, &Path, &str); 10] = [
        (&missing, key, &missing, "cannot be read: No such file"),
        (certificate, &missing, &missing, "cannot be read: No such file"),
        (&empty, key, &empty, "holds no certificate"),
        (certificate, &empty, &empty, "holds no private key"),
        (key, key, key, "holds no certificate"),
        (certificate, certificate, certificate, "holds no private key"),
        (&cut, key, &cut, "a section does not end"),
        (&torn, key, &torn, "a certificate in it cannot be parsed"),
        (certificate, &other.key, &other.key, "do not belong together"),
        (&ended.certificate, &ended.key, &ended.certificate, "ended on"),
    ];
    for (certificate, key, file, why) in cases {
        let told = Tls::load(certificate, key).unwrap_err().to_string();
        assert!(told.contains(&*file.to_string_lossy()) && told.contains(why), "{told}");
        assert!(!told.contains("MII"), "what the file holds is told: {told}");
    }
    assert!(Tls::load(certificate, key).unwrap().is_on());
}
