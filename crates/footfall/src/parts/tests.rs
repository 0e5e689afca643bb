//! What ends a process whose parts do not end by themselves.

use std::time::Duration;

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
