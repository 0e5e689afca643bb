//! Secrets that are known by their hashes alone: write keys and read tokens. What a secret opens is
//! left to who keeps its hash.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of a secret. A fast hash is right for what a generator made: of 128 random bits and
/// more none can be guessed, and each request is checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub const fn new(sha256: [u8; 32]) -> SecretHash {
        SecretHash(sha256)
    }

    /// Of a secret that was shown or made.
    pub fn of(secret: &[u8]) -> SecretHash {
        SecretHash(Sha256::digest(secret).into())
    }

    /// In a time that tells nothing of where they differ.
    pub fn is(&self, other: &SecretHash) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }

    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Shortened, as in all that is shown or logged.
impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

/// What `Authorization: Bearer` shows.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(AUTHORIZATION)?.as_bytes();
    let space = shown.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = shown.split_at(space);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}
