//! Maps as text: a file's TOML, and the mistakes that are told of it.

use std::path::Path;

use footfall_event::{Column, Micros, Text};

use super::{Format, ItemField, LoadMap, Mapping, Rest, Source, Target, TimeFormat};

const REES46: &str = include_str!("../../../../config/maps/rees46.toml");
const FOOTFALL: &str = include_str!("../../../../config/maps/footfall.toml");
const README: &str = include_str!("../../../../config/maps/README.md");

/// A map that lacks nothing.
const COMPLETE: &str = "[columns]\ntimestamp = 't'\nevent_name = 'n'\n";

#[track_caller]
fn check(toml: &str, expected: &[&str]) {
    let parsed = LoadMap::parse(Path::new("m.toml"), toml);
    let told = parsed.err().map(|mistakes| mistakes.to_string()).unwrap_or_default();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told, expected, "for\n{toml}");
}

fn right(toml: &str) -> LoadMap {
    LoadMap::parse(Path::new("m.toml"), toml).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn mapping(map: &LoadMap, name: &str) -> Mapping {
    let target = Target::named(name);
    let found = map.mappings.iter().find(|mapping| Some(mapping.target) == target);
    found.unwrap_or_else(|| panic!("{name} is not filled")).clone()
}

#[test]
fn the_map_of_rees46_is_right() {
    let map = right(REES46);
    assert_eq!((map.format, map.site.as_deref()), (Some(Format::Csv), Some("rees46")));
    let first = Micros(1_569_888_000 * Micros::SECOND.0);
    assert_eq!(map.time_format.parse("2019-10-01 00:00:00 UTC"), Ok(first));
    assert_eq!(map.rest, Rest::Properties);
    assert_eq!(map.mappings[0].target, Target::EVENT_NAME);
    assert_eq!(map.mappings[0].values["view"], "view_item");
    assert!(!map.mappings[0].values.contains_key("purchase"));
    assert_eq!(mapping(&map, "value").only, ["purchase"]);
    assert_eq!(mapping(&map, "items.price").only, [""; 0]);
    assert_eq!(mapping(&map, "items.price").source, Source::Column("price".to_owned()));
    assert_eq!(mapping(&map, "items.item_id").target, Target::Item(ItemField::Id));
    assert!(!map.is_identity());
}

#[test]
fn the_map_of_our_own_lines_is_the_identity() {
    assert!(right(FOOTFALL).is_identity());
    assert!(right("rest = 'same_name'\ntime_format = 'rfc3339'").is_identity());
    assert!(!right("rest = 'same_name'\ntime_format = 'unix_ms'").is_identity());
    assert!(!right("rest = 'same_name'\n[constants]\nbot = 'x'").is_identity());
}

#[test]
fn the_example_of_the_readme_is_right() {
    let example = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let map = right(example.unwrap_or_default());
    assert_eq!(mapping(&map, "currency").source, Source::Constant("EUR".to_owned()));
    for field in ItemField::ALL {
        assert!(README.contains(&format!("`{}`", field.name())), "{}", field.name());
    }
}

/// A column that clients can fill and maps cannot would be lost to history.
#[test]
fn every_column_of_a_client_can_be_filled() {
    for target in Target::all() {
        assert_eq!(Target::named(target.name()), Some(target));
        if let Target::Column(column) = target {
            assert_eq!(Column::named(target.name()), Some(column));
        }
    }
    let fields = footfall_event::schema::item_fields();
    let ours: Vec<String> = ItemField::ALL.map(|field| field.name().to_owned()).into();
    let theirs: Vec<String> =
        fields.iter().map(|field| format!("items.{}", field.name())).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn items_may_be_written_without_quotes() {
    let map = right(&format!("{COMPLETE}items.item_id = 'p'\n[values.items.item_id]\na = 'b'\n"));
    assert_eq!(mapping(&map, "items.item_id").values["a"], "b");
}

#[test]
fn constants_fit_their_columns() {
    let map = right(&format!("{COMPLETE}[constants]\nx = 5\nvalue = 1.50\nuser_id = 7\n"));
    assert_eq!(mapping(&map, "x").source, Source::Constant("5".to_owned()));
    assert_eq!(mapping(&map, "value").source, Source::Constant("1.50".to_owned()));
    assert_eq!(mapping(&map, "user_id").target, Target::Column(Column::Text(Text::UserId)));
    check(
        &format!(
            "{COMPLETE}[constants]\nx = 1.5\nvalue = 'a'\ncls = 'nan'\nsent_at = '2020'\ncoupon = ''\nbot = true\n"
        ),
        &[
            "m.toml:5: `x` in `[constants]` is `1.5`: must be a whole number",
            "m.toml:6: `value` in `[constants]` is `\"a\"`: must be an amount",
            "m.toml:7: `cls` in `[constants]` is `\"nan\"`: must be a number",
            "m.toml:8: `sent_at` in `[constants]` is `\"2020\"`: must come from a column: name it in `[columns]`",
            "m.toml:9: `coupon` in `[constants]` is `\"\"`: must not be empty",
            "m.toml:10: `bot` in `[constants]` is `true`: must be a text in quotes",
        ],
    );
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    check(
        &format!("rset = 'drop'\n{COMPLETE}visitr_id = 'v'\nitems.brnd = 'b'\n"),
        &[
            "m.toml:1: unknown key `rset`: did you mean `rest`?",
            "m.toml:5: unknown column `visitr_id` in `[columns]`: did you mean `visitor_id`?",
            "m.toml:6: unknown column `items.brnd` in `[columns]`: did you mean `items.item_brand`?",
        ],
    );
    check(
        &format!("{COMPLETE}event_time = 't'\nshop = 'site'\n"),
        &[
            "m.toml:4: unknown column `event_time` in `[columns]`: Footfall fills it; a source's time is `timestamp`",
            "m.toml:5: unknown column `shop` in `[columns]`: did you mean `site = \"shop\"` (ours stands on the left)?",
        ],
    );
}

#[test]
fn what_is_missing_is_told() {
    check(
        "",
        &[
            "m.toml: nothing fills `timestamp`: name the source's column in `[columns]`",
            "m.toml: nothing fills `event_name`: name the source's column in `[columns]`",
        ],
    );
    check("[columns]\ntimestamp = 't'\n[constants]\nevent_name = 'purchase'\n", &[]);
}

#[test]
fn a_column_is_filled_once() {
    check(
        &format!(
            "site = 's'\n{COMPLETE}timestamp = 'u'\nitems = 'i'\nitems.price = 'p'\nsite = 'x'\n[constants]\nevent_name = 'x'\n"
        ),
        &[
            "m.toml:5: duplicate key, at `timestamp`",
            "m.toml:7: cannot extend value of type string with a dotted key, at `items.price`",
            "m.toml:8: `site` is filled by `site` of m.toml:1: keep one of them",
            "m.toml:10: `event_name` in `[constants]` is filled by `event_name` of m.toml:4: keep one of them",
        ],
    );
    check(
        &format!("{COMPLETE}items = 'i'\n'items.price' = 'p'\n"),
        &[
            "m.toml:5: `items.price` in `[columns]` is filled by `items` of m.toml:4: keep one of them",
        ],
    );
}

#[test]
fn values_and_only_speak_of_what_is_filled() {
    check(
        &format!(
            "{COMPLETE}value = 'v'\n[values]\ncoupon = {{a = 'b'}}\nvalue = {{a = 'b'}}\nevent_name = {{a = 1}}\n\
                  [only]\nevent_name = ['a']\norder_id = ['a']\nvalue = 'a'\ntimestamp = []\n"
        ),
        &[
            "m.toml:6: `coupon` in `[values]` is not filled: name it in `[columns]`",
            "m.toml:7: `value` in `[values]` is not a text: only texts are translated",
            "m.toml:8: `a` in `[values.event_name]` is `1`: must be a text in quotes",
            "m.toml:10: `event_name` in `[only]` is what `[only]` asks for: leave it out",
            "m.toml:11: `order_id` in `[only]` is not filled: name it in `[columns]`",
            "m.toml:12: `value` in `[only]` is `\"a\"`: must be a list",
            "m.toml:13: `timestamp` in `[only]` is empty: name some events",
        ],
    );
}

#[test]
fn wrong_settings_are_told() {
    check(
        &format!("format = 'tsv'\nsite = 'a b'\nrest = 'keep'\n{COMPLETE}user_id = 5\nx = ''\n"),
        &[
            "m.toml:1: `format` is `\"tsv\"`: must be \"csv\" or \"jsonl\" or \"parquet\"",
            "m.toml:2: `site`: `a b` is not 1 to 128 of A-Z a-z 0-9 . _ -",
            "m.toml:3: `rest` is `\"keep\"`: must be \"properties\" or \"drop\" or \"same_name\"",
            "m.toml:7: `user_id` in `[columns]` is `5`: must be a text in quotes",
            "m.toml:8: `x` in `[columns]` is `\"\"`: must not be empty",
        ],
    );
    check("columns = 5\nrest = 'same_name'\n", &["m.toml:1: `[columns]` is `5`: must be a table"]);
    check(
        "time_format = %H\n",
        &["m.toml:1: string values must be quoted, expected literal string, at `time_format`"],
    );
}

#[test]
fn a_pattern_tells_a_point_in_time_or_is_refused() {
    for bad in ["", "x", "%H:%M:%S", "%Y-%m-%d", "%Y-%m-%d %I:%M", "%Y-%m-%d %Q", "%y %m %d %M:%S"]
    {
        assert_eq!(TimeFormat::named(bad), None, "{bad}");
    }
    let first = 1_569_888_000_000_000;
    for (format, text, micros) in [
        ("rfc3339", "2019-10-01T02:00:00.000001+02:00", first + 1),
        ("unix_s", "1569888000", first),
        ("unix_s", "1569888000.25", first + 250_000),
        ("unix_ms", "1569888000001", first + 1_000),
        ("unix_us", "-1", -1),
        ("%Y-%m-%d %H:%M:%S UTC", "2019-10-01 00:00:00 UTC", first),
        ("%Y-%m-%d %H:%M", "2019-10-01 00:00", first),
        ("%Y-%m-%dT%H:%M:%S%.f", "2019-10-01T00:00:00.5", first + 500_000),
        ("%Y-%m-%d %H:%M:%S %z", "2019-10-01 02:00:00 +0200", first),
        ("%d.%m.%Y %I:%M:%S %p", "01.10.2019 12:00:00 AM", first),
    ] {
        let format = TimeFormat::named(format).unwrap_or_else(|| panic!("{format}"));
        assert_eq!(format.parse(text), Ok(Micros(micros)), "{text}");
    }
    for (format, text) in [
        ("unix_s", "9223372036854775807"),
        ("unix_s", "1e300"),
        ("unix_s", "nan"),
        ("unix_ms", ""),
        ("%Y-%m-%d %H:%M:%S", "2019-10-01"),
        ("%Y-%m-%d %H:%M:%S", "2019-10-01 00:00:00 UTC"),
    ] {
        let format = TimeFormat::named(format).unwrap_or_else(|| panic!("{format}"));
        let told = Err(format!("`{text}` is not a time in the map's `time_format`"));
        assert_eq!(format.parse(text), told);
    }
}

#[test]
fn a_file_is_known_by_its_name() {
    for (name, format) in [
        ("a/b.csv", Some(Format::Csv)),
        ("b.CSV.gz", Some(Format::Csv)),
        ("b.jsonl", Some(Format::JsonLines)),
        ("b.ndjson.gz", Some(Format::JsonLines)),
        ("b.parquet", Some(Format::Parquet)),
        ("b.parquet.gz", None),
        ("csv", None),
        ("b.tsv", None),
    ] {
        assert_eq!(Format::of_file(Path::new(name)), format, "{name}");
    }
}

#[test]
fn any_text_is_a_map_or_has_mistakes() {
    let seeds = [REES46.as_bytes(), FOOTFALL.as_bytes(), COMPLETE.as_bytes()];
    footfall_tests::for_mutants(&seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Err(mistakes) = LoadMap::parse(Path::new("m.toml"), text) {
            assert!(!mistakes.to_string().is_empty(), "a mistake that is not told");
        }
    });
}
