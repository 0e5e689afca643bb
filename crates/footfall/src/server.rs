//! A running part of Footfall, asked over HTTP: where it listens, and what it says when it refuses.

use std::path::Path;

use anyhow::{Context, bail};
use reqwest::{RequestBuilder, Response};
use url::{Host, Url};

use crate::exit::CalledWrongly;

/// Of a read token.
pub const TOKEN_VARIABLE: &str = "FOOTFALL_TOKEN";

/// The address at which a listener of the configuration can be asked from this machine: one that listens
/// on all addresses does so on the loopback too. `None` for port 0, which is another at each start.
pub fn url_of(listen: &str, has_tls: bool) -> Option<String> {
    let scheme = if has_tls { "https" } else { "http" };
    let (host, port) = listen.rsplit_once(':')?;
    let host = match host {
        "0.0.0.0" | "" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    (port != "0").then(|| format!("{scheme}://{host}:{port}"))
}

/// A path of a server, as `--server` names it.
pub fn path(server: &str, path: &str) -> String {
    format!("{}{path}", server.trim_end_matches('/'))
}

/// A request with the read token that `file` or else the environment holds, if there is one.
///
/// # Errors
/// A file that cannot be read; `CalledWrongly` where others could read the token on its way.
pub fn with_token(
    server: &str,
    request: RequestBuilder,
    file: Option<&Path>,
) -> anyhow::Result<RequestBuilder> {
    let Some(token) = token(file)? else { return Ok(request) };
    require_secrecy(server)?;
    Ok(request.bearer_auth(token))
}

/// The read token that `file` or else the environment holds.
///
/// # Errors
/// A file that cannot be read.
pub fn token(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("the read token in {} cannot be read", file.display()))?,
        None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
    };
    let token = text.lines().next().unwrap_or_default().trim();
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

/// A token goes over the network in TLS alone.
///
/// # Errors
/// When others could read it on its way.
pub fn require_secrecy(server: &str) -> Result<(), CalledWrongly> {
    let url = Url::parse(server).ok();
    let is_here = url.as_ref().is_some_and(|url| match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    });
    match is_here || url.is_some_and(|url| url.scheme() == "https") {
        true => Ok(()),
        false => Err(CalledWrongly(format!(
            "the read token could be read on the way to {server}: ask by https://, or without a token"
        ))),
    }
}

/// Sends a request that must be answered well, with the environment's read token.
///
/// # Errors
/// Nobody answers at `server`; or it refuses, with what it says.
pub async fn send(server: &str, request: RequestBuilder) -> anyhow::Result<Response> {
    let request = with_token(server, request, None)?;
    let answer = request.send().await.with_context(|| format!("no server answers at {server}"))?;
    let status = answer.status();
    if !status.is_success() {
        let said = answer.bytes().await.unwrap_or_default();
        bail!("{server} answers {status}: {}", refusal(&said));
    }
    Ok(answer)
}

/// The message of an error, or the text as it came.
fn refusal(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = answer["error"]["message"].as_str().or(answer["error"].as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}

/// Text that a client sent, fit for a terminal: what would move the cursor or hide something is shown as
/// U+FFFD.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_asked_where_this_machine_reaches_it() {
        for (listen, url) in [
            ("127.0.0.1:8082", Some("http://127.0.0.1:8082")),
            ("0.0.0.0:80", Some("http://127.0.0.1:80")),
            ("[::]:80", Some("http://[::1]:80")),
            ("pipeline-1:8082", Some("http://pipeline-1:8082")),
            ("127.0.0.1:0", None),
        ] {
            assert_eq!(url_of(listen, false).as_deref(), url, "{listen}");
            let https = url.map(|url| url.replace("http://", "https://"));
            assert_eq!(url_of(listen, true), https, "{listen}");
        }
    }

    #[test]
    fn what_a_server_refuses_with_is_told_without_its_wrapping() {
        assert_eq!(refusal(br#"{"error":{"message":"m","hint":"h"}}"#), "m");
        assert_eq!(refusal(br#"{"error":"e"}"#), "e");
        assert_eq!(refusal(b"no page\n"), "no page");
    }

    #[test]
    fn a_visitor_cannot_write_to_the_terminal() {
        assert_eq!(plain("a\x1b[2J\nb\u{9b}é"), "a\u{fffd}[2J\u{fffd}b\u{fffd}é");
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        for server in [
            "https://footfall.example",
            "http://127.0.0.1:8081",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert!(require_secrecy(server).is_ok(), "{server}");
        }
        for server in
            ["http://footfall.example", "http://192.0.2.1:8081", "http://127.0.0.1.example", "x"]
        {
            assert!(require_secrecy(server).is_err(), "{server}");
        }
    }

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, " fr_1 \nanything\n").unwrap();
        assert_eq!(token(Some(&file)).unwrap().as_deref(), Some("fr_1"));
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(token(Some(&file)).unwrap(), None);
        let missing = folder.path().join("none");
        let told = token(Some(&missing)).unwrap_err().to_string();
        assert!(told.contains(&*missing.to_string_lossy()), "{told}");
    }
}
