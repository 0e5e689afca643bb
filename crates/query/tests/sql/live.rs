//! The live tables from pipelines that answer well, badly, or not at all. That the pipeline's own answers
//! are right is left to the end-to-end tests.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::ipc::writer::StreamWriter;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use footfall_event::schema::LiveTable;
use footfall_query::{Pipelines, QuerySettings};
use serde_json::json;
use tokio::net::TcpListener;

use crate::service::Service;

/// What a pipeline answers, and what it was asked.
#[derive(Clone)]
struct Pipeline {
    status: StatusCode,
    /// The headers on partitions.
    partitions: (String, String),
    body: Vec<u8>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Pipeline {
    /// One that folds `partitions` of `count`, with a live session of each of `sites`.
    fn of(partitions: &str, count: u32, sites: &[&str]) -> Pipeline {
        Pipeline {
            status: StatusCode::OK,
            partitions: (partitions.to_owned(), count.to_string()),
            body: stream(LiveTable::Sessions, sites),
            asked: Arc::default(),
        }
    }

    fn refusing(status: StatusCode, message: &str) -> Pipeline {
        Pipeline { status, body: message.into(), ..Pipeline::of("0", 1, &[]) }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(pipeline): State<Pipeline>, request: Request) -> Response {
    let token = request.headers().get("authorization").map(|token| token.to_str().unwrap());
    let asked = format!("{} {}", request.uri(), token.unwrap_or("-"));
    pipeline.asked.lock().unwrap().push(asked);
    let (partitions, count) = pipeline.partitions;
    let head = [("footfall-partitions", partitions), ("footfall-partition-count", count)];
    (pipeline.status, head, pipeline.body).into_response()
}

fn stream(table: LiveTable, sites: &[&str]) -> Vec<u8> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "site" => Arc::new(StringArray::from(sites.to_vec())) as ArrayRef,
        _ => new_null_array(field.data_type(), sites.len()),
    });
    let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

async fn service(urls: Vec<String>) -> Service {
    let pipelines = Pipelines { urls, token: Some("fr_live".to_owned()) };
    let settings = QuerySettings { threads: 2, pipelines, ..QuerySettings::default() };
    Service::start_with(settings).await
}

