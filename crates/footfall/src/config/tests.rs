//! The configuration as text: a file's TOML, and the mistakes that are told of it.

mod access;
mod values;

use std::path::Path;
use std::time::Duration;

use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_sessionizer::{NEEDS_MAX, STEPS_MAX};

use super::{Config, DEFAULTS, LogFormat, Mistakes, Override};

const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// What stands over the file: variables, and flags with the key that each sets.
#[derive(Default)]
struct Over<'a> {
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str, &'a str)],
}

fn load(toml: &str, over: &Over<'_>) -> Result<Config, Mistakes> {
    let variables =
        over.variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let flags = over.flags.iter().map(|(flag, key, value)| Override {
        flag: flag.to_string(),
        key: key.to_string(),
        value: value.to_string(),
    });
    let (variables, flags): (Vec<_>, Vec<_>) = (variables.collect(), flags.collect());
    let file = Some((Path::new("f.toml"), toml));
    Config::read(file, &variables, &flags, &check_sql, Mistakes::default())
}

/// A stand-in for the check of conditions, which knows one misspelt column.
fn check_sql(condition: &str) -> Result<(), String> {
    match condition.contains("page_typ ") {
        true => Err("no column `page_typ`: did you mean `page_type`?".to_owned()),
        false => Ok(()),
    }
}

fn check(toml: &str, expected: &[&str]) {
    check_over(toml, &Over::default(), expected);
}

#[track_caller]
fn check_over(toml: &str, over: &Over<'_>, expected: &[&str]) {
    let told = load(toml, over).err().map(|mistakes| mistakes.to_string()).unwrap_or_default();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told, expected, "for\n{toml}");
}

