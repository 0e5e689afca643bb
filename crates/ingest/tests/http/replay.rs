//! Refused rows once more: judged by the same checks as of when they came, and taken once.

use footfall_event::Micros;
use footfall_ingest::{IngestSettings, Key, PayloadForm, RejectedRow, Replayed, replay};
use footfall_log::{EventLog, Kind};

use crate::server::Server;

const RECEIVED: Micros = Micros(1_700_000_000_000_000);

fn row(payload: &str) -> RejectedRow {
    RejectedRow {
        log: "test".to_owned(),
        log_partition: 2,
        log_offset: 7,
        received_time: RECEIVED,
        site: "shop".to_owned(),
        field: "x: is bad".to_owned(),
        payload: payload.to_owned(),
        payload_bytes: payload.len() as i64,
    }
}

async fn one(server: &Server, row: RejectedRow, form: Option<PayloadForm>) -> Replayed {
    let settings = IngestSettings::default();
    let replayed = replay(server.log.as_ref(), &settings, &[row], form, false).await.unwrap();
    replayed.into_iter().next().unwrap()
}

fn refusal(replayed: &Replayed) -> &str {
    assert_eq!(replayed.accepted, 0, "{replayed:?}");
    replayed.refused.as_deref().unwrap()
}

/// An event that was received long ago is as old as it was then.
#[tokio::test]
async fn what_is_taken_keeps_its_times_and_says_that_it_was_replayed() {
    let server = Server::start(IngestSettings::default()).await;
    let payload = r#"{"event_id":"e","visitor_id":"v","event_name":"click","timestamp":"2023-11-14T22:00:00Z","replayed":"by a client"}"#;
    let replayed = one(&server, row(payload), None).await;
    assert_eq!((replayed.accepted, replayed.refused), (1, None));
    let rows = server.rows().await;
    let json = &rows[0].json;
    assert_eq!((rows.len(), rows[0].kind), (1, Kind::Event));
    assert_eq!(json["received_time"], RECEIVED.0);
    assert_eq!(json["event_time"], 1_699_999_200_000_000i64);
    assert_eq!((&json["replayed"], json["site"].as_str()), (&true.into(), Some("shop")));
    assert_eq!(json["properties"]["replayed"], "by a client", "a client cannot say so");
    let posted = server.post("/v1/events", "", br#"{"event_name":"click"}"#).await;
    assert_eq!(posted.status, 202);
    assert!(server.rows().await.iter().any(|row| row.json["replayed"].is_null()));
    server.stop().await;
}

#[tokio::test]
async fn events_without_ids_have_the_same_ones_each_time() {
    let server = Server::start(IngestSettings::default()).await;
    let lines = "{\"event_name\":\"a\"}\n{\"event_name\":\"b\"}";
    for _ in 0..2 {
        assert_eq!(one(&server, row(lines), None).await.accepted, 2);
    }
    let rows = server.rows().await;
    let mut ids: Vec<(i32, &str)> =
        rows.iter().map(|row| (row.partition, row.json["event_id"].as_str().unwrap())).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut names: Vec<&str> = ids.iter().map(|(_, id)| *id).collect();
    names.sort_unstable();
    assert_eq!(names, ["rejected:test/2/7/0", "rejected:test/2/7/1"], "in the same partitions");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_whole_is_refused_with_the_way_out() {
    let server = Server::start(IngestSettings::default()).await;
    let good = r#"{"event_id":"e","event_name":"click"}"#;
    let cut = RejectedRow { payload_bytes: 20_000, ..row(good) };
    assert_eq!(
        refusal(&one(&server, cut, None).await),
        "the payload is cut: 37 of 20000 bytes are stored; have its client send it again"
    );
    let bytes = RejectedRow { field: "body: is not UTF-8 from byte 3 on".to_owned(), ..row(good) };
    assert!(refusal(&one(&server, bytes, None).await).starts_with("the payload was not UTF-8"));
    let loaded = RejectedRow { log: "load:1".to_owned(), ..row(good) };
    assert!(refusal(&one(&server, loaded, None).await).contains("load it again"));
    // A blanked key is no cut.
    let key = r#"{"type":"track","event":"e","messageId":"m","writeKey":""}"#;
    let blanked = RejectedRow { payload_bytes: key.len() as i64 + 9, ..row(key) };
    assert_eq!(one(&server, blanked, None).await.accepted, 1);
    assert_eq!(server.rows().await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_again_leaves_no_further_row() {
    let server = Server::start(IngestSettings::default()).await;
    let nameless = one(&server, row(r#"{"event_id":"e"}"#), None).await;
    assert!(refusal(&nameless).starts_with("missing: event_name: is required"));
    assert_eq!(refusal(&one(&server, row("[]"), None).await), "body: holds no event");
    assert!(refusal(&one(&server, row("nonsense"), None).await).starts_with("bad_json: body"));
    assert!(server.rows().await.is_empty());
    // Of a batch the good ones are taken.
    let mixed = one(&server, row(r#"[{"event_name":"a"},{"event_id":"e"}]"#), None).await;
    assert_eq!(mixed.accepted, 1);
    assert!(mixed.refused.unwrap().starts_with("missing: event_name"));
    server.stop().await;
}

#[tokio::test]
async fn a_trial_keeps_nothing() {
    let server = Server::start(IngestSettings::default()).await;
    let (settings, rows) = (IngestSettings::default(), [row(r#"{"event_name":"a"}"#)]);
    let tried = replay(server.log.as_ref(), &settings, &rows, None, true).await.unwrap();
    assert_eq!(tried[0].accepted, 1);
    assert!(server.rows().await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_payload_tells_its_protocol_or_is_told_it() {
    let server = Server::start(IngestSettings::default()).await;
    let track = r#"{"event":"Bought","messageId":"m1","anonymousId":"v"}"#;
    assert_eq!(one(&server, row(track), None).await.accepted, 1);
    let batch = r#"{"batch":[{"type":"page","messageId":"m2"}]}"#;
    assert_eq!(one(&server, row(batch), None).await.accepted, 1);
    // A page without its type could be any call.
    let page = r#"{"messageId":"m3","properties":{"path":"/p"}}"#;
    assert!(refusal(&one(&server, row(page), None).await).contains("`track`"));
    assert_eq!(one(&server, row(page), Some(PayloadForm::Page)).await.accepted, 1);
    let screen = r#"{"messageId":"m4","name":"Home"}"#;
    assert_eq!(one(&server, row(screen), Some(PayloadForm::Screen)).await.accepted, 1);
    let tracked = r#"{"e":"pp","eid":"s1","duid":"v","aid":"","tv":"js-4"}"#;
    assert_eq!(one(&server, row(tracked), None).await.accepted, 1);
    // What names its event is Footfall's own, whatever else it says.
    let own = r#"{"event_name":"own","e":"1","tv":"2","schema":"3","data":"4"}"#;
    assert_eq!(one(&server, row(own), None).await.accepted, 1);
    let mut names: Vec<String> = server
        .rows()
        .await
        .iter()
        .map(|row| row.json["event_name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["Bought", "own", "page_ping", "page_view", "page_view", "screen_view"]);
    server.stop().await;
}

#[tokio::test]
async fn the_site_is_the_rows_where_keys_decide_it() {
    let server = Server::start(IngestSettings::default()).await;
    let key = Key { site: "blog".to_owned(), sha256: [7; 32], origins: Vec::new() };
    let settings = IngestSettings { keys: vec![key], ..Default::default() };
    let rows = [row(r#"{"event_name":"a","site":"other"}"#)];
    let log: &dyn EventLog = server.log.as_ref();
    replay(log, &settings, &rows, None, false).await.unwrap();
    assert_eq!(server.rows().await[0].json["site"], "shop");
    server.stop().await;
}
