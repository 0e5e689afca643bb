//! `footfall sql`: one question, of the lake or of a running server.

use std::io::Write;

use anyhow::{Context, bail};
use footfall_lake::Lake;
use footfall_query::{Engine, Format, Metrics};
use prometheus::Registry;

use crate::arguments::RowFormat;
use crate::config::{Config, process_environment};
use crate::parts::query_settings;

/// Asks `statement` and prints its rows.
///
/// # Errors
/// What is wrong with the question or the lake; a server that does not answer.
pub async fn run(
    config: &Config,
    statement: &str,
    server: Option<&str>,
    format: RowFormat,
) -> anyhow::Result<()> {
    if let Some(server) = server {
        return ask_server(server, statement, format).await;
    }
    let lake = Lake::at(&config.lake(), process_environment())?;
    if lake.settings().await?.is_none() {
        bail!("there is no lake at {}; start one with `footfall up`", config.lake());
    }
    let metrics = Metrics::new(&Registry::new())?;
    let engine = Engine::open(lake, query_settings(config), metrics)?;
    let answer = engine.sql(statement).await?;
    let mut out = Vec::new();
    footfall_query::write(answer.schema(), answer.batches(), local_format(format), &mut out)?;
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

async fn ask_server(server: &str, statement: &str, format: RowFormat) -> anyhow::Result<()> {
    let name = match format {
        RowFormat::Table => "table",
        RowFormat::Csv => "csv",
        RowFormat::Json => "json",
    };
    let url = format!("{}/v1/sql?format={name}", server.trim_end_matches('/'));
    let answer = reqwest::Client::new().post(&url).body(statement.to_owned()).send().await;
    let answer = answer.with_context(|| format!("no server answers at {server}"))?;
    let status = answer.status();
    let body = answer.bytes().await?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    std::io::stdout().write_all(&body)?;
    Ok(())
}
