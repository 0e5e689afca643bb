//! Rows of CSV: quotes, bad rows, bounds.

use super::*;

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
