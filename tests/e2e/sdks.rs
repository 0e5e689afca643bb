//! The SDKs that shops have, as they are: what each of them is told to send is in `events`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Footfall, Running, python, repository, wait_until};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::access::make;

const SOON: Duration = Duration::from_secs(60);

/// What stands in `events`, a text a row; of visitors whose ids their SDK made up, by the user.
const ROWS: &str = "SELECT concat_ws(' ', CASE WHEN length(visitor_id) = 2 \
    THEN visitor_id ELSE user_id END, event_name, page_path, page_title, \
    utm_source, target, section, order_id, value, currency, items[1]['item_id'], \
    items[1]['item_name'], items[1]['price'], items[1]['quantity']) AS told FROM events";

/// What the clients of servers send, as `ROWS` tells it.
const OF_SEGMENT: [&str; 7] = [
    "a1 Size Chosen sizes",
    "a1 identify",
    "a1 page_view /lamps",
    "a1 purchase o1 44.7000 EUR p1 Lamp 19.9000 2.0",
    "a1 screen_view",
    "u1 alias",
    "u1 group",
];
const OF_RUDDERSTACK: [&str; 3] =
    ["a2 add_to_cart EUR p1 Lamp 19.9000 2.0", "a2 page_view /lamps", "u2 identify"];
const OF_SNOWPLOW: [&str; 3] =
    ["a3 add_to_cart EUR p1 Lamp 19.9000 2.0", "a3 page_view /lamps Lamps", "a3 size-chosen"];
const OF_SEGMENT_IN_PYTHON: [&str; 3] =
    ["a7 identify", "a7 page_view /lamps", "a7 purchase o7 44.7000 EUR p1 Lamp 19.9000 2.0"];
const OF_SNOWPLOW_IN_PYTHON: [&str; 2] = ["a8 page_view /lamps Lamps", "a8 size-chosen"];
const OF_MEASUREMENT_PROTOCOL: [&str; 2] =
    ["a9 page_view /lamps Lamps", "a9 purchase o9 44.7000 EUR p1 Lamp 19.9000 2.0"];

/// What the clients of servers say that has no column: of whom, in which event, where in `properties`.
const PROPERTIES: [(&str, &str, &str, &str); 12] = [
    ("a1", "identify", "/traits/plan", "pro"),
    ("a1", "page_view", "/name", "Lamps"),
    ("a1", "purchase", "/event", "Order Completed"),
    ("a1", "Size Chosen", "/size", "42"),
    ("u1", "group", "/groupId", "g1"),
    ("u1", "alias", "/previousId", "a1"),
    ("a1", "screen_view", "/name", "Home"),
    ("a2", "add_to_cart", "/event", "Product Added"),
    ("a3", "size-chosen", "/se_label", "42"),
    ("a3", "add_to_cart", "/p", "srv"),
    ("a7", "identify", "/traits/plan", "pro"),
    ("a8", "size-chosen", "/se_category", "shop"),
];

/// A running Footfall that knows a key of the shop, from whose pages it is sent.
struct Shop {
    running: Running,
    key: String,
    page_port: u16,
    _folder: TempDir,
}

impl Shop {
    fn open() -> Result<Shop> {
        let folder = TempDir::new()?;
        let footfall = Footfall::at(&folder.path().join("data"));
        let page_port = TcpListener::bind("localhost:0")?.local_addr()?.port();
        let origin = format!("http://localhost:{page_port}");
        let made = make(&footfall, &["key", "new", "--site", "shop", "--origin", &origin])?;
        let file = folder.path().join("footfall.toml");
        std::fs::write(&file, &made.lines)?;
        let running = footfall.config(&file).start("up")?;
        Ok(Shop { running, key: made.secret, page_port, _folder: folder })
    }

    /// Runs a client of `tests/clients` that sends to `collector`, which must end well.
    fn run(&self, script: &str, collector: &str) -> Result<()> {
        let output = Command::new("node")
            .arg(client(script))
            .args([collector, &self.key, &self.page_port.to_string()])
            .output()
            .context("node is missing: run ./test")?;
        let said = String::from_utf8_lossy(&output.stderr);
        // Some tell of an answer that they then mend.
        let may_say = collector != self.running.ingest();
        ensure!(output.status.success() && (may_say || said.is_empty()), "{script}: {said}");
        Ok(())
    }

