//! Files as text, and the rows they become.

use std::io::Write;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float64Array, Int64Array, ListArray, StringArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

/// 2026-01-01T00:00:00Z.
const RECEIVED: Micros = Micros(1_767_225_600_000_000);

/// A map for columns `t`, `n` and `v`.
const MAP: &str =
    "time_format = 'unix_s'\n[columns]\ntimestamp = 't'\nevent_name = 'n'\nvisitor_id = 'v'\n";

struct Files {
    folder: TempDir,
    named: Vec<PathBuf>,
    map: LoadMap,
}

impl Files {
    fn new(map: &str, files: &[(&str, &[u8])]) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.toml");
        std::fs::write(&path, map).unwrap();
        let map = LoadMap::load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut made = Files { folder, named: Vec::new(), map };
        for (name, bytes) in files {
            made.add(name, bytes);
        }
        made
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        self.named.push(self.folder.path().join(name));
        std::fs::write(self.named.last().unwrap(), bytes).unwrap();
    }

    fn open(&self) -> Result<Sources, SourceError> {
        let limits = Limits::default();
        Sources::open(&self.named, &self.map, "default", limits, "load:1", RECEIVED)
    }

    /// All rows, one a line, in the order of their numbers.
    fn read(&self) -> Vec<String> {
        self.try_read().unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_read(&self) -> Result<Vec<String>, SourceError> {
        let mut sources = self.open()?;
        let mut lines = Vec::new();
        while let Some(batch) = sources.next_batch()? {
            let events = (0..batch.events.num_rows()).map(|row| shown(&batch.events, row));
            let rejected = batch.rejected.iter().map(|(row, rejection)| {
                let Rejection { site, reason, field, payload, .. } = rejection;
                (*row, format!("{row} {site} {reason} {field} <{payload}>"))
            });
            let mut rows: Vec<(u64, String)> = events.chain(rejected).collect();
            rows.sort();
            lines.extend(rows.into_iter().map(|(_, line)| line));
        }
        assert_eq!(sources.bytes_read(), sources.bytes_total());
        Ok(lines)
    }

    /// Why the load cannot begin or go on, without the folder's name.
    fn error(&self) -> String {
        let error = self.try_read().unwrap_err().to_string();
        error.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// Columns that are the same in every row, checked once.
const FIXED: [&str; 5] = ["log", "log_partition", "received_time", "event_date", "client_time"];

/// The row's number, and its columns that are not NULL. An id made of a hash is shown as `#`.
fn shown(events: &RecordBatch, row: usize) -> (u64, String) {
    let options = FormatOptions::new();
    let value = |name: &str| {
        let column = events.column_by_name(name).filter(|column| column.is_valid(row))?;
        if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            return Some(Micros(times.value(row)).to_string());
        }
        let formatter = ArrayFormatter::try_new(column, &options).unwrap();
        Some(formatter.value(row).to_string())
    };
    let number = value("log_offset").unwrap();
    assert_eq!(value("log").as_deref(), Some("load:1"));
    assert_eq!(value("received_time").as_deref(), Some("2026-01-01T00:00:00.000000Z"));
    assert_eq!(value("appended_at"), None);
    let mut line = vec![number.clone()];
    for field in events.schema_ref().fields() {
        let name = field.name().as_str();
        let Some(text) = value(name).filter(|_| name != "log_offset" && !FIXED.contains(&name))
        else {
            continue;
        };
        let is_hash = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let (id, count) = text.split_at(text.len().min(32));
        let text = if is_hash(id) { format!("#{count}") } else { text };
        line.push(format!("{name}={text}"));
    }
    (number.parse().unwrap(), line.join(" "))
}

#[track_caller]
fn check(map: &str, files: &[(&str, &[u8])], expected: &[&str]) {
    assert_eq!(Files::new(map, files).read(), expected);
}

#[track_caller]
fn refuse(map: &str, files: &[(&str, &[u8])], expected: &str) {
    assert_eq!(Files::new(map, files).error(), expected);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the rows of `MAP` with `t` = 0 have in common; `seq` is the row's number.
fn row(number: usize, rest: &str) -> String {
    let rest = rest.replace(AT_0, &format!("{AT_0} seq={number}"));
    format!("{number} event_id=# site=default {rest}")
}

const AT_0: &str = "event_time=1970-01-01T00:00:00.000000Z";

#[test]
fn rows_of_csv_become_events() {
    let csv = "\u{feff}t,n,v,\"a, b\"\r\n0,view,\"u\"\"1\"\"\",\r\n\r\n1,view,\"two\r\nlines\",x y\r\n  \n2,\u{e9},,\"\"\n";
    check(
        MAP,
        &[("a.csv", csv.as_bytes())],
        &[
            &row(0, &format!("visitor_id=u\"1\" event_name=view {AT_0}")),
            "1 event_id=# site=default visitor_id=two\r\nlines event_name=view event_time=1970-01-01T00:00:01.000000Z seq=1 properties={\"a, b\":\"x y\"}",
            "2 event_id=# site=default event_name=\u{e9} event_time=1970-01-01T00:00:02.000000Z seq=2",
        ],
    );
}

#[test]
fn the_last_line_needs_no_end() {
    for csv in [
        "t,n,v\n0,a,b",
        "t,n,v\n0,a,b\n",
        "t,n,v\r\n0,a,b\r",
        "t,n,v\n0,a,\"b\"",
        "t,n,v\n0,a,b\n\n \n",
    ] {
        let expected = row(0, &format!("visitor_id=b event_name=a {AT_0}"));
        check(MAP, &[("a.csv", csv.as_bytes())], &[&expected]);
    }
}

/// What a field may hold comes back as it was.
#[test]
fn quoted_fields_come_back_as_they_were() {
    const PARTS: [&str; 8] = ["a", "\"", ",", "\n", "\r\n", " ", "\u{1f600}", "\\"];
    let pick = |number: usize, place: u32| PARTS[number / 8_usize.pow(place) % 8];
    let texts = (0..512).map(|n| format!("{}{}{}", pick(n, 0), pick(n, 1), pick(n, 2)));
    let texts: Vec<String> = texts.collect();
    let mut csv = String::from("t,n,v\n");
    for text in &texts {
        csv.push_str(&format!("0,\"{}\",v\n", text.replace('"', "\"\"")));
    }
    let files = Files::new(MAP, &[("a.csv", csv.as_bytes())]);
    let batch = files.open().unwrap().next_batch().unwrap().unwrap();
    assert!(batch.rejected.is_empty());
    let names = batch.events.column_by_name("event_name").unwrap();
    let names = names.as_string::<i32>();
    assert_eq!(names.iter().map(Option::unwrap).collect::<Vec<_>>(), texts);
}

#[test]
fn bad_rows_are_set_aside() {
    let csv = b"t,n,v,y,p\n0,a,b\n0,a,b,1,2,3\nx,a,b,1,2\n,a,b,1,2\n0,,b,1,2\n0,a,b,far,2\n0,a,b,1,1e13\n0,\xff,b,1,2\n-1,a,b,1,2\n0,a,b,1.6,2.5\n";
    let map = format!("{MAP}y = 'y'\nvalue = 'p'\n");
    check(
        &map,
        &[("a.csv", csv)],
        &[
            "0 default bad_record y: the row has 3 fields, the header 5 <0,a,b>",
            "1 default bad_record row: the row has 6 fields, the header 5 <0,a,b,1,2,3>",
            "2 default bad_time t: `x` is not a time in the map's `time_format` <x,a,b,1,2>",
            "3 default missing timestamp: is required of history <,a,b,1,2>",
            "4 default missing event_name: is required, such as `page_view` <0,,b,1,2>",
            "5 default bad_type y: `far` is not a number <0,a,b,far,2>",
            "6 default bad_value p: 10000000000000 is out of range for money <0,a,b,1,1e13>",
            "7 default bad_record row: is not UTF-8 <0,\u{fffd},b,1,2>",
            "8 default bad_time timestamp: 1969-12-31T23:59:59.000000Z is before 1970 <-1,a,b,1,2>",
            &row(9, &format!("visitor_id=b event_name=a {AT_0} y=2 value=2.5000")),
        ],
    );
}

#[test]
fn a_stray_quote_costs_its_own_line() {
    let csv = b"t,n,v\n0,a,\"open\n0,b,c\n0,d,\"closed\"\n";
    let good = |number, name, visitor| {
        row(number, &format!("visitor_id={visitor} event_name={name} {AT_0}"))
    };
    let open =
        |number, line| format!("{number} default bad_record row: a quote is not closed <{line}>");
    let bad = |line| open(0, line);
    check(
        MAP,
        &[("a.csv", csv)],
        &[&bad("0,a,\"open"), &good(1, "b", "c"), &good(2, "d", "closed")],
    );
    check(
        MAP,
        &[("a.csv", b"t,n,v\n0,\"a,b\n0,c,d\n0,\"e\",f\n")],
        &[&bad("0,\"a,b"), &good(1, "c", "d"), &good(2, "e", "f")],
    );
    check(
        MAP,
        &[("a.csv", b"t,n,v\n0,a,\"open\n0,b,c\n0,d,e")],
        &[&bad("0,a,\"open"), &good(1, "b", "c"), &good(2, "d", "e")],
    );
    check(
        MAP,
        &[("a.csv", b"t,n,v\n0,a,\"open\n0,b,c,\"d\"\n")],
        &[
            &bad("0,a,\"open"),
            "1 default bad_record row: the row has 4 fields, the header 3 <0,b,c,\"d\">",
        ],
    );
    // Two of them hold the rows between them together.
    check(
        MAP,
        &[("a.csv", b"t,n,v\n0,a,\"open\n0,x,y\n0,b,\"c\n0,z,\"\"\"w\"\"\"\n")],
        &[&bad("0,a,\"open"), &good(1, "x", "y"), &open(2, "0,b,\"c"), &good(3, "z", "\"w\"")],
    );
    check(MAP, &[("a.csv", b"t,n,v\n0,a,5\" pipe\n")], &[&good(0, "a", "5\" pipe")]);
    let many = format!("t,n,v\n0,a,\"open\n{}", "0,b,c\n".repeat(file::ROW_BYTES_MAX / 4));
    let rows = Files::new(MAP, &[("a.csv", many.as_bytes())]).read();
    assert_eq!((rows.len(), &rows[0]), (file::ROW_BYTES_MAX / 4 + 1, &bad("0,a,\"open")));
    assert!(rows[1..].iter().all(|row| row.contains("visitor_id=c")), "{}", rows[1]);
}

#[test]
fn a_row_has_a_bound() {
    let long = "x".repeat(3 * file::ROW_BYTES_MAX);
    for (name, path, head, line) in [
        ("a.csv", "row", "t,n,v\n", "0,a,b"),
        ("a.jsonl", "line", "", r#"{"t":0,"n":"a","v":"b"}"#),
    ] {
        for (open, end) in [("", "\n"), ("\"", "\n"), ("", " \r\n")] {
            let text = format!("{head}{open}{long}{end}{line}\n");
            let files = Files::new(MAP, &[(name, text.as_bytes())]);
            let batch = files.open().unwrap().next_batch().unwrap().unwrap();
            let (number, rejection) = &batch.rejected[0];
            assert_eq!((*number, batch.rejected.len()), (0, 1), "{name}");
            assert_eq!(rejection.reason, "too_large");
            assert_eq!(rejection.field, format!("{path}: is longer than 1048576 bytes"));
            assert_eq!(rejection.payload_bytes as usize, long.len() + open.len(), "{name}");
            assert_eq!(rejection.payload.len(), 16_384);
            let expected = row(1, &format!("visitor_id=b event_name=a {AT_0}"));
            assert_eq!(shown(&batch.events, 0), (1, expected), "{name}");
        }
    }
}

/// The order of the files decides among equal times, unless the source counts itself.
#[test]
fn a_source_may_have_a_counter() {
    let seqs = |map: &str, file: (&str, &[u8])| {
        let batch = Files::new(map, &[file]).open().unwrap().next_batch().unwrap().unwrap();
        let seqs = batch.events.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
        seqs.iter().collect::<Vec<_>>()
    };
    let same = format!("rest = 'same_name'\n{MAP}");
    assert_eq!(seqs(&same, ("a.csv", b"t,n,v\n0,a,b\n0,a,b\n")), [Some(0), Some(1)]);
    let named = b"t,n,v,event_id\n0,a,b,x\n0,a,b,y\n";
    assert_eq!(seqs(&same, ("a.csv", named)), [Some(0), Some(1)]);
    let counted = b"t,n,v,event_id,seq\n0,a,b,x,9\n0,a,b,y,\n0,a,b,,\n";
    assert_eq!(seqs(&same, ("a.csv", counted)), [Some(9), None, Some(2)]);
    let mapped = format!("{MAP}event_id = 'i'\nseq = 's'\n");
    let counted = b"t,n,v,i,s\n0,a,b,x,\n0,a,b,y,7\n";
    assert_eq!(seqs(&mapped, ("a.csv", counted)), [None, Some(7)]);
    let lines = concat!(
        r#"{"t":0,"n":"a","event_id":"x","seq":9}"#,
        "\n",
        r#"{"t":0,"n":"a","event_id":"y"}"#,
    );
    assert_eq!(seqs(&same, ("a.jsonl", lines.as_bytes())), [Some(9), Some(1)]);
    // Our own lines mean what they mean when they are posted.
    let ours = concat!(
        r#"{"event_id":"x","event_name":"a","timestamp":"2025-01-01T00:00:00Z","seq":9}"#,
        "\n",
        r#"{"event_id":"y","event_name":"a","timestamp":"2025-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"event_name":"a","timestamp":"2025-01-01T00:00:00Z"}"#,
    );
    let ours = seqs("rest = 'same_name'", ("a.jsonl", ours.as_bytes()));
    assert_eq!(ours, [Some(9), None, Some(2)]);
}

#[test]
fn rows_of_json_become_events() {
    let lines = concat!(
        r#"{"t":0,"n":"a\u00e9","v":12345678901234567,"id":null,"o":[1,{"b":null}]}"#,
        "\r\n\n",
        r#"  {"v":null,"n":true,"t":"1.5","id":"x","o":"\ud83d\ude00"}"#,
        "\n",
        r#"{"t":0,"n":["a"]}"#,
        "\n",
        r#"{"t":0,"n":"\ud800"}"#,
        "\n",
        r#"{"t":0,"n":"a""#,
        "\n",
        "5\n",
        r#"{"t":{},"n":"a"}"#,
    );
    let map = format!("{MAP}event_id = 'id'\n");
    check(
        &map,
        &[("a.ndjson", lines.as_bytes())],
        &[
            &row(
                0,
                &format!(
                    "visitor_id=12345678901234567 event_name=a\u{e9} {AT_0} properties={{\"o\":[1,{{\"b\":null}}]}}"
                ),
            ),
            "1 event_id=x site=default event_name=true event_time=1970-01-01T00:00:01.500000Z seq=1 properties={\"o\":\"\\ud83d\\ude00\"}",
            r#"2 default bad_type n: expected a single value <{"t":0,"n":["a"]}>"#,
            r#"3 default bad_json n: unexpected end of hex escape <{"t":0,"n":"\ud800"}>"#,
            r#"4 default bad_json line: EOF while parsing an object at byte 14 <{"t":0,"n":"a">"#,
            "5 default bad_json line: expected a JSON object, found a number <5>",
            r#"6 default bad_type t: expected a single value <{"t":{},"n":"a"}>"#,
        ],
    );
}

#[test]
fn our_own_lines_are_read_as_they_are_posted() {
    let lines = concat!(
        r#"{"event_id":"1","site":"shop","event_name":"view_item","timestamp":"2025-12-31T23:00:00Z","sent_at":"2025-12-31T23:59:00Z","user_id":7,"items":[{"item_id":"i","price":"2.5"}],"seq":9,"color":"red"}"#,
        "\n",
        r#"{"event_name":"a","timestamp":"2031-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"event_name":"a"}"#,
        "\n",
        r#"{"site":"shop","event_name":5,"timestamp":"2025-12-31T23:00:00Z"}"#,
        "\n",
        r#"{"site":"shop","event_name":"a","timestamp":"2001-12-31T23:00:00Z"}"#,
        "\n",
    );
    check(
        "rest = 'same_name'",
        &[("a.jsonl", lines.as_bytes())],
        &[
            "0 event_id=1 site=shop visitor_id=u:7 user_id=7 event_name=view_item event_time=2025-12-31T23:00:00.000000Z seq=9 items=[{item_id: i, item_name: , item_brand: , item_category: , item_variant: , price: 2.5000, quantity: }] properties={\"color\":\"red\"}",
            "1 event_id=# site=default event_name=a event_time=2026-01-01T00:00:00.000000Z seq=1",
            r#"2 default missing timestamp: is required of history <{"event_name":"a"}>"#,
            r#"3 shop bad_type event_name: invalid type: number `5`, expected a text <{"site":"shop","event_name":5,"timestamp":"2025-12-31T23:00:00Z"}>"#,
            "4 event_id=# site=shop event_name=a event_time=2001-12-31T23:00:00.000000Z seq=4",
        ],
    );
}

#[test]
fn the_rest_goes_where_the_map_says() {
    let csv = b"t,n,v,user_id,color,\n0,a,b,u,red,z\n";
    let to = |rest: &str, expected: &str| {
        let map = format!("rest = '{rest}'\nsite = 'shop'\n{MAP}");
        let expected = format!("0 event_id=# site=shop visitor_id=b {expected}");
        check(&map, &[("a.csv", csv)], &[&expected]);
    };
    to("drop", &format!("event_name=a {AT_0} seq=0"));
    to(
        "properties",
        &format!(
            "event_name=a {AT_0} seq=0 properties={{\"user_id\":\"u\",\"color\":\"red\",\"column_6\":\"z\"}}"
        ),
    );
    to(
        "same_name",
        &format!(
            "user_id=u event_name=a {AT_0} seq=0 properties={{\"color\":\"red\",\"column_6\":\"z\"}}"
        ),
    );
    let lines =
        br#"{"t":0,"n":"a","v":"b","user_id":"u","site":"other","items":[{"item_id":1,"x":2}]}"#;
    check(
        &format!("rest = 'same_name'\nsite = 'shop'\n{MAP}"),
        &[("a.jsonl", lines)],
        &[&format!(
            "0 event_id=# site=shop visitor_id=b user_id=u event_name=a {AT_0} seq=0 items=[{{item_id: 1, item_name: , item_brand: , item_category: , item_variant: , price: , quantity: }}] properties={{\"site\":\"other\",\"items\":[{{\"item_id\":1,\"x\":2}}]}}"
        )],
    );
}

#[test]
fn values_constants_items_and_only() {
    let map = concat!(
        "time_format = 'unix_s'\n[columns]\ntimestamp = 't'\nevent_name = 'n'\nvalue = 'p'\n",
        "'items.price' = 'p'\n'items.item_id' = 'i'\nsite = 's'\n[constants]\ncurrency = 'EUR'\nx = 5\n",
        "[values.event_name]\nbuy = 'purchase'\n[only]\nvalue = ['purchase']\ncurrency = ['purchase']\n",
    );
    let item = |id: &str, price: &str| {
        format!(
            "items=[{{item_id: {id}, item_name: , item_brand: , item_category: , item_variant: , price: {price}, quantity: }}]"
        )
    };
    check(
        map,
        &[("a.csv", b"t,n,p,i,s\n0,buy,1.5,7,shop\n0,view, 2 ,8,\n0,view,,,\n")],
        &[
            &format!(
                "0 event_id=# site=shop event_name=purchase {AT_0} seq=0 x=5 {} value=1.5000 currency=EUR",
                item("7", "1.5000")
            ),
            &format!(
                "1 event_id=# site=default event_name=view {AT_0} seq=1 x=5 {}",
                item("8", "2.0000")
            ),
            &format!("2 event_id=# site=default event_name=view {AT_0} seq=2 x=5"),
        ],
    );
}

#[test]
fn lists_and_objects_may_stand_in_a_field() {
    let map = format!("{MAP}items = 'i'\nproperties = 'p'\n");
    let csv = concat!(
        "t,n,v,i,p,q\n",
        "0,a,b,\"[{\"\"item_id\"\":\"\"1\"\"}]\",\" {\"\"a\"\":1} \",z\n",
        "0,a,b,,{},\n",
        "0,a,b,\"[{},{\"\"price\"\":true}]\",,\n",
        "0,a,b,,[],\n",
        "0,a,b,,{x},\n",
    );
    let item = "items=[{item_id: 1, item_name: , item_brand: , item_category: , item_variant: , price: , quantity: }]";
    check(
        &map,
        &[("a.csv", csv.as_bytes())],
        &[
            &row(
                0,
                &format!(
                    "visitor_id=b event_name=a {AT_0} {item} properties={{\"a\":1,\"q\":\"z\"}}"
                ),
            ),
            &row(1, &format!("visitor_id=b event_name=a {AT_0}")),
            "2 default bad_type i[1].price: invalid type: boolean `true`, expected an amount of money, a number <0,a,b,\"[{},{\"\"price\"\":true}]\",,>",
            "3 default bad_type p: expected an object <0,a,b,,[],>",
            "4 default bad_json p: key must be a string at line 1 column 2 <0,a,b,,{x},>",
        ],
    );
    let lines = concat!(
        r#"{"t":0,"n":"a","v":"b","i":"[{\"item_id\":\"1\"}]","p":{"a":1},"q":null}"#,
        "\n",
        r#"{"t":0,"n":"a","v":"b","i":[{"item_id":"1"}],"p":null}"#,
        "\n",
    );
    check(
        &map,
        &[("a.jsonl", lines.as_bytes())],
        &[
            &row(
                0,
                &format!(
                    "visitor_id=b event_name=a {AT_0} {item} properties={{\"a\":1,\"q\":null}}"
                ),
            ),
            &row(1, &format!("visitor_id=b event_name=a {AT_0} {item}")),
        ],
    );
}

#[test]
fn equal_rows_are_told_apart_and_keep_their_ids() {
    let (a, b) = ("t,n,v\n0,a,b\n0,a,b\n0,ab,\n0,a,b,cut\n0,a,b,cut\n", "t,n,v\n0,a,b\n0,a,c\n");
    let files = Files::new(MAP, &[("a.csv", a.as_bytes()), ("b.csv.gz", &gzip(b.as_bytes()))]);
    let ids = || {
        let batch = files.open().unwrap().next_batch().unwrap().unwrap();
        let ids = batch.events.column_by_name("event_id").unwrap().as_string::<i32>();
        let rejected = batch.rejected.iter().map(|(_, rejection)| rejection.id.clone());
        ids.iter().map(|id| id.unwrap().to_owned()).chain(rejected).collect::<Vec<_>>()
    };
    let first = ids();
    assert_eq!(first, ids());
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), first.len(), "{first:?}");
    assert_eq!(first[1], format!("{}-2", first[0]));
    assert_eq!(first[3], format!("{}-3", first[0]));
    // The site, 4 bytes; the number of values and their ends, 4 bytes each; the values.
    let row = b"\0\0\0\x07default\0\0\0\x13\0\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\x030ab";
    let digest = <sha2::Sha256 as sha2::Digest>::digest(row);
    assert_eq!(first[0], hex::encode(&digest[..16]));
    let numbers: Vec<String> = files.read().iter().map(|line| line[..1].to_owned()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_batch_has_8192_rows_and_files_follow_each_other() {
    let csv = |from: usize, rows: usize| {
        let lines = (from..from + rows)
            .map(|row| if row % 10 == 0 { "x\n".into() } else { format!("{row},a,b\n") });
        format!("t,n,v\n{}", lines.collect::<String>())
    };
    let files = Files::new(
        MAP,
        &[
            ("a.csv", csv(0, 10_000).as_bytes()),
            ("b.csv", b"t,v,n\n"),
            ("c.csv", csv(10_000, 10_000).as_bytes()),
        ],
    );
    let mut sources = files.open().unwrap();
    let (mut sizes, mut next) = (Vec::new(), 0);
    while let Some(batch) = sources.next_batch().unwrap() {
        let offsets = batch.events.column_by_name("log_offset").unwrap();
        let offsets = offsets.as_primitive::<Int64Type>();
        let times = batch.events.column_by_name("event_time").unwrap();
        let times = times.as_primitive::<TimestampMicrosecondType>();
        assert!(
            offsets.iter().zip(times).all(|(row, time)| time == row.map(|row| row * 1_000_000))
        );
        let mut numbers: Vec<u64> = offsets.values().iter().map(|row| *row as u64).collect();
        numbers.extend(batch.rejected.iter().map(|(row, _)| row));
        numbers.sort();
        assert_eq!(numbers, (next..next + numbers.len() as u64).collect::<Vec<_>>());
        next += numbers.len() as u64;
        sizes.push(numbers.len());
    }
    assert_eq!(sizes, [8_192, 8_192, 20_000 - 2 * 8_192]);
}

#[test]
fn gzip_is_known_by_its_bytes() {
    let (a, b) = (gzip(b"t,n,v\n0,a,b\n0,c"), gzip(b",d\n"));
    let expected = [
        row(0, &format!("visitor_id=b event_name=a {AT_0}")),
        row(1, &format!("visitor_id=d event_name=c {AT_0}")),
    ];
    let members = [a, b].concat();
    check(MAP, &[("a.csv", &members)], &[&expected[0], &expected[1]]);
    check(MAP, &[("a.csv.gz", b"t,n,v\n0,a,b\n0,c,d\n")], &[&expected[0], &expected[1]]);
}

#[test]
fn a_damaged_file_ends_the_load() {
    let rows: String = (0..50_000).map(|row| format!("{row},event,{row}\n")).collect();
    let packed = gzip(format!("t,n,v\n{rows}").as_bytes());
    let error = Files::new(MAP, &[("a.csv.gz", &packed[..packed.len() / 2])]).error();
    let rest = error
        .strip_prefix("a.csv.gz: its gzip data is cut, after ")
        .unwrap_or_else(|| panic!("{error}"));
    let (count, rest) = rest.split_once(' ').unwrap();
    assert_eq!(rest, "rows; nothing was loaded: get the file again");
    assert!((1_000..50_000).contains(&count.parse().unwrap()), "{error}");
    let mut damaged = packed.clone();
    let middle = packed.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let error = Files::new(MAP, &[("a.csv.gz", &damaged)]).error();
    assert!(error.starts_with("a.csv.gz: its gzip data is damaged ("), "{error}");
    let lines = gzip(b"{\"t\":0,\"n\":\"a\"}\n");
    refuse(
        MAP,
        &[("a.jsonl.gz", &lines[..lines.len() - 4])],
        "a.jsonl.gz: its gzip data is cut, after 1 row; nothing was loaded: get the file again",
    );
}

#[test]
fn an_unfit_file_ends_the_load_before_it_begins() {
    let good: (&str, &[u8]) = ("a.csv", b"t,n,v\n0,a,b\n");
    let format = "end it in .csv, .jsonl, .ndjson (each also with .gz) or .parquet, or set `format` in the map";
    refuse(
        MAP,
        &[good, ("b.tsv", b"")],
        &format!("b.tsv: its name does not tell its format: {format}"),
    );
    refuse(MAP, &[good, ("b.csv", b"")], "b.csv: has no header: is it empty, or no CSV?");
    refuse(
        MAP,
        &[good, ("b.csv", b"t,n\n")],
        "b.csv: has no column `v`, from which the map fills `visitor_id`: known are `t`, `n`",
    );
    refuse(
        &format!("{MAP}user_id = 'user'\nsession_id = 'u'\n")
            .replace("session_id", "client_session_id"),
        &[("b.csv", b"t;n;v\n")],
        "b.csv: its header has one field, `t;n;v`, whose 3 parts are separated by `;`: save the file with commas",
    );
    refuse(
        &format!("{MAP}user_id = 'user'\n"),
        &[("b.csv", b"t,v\n")],
        "b.csv: has no column `n`, from which the map fills `event_name`: known are `t`, `v`; it has no column `user`, from which the map fills `user_id`: known are `t`, `v`",
    );
    refuse(MAP, &[good, ("b.csv", b"t,n,v,v\n")], "b.csv: has two columns `v`: rename one of them");
    refuse(
        MAP,
        &[good, ("b.csv", b"t,n,v,x,x\n")],
        "b.csv: has two columns `x`: rename one of them",
    );
    refuse(MAP, &[("b.csv", b"\xff\xfet\0,\0")], "b.csv: is UTF-16: save it as UTF-8");
    refuse(MAP, &[("b.csv", b"t,n,v,\xe9\n")], "b.csv: is not UTF-8: save it as UTF-8");
    let mut files = Files::new(MAP, &[good]);
    files.named.push(
        files
            .folder
            .path()
            .join("../")
            .join(files.folder.path().file_name().unwrap())
            .join("a.csv"),
    );
    assert!(files.error().ends_with("is named twice: its rows would count twice"));
    files.named[1] = files.folder.path().join("none.csv");
    assert_eq!(
        files.error(),
        "none.csv: cannot be opened: No such file or directory (os error 2): check the path"
    );
    files.named[1] = files.folder.path().join("");
    assert!(files.error().ends_with("is a folder: name the files in it"));
    let error = Files::new(MAP, &[("a.parquet", b"t,n,v\n0,a,b\n")]).error();
    assert!(error.starts_with("a.parquet: is no whole Parquet file ("), "{error}");
    assert!(error.ends_with("): get it again, unpacked"), "{error}");
}

#[test]
fn dropped_columns_may_share_a_name() {
    let expected = row(0, &format!("visitor_id=b event_name=a {AT_0}"));
    check(&format!("rest = 'drop'\n{MAP}"), &[("a.csv", b"t,n,v,x,x\n0,a,b,1,2\n")], &[&expected]);
}

fn write_parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn columns_of_parquet_become_events() {
    let nanos = TimestampNanosecondArray::from(vec![Some(1_999), None, Some(-1_000), Some(0)]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        None,
        None,
    ]);
    let prices = Decimal128Array::from(vec![Some(12_345), None, None, Some(-5)]);
    let bytes = write_parquet(vec![
        ("t", Arc::new(nanos)),
        ("n", Arc::new(StringArray::from(vec!["a", "b", "c", "d"]))),
        ("v", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, None, Some(-1)]))),
        ("p", Arc::new(prices.with_precision_and_scale(9, 2).unwrap())),
        ("f", Arc::new(Float64Array::from(vec![1.5, 0.0, 0.0, f64::NAN]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, None, None]))),
        ("l", Arc::new(lists)),
        ("d", Arc::new(Date32Array::from(vec![Some(1), None, None, None]))),
        (
            "z",
            Arc::new(
                TimestampSecondArray::from(vec![Some(1), None, None, None]).with_timezone("+02:00"),
            ),
        ),
        ("raw", Arc::new(BinaryArray::from(vec![Some(b"x".as_slice()), None, None, None]))),
    ]);
    let map = MAP.replace("'unix_s'", "'rfc3339'") + "value = 'p'\n";
    let files = Files::new(&map, &[("a.parquet", &bytes)]);
    assert_eq!(
        files.read(),
        [
            "0 event_id=# site=default visitor_id=9223372036854775807 event_name=a event_time=1970-01-01T00:00:00.000001Z seq=0 value=123.4500 properties={\"f\":1.5,\"b\":true,\"l\":[1,null],\"d\":\"1970-01-02T00:00:00.000000Z\",\"z\":\"1970-01-01T00:00:01.000000Z\",\"raw\":\"x\"}",
            r#"1 default missing timestamp: is required of history <{"t":null,"n":"b","v":null,"p":null,"f":0.0,"b":null,"l":null,"d":null,"z":null,"raw":null}>"#,
            r#"2 default bad_time timestamp: 1969-12-31T23:59:59.999999Z is before 1970 <{"t":"1969-12-31T23:59:59.999999Z","n":"c","v":null,"p":null,"f":0.0,"b":null,"l":null,"d":null,"z":null,"raw":null}>"#,
            "3 event_id=# site=default visitor_id=-1 event_name=d event_time=1970-01-01T00:00:00.000000Z seq=3 value=-0.0500",
        ]
    );
    let error = Files::new(MAP, &[("a.parquet", &bytes[..bytes.len() / 2])]).error();
    assert!(error.starts_with("a.parquet: is no whole Parquet file ("), "{error}");
    refuse(
        &format!("{MAP}user_id = 'user'\n"),
        &[("a.parquet", &bytes)],
        "a.parquet: has no column `user`, from which the map fills `user_id`: known are `t`, `n`, `v`, `p`, `f`, `b`, `l`, `d`, `z`, `raw`",
    );
}

