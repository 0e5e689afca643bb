//! One run: a shop, pipelines that die and come back, and faults of all kinds; then calm, in which all
//! must come right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use footfall_event::{Micros, Partition, partition_of};
use footfall_lake::{DeltaLogs, Lake, LakeSettings, ModelTables, StoredLogs};
use footfall_log::EventLog;
use footfall_pipeline::{
    Health, JobsRun, Metrics, Pipeline, PipelineError, PipelineSettings, Repaired, Retention,
    SettledFiles, rewrite,
};
use object_store::memory::InMemory;
use rand::Rng;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, SimLog, TOPIC};
use crate::definitions::Definitions;
use crate::load::Loading;
use crate::lost_log::snapshot_at;
use crate::oracle;
use crate::process::Process;
use crate::rules::Edition;
use crate::store::SimStore;
use crate::storefront::{Client, Door, Ledger, OTHER_SITE, SITE};
use crate::world::{SimulatedClock, World};

pub const SECOND: Duration = Duration::from_secs(1);
/// How soon a new event must be in `events` once nothing fails any more.
const RECOVERY_MAX: Duration = Duration::from_secs(300);
/// What the runs of one seed may take until all sessions are closed.
const SETTLING_MAX: Duration = Duration::from_secs(900);

const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(6);
/// How many intervals may lie between a partition's snapshots when nothing fails: partitions take turns.
const SNAPSHOTS_WITHIN: u32 = 4;

/// How often the pipelines' job may look for late events once all sessions are over.
const REPAIRS: usize = 12;

/// What a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub events: usize,
    /// How often each kind of step was done, and each fault met.
    pub counts: BTreeMap<String, u64>,
    /// Of all that was done, and in which order.
    pub trace: u64,
    /// Of the rows of all tables.
    pub rows: u64,
}

/// How large a run is; a failed one is tried again with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub visitors: usize,
    pub events_each: usize,
    /// What the storm does, in steps of some seconds.
    pub steps: usize,
}

impl Size {
    pub const FULL: Size = Size { visitors: 6, events_each: 14, steps: 14 };
}

/// All of a run.
pub struct Scenario {
    pub world: Arc<World>,
    pub broker: Arc<Broker>,
    pub store: Arc<InMemory>,
    /// The model of their logs; `None` for the real ones.
    tables: Option<ModelTables>,
    pub ledger: Arc<Ledger>,
    pub door: Door,
    pub pipelines: Vec<Running>,
    /// One process has all, as with the embedded log; else they share the partitions, as on Kafka.
    pub is_of_one: bool,
    /// It lasts for hours.
    pub is_long: bool,
    /// The rules of pipelines that are started from now on.
    pub edition: Edition,
    pub loading: Option<Loading>,
    /// Loads that were ever begun.
    pub loads: usize,
    /// Of partitions that lost their newest snapshot, the one before it.
    pub last_snapshots: BTreeMap<Partition, String>,
    _clock: SimulatedClock,
    /// Processes that were ever started.
    started: usize,
}

pub struct Running {
    pub process: Arc<Process>,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), PipelineError>>,
}

impl Scenario {
    pub fn new(seed: u64, on_real_tables: bool, shows: bool) -> Scenario {
        let world = Arc::new(World::new(seed, shows));
        let partitions = world.chance().random_range(1..=3);
        let is_of_one = world.chance().random_bool(0.3);
        let is_long = world.chance().random_bool(0.1);
        let broker = Broker::new(&world, partitions, is_of_one);
        let door = Door::new(&world, &broker);
        Scenario {
            broker,
            store: Arc::new(InMemory::new()),
            tables: (!on_real_tables).then(ModelTables::default),
            ledger: Arc::default(),
            door,
            pipelines: Vec::new(),
            is_of_one,
            is_long,
            edition: Edition::First,
            loading: None,
            loads: 0,
            last_snapshots: BTreeMap::new(),
            _clock: SimulatedClock::of(&world),
            world,
            started: 0,
        }
    }

    /// # Errors
    /// What does not hold.
    pub async fn run(mut self, size: Size, definitions: &mut Definitions) -> Result<Outcome> {
        let observer = Process::new(&self.world, "observer".to_owned());
        let lake = self.lake(&observer)?;
        lake.make(&LakeSettings {
            topic: TOPIC.to_owned(),
            partitions: self.broker.partitions(),
            session_gap: self.edition.rules().session_gap,
            session_cap: self.edition.rules().session_cap,
        })
        .await?;
        self.begin_emptied();
        self.start_pipeline().await?;
        if self.lose_the_log_at_once(&lake).await? {
            return Ok(self.outcome(oracle::rows_of_events(&lake).await?));
        }
        let clients = self.open_shop(size);
        self.storm(size.steps, &lake).await?;
        self.world.calm_down();
        self.calm(&lake, "probe").await?;
        self.finish_load().await?;
        for client in clients {
            client.await?;
        }
        self.settle(&lake).await?;
        let rows = self.check(&lake, definitions).await?;
        let rows = self.lose_the_log(&lake, definitions).await?.unwrap_or(rows);
        Ok(self.outcome(rows))
    }

