//! The caps, and what becomes of what lies beyond them.

use super::check::check;

#[test]
fn an_event_that_would_open_one_session_too_many_has_none() {
    check(
        "rules open_max=2
         12:00:00 v1 page_view id=a
         12:00:01 v2 page_view id=b
         12:00:02 v3 page_view id=c type=product
         12:00:03 v1 page_view id=d
         12:00:04 v3 page_view id=e",
        "event a session=a
         event b session=b
         event c overflow session=-
         event d session=a
         event e overflow session=-
         session v1 12:00:00-12:00:03 events=2
         session v2 12:00:01-12:00:01
         no need
         page_view a
         page_view b
         page_view d",
    );
}

#[test]
fn a_slot_is_free_when_event_time_has_passed_the_end_and_the_gap() {
    check(
        "rules open_max=1 gap=5s
         12:00:00 v1 page_view
         12:00:05 v2 page_view id=b
         12:00:05.000001 v2 page_view id=c
         12:00:06 v2 page_view",
        "session v1 12:00:00-12:00:00
         session v2 12:00:05.000001-12:00:06 id=c events=2
         event e1 session=e1
         event b overflow session=-
         event c session=c
         event e4 session=c",
    );
}

#[test]
fn slots_are_taken_in_event_order_whatever_the_arrival() {
    check(
        "rules open_max=1 gap=5s
         12:00:05.000001 v2 page_view id=c @12:00:08
         12:00:05 v2 page_view id=b @12:00:08
         12:00:01 v3 page_view id=d @12:00:08
         12:00:00 v1 page_view id=a @12:00:08",
        "event a session=a
         event d overflow session=-
         event b overflow session=-
         event c session=c",
    );
}

#[test]
fn a_visitors_next_session_takes_the_slot_of_the_one_before() {
    check(
        "rules open_max=1 gap=1m cap=90s
         12:00:00 v1 page_view id=a
         12:01:00 v1 page_view id=b
         12:01:30.000001 v1 page_view id=c
         12:02:30.000002 v1 page_view id=d",
        "session v1 12:00:00-12:01:00 id=a close=cap
         session v1 12:01:30.000001-12:01:30.000001 id=c close=timeout
         session v1 12:02:30.000002-12:02:30.000002 id=d",
    );
}

#[test]
fn an_event_without_a_slot_ends_the_session_before_it() {
    check(
        "rules open_max=2 gap=1m cap=90s
         12:00:00 v1 page_view id=a
         12:01:00 v1 page_view id=b
         12:01:00 v2 page_view id=c
         rules 12:01:10 open_max=1 gap=1m cap=90s
         12:01:30.000001 v1 page_view id=d",
        "event a session=a
         event b session=a
         event c session=c
         event d overflow session=-
         session v1 12:00:00-12:01:00 id=a close=cap
         session v2 12:01:00-12:01:00",
    );
}

#[test]
fn events_of_no_session_need_no_slot() {
    check(
        "rules open_max=1
         12:00:00 v1 heartbeat id=a visible=0
         12:00:01 - page_view id=b
         12:00:02 v2 page_view id=c
         12:00:03 v3 heartbeat id=d visible=0",
        "event a session=-
         event b session=-
         event c session=c
         event d session=-",
    );
}

#[test]
fn events_past_the_cap_keep_their_session_and_its_end_and_count_stay_exact() {
    check(
        "rules events_max=2
         12:00:00 v1 page_view id=a
         12:00:01 v1 scroll id=b
         12:00:12 v1 scroll id=c
         12:30:12 v1 scroll id=d
         13:00:12.000001 v1 scroll id=e",
        "event a session=a
         event b session=a
         event c overflow session=a
         event d overflow session=a
         event e session=e
         session v1 12:00:00-12:30:12 events=4 overflow=2 engaged=yes progress_to_exit=1812s
         session v1 13:00:12.000001-13:00:12.000001 id=e events=1 overflow=0
         page_view a end=12:30:12",
    );
}

#[test]
fn the_rest_of_a_session_ignores_events_past_the_cap() {
    check(
        "rules events_max=1
         12:00:00 v1 page_view id=a type=product path=/p
         12:00:00 v1 click id=b
         12:00:01 v1 info_exposed info=delivery_price visible=150
         12:00:02 v1 purchase value=1 currency=EUR
         12:00:03 v1 page_view path=/q user=u lcp=9000
         12:00:04 v1 error
         12:00:05 v1 search results=0
         12:00:06 v1 click target=a at=0,0
         12:00:06 v1 click target=a at=0,0
         12:00:06 v1 click target=a at=0,0",
        "session v1 12:00:00-12:00:06 events=10 overflow=9 page_views=1 conversions=0 value=- \
            engaged=no exit=/p user=- step=- reasons=need_not_found
         need delivery abandoned clicks=0 left_after=6s left_before_deadline=no converted=no load_ms=-
         page_view a clicks=0 lcp=- end=12:00:06",
    );
}

#[test]
fn the_events_cap_counts_in_event_order_and_leaves_hidden_ones_out() {
    check(
        "rules events_max=2
         12:00:03 v1 scroll id=c
         12:00:02 v1 scroll id=b
         12:00:01 v1 heartbeat id=h visible=0
         12:00:00 v1 scroll id=a",
        "event a session=a
         event h session=-
         event b session=a
         event c overflow session=a",
    );
}

#[test]
fn an_event_beyond_those_that_may_be_held_is_late_and_there_is_room_again_when_some_are_due() {
    check(
        "rules held_max=2
         12:00:00 v1 page_view id=a
         12:00:01 v2 page_view id=b
         12:00:02 v3 page_view id=c
         tick 12:00:25
         12:00:30 v3 page_view id=d",
        "event c late session=-
         event a session=a
         event b session=b
         event d session=d",
    );
}

#[test]
fn a_visitor_who_has_too_many_held_makes_nobody_else_late() {
    check(
        "rules held_own_max=2
         12:00:00 bot page_view id=a
         12:00:01 bot page_view id=b
         12:00:02 bot page_view id=c
         12:00:02 other/bot page_view id=d
         12:00:03 v1 page_view id=e
         tick 12:00:25
         12:00:30 bot page_view id=f",
        "event c late session=-
         event a session=a
         event b session=a
         event d session=d
         event e session=e
         event f session=a",
    );
}

#[test]
fn a_visitor_has_no_more_room_where_others_hold_more_than_one_may() {
    check(
        "rules held_own_max=2
         12:00:00 v2 click
         12:00:00 v3 click
         12:00:00 v4 click
         12:00:01 v1 click id=a
         12:00:02 v1 click id=b
         12:00:03 v1 click id=c",
        "event c late session=-
         event e1 session=e1
         event e2 session=e2
         event e3 session=e3
         event a session=a
         event b session=a",
    );
}
