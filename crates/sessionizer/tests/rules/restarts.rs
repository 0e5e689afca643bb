//! A fold that was saved and restored goes on as if nothing had been.

use super::check::check;

/// Checks `log` as it stands, and with a restart before each of its records.
#[track_caller]
fn check_restarted(log: &str, expected: &str) {
    check(log, expected);
    let lines: Vec<&str> = log.lines().collect();
    let first = usize::from(lines[0].starts_with("rules"));
    for at in first..lines.len() {
        let mut restarted = lines.clone();
        restarted.insert(at, "restart");
        check(&restarted.join("\n"), expected);
    }
}

#[test]
fn sessions_needs_and_page_views_go_on() {
    check_restarted(
        "12:00:00 v1 page_view id=a type=product path=/p pv=1 user=u
         12:00:01 v1 click target=t at=0,0
         12:00:01.1 v1 click target=t at=0,0
         tick 12:00:12
         12:00:12.5 v1 view_item pv=1 lcp=5000
         12:00:13 v1 info_exposed info=delivery_price visible=150
         12:00:14 v1 purchase order=1 value=1.25 currency=EUR
         tick 12:00:30
         12:00:31 v1 purchase order=1 value=1.25 currency=EUR
         12:00:32 v1 page_view id=b path=/q",
        "session v1 12:00:00-12:00:32 id=a events=8 page_views=2 user=u landing=/p exit=/q value=1.25
         need delivery found_late found=12:00:13 clicks=2 load_ms=5000 converted=yes signalled=yes
         page_view 1 clicks=2 end=12:00:32
         page_view b index=2",
    );
}

#[test]
fn a_held_events_signal_is_remembered() {
    check_restarted(
        "12:00:00 v1 page_view id=a type=product
         tick 12:00:04
         12:00:02 v1 info_exposed info=delivery_price visible=150 @12:00:05",
        "signal delivery a due=12:00:04
         need delivery found_in_time signalled=yes",
    );
}

#[test]
fn a_deadline_that_lies_ahead_is_kept() {
    check_restarted(
        "12:00:00 v1 page_view id=a type=product
         12:00:01 v2 page_view id=b type=product
         12:00:02 v1 info_exposed info=delivery_price visible=150
         tick 12:00:03
         tick 12:00:06",
        "signal delivery b due=12:00:06",
    );
}

#[test]
fn ids_the_clock_and_a_leap_are_kept() {
    check_restarted(
        "12:00:00 v1 click id=a
         12:00:01 v1 click id=a
         tick 12:40:00
         12:00:02 v1 click id=b @12:40:04
         12:00:02 v1 click id=c @12:40:05
         12:00:01 v1 click id=a @12:40:06",
        "record a on_time
         record a duplicate
         record b on_time
         record c late
         record a duplicate",
    );
}

#[test]
fn caps_and_their_slots_are_kept() {
    check_restarted(
        "rules open_max=1 events_max=2 gap=1m
         12:00:00 v1 click id=a
         12:00:01 v2 click id=b
         tick 12:00:20
         12:00:21 v1 click id=c
         12:00:22 v1 click id=d
         12:01:22.000001 v2 click id=e",
        "event a session=a
         event b overflow session=-
         event c session=a
         event d overflow session=a
         event e session=e",
    );
}

#[test]
fn old_and_new_rules_are_kept() {
    check_restarted(
        "12:00:00 v1 page_view
         tick 12:00:11
         rules 12:00:12 need.delivery.within=5s
         12:00:20 v1 page_view type=product
         12:00:20 v2 page_view type=product
         12:00:24 v1 info_exposed info=delivery_price visible=150
         12:00:24 v2 info_exposed info=delivery_price visible=150",
        "need delivery found_late visitor=v1 rules=0
         need delivery found_in_time visitor=v2 rules=1",
    );
}

#[test]
fn what_is_pending_is_kept_and_the_receipt_goes_on() {
    check(
        "12:30:00 v1 click
         12:30:01 other/v1 click
         restart
         12:30:10.5 v1 click
         stop",
        "receipt * 0-4
         receipt other 0-4 pending=1
         receipt shop 0-4 pending=1
         receipt * 4-5
         receipt shop 4-5 received=1 pending=1",
    );
}
