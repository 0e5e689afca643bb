//! `footfall sql`: one question, of the lake or of a running server.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use footfall_lake::Lake;
use footfall_query::{Engine, Format, Metrics, QueryError, report};
use prometheus::Registry;
use reqwest::StatusCode;
use url::{Host, Url};

use crate::arguments::RowFormat;
use crate::config::{Config, process_environment};
use crate::exit::CalledWrongly;
use crate::parts::query_settings;

/// Of a read token.
const TOKEN_VARIABLE: &str = "FOOTFALL_TOKEN";

/// Asks the lake and prints the rows.
///
/// # Errors
/// What is wrong with the question or the lake.
pub async fn ask_lake(config: &Config, statement: &str, format: RowFormat) -> anyhow::Result<()> {
    let lake = Lake::at(&config.lake(), process_environment())?;
    if lake.settings().await?.is_none() {
        bail!("there is no lake at {}; start one with `footfall up`", config.lake());
    }
    let metrics = Metrics::new(&Registry::new())?;
    let engine = Engine::open(lake, query_settings(config), metrics)?;
    print_answer(&engine, statement, format).await
}

async fn print_answer(engine: &Engine, statement: &str, format: RowFormat) -> anyhow::Result<()> {
    let told = |error: QueryError| anyhow!(error.report());
    let answer = engine.sql(statement).await.map_err(told)?;
    let (mut out, format) = (Vec::new(), local_format(format));
    footfall_query::write(answer.schema(), answer.batches(), format, &mut out).map_err(told)?;
    std::io::stdout().write_all(&out)?;
    Ok(())
}

fn local_format(format: RowFormat) -> Format {
    match format {
        RowFormat::Table => Format::Table,
        RowFormat::Csv => Format::Csv,
        RowFormat::Json => Format::Json,
    }
}

/// Asks a server and prints its rows. A token is taken from `token_file`, else from the environment:
/// what stands on the command line, other users of the machine see.
///
/// # Errors
/// What is wrong with the question or the token; a server that does not answer.
pub async fn ask_server(
    server: &str,
    token_file: Option<&Path>,
    statement: &str,
    format: RowFormat,
) -> anyhow::Result<()> {
    let name = match format {
        RowFormat::Table => "table",
        RowFormat::Csv => "csv",
        RowFormat::Json => "json",
    };
    let url = format!("{}/v1/sql?format={name}", server.trim_end_matches('/'));
    let mut request = reqwest::Client::new().post(&url).body(statement.to_owned());
    if let Some(token) = token(token_file)? {
        require_secrecy(server)?;
        request = request.bearer_auth(token);
    }
    let answer = request.send().await;
    let answer = answer.with_context(|| format!("no server answers at {server}"))?;
    let status = answer.status();
    let body = answer.bytes().await?;
    if status == StatusCode::UNAUTHORIZED {
        bail!(
            "{}\nhint: put it into {TOKEN_VARIABLE}, or into a file for --token-file",
            refusal(&body)
        );
    }
    if !status.is_success() {
        bail!("{}", refusal(&body));
    }
    std::io::stdout().write_all(&body)?;
    Ok(())
}

fn token(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("the read token in {} cannot be read", file.display()))?,
        None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
    };
    let token = text.lines().next().unwrap_or_default().trim();
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

/// A token goes over the network in TLS alone.
fn require_secrecy(server: &str) -> Result<(), CalledWrongly> {
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

/// A server's error as it is told for the lake: the same report of the same parts. What is no such
/// error (a proxy's page) is told as it came.
fn refusal(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &answer["error"];
    let Some(message) = error["message"].as_str() else {
        return String::from_utf8_lossy(body).trim().to_owned();
    };
    let place = match (error["line"].as_u64(), error["column"].as_u64(), error["snippet"].as_str())
    {
        (Some(line), Some(column), Some(snippet)) => Some((line, column, snippet)),
        _ => None,
    };
    report(message, place, error["hint"].as_str())
}

#[cfg(test)]
mod tests;
