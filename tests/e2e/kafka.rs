//! The parts as processes of their own on a real Kafka: eight partitions, two pipelines, a rebalance
//! and kills in mid-stream.

use std::time::Duration;

use anyhow::Result;
use footfall_tests::Kafka;
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::{Posting, check, quick, wait_until_folded};

/// How often a pipeline is killed while events are posted.
const KILLS: u64 = 20;

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
