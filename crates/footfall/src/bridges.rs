//! The bridges of the configuration: topics of other systems, each with the map by which its messages are events.
//! Carrying them is left to the collector.

use std::sync::Arc;

use anyhow::bail;
use footfall_event::{BadField, Event};
use footfall_ingest::{Bridge, IngestSettings, MessageReader, Metrics};
use footfall_log::kafka::{KafkaSource, SourceSettings};
use footfall_log::{EventLog, LogError};

use crate::config::Config;
use crate::map::{Format, LoadMap, Plan, read_json};

/// A topic and what its messages mean.
pub struct MappedTopic {
    name: String,
    source: SourceSettings,
    reader: Reader,
}

struct Reader(Plan);

/// Reads the maps of all bridges.
///
/// # Errors
/// A map with mistakes, or one for files that are not JSON.
pub fn read(config: &Config) -> anyhow::Result<Vec<MappedTopic>> {
    let mut all = Vec::new();
    for bridge in &config.bridges {
        let map = LoadMap::load(&bridge.map)?;
        if map.format.is_some_and(|format| format != Format::JsonLines) {
            let (name, path) = (&bridge.name, bridge.map.display());
            bail!("{path}: bridge `{name}` reads messages of JSON: leave `format` out");
        }
        all.push(MappedTopic {
            name: bridge.name.clone(),
            source: SourceSettings {
                brokers: bridge.brokers.clone(),
                topic: bridge.topic.clone(),
                group: format!("{}.{}", config.log.group, bridge.name),
                start: bridge.start,
            },
            reader: Reader(Plan::new(&map, &config.ingest.default_site)),
        });
    }
    Ok(all)
}

impl MappedTopic {
    /// Joins the group of the topic.
    ///
    /// # Errors
    /// When Kafka's client cannot be made.
    pub fn join(
        self,
        settings: Arc<IngestSettings>,
        log: Arc<dyn EventLog>,
        metrics: Metrics,
    ) -> Result<Bridge, LogError> {
        let MappedTopic { name, source, reader } = self;
        let source = KafkaSource::join(source)?;
        Ok(Bridge { name, source, reader: Arc::new(reader), settings, log, metrics })
    }
}

impl MessageReader for Reader {
    fn read<'a>(&'a self, value: &'a [u8], event: &mut Event<'a>) -> Result<(), BadField> {
        read_json(value, "message", &self.0, event)
    }
}

#[cfg(test)]
mod tests;