/// The status and message of a question that the pipelines do not answer.
async fn told(pipelines: &[Pipeline]) -> (u16, String) {
    let mut urls = Vec::new();
    for pipeline in pipelines {
        urls.push(pipeline.start().await);
    }
    let (status, error) = service(urls).await.error("SELECT count(*) FROM live_sessions").await;
    (status, error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_rows_are_those_of_all_pipelines() {
    let (one, two) = (Pipeline::of("0,2", 3, &["a", "b"]), Pipeline::of("1", 3, &["b"]));
    let service = service(vec![one.start().await, two.start().await]).await;
    let rows = service.rows("SELECT site, count(*) FROM live_sessions GROUP BY 1 ORDER BY 1").await;
    assert_eq!(rows, json!([["a", 1], ["b", 2]]));
    assert_eq!(one.asked(), ["/v1/live/sessions Bearer fr_live"]);
    let rows = service.rows("SELECT count(*) FROM live_sessions LIMIT 1").await;
    assert_eq!(rows, json!([[3]]));
}

#[tokio::test]
async fn a_site_and_a_visitor_are_asked_for_and_still_checked_here() {
    let pipeline = Pipeline::of("0", 1, &["a", "b & c"]);
    let service = service(vec![pipeline.start().await]).await;
    let found = "SELECT count(*) FROM live_sessions WHERE site = 'b & c'";
    assert_eq!(service.rows(found).await, json!([[1]]));
    let none =
        "SELECT count(*) FROM live_sessions WHERE 'v' = visitor_id AND site = 'a' AND bot IS NULL";
    assert_eq!(service.rows(none).await, json!([[0]]));
    let other = "SELECT count(*) FROM live_sessions WHERE site <> 'a' OR site IN ('a')";
    assert_eq!(service.rows(other).await, json!([[2]]));
    let asked = pipeline.asked();
    assert_eq!(asked[0], "/v1/live/sessions?site=b+%26+c Bearer fr_live");
    assert_eq!(asked[1], "/v1/live/sessions?site=a&visitor_id=v Bearer fr_live");
    assert_eq!(asked[2], "/v1/live/sessions Bearer fr_live");
}

#[tokio::test]
async fn without_pipelines_the_tables_are_there_and_say_which_key_names_them() {
    let service = Service::start().await;
    let columns = service
        .rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'live_needs'")
        .await;
    assert_eq!(columns.as_array().unwrap().len(), LiveTable::Needs.schema().fields().len());
    let (status, error) = service.error("SELECT * FROM live_needs").await;
    let message = error["message"].as_str().unwrap();
    assert!(status == 503 && message.contains("`query.pipelines`"), "{status} {message}");
}

#[tokio::test]
async fn an_answer_without_each_partition_once_is_none() {
    let (status, message) = told(&[Pipeline::of("0,2", 3, &["a"])]).await;
    assert!(status == 503 && message.contains("partition 1 of the log"), "{message}");
    let (_, message) = told(&[Pipeline::of("", 1, &[])]).await;
    assert!(message.contains("partition 0 of the log is folded by none"), "{message}");
    let (_, message) = told(&[Pipeline::of("0", 1, &["a"]), Pipeline::of("0", 1, &["a"])]).await;
    assert!(message.contains("at once"), "{message}");
}

#[tokio::test]
async fn what_a_pipeline_refuses_is_told_with_its_name_and_a_way_out() {
    let (status, message) = told(&[Pipeline::refusing(StatusCode::UNAUTHORIZED, "no")]).await;
    assert!(status == 503 && message.contains("`query.pipelines_token_file`"), "{message}");
    let (status, message) =
        told(&[Pipeline::refusing(StatusCode::SERVICE_UNAVAILABLE, "busy")]).await;
    assert!(status == 503 && message.contains("busy") && message.contains("http://"), "{message}");
    let many = Pipeline::refusing(StatusCode::UNPROCESSABLE_ENTITY, "too many rows");
    let service = service(vec![many.start().await]).await;
    let (status, error) = service.error("SELECT * FROM live_sessions").await;
    assert_eq!((status, &error["code"]), (400, &json!("bad_query")));
    assert!(error["hint"].as_str().unwrap().contains("visitor_id"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_another_table_is_none() {
    let whole = Pipeline::of("0", 1, &["a"; 100]);
    let mut cut = whole.clone();
    cut.body.truncate(whole.body.len() / 2);
    let (status, message) = told(&[cut]).await;
    assert!(status == 503 && message.contains("the answer of http://"), "{message}");
    let other = Pipeline { body: stream(LiveTable::Needs, &["a"]), ..whole.clone() };
    let (_, message) = told(&[other]).await;
    assert!(message.contains("no pipeline of this version"), "{message}");
    let page = Pipeline { partitions: ("all".to_owned(), String::new()), ..whole };
    let (_, message) = told(&[page]).await;
    assert!(message.contains("no pipeline of this version"), "{message}");
}

#[tokio::test]
async fn a_pipeline_that_is_away_or_silent_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = service(vec![url.clone()]).await;
    let (status, error) = silent.error("SELECT * FROM live_sessions").await;
    let message = error["message"].as_str().unwrap();
    assert!(
        status == 503 && message.contains(&format!("{url} does not answer within 2s")),
        "{message}"
    );
    drop(listener);
    let (_, error) = silent.error("SELECT * FROM live_sessions WHERE visitor_id = 'secret'").await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("{url} does not answer: ")), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn live_rows_count_for_the_memory_of_queries() {
    let sites = vec!["a-site-with-a-long-name"; 200_000];
    let pipeline = Pipeline::of("0", 1, &sites);
    let pipelines = Pipelines { urls: vec![pipeline.start().await], token: None };
    let memory_bytes_max = 16 * 1024 * 1024;
    let small =
        QuerySettings { threads: 2, memory_bytes_max, pipelines, ..QuerySettings::default() };
    let small = Service::start_with(small).await;
    let (status, error) = small.error("SELECT count(DISTINCT site) FROM live_sessions").await;
    assert_eq!((status, &error["code"]), (422, &json!("memory")), "{error}");
}
