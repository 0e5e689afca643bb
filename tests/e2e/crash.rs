//! Kills and stops at random moments, with restart, while events are posted.

use anyhow::Result;
use tempfile::TempDir;

use crate::pauses::Pauses;
use crate::sample::{Posting, check, free_port, quick, wait_until_folded};

/// How often the process is killed, and stopped, at least; where nothing else runs there is time for several times as
/// many.
const KILLS_MIN: u64 = 5;
const STOPS_MIN: u64 = 3;

#[test]
fn kills_change_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let footfall = quick(&folder.path().join("data"));
    let mut running = footfall.start_on("up", &listen)?;
    let more = ["--sessions", "1500", "--rate", "250"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let truth = posting.truth.clone();
    let mut pauses = Pauses::new(0x9e37_79b9_7f4a_7c15);
    let mut kills = 0;
    while posting.is_running()? {
        pauses.sleep(200, 2_200);
        running.kill()?;
        kills += 1;
        // Every other time it is killed once more on its way up.
        if kills % 2 == 0 {
            let starting = footfall.spawn("up", &listen)?;
            pauses.sleep(20, 500);
            starting.kill()?;
        }
        running = footfall.start_on("up", &listen)?;
    }
    let totals = posting.finish()?;
    assert!(kills >= KILLS_MIN, "the sample ended behind {kills} kills");
    wait_until_folded(&running, &totals)?;
    check(folder.path(), &footfall, running, &truth)
}

/// A stop leaves a snapshot that names the events of the last seconds; a second one right behind the
/// start comes before they are read back.
#[test]
fn stops_right_behind_a_start_lose_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let footfall = quick(&folder.path().join("data"));
    let mut running = footfall.start_on("up", &listen)?;
    let more = ["--sessions", "800", "--rate", "250"];
    let mut posting = Posting::start(folder.path(), running.ingest(), &more)?;
    let truth = posting.truth.clone();
    let mut pauses = Pauses::new(0x2545_f491_4f6c_dd1d);
    let mut stops = 0;
    while posting.is_running()? {
        pauses.sleep(500, 2_000);
        running.stop()?;
        stops += 1;
        let starting = footfall.spawn("up", &listen)?;
        pauses.sleep(20, 400);
        starting.stop_starting()?;
        footfall.start_on("up", &listen)?.stop()?;
        running = footfall.start_on("up", &listen)?;
    }
    let totals = posting.finish()?;
    assert!(stops >= STOPS_MIN, "the sample ended behind {stops} stops");
    wait_until_folded(&running, &totals)?;
    check(folder.path(), &footfall, running, &truth)
}
