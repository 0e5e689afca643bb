//! Bad input: a clear answer that names the field, a row in `rejected`, and nothing else disturbed.

use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::wait_until;
use tempfile::TempDir;

use crate::sample::quick;

const GOOD: &str = r#"{"event_id":"good","visitor_id":"v","event_name":"page_view"}"#;

#[test]
fn what_is_refused_is_told_and_kept_and_the_rest_goes_on() -> Result<()> {
    let folder = TempDir::new()?;
    let running = quick(folder.path()).start("up")?;
    let nested = "[".repeat(100_000);
    let large = format!(r#"{{"event_name":"x","page_title":"{}"}}"#, "a".repeat(10_000_000));
    // Body, status, what the answer names, rows in `rejected`.
    let cases: [(Vec<u8>, u16, &str, i64); 12] = [
        (b"{\"event_name\":".to_vec(), 400, "", 1),
        (br#"{"visitor_id":"v"}"#.to_vec(), 400, "event_name", 1),
        (br#"{"event_name":{}}"#.to_vec(), 400, "event_name", 1),
        (br#"{"event_name":"x","visible_ms":"long"}"#.to_vec(), 400, "visible_ms", 1),
        (br#"{"event_name":"x","items":[{},{"price":[]}]}"#.to_vec(), 400, "items[1].price", 1),
        (br#"{"event_name":"x","timestamp":"0000-01-01T00:00:00Z"}"#.to_vec(), 400, "timestamp", 1),
        (br#"{"event_name":"x","timestamp":"yesterday"}"#.to_vec(), 400, "timestamp", 1),
        (nested.into_bytes(), 400, "", 1),
        (b"{\"event_name\":\"\xff\xfe\"}".to_vec(), 400, "", 1),
        (large.into_bytes(), 413, "", 1),
        (b"[]".to_vec(), 400, "", 0),
        (br#"[{"event_name":"y","event_id":"y"},{"event_name":5}]"#.to_vec(), 202, "event_name", 1),
    ];
    let mut rejected = 0;
    for (number, (body, status, named, rows)) in cases.into_iter().enumerate() {
        let (answered, text) = running.post("/v1/events", body)?;
        ensure!(answered == status, "case {number}: {answered} {text}");
        ensure!(text.contains(named), "case {number} does not name {named}: {text}");
        rejected += rows;
    }
    let (status, answer) = running.post("/v1/events", GOOD)?;
    ensure!(status == 202, "{status} {answer}");
    let far = r#"{"event_id":"far","event_name":"x","timestamp":"9999-12-31T23:59:59Z"}"#;
    let (status, answer) = running.post("/v1/events", far)?;
    ensure!(status == 202, "{status} {answer}");
    wait_until("all rows", Duration::from_secs(60), || {
        Ok(running.number("SELECT count(*) FROM events")? == 3
            && running.number("SELECT count(*) FROM rejected")? == rejected)
    })?;
    let clamped =
        "SELECT count(*) FROM events WHERE event_id = 'far' AND event_time = received_time";
    ensure!(running.number(clamped)? == 1, "the year 9999 was not clamped");
    running.stop()
}
