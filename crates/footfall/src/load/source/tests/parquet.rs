//! Rows of Parquet.

use ::parquet::arrow::ArrowWriter;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    ListArray, StringArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::Int32Type;

use super::*;

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
