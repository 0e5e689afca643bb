//! `footfall tail`: records as the pipelines read them, a line each.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use anyhow::{Context, bail};
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::arguments::{LineFormat, TailArguments};
use crate::config::Config;
use crate::exit::CalledWrongly;
use crate::server::{path, plain, send, url_of};

/// Longest line of a stream that is waited for; the pipeline's have some 3 kB.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Prints what is read from now on, until it is stopped.
///
/// # Errors
/// A pipeline that does not answer, refuses, or ends.
pub async fn run(config: &Config, arguments: &TailArguments) -> anyhow::Result<()> {
    let servers = servers(config, arguments)?;
    let mut streams = Vec::new();
    for server in &servers {
        let mut request = reqwest::Client::new().get(path(server, "/v1/tail"));
        if let Some(site) = &arguments.site {
            request = request.query(&[("site", site)]);
        }
        if let Some(status) = arguments.status {
            request = request.query(&[("status", status.name())]);
        }
        let answer = send(server, request).await?;
        let pieces = answer.bytes_stream().map(move |piece| Some((server, piece)));
        // One that ends must be told, not passed over.
        streams.push(pieces.chain(stream::iter([None])).boxed());
    }
    let mut pieces = stream::select_all(streams);
    let mut lines = BTreeMap::<&String, Lines>::new();
    while let Some(Some((server, piece))) = pieces.next().await {
        let piece = piece.with_context(|| {
            format!("the stream of {server} broke off: it was stopped, or is out of reach")
        })?;
        for data in lines.entry(server).or_default().take(&piece)? {
            if !print(&data, arguments.format)? {
                return Ok(());
            }
        }
    }
    bail!("a pipeline of {} ended its stream: it was stopped", servers.join(", "))
}

fn servers(config: &Config, arguments: &TailArguments) -> anyhow::Result<Vec<String>> {
    if !arguments.server.is_empty() {
        return Ok(arguments.server.clone());
    }
    let listen = &config.pipeline.listen;
    let missing =
        || format!("pipeline.listen is `{listen}`: say --server URL, as the start printed it");
    Ok(vec![url_of(listen, config.pipeline.tls.is_some()).ok_or_else(|| CalledWrongly(missing()))?])
}

/// Whether somebody still reads.
fn print(data: &str, format: LineFormat) -> anyhow::Result<bool> {
    let line = match format {
        LineFormat::Json => data.to_owned(),
        LineFormat::Text => text(data),
    };
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A line for people: when, what became of it, whose, what or why, and its id.
fn text(data: &str) -> String {
    let line: Value = serde_json::from_str(data).unwrap_or_default();
    if let Some(missed) = line["missed"].as_u64() {
        return format!("… {missed} lines left out: this reader was too slow for them");
    }
    let text = |key: &str| plain(line[key].as_str().unwrap_or("-"));
    let appended = text("appended_at");
    let time = appended.get(11..23).unwrap_or("-");
    let what = match line["reason"].as_str() {
        Some(reason) => format!("{}: {}", plain(reason), text("field")),
        None => format!("{} {}", text("event_name"), text("page_path")),
    };
    let (status, site, visitor, id) =
        (text("status"), text("site"), text("visitor_id"), text("event_id"));
    format!("{time} {status:<9} {site} {visitor} {what} [{id}]")
}

/// The data lines of a stream of server-sent events, however it is cut into pieces.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> anyhow::Result<Vec<String>> {
        self.rest.extend_from_slice(piece);
        let mut data = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(found) = line.strip_prefix("data:") {
                data.push(found.trim().to_owned());
            }
        }
        if self.rest.len() > LINE_BYTES_MAX {
            bail!(
                "a line of the stream is longer than {LINE_BYTES_MAX} bytes: is that a pipeline?"
            );
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_however_the_stream_is_cut() {
        let stream = "event: record\ndata: {\"é\":1}\n\n: keep alive\n\nevent: x\ndata: 2\n\n";
        for size in 1..stream.len() {
            let mut lines = Lines::default();
            let pieces = stream.as_bytes().chunks(size);
            let data: Vec<String> = pieces.flat_map(|piece| lines.take(piece).unwrap()).collect();
            assert_eq!(data, ["{\"é\":1}", "2"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_without_lines_is_given_up() {
        let mut lines = Lines::default();
        assert!(lines.take(&[b'x'; LINE_BYTES_MAX]).is_ok());
        assert!(lines.take(b"x").is_err());
    }

    #[test]
    fn a_line_shows_why_an_event_was_refused() {
        let rejected = r#"{"status":"rejected","site":"shop","event_id":"e","reason":"missing","field":"event_name: is required","appended_at":"2026-11-28T06:00:01.123456Z"}"#;
        let shown = "06:00:01.123 rejected  shop - missing: event_name: is required [e]";
        assert_eq!(text(rejected), shown);
        assert_eq!(
            text(r#"{"missed":7}"#),
            "… 7 lines left out: this reader was too slow for them"
        );
    }
}
