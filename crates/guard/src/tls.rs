//! TLS of a listener: its certificate and key are read and checked once, before anything is served.
//! What a connection says afterwards is left to the listener.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::socket::Socket;
use crate::validity::{Validity, shown};

/// What listeners speak.
const HTTP: &[u8] = b"http/1.1";

/// TLS as a listener has it, or none.
#[derive(Clone, Default)]
pub struct Tls(Option<TlsAcceptor>);

/// Why a certificate and its key cannot be used; each names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: cannot be read: {source}; is it there, and may this user read it?", .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{}: is no PEM: {reason}", .file.display())]
    Broken { file: PathBuf, reason: String },
    #[error(
        "{}: holds no certificate: it must begin with -----BEGIN CERTIFICATE-----, the server's own first",
        .file.display()
    )]
    NoCertificate { file: PathBuf },
    #[error(
        "{}: holds no private key: it must begin with -----BEGIN PRIVATE KEY-----, and have no password",
        .file.display()
    )]
    NoKey { file: PathBuf },
    #[error("{}: its certificate ended on {}: renew it", .file.display(), shown(*.until))]
    Ended { file: PathBuf, until: i64 },
    #[error(
        "{}: its certificate holds from {} on: is this machine's clock right?",
        .file.display(),
        shown(*.from)
    )]
    NotYet { file: PathBuf, from: i64 },
    #[error(
        "{} and {} do not belong together, or cannot be used: {reason}",
        .certificate.display(),
        .key.display()
    )]
    Unfit { certificate: PathBuf, key: PathBuf, reason: String },
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its private key, both as PEM.
    ///
    /// # Errors
    /// Whatever keeps clients from trusting it that can be seen from here.
    pub fn load(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let (chain, private) = (read_chain(certificate)?, read_key(key)?);
        check_time(&chain, certificate)?;
        let unfit = |error: rustls::Error| TlsError::Unfit {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reason: error.to_string(),
        };
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?;
        let mut config =
            config.with_no_client_auth().with_single_cert(chain, private).map_err(unfit)?;
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Tls(Some(TlsAcceptor::from(Arc::new(config)))))
    }

    /// The same certificate for a listener that speaks something else than HTTP: `protocol` is its name in
    /// ALPN (RFC 7301).
    #[must_use]
    pub fn speaking(&self, protocol: &[u8]) -> Tls {
        Tls(self.0.as_ref().map(|acceptor| {
            let mut config = ServerConfig::clone(acceptor.config());
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsAcceptor::from(Arc::new(config))
        }))
    }

    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How the listener's addresses begin.
    pub const fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }

    /// Shakes hands where there is TLS.
    ///
    /// # Errors
    /// `TimedOut` after `within`; what is no TLS, or a client that trusts another certificate.
    pub async fn accept(&self, socket: TcpStream, within: Duration) -> io::Result<Socket> {
        let Some(acceptor) = &self.0 else { return Ok(Socket::Plain(socket)) };
        let shaken = tokio::time::timeout(within, acceptor.accept(socket)).await;
        let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Socket::Tls(Box::new(stream)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Tls(on)" } else { "Tls(off)" })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate { file: file.to_owned() }),
        Ok(chain) => Ok(chain),
        Err(error) => Err(broken(file, &error)),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { file: file.to_owned() },
        error => broken(file, &error),
    })
}

/// The parser's words, which may hold a line of the file, are not repeated.
fn broken(file: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end",
        pem::Error::IllegalSectionStart { .. } => "a section begins wrongly",
        pem::Error::Base64Decode(_) => "a section is no base64",
        _ => "it cannot be parsed",
    };
    TlsError::Broken { file: file.to_owned(), reason: reason.to_owned() }
}

/// Clients refuse each certificate of the chain that does not hold today.
fn check_time(chain: &[CertificateDer<'_>], file: &Path) -> Result<(), TlsError> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    for certificate in chain {
        let Some(Validity { from, until }) = Validity::of(certificate) else {
            let reason = "a certificate in it cannot be parsed".to_owned();
            return Err(TlsError::Broken { file: file.to_owned(), reason });
        };
        if until < now {
            return Err(TlsError::Ended { file: file.to_owned(), until });
        }
        if from > now {
            return Err(TlsError::NotYet { file: file.to_owned(), from });
        }
    }
    Ok(())
}
