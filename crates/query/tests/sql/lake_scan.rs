//! Reading the lake: answers are those of delta-rs's own scan, from fewer files.

use arrow::array::RecordBatch;
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use footfall_event::schema::Table;
use footfall_lake::{
    Commit, FileWriter, LakeSettings, Rewrite, TableWriter, WrittenFile, read_file,
};
use footfall_query::QuerySettings;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::{Service, rows};

const SEED: u64 = 20_261_128;
const DAYS: [&str; 3] = ["2026-11-20", "2026-11-21", "2026-11-22"];
const NAMES: [&str; 4] = ["view_item", "add_to_cart", "begin_checkout", "purchase"];
const FILES_A_DAY: usize = 12;
const ROWS_A_FILE: usize = 25;

/// Events of one day as JSON lines, in no order.
fn events(random: &mut StdRng, day: &str) -> String {
    let mut lines = String::new();
    for _ in 0..ROWS_A_FILE {
        let mut event = json!({
            "event_id": format!("{:016x}", random.random::<u64>()),
            "site": "shop",
            "event_name": NAMES[random.random_range(0..NAMES.len())],
            "event_time": format!("{day}T{:02}:{:02}:{:02}.{:06}Z", random.random_range(0..24),
                random.random_range(0..60), random.random_range(0..60), random.random_range(0..1_000_000)),
            "event_date": day,
        });
        if random.random_bool(0.9) {
            event["visitor_id"] = json!(format!("v{:02}", random.random_range(0..40)));
        }
        if random.random_bool(0.5) {
            event["seq"] = json!(random.random_range(-5..100));
            event["value"] = json!(format!("{}.25", random.random_range(0..500)));
            event["late"] = json!(random.random_bool(0.3));
        }
        if random.random_bool(0.2) {
            event["items"] = json!([{"item_id": "i1", "price": "1.5"}, {"item_id": null}]);
            event["search_term"] = json!("é\"x\"");
        }
        lines += &format!("{event}\n");
    }
    lines
}

fn sorted(batches: &[RecordBatch]) -> RecordBatch {
    let all = concat_batches(&Table::Events.schema(), batches).unwrap();
    let options = Some(SortOptions { descending: false, nulls_first: true });
    let column =
        |name: &str| SortColumn { values: all.column_by_name(name).unwrap().clone(), options };
    let places = lexsort_to_indices(&[column("visitor_id"), column("event_time")], None).unwrap();
    take_record_batch(&all, &places).unwrap()
}

async fn written(service: &Service, batch: &RecordBatch) -> Vec<WrittenFile> {
    let writer = FileWriter::new(&service.lake, Table::Events, Uuid::new_v4());
    let mut writer = writer.with_visitor_filter(batch.num_rows());
    writer.write(batch).await.unwrap();
    writer.finish().await.unwrap()
}

async fn append(service: &Service, files: Vec<WrittenFile>) {
    let mut writer = TableWriter::open(&service.lake, Table::Events).await.unwrap();
    let commit = Commit { files, ..Commit::default() };
    writer.commit(&commit).await.unwrap();
}

/// A file of a program that knew two columns and wrote no statistics.
async fn append_older(service: &Service, day: &str) {
    let batch = rows(
        Table::Events,
        &format!("{{\"event_id\":\"old\",\"visitor_id\":\"v03\",\"event_date\":\"{day}\"}}\n"),
    );
    let narrow = batch.project(&[0, 2]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), narrow.schema(), None).unwrap();
    writer.write(&narrow).unwrap();
    let bytes = writer.into_inner().unwrap();
    let path = format!("event_date={day}/older.parquet");
    let folder = service.folder.path().join("events");
    std::fs::create_dir_all(folder.join(format!("event_date={day}"))).unwrap();
    std::fs::write(folder.join(&path), &bytes).unwrap();
    let version = service.lake.version(Table::Events).await.unwrap().unwrap().version() + 1;
    let add = json!({"add": {"path": path, "partitionValues": {"event_date": day},
        "size": bytes.len(), "modificationTime": 1_795_000_000_000_i64, "dataChange": true}});
    let log = folder.join(format!("_delta_log/{version:020}.json"));
    std::fs::write(log, add.to_string()).unwrap();
}

async fn made() -> Service {
    let settings = QuerySettings { threads: 2, ..QuerySettings::default() };
    let service = Service::start_with(settings).await;
    let settings = LakeSettings {
        topic: "events".to_owned(),
        partitions: 1,
        session_gap: footfall_event::Micros::MINUTE,
        session_cap: footfall_event::Micros::DAY,
    };
    service.lake.make(&settings).await.unwrap();
    service
}

