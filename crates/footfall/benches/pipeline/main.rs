//! Events per CPU second of this process: the fold alone with its decoding, and the pipeline from
//! JSON records to committed tables. The records lie in memory, as if a log had just delivered them.
//!
//! `cargo bench -p footfall --bench pipeline`; `-- 50000 5` takes 50,000 sessions, 5 times.

mod memory_log;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use footfall_event::{Limits, Micros, Offset, Text, parse_event, partition_of};
use footfall_lake::{Lake, LakeSettings};
use footfall_log::{Kind, Record};
use footfall_pipeline::{Health, Metrics, Pipeline, PipelineSettings};
use footfall_sessionizer::{Need, Rules};
use footfall_tests::cpu_seconds;
use memory_log::{MemoryLog, Recorded};
use tokio_util::sync::CancellationToken;

const PARTITIONS: u32 = 4;
/// Events a second of the sample's own clock: a large shop's afternoon.
const RATE: &str = "5000";
/// Of some nine events a session. The rest arrives when no session begins any more, over hours of log
/// time with next to nothing in them.
const EVENTS_PER_SESSION: usize = 6;

/// As in the binary that is shipped.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a run came to: CPU seconds and the rows of all tables.
struct Run {
    fold: f64,
    pipeline: f64,
    rows: String,
}

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let sessions = arguments.first().map_or("100000", String::as_str);
    let runs = arguments.get(1).map_or(Ok(3), |text| text.parse())?;
    let rules = rules()?;
    let (partitions, events) = recorded(sessions, &rules)?;
    let partitions = Arc::new(partitions);
    println!("work        records  records/CPU s");
    let mut rows = Vec::new();
    for _ in 0..runs {
        // Nothing is committed before all is folded.
        let folded = run(&partitions, &rules, Duration::from_secs(86_400))?;
        println!("fold      {events:9}  {:13.0}", events as f64 / folded.fold);
        let committed = run(&partitions, &rules, Duration::from_secs(5))?;
        println!("pipeline  {events:9}  {:13.0}", events as f64 / committed.pipeline);
        rows.extend([folded.rows, committed.rows]);
    }
    assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "runs differ: {rows:?}");
    println!("each run: {}", rows.first().map_or("", String::as_str));
    Ok(())
}

fn run(
    partitions: &Arc<Vec<Recorded>>,
    rules: &Rules,
    commit_interval: Duration,
) -> Result<Run, Failure> {
    let folder = tempfile::tempdir()?;
    let settings = PipelineSettings {
        jobs_run: footfall_pipeline::JobsRun::OnThreads,
        retention: footfall_pipeline::Retention::default(),
        group: "bench".to_owned(),
        signals_topic: "bench.signals".to_owned(),
        commit_interval,
        commit_rows_max: if commit_interval > Duration::from_secs(60) {
            usize::MAX
        } else {
            500_000
        },
        snapshot_interval: Duration::from_secs(60),
        rewrite_interval: Duration::from_secs(3_600),
        erasure_grace: Duration::from_secs(300),
        max_age: Micros(7 * Micros::DAY.0),
        rules: Arc::new(rules.clone()),
    };
    let made_with = LakeSettings {
        topic: "bench".to_owned(),
        partitions: PARTITIONS,
        session_gap: rules.session_gap,
        session_cap: rules.session_cap,
    };
    let done = CancellationToken::new();
    let log = Arc::new(MemoryLog::new(partitions.clone(), done.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let lake = Lake::at(&folder.path().join("lake").to_string_lossy(), Vec::new())?;
        lake.make(&made_with).await?;
        let metrics = Metrics::register(&prometheus::Registry::new())?;
        let pipeline =
            Pipeline::open(log.clone(), lake, settings, metrics, Health::default()).await?;
        pipeline.run(done).await?;
        Ok::<_, Failure>(cpu_seconds()?)
    })?;
    let marks = log.marks();
    let rows = rows(folder.path())?;
    Ok(Run { fold: marks.folded - marks.began, pipeline: ended - marks.began, rows })
}

