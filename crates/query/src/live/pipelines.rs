//! Asks the pipelines that the configuration names, all at once, and requires that together they fold each
//! partition of the log once: an answer without one would look whole.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamDecoder;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use footfall_event::schema::{LiveTable, PARTITION_COUNT_HEADER, PARTITIONS_HEADER};
use futures::future::try_join_all;
use reqwest::{Client, Response, StatusCode, redirect};

use crate::QueryError;

/// From the question to the last row.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest message of a pipeline that is repeated, in bytes.
const TOLD_BYTES_MAX: usize = 512;

/// Where the live tables are asked for.
#[derive(Clone, Default)]
pub struct Pipelines {
    /// As `http://host:port` or `https://host:port`. Empty: the live tables cannot be read.
    pub urls: Vec<String>,
    /// A read token that they take, where they ask for one.
    pub token: Option<String>,
}

/// Without the token.
impl std::fmt::Debug for Pipelines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pipelines").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// Which rows are wanted; of all sites and visitors where nothing is said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Narrowed {
    pub(crate) site: Option<String>,
    pub(crate) visitor_id: Option<String>,
}

/// The rows of one pipeline, and the memory that they take.
pub(crate) struct Answer {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) memory: MemoryReservation,
    partitions: Vec<u32>,
    partition_count: u32,
}

/// Asks pipelines.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pipelines: Arc<Pipelines>,
    /// `None` where nobody is asked: it reads all certificates that the system trusts.
    client: Option<Client>,
}

impl Asker {
    /// # Errors
    /// When the system's certificates cannot be read.
    pub(crate) fn new(pipelines: Pipelines) -> Result<Asker, reqwest::Error> {
        let client = || {
            Client::builder()
                // What a pipeline held open before it was started again would fail the next query.
                .pool_max_idle_per_host(0)
                .redirect(redirect::Policy::none())
                .build()
        };
        let client = (!pipelines.urls.is_empty()).then(client).transpose()?;
        Ok(Asker { pipelines: Arc::new(pipelines), client })
    }

    /// The rows of all pipelines, in the order in which they are named.
    ///
    /// # Errors
    /// `Live` where one does not answer, or a partition is nobody's; `Statement` where more rows are live
    /// than a pipeline gives; `ResourcesExhausted`.
    pub(crate) async fn ask(
        &self,
        table: LiveTable,
        narrowed: &Narrowed,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Vec<Answer>, DataFusionError> {
        let urls = &self.pipelines.urls;
        let Some(client) = &self.client else {
            return Err(live(format!(
                "{} is held by pipelines, and none is named: set `query.pipelines` to their URLs, such as \
                 http://127.0.0.1:8082",
                table.name()
            )));
        };
        let asked = urls.iter().map(|url| async move {
            let answer = self.ask_one(client, url, table, narrowed, pool);
            let slow = |_| live(format!("{url} does not answer within {ANSWER_TIME_MAX:?}"));
            tokio::time::timeout(ANSWER_TIME_MAX, answer).await.map_err(slow)?
        });
        let answers = try_join_all(asked).await?;
        require_all(urls, &answers)?;
        Ok(answers)
    }

    async fn ask_one(
        &self,
        client: &Client,
        url: &str,
        table: LiveTable,
        narrowed: &Narrowed,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Answer, DataFusionError> {
        let mut request = client.get(format!("{url}{}", table.path()));
        for (name, value) in [("site", &narrowed.site), ("visitor_id", &narrowed.visitor_id)] {
            if let Some(value) = value {
                request = request.query(&[(name, value)]);
            }
        }
        if let Some(token) = &self.pipelines.token {
            request = request.bearer_auth(token);
        }
        let failed =
            |error: reqwest::Error| live(format!("{url} does not answer: {}", told(error)));
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(refused(url, response).await);
        }
        let other = || live(format!("{url} is no pipeline of this version of Footfall"));
        let (partitions, partition_count) = partitions(&response).ok_or_else(other)?;
        let memory = MemoryConsumer::new(format!("live rows of {url}")).register(pool);
        let (mut decoder, mut batches) = (StreamDecoder::new(), Vec::new());
        let unreadable = |error: ArrowError| live(format!("the answer of {url}: {error}"));
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            memory.try_grow(piece.len())?;
            let mut piece = Buffer::from(piece);
            while !piece.is_empty() {
                batches.extend(decoder.decode(&mut piece).map_err(unreadable)?);
            }
        }
        decoder.finish().map_err(unreadable)?;
        if decoder.schema().is_none_or(|schema| schema != table.schema()) {
            return Err(other());
        }
        Ok(Answer { batches, memory, partitions, partition_count })
    }
}

fn partitions(response: &Response) -> Option<(Vec<u32>, u32)> {
    let header = |name| response.headers().get(name)?.to_str().ok();
    let numbers = header(PARTITIONS_HEADER)?.split(',').filter(|number| !number.is_empty());
    let partitions: Result<Vec<u32>, _> = numbers.map(str::parse).collect();
    Some((partitions.ok()?, header(PARTITION_COUNT_HEADER)?.parse().ok()?))
}

/// Each partition of the log must be folded by one of the pipelines, and by one alone.
fn require_all(urls: &[String], answers: &[Answer]) -> Result<(), DataFusionError> {
    let count = answers.iter().map(|answer| answer.partition_count).max().unwrap_or(0);
    for partition in 0..count {
        let has_it = |(_, answer): &(&String, &Answer)| answer.partitions.contains(&partition);
        let owners: Vec<&str> =
            urls.iter().zip(answers).filter(has_it).map(|(url, _)| url.as_str()).collect();
        match owners.as_slice() {
            [_] => {}
            [] => {
                return Err(live(format!(
                    "partition {partition} of the log is folded by none of {}: it is being moved, or \
                     `query.pipelines` does not name all pipelines",
                    urls.join(", ")
                )));
            }
            owners => {
                let owners = owners.join(" and ");
                return Err(live(format!(
                    "partition {partition} of the log is folded by {owners} at once: it is being moved, or \
                     `query.pipelines` names one twice"
                )));
            }
        }
    }
    Ok(())
}

async fn refused(url: &str, response: Response) -> DataFusionError {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    let body = body.trim();
    let message = &body[..body.floor_char_boundary(TOLD_BYTES_MAX)];
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        let hint = "add WHERE site = '…', or WHERE site = '…' AND visitor_id = '…'".to_owned();
        let message = format!("{url}: {message}");
        return external(QueryError::Statement { message, place: None, hint: Some(hint) });
    }
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return live(format!(
            "{url} refuses this server, which needs a read token of its own: \
             `query.pipelines_token_file` names the file that holds it"
        ));
    }
    live(format!("{url} answers {status}: {message}"))
}

/// The innermost cause: the outer ones repeat the URL, which may name a visitor.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn live(reason: String) -> DataFusionError {
    external(QueryError::Live { reason })
}

fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