    fn run_python(&self, script: &str, collector: &str) -> Result<()> {
        python(&[&client(script).to_string_lossy(), collector, &self.key]).map(drop)
    }

    /// Waits for so many events, and tells them; none was refused.
    fn told(&self, count: usize) -> Result<Vec<String>> {
        let sql = |statement: &str| self.running.sql(statement);
        wait_until("the events", SOON, || Ok(sql(ROWS)?.len() >= count))?;
        let text = |row: &Value| row[0].as_str().unwrap_or_default().to_owned();
        let mut told: Vec<String> = sql(ROWS)?.iter().map(text).collect();
        told.sort();
        let others = sql("SELECT * FROM rejected")?;
        ensure!(others.is_empty(), "refused: {others:?}");
        ensure!(sql("SELECT 1 FROM events WHERE site <> 'shop'")?.is_empty(), "of another site");
        Ok(told)
    }

    /// No id stands twice, and each of `taken` stands there.
    fn ensure_once(&self, taken: &[String]) -> Result<()> {
        ensure!(!taken.is_empty(), "nothing was taken");
        let ids = || -> Result<Vec<String>> {
            let rows = self.running.sql("SELECT event_id FROM events")?;
            Ok(rows.iter().filter_map(|row| Some(row[0].as_str()?.to_owned())).collect())
        };
        wait_until("what was answered 2xx", SOON, || {
            let there = ids()?;
            Ok(taken.iter().all(|id| there.contains(id)))
        })?;
        let ids = ids()?;
        let once: HashSet<&String> = ids.iter().collect();
        ensure!(once.len() == ids.len(), "an event stands twice: {ids:?}");
        Ok(())
    }
}

/// Stands before a shop's collector, and answers some of what it is sent 503.
struct Proxy {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    address: String,
}

/// What a proxy saw.
#[derive(Deserialize)]
struct Seen {
    busy: usize,
    taken: Vec<String>,
    payloads: Vec<Value>,
}

