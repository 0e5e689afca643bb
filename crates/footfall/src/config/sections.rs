//! Reads the sections of the configuration: each key's type and the range that makes sense. Lists are
//! left to `lists`, what must hold between keys to `relations`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use footfall_enrich::{EnrichSettings, IpKept};
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_ingest::{Consent, ConsentPolicy, Rate, RateSettings};
use footfall_sessionizer::{Conditions, Rules};

use super::layers::Layers;
use super::values;
use super::{
    CheckSql, Config, Gate, Ingest, Log, LogFormat, Pipeline, Query, Telemetry, TlsFiles, lists,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The log takes records of at most 1 MiB, and a record may be four times its event.
const EVENT_BYTES_MAX: u64 = 224 * KIB;
const PARTITIONS_MAX: u64 = 1024;
const PROXIES_MAX: u64 = 16;
/// Each event that counts may be held in memory.
const EVENTS_PER_SESSION_MAX: u64 = 1_000_000;
const COUNT_MAX: u64 = 1_000_000_000;
const MILLISECOND: Micros = Micros(1_000);
const YEAR: Micros = Micros(366 * Micros::DAY.0);
const CENTURY: Micros = Micros(100 * YEAR.0);

/// The configuration as the sources have it; relations between settings are not checked yet.
pub fn read(layers: &mut Layers<'_>, check_sql: CheckSql<'_>) -> Config {
    Config {
        data_dir: layers.read("data_dir", values::some_text).into(),
        ingest: ingest(layers),
        enrich: enrich(layers),
        gate: gate(layers),
        keys: lists::keys(layers),
        bridges: lists::bridges(layers),
        tokens: lists::tokens(layers),
        log: log(layers),
        lake_url: some(layers.read("lake.url", values::lake_url)),
        pipeline: pipeline(layers),
        retention: retention(layers),
        query: query(layers),
        rules: rules(layers, check_sql),
        telemetry: telemetry(layers),
        settings: Vec::new(),
        sources: super::Sources::default(),
    }
}

fn ingest(layers: &mut Layers<'_>) -> Ingest {
    let timeout = Micros(100 * MILLISECOND.0)..=Micros::HOUR;
    Ingest {
        listen: layers.read("ingest.listen", values::address),
        tls: tls(layers, "ingest"),
        default_site: layers.read("ingest.default_site", values::site),
        body_bytes_max: bytes(layers, "ingest.body_bytes_max", KIB..=GIB) as usize,
        inflated_bytes_max: bytes(layers, "ingest.inflated_bytes_max", KIB..=4 * GIB) as usize,
        event_bytes_max: bytes(layers, "ingest.event_bytes_max", KIB..=EVENT_BYTES_MAX) as usize,
        batch_events_max: count(layers, "ingest.batch_events_max", 1..=1_000_000) as usize,
        bodies_in_flight_bytes_max: bytes(
            layers,
            "ingest.bodies_in_flight_bytes_max",
            KIB..=3 * GIB,
        ) as usize,
        connections_max: count(layers, "ingest.connections_max", 1..=1_000_000) as usize,
        header_bytes_max: bytes(layers, "ingest.header_bytes_max", 8 * KIB..=MIB) as usize,
        header_timeout: duration(layers, "ingest.header_timeout", timeout.clone()),
        keep_alive_timeout: duration(layers, "ingest.keep_alive_timeout", timeout.clone()),
        body_timeout: duration(layers, "ingest.body_timeout", timeout),
        drain_timeout: duration(layers, "ingest.drain_timeout", Micros(0)..=Micros::HOUR),
        max_age: span(layers, "ingest.max_age", Micros::MINUTE..=YEAR),
        proxies: count(layers, "ingest.proxies", 0..=PROXIES_MAX) as usize,
    }
}

fn enrich(layers: &mut Layers<'_>) -> EnrichSettings {
    let is_on = |layers: &mut Layers<'_>, key: &str| {
        layers.read(key, |value| values::choice(value, &[("on", true), ("off", false)]))
    };
    let kept = IpKept::ALL.map(|kept| (kept.name(), kept));
    let file =
        |layers: &mut Layers<'_>, key: &str| some(layers.read(key, values::text)).map(Into::into);
    EnrichSettings {
        user_agent: is_on(layers, "enrich.user_agent"),
        bots: is_on(layers, "enrich.bots"),
        channels: is_on(layers, "enrich.channels"),
        channels_file: file(layers, "enrich.channels_file"),
        geo_database: file(layers, "enrich.geo_database"),
        ip: layers.read("enrich.ip", |value| values::choice(value, &kept)),
        redacted_parameters: layers.read("enrich.redacted_parameters", values::words),
    }
}

