//! The snapshots of a run: where the newest of a partition stands, that it is of the last minutes, and that the one
//! before it does where it is lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_event::{Micros, Offset, Partition};
use footfall_lake::Lake;
use rand::Rng;

use crate::broker::TOPIC;
use crate::scenario::Scenario;
use crate::world::Weather;

pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(6);
/// How many intervals may lie between a partition's snapshots when nothing fails: partitions take turns.
const SNAPSHOTS_WITHIN: u32 = 4;

impl Scenario {
    /// Now and then somebody deletes the newest snapshot of each partition, which was broken, and the one before it
    /// has to do. That one is not lost as well before there is another: the log is kept from it on, and no further.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn lose_newest_snapshots(&mut self, lake: &Lake) -> Result<()> {
        if !self.is_of_one || !self.world.chance().random_bool(0.3) {
            return Ok(());
        }
        let weather = self.world.set_weather(Weather::CALM);
        for partition in (0..self.broker.partitions() as i32).map(Partition) {
            let names = lake.list(&snapshots(partition)).await?;
            if let [.., before, newest] = names.as_slice()
                && self.last_snapshots.get(&partition) != Some(newest)
            {
                self.last_snapshots.insert(partition, before.clone());
                lake.delete(&format!("{}/{newest}", snapshots(partition))).await?;
                self.world.trace("world", "snapshot lost", &partition.0.to_string());
            }
        }
        self.world.set_weather(weather);
        Ok(())
    }

    /// A restart has little to read again, and the log little to keep.
    pub async fn require_snapshots(&self, lake: &Lake) -> Result<()> {
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
}

/// The folder of a partition's snapshots.
pub fn snapshots(partition: Partition) -> String {
    format!("_footfall/snapshots/{TOPIC}/{}", partition.0)
}

/// Up to which record the newest snapshot speaks; its name tells it.
pub async fn snapshot_at(lake: &Lake, partition: Partition) -> Result<Offset> {
    let names = lake.list(&snapshots(partition)).await?;
    let newest = names.last().context("no snapshot")?;
    let digits: String = newest.chars().filter(char::is_ascii_digit).collect();
    Ok(Offset(digits.parse()?))
}
