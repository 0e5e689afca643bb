//! One binary on a small disk that is full now and then. It ends by itself when its log cannot be written, and
//! is started again, as a supervisor would.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::client::Client;
use crate::round::{Totals, check, list, port, quick, settle};

/// The disk; more than a round writes.
const DISK: &str = "512m";
/// What is left free at most when it is filled.
const LEFT_MAX: u64 = 3 << 20;
const PAUSE: Duration = Duration::from_millis(100);
const ABORT: i32 = 6;
const AGAIN: Duration = Duration::from_millis(300);

/// Tortures one lake for `storm`, lets it come right, and checks it.
///
/// # Errors
/// What was lost, doubled, or did not come right; when no disk can be mounted.
pub fn round(seed: u64, rng: &mut ChaCha8Rng, storm: Duration, totals: &mut Totals) -> Result<()> {
    let folder = TempDir::new()?;
    let disk = Disk::mount(&folder.path().join("disk"))?;
    let listen = format!("127.0.0.1:{}", port()?);
    let footfall = quick(&disk.folder.join("data")).set("pipeline.rewrite_interval=1s");
    let mut running = footfall.start_on("up", &listen)?;
    let client = Client::start(&format!("http://{listen}"), &list(folder.path()), seed, PAUSE)?;
    let began = Instant::now();
    let mut felt = 0;
    while began.elapsed() < storm || (felt == 0 && began.elapsed() < 5 * storm) {
        std::thread::sleep(Duration::from_millis(rng.random_range(1_500..4_000)));
        ensure!(running.ended()?.is_none(), "it ended with room on the disk");
        disk.fill(if felt == 0 { 0 } else { rng.random_range(0..LEFT_MAX) })?;
        let full_until = Instant::now() + Duration::from_millis(rng.random_range(1_000..6_000));
        let mut has_ended = false;
        while Instant::now() < full_until {
            std::thread::sleep(AGAIN);
            if let Some(status) = running.ended()? {
                // One that cannot write its log aborts; one that cannot start fails.
                let is_meant = status.signal() == Some(ABORT) || status.code() == Some(1);
                ensure!(is_meant, "it ended on a full disk with {status}");
                has_ended = true;
                running = footfall.spawn("up", &listen)?;
            } else if rng.random_ratio(1, 20) {
                running.end_at_once()?;
                totals.kills += 1;
                running = footfall.spawn("up", &listen)?;
            }
        }
        felt += u64::from(has_ended);
        totals.full_disks += u64::from(has_ended);
        disk.free()?;
        // One that found the disk full on its way up is about to end; the next finds room.
        running.end_at_once()?;
        totals.kills += 1;
        running = footfall.start_on("up", &listen)?;
    }
    ensure!(felt > 0, "the disk was never full enough to end the process");
    totals.broken += client.broken();
    totals.refused += client.refused();
    let sent = client.finish()?;
    totals.acknowledged += sent.acknowledged;
    settle(&running, &sent)?;
    check(folder.path(), &footfall, running, 0)
}

/// A file system in memory.
struct Disk {
    folder: PathBuf,
    ballast: PathBuf,
}

impl Disk {
    fn mount(folder: &Path) -> Result<Disk> {
        std::fs::create_dir(folder)?;
        let options = ["-t", "tmpfs", "-o", &format!("size={DISK}"), "tmpfs"];
        let status = Command::new("mount").args(options).arg(folder).status()?;
        ensure!(
            status.success(),
            "no disk could be mounted at {}: run it as root",
            folder.display()
        );
        Ok(Disk { folder: folder.to_owned(), ballast: folder.join("ballast") })
    }

    /// Fills the disk, but for `left` bytes.
    fn fill(&self, left: u64) -> Result<()> {
        let mut ballast = File::create(&self.ballast)?;
        let bytes = vec![0; 64 << 10];
        let mut written: u64 = 0;
        while let Ok(more) = ballast.write(&bytes) {
            written += more as u64;
        }
        ballast.set_len(written.saturating_sub(left)).context("the ballast cannot be cut")
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(&self.ballast)?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that ends may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
