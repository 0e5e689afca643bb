//! What ends a process whose parts do not end by themselves, and what a collector answers whose log fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use footfall_event::Micros;
use footfall_ingest::{RejectedRow, replay};
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::*;
use crate::failing_log::{Answer, FailingLog};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_log_that_failed_for_good_ends_the_collector() {
    let log = Arc::new(FailingLog::new(Answer::Unavailable));
    let mut parts = Parts::default();
    let listener = bind("127.0.0.1:0").await.unwrap();
    parts.ingest(listener, IngestSettings::default(), log.clone(), Vec::new()).unwrap();
    let mut supervising = tokio::spawn(parts.supervise());
    // One that cannot be reached is waited for.
    let early = tokio::time::timeout(Duration::from_millis(100), &mut supervising).await;
    assert!(early.is_err());
    log.answer(Answer::FailedForGood);
    let ended = tokio::time::timeout(PATIENCE, supervising).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "event log failing: restart footfall");
}

/// A collector that went on alone would take what nobody reads.
#[tokio::test]
async fn a_part_that_ends_ends_the_others() {
    let all: [fn(&mut Parts) -> &mut Running; 3] =
        [|parts| &mut parts.ingest, |parts| &mut parts.pipeline, |parts| &mut parts.query];
    for broken in all {
        let mut parts = Parts::default();
        let stopped = Arc::new(AtomicUsize::new(0));
        for of in all {
            let (stop, stopped) = (of(&mut parts).stop.clone(), stopped.clone());
            of(&mut parts).tasks.spawn(async move {
                stop.cancelled().await;
                stopped.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        broken(&mut parts).tasks.spawn(async { anyhow::bail!("it broke off") });
        let ended = tokio::time::timeout(PATIENCE, parts.supervise()).await.unwrap();
        assert_eq!(ended.unwrap_err().to_string(), "it broke off");
        assert_eq!(stopped.load(Ordering::Relaxed), all.len());
    }
}

/// Its row stands, and can be replayed again.
#[tokio::test]
async fn what_the_log_does_not_take_is_not_replayed() {
    let row = RejectedRow {
        log: "failing".to_owned(),
        log_partition: 0,
        log_offset: 7,
        received_time: Micros::clock(),
        site: "shop".to_owned(),
        field: String::new(),
        payload: r#"{"event_name":"e","visitor_id":"v"}"#.to_owned(),
        payload_bytes: 35,
    };
    let log = FailingLog::seeming_well(Answer::Unavailable);
    let settings = IngestSettings::default();
    for is_trial in [true, false] {
        let replayed = replay(&log, &settings, std::slice::from_ref(&row), None, is_trial).await;
        assert_eq!((replayed.is_ok(), log.appends()), (is_trial, usize::from(!is_trial)));
    }
}

/// Whoever is answered 2xx, or with an image, never sends it again.
#[tokio::test]
async fn what_the_log_does_not_take_is_to_be_sent_again() {
    const EVENT: &str = r#"{"event_name":"e","visitor_id":"v"}"#;
    const BATCH: &str = r#"{"batch":[{"type":"page","messageId":"m","anonymousId":"v"}]}"#;
    const SNOWPLOW: &str = r#"{"data":[{"e":"pv","aid":"shop","duid":"v","eid":"e"}]}"#;
    const GA4: &str = r#"{"client_id":"1.2","events":[{"name":"e"}]}"#;
    // That there is room is asked before a body is read; here only the append tells.
    let log = Arc::new(FailingLog::seeming_well(Answer::Unavailable));
    let mut parts = Parts::default();
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    parts.ingest(listener, IngestSettings::default(), log.clone(), Vec::new()).unwrap();
    let (client, url) = (reqwest::Client::new(), |path| format!("http://{address}{path}"));
    let get = |path| client.get(url(path));
    let post = |path, body: &str| client.post(url(path)).body(body.to_owned());
    let requests = [
        (post("/v1/events", EVENT), 202),
        (post("/v1/events", &format!("[{EVENT},{EVENT}]")), 202),
        (post("/v1/batch", BATCH), 200),
        (post("/com.snowplowanalytics.snowplow/tp2", SNOWPLOW), 200),
        (get("/i?e=pv&aid=shop&duid=v&eid=e"), 200),
        (post("/mp/collect?api_secret=k", GA4), 200),
        (get("/g/collect?v=2&tid=k&cid=1.2&en=e"), 200),
    ];
    let send = async |request: &RequestBuilder| request.try_clone().unwrap().send().await.unwrap();
    for failure in [Answer::Unavailable, Answer::FailedForGood] {
        log.answer(failure);
        for (request, _) in &requests {
            let answer = send(request).await;
            assert_eq!(answer.status(), 503, "{}", answer.url());
            assert!(answer.headers().contains_key(RETRY_AFTER), "{}", answer.url());
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json", "{}", answer.url());
        }
    }
    assert_eq!(log.appends(), 2 * requests.len());
    log.answer(Answer::Taken);
    for (request, status) in &requests {
        let answer = send(request).await;
        assert_eq!(answer.status(), *status, "{}", answer.url());
    }
}
