//! What each part is given of the configuration. Reading it is left to `config`, starting the parts to
//! `parts`.

use std::sync::Arc;

use footfall_enrich::Enricher;
use footfall_event::Limits;
use footfall_ingest::{IngestSettings, Rates, Schemas};
use footfall_pipeline::{JobsRun, PipelineSettings, Retention};
use footfall_query::{Declared, DeclaredNeed, DeclaredStep, Pipelines, QuerySettings};
use footfall_sessionizer::Rules;

use crate::config::Config;
use crate::server;

/// What the collector takes, and from whom.
///
/// # Errors
/// A file that the configuration names cannot be read, or does not hold what it should.
pub fn ingest_settings(config: &Config) -> anyhow::Result<IngestSettings> {
    let ingest = &config.ingest;
    let keys = config.keys.iter();
    Ok(IngestSettings {
        default_site: ingest.default_site.clone(),
        keys: keys
            .map(|key| footfall_ingest::Key {
                site: key.site.clone(),
                sha256: key.sha256,
                origins: key.origins.clone(),
            })
            .collect(),
        limits: Limits { max_age: ingest.max_age, ..Limits::default() },
        body_bytes_max: ingest.body_bytes_max,
        inflated_bytes_max: ingest.inflated_bytes_max,
        batch_events_max: ingest.batch_events_max,
        event_bytes_max: ingest.event_bytes_max,
        bodies_in_flight_bytes_max: ingest.bodies_in_flight_bytes_max,
        connections_max: ingest.connections_max,
        header_bytes_max: ingest.header_bytes_max,
        header_timeout: ingest.header_timeout,
        body_timeout: ingest.body_timeout,
        keep_alive_timeout: ingest.keep_alive_timeout,
        drain_timeout: ingest.drain_timeout,
        allowed_lateness: config.rules.allowed_lateness,
        rates: Arc::new(Rates::new(config.gate.rates)),
        consent: config.gate.consent,
        schemas: Arc::new(Schemas::read(&config.gate.schemas)?),
        proxies: ingest.proxies,
        ..IngestSettings::with(Arc::new(Enricher::new(&config.enrich)?))
    })
}

/// The rules of one partition. A bound of the whole is shared out, alike wherever it is folded.
pub fn pipeline_rules(config: &Config) -> Rules {
    let mut rules = config.rules.clone();
    let partitions = u64::from(config.log.partitions.max(1));
    rules.dedupe_ids_max = (rules.dedupe_ids_max / partitions).max(1);
    rules.held_events_max = (rules.held_events_max / partitions).max(1);
    rules
}

/// What the fold is run with.
pub fn pipeline_settings(config: &Config) -> PipelineSettings {
    PipelineSettings {
        jobs_run: JobsRun::OnThreads,
        group: config.log.group.clone(),
        signals_topic: config.log.signals_topic.clone(),
        commit_interval: config.pipeline.commit_interval,
        commit_rows_max: config.pipeline.commit_rows_max,
        snapshot_interval: config.pipeline.snapshot_interval,
        rewrite_interval: config.pipeline.rewrite_interval,
        retention: Retention(config.retention.clone()),
        erasure_grace: config.pipeline.erasure_grace,
        max_age: config.ingest.max_age,
        rules: Arc::new(pipeline_rules(config)),
    }
}

/// The query part's settings, for the server and for `footfall sql`.
///
/// # Errors
/// Those of [`pipelines`].
pub fn query_settings(config: &Config) -> anyhow::Result<QuerySettings> {
    let query = &config.query;
    Ok(QuerySettings {
        memory_bytes_max: query.memory_bytes_max,
        spill_bytes_max: query.spill_bytes_max,
        spill_folder: None,
        process_bytes_max: None,
        time_max: query.time_max,
        rows_max: query.rows_max,
        concurrency_max: query.concurrency_max,
        queue_time_max: query.queue_time_max,
        threads: query.threads.unwrap_or(0),
        declared: declared(&config.rules),
        pipelines: pipelines(config)?,
    })
}

/// Who holds the live tables, and the token for them.
///
/// # Errors
/// A file of a token that cannot be read; a token that could be read on its way.
fn pipelines(config: &Config) -> anyhow::Result<Pipelines> {
    let urls = config.query.pipelines.clone();
    if urls.is_empty() {
        return Ok(Pipelines::default());
    }
    let token = server::token(config.query.pipelines_token_file.as_deref())?;
    if token.is_some() {
        urls.iter().try_for_each(|url| server::require_secrecy(url))?;
    }
    Ok(Pipelines { urls, token })
}

fn declared(rules: &Rules) -> Declared {
    let steps = rules.steps.iter();
    let steps = steps.map(|step| DeclaredStep { name: step.name.clone(), when: step.when.clone() });
    let needs = rules.needs.iter().map(|need| DeclaredNeed {
        name: need.name.clone(),
        raised_by: need.raised_by.clone(),
        found_by: need.found_by.clone(),
        within_us: need.within.0,
        clicks_max: i64::from(need.max_clicks),
    });
    Declared {
        steps: steps.collect(),
        needs: needs.collect(),
        conversion: Some(rules.conditions.conversion.clone()),
        session_cap_us: rules.session_cap.0,
    }
}

#[cfg(test)]
mod tests {
    use footfall_event::Micros;

    use super::*;

    #[test]
    fn the_collectors_own_defaults_are_those_of_the_configuration() {
        let config = Config::load(None, [], &[], &|_| Ok(())).unwrap();
        let (ours, theirs) = (ingest_settings(&config).unwrap(), IngestSettings::default());
        assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    }

    /// What the door takes is what the fold looks for, and a bound of the whole is shared out once.
    #[test]
    fn the_pipeline_is_given_what_the_configuration_says() {
        let mut config = Config::load(None, [], &[], &|_| Ok(())).unwrap();
        config.ingest.max_age = Micros(9 * Micros::DAY.0);
        config.log.partitions = 4;
        config.rules.dedupe_ids_max = 1_000;
        config.rules.held_events_max = 2;
        let settings = pipeline_settings(&config);
        assert_eq!(settings.max_age, config.ingest.max_age);
        assert_eq!(settings.max_age, ingest_settings(&config).unwrap().limits.max_age);
        assert_eq!((settings.rules.dedupe_ids_max, settings.rules.held_events_max), (250, 1));
    }
}
