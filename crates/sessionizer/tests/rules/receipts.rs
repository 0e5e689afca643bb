//! The receipt: what became of every record, by range and site.

use super::check::check;
use super::language::Log;
use super::render::rows;
use super::run::Run;

#[test]
fn counts_are_kept_by_site_and_cut_at_each_hour_of_log_time() {
    check(
        "cold
         tick 12:59:50
         tick 12:59:55
         12:59:56 v1 click id=a
         12:59:57 other/v1 click id=b
         12:59:57 v1 click id=a
         rejected 12:59:58 v1 id=x
         12:59:30 v1 click id=c @12:59:59
         tick 13:00:00
         tick 13:00:06.000001
         stop",
        "receipt * 0-7 hour=12:00:00 received=0 pending=0 watermark=12:59:49
         receipt other 0-7 hour=12:00:00 received=1 accepted=1 on_time=1 late=0 duplicate=0 \
            rejected=0 overflow=0 pending=1 watermark=12:59:49
         receipt shop 0-7 hour=12:00:00 received=4 accepted=2 on_time=1 late=1 duplicate=1 \
            rejected=1 overflow=0 pending=1 watermark=12:59:49
         receipt * 7-9 hour=13:00:00 watermark=12:59:56.000001
         receipt shop 7-9 hour=13:00:00 received=0 pending=0 watermark=12:59:56.000001",
    );
}

#[test]
fn a_range_ends_at_each_commit_and_there_is_none_without_a_record() {
    check(
        "12:30:00 v1 click
         commit
         commit
         12:30:01 v1 click
         12:30:02 other/v1 click
         commit
         tick 12:30:03
         stop",
        "receipt * 0-3
         receipt shop 0-3 on_time=1 pending=1
         receipt * 3-5
         receipt other 3-5 on_time=1 pending=1
         receipt shop 3-5 on_time=1 pending=2
         receipt * 5-6 watermark=12:29:53",
    );
}

#[test]
fn a_site_whose_pending_changed_has_a_row_even_without_a_record() {
    check(
        "12:30:00 v1 click
         12:30:00 other/v1 click
         12:30:01 v1 click
         commit
         tick 12:30:10.000001
         commit
         rejected 12:30:10.5 third/v1 id=x
         commit
         12:30:11 v1 click
         stop",
        "receipt * 0-5
         receipt other 0-5 pending=1
         receipt shop 0-5 pending=2
         receipt * 5-6
         receipt other 5-6 received=0 pending=0
         receipt shop 5-6 received=0 pending=1
         receipt * 6-7
         receipt third 6-7 received=1 rejected=1 accepted=0 pending=0
         receipt * 7-8
         receipt shop 7-8 received=1 pending=2",
    );
}

#[test]
fn a_record_that_gives_and_takes_one_pending_event_changes_it() {
    check(
        "12:30:00 v1 click
         commit
         12:30:11 v1 click
         stop",
        "receipt * 0-3
         receipt shop 0-3 pending=1
         receipt * 3-4
         receipt shop 3-4 received=1 pending=1",
    );
}

#[test]
fn overflow_is_counted_where_the_row_is_written() {
    check(
        "rules open_max=1 events_max=1
         12:30:00 v1 click
         12:30:01 v2 click
         12:30:02 v1 click
         commit
         tick 12:30:30
         stop",
        "receipt * 0-5
         receipt shop 0-5 on_time=3 overflow=0 pending=3
         receipt * 5-6
         receipt shop 5-6 on_time=0 overflow=2 pending=0",
    );
}

#[test]
fn the_hour_is_that_of_log_time_while_a_leap_is_not_believed() {
    check(
        "12:30:00 v1 click
         tick 8772:00:00
         tick 8772:00:01
         tick 12:30:05
         stop",
        "receipt * 0-6 hour=12:00:00 watermark=12:29:55
         receipt shop 0-6 pending=1",
    );
}

#[test]
fn a_late_event_is_accepted_and_never_pending() {
    check(
        "12:30:00 v1 click @+11s
         stop",
        "receipt * 0-3
         receipt shop 0-3 accepted=1 late=1 pending=0",
    );
}

#[test]
fn a_control_record_belongs_to_a_range_and_is_not_received() {
    check(
        "12:30:00 v1 click
         rules 12:30:01 cap=1h
         12:30:02 v1 click
         stop",
        "receipt * 0-5
         receipt shop 0-5 received=2",
    );
}

#[test]
fn records_that_the_table_has_already_are_not_counted_again() {
    let log = Log::parse(
        "12:30:00 v1 click
         12:30:01 v1 click
         12:30:02 v1 click
         12:30:03 v1 click
         stop",
    );
    let mut run = Run::new(&log);
    run.to(3);
    run.restart(5);
    run.to(log.records.len());
    run.commit();
    let receipts =
        rows(&run).into_iter().filter(|row| row.kind == "receipt" && row.head != "* 0-3");
    let text: Vec<_> = receipts.map(|row| row.to_string()).collect();
    assert_eq!(text.len(), 3, "{text:#?}");
    assert!(text[0].starts_with("receipt shop 0-3 ") && text[0].contains("on_time=1"), "{text:#?}");
    assert!(text[1].starts_with("receipt * 5-6 "), "{text:#?}");
    assert!(text[2].starts_with("receipt shop 5-6 "), "{text:#?}");
    assert!(text[2].contains("on_time=1") && text[2].contains("pending=4"), "{text:#?}");
}

#[test]
fn nor_is_what_becomes_final_of_them() {
    let log = Log::parse(
        "rules events_max=1
         12:30:00 v1 click
         12:30:01 v1 click
         tick 12:30:30
         tick 12:30:31
         stop",
    );
    let mut run = Run::new(&log);
    run.to(4);
    run.restart(5);
    run.to(log.records.len());
    run.commit();
    let receipts = rows(&run).into_iter().filter(|row| row.kind == "receipt");
    let heads: Vec<_> = receipts.map(|row| row.head.clone()).collect();
    assert_eq!(heads, ["* 0-4", "shop 0-4", "* 5-6"]);
}
