//! Who may send: write keys, and which site each of them opens.
//! Where a protocol puts a key into its body is left to that protocol.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use footfall_guard::{SecretHash, bearer};

use crate::{Key, origins};

/// A header of its own, for clients that cannot set `Authorization`.
const WRITE_KEY: &str = "x-write-key";

/// Names of a key in a query: ours, which RudderStack's beacon has as well, and that of GA4's Measurement Protocol.
pub const IN_QUERY: &[&str] = &["writeKey", "api_secret"];
/// The same where gtag.js sends to, whose key is the measurement ID.
pub const IN_HITS: &[&str] = &["writeKey", "api_secret", "tid"];

/// What a request's head says about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// No keys are configured: events name their site.
    Open,
    /// The key of this site was shown.
    Site(String),
    /// There is no key in the head.
    Missing,
}

/// Why a sender is not admitted, as a sentence that names the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error(
        "a write key is required: as the user name of Basic authorization, as a Bearer token, in the header X-Write-Key, as `writeKey` in the query or in a body of Segment's, which must be JSON; as `appId` (`aid`) of Snowplow's trackers, `api_secret` of GA4's Measurement Protocol, `tid` of gtag.js"
    )]
    Missing,
    #[error("the write key is not known here")]
    Unknown,
    /// The key is right, but it is not for this page.
    #[error("pages of `{0}` may not send with this key: list it in `origins` of its [[key]]")]
    Page(String),
}

/// The access that a request's head gives: a header's key comes before one in the query, which is all that a
/// browser's beacon can send.
///
/// # Errors
/// `Unknown`, `Page`.
pub fn access(
    keys: &[Key],
    headers: &HeaderMap,
    query: Option<&str>,
    names: &[&str],
) -> Result<Access, Denial> {
    if keys.is_empty() {
        return Ok(Access::Open);
    }
    let shown = if headers.contains_key(AUTHORIZATION) {
        shown_key(headers).ok_or(Denial::Unknown)?
    } else if let Some(key) = headers.get(WRITE_KEY) {
        key.as_bytes().to_vec()
    } else if let Some(key) = query.and_then(|query| query_key(query, names)) {
        key.into_bytes()
    } else {
        return Ok(Access::Missing);
    };
    site_of(keys, &shown, origins::origin(headers).as_deref()).map(Access::Site)
}

/// The write key of a query.
pub fn query_key(query: &str, names: &[&str]) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, key) = pairs.find(|(name, _)| names.contains(&name.as_ref()))?;
    (!key.is_empty()).then(|| key.into_owned())
}

/// The site that `shown` opens to a page of `origin`, or to who is no page. Every key is compared in
/// constant time, and all of them are, so that the time taken tells nothing.
///
/// # Errors
/// `Unknown`, `Page`.
pub fn site_of(keys: &[Key], shown: &[u8], origin: Option<&str>) -> Result<String, Denial> {
    let shown = SecretHash::of(shown);
    let mut found = None;
    for key in keys {
        if SecretHash::new(key.sha256).is(&shown) {
            found = Some(key);
        }
    }
    let key = found.ok_or(Denial::Unknown)?;
    match origin {
        Some(origin) if !origins::allows(key, origin) => Err(Denial::Page(origins::shown(origin))),
        _ => Ok(key.site.clone()),
    }
}

/// The user name of Basic (as Segment's SDKs send it) or the token of Bearer.
pub fn shown_key(headers: &HeaderMap) -> Option<Vec<u8>> {
    if let Some(token) = bearer(headers) {
        return Some(token.to_vec());
    }
    let authorization = headers.get(AUTHORIZATION)?.as_bytes();
    let space = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&authorization[..space], authorization[space..].trim_ascii());
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
    use hyper::header::ORIGIN;

    use super::*;

    fn keys() -> Vec<Key> {
        let shop = ["https://shop.example", "https://www.shop.example:8443"];
        let of = |(site, key, origins): (&str, &str, &[&str])| Key {
            site: site.to_owned(),
            sha256: *SecretHash::of(key.as_bytes()).bytes(),
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        };
        [("shop", "one", &shop[..]), ("blog", "two", &[]), ("free", "three", &["*"])]
            .map(of)
            .to_vec()
    }

    #[track_caller]
    fn check(authorization: Option<&str>, expected: Result<Access, Denial>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(access(&keys(), &headers, None, IN_QUERY), expected, "{authorization:?}");
    }

    #[test]
    fn a_key_may_stand_in_a_header_of_its_own_or_in_the_query() {
        let (mut headers, site) =
            (HeaderMap::new(), |name: &str| Ok(Access::Site(name.to_owned())));
        let of_query = |query: &str| access(&keys(), &HeaderMap::new(), Some(query), IN_QUERY);
        assert_eq!(of_query("writeKey=two"), site("blog"));
        assert_eq!(of_query("a=b&writeKey=t%77o&status=summary"), site("blog"));
        assert_eq!(of_query("writeKey=four"), Err(Denial::Unknown));
        assert_eq!(of_query("writekey=two&writeKey="), Ok(Access::Missing));
        headers.insert("X-Write-Key", "two".parse().unwrap());
        assert_eq!(access(&keys(), &headers, Some("writeKey=one"), IN_QUERY), site("blog"));
        headers.insert(AUTHORIZATION, "Bearer one".parse().unwrap());
        assert_eq!(access(&keys(), &headers, None, IN_QUERY), site("shop"));
    }

    #[test]
    fn a_key_opens_its_site() {
        let site = |name: &str| Ok(Access::Site(name.to_owned()));
        check(Some("Bearer one"), site("shop"));
        check(Some("bearer two"), site("blog"));
        check(Some("Basic b25lOg=="), site("shop"));
        check(Some("Basic b25lOnBhc3N3b3Jk"), site("shop"));
        check(Some("Basic b25l"), site("shop"));
    }

    #[test]
    fn anything_else_does_not() {
        check(None, Ok(Access::Missing));
        for bad in ["Bearer four", "Bearer", "Basic !!!", "Basic ", "Digest one", "one", ""] {
            check(Some(bad), Err(Denial::Unknown));
        }
    }

    #[test]
    fn a_page_needs_a_key_that_lists_its_origin() {
        for (key, origin, is_admitted) in [
            ("one", "https://shop.example", true),
            ("one", "HTTPS://Shop.Example", true),
            ("one", "https://www.shop.example:8443", true),
            ("one", "https://www.shop.example", false),
            ("one", "http://shop.example", false),
            ("one", "https://shop.example.evil.example", false),
            ("one", "https://evil.example", false),
            ("one", "null", false),
            ("one", "*", false),
            ("two", "https://shop.example", false),
            ("three", "https://evil.example", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            let admitted = access(&keys(), &headers, None, IN_QUERY);
            assert_eq!(admitted.is_ok(), is_admitted, "{key} {origin}: {admitted:?}");
        }
    }
}
