//! What months of small commits cost: the time of a commit and of a one-day count at the first commits
//! and at the last, with the rewrite job beside them, and the bytes on disk for each event.
//!
//! `cargo bench -p footfall --bench upkeep`; `-- 1000 100` makes 1,000 commits, with a run of the job
//! every 100. A commit every 5 s makes 120 in the 10 minutes between two runs.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use footfall_event::schema::Table;
use footfall_event::{EventDecoder, Micros, Offset, Partition, Text, Times, parse_event};
use footfall_lake::{
    Commit, FileWriter, Lake, LakeSettings, Outcome, Progress, TableWriter, app_id,
};
use footfall_pipeline::{Retention, SettledFiles, rewrite};
use footfall_query::{Engine, QuerySettings};
use footfall_sessionizer::{Conditions, Rules};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const TOPIC: &str = "bench";
const EVENTS_A_COMMIT: i64 = 50;
/// Commits that a figure is taken over, and counts within them.
const WINDOW: usize = 100;
/// 2026-03-01T00:00:00Z.
const DAY: Micros = Micros(1_772_323_200_000_000);
const COUNT: &str = "SELECT count(*), count(DISTINCT visitor_id) FROM events \
    WHERE event_date = DATE '2026-03-01'";

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |place: usize, default: usize| {
        arguments.get(place).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (commits, every) = (number(0, 10_000)?, number(1, 120)?);
    let folder = tempfile::tempdir()?;
    let lake = Lake::at(&folder.path().to_string_lossy(), Vec::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&lake, commits, every))
}

async fn run(lake: &Lake, commits: usize, every: usize) -> Result<(), Failure> {
    let rules = Arc::new(rules());
    lake.make(&LakeSettings {
        topic: TOPIC.to_owned(),
        partitions: 1,
        session_gap: rules.session_gap,
        session_cap: rules.session_cap,
    })
    .await?;
    let metrics = footfall_query::Metrics::new(&prometheus::Registry::new())?;
    let engine = Engine::open(lake.clone(), QuerySettings::default(), metrics)?;
    let (begin, begun) = channel::<()>();
    let job = job(lake.clone(), rules, begun);
    let mut writer = TableWriter::open(lake, Table::Events).await?;
    let (mut writing, mut counting) = (Vec::new(), Vec::new());
    for number in 0..commits {
        let began = Instant::now();
        commit(lake, &mut writer, number as i64).await?;
        writing.push(began.elapsed());
        if number % every == every - 1 {
            begin.send(())?;
        }
        if in_window(number, commits) {
            let began = Instant::now();
            let mut rows = engine.sql(COUNT).await.map_err(|error| format!("{error:?}"))?;
            let batch = rows.next().await.ok_or("no row")?.map_err(|error| format!("{error:?}"))?;
            counting.push(began.elapsed());
            let counted = batch.column(1).as_primitive::<Int64Type>().value(0);
            assert_eq!(counted, (number as i64 + 1) * EVENTS_A_COMMIT);
        }
    }
    drop(begin);
    let runs = job.join().map_err(|_| "the job panicked")??;
    let first = &writing[WINDOW / 2..WINDOW + WINDOW / 2];
    let last = &writing[commits - WINDOW..];
    println!("{commits} commits of {EVENTS_A_COMMIT} events, {runs} runs of the job");
    tell("commit", first, last);
    tell("one-day count", &counting[..WINDOW], &counting[WINDOW..]);
    let bytes: i64 =
        TableWriter::open(lake, Table::Events).await?.files()?.iter().map(|f| f.bytes).sum();
    let files = TableWriter::open(lake, Table::Events).await?.files()?.len();
    println!("{files} files, {} bytes an event", bytes / (commits as i64 * EVENTS_A_COMMIT));
    Ok(())
}

/// Around commit 100, and at the end.
fn in_window(number: usize, commits: usize) -> bool {
    (WINDOW / 2..WINDOW + WINDOW / 2).contains(&number) || number >= commits - WINDOW
}

fn tell(what: &str, first: &[Duration], last: &[Duration]) {
    let at = |times: &[Duration], share: usize| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3
    };
    for share in [50, 99] {
        let (before, after) = (at(first, share), at(last, share));
        println!("{what}: p{share} {before:.1} ms, then {after:.1} ms: {:.2} x", after / before);
    }
}

/// Runs the job each time it is asked to, on a thread of its own, as the pipeline does.
fn job(
    lake: Lake,
    rules: Arc<Rules>,
    begun: std::sync::mpsc::Receiver<()>,
) -> std::thread::JoinHandle<Result<usize, String>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (mut settled, mut runs) = (SettledFiles::default(), 0);
        while begun.recv().is_ok() {
            let done =
                runtime.block_on(rewrite(&lake, &rules, &Retention::default(), &mut settled));
            done.map_err(|error| error.to_string())?;
            runs += 1;
        }
        Ok(runs)
    })
}

async fn commit(lake: &Lake, writer: &mut TableWriter, number: i64) -> Result<(), Failure> {
    let mut decoder = EventDecoder::new(TOPIC, Partition(0));
    for event in number * EVENTS_A_COMMIT..(number + 1) * EVENTS_A_COMMIT {
        let line = format!(
            r#"{{"event_id":"{}","visitor_id":"{}","event_name":"page_view","page_type":"product","page_path":"/p/{}"}}"#,
            Uuid::from_u128(event as u128 * 0x9e37_79b9_7f4a_7c15),
            Uuid::from_u128(event as u128 * 0x2545_f491_4f6c_dd1d),
            event % 997,
        );
        let mut parsed = parse_event(&line).map_err(|error| format!("{error:?}"))?;
        parsed.set_text(Text::Site, "shop");
        let event_time = DAY + Micros(event * 1_000);
        let times = Times { event_time, received_time: event_time };
        decoder.push_event(&parsed, times, Offset(event), None);
    }
    let mut files = FileWriter::new(lake, Table::Events, Uuid::new_v4());
    files.write(&decoder.finish().rows).await?;
    let app_id = app_id(Table::Events, TOPIC, Partition(0));
    let from = (number > 0).then_some(number);
    let progress = vec![Progress { app_id, from, to: number + 1 }];
    let commit = Commit { files: files.finish().await?, progress, ..Commit::default() };
    match writer.commit(&commit).await? {
        Outcome::Committed { .. } => Ok(()),
        lost @ Outcome::Lost { .. } => Err(format!("nobody else writes: {lost:?}").into()),
    }
}

fn rules() -> Rules {
    let is = |name: &str| format!("event_name = '{name}'");
    Rules {
        session_gap: Micros(30 * Micros::MINUTE.0),
        session_cap: Micros::DAY,
        allowed_lateness: Micros(10 * Micros::SECOND.0),
        signal_grace: Micros(0),
        dedupe_window: Micros(20 * Micros::MINUTE.0),
        dedupe_ids_max: 1_000,
        open_sessions_max: 1_000,
        held_events_max: 1_000_000,
        held_events_per_visitor_max: 10_000,
        events_per_session_max: 10_000,
        slow_page_ms: 4_000,
        conditions: Conditions {
            conversion: is("purchase"),
            page_view: is("page_view"),
            error: is("error"),
            zero_search: is("search"),
            hidden: is("heartbeat"),
            rage_target: is("click"),
        },
        steps: Vec::new(),
        needs: Vec::new(),
    }
}
