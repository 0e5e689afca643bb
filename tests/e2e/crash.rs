//! kill -9 at random moments, with restart, while events are posted.

use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::sample::{Posting, check, quick, wait_until_folded};

/// How often the process is killed.
const KILLS: u64 = 20;

#[test]
fn twenty_kills_change_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let footfall = quick(&folder.path().join("data"));
    let mut running = footfall.start_on("up", &listen)?;
    let more = ["--sessions", "1500", "--rate", "250"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let truth = posting.truth.clone();
    let mut pause = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..KILLS {
        // Between 0.2 and 2.2 seconds, the same in each run.
        pause = pause.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(200 + (pause >> 33) % 2_000));
        running.kill()?;
        running = footfall.start_on("up", &listen)?;
    }
    assert!(posting.is_running()?, "the sample ended before the last kill");
    let totals = posting.finish()?;
    wait_until_folded(&running, &totals)?;
    check(folder.path(), &footfall, running, &truth)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
