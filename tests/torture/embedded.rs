//! One binary with the embedded log: killed at random, at the N-th write, fsync and rename, and where a stage
//! is; so is `maintain` beside it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use footfall_tests::{Footfall, Running};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::client::Client;
use crate::proxy::Proxy;
use crate::round::{Totals, check, list, port, quick, settle};
use crate::stages::Stage;
use crate::strace::{Aim, Trace};
use crate::watch::{Watch, entries};

/// How long a process may take to come by what it is aimed at.
const AIMED_MS: u64 = 8_000;
/// How long any other lives at most.
const LIFE_MAX_MS: u64 = 5_000;
/// How long it may take until the file that is watched for is staged.
const WATCHED_MAX: Duration = Duration::from_secs(10);
/// How long `maintain` may run before it is killed wherever it is.
const MAINTAIN_MAX: Duration = Duration::from_secs(12);
/// Pause between a sender's batches.
const PAUSE: Duration = Duration::from_millis(150);
const KILL: i32 = 9;
const TERM: i32 = 15;
const POLL: Duration = Duration::from_millis(20);

/// Tortures one lake for `storm`, lets it come right, and checks it.
///
/// # Errors
/// What was lost, doubled, or did not come right.
pub fn round(seed: u64, rng: &mut ChaCha8Rng, storm: Duration, totals: &mut Totals) -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let listen = format!("127.0.0.1:{}", port()?);
    let proxy = Proxy::start(&listen)?;
    let footfall = quick(&data);
    let client =
        Client::start(&format!("http://{}", proxy.address()), &list(folder.path()), seed, PAUSE)?;
    let mut shop = Shop { folder: folder.path(), footfall, data, listen, proxy, client };
    let began = Instant::now();
    // Chance may need longer to come by every stage.
    while began.elapsed() < storm
        || (began.elapsed() < 5 * storm && totals.hits.require_all().is_err())
    {
        shop.life(rng, totals)?;
    }
    let running =
        shop.footfall.clone().set("pipeline.rewrite_interval=1s").start_on("up", &shop.listen)?;
    shop.count_broken(totals);
    let sent = shop.client.finish()?;
    totals.acknowledged += sent.acknowledged;
    settle(&running, &sent)?;
    check(folder.path(), &shop.footfall, running, 0)
}

struct Shop<'a> {
    folder: &'a Path,
    footfall: Footfall,
    data: PathBuf,
    listen: String,
    proxy: Proxy,
    client: Client,
}

