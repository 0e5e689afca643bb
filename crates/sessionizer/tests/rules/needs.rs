//! When a need is raised, met and found; what counts at the very microsecond of these.

use super::check::check;

/// A need that one event may raise, find, or both.
const PRICE: &str = "rules needs=none need.price.raised=about:price need.price.found=tells:price";

#[track_caller]
fn check_price(log: &str, expected: &str) {
    check(&format!("{PRICE} need.price.within=3s need.price.clicks=2\n{log}"), expected);
}

#[test]
fn the_raising_event_itself_may_find() {
    check_price(
        "12:00:00 v1 page_view about=price tells=price",
        "need price found_in_time raised=12:00:00 found=12:00:00 clicks=0",
    );
}

#[test]
fn an_event_of_the_raising_microsecond_finds_when_it_comes_after_in_order() {
    check_price(
        "12:00:00 v1 page_view seq=1 about=price
         12:00:00 v1 info_exposed seq=2 tells=price",
        "need price found_in_time found=12:00:00",
    );
    check_price(
        "12:00:00 v1 page_view id=a about=price
         12:00:00 v1 info_exposed id=b tells=price",
        "need price found_in_time found=12:00:00",
    );
}

#[test]
fn an_event_of_the_raising_microsecond_meets_the_need_when_it_comes_before_in_order() {
    check_price(
        "12:00:00 v1 info_exposed seq=1 tells=price
         12:00:00 v1 page_view seq=2 about=price",
        "no need
         session v1 12:00:00-12:00:00 found=- not_found=- reasons=-",
    );
    check_price(
        "12:00:00 v1 page_view id=b about=price
         12:00:00 v1 info_exposed id=a tells=price",
        "no need",
    );
}

#[test]
fn a_need_met_before_it_was_raised_has_no_row_in_that_session() {
    check_price(
        "12:00:00 v1 info_exposed tells=price
         12:00:01 v1 page_view about=price
         12:10:00 v1 page_view about=price
         12:40:00.000001 v1 page_view about=price",
        "need price abandoned raised=12:40:00.000001",
    );
}

#[test]
fn the_first_find_counts() {
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:02 v1 info_exposed tells=price
         12:00:04 v1 info_exposed tells=price
         12:00:05 v1 click",
        "need price found_in_time found=12:00:02 clicks=0",
    );
}

#[test]
fn visible_ms_0_raises_nothing_but_may_find() {
    check_price(
        "12:00:00 v1 page_view about=price visible=0
         12:00:05 v1 page_view about=price visible=1
         12:00:06 v1 info_exposed tells=price visible=0",
        "need price found_in_time raised=12:00:05 found=12:00:06",
    );
    check_price(
        "12:00:00 v1 page_view about=price tells=price visible=0
         12:00:05 v1 page_view about=price",
        "no need
         session v1 12:00:00-12:00:05 page_views=2",
    );
}

#[test]
fn clicks_at_t0_count_before_and_after_the_raising_event_in_order() {
    check_price(
        "11:59:59.999999 v1 click
         12:00:00 v1 click seq=1
         12:00:00 v1 page_view seq=2 about=price
         12:00:00 v1 click seq=3
         12:00:01 v1 info_exposed tells=price",
        "need price found_in_time clicks=2",
    );
}

#[test]
fn clicks_at_t1_count_before_and_after_the_find_in_order() {
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 click seq=1
         12:00:01 v1 info_exposed seq=2 tells=price
         12:00:01 v1 click seq=3
         12:00:01.000001 v1 click",
        "need price found_in_time clicks=2",
    );
    check_price(
        "12:00:00 v1 click seq=1
         12:00:00 v1 page_view seq=2 about=price tells=price
         12:00:00 v1 click seq=3
         12:00:00 v1 click seq=4",
        "need price found_late clicks=3",
    );
}

#[test]
fn a_raising_click_is_not_counted_and_a_finding_one_is() {
    check_price(
        "12:00:00 v1 click about=price
         12:00:01 v1 click tells=price",
        "need price found_in_time clicks=1",
    );
    check_price("12:00:00 v1 click about=price tells=price", "need price found_in_time clicks=0");
}