    fn outcome(&self, rows: u64) -> Outcome {
        let events = self.ledger.sent().len();
        Outcome { events, counts: self.world.counts(), trace: self.world.digest(), rows }
    }

    /// Holds all tables against the definitions; stands for their rows.
    pub async fn check(&self, lake: &Lake, definitions: &mut Definitions) -> Result<u64> {
        oracle::check(&self.world, &self.broker, &self.ledger, lake, definitions).await
    }

    pub fn lake(&self, process: &Arc<Process>) -> Result<Lake> {
        let store = SimStore { store: self.store.clone(), process: process.clone() };
        let logs: Arc<dyn DeltaLogs> = match &self.tables {
            Some(tables) => Arc::new(tables.reached_through(process.clone())),
            None => Arc::new(StoredLogs),
        };
        Ok(Lake::in_store(Arc::new(store), logs)?)
    }

    fn open_shop(&self, size: Size) -> Vec<JoinHandle<()>> {
        let client = |number: usize| Client {
            world: self.world.clone(),
            door: self.door.clone(),
            ledger: self.ledger.clone(),
            site: if number % 3 == 2 { OTHER_SITE } else { SITE },
            visitor_id: format!("v{}", if number % 3 == 2 { number - 1 } else { number }),
            ahead: Micros(0),
            events: size.events_each,
            odd: 2,
            pause_max: Duration::from_millis(if number.is_multiple_of(3) { 30_000 } else { 6_000 }),
            comes_back: self.is_long && number.is_multiple_of(2),
        };
        (0..size.visitors).map(|number| tokio::spawn(client(number).visit())).collect()
    }

    pub async fn start_pipeline(&mut self) -> Result<()> {
        self.started += 1;
        let process = Process::new(&self.world, format!("pipeline{}", self.started));
        self.world.trace(&process.name, "started", "");
        let (lake, stop) = (self.lake(&process)?, CancellationToken::new());
        let log: Arc<dyn EventLog> =
            Arc::new(SimLog { broker: self.broker.clone(), process: process.clone() });
        let slow = self.slowness();
        let settings = PipelineSettings {
            jobs_run: JobsRun::OnRuntime,
            group: "pipelines".to_owned(),
            signals_topic: "signals".to_owned(),
            commit_interval: 2 * SECOND * slow,
            commit_rows_max: 10_000,
            snapshot_interval: SNAPSHOT_INTERVAL * slow,
            rewrite_interval: 5 * SECOND * slow,
            retention: Retention::default(),
            erasure_grace: 60 * SECOND,
            max_age: Micros(7 * Micros::DAY.0),
            rules: Arc::new(self.edition.rules()),
        };
        let (told, dying) = (stop.clone(), process.clone());
        let is_of_one = self.is_of_one;
        let task = tokio::spawn(async move {
            let run = async {
                let metrics = Metrics::register(&prometheus::Registry::new())
                    .map_err(|error| PipelineError::Source(error.to_string()))?;
                let health = Health::default();
                loop {
                    let opened = Pipeline::open(
                        log.clone(),
                        lake.clone(),
                        settings.clone(),
                        metrics.clone(),
                        health.clone(),
                    );
                    match opened.await {
                        Ok(pipeline) => return pipeline.run(told.clone()).await,
                        // A person, or whatever runs it, starts it again.
                        Err(error) if error.passes() => tokio::time::sleep(SECOND).await,
                        Err(error) => return Err(error),
                    }
                }
            };
            let mut run = Box::pin(run);
            tokio::select! {
                biased;
                // Killed, it says no goodbye: the group waits until its time is over.
                () = dying.death() => {
                    if !is_of_one {
                        tokio::time::sleep(10 * SECOND).await;
                    }
                    drop(run);
                    Ok(())
                }
                ended = &mut run => ended,
            }
        });
        self.pipelines.push(Running { process, stop, task });
        Ok(())
    }

    /// How much slower pipelines commit in a long run: hours of commits every other second would take hours. It is as
    /// slow as a window of two minutes allows, a commit in a quarter of it.
    fn slowness(&self) -> u32 {
        if self.is_long { 14 } else { 1 }
    }

    /// Takes those away that ended; one that failed for good fails the run.
    pub async fn bury(&mut self) -> Result<()> {
        let mut alive = Vec::new();
        for running in std::mem::take(&mut self.pipelines) {
            if running.task.is_finished() {
                let ended = running.task.await.context("a pipeline panicked")?;
                ended.with_context(|| format!("{} ended", running.process.name))?;
            } else {
                alive.push(running);
            }
        }
        self.pipelines = alive;
        Ok(())
    }