fn right(toml: &str, over: &Over<'_>) -> Config {
    load(toml, over).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn the_defaults_are_right_and_those_of_the_semantics() {
    let config = right("", &Over::default());
    let rules = &config.rules;
    assert_eq!(rules.session_gap, Micros(30 * Micros::MINUTE.0));
    assert_eq!(rules.session_cap, Micros::DAY);
    assert_eq!(rules.allowed_lateness, Micros(10 * Micros::SECOND.0));
    assert_eq!(rules.signal_grace, Micros::from_ms(500));
    assert_eq!(rules.dedupe_window, Micros(20 * Micros::MINUTE.0));
    assert_eq!((rules.dedupe_ids_max, rules.events_per_session_max), (20_000_000, 10_000));
    assert_eq!(rules.slow_page_ms, 4_000);
    let steps: Vec<&str> = rules.steps.iter().map(|step| step.name.as_str()).collect();
    let names = "view_item,add_to_cart,begin_checkout,add_shipping_info,add_payment_info,purchase";
    assert_eq!(steps.join(","), names);
    let needs = rules.needs.iter().map(|n| (n.name.as_str(), n.within.0, n.max_clicks));
    assert_eq!(needs.collect::<Vec<_>>(), [("delivery", 3_000_000, 2), ("returns", 3_000_000, 2)]);
    assert_eq!(config.ingest.max_age, Micros(7 * Micros::DAY.0));
    assert_eq!(config.pipeline.commit_interval, Duration::from_secs(5));
    assert_eq!((config.keys.len(), &config.log.brokers, config.query.threads), (0, &None, None));
    assert_eq!(config.lake(), "./footfall-data/lake");
}

#[test]
fn tables_keep_their_rows_for_ever_unless_told_otherwise() {
    assert!(right("", &Over::default()).retention.is_empty());
    let config = right("[retention]\nevents = '16d'\nrejected = ' '\n", &Over::default());
    assert_eq!(config.retention, [(Table::Events, Micros(16 * Micros::DAY.0))].into());
    check(
        "[retention]\nevents = '15d'\n",
        &[
            "f.toml:2: `retention.events` is `\"15d\"`: must be at least 16d: two days more than twice `ingest.max_age`, which is `\"7d\"`",
        ],
    );
    check(
        "[retention]\nsessions = '1h'\n",
        &["f.toml:2: `sessions` in `[retention]` is `\"1h\"`: must be 1d to 36600d"],
    );
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let file = "[log]\ntopic = 'file'\ngroup = 'file'\npartitions = 3\n";
    let variables = [
        ("FOOTFALL_LOG_GROUP", "variable"),
        ("FOOTFALL_LOG_PARTITIONS", "8"),
        ("FOOTFALL_RULES_CONDITION_ERROR", "event_name = 'oops'"),
        ("FOOTFALL_CONFIG", "f.toml"),
        ("HOME", "/root"),
    ];
    let flags = [("--partitions", "log.partitions", "16"), ("--data-dir", "data_dir", "/d")];
    let config = right(file, &Over { variables: &variables, flags: &flags });
    assert_eq!(config.log.signals_topic, "footfall.signals");
    assert_eq!((config.log.topic.as_str(), config.log.group.as_str()), ("file", "variable"));
    assert_eq!(config.log.partitions, 16);
    assert_eq!(config.rules.conditions.error, "event_name = 'oops'");
    assert_eq!(config.lake(), "/d/lake");
    let shown = config.show();
    for line in [
        "data_dir = \"/d\"  # flag --data-dir",
        "topic = \"file\"  # f.toml:2",
        "group = \"variable\"  # environment FOOTFALL_LOG_GROUP",
        "partitions = 16  # flag --partitions",
        "signals_topic = \"footfall.signals\"  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn what_is_shown_loads_as_the_same() {
    let variables = [("FOOTFALL_INGEST_EVENT_BYTES_MAX", "2048"), ("FOOTFALL_QUERY_THREADS", "3")];
    let file = "step = []\n[rules]\nslow_page = \"2500ms\"\n\
                [rules.condition]\nerror = \"\"\"a = '\"'\n\"\"\"\n\
                [[need]]\nname = \"a\"\nraised_by = 'a'\nfound_by = 'b'\nwithin = \"250us\"\nmax_clicks = 0\n";
    let config = right(file, &Over { variables: &variables, flags: &[] });
    let again = right(&config.show(), &Over::default());
    assert_eq!(again.rules, config.rules);
    assert_eq!((again.ingest.event_bytes_max, again.query.threads), (2_048, Some(3)));
    assert_eq!((again.rules.steps.len(), again.rules.needs.len()), (0, 1));
}

#[test]
fn a_list_of_the_file_replaces_the_default_one() {
    let file =
        format!("[[key]]\nsite = 'shop'\nsha256 = '{HASH}'\n[[step]]\nname = 'a'\nwhen = 'b'\n");
    let config = right(&file, &Over::default());
    assert_eq!((config.rules.steps.len(), config.rules.needs.len()), (1, 2));
    assert_eq!(config.keys[0].site, "shop");
    assert_eq!(hex::encode(config.keys[0].sha256), HASH);
}

#[test]
fn a_hash_is_shown_and_logged_in_short() {
    let file = format!("[[key]]\nsite = 'shop'\nsha256 = '{HASH}'\n");
    let config = right(&file, &Over::default());
    assert!(config.show().contains("sha256 = \"2bb80d53…\"  # f.toml:3"), "{}", config.show());
    assert!(format!("{config:?}").contains("Key(shop, 2bb80d53…)"));
    assert!(!format!("{config:?}{}", config.show()).contains(&HASH[..9]));
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    check("data_dirr = 'x'", &["f.toml:1: unknown key `data_dirr`: did you mean `data_dir`?"]);
    check("\n[ingset]\n", &["f.toml:2: unknown key `ingset`: did you mean `ingest`?"]);
    check(
        "[ingest]\nlistn = ':80'\n[rules.condition]\nconvrsion = 'x'\n",
        &[
            "f.toml:2: unknown key `listn` in `[ingest]`: did you mean `listen`?",
            "f.toml:4: unknown key `convrsion` in `[rules.condition]`: did you mean `conversion`?",
        ],
    );
    check("[lake]\nqqq = 1\n", &["f.toml:2: unknown key `qqq` in `[lake]`: known are `url`"]);
    check(
        "listen = ''\n[pipeline]\nsession_gap = '10s'\n[rules]\nneed = []\n",
        &[
            "f.toml:1: unknown key `listen`: it belongs to `[ingest]` or `[pipeline]` or `[query]`",
            "f.toml:3: unknown key `session_gap` in `[pipeline]`: it belongs to `[rules]`",
            "f.toml:5: unknown key `need` in `[rules]`: it belongs to the top level",
        ],
    );
    let over = Over {
        variables: &[("FOOTFALL_INGEST_LISTN", "x"), ("FOOTFALL_NEED", "x")],
        flags: &[("--set", "rules.sesion_gap", "1s")],
    };
    check_over(
        "",
        &over,
        &[
            "environment FOOTFALL_INGEST_LISTN: unknown variable: did you mean `FOOTFALL_INGEST_LISTEN`?",
            "environment FOOTFALL_NEED: unknown variable: did you mean `FOOTFALL_KEY`?",
            "flag --set: unknown key `rules.sesion_gap`: did you mean `rules.session_gap`?",
        ],
    );
}

#[test]
fn a_value_is_checked_where_a_higher_source_wins() {
    let over = Over {
        variables: &[("FOOTFALL_LOG_PARTITIONS", "many")],
        flags: &[("--partitions", "log.partitions", "8")],
    };
    check_over(
        "[log]\npartitions = 0\n",
        &over,
        &[
            "f.toml:2: `partitions` in `[log]` is `0`: must be a whole number from 1 to 1024",
            "environment FOOTFALL_LOG_PARTITIONS: `partitions` in `[log]` is `\"many\"`: must be a whole number from 1 to 1024",
        ],
    );
}

#[test]
fn conditions_are_checked() {
    check(
        "[rules.condition]\nconversion = ''\npage_view = \"page_typ = 'x'\"\n\
         [[need]]\nname = 'n'\nraised_by = \"page_typ = 'x'\"\nfound_by = 'b'\nwithin = '3s'\nmax_clicks = 2\n\
         [[step]]\nname = 's'\nwhen = \"page_typ = 'x'\"\n",
        &[
            "f.toml:2: `conversion` in `[rules.condition]` is `\"\"`: must not be empty",
            "f.toml:3: `page_view` in `[rules.condition]`: no column `page_typ`: did you mean `page_type`?",
            "f.toml:6: `raised_by` in need `n`: no column `page_typ`: did you mean `page_type`?",
            "f.toml:12: `when` in step `s`: no column `page_typ`: did you mean `page_type`?",
        ],
    );
}

#[test]
fn entries_of_lists_are_checked() {
    check(
        "[[need]]\nname = 'delivery'\nraised_by = 'a'\nfound_by = 'b'\nwithn = '3s'\nmax_clicks = 2\n",
        &["f.toml:5: unknown key `withn` in need `delivery`: did you mean `within`?"],
    );
    check(
        "[[need]]\nname = 'a b'\nfound_by = 'b'\nwithin = '0s'\nmax_clicks = -1\n",
        &[
            "f.toml:1: need 1 has no `raised_by`",
            "f.toml:2: `name` in need 1 is `\"a b\"`: must be 1 to 64 of A-Z a-z 0-9 . _ -",
            "f.toml:4: `within` in need 1 is `\"0s\"`: must be 1us to 1d",
            "f.toml:5: `max_clicks` in need 1 is `-1`: must be a whole number from 0 to 1000000",
        ],
    );
    check(
        "[[step]]\nname = 'a'\nwhen = 'x'\n[[step]]\nname = 'a'\nwhen = 'y'\n",
        &["f.toml:5: step `a` has the `name` of f.toml:2: each needs its own"],
    );
    check(
        &format!(
            "[[key]]\nsite = ''\nsha256 = 'secret'\n[[key]]\nsite = 'a'\nsha256 = '{HASH}'\n[[key]]\nsite = 'b'\nsha256 = '{HASH}'\n"
        ),
        &[
            "f.toml:2: `site` in key 1: `` is not 1 to 128 of A-Z a-z 0-9 . _ -",
            "f.toml:3: `sha256` in key 1 must be the SHA-256 of a key: 64 hex digits",
            "f.toml:9: key 3 has the `sha256` of f.toml:6: each needs its own",
        ],
    );
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    check(
        &format!("[[key]]\nsite = 'a'\nsha256 = '{empty}'\n"),
        &["f.toml:3: `sha256` in key 1 is the SHA-256 of an empty text: must be that of a key"],
    );
}

#[test]
fn lists_have_an_end() {
    let step = |i: usize| format!("[[step]]\nname = 's{i}'\nwhen = 'a'\n");
    let need = |i: usize| {
        format!(
            "[[need]]\nname = 'n{i}'\nraised_by = 'a'\nfound_by = 'b'\nwithin = '1s'\nmax_clicks = 1\n"
        )
    };
    let steps: String = (0..STEPS_MAX).map(step).collect();
    let needs: String = (0..NEEDS_MAX).map(need).collect();
    check(&format!("{steps}{needs}"), &[]);
    check(
        &format!("{steps}{}", step(99)),
        &["f.toml:97: 33 steps are declared: at most 32 are taken"],
    );
    check(
        &format!("{needs}{}", need(99)),
        &["f.toml:241: 41 needs are declared: at most 40 are taken"],
    );
}

#[test]
fn bounds_fit_each_other() {
    check(
        "[rules]\nsession_cap = '29m'\n",
        &[
            "f.toml:2: `rules.session_gap` is `\"30m\"`: must be at most `rules.session_cap`, which is `\"29m\"`",
        ],
    );
    check("[rules]\nsession_cap = '30m'\n", &[]);
    check(
        "[rules]\ndedupe_window = '40s'\n",
        &[
            "f.toml:2: `rules.allowed_lateness` is `\"10s\"`: must be less than a quarter of `rules.dedupe_window`, which is `\"40s\"`",
        ],
    );
    check("[rules]\ndedupe_window = '40s'\nallowed_lateness = '9s'\n", &[]);
    check(
        "[pipeline]\ncommit_interval = '5001ms'\n[rules]\ndedupe_window = '20s'\nallowed_lateness = '1s'\n",
        &[
            "f.toml:2: `pipeline.commit_interval` is `\"5001ms\"`: must be at most a quarter of `rules.dedupe_window`, which is `\"20s\"`",
        ],
    );
    check(
        "[pipeline]\nsnapshot_interval = '4s'\n[log]\nretention = '1m'\n",
        &[
            "f.toml:2: `pipeline.commit_interval` is `\"5s\"`: must be at most `pipeline.snapshot_interval`, which is `\"4s\"`",
            "f.toml:4: `log.segment` is `\"1h\"`: must be at most `log.retention`, which is `\"1m\"`",
        ],
    );
    check(
        "[rules]\nsession_gap = '2s'\n",
        &[
            "f.toml:2: `within` in need `delivery` is `\"3s\"`: must be at most `rules.session_gap`, which is `\"2s\"`",
            "f.toml:2: `within` in need `returns` is `\"3s\"`: must be at most `rules.session_gap`, which is `\"2s\"`",
        ],
    );
    check(
        "[ingest]\nbody_bytes_max = '32KiB'\ninflated_bytes_max = '16KiB'\nbodies_in_flight_bytes_max = '8KiB'\n",
        &[
            "f.toml:2: `ingest.event_bytes_max` is `\"64KiB\"`: must be at most `ingest.body_bytes_max`, which is `\"32KiB\"`",
            "f.toml:2: `ingest.body_bytes_max` is `\"32KiB\"`: must be at most `ingest.inflated_bytes_max`, which is `\"16KiB\"`",
            "f.toml:4: `ingest.bodies_in_flight_bytes_max` is `\"8KiB\"`: must be at least 176KiB: `ingest.body_bytes_max`, 128KiB and `ingest.inflated_bytes_max`, which is `\"16KiB\"`",
        ],
    );
    let bounds = |in_flight: &str| {
        format!("[ingest]\nbody_bytes_max = '8MiB'\nbodies_in_flight_bytes_max = '{in_flight}'\n")
    };
    check(&bounds("24704KiB"), &[]);
    check(
        &bounds("24703KiB"),
        &[
            "f.toml:3: `ingest.bodies_in_flight_bytes_max` is `\"24703KiB\"`: must be at least 24704KiB: `ingest.body_bytes_max`, 128KiB and `ingest.inflated_bytes_max`, which is `\"16MiB\"`",
        ],
    );
    check(
        "[log]\nsignals_topic = 'footfall.events'\n[query]\nlisten = '127.0.0.1:8080'\n",
        &[
            "f.toml:2: `log.signals_topic` is `\"footfall.events\"`: must be another than `log.topic`, which is `\"footfall.events\"`",
            "f.toml:4: `query.listen` is `\"127.0.0.1:8080\"`: must be another than `ingest.listen`, which is `\"127.0.0.1:8080\"`",
        ],
    );
    check("[query]\nlisten = 'a:0'\n[ingest]\nlisten = 'a:0'\n", &[]);
    let bridge = |topic: &str| {
        format!(
            "log.brokers = 'k:9092'\n[[bridge]]\nname = 'b'\nbrokers = 'k:9092'\ntopic = '{topic}'\nmap = 'm.toml'\n"
        )
    };
    check(&bridge("clicks"), &[]);
    check(
        &bridge("footfall.events"),
        &[
            "f.toml:5: `topic` in bridge `b` is `\"footfall.events\"`: must be another than `log.topic`, which is `\"footfall.events\"`",
        ],
    );
    // What is wrong by itself is not compared.
    check(
        "[rules]\nsession_gap = '30'\nsession_cap = '1m'\n",
        &[
            "f.toml:2: `session_gap` in `[rules]` is `\"30\"`: must be a duration such as \"500ms\", \"3s\" or \"7d\"",
        ],
    );
}

#[test]
fn errors_of_syntax_are_told_with_the_rest() {
    check(
        "[rules]\nslow_page = 4s\nsignal_grace = '1s'\nsignal_grace = '2s'\nsesion_gap = '1m'\n[rules]\n",
        &[
            "f.toml:2: string values must be quoted, expected literal string, at `slow_page`",
            "f.toml:4: duplicate key, at `signal_grace`",
            "f.toml:5: unknown key `sesion_gap` in `[rules]`: did you mean `session_gap`?",
            "f.toml:6: duplicate key, at `[rules]`",
        ],
    );
    check(
        "[[need]]\nname = 'a'\nfoo\nwithin = '3s'\n",
        &["f.toml:3: key with no value, expected `=`, at `foo`"],
    );
    check(
        "[[key]]\nsha256 = \"topsecret\n",
        &["f.toml:2: invalid basic string, expected `\"`, at `sha256`"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let told = Config::load(Some(Path::new("no/such.toml")), [], &[], &check_sql);
    let told = told.err().map(|mistakes| mistakes.to_string());
    let expected = "no/such.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(told.as_deref(), Some(expected));
}

/// The hash of the file's examples is that of a text that is no one's secret.
#[test]
fn the_commented_examples_of_the_defaults_are_right() {
    let example = |list: &str| -> String {
        DEFAULTS
            .lines()
            .skip_while(|line| *line != format!("# [[{list}]]"))
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect()
    };
    let examples = ["key", "token", "schema", "bridge"].map(example).concat();
    let config = right(&examples, &Over::default());
    assert_eq!((config.keys.len(), config.keys[0].origins.len(), config.tokens.len()), (1, 2, 1));
    assert_eq!((config.gate.schemas.len(), config.bridges.len()), (1, 1));
}
