//! Log time: leaps of a broker's clock, steps back, and ticks.

use super::check::check;

#[test]
fn nothing_is_late_before_the_first_record_is_confirmed() {
    check(
        "cold
         12:00:00 v1 click id=a
         11:00:00 v1 click id=b @12:00:04.999999
         11:00:00 v1 click id=c @12:00:05",
        "record a on_time
         record b on_time
         record c late",
    );
}

/// Held, it would be in no table for as long as its clock was wrong.
#[test]
fn an_event_far_ahead_of_log_time_is_late() {
    check(
        "12:00:00 v1 click id=a
         12:05:01 v1 click id=b @12:00:01
         12:05:01.000001 v1 click id=c @12:00:01
         8772:00:00 v1 click id=d @12:00:02
         stop",
        "record a on_time
         record b on_time
         record c late
         record d late",
    );
}

/// Its id would be forgotten while it is held.
#[test]
fn an_event_a_quarter_of_a_short_window_ahead_is_late() {
    check(
        "rules window=4m
         12:00:00 v1 click id=a
         12:01:01 v1 click id=b @12:00:01
         12:01:01.000001 v1 click id=c @12:00:01
         stop",
        "record a on_time
         record b on_time
         record c late",
    );
}

#[test]
fn a_clock_a_year_ahead_for_a_second_is_not_believed() {
    check(
        "12:00:00 v1 click id=a
         12:00:01 v1 click id=b @8772:00:00
         12:00:02 v1 click id=c @8772:00:01
         12:00:03 v1 click id=d
         11:59:53 v1 click id=e @12:00:03
         11:59:52.999999 v1 click id=f @12:00:03",
        "record a on_time
         record b on_time
         record c on_time
         record d on_time
         record e on_time
         record f late
         session v1 11:59:53-12:00:03 events=5",
    );
}

#[test]
fn a_leap_that_a_later_record_confirms_is_believed() {
    check(
        "12:00:00 v1 click id=a
         tick 13:00:00
         tick 13:00:04.999999
         12:00:01 v1 click id=b @13:00:04.999999
         tick 13:00:05
         12:59:55 v1 click id=c @13:00:05
         12:59:54.999999 v1 click id=d @13:00:05",
        "record a on_time
         record b on_time
         record c on_time
         record d late",
    );
}

#[test]
fn five_minutes_forward_are_no_leap() {
    check(
        "12:00:00 v1 click id=a
         tick 12:05:00
         12:04:49.999999 v1 click id=b @12:05:00",
        "record a on_time
         record b late",
    );
    check(
        "12:00:00 v1 click id=a
         tick 12:05:00.000001
         12:04:49.999999 v1 click id=b @12:05:00.000001",
        "record a on_time
         record b on_time",
    );
}

#[test]
fn log_time_never_steps_back() {
    check(
        "tick 12:00:20
         12:00:10 v1 click id=a @12:00:05
         12:00:09.999999 v1 click id=b @12:00:05",
        "record a on_time
         record b late",
    );
}

#[test]
fn ids_are_forgotten_after_the_window_though_the_first_record_was_a_year_ahead() {
    check(
        "cold
         rules window=1m
         12:00:00 v1 click id=a @8772:00:00
         12:00:00 v1 click id=b
         tick 12:00:05
         12:01:00 v1 click id=b
         tick 12:01:06
         12:01:06 v1 click id=b
         12:01:06 v1 click id=a",
        "record a on_time
         record b on_time
         record b duplicate
         record b on_time
         record a on_time",
    );
}

#[test]
fn ticks_change_no_row() {
    let rows = "session v1 12:00:00-12:00:04 id=a events=2
        need delivery found_late found=12:00:04
        event a session=a
        event b session=a";
    check(
        "12:00:00 v1 page_view id=a type=product
         12:00:04 v1 info_exposed id=b info=delivery_price visible=150",
        rows,
    );
    check(
        "tick 11:59:50
         12:00:00 v1 page_view id=a type=product
         tick 12:00:00
         tick 12:00:00
         tick 11:00:00
         tick 12:00:03.9
         12:00:04 v1 info_exposed id=b info=delivery_price visible=150
         tick 12:00:05
         tick 12:04:00",
        rows,
    );
}
