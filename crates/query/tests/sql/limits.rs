//! The bounds of a query, what is answered at each, and what is counted.

use std::time::Duration;

use footfall_query::QuerySettings;
use serde_json::json;

use crate::service::Service;

const ENDLESS: &str = "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)";
const RUNNING: &str = "footfall_queries_running";

fn settings() -> QuerySettings {
    QuerySettings { threads: 2, ..QuerySettings::default() }
}

fn outcome(label: &str) -> String {
    format!("footfall_queries_total{{outcome=\"{label}\"}}")
}

#[tokio::test]
async fn a_long_query_ends_at_the_time_limit() {
    let time_max = Duration::from_millis(300);
    let service = Service::start_with(QuerySettings { time_max, ..settings() }).await;
    let (status, error) = service.error(ENDLESS).await;
    assert_eq!((status, &error["code"]), (422, &json!("timeout")));
    assert_eq!(error["message"], "the query took longer than the limit of 0.3 s");
    service.wait_for_metric(RUNNING, 0.0).await;
    assert_eq!(service.metric(&outcome("timeout")).await, 1.0);
    assert_eq!(service.rows("SELECT 1").await, json!([[1]]));
}

#[tokio::test]
async fn a_large_query_ends_at_the_memory_limit() {
    let small = QuerySettings {
        memory_bytes_max: 16 * 1024 * 1024,
        spill_bytes_max: 1024 * 1024,
        ..settings()
    };
    let service = Service::start_with(small).await;
    let large = "FROM generate_series(1, 5000000)";
    for sql in [
        format!("SELECT value % 4999999 AS v, count(*) {large} GROUP BY v"),
        format!("SELECT value, md5(CAST(value AS TEXT)) AS s {large} ORDER BY s"),
        format!("SELECT array_agg(CAST(value AS TEXT)) {large}"),
        // The answer itself counts too.
        "SELECT repeat('x', 1000) FROM generate_series(1, 100000)".to_owned(),
    ] {
        let (status, error) = service.error(&sql).await;
        assert_eq!((status, &error["code"]), (422, &json!("memory")), "{sql}: {error}");
    }
    assert_eq!(service.metric(&outcome("memory")).await, 4.0);
    assert_eq!(service.rows("SELECT count(*) FROM generate_series(1, 10)").await, json!([[10]]));
}

#[tokio::test]
async fn a_sort_beyond_memory_goes_to_disk() {
    let spill_folder = tempfile::tempdir().unwrap();
    std::fs::write(spill_folder.path().join("left-over"), "by a process that was killed").unwrap();
    let small = QuerySettings {
        memory_bytes_max: 32 * 1024 * 1024,
        spill_folder: Some(spill_folder.path().to_owned()),
        ..settings()
    };
    let service = Service::start_with(small).await;
    let sql = "SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY s) AS n FROM \
               (SELECT md5(CAST(value AS TEXT)) AS s FROM generate_series(1, 1000000)))";
    assert_eq!(service.rows(sql).await, json!([[1_000_000]]));
    assert!(!spill_folder.path().join("left-over").exists());
}

#[tokio::test]
async fn an_answer_is_whole_or_an_error() {
    let service = Service::start_with(QuerySettings { rows_max: 10, ..settings() }).await;
    let (status, error) = service.error("SELECT * FROM generate_series(1, 11)").await;
    assert_eq!((status, &error["code"]), (422, &json!("rows")));
    assert_eq!(error["message"], "the answer has more than 10 rows, which is the limit");
    assert!(error["hint"].as_str().unwrap().contains("LIMIT 10"));
    let whole = service.rows("SELECT * FROM generate_series(1, 11) LIMIT 10").await;
    assert_eq!(whole.as_array().unwrap().len(), 10);
    assert_eq!(service.metric(&outcome("rows")).await, 1.0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let time_max = Duration::from_secs(3);
    let service = Service::start_with(QuerySettings { time_max, ..settings() }).await;
    let large = "SELECT repeat('x', 200) FROM generate_series(1, 200000)";
    let request = service.client.post(format!("{}/v1/sql", service.url)).body(large);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    service.wait_for_metric(RUNNING, 0.0).await;
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn a_query_too_many_is_told_when_to_come_again() {
    let service = Service::start_with(QuerySettings { concurrency_max: 1, ..settings() }).await;
    let request = service.client.post(format!("{}/v1/sql", service.url)).body(ENDLESS);
    let endless = tokio::spawn(request.send());
    service.wait_for_metric(RUNNING, 1.0).await;

    let request = service.client.post(format!("{}/v1/sql", service.url)).body("SELECT 1");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(service.metric(&outcome("busy")).await, 1.0);

    // A client that goes away frees its slot.
    endless.abort();
    service.wait_for_metric(RUNNING, 0.0).await;
    service.wait_for_metric(&outcome("cancelled"), 1.0).await;
    assert_eq!(service.rows("SELECT 1").await, json!([[1]]));
}

#[tokio::test]
async fn a_waiting_query_runs_when_a_slot_is_free() {
    let service = Service::start_with(QuerySettings { concurrency_max: 1, ..settings() }).await;
    let (a, b) = tokio::join!(service.rows("SELECT 1"), service.rows("SELECT 2"));
    assert_eq!((a, b), (json!([[1]]), json!([[2]])));
}

#[tokio::test]
async fn metrics_move_to_known_values() {
    let service = Service::start().await;
    assert_eq!(service.metric(&outcome("ok")).await, 0.0);
    service.rows("SELECT * FROM generate_series(1, 7)").await;
    service.rows("SELECT 1").await;
    service.error("SELECT nothing FROM events").await;
    assert_eq!(service.metric(&outcome("ok")).await, 2.0);
    assert_eq!(service.metric(&outcome("bad_query")).await, 1.0);
    assert_eq!(service.metric("footfall_query_rows_total").await, 8.0);
    assert_eq!(service.metric("footfall_query_seconds_count").await, 3.0);
    service.wait_for_metric(RUNNING, 0.0).await;
}
