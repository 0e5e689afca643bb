//! What must hold between settings. What each may be by itself is left to `sections`.

use std::net::SocketAddr;
use std::time::Duration;

use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_ingest::INFLATE_EXTRA_BYTES;

use super::Config;
use super::layers::Layers;
use super::toml_reader::in_place;
use super::values::{show_size, show_span};

pub fn check(config: &Config, layers: &mut Layers<'_>) {
    check_bytes(config, layers);
    check_times(config, layers);
    check_needs(config, layers);
    check_names(config, layers);
    check_access(config, layers);
}

fn check_bytes(config: &Config, layers: &mut Layers<'_>) {
    let ingest = &config.ingest;
    let (event, body) = ("ingest.event_bytes_max", "ingest.body_bytes_max");
    let (inflated, in_flight) = ("ingest.inflated_bytes_max", "ingest.bodies_in_flight_bytes_max");
    layers.relate(ingest.event_bytes_max <= ingest.body_bytes_max, event, "at most", body);
    layers.relate(ingest.body_bytes_max <= ingest.inflated_bytes_max, body, "at most", inflated);
    let (room, extra) = (ingest.bodies_in_flight_bytes_max, INFLATE_EXTRA_BYTES);
    let needed = ingest.body_bytes_max.saturating_add(ingest.inflated_bytes_max) + extra;
    let (shown, extra) = (show_size(needed as u64), show_size(extra as u64));
    // A gzipped body is in memory as it was sent and as it is inflated.
    let wish = format!("at least {shown}: `{body}`, {extra} and");
    layers.relate(room >= needed, in_flight, &wish, inflated);
}

fn check_times(config: &Config, layers: &mut Layers<'_>) {
    let (rules, pipeline, log) = (&config.rules, &config.pipeline, &config.log);
    let window = "rules.dedupe_window";
    let quarter = Micros(rules.dedupe_window.0 / 4);
    let (gap, cap) = ("rules.session_gap", "rules.session_cap");
    layers.relate(rules.session_gap <= rules.session_cap, gap, "at most", cap);
    let wish = "less than a quarter of";
    layers.relate(rules.allowed_lateness < quarter, "rules.allowed_lateness", wish, window);
    let (commit, snapshot) = ("pipeline.commit_interval", "pipeline.snapshot_interval");
    let wish = "at most a quarter of";
    layers.relate(micros(pipeline.commit_interval) <= quarter, commit, wish, window);
    let fits = pipeline.commit_interval <= pipeline.snapshot_interval;
    layers.relate(fits, commit, "at most", snapshot);
    let fits = micros(pipeline.snapshot_interval) <= log.retention;
    layers.relate(fits, snapshot, "at most", "log.retention");
    // An old resend is looked up among events that may be twice as old as the door takes.
    let needed = Micros(2 * (config.ingest.max_age.0 + Micros::DAY.0));
    let fits = config.retention.get(&Table::Events).is_none_or(|kept_for| *kept_for >= needed);
    let wish = format!("at least {}: two days more than twice", show_span(needed));
    layers.relate(fits, "retention.events", &wish, "ingest.max_age");
    layers.relate(log.segment <= log.retention, "log.segment", "at most", "log.retention");
}

/// A need is decided within one session.
fn check_needs(config: &Config, layers: &mut Layers<'_>) {
    for need in &config.rules.needs {
        let within = in_place("within", &format!("need `{}`", need.name));
        let fits = need.within <= config.rules.session_gap;
        layers.relate(fits, &within, "at most", "rules.session_gap");
    }
}

fn check_names(config: &Config, layers: &mut Layers<'_>) {
    let apart = config.log.topic != config.log.signals_topic;
    layers.relate(apart, "log.signals_topic", "another than", "log.topic");
    // Its own events would come again and again; by which name a broker is called tells nothing.
    for bridge in config.bridges.iter().filter(|_| config.log.brokers.is_some()) {
        let topic = in_place("topic", &format!("bridge `{}`", bridge.name));
        for (ours, name) in
            [("log.topic", &config.log.topic), ("log.signals_topic", &config.log.signals_topic)]
        {
            layers.relate(bridge.topic != *name, &topic, "another than", ours);
        }
    }
    let listeners = [
        ("ingest.listen", &config.ingest.listen),
        ("query.listen", &config.query.listen),
        ("query.postgres_listen", &config.query.postgres_listen),
        ("pipeline.listen", &config.pipeline.listen),
    ];
    for (i, (key, listen)) in listeners.iter().enumerate() {
        for (other_key, other) in &listeners[..i] {
            let apart = listen != other || listen.ends_with(":0");
            layers.relate(apart, key, "another than", other_key);
        }
    }
}

/// What other machines reach asks who they are.
fn check_access(config: &Config, layers: &mut Layers<'_>) {
    for section in ["ingest", "query", "pipeline"] {
        let (certificate, key) =
            (format!("{section}.tls_certificate"), format!("{section}.tls_key"));
        let fits = layers.is_empty(&certificate) == layers.is_empty(&key);
        layers.relate(fits, &certificate, "given together with", &key);
    }
    let fits = !is_public(&config.ingest.listen) || !config.keys.is_empty();
    let wish = "on the loopback, such as 127.0.0.1:8080, or posts need a";
    layers.relate(fits, "ingest.listen", wish, "key");
    let (query, pipeline) = (&config.query, &config.pipeline);
    for (listen, tls, key, certificate, what) in [
        (&query.listen, &query.tls, "query.listen", "query.tls_certificate", "SQL needs"),
        (
            &query.postgres_listen,
            &query.tls,
            "query.postgres_listen",
            "query.tls_certificate",
            "SQL needs",
        ),
        (
            &pipeline.listen,
            &pipeline.tls,
            "pipeline.listen",
            "pipeline.tls_certificate",
            "signals need",
        ),
    ] {
        let wish = format!("on the loopback, such as 127.0.0.1:8081, or {what}");
        let is_public = is_public(listen);
        layers.relate(!is_public || !config.tokens.is_empty(), key, &format!("{wish} a"), "token");
        layers.relate(!is_public || tls.is_some(), key, &format!("{wish} TLS by"), certificate);
    }
}

/// Of a name the address is known only to whoever listens; then it is checked there.
fn is_public(listen: &str) -> bool {
    let listen: Result<SocketAddr, _> = listen.parse();
    listen.is_ok_and(|address| !address.ip().to_canonical().is_loopback())
}

fn micros(duration: Duration) -> Micros {
    Micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
