//! What is kept of events whose visitors did not consent, what is flagged, and what a site's schema refuses.

use std::collections::HashSet;
use std::sync::Arc;

use footfall_ingest::{Consent, ConsentPolicy, IngestSettings, Rate, RateSettings, Rates, Schemas};
use footfall_log::Kind;
use serde_json::{Value, json};

use crate::server::{Row, Server};

const BROWSER: &str =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0\r\n";

async fn kept(settings: IngestSettings, headers: &str, body: Value, status: u16) -> Vec<Row> {
    let server = Server::start(settings).await;
    let answer = server.post("/v1/events", headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    let rows = server.rows().await;
    server.stop().await;
    rows
}

fn event(consent: &str) -> Value {
    json!({"event_id": "e", "visitor_id": "v-secret", "event_name": "click", "consent": consent})
}

/// Its sender is told that all is well, and sends it no more.
#[tokio::test]
async fn of_an_event_that_was_denied_nothing_is_kept() {
    let rows = kept(IngestSettings::default(), "", event("denied"), 202).await;
    let [Row { kind: Kind::Rejected, json: row, .. }] = rows.as_slice() else { panic!("one row") };
    assert_eq!((&row["reason"], &row["payload"]), (&json!("no_consent"), &json!("")));
    assert!(!row.to_string().contains("secret"), "{row}");
}

#[tokio::test]
async fn without_cookies_an_event_is_nobodys() {
    let rows = kept(IngestSettings::default(), "", event("cookieless"), 202).await;
    assert_eq!(rows[0].json["visitor_id"], Value::Null);
    assert_eq!(rows[0].json["consent"], "cookieless");
    let mut old = event("cookieless");
    old["timestamp"] = json!("2020-01-01T00:00:00Z");
    let rows = kept(IngestSettings::default(), "", old, 400).await;
    assert_eq!((rows[0].kind, &rows[0].json["reason"]), (Kind::Rejected, &json!("too_old")));
    assert!(!rows[0].json.to_string().contains("secret"), "{}", rows[0].json);
}

#[tokio::test]
async fn a_browsers_signal_holds_where_the_event_says_nothing() {
    let headers = format!("{BROWSER}Sec-GPC: 1\r\n");
    for (headers, consent, visitor) in [
        (headers.as_str(), "", Value::Null),
        (headers.as_str(), "granted", json!("v-secret")),
        (BROWSER, "", json!("v-secret")),
        // A server that passes its visitor's signal on need not pass on more.
        ("Sec-GPC: 1\r\n", "", Value::Null),
    ] {
        let rows = kept(IngestSettings::default(), headers, event(consent), 202).await;
        assert_eq!(rows[0].json["visitor_id"], visitor, "{headers} {consent}");
    }
    let consent = ConsentPolicy { privacy_control: Consent::Denied, ..Default::default() };
    let settings = IngestSettings { consent, ..Default::default() };
    let rows = kept(settings.clone(), &headers, event(""), 202).await;
    assert_eq!(rows[0].json["reason"], "no_consent");
    // What cannot be read may say whose it is.
    let bad = json!({"visitor_id": "v-secret", "event_name": 5});
    let rows = kept(settings, &headers, bad, 400).await;
    assert!(!rows[0].json.to_string().contains("secret"), "{}", rows[0].json);
}

#[tokio::test]
async fn what_an_event_says_holds_for_what_of_it_cannot_be_read() {
    for body in [
        json!({"visitor_id": "v-secret", "event_name": 5, "consent": "denied"}),
        json!({"visitor_id": "v-secret", "event_name": "a", "consent": "cookieless", "value": "v-secret"}),
        json!({"visitor_id": "v-secret", "event_name": "a", "consent": false}),
        json!({"visitor_id": "v-secret", "event_name": "a", "consent": "denied", "page_title": "x".repeat(70_000)}),
    ] {
        let rows = kept(IngestSettings::default(), "", body.clone(), 400).await;
        assert_eq!((rows[0].kind, &rows[0].json["payload"]), (Kind::Rejected, &json!("")));
        assert!(!rows[0].json.to_string().contains("secret"), "{body}: {}", rows[0].json);
    }
}

/// Nothing of them is kept, and yet a resend is known as one.
#[tokio::test]
async fn what_is_refused_without_consent_is_told_apart_by_its_digest() {
    let server = Server::start(IngestSettings::default()).await;
    for visitor in ["v", "v", "w"] {
        let bad = json!({"visitor_id": visitor, "event_name": 5, "consent": "denied"}).to_string();
        assert_eq!(server.post("/v1/events", "", bad.as_bytes()).await.status, 400);
    }
    let rows = server.rows().await;
    let ids: HashSet<&str> = rows.iter().map(|row| row.json["id"].as_str().unwrap()).collect();
    assert_eq!((rows.len(), ids.len()), (3, 2));
    server.stop().await;
}

/// A shop that asks first: what its visitor said holds for what is refused, too.
#[tokio::test]
async fn a_refused_event_that_was_granted_is_kept_whole() {
    let consent = ConsentPolicy { unsaid: Consent::Denied, ..Default::default() };
    let settings = IngestSettings { consent, ..Default::default() };
    for (consent, reason, status, is_kept) in
        [("granted", "too_old", 400, true), ("", "no_consent", 202, false)]
    {
        let mut old = event(consent);
        old["timestamp"] = json!("2020-01-01T00:00:00Z");
        let rows = kept(settings.clone(), "", old, status).await;
        let row = &rows[0].json;
        assert_eq!(row["reason"], reason, "{row}");
        assert_eq!(row["payload"].as_str().unwrap().contains("secret"), is_kept, "{row}");
        assert_eq!(row["visitor_id"] == "v-secret", is_kept, "{row}");
    }
}

#[tokio::test]
async fn what_comes_too_fast_is_kept_and_flagged() {
    let rates = RateSettings { visitor: Rate { burst: 10, per_second: 1 }, key: Rate::default() };
    let settings = IngestSettings { rates: Arc::new(Rates::new(rates)), ..Default::default() };
    let of = |visitor: &str, id: usize| json!({"event_id": format!("{visitor}{id}"), "visitor_id": visitor, "event_name": "click"});
    let events: Vec<Value> = (0..30).map(|id| of("fast", id)).chain([of("slow", 0)]).collect();
    let rows = kept(settings, "", Value::from(events), 202).await;
    let flagged = |visitor: &str| {
        let rows = rows.iter().filter(|row| row.json["visitor_id"] == visitor);
        rows.filter(|row| row.json["bot"] == "rate").count()
    };
    assert_eq!(rows.len(), 31);
    assert!((15..=20).contains(&flagged("fast")) && flagged("slow") == 0, "{}", flagged("fast"));
}

#[tokio::test]
async fn a_sites_events_must_fit_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.json");
    std::fs::write(
        &file,
        r#"{"properties": {"value": {"minimum": 0}}, "required": ["page_type"]}"#,
    )
    .unwrap();
    let schemas = Arc::new(Schemas::read(&[("default".to_owned(), file)]).unwrap());
    let settings = IngestSettings { schemas, ..Default::default() };
    let events = json!([
        {"event_name": "a", "page_type": "p", "value": 5},
        {"event_name": "b", "page_type": "p", "value": -5},
        {"event_name": "c"},
        {"event_name": "d", "site": "other"},
    ]);
    let rows = kept(settings, "", events, 202).await;
    let of = |kind: Kind| rows.iter().filter(move |row| row.kind == kind);
    let mut names: Vec<&Value> = of(Kind::Event).map(|row| &row.json["event_name"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["a", "d"]);
    let mut fields: Vec<&str> =
        of(Kind::Rejected).map(|row| row.json["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [r#""page_type" is a required property"#, "value: value is less than the minimum of 0"]
    );
}