/// Three days: the first compacted to two files, the second not at all, the third partly.
async fn filled() -> Service {
    let service = made().await;
    let mut random = StdRng::seed_from_u64(SEED);
    for (place, day) in DAYS.into_iter().enumerate() {
        let batches: Vec<RecordBatch> =
            (0..FILES_A_DAY).map(|_| rows(Table::Events, &events(&mut random, day))).collect();
        for batch in &batches {
            append(&service, written(&service, batch).await).await;
        }
        let mut writer = TableWriter::open(&service.lake, Table::Events).await.unwrap();
        let mut files = writer.files().unwrap();
        files.retain(|file| file.day.to_string() == day);
        let joined = match place {
            0 => vec![(0, 6), (6, FILES_A_DAY)],
            1 => Vec::new(),
            _ => vec![(0, 6)],
        };
        if joined.is_empty() {
            continue;
        }
        // The files of a version come in an order of their own, so rows are read back from them.
        let mut rewrite = Rewrite::default();
        for (from, to) in joined {
            let group = files[from..to].to_vec();
            let mut read = Vec::new();
            let columns: Vec<usize> = (0..Table::Events.schema().fields().len()).collect();
            for file in &group {
                let rows = read_file(&service.lake, Table::Events, file, &columns);
                let rows: Vec<_> = rows.await.unwrap().collect().await;
                read.extend(rows.into_iter().map(Result::unwrap));
            }
            rewrite.files.extend(written(&service, &sorted(&read)).await);
            rewrite.replaced.extend(group);
        }
        assert!(writer.rewrite(rewrite).await.unwrap());
    }
    append_older(&service, DAYS[1]).await;
    service
}

/// What delta-rs answers, line by line.
async fn expected(service: &Service, sql: &str) -> Vec<String> {
    let context = SessionContext::new();
    let delta = service.lake.table(Table::Events).await.unwrap().unwrap();
    context.register_table("events", delta.table_provider().await.unwrap()).unwrap();
    lines(&context.sql(sql).await.unwrap().collect().await.unwrap())
}

