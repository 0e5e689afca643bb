//! A lake in a temporary folder and a server over it. Rows are given as JSON lines.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::json::ReaderBuilder;
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use footfall_event::schema::Table;
use footfall_guard::Guard;
use footfall_lake::Lake;
use footfall_query::{Engine, Metrics, QuerySettings, serve};
use prometheus::Registry;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Rows of one commit.
const ROWS_MAX: usize = 1 << 20;
/// How long a metric may take to reach a value; far longer than any takes.
const METRIC_TIME_MAX: Duration = Duration::from_secs(60);

pub struct Service {
    pub folder: tempfile::TempDir,
    pub lake: Lake,
    pub url: String,
    pub client: reqwest::Client,
    shutdown: CancellationToken,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Service {
    pub async fn start() -> Service {
        Service::start_with(QuerySettings { threads: 2, ..QuerySettings::default() }).await
    }

    pub async fn start_with(settings: QuerySettings) -> Service {
        Service::start_guarded(settings, Guard::default()).await
    }

    pub async fn start_guarded(settings: QuerySettings, guard: Guard) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(folder.path().to_str().unwrap(), Vec::new()).unwrap();
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let engine = Arc::new(Engine::open(lake.clone(), settings, metrics).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, engine, guard, registry, shutdown.clone()));
        Service { folder, lake, url, client: reqwest::Client::new(), shutdown }
    }

    /// One commit of `lines` to `table`, which is made if it is missing.
    pub async fn commit(&self, table: Table, lines: &str) {
        let mut delta = match self.lake.table(table).await.unwrap() {
            Some(delta) => delta,
            None => {
                let columns: StructType = table.schema().as_ref().try_into_kernel().unwrap();
                CreateBuilder::new()
                    .with_location(self.lake.table_url(table).as_str())
                    .with_columns(columns.fields().cloned())
                    .with_partition_columns([table.partition_column()])
                    .await
                    .unwrap()
            }
        };
        let mut writer = RecordBatchWriter::for_table(&delta).unwrap();
        writer.write(rows(table, lines)).await.unwrap();
        writer.flush_and_commit(&mut delta).await.unwrap();
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let request = self.client.post(format!("{}{path}", self.url)).body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The rows of the answer; the statement must succeed.
    pub async fn rows(&self, sql: &str) -> Value {
        let (status, body) = self.post("/v1/sql", sql).await;
        assert_eq!(status, 200, "{sql}: {body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        answer["rows"].take()
    }

    /// The status and the error of the answer; the statement must fail.
    pub async fn error(&self, sql: &str) -> (u16, Value) {
        let (status, body) = self.post("/v1/sql", sql).await;
        assert_ne!(status, 200, "{sql}: {body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        (status, answer["error"].take())
    }

    /// The value of a line of `/metrics`.
    pub async fn metric(&self, line: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
    }

    pub async fn wait_for_metric(&self, line: &str, value: f64) {
        let reached = async {
            while self.metric(line).await != value {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(METRIC_TIME_MAX, reached).await;
        assert!(waited.is_ok(), "{line} is not {value} within {METRIC_TIME_MAX:?}");
    }
}

/// Rows of a table as JSON lines have them.
pub fn rows(table: Table, lines: &str) -> RecordBatch {
    let mut decoder =
        ReaderBuilder::new(table.schema()).with_batch_size(ROWS_MAX).build_decoder().unwrap();
    let decoded = decoder.decode(lines.as_bytes()).unwrap();
    assert_eq!(decoded, lines.len());
    decoder.flush().unwrap().unwrap()
}
