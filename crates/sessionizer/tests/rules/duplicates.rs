//! What is recognised as resent, and for how long.

use super::check::check;

#[test]
fn a_resend_is_a_duplicate_whatever_it_holds() {
    check(
        "12:00:00 v1 page_view id=a path=/a
         12:00:00 v1 page_view id=a path=/a @+1s
         12:00:05 v1 purchase id=a path=/b",
        "record a on_time
         record a duplicate
         record a duplicate
         event a session=a offset=2
         session v1 12:00:00-12:00:00 events=1 exit=/a conversions=0",
    );
}

#[test]
fn ids_are_those_of_a_site_and_visitor() {
    check(
        "12:00:00 v1 click id=a
         12:00:00 v2 click id=a
         12:00:00 other/v1 click id=a
         12:00:00 - click id=a
         12:00:00 v1 click id=b
         12:00:00 - click id=a",
        "record a on_time
         record a on_time
         record a on_time
         record a on_time
         record b on_time
         record a duplicate",
    );
}

#[test]
fn duplicate_is_decided_before_late() {
    check(
        "12:00:00 v1 click id=a
         12:00:00 v1 click id=a @+11s
         12:00:00 v1 click id=b @+11s
         12:00:00 v1 click id=b @+11s
         12:00:20 v1 click id=b",
        "record a on_time
         record a duplicate
         record b late
         record b duplicate
         record b duplicate
         event a
         event b late",
    );
}

#[test]
fn ids_are_remembered_for_the_window_to_a_second() {
    check(
        "rules window=1m
         12:00:00 v1 click id=a
         12:01:00.999999 v1 click id=a",
        "record a on_time
         record a duplicate",
    );
    check(
        "rules window=1m
         12:00:00.999999 v1 click id=a
         tick 12:01:01
         12:01:01 v1 click id=a",
        "record a on_time
         record a on_time",
    );
}

/// Else an event could be held still, and in no table, when its id is forgotten.
#[test]
fn what_a_records_own_step_passes_is_known_to_it() {
    check(
        "rules window=1m
         12:00:00 v1 click id=a
         12:04:00 v1 click id=a
         12:04:00 v1 click id=a",
        "record a on_time
         record a duplicate
         record a on_time",
    );
}

#[test]
fn a_resend_is_not_remembered_anew() {
    check(
        "rules window=1m
         12:00:00 v1 click id=a
         12:00:40 v1 click id=a
         tick 12:01:01
         12:01:01 v1 click id=a
         12:02:01 v1 click id=a
         tick 12:02:02
         12:02:02 v1 click id=a",
        "record a on_time
         record a duplicate
         record a on_time
         record a duplicate
         record a on_time",
    );
}

#[test]
fn the_window_is_one_of_log_time() {
    check(
        "rules window=1m
         12:00:00 v1 click id=a
         12:00:00.5 v1 click id=a @13:00:00
         12:00:01 v1 click id=b",
        "record a on_time
         record a duplicate
         record b on_time",
    );
}

#[test]
fn a_full_memory_forgets_the_oldest() {
    check(
        "rules ids_max=2
         12:00:00 v1 click id=a
         12:00:01 v1 click id=b
         12:00:02 v1 click id=a
         12:00:03 v1 click id=c
         12:00:04 v1 click id=b
         12:00:05 v1 click id=a",
        "record a on_time
         record b on_time
         record a duplicate
         record c on_time
         record b duplicate
         record a on_time",
    );
}

#[test]
fn an_old_resend_is_a_duplicate_and_remembered() {
    check(
        "12:00:00 v1 click id=a old_resend
         12:00:01 v1 click id=a
         12:00:01 v1 click id=b old_resend @+11s",
        "record a duplicate
         record a duplicate
         record b duplicate
         no event
         no session",
    );
}

#[test]
fn rejected_records_are_duplicates_among_themselves_only() {
    check(
        "rejected 12:00:00 v1 id=a
         rejected 12:00:01 v1 id=a
         12:00:02 v1 click id=a
         12:00:03 v1 click id=b
         rejected 12:00:04 v1 id=b
         rejected 12:00:05 v2 id=a
         rejected 12:00:06 other/v1 id=a
         rejected 12:00:07 - id=a",
        "record a rejected
         record a duplicate
         record a on_time
         record b on_time
         record b rejected
         record a rejected
         record a rejected
         record a rejected
         event a
         event b",
    );
}

#[test]
fn rejected_records_fill_the_memory_and_leave_it_like_events() {
    check(
        "rules ids_max=1 window=1m
         rejected 12:00:00 v1 id=a
         12:00:01 v1 click id=b
         rejected 12:00:02 v1 id=a
         rejected 12:01:02 v1 id=a
         tick 12:01:03
         rejected 12:01:03 v1 id=a",
        "record a rejected
         record b on_time
         record a rejected
         record a duplicate
         record a rejected",
    );
}

#[test]
fn what_is_held_when_log_time_leaps_is_remembered() {
    check(
        "12:00:00 v1 click id=a
         tick 12:00:05
         12:00:06 v1 click id=x
         tick 12:00:08
         13:00:00 v2 click id=b
         12:00:06 v1 click id=x @13:00:05",
        "record a on_time
         record x on_time
         record b on_time
         record x duplicate",
    );
}

#[test]
fn what_comes_while_a_leap_waits_is_remembered_from_the_leap_on() {
    check(
        "12:00:00 v1 click id=a
         13:00:00 v1 click id=b
         13:07:00 v1 click id=b
         13:07:05 v1 click id=b
         13:27:06 v1 click id=b",
        "record a on_time
         record b on_time
         record b duplicate
         record b duplicate
         record b duplicate",
    );
}