#[test]
fn bytes_of_parquet_are_texts_or_the_row_is_set_aside() {
    let long = vec![b'x'; file::ROW_BYTES_MAX];
    let values = vec![Some(b"\xff".as_slice()), Some("\u{e9}".as_bytes()), None, Some(&long)];
    let bytes = write_parquet(vec![
        ("t", Arc::new(Int64Array::from(vec![0; 4]))),
        ("n", Arc::new(StringArray::from(vec!["a"; 4]))),
        ("v", Arc::new(BinaryArray::from(values))),
    ]);
    let rows = Files::new(MAP, &[("a.parquet", &bytes)]).read();
    let bad = "0 default bad_value v: is not UTF-8 <{\"t\":0,\"n\":\"a\",\"v\":\"\u{fffd}\"}>";
    assert_eq!(rows[0], bad);
    assert_eq!(rows[1], row(1, &format!("visitor_id=\u{e9} event_name=a {AT_0}")));
    assert_eq!(rows[2], row(2, &format!("event_name=a {AT_0}")));
    assert!(
        rows[3].starts_with("3 default too_large row: is longer than 1048576 bytes <{\"t\":0,")
    );
    let kept = Files::new(&MAP.replace("visitor_id = 'v'\n", ""), &[("a.parquet", &bytes)]).read();
    assert!(kept[0].starts_with("0 default bad_value v: is not UTF-8 <"), "{}", kept[0]);
    let dropped = format!("rest = 'drop'\n{}", MAP.replace("visitor_id = 'v'\n", ""));
    let dropped = Files::new(&dropped, &[("a.parquet", &bytes)]).read();
    assert_eq!(dropped[0], row(0, &format!("event_name=a {AT_0}")));
}

#[test]
fn whole_numbers_of_parquet_are_times_in_the_maps_unit() {
    let bytes = write_parquet(vec![
        ("t", Arc::new(Int64Array::from(vec![0, 0]))),
        ("n", Arc::new(StringArray::from(vec!["a", "a"]))),
        ("v", Arc::new(StringArray::from(vec!["b", "b"]))),
    ]);
    let expected = row(0, &format!("visitor_id=b event_name=a {AT_0}"));
    let second = row(1, &format!("visitor_id=b event_name=a {AT_0}"));
    let second = second.replace("event_id=#", "event_id=#-2");
    check(MAP, &[("a.parquet", &bytes)], &[&expected, &second]);
}