async fn answered(service: &Service, sql: &str) -> Vec<String> {
    let url = format!("{}/v1/sql?format=arrow", service.url);
    let answer = service.client.post(url).body(sql.to_owned()).send().await.unwrap();
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(status, 200, "{sql}: {}", String::from_utf8_lossy(&bytes));
    let reader = StreamReader::try_new(bytes.as_ref(), None).unwrap();
    lines(&reader.map(Result::unwrap).collect::<Vec<_>>())
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let batches: Vec<RecordBatch> =
        batches.iter().filter(|batch| batch.num_rows() > 0).cloned().collect();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    // Borders are as wide as texts, whatever order rows come in.
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The physical plan, with all of its files.
async fn plan(service: &Service, sql: &str) -> String {
    let explained = service.rows(&format!("EXPLAIN VERBOSE {sql}")).await;
    let mut plans = explained.as_array().unwrap().iter();
    plans.rfind(|row| row[0] == "physical_plan").unwrap()[1].as_str().unwrap().to_owned()
}

async fn files_read(service: &Service, sql: &str) -> usize {
    plan(service, sql).await.matches(".parquet").count()
}

const QUERIES: [&str; 30] = [
    "SELECT * FROM events",
    "SELECT count(*) FROM events",
    "SELECT count(visitor_id), count(seq), min(event_time), max(event_time), min(seq), max(seq) FROM events",
    "SELECT min(event_date), max(event_date), count(event_date) FROM events",
    "SELECT min(visitor_id), max(visitor_id), min(site), max(event_name) FROM events",
    "SELECT event_date, count(*), count(value), sum(value) FROM events GROUP BY 1",
    "SELECT count(*), min(event_time) FROM events WHERE event_date = '2026-11-21'",
    "SELECT event_id FROM events WHERE event_date >= '2026-11-21' AND seq > 50",
    "SELECT event_id FROM events WHERE event_date = '2026-11-20' OR seq = 3",
    "SELECT event_id FROM events WHERE event_date <> '2026-11-20'",
    "SELECT event_id FROM events WHERE event_date IN ('2026-11-20', '2026-11-25')",
    "SELECT event_id FROM events WHERE event_date IS NULL",
    "SELECT event_id FROM events WHERE event_date = '2030-01-01'",
    "SELECT count(*) FROM events WHERE date_part('day', event_date) = 22",
    "SELECT event_id, items FROM events WHERE visitor_id = 'v03'",
    "SELECT event_id FROM events WHERE visitor_id IS NULL",
    "SELECT event_id FROM events WHERE visitor_id IN ('v01', 'v39', 'none')",
    "SELECT event_id FROM events WHERE visitor_id LIKE 'v0%' AND late",
    "SELECT event_id FROM events WHERE event_time >= '2026-11-21T12:00:00Z' AND event_time < '2026-11-22T01:00:00Z'",
    "SELECT event_id FROM events WHERE event_time IS NULL",
    "SELECT event_id FROM events WHERE seq < 0 OR value > 400",
    "SELECT event_id, value * 2 FROM events WHERE items IS NOT NULL AND NOT late",
    "SELECT visitor_id, count(*), max(event_time) FROM events GROUP BY visitor_id",
    "SELECT visitor_id, event_time, lag(event_id) OVER (PARTITION BY visitor_id ORDER BY event_time) FROM events",
    "SELECT event_date, site, event_name FROM events ORDER BY event_time DESC NULLS LAST LIMIT 7",
    "SELECT a.event_id FROM events a JOIN events b ON a.visitor_id = b.visitor_id AND b.event_name = 'purchase' AND b.seq > 80",
    "SELECT event_id FROM events WHERE event_date = (SELECT max(event_date) FROM events WHERE seq > 3)",
    "SELECT event_id FROM events WHERE visitor_id = (SELECT min(visitor_id) FROM events) AND event_date > '2026-11-20'",
    "SELECT event_id FROM events e WHERE event_date IN (SELECT event_date FROM events f WHERE f.visitor_id = e.visitor_id AND f.seq = 7)",
    "SELECT search_term, event_date, visitor_id FROM events WHERE search_term IS NOT NULL",
];

#[tokio::test]
async fn answers_are_those_of_a_delta_scan() {
    let service = filled().await;
    for sql in QUERIES {
        assert_eq!(answered(&service, sql).await, expected(&service, sql).await, "{sql}");
    }
    let delta = service.lake.table(Table::Events).await.unwrap().unwrap();
    let columns = answered(&service, "DESCRIBE events").await;
    assert_eq!(columns.len(), delta.table_provider().await.unwrap().schema().fields().len() + 4);
}

#[tokio::test]
async fn conditions_leave_few_files() {
    let service = filled().await;
    let all = 2 + (FILES_A_DAY + 1) + (1 + FILES_A_DAY / 2);
    let sql = |condition: &str| format!("SELECT event_name FROM events WHERE {condition}");
    assert_eq!(files_read(&service, "SELECT event_name FROM events").await, all);
    assert_eq!(files_read(&service, &sql("event_date = '2026-11-20'")).await, 2);
    assert_eq!(files_read(&service, &sql("event_date < '2026-11-22'")).await, 3 + FILES_A_DAY);
    // The older file tells nothing of its times.
    assert_eq!(files_read(&service, &sql("event_time < '2026-11-20T23:59:59.999999Z'")).await, 3);
    assert_eq!(files_read(&service, &sql("visitor_id = 'zzz'")).await, 1);
    assert_eq!(
        files_read(&service, &sql("event_date = '2026-11-20' AND visitor_id = 'zzz'")).await,
        0
    );
    for counted in ["count(*)", "min(event_date)"] {
        let sql = format!("SELECT {counted} FROM events WHERE event_date = '2026-11-20'");
        assert!(!plan(&service, &sql).await.contains(".parquet"), "{sql}");
    }
}

#[tokio::test]
async fn sorted_files_need_no_sort() {
    let service = filled().await;
    let in_order = |day: &str| {
        format!(
            "SELECT visitor_id, event_time, row_number() OVER (PARTITION BY visitor_id ORDER BY \
             event_time NULLS FIRST) FROM events WHERE event_date = '{day}'"
        )
    };
    let sorted = plan(&service, &in_order(DAYS[0])).await;
    assert!(sorted.contains("output_ordering="), "{sorted}");
    // Beside a file that is not sorted nothing is.
    let unsorted = plan(&service, &in_order(DAYS[2])).await;
    assert!(!unsorted.contains("output_ordering=") && unsorted.contains("SortExec"), "{unsorted}");
    for day in DAYS {
        let sql = in_order(day);
        assert_eq!(answered(&service, &sql).await, expected(&service, &sql).await, "{sql}");
        let ordered = format!(
            "SELECT visitor_id, event_time FROM events WHERE event_date = '{day}' \
            ORDER BY visitor_id NULLS FIRST, event_time NULLS FIRST"
        );
        let answer = service.rows(&ordered).await;
        let rows: Vec<_> = answer.as_array().unwrap().iter().map(place).collect();
        assert!(rows.is_sorted(), "{day}: {rows:?}");
    }
}

/// A row's visitor and time, which sort as they do: NULL first.
fn place(row: &Value) -> (Option<&str>, Option<&str>) {
    (row[0].as_str(), row[1].as_str())
}

#[tokio::test]
async fn a_person_is_found_by_the_filter_in_a_file() {
    let service = filled().await;
    // Between the bounds of both files, and in neither.
    let sql = "SELECT event_id FROM events WHERE event_date = '2026-11-20' AND visitor_id = 'v03x'";
    assert_eq!(files_read(&service, sql).await, 2);
    let analyzed = service.rows(&format!("EXPLAIN ANALYZE {sql}")).await.to_string();
    let pruned = "row_groups_pruned_bloom_filter=2 total → 0 matched";
    assert!(analyzed.contains(pruned), "{analyzed}");
}

#[tokio::test]
async fn a_table_with_deletion_vectors_is_refused_by_name() {
    let service = made().await;
    let log = service.folder.path().join("events/_delta_log/00000000000000000000.json");
    let made = std::fs::read_to_string(&log).unwrap();
    let changed: Vec<String> = made
        .lines()
        .map(|line| match line.starts_with("{\"protocol\"") {
            true => json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}})
            .to_string(),
            false => line.to_owned(),
        })
        .collect();
    std::fs::write(&log, changed.join("\n")).unwrap();
    let (status, error) = service.error("SELECT count(*) FROM events").await;
    assert_eq!((status, &error["code"]), (500, &json!("failed")), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("table `events` has `deletionVectors`"), "{message}");
}
