//! One run: a shop, pipelines that die and come back, and faults of all kinds; then calm, in which all
//! must come right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use footfall_event::{Micros, Partition, partition_of};
use footfall_lake::{DeltaLogs, Lake, LakeSettings, ModelTables, StoredLogs};
use footfall_pipeline::{Repaired, Retention, SettledFiles, rewrite};
use object_store::memory::InMemory;
use rand::Rng;
use tokio::task::JoinHandle;

use crate::broker::{Broker, TOPIC};
use crate::definitions::Definitions;
use crate::load::Loading;
use crate::oracle;
use crate::pipelines::Running;
use crate::process::Process;
use crate::rules::Edition;
use crate::store::SimStore;
use crate::storefront::{Client, Door, Ledger, OTHER_SITE, SITE};
use crate::world::{SimulatedClock, World};

pub const SECOND: Duration = Duration::from_secs(1);
/// How soon a new event must be in `events` once nothing fails any more.
pub const RECOVERY_MAX: Duration = Duration::from_secs(300);
/// How soon all sessions must be in the tables behind the last event.
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
    /// Pipelines that were ever started.
    pub started: usize,
    _clock: SimulatedClock,
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
            started: 0,
            _clock: SimulatedClock::of(&world),
            world,
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
