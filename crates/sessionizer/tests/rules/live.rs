//! What is live: open sessions and held events, and what becomes of their needs.

use super::check::check;

#[test]
fn a_session_is_live_from_its_first_event_on_and_its_need_open_until_it_is_found() {
    check(
        "12:00:00 v1 page_view id=p type=product path=/p
         live
         12:00:02 v1 click
         12:00:02.5 v1 info_exposed info=delivery_price visible=150
         live",
        "live v1 12:00:00-12:00:00 id=p events=1 page_views=1 landing=/p exit=/p found=- not_found=delivery
         live v1 12:00:00-12:00:02.5 events=3 found=delivery not_found=-
         live_need delivery open session=p raised=12:00:00 path=/p type=product found=- clicks=0
         live_need delivery found_in_time found=12:00:02.5 clicks=1
         need delivery found_in_time",
    );
}

#[test]
fn an_open_need_is_never_lost_while_its_session_is_open() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 page_view type=home
         tick 12:01:00
         live
         12:29:00 v1 info_exposed info=delivery_price visible=150
         live
         tick 12:29:30
         live",
        "live_need delivery open
         live_need delivery found_late
         live_need delivery found_late
         need delivery found_late",
    );
    check(
        "12:00:00 v1 page_view type=product
         tick 12:10:00
         live
         12:10:01 v1 purchase
         live",
        "live_need delivery open converted=no
         live_need delivery converted_without converted=yes",
    );
}

#[test]
fn held_events_count_in_their_order_and_not_in_that_of_arrival() {
    check(
        "12:00:03 v1 info_exposed info=delivery_price visible=150 @12:00:04
         live
         12:00:00 v1 page_view type=product id=p @12:00:05
         live",
        "live v1 12:00:03-12:00:03 id=e1 events=1
         live v1 12:00:00-12:00:03 id=p events=2
         live_need delivery found_in_time raised=12:00:00 found=12:00:03",
    );
}

#[test]
fn a_session_that_is_over_by_what_arrived_is_live_until_the_watermark_says_so() {
    check(
        "rules gap=30s
         12:00:00 v1 page_view id=a type=product
         12:00:30.000001 v1 page_view id=b
         live
         tick 12:00:40.1
         live",
        "live v1 12:00:00-12:00:00 id=a not_found=delivery
         live v1 12:00:30.000001-12:00:30.000001 id=b
         live v1 12:00:30.000001-12:00:30.000001 id=b
         live_need delivery open session=a",
    );
    check(
        "rules gap=30s
         12:00:00 v1 page_view id=a
         12:00:30.000001 v1 page_view id=b
         12:00:29 v1 click @12:00:31
         live",
        "live v1 12:00:00-12:00:30.000001 id=a events=3",
    );
}

#[test]
fn late_and_repeated_events_strangers_and_hidden_pages_are_not_live() {
    check(
        "12:00:00 v1 page_view id=a
         12:00:00 v1 page_view id=a
         12:00:00 - page_view
         12:00:01 v2 heartbeat visible=0
         11:59:00 v1 page_view
         11:59:00 v3 page_view
         live",
        "live v1 12:00:00-12:00:00 events=1",
    );
}

#[test]
fn looking_changes_nothing() {
    check(
        "12:00:00 v1 page_view id=p type=product
         live
         12:00:01 v1 page_view id=q
         live
         tick 12:00:03.6
         12:00:04 v1 info_exposed info=delivery_price visible=150",
        "signal delivery p due=12:00:03.6
         session v1 12:00:00-12:00:04 events=3 page_views=2
         need delivery found_late signalled=yes
         page_view p end=12:00:01
         page_view q end=12:00:04",
    );
}

#[test]
fn an_erased_visitor_is_not_live() {
    check(
        "12:00:00 v1 page_view type=product
         tick 12:01:00
         12:01:01 v1 click
         12:01:01 v2 click
         erase 12:01:02 v1
         live",
        "live v2 12:01:01-12:01:01
         no live_need",
    );
}

#[test]
fn a_restart_leaves_what_is_live() {
    check(
        "12:00:00 v1 page_view id=p type=product
         tick 12:01:00
         12:01:01 v1 click
         live
         restart
         live",
        "live v1 12:00:00-12:01:01 id=p events=2
         live v1 12:00:00-12:01:01 id=p events=2
         live_need delivery open clicks=1
         live_need delivery open clicks=1",
    );
}

#[test]
fn of_who_has_a_thousand_events_waiting_the_rows_are_those_of_the_watermark() {
    let flood = |events: u32| -> String {
        (0..events).map(|event| format!("12:01:00.{event:06} v1 click\n")).collect()
    };
    let begun = "12:00:00 v1 page_view\ntick 12:00:30\n";
    check(&format!("{begun}{}live", flood(1_000)), "live v1 12:00:00-12:01:00.000999 events=1001");
    check(&format!("{begun}{}live", flood(1_001)), "live v1 12:00:00-12:00:00 events=1");
}

#[test]
fn a_session_that_finds_no_room_is_not_live() {
    check(
        "rules open_max=1 gap=30s
         12:00:00 v1 page_view id=a
         tick 12:00:20
         12:00:21 v2 page_view id=b
         live",
        "live v1 12:00:00-12:00:00 id=a",
    );
    // One that is over by what arrived makes room.
    check(
        "rules open_max=1 gap=30s
         12:00:00 v1 page_view id=a
         tick 12:00:20
         12:00:30.000001 v1 page_view id=b
         live",
        "live v1 12:00:00-12:00:00 id=a
         live v1 12:00:30.000001-12:00:30.000001 id=b",
    );
}
