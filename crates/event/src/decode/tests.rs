//! Records and the rows they become: by the decoder, by an event itself, and by arrow-json.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::json::ReaderBuilder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::schema::Table;
use crate::{Limits, Partition, TIME_RANGE, parse_event};

const RECEIVED: Micros = Micros(1_800_000_000_000_000);
const APPENDED: Micros = Micros(1_800_000_000_500_000);

fn decoder() -> EventDecoder {
    EventDecoder::new("events", Partition(3))
}

/// The row's columns that are not NULL, as `name=value`.
fn shown(rows: &RecordBatch, row: usize) -> Vec<String> {
    let options = FormatOptions::new();
    let columns = rows.columns().iter().zip(rows.schema_ref().fields());
    let columns = columns.filter(|(column, _)| column.is_valid(row));
    let shown = columns.map(|(column, field)| {
        if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            return format!("{}={}", field.name(), Micros(times.value(row)));
        }
        let formatter = ArrayFormatter::try_new(column, &options).unwrap();
        format!("{}={}", field.name(), formatter.value(row))
    });
    shown.collect()
}

/// Posts an event, and reads the row of its record.
#[track_caller]
fn check(json: &str, expected: &[&str]) {
    let mut event = parse_event(json).unwrap();
    let times = event.check(&Limits::default(), RECEIVED).unwrap();
    let mut record = Vec::new();
    event.write_record(times, &mut record);
    let mut decoder = decoder();
    decoder.push(&record, Offset(7), APPENDED).unwrap();
    let by_record = decoder.finish();
    assert_eq!(shown(&by_record.rows, 0), expected, "for {json}");
    decoder.push_event(&event, times, Offset(7), Some(APPENDED));
    let by_event = decoder.finish();
    assert_eq!(by_event.rows, by_record.rows, "for {json}");
    assert_eq!(by_event.sent_at, by_record.sent_at);
}

#[test]
fn an_event_becomes_a_row() {
    check(
        r#"{"event_id":"1","site":"s","event_name":"e"}"#,
        &[
            "event_id=1",
            "site=s",
            "event_name=e",
            "event_time=2027-01-15T08:00:00.000000Z",
            "received_time=2027-01-15T08:00:00.000000Z",
            "appended_at=2027-01-15T08:00:00.500000Z",
            "log=events",
            "log_partition=3",
            "log_offset=7",
            "event_date=2027-01-15",
        ],
    );
    check(
        r#"{"event_id":"1","site":"s","event_name":"a \"b\" \\ \n \u00e9","user_id":5,
            "timestamp":"2027-01-14T23:00:00.000001Z","sent_at":"2027-01-15T00:00:00.000002Z",
            "seq":2,"cls":0.25,"value":"-1.5","currency":"EUR","other":[1,{"a":null}],
            "items":[{"item_id":"i","price":0.0001,"quantity":2},{}]}"#,
        &[
            "event_id=1",
            "site=s",
            "visitor_id=u:5",
            "user_id=5",
            "event_name=a \"b\" \\ \n \u{e9}",
            "event_time=2027-01-15T06:59:59.999999Z",
            "seq=2",
            "client_time=2027-01-14T23:00:00.000001Z",
            "received_time=2027-01-15T08:00:00.000000Z",
            "appended_at=2027-01-15T08:00:00.500000Z",
            "log=events",
            "log_partition=3",
            "log_offset=7",
            "items=[{item_id: i, item_name: , item_brand: , item_category: , item_variant: , price: 0.0001, quantity: 2.0}, {item_id: , item_name: , item_brand: , item_category: , item_variant: , price: , quantity: }]",
            "value=-1.5000",
            "currency=EUR",
            "cls=0.25",
            "properties={\"other\":[1,{\"a\":null}]}",
            "event_date=2027-01-15",
        ],
    );
}

