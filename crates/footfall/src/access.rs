//! What stands before each listener: TLS, write keys, read tokens. A start that would leave data open is
//! refused here, once the address is known.

use std::net::SocketAddr;

use footfall_guard::{Guard, Tls, TlsError, Tokens};

use crate::config::{Config, TlsFiles};
use crate::exit::CalledWrongly;

/// The TLS of a listener, none where no files are set.
///
/// # Errors
/// A certificate or a key that clients could not use, by its file.
pub fn tls(files: Option<&TlsFiles>) -> Result<Tls, TlsError> {
    files.map_or_else(|| Ok(Tls::default()), |files| Tls::load(&files.certificate, &files.key))
}

/// What stands before SQL.
///
/// # Errors
/// As [`tls`].
pub fn query(config: &Config) -> Result<Guard, TlsError> {
    guard(config, config.query.tls.as_ref())
}

/// What stands before signals.
///
/// # Errors
/// As [`tls`].
pub fn pipeline(config: &Config) -> Result<Guard, TlsError> {
    guard(config, config.pipeline.tls.as_ref())
}

fn guard(config: &Config, files: Option<&TlsFiles>) -> Result<Guard, TlsError> {
    Ok(Guard { tls: tls(files)?, tokens: Tokens::new(config.tokens.clone()) })
}

/// Reads the files of all listeners, to see whether a start would.
///
/// # Errors
/// As [`tls`].
pub fn check(config: &Config) -> Result<(), TlsError> {
    tls(config.ingest.tls.as_ref())?;
    query(config)?;
    pipeline(config)?;
    Ok(())
}

/// Without a key anybody may post, which is for the loopback alone.
///
/// # Errors
/// When other machines reach the listener.
pub fn require_keys(config: &Config, listener: SocketAddr) -> Result<(), CalledWrongly> {
    if config.keys.is_empty() && is_public(listener) {
        return Err(CalledWrongly(format!(
            "{listener} is not the loopback and no key is configured: anybody could post; \
             `footfall key new` makes a [[key]], or listen on 127.0.0.1"
        )));
    }
    Ok(())
}

/// Without a token anybody may read, and without TLS whoever is on the way: both are for the loopback
/// alone. `data` is what is read.
///
/// # Errors
/// When other machines reach the listener, and either is missing.
pub fn require_guard(data: &str, guard: &Guard, listener: SocketAddr) -> Result<(), CalledWrongly> {
    if !is_public(listener) {
        return Ok(());
    }
    let refused = |why: &str| {
        let message = format!("{listener} is not the loopback, and {why}, or listen on 127.0.0.1");
        Err(CalledWrongly(message))
    };
    if guard.tokens.is_empty() {
        let why = "no token is configured: anybody could read {data}; `footfall token new` makes a [[token]]";
        return refused(&why.replace("{data}", data));
    }
    if !guard.tls.is_on() {
        let why = "it has no TLS: tokens and {data} could be read on the way; set tls_certificate and tls_key";
        return refused(&why.replace("{data}", data));
    }
    Ok(())
}

fn is_public(listener: SocketAddr) -> bool {
    !listener.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use footfall_guard::{SecretHash, Token};

    use super::*;

    /// With TLS the same is seen of the whole program: a certificate is needed for it.
    #[test]
    fn data_on_a_public_address_needs_a_token_and_tls() {
        let told = |guard: &Guard, listener: &str| {
            let refused = require_guard("SQL", guard, listener.parse().unwrap()).err();
            refused.map(|refused| refused.to_string()).unwrap_or_default()
        };
        let open = Guard::default();
        let token = Token {
            name: "grafana".to_owned(),
            hash: SecretHash::of(b"secret"),
            scram: None,
            may_erase: false,
        };
        let with_token = Guard { tokens: Tokens::new(vec![token]), ..Guard::default() };
        for loopback in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(told(&open, loopback), "");
        }
        for public in ["0.0.0.0:80", "192.0.2.1:80", "[::]:80"] {
            assert!(told(&open, public).contains("no token is configured"));
            assert!(told(&with_token, public).contains("it has no TLS"));
        }
    }
}
