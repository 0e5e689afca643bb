//! The address that a request came from, and the host it was sent to, through the proxies that stand before the collector.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::{HOST, HeaderMap, HeaderName};

/// To which each proxy adds the address of who asked it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// In which the first proxy tells the host that it was asked by.
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Who asked the first of `proxies`; `None` where that is not told, or is this machine. What stands before it in the
/// header anybody may have written.
pub fn address<B>(request: &Request<B>, proxies: usize) -> Option<IpAddr> {
    let address = match proxies {
        0 => request.extensions().get::<Peer>().map(|peer| peer.0),
        proxies => forwarded(request.headers(), proxies),
    };
    address.map(|address| address.to_canonical()).filter(|address| !address.is_loopback())
}

/// By which host a client reaches the collector, as far as it is told.
pub fn host<B>(request: &Request<B>, proxies: usize) -> Option<&str> {
    let headers = request.headers();
    let told = headers.get(FORWARDED_HOST).filter(|_| proxies > 0);
    let host = told.or(headers.get(HOST))?.to_str().ok()?;
    Some(host.split(',').next().unwrap_or_default().trim())
}

fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let told = headers.get_all(FORWARDED_FOR);
    let told: Vec<&str> = told.iter().filter_map(|value| value.to_str().ok()).collect();
    let nearest_first = told.iter().rev().flat_map(|value| value.rsplit(','));
    nearest_first.map(str::trim).nth(proxies - 1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_that_of_the_first_proxy() {
        let mut request = Request::new(());
        assert_eq!(host(&request, 0), None);
        let headers = request.headers_mut();
        headers.insert(HOST, "10.0.0.1:8080".parse().unwrap());
        headers.insert(FORWARDED_HOST, "shop.example, inner.example".parse().unwrap());
        assert_eq!(host(&request, 0), Some("10.0.0.1:8080"));
        assert_eq!(host(&request, 1), Some("shop.example"));
        request.headers_mut().remove(FORWARDED_HOST);
        assert_eq!(host(&request, 1), Some("10.0.0.1:8080"));
    }

    #[track_caller]
    fn check(peer: &str, forwarded: &[&'static str], proxies: usize, expected: Option<&str>) {
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        for value in forwarded {
            request.headers_mut().append(FORWARDED_FOR, value.parse().unwrap());
        }
        let found = address(&request, proxies).map(|address| address.to_string());
        assert_eq!(found.as_deref(), expected, "{peer} {forwarded:?} {proxies}");
    }

    #[test]
    fn an_address_is_that_before_the_proxies() {
        let told: [&'static str; 2] = ["192.0.2.66, 192.0.2.1", "198.51.100.2"];
        check("203.0.113.9", &told, 0, Some("203.0.113.9"));
        check("203.0.113.9", &told, 1, Some("198.51.100.2"));
        check("203.0.113.9", &told, 2, Some("192.0.2.1"));
        check("203.0.113.9", &told, 4, None);
        check("203.0.113.9", &["unknown"], 1, None);
        check("127.0.0.1", &[], 0, None);
        check("::ffff:192.0.2.1", &[], 0, Some("192.0.2.1"));
    }
}