impl Shop<'_> {
    /// One process from its start to its end.
    fn life(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let stage = totals.hits.rarest(rng).filter(|_| rng.random_bool(0.7));
        if matches!(stage, Some(Stage::Repair)) && rng.random_bool(0.5) {
            return self.maintain(rng, totals);
        }
        if let Some(stage) = stage
            && rng.random_bool(0.6)
            && let Some(watch) = Watch::new(stage, &self.footfall.lake())
        {
            return self.watched(watch, totals);
        }
        let aimed = stage.and_then(|stage| self.aim_at(stage, rng));
        let life = if aimed.is_some() { AIMED_MS } else { rng.random_range(300..LIFE_MAX_MS) };
        let aim = aimed.unwrap_or_else(|| anywhere(rng));
        let trace = Trace::new(self.folder, self.footfall.lake());
        let footfall = self.footfall.clone().set("pipeline.rewrite_interval=1s");
        let broken = self.proxy.broken_off();
        let began = Instant::now();
        let mut running = trace.attach(&footfall, &aim).spawn("up", &self.listen)?;
        let process = running.process();
        self.live(&mut running, Duration::from_millis(life), rng, totals)?;
        // One in ten that lived until now is stopped instead.
        if running.ended()?.is_none() && rng.random_ratio(1, 10) {
            // It may come by what it is aimed at on its way down.
            let status = running.terminate()?;
            let is_meant = status.success() || matches!(status.signal(), Some(TERM | KILL));
            ensure!(is_meant, "it stopped with {status}");
            totals.stops += 1;
            return Ok(());
        }
        let how = match running.ended()? {
            Some(status) if status.signal() == Some(KILL) => aim.to_string(),
            Some(status) => bail!("it ended by itself: {status}"),
            None => {
                // The one that traces it may come first.
                let status = running.end_at_once()?;
                ensure!(status.signal() == Some(KILL), "it ended by itself: {status}");
                "random".to_owned()
            }
        };
        totals.kills += 1;
        let hit = trace.hit(process)?;
        println!("  {:.1} s, killed at {how}: {}", began.elapsed().as_secs_f64(), told(&hit));
        for stage in hit {
            totals.hits.count(stage);
        }
        self.count_always_hit(broken, totals);
        Ok(())
    }

    /// A process that lives at full speed until it stages what is watched for.
    fn watched(&mut self, watch: Watch, totals: &mut Totals) -> Result<()> {
        let broken = self.proxy.broken_off();
        let began = Instant::now();
        let footfall = self.footfall.clone().set("pipeline.rewrite_interval=1s");
        let hit = watch.kill(footfall.spawn("up", &self.listen)?, WATCHED_MAX, false)?;
        totals.kills += 1;
        let told = told(&hit.into_iter().collect());
        println!("  {:.1} s, killed as it staged a file: {told}", began.elapsed().as_secs_f64());
        hit.into_iter().for_each(|stage| totals.hits.count(stage));
        self.count_always_hit(broken, totals);
        Ok(())
    }

    /// What every kill of a process that is busy hits.
    fn count_always_hit(&self, broken: u64, totals: &mut Totals) {
        if self.proxy.broken_off() > broken {
            totals.hits.count(Stage::Accept);
        }
        if self.received().is_some_and(|received| received < self.client.records()) {
            totals.hits.count(Stage::Fold);
        }
    }

    /// Waits for a process's end, in a network that fails now and then.
    fn live(
        &self,
        running: &mut Running,
        life: Duration,
        rng: &mut ChaCha8Rng,
        totals: &mut Totals,
    ) -> Result<()> {
        let began = Instant::now();
        let mut holds_until = None;
        while began.elapsed() < life && running.ended()?.is_none() {
            std::thread::sleep(POLL);
            if rng.random_ratio(1, 50) {
                totals.network_faults += 1;
                match rng.random_range(0..3) {
                    0 => self.proxy.cut(false),
                    1 => self.proxy.cut(true),
                    _ => {
                        self.proxy.hold(true);
                        let pause = Duration::from_millis(rng.random_range(50..2_000));
                        holds_until = Some(Instant::now() + pause);
                    }
                }
            }
            if holds_until.is_some_and(|until| Instant::now() >= until) {
                self.proxy.hold(false);
                holds_until = None;
            }
        }
        self.proxy.hold(false);
        Ok(())
    }

    /// `maintain` beside the pipeline, killed as it commits.
    fn maintain(&mut self, rng: &mut ChaCha8Rng, totals: &mut Totals) -> Result<()> {
        let footfall = self.footfall.clone().set("pipeline.rewrite_interval=1h");
        let running = footfall.start_on("up", &self.listen)?;
        // Enough for a late event to wait for its repair, and for small files.
        std::thread::sleep(Duration::from_millis(rng.random_range(4_000..9_000)));
        let began = Instant::now();
        let watch = Watch::new(Stage::Repair, &self.footfall.lake()).context("no watch")?;
        let maintaining = self.footfall.spawn_command(&["maintain"])?;
        let hit = watch.kill(maintaining, MAINTAIN_MAX, true)?;
        let told = told(&hit.into_iter().collect());
        println!(
            "  {:.1} s, maintain killed as it committed: {told}",
            began.elapsed().as_secs_f64()
        );
        if let Some(stage) = hit {
            totals.hits.count(stage);
            totals.kills += 1;
        }
        running.kill()?;
        totals.kills += 1;
        Ok(())
    }

    /// Where a process is hit in a stage; `None` where that is not known yet.
    fn aim_at(&self, stage: Stage, rng: &mut ChaCha8Rng) -> Option<Aim> {
        let lake = self.footfall.lake();
        let at = |calls, when, path| Aim { calls, when, paths: vec![path] };
        match stage {
            Stage::Log => {
                let files = entries(&self.data.join("log"));
                let paths =
                    files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "jnl"));
                let paths: Vec<PathBuf> = paths.collect();
                let calls = *["write", "fsync"].choose(rng)?;
                (!paths.is_empty()).then(|| Aim { calls, when: rng.random_range(1..60), paths })
            }
            Stage::Parquet => {
                let folders = entries(&lake.join(["events", "sessions", "needs"].choose(rng)?));
                let day = folders.into_iter().find(|path| path.to_string_lossy().contains('='))?;
                Some(at("fsync", rng.random_range(1..3), day))
            }
            Stage::Commit(table) => {
                let log = lake.join(table).join("_delta_log");
                if rng.random_bool(0.5) {
                    // Behind it: the folder is synced when the version has its name.
                    return Some(at("fsync", 1, log));
                }
                Some(at("linkat", 1, next_versions(&log, rng.random_range(1..3)).pop()?))
            }
            Stage::Snapshot => {
                let topics = entries(&lake.join("_footfall/snapshots"));
                let partitions = entries(topics.first()?);
                Some(Aim { calls: "fsync", when: 1, paths: partitions })
            }
            Stage::Accept | Stage::Fold | Stage::Repair | Stage::Compaction => None,
        }
    }

    /// How many records the tables speak of; `None` before there are tables.
    fn received(&self) -> Option<u64> {
        let statement = "SELECT sum(received) FROM receipts";
        let said = self.footfall.run_well(&["sql", statement, "--format", "csv"]).ok()?;
        said.lines().nth(1).map(|number| number.parse().unwrap_or(0))
    }

    fn count_broken(&self, totals: &mut Totals) {
        totals.broken += self.client.broken();
        totals.refused += self.client.refused();
    }
}

fn told(hit: &BTreeSet<Stage>) -> String {
    let stages: Vec<String> = hit.iter().map(Stage::to_string).collect();
    if stages.is_empty() { "between stages".to_owned() } else { stages.join(", ") }
}

/// At any of the calls that write.
fn anywhere(rng: &mut ChaCha8Rng) -> Aim {
    let calls = [("fsync", 60), ("write", 200), ("linkat", 6), ("rename", 6), ("unlink", 6)];
    let (calls, most) = *calls.choose(rng).unwrap_or(&calls[0]);
    Aim { calls, when: rng.random_range(1..=most), paths: Vec::new() }
}

/// The names of a table's next versions.
fn next_versions(log: &Path, count: u64) -> Vec<PathBuf> {
    let names = entries(log).into_iter();
    let newest = names.filter_map(|path| path.file_stem()?.to_str()?.parse::<u64>().ok()).max();
    let next = newest.map_or(0, |version| version + 1);
    (next..next + count).map(|version| log.join(format!("{version:020}.json"))).collect()
}