fn gate(layers: &mut Layers<'_>) -> Gate {
    let rate = |layers: &mut Layers<'_>, whose: &str| {
        let mut of = |what| count(layers, &format!("gate.{whose}_{what}"), 0..=COUNT_MAX) as u32;
        Rate { burst: of("burst"), per_second: of("rate") }
    };
    let kept = Consent::ALL.map(|consent| (consent.name(), consent));
    let consent =
        |layers: &mut Layers<'_>, key: &str| layers.read(key, |value| values::choice(value, &kept));
    Gate {
        rates: RateSettings { visitor: rate(layers, "visitor"), key: rate(layers, "key") },
        consent: ConsentPolicy {
            unsaid: consent(layers, "gate.consent_unsaid"),
            privacy_control: consent(layers, "gate.global_privacy_control"),
        },
        schemas: lists::schemas(layers),
    }
}

fn log(layers: &mut Layers<'_>) -> Log {
    Log {
        brokers: layers.read("log.brokers", values::addresses),
        topic: layers.read("log.topic", values::topic),
        signals_topic: layers.read("log.signals_topic", values::topic),
        group: layers.read("log.group", values::some_text),
        partitions: count(layers, "log.partitions", 1..=PARTITIONS_MAX) as u32,
        retention: span(layers, "log.retention", Micros::SECOND..=YEAR),
        segment: span(layers, "log.segment", Micros::SECOND..=YEAR),
        bytes_max: bytes(layers, "log.bytes_max", 16 * MIB..=1024 * TIB),
        delivery_timeout: duration(layers, "log.delivery_timeout", Micros::SECOND..=Micros::HOUR),
    }
}

fn pipeline(layers: &mut Layers<'_>) -> Pipeline {
    let interval = Micros(10 * MILLISECOND.0)..=Micros::HOUR;
    Pipeline {
        listen: layers.read("pipeline.listen", values::address),
        tls: tls(layers, "pipeline"),
        commit_interval: duration(layers, "pipeline.commit_interval", interval.clone()),
        commit_rows_max: count(layers, "pipeline.commit_rows_max", 1_000..=COUNT_MAX) as usize,
        snapshot_interval: duration(layers, "pipeline.snapshot_interval", interval),
        rewrite_interval: duration(
            layers,
            "pipeline.rewrite_interval",
            Micros::SECOND..=Micros::DAY,
        ),
        erasure_grace: duration(layers, "pipeline.erasure_grace", Micros::SECOND..=Micros::DAY),
    }
}

/// `receipts` are not among them: they account for what was removed too.
pub const EXPIRING: [Table; 6] = [
    Table::Events,
    Table::Sessions,
    Table::Needs,
    Table::PageViews,
    Table::Rejected,
    Table::Duplicates,
];

fn retention(layers: &mut Layers<'_>) -> BTreeMap<Table, Micros> {
    let range = Micros::DAY..=CENTURY;
    let mut kept_for = BTreeMap::new();
    for table in EXPIRING {
        let key = format!("retention.{}", table.name());
        let span = layers.read(&key, |value| values::span_or_none(value, range.clone()));
        kept_for.extend(span.map(|span| (table, span)));
    }
    kept_for
}

