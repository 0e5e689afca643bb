//! Who may send: write keys, and which site each of them opens.
//! Where a protocol puts a key into its body is left to that protocol.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Key;

/// What a request's head says about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// No keys are configured: events name their site.
    Open,
    /// The key of this site was shown.
    Site(String),
    /// There is no key in the head.
    Missing,
    /// There is a key in the head, but none of ours.
    Unknown,
}

/// The access that a request's head gives.
pub fn access(keys: &[Key], headers: &HeaderMap) -> Access {
    if keys.is_empty() {
        return Access::Open;
    }
    match headers.get(AUTHORIZATION).map(|value| shown_key(value.as_bytes())) {
        None => Access::Missing,
        Some(shown) => {
            shown.and_then(|key| site_of(keys, &key)).map_or(Access::Unknown, Access::Site)
        }
    }
}

/// The site that `shown` opens. Every key is compared in constant time, and all of them are, so
/// that the time taken tells nothing.
pub fn site_of(keys: &[Key], shown: &[u8]) -> Option<String> {
    let shown = Sha256::digest(shown);
    let mut site = None;
    for key in keys {
        if bool::from(key.sha256.as_slice().ct_eq(shown.as_slice())) {
            site = Some(key.site.clone());
        }
    }
    site
}

/// The user name of Basic (as Segment's SDKs send it) or the token of Bearer.
fn shown_key(authorization: &[u8]) -> Option<Vec<u8>> {
    let space = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&authorization[..space], authorization[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':').unwrap_or(pair.len());
    pair.truncate(colon);
    Some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        [("shop", "one"), ("blog", "two")]
            .map(|(site, key)| Key { site: site.to_owned(), sha256: Sha256::digest(key).into() })
            .to_vec()
    }

    #[track_caller]
    fn check(authorization: Option<&str>, expected: Access) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(access(&keys(), &headers), expected, "{authorization:?}");
    }

    #[test]
    fn a_key_opens_its_site() {
        check(Some("Bearer one"), Access::Site("shop".to_owned()));
        check(Some("bearer two"), Access::Site("blog".to_owned()));
        check(Some("Basic b25lOg=="), Access::Site("shop".to_owned()));
        check(Some("Basic b25lOnBhc3N3b3Jk"), Access::Site("shop".to_owned()));
        check(Some("Basic b25l"), Access::Site("shop".to_owned()));
    }

    #[test]
    fn anything_else_does_not() {
        check(None, Access::Missing);
        for bad in ["Bearer three", "Bearer", "Basic !!!", "Basic ", "Digest one", "one", ""] {
            check(Some(bad), Access::Unknown);
        }
    }
}