    /// Nothing fails any more: a new event must be found soon.
    pub async fn calm(&mut self, lake: &Lake, prober: &str) -> Result<()> {
        self.set_clocks(Micros(0), Micros(0));
        self.let_all_go_on();
        self.pipelines.iter().for_each(|running| running.process.spare());
        self.door.process().spare();
        let calm_at = self.world.elapsed();
        let probes = self.probes(prober);
        let visits = probes.iter().map(|probe| tokio::spawn(self.probe(probe.clone()).visit()));
        let visits: Vec<JoinHandle<()>> = visits.collect();
        while self.world.elapsed() < calm_at + RECOVERY_MAX {
            tokio::time::sleep(SECOND).await;
            self.keep_running().await?;
            if oracle::has_events_of(lake, &probes).await? {
                for visit in visits {
                    visit.await?;
                }
                return Ok(());
            }
        }
        bail!("new events were not in `events` {RECOVERY_MAX:?} after the last fault")
    }

    /// A visitor for each partition.
    pub fn probes(&self, prober: &str) -> Vec<String> {
        let partitions = self.broker.partitions();
        let of = |partition: i32| {
            let mut names = (0..).map(|number| format!("{prober}{number}"));
            names.find(|name| partition_of(SITE, name, partitions).0 == partition)
        };
        (0..partitions as i32).filter_map(of).collect()
    }

    pub fn probe(&self, visitor_id: String) -> Client {
        Client {
            world: self.world.clone(),
            door: self.door.clone(),
            ledger: self.ledger.clone(),
            site: SITE,
            visitor_id,
            ahead: Micros(0),
            events: 1,
            odd: 0,
            pause_max: Duration::from_millis(20),
            comes_back: false,
        }
    }

    /// Opens the door and starts a pipeline where there is none.
    async fn keep_running(&mut self) -> Result<()> {
        self.bury().await?;
        if self.door.process().is_dead() {
            self.door.open_again();
        }
        let mut pipelines = self.pipelines.iter();
        let is_served = pipelines.any(|it| !it.process.is_dead() && !it.stop.is_cancelled());
        match !is_served && (self.pipelines.is_empty() || !self.is_of_one) {
            true => self.start_pipeline().await,
            false => Ok(()),
        }
    }

    /// Waits until every session is over and in the tables, and stops the pipelines.
    pub async fn settle(&mut self, lake: &Lake) -> Result<()> {
        let quiet_at = self.world.elapsed();
        loop {
            ensure!(
                self.world.elapsed() < quiet_at + SETTLING_MAX,
                "the sessions were not all in the tables {SETTLING_MAX:?} after the last event"
            );
            tokio::time::sleep(5 * SECOND).await;
            self.keep_running().await?;
            if oracle::is_settled(&self.broker, lake).await? {
                break;
            }
        }
        // The pipelines' own job has all the time it needs; nobody else mends what it leaves.
        for _ in 0..REPAIRS {
            tokio::time::sleep(5 * SECOND * self.slowness()).await;
            self.keep_running().await?;
        }
        self.require_repaired(lake).await?;
        self.require_snapshots(lake).await?;
        self.stop_all().await
    }

    pub async fn stop_all(&mut self) -> Result<()> {
        for running in &self.pipelines {
            running.stop.cancel();
        }
        let told_at = self.world.elapsed();
        while !self.pipelines.is_empty() {
            ensure!(
                self.world.elapsed() < told_at + RECOVERY_MAX,
                "a pipeline did not stop {RECOVERY_MAX:?} after it was asked to"
            );
            tokio::time::sleep(SECOND).await;
            self.bury().await?;
        }
        Ok(())
    }

    /// A restart has little to read again, and the log little to keep.
    async fn require_snapshots(&self, lake: &Lake) -> Result<()> {
        let within = SNAPSHOT_INTERVAL * self.slowness() * SNAPSHOTS_WITHIN;
        let due = self.world.now() - Micros(within.as_micros() as i64);
        for partition in (0..self.broker.partitions() as i32).map(Partition) {
            let at = snapshot_at(lake, partition).await?;
            let unread = self.broker.records(partition).into_iter().nth(at.0 as usize);
            ensure!(
                unread.is_none_or(|record| record.append_time >= due),
                "the newest snapshot of partition {} is at {at}, and older than {within:?}",
                partition.0
            );
        }
        Ok(())
    }

    /// Every late event has been given its session.
    async fn require_repaired(&self, lake: &Lake) -> Result<()> {
        let (rules, retention) = (Arc::new(self.edition.rules()), Retention::default());
        let done = rewrite(lake, &rules, &retention, &mut SettledFiles::default()).await?;
        ensure!(
            done.repaired == Repaired::default(),
            "late events still wait: {:?}\n{}",
            done.repaired,
            oracle::without_session(lake).await?
        );
        Ok(())
    }
}