fn query(layers: &mut Layers<'_>) -> Query {
    let threads = |layers: &mut Layers<'_>| match count(layers, "query.threads", 0..=1_024) {
        0 => None,
        threads => Some(threads as usize),
    };
    Query {
        listen: layers.read("query.listen", values::address),
        postgres_listen: layers.read("query.postgres_listen", values::address),
        tls: tls(layers, "query"),
        time_max: duration(layers, "query.time_max", MILLISECOND..=Micros::DAY),
        rows_max: count(layers, "query.rows_max", 1..=COUNT_MAX) as usize,
        memory_bytes_max: bytes(layers, "query.memory_bytes_max", 16 * MIB..=16 * TIB) as usize,
        spill_bytes_max: bytes(layers, "query.spill_bytes_max", 0..=1024 * TIB),
        concurrency_max: count(layers, "query.concurrency_max", 1..=1_024) as usize,
        queue_time_max: duration(layers, "query.queue_time_max", MILLISECOND..=Micros::HOUR),
        threads: threads(layers),
        pipelines: layers.read("query.pipelines", values::servers),
        pipelines_token_file: some(layers.read("query.pipelines_token_file", values::text))
            .map(Into::into),
    }
}

fn rules(layers: &mut Layers<'_>, check_sql: CheckSql<'_>) -> Rules {
    let day = MILLISECOND..=Micros::DAY;
    Rules {
        session_gap: span(layers, "rules.session_gap", MILLISECOND..=Micros::DAY),
        session_cap: span(layers, "rules.session_cap", MILLISECOND..=YEAR),
        allowed_lateness: span(layers, "rules.allowed_lateness", day.clone()),
        signal_grace: span(layers, "rules.signal_grace", Micros(0)..=Micros::HOUR),
        dedupe_window: span(layers, "rules.dedupe_window", MILLISECOND..=YEAR),
        dedupe_ids_max: count(layers, "rules.dedupe_ids_max", 1..=COUNT_MAX),
        open_sessions_max: count(layers, "rules.open_sessions_max", 1..=COUNT_MAX),
        held_events_max: count(layers, "rules.held_events_max", 1..=COUNT_MAX),
        held_events_per_visitor_max: count(
            layers,
            "rules.held_events_per_visitor_max",
            1..=COUNT_MAX,
        ),
        events_per_session_max: count(
            layers,
            "rules.events_per_session_max",
            1..=EVENTS_PER_SESSION_MAX,
        ),
        slow_page_ms: span(layers, "rules.slow_page", day).whole_ms(),
        conditions: conditions(layers, check_sql),
        steps: lists::steps(layers, check_sql),
        needs: lists::needs(layers, check_sql),
    }
}

fn conditions(layers: &mut Layers<'_>, check_sql: CheckSql<'_>) -> Conditions {
    let mut condition = |name: &str| {
        let key = format!("rules.condition.{name}");
        layers.read(&key, |value| values::condition(value, check_sql))
    };
    Conditions {
        conversion: condition("conversion"),
        page_view: condition("page_view"),
        error: condition("error"),
        zero_search: condition("zero_search"),
        hidden: condition("hidden"),
        rage_target: condition("rage_target"),
    }
}

fn telemetry(layers: &mut Layers<'_>) -> Telemetry {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Telemetry {
        filter: layers.read("telemetry.filter", values::log_filter),
        format: layers.read("telemetry.format", |value| values::choice(value, &formats)),
    }
}

/// That neither file comes without the other is checked with the relations.
fn tls(layers: &mut Layers<'_>, section: &str) -> Option<TlsFiles> {
    let certificate = some(layers.read(&format!("{section}.tls_certificate"), values::text));
    let key = some(layers.read(&format!("{section}.tls_key"), values::text));
    Some(TlsFiles { certificate: certificate?.into(), key: key?.into() })
}

fn count(layers: &mut Layers<'_>, key: &str, range: RangeInclusive<u64>) -> u64 {
    layers.read(key, |value| values::whole(value, range.clone()))
}

fn bytes(layers: &mut Layers<'_>, key: &str, range: RangeInclusive<u64>) -> u64 {
    layers.read(key, |value| values::size(value, range.clone()))
}

fn span(layers: &mut Layers<'_>, key: &str, range: RangeInclusive<Micros>) -> Micros {
    layers.read(key, |value| values::span(value, range.clone()))
}

fn duration(layers: &mut Layers<'_>, key: &str, range: RangeInclusive<Micros>) -> Duration {
    Duration::from_micros(span(layers, key, range).0.unsigned_abs())
}

fn some(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}
