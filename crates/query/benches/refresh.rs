//! Milliseconds until a query sees what was committed, over a table of many files: to follow the table by
//! itself, beside delta-rs doing the same, and as part of a count of one day.
//!
//! `cargo bench -p footfall-query --bench refresh`; `-- 10000` makes a table of 10,000 files.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use footfall_event::schema::Table;
use footfall_event::{Day, Micros};
use footfall_lake::{Commit, FileWriter, Lake, LakeSettings, TableWriter};
use footfall_query::{Engine, Metrics, QuerySettings};
use uuid::Uuid;

const DAYS: usize = 100;
/// 2026-01-01.
const FIRST_DAY: Day = Day(20_454);
const ROWS_A_FILE: usize = 50;
const RUNS: usize = 15;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let files = arguments.first().map_or(Ok(10_000), |text| text.parse::<usize>())?;
    let folder = tempfile::tempdir()?;
    let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new())?;
    let settings = LakeSettings {
        topic: "bench".to_owned(),
        partitions: 1,
        session_gap: Micros::MINUTE,
        session_cap: Micros::DAY,
    };
    lake.make(&settings).await?;
    fill(&lake, folder.path(), files).await?;
    measure(&lake).await
}

async fn measure(lake: &Lake) -> Result<(), Failure> {
    let table = Table::Events;
    let watch = Instant::now();
    let mut version = lake.version(table).await?.ok_or("no table")?;
    println!("{} files", version.file_count());
    println!("open                       {:8.1} ms", ms(watch));
    let mut delta = lake.table(table).await?.ok_or("no table")?;
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let engine = Engine::open(lake.clone(), QuerySettings::default(), metrics)?;
    let day = Day(FIRST_DAY.0 + 7);
    let by_log = format!("SELECT count(*) FROM events WHERE event_date = '{day}'");
    let by_files = format!("{by_log} AND event_name = 'view_item'");
    answer(&engine, &by_log).await?;
    answer(&engine, &by_files).await?;
    let mut writer = TableWriter::open(lake, table).await?;
    let mut figures: [(&str, Vec<f64>); 6] = [
        ("follow, nothing there", Vec::new()),
        ("follow, one commit", Vec::new()),
        ("delta-rs, one commit", Vec::new()),
        ("count of a day, one commit", Vec::new()),
        ("count of a day, no commit", Vec::new()),
        ("the same with a condition", Vec::new()),
    ];
    for run in 0..RUNS {
        let mut took = [0.0; 6];
        let watch = Instant::now();
        version.follow().await?;
        took[0] = ms(watch);
        commit(lake, &mut writer, day, run).await?;
        let watch = Instant::now();
        version.follow().await?;
        took[1] = ms(watch);
        let watch = Instant::now();
        delta.update_state().await?;
        took[2] = ms(watch);
        let watch = Instant::now();
        answer(&engine, &by_log).await?;
        took[3] = ms(watch);
        let watch = Instant::now();
        answer(&engine, &by_log).await?;
        took[4] = ms(watch);
        let watch = Instant::now();
        answer(&engine, &by_files).await?;
        took[5] = ms(watch);
        assert_eq!(delta.version(), Some(version.version()));
        for ((_, figures), took) in figures.iter_mut().zip(took) {
            figures.push(took);
        }
    }
    for (name, figures) in &mut figures {
        figures.sort_by(f64::total_cmp);
        println!("{name:26} {:8.1} ms", figures[RUNS / 2]);
    }
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

async fn answer(engine: &Engine, sql: &str) -> Result<usize, Failure> {
    let mut rows = engine.sql(sql).await?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch?.num_rows();
    }
    Ok(count)
}

async fn commit(
    lake: &Lake,
    writer: &mut TableWriter,
    day: Day,
    run: usize,
) -> Result<(), Failure> {
    let mut files = FileWriter::new(lake, Table::Events, Uuid::new_v4());
    files.write(&events(day, run)?).await?;
    let commit = Commit { files: files.finish().await?, ..Commit::default() };
    writer.commit(&commit).await?;
    Ok(())
}

/// A file of each day is written, and the others are links to it, each with an entry of its own.
async fn fill(lake: &Lake, folder: &Path, files: usize) -> Result<(), Failure> {
    let mut writer = TableWriter::open(lake, Table::Events).await?;
    for number in 0..DAYS {
        commit(lake, &mut writer, Day(FIRST_DAY.0 + number as i32), number).await?;
    }
    let table = folder.join(Table::Events.name());
    let log = |version: usize| table.join(format!("_delta_log/{version:020}.json"));
    for number in 0..DAYS {
        let entries = std::fs::read_to_string(log(number + 1))?;
        let entry = entries.lines().find(|line| line.starts_with("{\"add\"")).ok_or("no entry")?;
        let path = entry.split('"').nth(5).ok_or("no path")?;
        let mut linked = String::new();
        for copy in 0..(files / DAYS).saturating_sub(1) {
            let other = path.replace(".parquet", &format!("-{copy}.parquet"));
            std::fs::hard_link(table.join(path), table.join(&other))?;
            linked += &entry.replace(path, &other);
            linked.push('\n');
        }
        std::fs::write(log(DAYS + 1 + number), linked)?;
    }
    footfall_lake::checkpoint(lake, Table::Events).await?;
    Ok(())
}

fn events(day: Day, number: usize) -> Result<RecordBatch, Failure> {
    let schema = Table::Events.schema();
    let column = |name: &str| -> Option<ArrayRef> {
        let rows = 0..ROWS_A_FILE;
        let texts = |text: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.clone().map(text)))
        };
        Some(match name {
            "event_id" => texts(&|row| format!("{number:08x}-{row:08x}")),
            "visitor_id" => texts(&|row| format!("{:016x}", (row * 7_919 + number) % 1_000)),
            "site" => texts(&|_| "shop".to_owned()),
            "event_name" | "page_type" => {
                texts(&|row| ["view_item", "purchase"][row % 2].to_owned())
            }
            "page_path" | "page_url" | "channel" | "country" | "os" | "browser" | "log" => {
                texts(&|row| format!("/{name}/{}", row % 9))
            }
            "event_time" | "received_time" | "appended_at" => {
                let times = rows.map(|row| day.start().0 + row as i64 * 1_000_000);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            "event_date" => Arc::new(Date32Array::from_value(day.0, ROWS_A_FILE)),
            _ => return None,
        })
    };
    let columns = schema.fields().iter().map(|field| {
        column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), ROWS_A_FILE))
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
}
