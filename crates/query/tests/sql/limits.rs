//! The bounds of a query, what is answered at each, and what is counted.

use std::time::Duration;

use footfall_query::QuerySettings;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

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
    ] {
        let (status, error) = service.error(&sql).await;
        assert_eq!((status, &error["code"]), (422, &json!("memory")), "{sql}: {error}");
    }
    assert_eq!(service.metric(&outcome("memory")).await, 3.0);
    // An answer may be longer than the memory: its rows are made as they are taken.
    let long = "SELECT repeat('x', 1000) AS x FROM generate_series(1, 100000)";
    let (status, body) = service.post("/v1/sql?format=csv", long).await;
    assert_eq!((status, body.lines().count()), (200, 100_001));
    assert_eq!(service.rows("SELECT count(*) FROM generate_series(1, 10)").await, json!([[10]]));
}

#[tokio::test]
async fn rows_that_window_functions_hold_count() {
    let small = QuerySettings { memory_bytes_max: 16 * 1024 * 1024, ..settings() };
    let service = Service::start_with(small).await;
    let sum = |frame: &str, rows: usize| {
        format!(
            "SELECT count(s) FROM (SELECT sum(value) OVER ({frame}) AS s \
             FROM generate_series(1, {rows}))"
        )
    };
    for frame in [
        "",
        "ORDER BY 1",
        "ORDER BY value ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        "ORDER BY value ROWS BETWEEN 4000000 PRECEDING AND CURRENT ROW",
        "ORDER BY value ROWS BETWEEN CURRENT ROW AND 4000000 FOLLOWING",
        "ORDER BY value RANGE BETWEEN 4000000 PRECEDING AND CURRENT ROW",
    ] {
        let (status, error) = service.error(&sum(frame, 5_000_000)).await;
        assert_eq!((status, &error["code"]), (422, &json!("memory")), "{frame}: {error}");
    }
    // What is let go does not count, and what was held is given back.
    for frame in ["ORDER BY value", "ORDER BY value ROWS BETWEEN 10 PRECEDING AND 10 FOLLOWING"] {
        assert_eq!(service.rows(&sum(frame, 2_000_000)).await, json!([[2_000_000]]), "{frame}");
    }
    assert_eq!(service.rows(&sum("", 100_000)).await, json!([[100_000]]));
}

