//! `footfall erase`: asks the pipeline for an erasure and waits for the proof, or checks one.

mod check;

use std::time::Duration;

use anyhow::Context;
use footfall_pipeline::Erasure;
use reqwest::Client;
use serde_json::{Value, json};

use crate::arguments::EraseArguments;
use crate::config::Config;
use crate::exit::CalledWrongly;
use crate::server::{path, send, url_of};

/// How often to ask whether it is done.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Erases a visitor, or checks that one was.
///
/// # Errors
/// When no pipeline answers or it refuses; when a check finds anything.
pub async fn run(config: &Config, arguments: &EraseArguments) -> anyhow::Result<()> {
    let server = server(config, arguments)?;
    if let Some(proof) = &arguments.check {
        return check::run(config, server.as_deref(), proof, &arguments.visitor).await;
    }
    let missing = || {
        let listen = &config.pipeline.listen;
        CalledWrongly(format!(
            "pipeline.listen is `{listen}`: say --server URL, as the start printed it"
        ))
    };
    let server = server.ok_or_else(missing)?;
    let site = arguments.site.clone().unwrap_or_default();
    let asked = json!({ "site": site, "visitor": arguments.visitor });
    let client = Client::new();
    let answer = send(&server, client.post(path(&server, "/v1/erasures")).json(&asked)).await;
    let answer = answer.with_context(|| {
        "the erasure was not taken: it needs `footfall up` or `footfall pipeline` to run, which \
         --server names"
    })?;
    let answer: Value = answer.json().await?;
    let id = answer["id"].as_str().context("the server answers without an id")?.to_owned();
    if arguments.no_wait {
        println!("{id}");
        return Ok(());
    }
    eprintln!("erasure {id} is kept, and is carried out whether this command waits or not");
    let proof = wait(&client, &server, &id).await?;
    println!("{}", serde_json::to_string_pretty(&proof)?);
    Ok(())
}

async fn wait(client: &Client, server: &str, id: &str) -> anyhow::Result<Erasure> {
    loop {
        let asked = client.get(path(server, &format!("/v1/erasures/{id}")));
        let erasure: Erasure = send(server, asked).await?.json().await?;
        if erasure.is_done() {
            return Ok(erasure);
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

/// The pipeline to ask; `None` where the configuration does not tell its port.
fn server(config: &Config, arguments: &EraseArguments) -> anyhow::Result<Option<String>> {
    if let Some(server) = &arguments.server {
        return Ok(Some(server.clone()));
    }
    Ok(url_of(&config.pipeline.listen, config.pipeline.tls.is_some()))
}
