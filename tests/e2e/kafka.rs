//! The parts as processes of their own on a real Kafka: eight partitions, two pipelines, a rebalance
//! and kills in mid-stream; and a stranger who writes by transactions.

use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{Kafka, Running, wait_until};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::{Posting, check, quick, wait_until_folded};

/// How often a pipeline is killed while events are posted.
const KILLS: u64 = 20;
const TOPIC: &str = "footfall.events";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn two_pipelines_share_eight_partitions_and_lose_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let kafka = Kafka::start(1)?;
    let footfall = quick(&folder.path().join("data"))
        .set("log.partitions=8")
        .set(&format!("log.brokers={}", kafka.brokers));
    let ingest = footfall.start("ingest")?;
    let first = footfall.start("pipeline")?;
    let query = footfall.start("query")?;
    let more = ["--sessions", "3500", "--rate", "350"];
    let mut posting = Posting::start(folder.path(), ingest.ingest(), &more)?;
    let truth = posting.truth.clone();
    std::thread::sleep(Duration::from_secs(4));
    let second = footfall.start("pipeline")?;
    std::thread::sleep(Duration::from_secs(5));
    first.kill()?;
    let mut third = footfall.start("pipeline")?;
    let mut pauses = Pauses::new(0x5851_f42d_4c95_7f2d);
    for _ in 1..KILLS {
        third.kill()?;
        // Some are killed on their way up, and some when they have folded for a while.
        third = footfall.spawn("pipeline", "127.0.0.1:0")?;
        pauses.sleep(100, 5_000);
    }
    assert!(posting.is_running()?, "the sample ended before the last kill");
    let totals = posting.finish()?;
    wait_until_folded(&query, &totals)?;
    third.stop()?;
    second.stop()?;
    ingest.stop()?;
    check(folder.path(), &footfall, query, &truth)
}

/// The marker at the end of a transaction takes an offset and is never delivered. What is held before it gets its row all
/// the same, and so does what was there before any pipeline.
#[test]
fn a_strangers_transaction_holds_nothing_up() -> Result<()> {
    const PARTITIONS: i32 = 2;
    let folder = TempDir::new()?;
    let kafka = Kafka::start(1)?;
    let footfall = quick(&folder.path().join("data"))
        .set(&format!("log.topic={TOPIC}"))
        .set(&format!("log.partitions={PARTITIONS}"))
        .set(&format!("log.brokers={}", kafka.brokers));
    let ingest = footfall.start("ingest")?;
    let stranger: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("transactional.id", "stranger")
        .create()?;
    stranger.init_transactions(PATIENCE)?;
    let write = || -> Result<()> {
        stranger.begin_transaction()?;
        for partition in 0..PARTITIONS {
            let record = BaseRecord::<(), str>::to(TOPIC).partition(partition).payload("?");
            stranger.send(record).map_err(|(error, _)| error)?;
        }
        Ok(stranger.commit_transaction(PATIENCE)?)
    };
    post(&ingest, "first")?;
    write()?;
    let (pipeline, query) = (footfall.start("pipeline")?, footfall.start("query")?);
    wait_for_events(&query, 1)?;
    post(&ingest, "second")?;
    write()?;
    wait_for_events(&query, 2)?;
    let bad = query.number("SELECT count(*) FROM rejected WHERE reason = 'bad_record'")?;
    ensure!(bad == 2 * i64::from(PARTITIONS), "{bad} records were refused");
    for part in [ingest, pipeline, query] {
        part.stop()?;
    }
    footfall.run_well(&["verify"])?;
    Ok(())
}

fn post(ingest: &Running, id: &str) -> Result<()> {
    let event = format!(r#"{{"event_id":"{id}","visitor_id":"{id}","event_name":"page_view"}}"#);
    let (status, answer) = ingest.post("/v1/events", event)?;
    ensure!(status == 202, "{status}: {answer}");
    Ok(())
}

fn wait_for_events(query: &Running, count: i64) -> Result<()> {
    wait_until("every event has its row", PATIENCE, || {
        Ok(query.number("SELECT count(*) FROM events").ok() == Some(count))
    })
}
