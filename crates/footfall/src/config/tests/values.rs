//! What a value may be, and what is told of one that may not.

use super::*;

#[test]
fn the_wrong_types_are_told() {
    check("ingest = 5", &["f.toml:1: `[ingest]` is `5`: must be a table"]);
    check("[[rules]]", &["f.toml:1: `[rules]` is a list: must be a table"]);
    check("[data_dir]", &["f.toml:1: `data_dir` is a table: must be a text in quotes"]);
    check("need = 'x'", &["f.toml:1: `need` is `\"x\"`: must be a list"]);
    check("need = [1]", &["f.toml:1: need 1 is `1`: must be a table"]);
    check("[need]\nname = 'x'\n", &["f.toml:1: `need` is one table: write `[[need]]` before each"]);
    check(
        "[log]\ntopic = true\npartitions = 1.5\nretention = 60\nbytes_max = 2026-01-01\n",
        &[
            "f.toml:2: `topic` in `[log]` is `true`: must be 1 to 249 of A-Z a-z 0-9 . _ -",
            "f.toml:3: `partitions` in `[log]` is `1.5`: must be a whole number from 1 to 1024",
            "f.toml:4: `retention` in `[log]` is `60`: must be a duration such as \"500ms\", \"3s\" or \"7d\"",
            "f.toml:5: `bytes_max` in `[log]` is `2026-01-01`: must be bytes, or a text such as \"4MiB\"",
        ],
    );
    check(
        "[telemetry]\nformat = 'xml'\nfilter = 'info,foo'\n",
        &[
            "f.toml:2: `format` in `[telemetry]` is `\"xml\"`: must be \"text\" or \"json\"",
            "f.toml:3: `filter` in `[telemetry]` is `\"info,foo\"`: must be levels such as \"info,footfall_ingest=debug\"",
        ],
    );
    let config =
        right("[telemetry]\nformat = 'json'\nfilter = 'warn, a::b=TRACE'", &Over::default());
    assert_eq!(config.telemetry.format, LogFormat::Json);
}

#[test]
fn durations_have_a_unit_and_a_range() {
    let wish = "must be a duration such as \"500ms\", \"3s\" or \"7d\"";
    for bad in
        ["", "3", "s", "3x", "3 sec", "-3s", "1.5s", "99999999999d", "3S", "9".repeat(30).as_str()]
    {
        let toml = format!("[rules]\nsignal_grace = '{bad}'\n");
        check(&toml, &[&format!("f.toml:2: `signal_grace` in `[rules]` is `\"{bad}\"`: {wish}")]);
    }
    let wish = "must be 0s to 1h";
    check(
        "[rules]\nsignal_grace = '61m'\n",
        &[&format!("f.toml:2: `signal_grace` in `[rules]` is `\"61m\"`: {wish}")],
    );
    for (text, micros) in [
        ("250us", 250),
        ("0s", 0),
        ("7ms", 7_000),
        ("60m", 3_600_000_000),
        ("1h", 3_600_000_000),
        ("2 s", 2_000_000),
    ] {
        let config = right(&format!("[rules]\nsignal_grace = '{text}'\n"), &Over::default());
        assert_eq!(config.rules.signal_grace, Micros(micros), "{text}");
    }
}

#[test]
fn sizes_are_bytes_or_have_a_unit() {
    for bad in ["'4MB'", "'MiB'", "''", "-1", "'99999999999TiB'"] {
        let toml = format!("[query]\nspill_bytes_max = {bad}\n");
        let shown = bad.replace('\'', "\"");
        check(
            &toml,
            &[&format!(
                "f.toml:2: `spill_bytes_max` in `[query]` is `{shown}`: must be bytes, or a text such as \"4MiB\""
            )],
        );
    }
    for (text, bytes) in [("'3KiB'", 3_072), ("0x10", 16), ("'17'", 17), ("'2GiB'", 2 << 30)] {
        let config = right(&format!("[query]\nspill_bytes_max = {text}\n"), &Over::default());
        assert_eq!(config.query.spill_bytes_max, bytes, "{text}");
    }
    check(
        "[ingest]\nevent_bytes_max = '225KiB'\n",
        &["f.toml:2: `event_bytes_max` in `[ingest]` is `\"225KiB\"`: must be 1KiB to 224KiB"],
    );
}

#[test]
fn addresses_are_host_and_port() {
    for bad in [
        "8080",
        ":8080",
        "localhost",
        "localhost:",
        "::1:80",
        "[::x]:80",
        "a b:80",
        "a:65536",
        "a:+1",
    ] {
        let toml = format!("[query]\nlisten = '{bad}'\n");
        check(
            &toml,
            &[&format!(
                "f.toml:2: `listen` in `[query]` is `\"{bad}\"`: must be host:port such as \"127.0.0.1:8080\""
            )],
        );
    }
    for good in ["127.0.0.1:0", "[::1]:80", "footfall.internal:65535"] {
        assert_eq!(
            right(&format!("[query]\nlisten = '{good}'\n"), &Over::default()).query.listen,
            good
        );
    }
    let config = right("[log]\nbrokers = 'a:9092, b:9092'\n", &Over::default());
    assert_eq!(config.log.brokers.as_deref(), Some("a:9092,b:9092"));
    check(
        "[log]\nbrokers = 'a:9092,b'\n",
        &[
            "f.toml:2: `brokers` in `[log]` is `\"a:9092,b\"`: must be host:port, several separated by commas",
        ],
    );
}

#[test]
fn pipelines_are_servers_and_nothing_behind_them() {
    let config = right("[query]\npipelines = 'http://a:1, https://b/'\n", &Over::default());
    assert_eq!(config.query.pipelines, ["http://a:1", "https://b"]);
    assert!(right("", &Over::default()).query.pipelines.is_empty());
    for bad in ["a:1", "ftp://a", "http://a/v1", "http://user@a", "http://a,,x"] {
        check(
            &format!("[query]\npipelines = '{bad}'\n"),
            &[&format!(
                "f.toml:2: `pipelines` in `[query]` is `\"{bad}\"`: must be URLs such as \"http://127.0.0.1:8082\", several separated by commas"
            )],
        );
    }
}
