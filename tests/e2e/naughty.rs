//! Texts that break programs (the big list of naughty strings), through every text field of an event to
//! Parquet and back by SQL: equal byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{repository, wait_until};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::sample::quick;

/// Beside the checkout; what is in it is not ours to copy.
const LIST: &str = "../shared/suites/naughty-strings.json";

/// A list of our own, for where there is no other.
const OWN: [&str; 24] = [
    "undefined",
    "NULL",
    "\u{0}",
    "a\u{0}b",
    "\u{1}\u{7f}\u{80}\u{9f}",
    "\t\n\r\u{b}\u{c} \u{85}\u{2028}\u{2029}",
    " leading and trailing ",
    "\u{feff}mark",
    "\u{200b}\u{200d}\u{ad}",
    "\u{202e}drow",
    "\u{ffff}\u{fffe}\u{fffd}",
    "\u{10ffff}\u{1f600}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "Z\u{351}\u{36b}\u{343}a\u{329}\u{34e}lgo",
    "\u{e9} e\u{301}",
    "'; DROP TABLE events; --",
    "\"quoted\" \\ / \\u0041",
    "%s%n{0}$HOME`id`",
    "../../../../etc/passwd\\..\\con",
    "<script>alert(1)</script>&amp;",
    "-9223372036854775809",
    "1e1000",
    "NaN",
    "2026-02-30T25:61:00Z",
    "=cmd|' /C calc'!A0",
];

/// Columns that hold what a client says; `site` takes plain names alone, which is told at the door.
const COLUMNS: [&str; 38] = [
    "event_id",
    "visitor_id",
    "user_id",
    "client_session_id",
    "event_name",
    "page_view_id",
    "page_url",
    "page_path",
    "page_type",
    "page_title",
    "referrer",
    "section",
    "info_key",
    "target",
    "search_id",
    "search_term",
    "cart_id",
    "order_id",
    "currency",
    "coupon",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "click_id",
    "channel",
    "user_agent",
    "device_type",
    "browser",
    "os",
    "language",
    "country",
    "region",
    "ip",
    "error",
    "consent",
    "bot",
];
/// The bound of columns that are names and identifiers; `page_url` and others take more.
const NAME_BYTES_MAX: usize = 512;

#[test]
fn naughty_strings_come_back_as_they_were_sent() -> Result<()> {
    let (mut strings, mut long) = (BTreeSet::from(OWN.map(str::to_owned)), 0);
    match std::fs::read_to_string(repository().join(LIST)) {
        Ok(list) => strings.extend(serde_json::from_str::<Vec<String>>(&list)?),
        // The test runner keeps what is printed by its macros to itself.
        Err(_) => writeln!(
            std::io::stderr(),
            "the big list of naughty strings was NOT run: there is no {LIST}"
        )?,
    }
    // An empty text counts as absent.
    strings.remove("");
    let folder = TempDir::new()?;
    // What is no address is not kept but by `full`, and some hold what redaction takes out.
    let footfall = quick(folder.path()).set("enrich.ip=full").set("enrich.redacted_parameters=");
    let running = footfall.start("up")?;
    let mut sent = BTreeMap::new();
    for (number, text) in strings.iter().enumerate() {
        let (status, answer) = running.post("/v1/events", event(number, text).to_string())?;
        if text.len() > NAME_BYTES_MAX {
            ensure!(status == 400 && answer.contains("too_long"), "{text:?}: {status} {answer}");
            long += 1;
            continue;
        }
        ensure!(status == 202, "{text:?}: {status} {answer}");
        sent.insert(number as i64, text);
    }
    ensure!(sent.len() + long == strings.len() && !sent.is_empty(), "some were not sent");
    let (status, answer) =
        running.post("/v1/events", json!({"event_name": "e", "site": "a b"}).to_string())?;
    ensure!(status == 400 && answer.contains("site"), "{status} {answer}");
    wait_until("all rows", Duration::from_secs(60), || {
        Ok(running.number("SELECT count(*) FROM events")? == sent.len() as i64)
    })?;
    let columns = COLUMNS.join(", ");
    let ask = format!("SELECT seq, items, properties, {columns} FROM events");
    let rows = running.sql(&ask)?;
    ensure!(rows.len() == sent.len(), "{} rows", rows.len());
    for row in &rows {
        let text = sent.get(&row[0].as_i64().context("no seq")?).context("an unknown seq")?;
        compare(row, text)?;
    }
    running.stop()
}

/// An event whose every text is `text`.
fn event(number: usize, text: &str) -> Value {
    let texts = COLUMNS.map(|column| (column.to_owned(), text.into()));
    let mut event: Map<String, Value> = texts.into_iter().collect();
    event.insert("seq".to_owned(), number.into());
    let names = ["item_id", "item_name", "item_brand", "item_category", "item_variant"];
    let item: Map<_, _> = names.map(|name| (name.to_owned(), text.into())).into_iter().collect();
    event.insert("items".to_owned(), json!([item]));
    event.insert("properties".to_owned(), json!({ "value": text, text: "key" }));
    event.into()
}

fn compare(row: &Value, text: &str) -> Result<()> {
    for (at, column) in COLUMNS.iter().enumerate() {
        let read = row[3 + at].as_str();
        ensure!(read == Some(text), "{column}: {text:?} came back as {read:?}");
    }
    let item = row[1][0].as_object().context("no item")?;
    for name in ["item_id", "item_name", "item_brand", "item_category", "item_variant"] {
        ensure!(item[name] == *text, "{name}: {text:?} came back as {}", item[name]);
    }
    let properties: Value = serde_json::from_str(row[2].as_str().context("no properties")?)?;
    let expected = json!({ "value": text, text: "key" });
    ensure!(properties == expected, "{text:?} came back as {properties}");
    Ok(())
}
