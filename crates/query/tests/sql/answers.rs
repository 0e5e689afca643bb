//! What is answered: formats, freshness, views, listings.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamReader;
use footfall_event::schema::Table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::service::Service;

const EVENTS: &str = r#"
{"event_id":"e1","site":"shop","event_name":"purchase","event_time":"2026-11-22T10:00:00.000001Z","seq":9007199254740993,"value":"12.30","cls":0.5,"late":false,"items":[{"item_id":"i1","price":"1.5"}],"search_term":"a,\"b\"","event_date":"2026-11-22"}
{"event_id":"e2","site":"shop","event_name":"view_item","event_time":"2026-11-22T10:00:01Z","event_date":"2026-11-22"}
"#;

#[tokio::test]
async fn an_answer_has_the_same_values_in_all_formats() {
    let service = Service::start().await;
    service.commit(Table::Events, EVENTS).await;
    let sql = "SELECT event_id, event_time, seq, value, cls, late, items, search_term, event_date \
               FROM events ORDER BY event_id";

    let (_, body) = service.post("/v1/sql", sql).await;
    assert!(body.contains("9007199254740993,12.3000,0.5"), "digits are lost: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["row_count"], 2);
    assert_eq!(answer["columns"][0], json!({"name": "event_id", "type": "text"}));
    assert_eq!(
        answer["columns"][1],
        json!({"name": "event_time", "type": "timestamp with time zone"})
    );
    let first = &answer["rows"][0];
    assert_eq!(first[1], "2026-11-22T10:00:00.000001Z");
    assert_eq!(first[4], 0.5);
    assert_eq!(first[5], false);
    assert_eq!(first[6][0]["item_id"], "i1");
    assert_eq!(first[6][0]["item_name"], Value::Null);
    assert_eq!(first[7], "a,\"b\"");
    assert_eq!(first[8], "2026-11-22");
    assert_eq!(answer["rows"][1][2], Value::Null);

    let (_, csv) = service.post("/v1/sql?format=csv", sql).await;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "event_id,event_time,seq,value,cls,late,items,search_term,event_date");
    assert_eq!(
        lines[1],
        "e1,2026-11-22T10:00:00.000001Z,9007199254740993,12.3000,0.5,false,\
         \"[{\"\"item_id\"\":\"\"i1\"\",\"\"item_name\"\":null,\"\"item_brand\"\":null,\
         \"\"item_category\"\":null,\"\"item_variant\"\":null,\"\"price\"\":1.5000,\
         \"\"quantity\"\":null}]\",\"a,\"\"b\"\"\",2026-11-22"
    );
    assert_eq!(lines[2], "e2,2026-11-22T10:00:01.000000Z,,,,,,,2026-11-22");

    let request = service.client.post(format!("{}/v1/sql", service.url)).body(sql);
    let request = request.header("accept", "application/vnd.apache.arrow.stream");
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    let reader = StreamReader::try_new(bytes.as_ref(), None).unwrap();
    let plain = Table::Events.schema();
    for field in reader.schema().fields() {
        let wanted = plain.field_with_name(field.name()).unwrap();
        assert_eq!(field.data_type(), wanted.data_type());
    }
    let arrow: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let arrow = concat_batches(&arrow[0].schema(), &arrow).unwrap();
    assert_eq!(arrow.num_rows(), 2);

    let request = service.client.post(format!("{}/v1/sql?format=parquet", service.url)).body(sql);
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let parquet: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let parquet = concat_batches(&parquet[0].schema(), &parquet).unwrap();
    assert_eq!(parquet.columns(), arrow.columns());

    let (_, lines) = service.post("/v1/sql?format=jsonl", sql).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, row) in lines.iter().zip(answer["rows"].as_array().unwrap()) {
        for (column, value) in
            answer["columns"].as_array().unwrap().iter().zip(row.as_array().unwrap())
        {
            assert_eq!(&line[column["name"].as_str().unwrap()], value);
        }
    }
}

