//! What a fold tells of itself: the pipeline commits, ticks and keeps conditions by it.

use footfall_event::Offset;

use super::language::{Log, time};
use super::run::Run;

/// Records 0 and 1 are the ticks that every log begins with.
const EVENTS: &str = "12:00:00 v1 page_view id=a type=product
     12:00:01 v2 page_view id=b
     12:00:02 v1 click id=c
     12:00:02 v1 click id=c
     tick 12:00:11.5
     tick 12:00:30
     rejected 12:00:31 v1 id=x
     tick 12:00:32
     tick 13:00:00
     tick 13:00:05
     stop";

#[test]
fn held_events_wait_until_the_watermark_passes_them() {
    let log = Log::parse(EVENTS);
    let mut run = Run::new(&log);
    run.to(2);
    run.commit();
    assert_eq!((run.fold.held_events(), run.fold.lowest_held()), (0, None));
    assert!(!run.fold.waits());
    run.to(6);
    assert_eq!((run.fold.held_events(), run.fold.open_sessions()), (3, 0));
    assert_eq!(run.fold.lowest_held(), Some(Offset(2)));
    assert_eq!(run.fold.remembered_ids(), 3);
    assert_eq!(run.fold.clock().log_time(), Some(time("12:00:02")));
    assert!(run.fold.waits());
    // The watermark passes two of them.
    run.to(7);
    assert_eq!((run.fold.held_events(), run.fold.open_sessions()), (1, 2));
    assert_eq!(run.fold.lowest_held(), Some(Offset(4)));
    run.to(8);
    assert_eq!((run.fold.held_events(), run.fold.open_sessions()), (0, 2));
    assert!(!run.fold.waits());
}

#[test]
fn a_deadline_that_lies_ahead_is_waited_for() {
    let log = Log::parse(
        "rules need.delivery.within=60s
         12:00:00 v1 page_view type=product
         tick 12:00:30
         tick 12:02:00
         stop",
    );
    let mut run = Run::new(&log);
    run.to(4);
    assert_eq!(run.fold.held_events(), 0);
    assert!(run.fold.waits());
    assert!(run.fold.take_signals().is_empty());
    run.to(5);
    assert!(!run.fold.waits());
    assert_eq!(run.fold.take_signals().len(), 1);
    assert!(run.fold.take_signals().is_empty());
}

#[test]
fn what_is_not_a_tick_is_news_until_it_is_taken() {
    let log = Log::parse(EVENTS);
    let mut run = Run::new(&log);
    run.to(2);
    assert!(!run.fold.has_news());
    run.to(6);
    assert!(run.fold.has_news());
    assert_eq!(run.fold.rows_waiting(), 0);
    run.commit();
    assert!(!run.fold.has_news());
    // Rows of events, without another record than a tick.
    run.to(7);
    assert!(run.fold.has_news());
    assert_eq!(run.fold.rows_waiting(), 2);
    run.to(8);
    assert_eq!(run.fold.rows_waiting(), 3);
    run.commit();
    assert!(!run.fold.has_news());
    // A count, without rows.
    run.to(9);
    assert!(run.fold.has_news());
    assert_eq!(run.fold.rows_waiting(), 0);
    run.commit();
    run.to(10);
    assert!(!run.fold.has_news());
    // The two sessions, their page views, and a need of one.
    run.to(12);
    assert!(run.fold.has_news());
    assert_eq!(run.fold.rows_waiting(), 2 + 2 + 1);
    run.commit();
    assert_eq!(run.fold.rows_waiting(), 0);
    assert_eq!(run.fold.open_sessions(), 0);
}

#[test]
fn a_count_before_the_hour_is_news_behind_it() {
    let log = Log::parse(
        "rejected 12:59:59 v1 id=x
         tick 13:00:01
         stop",
    );
    let mut run = Run::new(&log);
    run.to(4);
    assert!(run.fold.has_news());
}

#[test]
fn rules_are_kept_as_long_as_a_session_or_a_held_event_follows_them() {
    let log = Log::parse(
        "12:00:00 v1 page_view
         rules 12:00:01 cap=2h
         tick 12:00:30
         tick 12:30:20
         tick 12:30:25
         12:30:30 v2 page_view
         rules 12:30:31 cap=3h
         tick 13:30:00
         tick 13:30:05
         stop",
    );
    let mut run = Run::new(&log);
    let count = |run: &Run<'_>| run.fold.rules().iter().count();
    // Held.
    run.to(4);
    run.commit();
    assert_eq!(count(&run), 2);
    // In a session.
    run.to(5);
    run.commit();
    assert_eq!(count(&run), 2);
    // The first session is over; the second event goes by the rules before the newest.
    run.to(9);
    run.commit();
    assert_eq!(count(&run), 2);
    run.to(11);
    run.commit();
    assert_eq!(count(&run), 1);
}

#[test]
fn what_raises_no_need_is_not_waited_for() {
    for text in [
        // Nobody saw it.
        "12:00:00 v1 page_view type=product visible=0
         tick 12:00:11",
        // Hidden.
        "rules hidden=name:heartbeat need.delivery.raised=name:heartbeat
         12:00:00 v1 heartbeat
         tick 12:00:11",
        // It finds and raises nothing.
        "12:00:00 v1 info_exposed info=delivery_price visible=150
         tick 12:00:11",
        // Raised before in the session.
        "12:00:00 v1 page_view type=product
         tick 12:01:01
         12:01:02 v1 page_view type=product
         tick 12:01:13",
        // Erased.
        "12:00:00 v1 page_view type=product
         erase 12:00:01 v1",
    ] {
        let log = Log::parse(&format!("rules need.delivery.within=60s\n{text}\nstop"));
        let mut run = Run::new(&log);
        run.to(log.records.len());
        assert_eq!(run.fold.held_events(), 0, "{text}");
        assert!(!run.fold.waits(), "{text}");
    }
}
