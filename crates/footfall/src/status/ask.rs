//! Asks: the parts over HTTP, and the lake where no query server answers. What it means is left to
//! `status`.

use std::time::Duration;

use anyhow::Context;
use footfall_lake::{Lake, TableFacts};
use footfall_pipeline::PipelineStatus;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{Part, RECEIPTS, Status, pending, pending_sql, settled};
use crate::config::{Config, process_environment};
use crate::server::{path, url_of, with_token};
use crate::sql::Source;

/// How long a part may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the query server says of its lake.
#[derive(Deserialize)]
struct LakeStatus {
    lake: String,
    tables: Vec<TableFacts>,
}

/// Asks the servers that were named, which must all answer; else those of the configuration, and the
/// lake itself where no query server is among those that answer.
///
/// # Errors
/// A named server that does not answer.
pub async fn all(config: &Config, servers: &[String]) -> anyhow::Result<Status> {
    let client = Client::builder().connect_timeout(PATIENCE).build()?;
    let mut status = Status::default();
    if !servers.is_empty() {
        for server in servers {
            part(config, &client, ("server", server), &mut status).await?;
        }
        return Ok(status);
    }
    let listeners = [
        ("ingest", &config.ingest.listen, &config.ingest.tls),
        ("pipeline", &config.pipeline.listen, &config.pipeline.tls),
        ("query", &config.query.listen, &config.query.tls),
    ];
    for (name, listen, tls) in listeners {
        let Some(server) = url_of(listen, tls.is_some()) else { continue };
        if let Err(error) = part(config, &client, (name, &server), &mut status).await {
            let state = format!("{error:#}");
            status.parts.push(Part { name: name.to_owned(), server, state });
        }
    }
    if status.lake.is_none()
        && let Err(error) = lake(config, &mut status).await
    {
        status.notes.push(format!("the lake at {} cannot be read: {error:#}", config.lake()));
    }
    Ok(status)
}

/// Asks one part whether it is ready, and what it knows.
async fn part(
    config: &Config,
    client: &Client,
    (name, server): (&str, &str),
    status: &mut Status,
) -> anyhow::Result<()> {
    let ready = client.get(path(server, "/readyz")).timeout(PATIENCE).send().await;
    let ready = ready.with_context(|| format!("no server answers at {server}"))?;
    let state = match ready.status() {
        StatusCode::OK => "ready".to_owned(),
        _ => format!("not ready: {}", ready.text().await?.trim()),
    };
    let asked = client.get(path(server, "/v1/status")).timeout(PATIENCE);
    let asked = with_token(server, asked, None)?.send().await?;
    // The collector has no state beyond its metrics.
    let told: Value = match asked.status() {
        StatusCode::OK => asked.json().await?,
        StatusCode::NOT_FOUND => Value::Null,
        refused => anyhow::bail!("{server} answers {refused}: {}", asked.text().await?.trim()),
    };
    let name = told["part"].as_str().unwrap_or(name).to_owned();
    if name == PipelineStatus::PART {
        let unknown = || format!("{server} is a pipeline of another version");
        status.pipelines.push(serde_json::from_value(told).with_context(unknown)?);
    } else if name == "query" {
        let unknown = || format!("{server} is a query server of another version");
        let LakeStatus { lake, tables } = serde_json::from_value(told).with_context(unknown)?;
        status.lake = Some(lake);
        status.tables = tables;
        let (client, server) = (client.clone(), server.to_owned());
        let asked = Source::Server { client, server, token_file: None };
        match (asked.rows(RECEIPTS).await, asked.rows(&pending_sql(config)).await) {
            (Ok(receipts), Ok(waiting)) => {
                status.settled = settled(&receipts);
                status.pending_repairs = pending(&waiting);
            }
            (Err(error), _) | (_, Err(error)) => {
                status.notes.push(format!("pending repairs were not counted: {error:#}"));
            }
        }
    }
    status.parts.push(Part { name, server: server.to_owned(), state });
    Ok(())
}

/// Reads the lake of the configuration, where there is one.
async fn lake(config: &Config, status: &mut Status) -> anyhow::Result<()> {
    let lake = Lake::at(&config.lake(), process_environment())?;
    if lake.settings().await?.is_none() {
        return Ok(());
    }
    let tables = Source::open(config, None, None).await?;
    status.tables = lake.facts().await?;
    status.lake = Some(lake.url().to_string());
    status.settled = settled(&tables.rows(RECEIPTS).await?);
    status.pending_repairs = pending(&tables.rows(&pending_sql(config)).await?);
    Ok(())
}