#[tokio::test]
async fn a_long_answer_arrives_whole_in_all_formats() {
    let service = Service::start().await;
    let sql =
        "SELECT value, CAST(value AS TEXT) AS text FROM generate_series(1, 100000) ORDER BY value";
    let rows = service.rows(sql).await;
    assert_eq!(rows.as_array().unwrap().len(), 100_000);
    assert_eq!(rows[99_999], json!([100_000, "100000"]));
    let (_, csv) = service.post("/v1/sql?format=csv", sql).await;
    assert_eq!(csv.lines().count(), 100_001);
    assert!(csv.ends_with("100000,100000\n"));
}

#[tokio::test]
async fn the_statement_may_come_as_json() {
    let service = Service::start().await;
    let (status, body) = service.post("/v1/sql", r#"{"sql": "SELECT 1 AS one"}"#).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"rows\":[\n[1]\n]"), "{body}");
    for (path, body) in [
        ("/v1/sql", r#"{"query": "SELECT 1"}"#),
        ("/v1/sql", r#"{"sql": "SELECT 1""#),
        ("/v1/sql?format=xml", "SELECT 1"),
        ("/v1/sql?formt=csv", "SELECT 1"),
    ] {
        let (status, answer) = service.post(path, body).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
        assert!(answer.contains("bad_request"), "{answer}");
    }
    let long = " ".repeat(2 * 1024 * 1024);
    assert_eq!(service.post("/v1/sql", &long).await.0, 413);
}

#[tokio::test]
async fn a_commit_is_visible_to_the_next_query() {
    let service = Service::start().await;
    let count = "SELECT count(*) FROM events";
    // Before the first commit there is a table without rows, of the same types.
    assert_eq!(service.rows(count).await, json!([[0]]));
    assert_eq!(service.rows("SELECT items, event_time, search_term FROM events").await, json!([]));
    for commits in 1..=3 {
        service.commit(Table::Events, EVENTS).await;
        assert_eq!(service.rows(count).await, json!([[2 * commits]]));
    }
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_read_anew() {
    let service = Service::start().await;
    let count = "SELECT count(*) FROM events";
    service.commit(Table::Events, EVENTS).await;
    service.commit(Table::Events, EVENTS).await;
    assert_eq!(service.rows(count).await, json!([[4]]));
    std::fs::remove_dir_all(service.folder.path().join("events")).unwrap();
    service.commit(Table::Events, EVENTS).await;
    assert_eq!(service.rows(count).await, json!([[2]]));
}

#[tokio::test]
async fn abandonment_is_a_session_without_a_conversion_by_a_human() {
    let service = Service::start().await;
    let sessions = r#"
{"session_id":"left","converted":false,"exit_path":"/cart","needs_not_found":["delivery"],"reason":"need_not_found","session_date":"2026-11-22"}
{"session_id":"bought","converted":true,"exit_path":"/thanks","session_date":"2026-11-22"}
{"session_id":"robot","converted":false,"bot":"ua:HeadlessChrome","session_date":"2026-11-22"}
"#;
    service.commit(Table::Sessions, sessions).await;
    let rows = service
        .rows("SELECT session_id, exit_path, needs_not_found, reason FROM abandonment")
        .await;
    assert_eq!(rows, json!([["left", "/cart", ["delivery"], "need_not_found"]]));
    let joined = "SELECT count(*) FROM abandonment a JOIN sessions USING (session_id)";
    assert_eq!(service.rows(joined).await, json!([[1]]));
}

#[tokio::test]
async fn names_and_columns_can_be_listed() {
    let service = Service::start().await;
    let (status, body) = service.get("/v1/tables").await;
    assert_eq!(status, 200);
    let listing: Value = serde_json::from_str(&body).unwrap();
    let tables = listing["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 13);
    assert_eq!(
        (&tables[7]["name"], &tables[7]["kind"]),
        (&json!("live_sessions"), &json!("table"))
    );
    assert_eq!(tables[9]["name"], "abandonment");
    assert_eq!(tables[9]["kind"], "view");
    let described = service.rows("DESCRIBE abandonment").await;
    assert_eq!(tables[9]["columns"].as_array().unwrap().len(), described.as_array().unwrap().len());
    let first = &tables[0]["columns"][0];
    assert_eq!((&first["name"], &first["type"]), (&json!("event_id"), &json!("text")));
    for table in tables {
        assert!(table["comment"].is_string(), "{table}");
        for column in table["columns"].as_array().unwrap() {
            assert!(column["comment"].is_string(), "{} {column}", table["name"]);
        }
    }
    let functions = listing["functions"].as_array().unwrap();
    assert!(functions.iter().any(|it| it["name"] == "funnel" && it["comment"].is_string()));
    let shown = service.rows("SHOW TABLES").await;
    let shown: Vec<&Value> = shown.as_array().unwrap().iter().map(|row| &row[2]).collect();
    for table in tables {
        assert!(shown.contains(&&table["name"]), "{shown:?}");
    }
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'needs'";
    assert_eq!(service.rows(columns).await, json!([[Table::Needs.schema().fields().len()]]));
}

/// Every path of the document is served, every format is told, and every error has a code of it.
#[tokio::test]
async fn the_openapi_document_is_of_this_server() {
    let service = Service::start().await;
    let (status, body) = service.get("/openapi.json").await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&body).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let (status, body) = match method.as_str() {
                "get" => service.get(path).await,
                _ => service.post(path, "SELECT 1").await,
            };
            assert_eq!(status, 200, "{method} {path}: {body}");
        }
    }
    let formats = &document["paths"]["/v1/sql"]["post"]["parameters"][0]["schema"]["enum"];
    let served = footfall_query::Format::ALL.map(footfall_query::Format::name);
    assert_eq!(formats.as_array().unwrap().len(), served.len());
    for format in served {
        assert!(formats.as_array().unwrap().contains(&json!(format)), "{format}");
        let (status, _) = service.post(&format!("/v1/sql?format={format}"), "SELECT 1 AS a").await;
        assert_eq!(status, 200, "{format}");
    }
    let codes =
        &document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"];
    for outcome in footfall_query::Outcome::ALL {
        let code = json!(outcome.label());
        let is_error = !["ok", "cancelled"].contains(&outcome.label());
        assert_eq!(codes["enum"].as_array().unwrap().contains(&code), is_error, "{code}");
    }
}

#[tokio::test]
async fn what_only_reads_is_allowed() {
    let service = Service::start().await;
    for sql in [
        "WITH t AS (SELECT 1 AS a) SELECT * FROM t",
        "VALUES (1), (2)",
        "EXPLAIN SELECT * FROM events",
        "EXPLAIN ANALYZE SELECT * FROM events",
        "SHOW COLUMNS FROM events",
        "SHOW CREATE TABLE abandonment",
        "SHOW FUNCTIONS",
        "SELECT 1;",
        "-- a comment\nSELECT date_trunc('hour', now())",
    ] {
        service.rows(sql).await;
    }
}

#[tokio::test]
async fn now_is_when_the_query_began() {
    let service = Service::start().await;
    let began = service.rows("SELECT now()").await;
    let later = service.rows(&format!("SELECT now() > {}", began[0][0]).replace('"', "'")).await;
    assert_eq!(later, json!([[true]]));
}

#[tokio::test]
async fn liveness_and_readiness_are_told_in_words() {
    let service = Service::start().await;
    assert_eq!(service.get("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(service.get("/readyz").await, (200, "ready\n".to_owned()));
    let log = service.folder.path().join("events/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("00000000000000000000.json"), "no JSON").unwrap();
    let (status, why) = service.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("the lake cannot be read: table `events`"), "{why}");
    let (status, error) = service.error("SELECT * FROM events").await;
    assert_eq!((status, &error["code"]), (500, &json!("failed")));
    assert_eq!(service.metric(r#"footfall_queries_total{outcome="failed"}"#).await, 1.0);
    assert_eq!(service.get("/nowhere").await.0, 404);
    assert_eq!(service.get("/v1/sql").await.0, 405);
}