#[test]
fn an_event_that_no_log_holds_has_no_append_time() {
    let mut event = parse_event(r#"{"event_id":"1","site":"s","event_name":"e"}"#).unwrap();
    event.check_fields(&Limits::default()).unwrap();
    let times = Times { event_time: Micros(-1), received_time: RECEIVED };
    let mut decoder = decoder();
    decoder.push_event(&event, times, Offset(0), None);
    let row = shown(&decoder.finish().rows, 0);
    assert!(row.contains(&"event_date=1969-12-31".to_owned()), "{row:?}");
    assert!(!row.iter().any(|column| column.starts_with("appended_at")), "{row:?}");
}

#[test]
fn foreign_records_have_keys_in_any_order_and_with_escapes() {
    let mut decoder = decoder();
    decoder.push(GOOD.as_bytes(), Offset(0), APPENDED).unwrap();
    let foreign = r#"{"received_time":6,"event_name":"e","timestamp":1,"\u0073ite":"s","event_time":5,"event_id":"1"}"#;
    decoder.push(foreign.as_bytes(), Offset(0), APPENDED).unwrap();
    let rows = decoder.finish().rows;
    assert_eq!(shown(&rows, 0), shown(&rows, 1));
}

#[test]
fn a_record_that_is_no_utf_8_is_refused_even_where_nobody_reads_it() {
    let mut record = br#"{"other":"?"#.to_vec();
    record.push(0xff);
    record.extend_from_slice(GOOD.replacen('{', r#"","#, 1).as_bytes());
    assert!(decoder().push(&record, Offset(0), APPENDED).is_err());
    let mended: Vec<u8> = record.into_iter().filter(|byte| *byte != 0xff).collect();
    assert!(decoder().push(&mended, Offset(0), APPENDED).is_ok());
}

const GOOD: &str =
    r#"{"event_id":"1","site":"s","event_name":"e","event_time":5,"received_time":6}"#;

/// A bad record is told, and leaves the rows around it alone.
#[track_caller]
fn refuse(record: &str, expected: &str) {
    let mut decoder = decoder();
    decoder.push(GOOD.as_bytes(), Offset(0), APPENDED).unwrap();
    let error = decoder.push(record.as_bytes(), Offset(1), APPENDED).unwrap_err();
    let told = error.to_string();
    let told = told.split(" at line ").next().unwrap_or_default();
    assert_eq!(told.strip_prefix("not an event's record: "), Some(expected), "for {record}");
    assert_eq!(decoder.len(), 1);
    let second = GOOD
        .replace(r#""1""#, r#""2""#)
        .replace('}', r#","sent_at":9,"replayed":true,"user_id":"u"}"#);
    decoder.push(second.as_bytes(), Offset(2), APPENDED).unwrap();
    let both = decoder.finish();
    assert_eq!(both.sent_at, [None, Some(Micros(9))], "for {record}");
    assert_eq!(both.replayed, [false, true], "for {record}");
    let rows = [shown(&both.rows, 0), shown(&both.rows, 1)];
    let mut alone = self::decoder();
    alone.push(GOOD.as_bytes(), Offset(0), APPENDED).unwrap();
    alone.push(second.as_bytes(), Offset(2), APPENDED).unwrap();
    let alone = alone.finish().rows;
    assert_eq!(rows, [shown(&alone, 0), shown(&alone, 1)], "for {record}");
    assert!(decoder.is_empty());
}

#[test]
fn times_up_to_the_bounds_of_readers_are_taken() {
    let (first, last) = (TIME_RANGE.start().0, TIME_RANGE.end().0);
    let mut decoder = decoder();
    for (event, received) in [(first, last), (last, first)] {
        let record = format!(
            r#"{{"event_id":"1","site":"s","event_name":"e","event_time":{event},"received_time":{received},"client_time":{event}}}"#
        );
        decoder.push(record.as_bytes(), Offset(0), APPENDED).unwrap();
    }
    let rows = decoder.finish().rows;
    for (row, day) in [(0, "0001-01-01"), (1, "9999-12-31")] {
        let row = shown(&rows, row);
        assert!(row.contains(&format!("event_date={day}")), "{row:?}");
    }
}

#[test]
fn a_bad_record_is_left_out() {
    for column in ["event_id", "site", "event_name", "event_time", "received_time"] {
        let other = format!("other_{column}");
        refuse(&GOOD.replace(column, &other), &format!("`{column}` is missing"));
    }
    let with = |more: &str| GOOD.replace('}', &format!(",{more}}}"));
    refuse(&with(r#""site":"t""#), "a key stands there twice");
    refuse(&with(r#""x":1,"x":2"#), "a key stands there twice");
    refuse(&with(r#""items":[],"items":[]"#), "a key stands there twice");
    refuse(&with(r#""user_id":5"#), "invalid type: integer `5`, expected a text");
    refuse(&with(r#""x":1.5"#), "invalid type: floating point `1.5`, expected i64");
    refuse(&with(r#""x":"1""#), "invalid type: string \"1\", expected i64");
    refuse(&with(r#""value":1e13"#), "10000000000000 is out of range for money");
    refuse(&with(r#""cls":null"#), "invalid type: null, expected f64");
    refuse(&with(r#""sent_at":"x""#), "invalid type: string \"x\", expected i64");
    refuse(&with(r#""properties":{"a":}"#), "expected value");
    refuse("[]", "invalid type: sequence, expected an event's record: a JSON object");
    refuse("5", "invalid type: integer `5`, expected an event's record: a JSON object");
    refuse("", "EOF while parsing a value");
    refuse(&GOOD[..GOOD.len() - 1], "EOF while parsing an object");
    refuse(&format!("{GOOD}x"), "trailing characters");
    let beyond = "is not within the years 1 to 9999 of UTC";
    for time in [TIME_RANGE.start().0 - 1, TIME_RANGE.end().0 + 1, i64::MIN, i64::MAX] {
        for (column, ours) in [("event_time", 5), ("received_time", 6)] {
            let ours = format!("\"{column}\":{ours}");
            let theirs = format!("\"{column}\":{time}");
            refuse(&GOOD.replace(&ours, &theirs), &format!("`{column}` {beyond}"));
        }
        let client_time = with(&format!("\"client_time\":{time}"));
        refuse(&client_time, &format!("`client_time` {beyond}"));
    }
    let mut decoder = decoder();
    assert!(decoder.push(b"{\"event_id\":\"\xff\"}", Offset(0), APPENDED).is_err());
    assert_eq!(decoder.finish().rows.num_rows(), 0);
}

const TEXTS: [&str; 8] = [
    "a",
    "541312140",
    "a b",
    "\u{e9}\u{1f600}",
    "\"",
    "\\",
    "\n\t\u{1}",
    "https://shop.example/?q=%20",
];

/// An event with any columns filled, of texts that need escapes and numbers at their bounds.
fn random_event(rng: &mut StdRng) -> Event<'static> {
    let mut event = Event::default();
    let text = |rng: &mut StdRng| *TEXTS.choose(rng).unwrap();
    for column in Text::ALL {
        let is_required = matches!(column, Text::EventId | Text::Site | Text::EventName);
        if is_required || rng.random_bool(0.3) {
            event.set_text(*column, text(rng));
        }
    }
    for column in Whole::ALL {
        if rng.random_bool(0.3) {
            let whole = [rng.random_range(-9..9_999), i64::MIN, i64::MAX];
            event.set_whole(*column, *whole.choose(rng).unwrap());
        }
    }
    event.cls = rng.random_bool(0.3).then(|| f64::from(rng.random_range(0..900)) / 1e3);
    event.value = rng.random_bool(0.3).then(|| money(rng));
    for _ in 0..rng.random_range(0..3) {
        let some = |rng: &mut StdRng| rng.random_bool(0.5).then(|| text(rng).into());
        event.items.push(Item {
            item_id: some(rng),
            item_name: some(rng),
            item_brand: some(rng),
            item_category: some(rng),
            item_variant: some(rng),
            price: rng.random_bool(0.5).then(|| money(rng)),
            quantity: rng.random_bool(0.5).then(|| f64::from(rng.random_range(0..9_000)) / 1e3),
        });
    }
    if rng.random_bool(0.3) {
        event.properties = Some(r#"{"a": [1, {"b":"\u00e9"}], "c":null}"#.into());
    }
    event.client.timestamp = rng.random_bool(0.5).then(|| Micros(rng.random_range(-9..9_999)));
    event.client.sent_at = rng.random_bool(0.5).then(|| Micros(rng.random_range(-9..9_999)));
    event.is_replayed = rng.random_bool(0.5);
    event
}

/// Up to the fifteen digits that survive a reader's f64.
fn money(rng: &mut StdRng) -> Money {
    Money(rng.random_range(-999_999_999_999_999..=999_999_999_999_999))
}

/// The columns of `events` that a record does not hold.
const NOT_RECORDED: [&str; 5] = ["appended_at", "log", "log_partition", "log_offset", "event_date"];

/// What arrow-json makes of a record. `properties` is text to it, so its JSON is put into quotes.
fn by_arrow(records: &[Vec<u8>]) -> RecordBatch {
    let mut lines = Vec::new();
    for record in records {
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(record).unwrap();
        if let Some(properties) = fields.get_mut("properties") {
            let text = serde_json::to_string(properties.get()).unwrap();
            *properties = RawValue::from_string(text).unwrap();
        }
        serde_json::to_writer(&mut lines, &fields).unwrap();
        lines.push(b'\n');
    }
    let reader = ReaderBuilder::new(recorded(&Table::Events.schema()));
    let mut reader = reader.with_batch_size(records.len()).build(lines.as_slice()).unwrap();
    reader.next().unwrap().unwrap()
}

fn recorded(schema: &arrow::datatypes::Schema) -> Arc<arrow::datatypes::Schema> {
    let fields = schema.fields().iter().filter(|f| !NOT_RECORDED.contains(&f.name().as_str()));
    Arc::new(arrow::datatypes::Schema::new(fields.cloned().collect::<Vec<_>>()))
}

#[test]
fn rows_are_those_of_arrow_json_and_of_the_events_themselves() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..20 {
        let (mut by_record, mut by_event) = (decoder(), decoder());
        let mut records = Vec::new();
        for offset in 0..rng.random_range(1..60) {
            let event = random_event(&mut rng);
            let times =
                Times { event_time: Micros(rng.random_range(-9..9)), received_time: RECEIVED };
            let mut record = Vec::new();
            event.write_record(times, &mut record);
            by_record.push(&record, Offset(offset), APPENDED).unwrap();
            by_event.push_event(&event, times, Offset(offset), Some(APPENDED));
            records.push(record);
        }
        let (by_record, by_event) = (by_record.finish(), by_event.finish());
        assert_eq!(by_record.rows, by_event.rows, "SEED={seed}");
        assert_eq!(by_record.sent_at, by_event.sent_at, "SEED={seed}");
        assert_eq!(by_record.replayed, by_event.replayed, "SEED={seed}");
        let by_arrow = by_arrow(&records);
        for (field, theirs) in by_arrow.schema().fields().iter().zip(by_arrow.columns()) {
            let ours = by_record.rows.column_by_name(field.name()).unwrap();
            assert_eq!(ours, theirs, "{} with SEED={seed}", field.name());
        }
    }
}
