//! Attacks on a running collector: each ends with the answer that is documented, others are served all the
//! while, and memory stays within its bound. How fast they are served is measured in benches/attacks.

use anyhow::{Context, Result, ensure};
use footfall_tests::Running;
use footfall_tests::attack::{self, Others};
use tempfile::TempDir;

use crate::sample::quick;

/// Far more than there are places.
const CROWD: usize = 1_500;
const PLACES: &str = "ingest.connections_max=64";
const OTHERS: usize = 4;
/// How much attacks may add to the memory of `up`: bodies and answers in memory are bounded to 64 MiB,
/// of which three times as much may come, and a connection's buffers.
const MORE_MB_MAX: u64 = 300;

fn start(folder: &TempDir) -> Result<Running> {
    quick(folder.path())
        .set(PLACES)
        .set("ingest.header_timeout=2s")
        .set("ingest.body_timeout=2s")
        .start("up")
}

/// Heads or bodies of slowhttptest, to the end.
fn slow(server: &str, mode: &str) -> Result<()> {
    attack::slow(server, mode, CROWD, 4)?.wait()?;
    Ok(())
}

/// Others beside `attack`; none of them may be refused.
fn unharmed<T>(running: &Running, what: &str, attack: impl FnOnce() -> Result<T>) -> Result<T> {
    let others = Others::start(running.ingest(), OTHERS);
    let result = attack().with_context(|| what.to_owned());
    let fared = others.finish()?;
    ensure!(fared.refused.is_empty(), "{what}: others are refused: {:?}", fared.refused.first());
    ensure!(!fared.seconds.is_empty(), "{what}: others are not served");
    result
}

#[test]
fn attacks_end_as_documented_and_others_are_served() -> Result<()> {
    let folder = TempDir::new()?;
    let running = start(&folder)?;
    let server = running.ingest();
    let before = running.resident_mb()?.0;

    unharmed(&running, "idle connections", || {
        let sockets = attack::idle(server, CROWD);
        ensure!(sockets.len() > CROWD / 2, "{} were made", sockets.len());
        sockets.into_iter().try_for_each(|socket| {
            let status = attack::outcome(socket)?;
            ensure!(status == 0, "one was answered {status}");
            Ok(())
        })
    })?;
    let turned_out = running.metric(server, "footfall_ingest_turned_out_total")?;
    ensure!(turned_out > 0.0, "no place was given to another");

    unharmed(&running, "heads that come slowly", || slow(server, "-H"))?;

    // A body has time to come, and holds its place meanwhile: others may be told to come again.
    let others = Others::start(server, OTHERS);
    slow(server, "-B")?;
    let fared = others.finish()?;
    ensure!(!fared.seconds.is_empty(), "bodies that come slowly: others are not served");
    let other = fared.refused.iter().find(|why| *why != "503");
    ensure!(other.is_none(), "bodies that come slowly: others are refused: {other:?}");

    unharmed(&running, "heads without end", || {
        for _ in 0..10 {
            let status = attack::endless_head(server)?;
            ensure!(status == 431 || status == 0, "answered {status}");
        }
        Ok(())
    })?;

    unharmed(&running, "requests that stop in the middle", || {
        for _ in 0..50 {
            drop(attack::half_request(server)?);
        }
        let status = attack::outcome(attack::half_request(server)?)?;
        ensure!(status == 408, "answered {status}");
        Ok(())
    })?;

    let bomb = attack::bomb(64 * 1024 * 1024)?;
    unharmed(&running, "bodies that inflate", || {
        for _ in 0..10 {
            let (status, answer) = running.post("/v1/events", bomb.clone())?;
            ensure!(status == 413 && answer.contains("inflated_bytes_max"), "{status} {answer}");
        }
        Ok(())
    })?;

    let most = running.resident_mb()?.1;
    ensure!(most < before + MORE_MB_MAX, "{before} MB before, {most} MB at most");
    running.stop()
}
