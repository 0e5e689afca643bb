//! `footfall sql`: one question, of the lake or of a running server.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use footfall_lake::Lake;
use footfall_query::{Engine, Format, Metrics, QueryError, report};
use prometheus::Registry;
use reqwest::StatusCode;

use crate::arguments::RowFormat;
use crate::config::{Config, process_environment};
use crate::server::{TOKEN_VARIABLE, with_token};
use crate::settings::query_settings;

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
    let request = reqwest::Client::new().post(&url).body(statement.to_owned());
    let request = with_token(server, request, token_file)?;
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