#[test]
fn a_find_wins_over_a_conversion_of_the_same_microsecond() {
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 purchase seq=1
         12:00:01 v1 info_exposed seq=2 tells=price",
        "need price found_in_time found=12:00:01 converted=yes",
    );
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 info_exposed seq=1 tells=price
         12:00:01 v1 purchase seq=2",
        "need price found_in_time found=12:00:01 converted=yes",
    );
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 purchase tells=price",
        "need price found_in_time found=12:00:01 converted=yes",
    );
}

#[test]
fn a_find_a_microsecond_after_the_conversion_is_none() {
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 purchase
         12:00:01.000001 v1 info_exposed tells=price",
        "need price converted_without found=- converted=yes",
    );
}

#[test]
fn a_conversion_at_t0_ends_the_episode_even_before_the_raising_event_in_order() {
    check_price(
        "12:00:00 v1 purchase seq=1
         12:00:00 v1 page_view seq=2 about=price",
        "need price converted_without converted=yes",
    );
    check_price(
        "12:00:00 v1 page_view seq=1 about=price
         12:00:00 v1 purchase seq=2",
        "need price converted_without converted=yes",
    );
    check_price("12:00:00 v1 purchase about=price", "need price converted_without converted=yes");
    check_price(
        "12:00:00 v1 purchase seq=1
         12:00:00 v1 page_view seq=2 about=price
         12:00:00 v1 info_exposed seq=3 tells=price",
        "need price found_in_time found=12:00:00 converted=yes",
    );
}

#[test]
fn a_conversion_before_t0_is_none_of_the_needs() {
    check_price(
        "11:59:59.999999 v1 purchase
         12:00:00 v1 page_view about=price",
        "need price abandoned converted=no
         session v1 11:59:59.999999-12:00:00 conversions=1",
    );
}

#[test]
fn a_conversion_after_the_find_tells_that_the_visitor_converted() {
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 info_exposed tells=price
         12:20:00 v1 purchase",
        "need price found_in_time found=12:00:01 converted=yes",
    );
}

#[test]
fn an_order_told_again_ends_no_episode() {
    check_price(
        "12:00:00 v1 purchase order=1
         12:00:01 v1 page_view about=price
         12:00:02 v1 purchase order=1",
        "need price abandoned converted=no",
    );
    check_price(
        "12:00:00 v1 purchase seq=1 order=1
         12:00:01 v1 purchase seq=1 order=1
         12:00:01 v1 page_view seq=2 about=price",
        "need price abandoned converted=no",
    );
}

#[test]
fn the_load_time_is_that_of_the_raising_page_view_and_may_come_later() {
    check_price(
        "12:00:00 v1 page_view about=price
         12:00:01 v1 web_vitals lcp=2500
         12:00:02 v1 web_vitals lcp=1200
         12:00:03 v1 page_view
         12:00:04 v1 web_vitals lcp=9000",
        "need price gave_up load_ms=2500",
    );
    check_price(
        "12:00:00 v1 page_view lcp=3000
         12:00:01 v1 scroll about=price
         12:00:02 v1 web_vitals lcp=2000",
        "need price abandoned load_ms=3000",
    );
}

#[test]
fn a_need_raised_before_any_page_view_has_no_load_time() {
    check_price(
        "12:00:00 v1 scroll about=price lcp=3000
         12:00:01 v1 page_view lcp=2000",
        "need price gave_up load_ms=-",
    );
}

#[test]
fn the_last_of_three_needs_is_met_before_it_is_raised() {
    check(
        "rules need.size.raised=type:home need.size.found=info:size need.size.within=3s
         12:00:00 v1 info_exposed info=size
         12:00:01 v1 page_view type=home",
        "no need
         session v1 12:00:00-12:00:01 found=- not_found=- reasons=-",
    );
}

#[test]
fn a_second_conversion_at_the_time_of_the_raising_event_changes_nothing() {
    check_price(
        "12:00:00 v1 purchase seq=1
         12:00:00 v1 purchase seq=2
         12:00:00 v1 page_view seq=3 about=price",
        "need price converted_without converted=yes",
    );
}