impl Proxy {
    /// With `every` 0 nothing is answered 503, else each of that number.
    fn before(shop: &Shop, every: usize) -> Result<Proxy> {
        let mut child = Command::new("node")
            .arg(client("proxy.js"))
            .args([shop.running.ingest(), &every.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node is missing: run ./test")?;
        let mut said = BufReader::new(child.stdout.take().context("no output")?).lines();
        let port = said.next().context("no port")??;
        Ok(Proxy { child, said, address: format!("http://127.0.0.1:{port}") })
    }

    fn end(mut self) -> Result<Seen> {
        drop(self.child.stdin.take());
        let seen = self.said.next().context("the proxy says nothing")??;
        self.child.wait()?;
        Ok(serde_json::from_str(&seen)?)
    }
}

fn client(script: &str) -> PathBuf {
    repository().join("tests/clients").join(script)
}

#[test]
fn sdks_of_servers() -> Result<()> {
    let shop = Shop::open()?;
    let of_node =
        ["sdk_segment.js", "sdk_rudderstack.js", "sdk_snowplow.js", "measurement_protocol.js"];
    for script in of_node {
        shop.run(script, shop.running.ingest())?;
    }
    for script in ["sdk_segment.py", "sdk_snowplow.py"] {
        shop.run_python(script, shop.running.ingest())?;
    }
    let of_python = [&OF_SEGMENT_IN_PYTHON[..], &OF_SNOWPLOW_IN_PYTHON].concat();
    let of_node = [&OF_RUDDERSTACK[..], &OF_SNOWPLOW, &OF_MEASUREMENT_PROTOCOL].concat();
    let mut expected = [&OF_SEGMENT[..], &of_node, &of_python].concat();
    expected.sort_unstable();
    assert_eq!(shop.told(expected.len())?, expected);
    for (who, name, path, expected) in PROPERTIES {
        let rows = shop.running.sql(&format!(
            "SELECT properties FROM events WHERE event_name = '{name}' AND '{who}' = \
             CASE WHEN length(visitor_id) = 2 THEN visitor_id ELSE user_id END"
        ))?;
        let properties: Value = serde_json::from_str(rows[0][0].as_str().context("none")?)?;
        let found = properties.pointer(path).map(|found| match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        assert_eq!(found.as_deref(), Some(expected), "{path} of {who} {name}: {properties}");
    }
    // When it happened is what the client said, and not when it came.
    let untimed = "SELECT event_name FROM events WHERE client_time IS NULL";
    assert_eq!(shop.running.sql(untimed)?, Vec::<Value>::new());
    shop.running.stop()
}

#[test]
fn sdks_of_browsers() -> Result<()> {
    let shop = Shop::open()?;
    shop.run("sdk_browser.js", shop.running.ingest())?;
    let page = |who: &str, path: &str| format!("{who} page_view {path} Lamps - Shop news");
    let added = |who: &str, path: &str| {
        format!("{who} add_to_cart {path} Lamps - Shop news EUR p1 Lamp 19.9000 2.0")
    };
    let beacon = "/rudderstack-beacon";
    let mut expected = vec![
        page("b2", "/rudderstack"),
        added("b2", "/rudderstack"),
        page("b3", beacon),
        added("b3", beacon),
        page("b1", "/segment"),
        "b1 identify /segment Lamps - Shop news".to_owned(),
        "b1 view_item /segment Lamps - Shop news EUR p1 Lamp 19.9000".to_owned(),
        page("u5", "/snowplow"),
        "u5 size-chosen /snowplow news".to_owned(),
        page("u6", "/snowplow-get"),
        "u6 size-chosen /snowplow-get news".to_owned(),
        page("b4", "/segment-batch"),
        "b4 identify /segment-batch Lamps - Shop news".to_owned(),
        "b4 view_item /segment-batch Lamps - Shop news EUR p1 Lamp 19.9000".to_owned(),
        "b5 page_view /rudderstack-direct Lamps - Shop".to_owned(),
        "b5 add_to_cart /rudderstack-direct Lamps - Shop EUR p1 Lamp 19.9000 2.0".to_owned(),
    ];
    expected.sort();
    assert_eq!(shop.told(expected.len())?, expected);
    // What their browser tells of itself, whichever SDK says it.
    let derived = "SELECT DISTINCT browser, os, device_type, bot FROM events";
    let derived = Value::from(shop.running.sql(derived)?);
    assert_eq!(derived, json!([["HeadlessChrome", "Linux", "desktop", "ua:HeadlessChrome"]]));
    // And of its pages: where they are, how they were reached, and which visit and view they are of.
    let pages = "SELECT DISTINCT page_path, page_url, referrer, channel, language, \
        client_session_id IS NOT NULL, page_view_id IS NOT NULL FROM events ORDER BY page_path, channel";
    let of_page = |path: &str, query: &str, channel: Value, has_session: bool, has_view: bool| {
        let url = format!("http://localhost:{}{path}{query}", shop.page_port);
        json!([path, url, null, channel, "de-DE", has_session, has_view])
    };
    let named = |path, has_session, has_view| {
        of_page(path, "?utm_source=news", json!("Unassigned"), has_session, has_view)
    };
    let direct = |channel| of_page("/rudderstack-direct", "", channel, true, false);
    let expected = json!([
        named("/rudderstack", true, false),
        named(beacon, true, false),
        direct(json!("Direct")),
        direct(Value::Null),
        named("/segment", false, false),
        named("/segment-batch", false, false),
        named("/snowplow", true, true),
        named("/snowplow-get", true, true),
    ]);
    assert_eq!(Value::from(shop.running.sql(pages)?), expected);
    shop.running.stop()
}

/// Every third answer is 503, and of every other of those the collector had taken what was sent: the SDKs that send again
/// by themselves lose nothing, and what comes twice is counted once.
#[test]
fn sdks_send_again_what_was_not_taken() -> Result<()> {
    const TIMES: usize = 4;
    let shop = Shop::open()?;
    let proxy = Proxy::before(&shop, 3)?;
    for _ in 0..TIMES {
        shop.run("sdk_segment.js", &proxy.address)?;
        shop.run("sdk_rudderstack.js", &proxy.address)?;
        shop.run_python("sdk_segment.py", &proxy.address)?;
        shop.run("measurement_protocol.js", &proxy.address)?;
    }
    let seen = proxy.end()?;
    ensure!(seen.busy >= TIMES, "only {} answers were 503", seen.busy);
    let of_others = [&OF_RUDDERSTACK[..], &OF_SEGMENT_IN_PYTHON, &OF_MEASUREMENT_PROTOCOL].concat();
    let mut expected = [&OF_SEGMENT[..], &of_others].concat().repeat(TIMES);
    expected.sort_unstable();
    assert_eq!(shop.told(expected.len())?, expected);
    shop.ensure_once(&seen.taken)?;
    ensure!(shop.running.number("SELECT count(*) FROM duplicates")? > 0, "nothing came twice");
    shop.running.stop()
}

/// The same of Snowplow's trackers of servers, which send again with the next event or flush, and of a process that ends not at
/// all: what they were told is taken is there, once.
#[test]
fn trackers_of_servers_are_told_what_is_taken() -> Result<()> {
    const TIMES: usize = 6;
    let shop = Shop::open()?;
    let proxy = Proxy::before(&shop, 3)?;
    for _ in 0..TIMES {
        // They end with an error where something was not taken.
        let _told = shop.run("sdk_snowplow.js", &proxy.address);
        let _told = shop.run_python("sdk_snowplow.py", &proxy.address);
    }
    let seen = proxy.end()?;
    ensure!(seen.busy >= TIMES / 2, "only {} answers were 503", seen.busy);
    ensure!(seen.taken.len() >= TIMES * 2, "only {:?} were taken", seen.taken);
    shop.told(seen.taken.len())?;
    shop.ensure_once(&seen.taken)?;
    shop.running.stop()
}

/// The same of browsers' SDKs, of which not all send again: what their browser was told is taken is there, once.
#[test]
fn browsers_are_told_what_is_taken() -> Result<()> {
    let shop = Shop::open()?;
    let proxy = Proxy::before(&shop, 3)?;
    let output = Command::new("node")
        .arg(client("sdk_browser.js"))
        .args([&proxy.address, &shop.key, &shop.page_port.to_string(), "busy"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "sdk_browser.js: {said}");
    let seen = proxy.end()?;
    ensure!(seen.busy >= 3, "only {} answers were 503", seen.busy);
    // Sixteen events are sent, and most SDKs send them again.
    ensure!(seen.taken.len() >= 6, "only {:?} were taken", seen.taken);
    shop.told(seen.taken.len())?;
    shop.ensure_once(&seen.taken)?;
    shop.running.stop()
}

/// What Snowplow's trackers send is what its own schema says, with nothing that only this collector would take.
#[test]
fn snowplows_requests_fit_their_schema() -> Result<()> {
    let shop = Shop::open()?;
    let proxy = Proxy::before(&shop, 0)?;
    shop.run("sdk_snowplow.js", &proxy.address)?;
    shop.run_python("sdk_snowplow.py", &proxy.address)?;
    shop.run("sdk_browser.js", &proxy.address)?;
    let seen = proxy.end()?;
    let schema = repository().join("tests/data/snowplow-payload_data-1-0-4.json");
    let check = "import json, sys, jsonschema\nschema = json.load(open(sys.argv[1]))\n\
        payloads = json.loads(sys.argv[2])\n\
        [jsonschema.Draft4Validator(schema).validate(payload) for payload in payloads]\n\
        print(sum(map(len, payloads)))";
    let payloads = Value::from(seen.payloads).to_string();
    let checked = python(&["-c", check, &schema.to_string_lossy(), &payloads])?;
    // Of node and Python each their batch, of the browser a page view and a click.
    let expected = OF_SNOWPLOW.len() + OF_SNOWPLOW_IN_PYTHON.len() + 2;
    ensure!(checked.trim() == expected.to_string(), "{checked} of {expected} events were checked");
    shop.running.stop()
}
