//! `footfall sql`: questions of the lake or of a running server. The shell that asks one after the other
//! is left to `shell`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use footfall_lake::Lake;
use footfall_query::{Engine, Format, Metrics, QueryError, report, write};
use prometheus::Registry;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::config::{Config, process_environment};
use crate::server::{TOKEN_VARIABLE, path, with_token};
use crate::settings::query_settings;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    Table,
    Csv,
    Json,
    Jsonl,
    Arrow,
    Parquet,
}

impl SqlFormat {
    const fn format(self) -> Format {
        match self {
            SqlFormat::Table => Format::Table,
            SqlFormat::Csv => Format::Csv,
            SqlFormat::Json => Format::Json,
            SqlFormat::Jsonl => Format::JsonLines,
            SqlFormat::Arrow => Format::Arrow,
            SqlFormat::Parquet => Format::Parquet,
        }
    }

    /// # Errors
    /// When it is no text, and rows would go to a terminal.
    pub fn require_no_terminal(self) -> anyhow::Result<()> {
        let is_text = !matches!(self, SqlFormat::Arrow | SqlFormat::Parquet);
        if is_text || !std::io::stdout().is_terminal() {
            return Ok(());
        }
        bail!(
            "{} is not for terminals: redirect it to a file, or name one by `\\o FILE` in the shell",
            self.format().name()
        )
    }
}

/// Who is asked.
pub enum Source {
    Lake(Engine),
    /// The token is taken from the file, else from the environment: what stands on the command line, other
    /// users of the machine see.
    Server {
        client: Client,
        server: String,
        token_file: Option<PathBuf>,
    },
}

impl Source {
    /// The server, where one is named; else the lake of the configuration.
    ///
    /// # Errors
    /// When there is no lake.
    pub async fn open(
        config: &Config,
        server: Option<String>,
        token_file: Option<PathBuf>,
    ) -> anyhow::Result<Source> {
        if let Some(server) = server {
            return Ok(Source::Server { client: Client::new(), server, token_file });
        }
        let lake = Lake::at(&config.lake(), process_environment())?;
        if lake.settings().await?.is_none() {
            bail!(
                "there is no lake at {}; start one with `footfall up`, name its --data-dir or --lake, or ask \
                 a --server",
                config.lake()
            );
        }
        let metrics = Metrics::new(&Registry::new())?;
        Ok(Source::Lake(Engine::open(lake, query_settings(config)?, metrics)?))
    }

    /// Asks, and writes the rows to `out` as they come.
    ///
    /// # Errors
    /// What is wrong with the question or the token; a server that does not answer.
    pub async fn ask(
        &self,
        statement: &str,
        format: SqlFormat,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        match self {
            Source::Lake(engine) => {
                let told = |error: QueryError| anyhow!(error.report());
                let rows = engine.sql(statement).await.map_err(told)?;
                write(rows, format.format(), out).await.map_err(told)
            }
            Source::Server { client, server, .. } => {
                let url = path(server, &format!("/v1/sql?format={}", format.format().name()));
                let request = client.post(&url).body(statement.to_owned());
                let mut answer = self.send(server, request).await?;
                while let Some(bytes) = answer.chunk().await.context("the answer was cut off")? {
                    out.write_all(&bytes)?;
                }
                Ok(out.flush()?)
            }
        }
    }

    /// The rows of an answer, each an array of its values.
    ///
    /// # Errors
    /// As [`Source::ask`].
    pub async fn rows(&self, statement: &str) -> anyhow::Result<Vec<Value>> {
        let mut json = Vec::new();
        self.ask(statement, SqlFormat::Json, &mut json).await?;
        let mut answer: Value = serde_json::from_slice(&json)?;
        Ok(answer["rows"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Tables, views and functions, as `GET /v1/tables` lists them.
    ///
    /// # Errors
    /// A lake that cannot be read, a server that does not answer.
    pub async fn listing(&self) -> anyhow::Result<Value> {
        match self {
            Source::Lake(engine) => Ok(engine.listing().await?),
            Source::Server { client, server, .. } => {
                let request = client.get(path(server, "/v1/tables"));
                Ok(self.send(server, request).await?.json().await?)
            }
        }
    }

    async fn send(&self, server: &str, request: RequestBuilder) -> anyhow::Result<Response> {
        let token_file = match self {
            Source::Server { token_file, .. } => token_file.as_deref(),
            Source::Lake(_) => None,
        };
        let answer = with_token(server, request, token_file)?.send().await;
        let answer = answer.with_context(|| format!("no server answers at {server}"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = refusal(&answer.bytes().await?);
        if status == StatusCode::UNAUTHORIZED {
            bail!("{said}\nhint: put it into {TOKEN_VARIABLE}, or into a file for --token-file");
        }
        bail!("{said}")
    }
}

/// A server's error as it is told for the lake: the same report of the same parts. What is no such
/// error (a proxy's page) is told as it came.
fn refusal(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
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