/// The records of a sample by partition, and how many there are.
fn recorded(sessions: &str, rules: &Rules) -> Result<(Vec<Recorded>, usize), Failure> {
    let sample = footfall(&["sample", "--sessions", sessions, "--rate", RATE])?;
    let control = serde_json::to_vec(rules)?;
    let mut partitions = vec![Recorded::default(); PARTITIONS as usize];
    let (mut now, mut count) = (Micros(0), 0);
    let events = sessions.parse::<usize>()? * EVENTS_PER_SESSION;
    for line in std::str::from_utf8(&sample)?.lines().take(events) {
        let mut event = parse_event(line)?;
        // As it was timed by its client: the clock only says that it has arrived.
        now = now.max(event.client.timestamp.ok_or("a sample's event has a timestamp")?);
        let times = event.check(&Limits::default(), now)?;
        let mut payload = Vec::new();
        event.write_record(times, &mut payload);
        let text = |column| event.text(column).unwrap_or_default();
        let partition = partition_of(text(Text::Site), text(Text::VisitorId), PARTITIONS);
        let events = &mut partitions[partition.0 as usize].events;
        if events.is_empty() {
            events.push(record(0, now, Kind::Control, control.clone()));
        }
        events.push(record(events.len(), now, Kind::Event, payload));
        count += 1;
    }
    for recorded in &mut partitions {
        let behind = recorded.events.len();
        // A leap of log time is believed when a second record confirms it.
        for (number, seconds) in [0, 10].into_iter().enumerate() {
            let time = now + rules.session_gap + Micros((60 + seconds) * Micros::SECOND.0);
            recorded.ticks.push(record(behind + number, time, Kind::Tick, Vec::new()));
        }
    }
    Ok((partitions, count))
}

fn record(offset: usize, append_time: Micros, kind: Kind, payload: Vec<u8>) -> Record {
    Record { offset: Offset(offset as i64), append_time, kind, payload: payload.into() }
}

/// The rules of the configuration that is compiled in.
fn rules() -> Result<Rules, Failure> {
    let config: toml::Table = toml::from_str(include_str!("../../../../config/footfall.toml"))?;
    let needs = config["need"].as_array().ok_or("no needs")?;
    let text = |need: &toml::Value, key: &str| need[key].as_str().unwrap_or_default().to_owned();
    Ok(Rules {
        session_gap: Micros(30 * Micros::MINUTE.0),
        session_cap: Micros::DAY,
        allowed_lateness: Micros(10 * Micros::SECOND.0),
        signal_grace: Micros::from_ms(500),
        dedupe_window: Micros(20 * Micros::MINUTE.0),
        dedupe_ids_max: 5_000_000,
        open_sessions_max: 1_000_000,
        held_events_max: 1_000_000,
        held_events_per_visitor_max: 10_000,
        events_per_session_max: 10_000,
        slow_page_ms: 4_000,
        conditions: config["rules"]["condition"].clone().try_into()?,
        steps: config["step"].clone().try_into()?,
        needs: needs
            .iter()
            .map(|need| Need {
                name: text(need, "name"),
                raised_by: text(need, "raised_by"),
                found_by: text(need, "found_by"),
                within: Micros(3 * Micros::SECOND.0),
                max_clicks: 2,
            })
            .collect(),
    })
}

/// How many rows each table of a lake has.
fn rows(data_dir: &Path) -> Result<String, Failure> {
    let counts = ["events", "duplicates", "sessions", "needs", "page_views"]
        .map(|table| format!("(SELECT count(*) FROM {table}) AS {table}"))
        .join(", ");
    let data_dir = data_dir.to_string_lossy();
    let statement = format!("SELECT {counts}");
    let printed = footfall(&["sql", &statement, "--format", "csv", "--data-dir", &data_dir])?;
    Ok(String::from_utf8(printed)?.trim().replace('\n', " "))
}

fn footfall(arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let output = Command::new(env!("CARGO_BIN_EXE_footfall")).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(output.stdout) } else { Err(said.into()) }
}
