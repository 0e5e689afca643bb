//! One run: a shop, pipelines that die and come back, and faults of all kinds; then calm, in which all
//! must come right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use footfall_event::{Micros, partition_of};
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
use crate::oracle;
use crate::process::{Doom, Process};
use crate::rules::rules;
use crate::store::SimStore;
use crate::storefront::{Client, Door, Ledger, SITE};
use crate::world::{Weather, World};

const SECOND: Duration = Duration::from_secs(1);
/// How soon a new event must be in `events` once nothing fails any more.
const RECOVERY_MAX: Duration = Duration::from_secs(300);
/// What the runs of one seed may take until all sessions are closed.
const SETTLING_MAX: Duration = Duration::from_secs(900);

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
    world: Arc<World>,
    broker: Arc<Broker>,
    store: Arc<InMemory>,
    /// The model of their logs; `None` for the real ones.
    tables: Option<ModelTables>,
    ledger: Arc<Ledger>,
    door: Door,
    pipelines: Vec<Running>,
    /// One process has all, as with the embedded log; else they share the partitions, as on Kafka.
    is_of_one: bool,
    /// Processes that were ever started.
    started: usize,
}

struct Running {
    process: Arc<Process>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), PipelineError>>,
}

impl Scenario {
    pub fn new(seed: u64, on_real_tables: bool, shows: bool) -> Scenario {
        let world = Arc::new(World::new(seed, shows));
        let partitions = world.chance().random_range(1..=3);
        let is_of_one = world.chance().random_bool(0.3);
        let broker = Broker::new(&world, partitions, is_of_one);
        let door = Door::new(&world, &broker);
        Scenario {
            world,
            broker,
            store: Arc::new(InMemory::new()),
            tables: (!on_real_tables).then(ModelTables::default),
            ledger: Arc::default(),
            door,
            pipelines: Vec::new(),
            is_of_one,
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
            session_gap: rules().session_gap,
            session_cap: rules().session_cap,
        })
        .await?;
        self.start_pipeline().await?;
        let clients = self.open_shop(size);
        self.storm(size.steps).await?;
        self.world.calm_down();
        self.calm(&lake).await?;
        for client in clients {
            client.await?;
        }
        self.settle(&lake).await?;
        let rows =
            oracle::check(&self.world, &self.broker, &self.ledger, &lake, definitions).await?;
        let events = self.ledger.sent().len();
        Ok(Outcome { events, counts: self.world.counts(), trace: self.world.digest(), rows })
    }

    fn lake(&self, process: &Arc<Process>) -> Result<Lake> {
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
            visitor_id: format!("v{number}"),
            ahead: Micros(0),
            events: size.events_each,
            bad: 2,
            pause_max: Duration::from_millis(if number.is_multiple_of(3) { 30_000 } else { 6_000 }),
        };
        (0..size.visitors).map(|number| tokio::spawn(client(number).visit())).collect()
    }

    async fn start_pipeline(&mut self) -> Result<()> {
        self.started += 1;
        let process = Process::new(&self.world, format!("pipeline{}", self.started));
        self.world.trace(&process.name, "started", "");
        let (lake, stop) = (self.lake(&process)?, CancellationToken::new());
        let log: Arc<dyn EventLog> =
            Arc::new(SimLog { broker: self.broker.clone(), process: process.clone() });
        let settings = PipelineSettings {
            jobs_run: JobsRun::OnRuntime,
            group: "pipelines".to_owned(),
            signals_topic: "signals".to_owned(),
            commit_interval: 2 * SECOND,
            commit_rows_max: 10_000,
            snapshot_interval: 6 * SECOND,
            rewrite_interval: 5 * SECOND,
            retention: Retention::default(),
            erasure_grace: 60 * SECOND,
            max_age: Micros(7 * Micros::DAY.0),
            rules: Arc::new(rules()),
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

    /// Something new goes wrong every few seconds.
    async fn storm(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            let pause = self.world.chance().random_range(200..8_000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.bury().await?;
            let drawn = self.world.chance().random_range(0..13);
            match drawn {
                0..3 => self.doom_a_pipeline(),
                3 => {
                    let steps = self.world.chance().random_range(0..6);
                    self.door.process().dies(Doom { kind: "", steps });
                }
                4 if self.pipelines.len() < 3 && !self.is_of_one => self.start_pipeline().await?,
                5 if !self.is_of_one => {
                    if self.broker.members().len() < 2 {
                        self.start_pipeline().await?;
                        tokio::time::sleep(2 * SECOND).await;
                    }
                    self.deafen_one();
                }
                6 => self.let_all_hear(),
                7 => {
                    let ahead = self.world.chance().random_range(-10_000_000..4_000_000);
                    self.set_broker_clock(Micros(ahead));
                }
                8 => {
                    self.set_broker_clock(Micros(365 * Micros::DAY.0));
                    tokio::time::sleep(SECOND).await;
                    self.set_broker_clock(Micros(0));
                }
                9 => self.stop_one(),
                10 => self.world.set_weather(Weather::CALM),
                _ => {
                    let mut chance = self.world.chance();
                    let weather = Weather {
                        fails: chance.random_range(0..200),
                        loses_answer: chance.random_range(0..150),
                        slow: chance.random_range(0..150),
                        stalls: if chance.random_range(0..10) == 0 { 3 } else { 0 },
                    };
                    drop(chance);
                    self.world.trace("world", "weather", &format!("{weather:?}"));
                    self.world.set_weather(weather);
                }
            }
            if self.door.process().is_dead() {
                self.door.open_again();
            }
            if self.pipelines.is_empty() {
                self.start_pipeline().await?;
            }
        }
        Ok(())
    }

    fn set_broker_clock(&self, ahead: Micros) {
        self.world.trace("broker", "clock", &ahead.0.to_string());
        self.broker.set_ahead(ahead);
    }

    fn doom_a_pipeline(&self) {
        let (kind, most) = [("", 60), ("commit", 20), ("rewrite", 4), ("put", 20)]
            [self.world.chance().random_range(0..4)];
        let steps = self.world.chance().random_range(0..most);
        if let Some(running) = self.drawn_pipeline() {
            running.process.dies(Doom { kind, steps });
        }
    }

    fn drawn_pipeline(&self) -> Option<&Running> {
        let drawn = self.world.chance().random_range(0..self.pipelines.len().max(1));
        self.pipelines.get(drawn)
    }

    fn stop_one(&self) {
        if let Some(running) = self.drawn_pipeline() {
            self.world.trace(&running.process.name, "asked to stop", "");
            running.stop.cancel();
        }
    }

    fn deafen_one(&self) {
        let members = self.broker.members();
        let drawn = self.world.chance().random_range(0..members.len().max(1));
        if let Some(member) = members.get(drawn) {
            self.world.trace("broker", "deafened", &member.to_string());
            self.broker.deafen(*member);
        }
    }

    fn let_all_hear(&self) {
        for member in self.broker.members() {
            self.broker.hears_again(member);
        }
    }

    /// Takes those away that ended; one that failed for good fails the run.
    async fn bury(&mut self) -> Result<()> {
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
    async fn calm(&mut self, lake: &Lake) -> Result<()> {
        self.broker.set_ahead(Micros(0));
        self.let_all_hear();
        self.pipelines.iter().for_each(|running| running.process.spare());
        self.door.process().spare();
        let calm_at = self.world.elapsed();
        let probes = self.probes();
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
    fn probes(&self) -> Vec<String> {
        let partitions = self.broker.partitions();
        let of = |partition: i32| {
            let mut names = (0..).map(|number| format!("probe{number}"));
            names.find(|name| partition_of(SITE, name, partitions).0 == partition)
        };
        (0..partitions as i32).filter_map(of).collect()
    }

    fn probe(&self, visitor_id: String) -> Client {
        Client {
            world: self.world.clone(),
            door: self.door.clone(),
            ledger: self.ledger.clone(),
            visitor_id,
            ahead: Micros(0),
            events: 1,
            bad: 0,
            pause_max: Duration::from_millis(20),
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
    async fn settle(&mut self, lake: &Lake) -> Result<()> {
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
            tokio::time::sleep(5 * SECOND).await;
            self.keep_running().await?;
        }
        self.require_repaired(lake).await?;
        for running in &self.pipelines {
            running.stop.cancel();
        }
        while !self.pipelines.is_empty() {
            tokio::time::sleep(SECOND).await;
            self.bury().await?;
        }
        Ok(())
    }

    /// Every late event has been given its session.
    async fn require_repaired(&self, lake: &Lake) -> Result<()> {
        let (rules, retention) = (Arc::new(rules()), Retention::default());
        let done = rewrite(lake, &rules, &retention, &mut SettledFiles::default()).await?;
        ensure!(
            done.repaired == Repaired::default(),
            "late events still wait: {:?}",
            done.repaired
        );
        Ok(())
    }
}
