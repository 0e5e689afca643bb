//! The lake's rows for other commands: of a running query server, or of the lake itself.

use anyhow::bail;
use footfall_lake::Lake;
use footfall_query::{Engine, Format, Metrics};
use prometheus::Registry;
use reqwest::Client;
use serde_json::Value;

use crate::config::{Config, process_environment};
use crate::server::{path, send};
use crate::settings::query_settings;

/// Who is asked.
pub enum Tables {
    Server { client: Client, server: String },
    Lake(Engine),
}

impl Tables {
    /// The server, where one is named; else the lake of the configuration.
    ///
    /// # Errors
    /// When there is no lake.
    pub async fn open(config: &Config, server: Option<&str>) -> anyhow::Result<Tables> {
        if let Some(server) = server {
            return Ok(Tables::Server { client: Client::new(), server: server.to_owned() });
        }
        let lake = Lake::at(&config.lake(), process_environment())?;
        if lake.settings().await?.is_none() {
            bail!(
                "there is no lake at {}; name its --data-dir or --lake, or ask a --server",
                config.lake()
            );
        }
        let metrics = Metrics::new(&Registry::new())?;
        Ok(Tables::Lake(Engine::open(lake, query_settings(config), metrics)?))
    }

    /// The rows of an answer, each an array of its values.
    ///
    /// # Errors
    /// A server that does not answer, a lake that cannot be read, a bound that is reached.
    pub async fn rows(&self, statement: &str) -> anyhow::Result<Vec<Value>> {
        let mut answer: Value = match self {
            Tables::Server { client, server } => {
                let url = path(server, "/v1/sql?format=json");
                let request = client.post(url).body(statement.to_owned());
                send(server, request).await?.json().await?
            }
            Tables::Lake(engine) => {
                let answer = engine.sql(statement).await?;
                let mut json = Vec::new();
                let (schema, batches) = (answer.schema().clone(), answer.batches());
                footfall_query::write(&schema, batches, Format::Json, &mut json)?;
                serde_json::from_slice(&json)?
            }
        };
        Ok(answer["rows"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }
}