#[tokio::test]
async fn a_function_makes_no_value_beyond_its_bound() {
    let small = QuerySettings { memory_bytes_max: 16 * 1024 * 1024, ..settings() };
    let service = Service::start_with(small).await;
    let rows = "FROM generate_series(1, 10000)";
    let few = "FROM generate_series(1, 1000)";
    for (name, sql) in [
        ("range", "SELECT array_length(range(0, 1000000))".to_owned()),
        ("range", format!("SELECT max(array_length(range(value, 100000))) {rows}")),
        ("generate_series", "SELECT array_length(generate_series(0, 1000000, 2))".to_owned()),
        (
            "generate_series",
            "SELECT array_length(generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2027-01-01', \
             INTERVAL '1 minute'))"
                .to_owned(),
        ),
        ("repeat", "SELECT length(repeat('x', 1000000))".to_owned()),
        ("repeat", format!("SELECT max(length(repeat('x', value))) {rows}")),
        ("lpad", "SELECT length(lpad('x', 1000000))".to_owned()),
        ("rpad", format!("SELECT max(length(rpad('x', 1000000 + value))) {rows}")),
        ("array_repeat", "SELECT array_length(array_repeat(1, 1000000))".to_owned()),
        ("array_resize", "SELECT array_length(array_resize([1], 1000000))".to_owned()),
        (
            "replace",
            format!(
                "SELECT max(length(replace(repeat('x', 1000), 'x', repeat('y', 1000 + value % 2)))) {few}"
            ),
        ),
        (
            "regexp_replace",
            format!(
                "SELECT max(length(regexp_replace(repeat('x', 1000), 'x', repeat('y', 1000 + value % 2), 'g'))) {few}"
            ),
        ),
        ("concat", format!("SELECT max(length(concat(repeat('x', 2000), value))) {rows}")),
        ("concat_ws", format!("SELECT max(length(concat_ws(repeat('x', 2000), value, 1))) {rows}")),
        (
            "array_to_string",
            format!(
                "SELECT max(length(array_to_string(range(value, value + 200), repeat('x', 1000)))) {few}"
            ),
        ),
    ] {
        let (status, error) = service.error(&sql).await;
        assert_eq!((status, &error["code"]), (422, &json!("memory")), "{sql}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("{name}() would make")), "{sql}: {message}");
    }
}

#[tokio::test]
async fn a_function_within_its_bound_answers_as_ever() {
    let small = QuerySettings { memory_bytes_max: 16 * 1024 * 1024, ..settings() };
    let service = Service::start_with(small).await;
    let rows = service
        .rows(
            "SELECT lpad('7', 3, '0'), repeat('ab', 2), range(0, 6, 2), range(5, 0), \
             array_length(generate_series(DATE '2026-01-01', DATE '2026-03-01', INTERVAL '1 month')), \
             concat('a', NULL, 'b'), replace('a-b', '-', '+'), array_to_string([1, 2], '-'), \
             repeat(NULL, 3), length(repeat('x', 2000))",
        )
        .await;
    let wanted = json!(["007", "abab", [0, 2, 4], [], 3, "ab", "a+b", "1-2", null, 2000]);
    assert_eq!(rows, json!([wanted]));
    // The longest value that could come is far longer than those that do: evaluated in pieces.
    let in_pieces = "
        SELECT count(*), count(*) FILTER (WHERE length(made) = length(text) + sevens * (length(y) - 1))
        FROM (
            SELECT text, y, replace(text, '7', y) AS made,
                length(text) - length(replace(text, '7', '')) AS sevens
            FROM (
                SELECT CAST(value AS TEXT) AS text, repeat('y', 100 + value % 2) AS y
                FROM generate_series(1, 20000)
            )
        )";
    assert_eq!(service.rows(in_pieces).await, json!([[20_000, 20_000]]));
}

#[tokio::test]
async fn a_table_for_a_terminal_is_short() {
    let service = Service::start_with(settings()).await;
    let long = "SELECT value FROM generate_series(1, 10001)";
    let wide = "SELECT repeat('x', 60000) AS x FROM generate_series(1, 500)";
    for sql in [long, wide] {
        let (status, body) = service.post("/v1/sql?format=table", sql).await;
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &answer["error"]["code"]), (422, &json!("rows")), "{sql}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("10000 rows and 16777216 bytes"), "{message}");
        assert!(answer["error"]["hint"].as_str().unwrap().contains("csv"), "{answer}");
        assert_eq!(service.post("/v1/sql?format=csv", sql).await.0, 200, "{sql}");
    }
    let (status, table) =
        service.post("/v1/sql?format=table", &format!("{long} LIMIT 10000")).await;
    assert_eq!(status, 200);
    assert!(table.ends_with("10000 rows\n"), "{}", &table[table.len() - 100..]);
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
async fn a_client_that_takes_nothing_keeps_no_connection() {
    let time_max = Duration::from_secs(3);
    let service = Service::start_with(QuerySettings { time_max, ..settings() }).await;
    let address = service.url.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let large = "SELECT repeat('x', 200) FROM generate_series(1, 200000)";
    let length = large.len();
    let request =
        format!("POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{large}");
    client.write_all(request.as_bytes()).await.unwrap();
    // Who writes to a connection that the other has closed is told, without a read.
    let closed = async {
        while client.write_all(b"\r").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(20 * time_max, closed).await.unwrap();
}

#[tokio::test]
async fn a_query_too_many_is_told_when_to_come_again() {
    let service = Service::start_with(QuerySettings {
        concurrency_max: 1,
        queue_time_max: Duration::from_millis(200),
        ..settings()
    })
    .await;
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
    let service = Service::start_with(QuerySettings {
        concurrency_max: 1,
        queue_time_max: Duration::from_millis(200),
        ..settings()
    })
    .await;
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
