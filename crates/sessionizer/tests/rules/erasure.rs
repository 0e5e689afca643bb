//! A person who is erased: what is open or held of theirs ends without a session, and all others go on.

use super::check::check;

/// With a restart before each record behind the first `from` lines, too.
#[track_caller]
fn check_restarted(log: &str, from: usize, expected: &str) {
    check(log, expected);
    let lines: Vec<&str> = log.lines().collect();
    for at in from..lines.len() {
        let mut restarted = lines.clone();
        restarted.insert(at, "restart");
        check(&restarted.join("\n"), expected);
    }
}

#[test]
fn an_open_session_ends_without_a_row_and_others_go_on() {
    check_restarted(
        "12:00:00 v1 page_view id=a type=product
         12:00:01 v2 page_view id=b
         tick 12:00:20
         erase 12:00:21 v1
         12:00:22 v2 click id=c
         12:00:23 v1 page_view id=d
         tick 12:00:40",
        0,
        "event a session=a
         event b session=b
         event c session=b
         event d session=d
         session v2 12:00:01-12:00:22 id=b
         session v1 12:00:23-12:00:23 id=d",
    );
}

#[test]
fn an_erased_session_makes_room_for_another() {
    check_restarted(
        "rules open_max=1
         12:00:00 v1 page_view id=a
         tick 12:00:20
         erase 12:00:21 v1
         12:00:22 v2 page_view id=b",
        1,
        "event a session=a
         event b session=b",
    );
}

#[test]
fn held_events_have_their_rows_at_once_so_that_the_receipt_adds_up() {
    check_restarted(
        "12:00:00 v1 click id=a
         12:00:01 v2 click id=b
         12:00:02 v1 click id=c
         erase 12:00:03 v1
         12:00:04 v1 click id=d
         commit
         tick 12:00:30",
        0,
        "event a session=- written=12:00:03
         event c session=- written=12:00:03
         event b session=b
         event d session=d
         session v2 12:00:01-12:00:01 id=b
         session v1 12:00:04-12:00:04 id=d",
    );
    check(
        "12:30:00 v1 click id=a
         12:30:01 v2 click id=b
         erase 12:30:03 v1
         commit
         stop",
        "receipt * 0-5
         receipt shop 0-5 on_time=2 pending=1",
    );
}

#[test]
fn a_need_that_was_raised_signals_no_more() {
    check_restarted(
        "12:00:00 v1 page_view id=a type=product
         12:00:01 v2 page_view id=b type=product
         erase 12:00:02 v1
         12:00:02.5 v3 page_view id=c
         tick 12:00:09
         stop",
        0,
        "signal delivery b",
    );
}

#[test]
fn only_the_visitor_of_that_site_is_erased_and_nobody_where_there_is_none() {
    check(
        "12:00:00 other/v1 page_view id=a
         12:00:01 v2 page_view id=b
         erase 12:00:02 v1
         erase 12:00:02 v3",
        "session other/v1 12:00:00-12:00:00 id=a
         session v2 12:00:01-12:00:01 id=b",
    );
}

/// An id stays known, as a hash, for as long as any: what a client sends again is no new event.
#[test]
fn what_is_sent_again_at_once_is_a_duplicate_still() {
    check(
        "12:00:00 v1 click id=a
         erase 12:00:01 v1
         12:00:00 v1 click id=a @12:00:02
         stop",
        "record a on_time
         record a duplicate",
    );
}

#[test]
fn who_comes_when_an_erased_sessions_time_is_over_has_a_session_that_ends() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view id=a
         tick 12:00:20
         erase 12:00:21 v1
         tick 12:01:20
         12:01:30 v2 page_view id=b",
        "session v2 12:01:30-12:01:30 id=b",
    );
}
