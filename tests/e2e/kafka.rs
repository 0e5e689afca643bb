//! The parts as processes of their own on a real Kafka: eight partitions, two pipelines, a rebalance
//! and kills in mid-stream.

use std::time::Duration;

use anyhow::Result;
use footfall_tests::Kafka;
use tempfile::TempDir;

use crate::sample::{Posting, check, quick, wait_until_folded};

/// How often a pipeline is killed while events are posted.
const KILLS_MAX: u32 = 6;

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
    let more = ["--sessions", "2500", "--rate", "400"];
    let mut posting = Posting::start(folder.path(), ingest.ingest(), &more)?;
    let truth = posting.truth.clone();
    std::thread::sleep(Duration::from_secs(4));
    let second = footfall.start("pipeline")?;
    std::thread::sleep(Duration::from_secs(5));
    first.kill()?;
    let mut third = footfall.start("pipeline")?;
    let mut kills = 1;
    while posting.is_running()? && kills < KILLS_MAX {
        third.kill()?;
        third = footfall.start("pipeline")?;
        std::thread::sleep(Duration::from_secs(2));
        kills += 1;
    }
    assert!(kills > 2, "the sample ended before pipelines were killed in mid-stream");
    let totals = posting.finish()?;
    wait_until_folded(&query, &totals)?;
    third.stop()?;
    second.stop()?;
    ingest.stop()?;
    check(folder.path(), &footfall, query, &truth)
}
