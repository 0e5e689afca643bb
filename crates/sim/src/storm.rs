//! What goes wrong while a shop is open.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use footfall_event::Micros;
use footfall_lake::Lake;
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::pipelines::Running;
use crate::process::{Doom, Process};
use crate::rules::Edition;
use crate::scenario::{SECOND, Scenario};
use crate::world::Weather;

/// At which steps a pipeline dies, and behind how many of them at most; a repair rewrites the last four, one by one.
const DOOMS: [(&str, u64); 8] = [
    ("", 60),
    ("commit", 20),
    ("put", 20),
    ("rewrite", 14),
    ("rewrite page_views", 2),
    ("rewrite needs", 2),
    ("rewrite sessions", 2),
    ("rewrite events", 4),
];

/// How soon a pipeline commits in a run of hours.
const COMMITS_WITHIN: Duration = Duration::from_secs(60);

const YEAR: Micros = Micros(365 * Micros::DAY.0);

impl Scenario {
    /// Something new goes wrong every few seconds.
    ///
    /// # Errors
    /// When a pipeline ends by itself.
    pub async fn storm(&mut self, steps: usize, lake: &Lake) -> Result<()> {
        for _ in 0..steps {
            let pause = self.world.chance().random_range(200..8_000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.bury().await?;
            let drawn = self.world.chance().random_range(0..18);
            match drawn {
                0..3 => self.doom_a_pipeline(),
                3 => {
                    let steps = self.world.chance().random_range(0..6);
                    self.door.process().dies(Doom { kind: "", steps });
                }
                4 if self.pipelines.len() < 3 && !self.is_of_one => self.start_pipeline().await?,
                5 if !self.is_of_one => {
                    if self.pipelines.len() < 2 {
                        self.start_pipeline().await?;
                        tokio::time::sleep(2 * SECOND).await;
                    }
                    self.deafen_one();
                }
                6 => self.let_all_go_on(),
                7 => {
                    let ahead = self.world.chance().random_range(-10_000_000..4_000_000);
                    let of_processes = self.world.chance().random_range(-10_000_000..4_000_000);
                    self.set_clocks(Micros(ahead), Micros(of_processes));
                }
                8 => self.leap().await,
                9 => self.stop_one(),
                10 => {
                    self.world.set_weather(Weather::CALM);
                }
                11 | 12 => self.change_rules(),
                13 => {
                    self.world.trace("world", "weather", "no space is left");
                    self.world.set_weather(Weather { is_full: true, ..Weather::CALM });
                }
                14 => self.load(lake).await?,
                15 | 16 if self.is_long => self.let_hours_pass(lake).await?,
                _ => {
                    let mut chance = self.world.chance();
                    let weather = Weather {
                        fails: chance.random_range(0..200),
                        loses_answer: chance.random_range(0..150),
                        slow: chance.random_range(0..150),
                        stalls: if chance.random_range(0..10) == 0 { 3 } else { 0 },
                        lands_later: chance.random_range(0..60),
                        is_full: false,
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
                self.lose_newest_snapshots(lake).await?;
                self.start_pipeline().await?;
            }
        }
        Ok(())
    }

    /// How far the log's clock and that of the processes are ahead of the true time.
    pub fn set_clocks(&self, log: Micros, processes: Micros) {
        self.world.trace("world", "clock", &format!("{} {}", log.0, processes.0));
        self.broker.set_ahead(log);
        self.world.set_ahead(processes);
    }

    /// A clock is a year ahead for a second.
    async fn leap(&self) {
        let (log, processes) = [(YEAR, Micros(0)), (Micros(0), YEAR), (YEAR, YEAR)]
            [self.world.chance().random_range(0..3)];
        self.world.trace("world", "leap", "");
        self.set_clocks(log, processes);
        tokio::time::sleep(SECOND).await;
        self.set_clocks(Micros(0), Micros(0));
    }

    fn doom_a_pipeline(&self) {
        let drawn = DOOMS.choose(&mut *self.world.chance()).copied();
        let (kind, most) = drawn.unwrap_or_default();
        let steps = self.world.chance().random_range(0..most.max(1));
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
        if let Some(running) = self.drawn_pipeline() {
            self.world.trace(&running.process.name, "deafened", "");
            self.broker.deafen(&running.process, true);
        }
    }

    /// Whoever stood still or did not hear goes on, and hears.
    pub fn let_all_go_on(&self) {
        for running in &self.pipelines {
            self.broker.deafen(&running.process, false);
            running.process.freeze(false);
        }
    }

    /// Pipelines that are started from now on have other rules; one is told to make room for it.
    fn change_rules(&mut self) {
        self.edition = *Edition::ALL.choose(&mut *self.world.chance()).unwrap_or(&self.edition);
        self.world.trace("world", "rules", &format!("{:?}", self.edition));
        self.stop_one();
    }

    /// For hours nobody reads, or all stand still, or one does while others read on. Files that were old before are
    /// deleted then.
    async fn let_hours_pass(&mut self, lake: &Lake) -> Result<()> {
        let seconds = self.world.chance().random_range(3_600..12_000);
        let drawn = self.world.chance().random_range(0..3);
        self.world.trace("world", "hours", &format!("{seconds} {drawn}"));
        match drawn {
            0 => self.pipelines.iter().for_each(|running| running.process.die()),
            1 if !self.is_of_one => {
                if let Some(running) = self.drawn_pipeline() {
                    self.let_stand_still(&running.process).await;
                }
                self.start_pipeline().await?;
            }
            _ => {
                for running in &self.pipelines {
                    self.let_stand_still(&running.process).await;
                }
            }
        }
        let old = self.old_files(lake).await?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.delete_old_files(&old, lake).await?;
        self.let_all_go_on();
        Ok(())
    }

    /// The process stands still, now or between what it wrote and its commit; the group, where there is one, takes it
    /// for gone.
    async fn let_stand_still(&self, process: &Arc<Process>) {
        if self.world.chance().random_bool(0.5) {
            process.halts_before("commit");
            let until = self.world.elapsed() + COMMITS_WITHIN;
            while !process.is_frozen() && !process.is_dead() && self.world.elapsed() < until {
                tokio::time::sleep(SECOND).await;
            }
        }
        self.world.trace(&process.name, "stands still", "");
        process.freeze(true);
        if !self.is_of_one {
            self.broker.deafen(process, true);
        }
    }
}
