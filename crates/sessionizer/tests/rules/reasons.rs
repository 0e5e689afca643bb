//! Why a visitor may have left: each reason at its bounds, and their order.

use super::check::check;

#[track_caller]
fn check_reasons(log: &str, reasons: &str) {
    let span = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let mut lines = log.trim().lines().map(str::trim);
    let first = span(lines.next().unwrap());
    let last = lines.next_back().map_or(first.clone(), span);
    check(log, &format!("session v1 {first}-{last} reasons={reasons}"));
}

#[test]
fn an_error_or_an_exception() {
    check_reasons("12:00:00 v1 error", "error");
    check_reasons("12:00:00 v1 exception", "error");
    check_reasons("12:00:00 v1 error\n12:00:01 v1 error", "error");
    check_reasons("12:00:00 v1 scroll", "-");
}

#[test]
fn a_page_is_slow_beyond_four_seconds() {
    check_reasons("12:00:00 v1 page_view lcp=4000", "-");
    check_reasons("12:00:00 v1 page_view lcp=4001", "slow_page");
}

#[test]
fn a_slow_page_is_the_last_one_or_one_that_raised_a_need() {
    check_reasons(
        "12:00:00 v1 page_view lcp=9000
         12:00:01 v1 page_view",
        "-",
    );
    check_reasons(
        "12:00:00 v1 page_view type=product lcp=9000
         12:00:01 v1 info_exposed info=delivery_price visible=150
         12:00:02 v1 page_view",
        "slow_page",
    );
    check_reasons(
        "12:00:00 v1 info_exposed info=delivery_price visible=150
         12:00:01 v1 page_view type=product lcp=9000
         12:00:02 v1 page_view",
        "-",
    );
    check_reasons(
        "12:00:00 v1 page_view
         12:00:01 v1 page_view
         12:00:02 v1 web_vitals lcp=4001",
        "slow_page",
    );
}

#[test]
fn three_clicks_on_one_target_within_a_second() {
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:00.5 v1 click target=a at=0,0
         12:00:01 v1 click target=a at=0,0",
        "rage_click",
    );
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:00.5 v1 click target=a at=0,0
         12:00:01.000001 v1 click target=a at=0,0",
        "-",
    );
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:01 v1 click target=a at=0,0",
        "-",
    );
}

#[test]
fn each_within_thirty_pixels_of_the_first() {
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:00 v1 click target=a at=30,0
         12:00:00 v1 click target=a at=-18,-24",
        "rage_click",
    );
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:00 v1 click target=a at=0,0
         12:00:00 v1 click target=a at=22,21",
        "-",
    );
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:00 v1 click target=a at=0,31
         12:00:00 v1 click target=a at=0,0",
        "-",
    );
}

#[test]
fn places_at_the_ends_of_the_number_range_are_far_apart() {
    check_reasons(
        "12:00:00 v1 click target=a at=9223372036854775807,0
         12:00:00 v1 click target=a at=-9223372036854775808,0
         12:00:00 v1 click target=a at=-9223372036854775808,0",
        "-",
    );
}

#[test]
fn a_click_on_another_target_breaks_the_row() {
    check_reasons(
        "12:00:00.1 v1 click target=a at=0,0
         12:00:00.2 v1 click target=a at=0,0
         12:00:00.3 v1 click target=b at=0,0
         12:00:00.4 v1 click target=a at=0,0",
        "-",
    );
}

#[test]
fn the_first_of_four_may_be_too_early() {
    check_reasons(
        "12:00:00 v1 click target=a at=0,0
         12:00:05.1 v1 click target=a at=0,0
         12:00:05.2 v1 click target=a at=0,0
         12:00:05.3 v1 click target=a at=0,0",
        "rage_click",
    );
}

#[test]
fn a_click_without_a_place_takes_its_turn_and_makes_no_claim() {
    check_reasons(
        "12:00:00.1 v1 click target=a at=0,0
         12:00:00.2 v1 click target=a
         12:00:00.3 v1 click target=a at=0,0
         12:00:00.4 v1 click target=a at=0,0",
        "-",
    );
}

#[test]
fn what_is_no_rage_target_lies_outside_the_row() {
    check_reasons(
        "12:00:00.1 v1 click target=a at=0,0
         12:00:00.2 v1 click at=0,0
         12:00:00.2 v1 scroll target=b
         12:00:00.3 v1 click target=a at=0,0
         12:00:00.4 v1 click target=a at=0,0",
        "rage_click",
    );
    check_reasons(
        "12:00:00 v1 click at=0,0
         12:00:00 v1 click at=0,0
         12:00:00 v1 click at=0,0",
        "-",
    );
}

#[test]
fn a_search_without_results() {
    check_reasons("12:00:00 v1 search results=0", "zero_search");
    check_reasons("12:00:00 v1 search results=0\n12:00:01 v1 search results=0", "zero_search");
    check_reasons("12:00:00 v1 search results=1", "-");
    check_reasons("12:00:00 v1 search", "-");
}

#[test]
fn a_need_that_was_not_found() {
    check_reasons("12:00:00 v1 page_view type=product", "need_not_found");
    check_reasons(
        "12:00:00 v1 page_view type=product
         12:00:09 v1 info_exposed info=delivery_price visible=150",
        "-",
    );
    check_reasons(
        "12:00:00 v1 page_view type=cart
         12:00:01 v1 info_exposed info=delivery_price visible=150",
        "need_not_found",
    );
}

/// One event for each reason, the weakest first.
const ALL: &str = "12:00:00 v1 search results=0
    12:00:01 v1 click target=a at=0,0
    12:00:01 v1 click target=a at=0,0
    12:00:01 v1 click target=a at=0,0
    12:00:02 v1 page_view type=product lcp=4001
    12:00:03 v1 error";

#[test]
fn all_that_hold_are_listed_the_strongest_first() {
    check_reasons(ALL, "error,slow_page,rage_click,zero_search,need_not_found");
}

#[test]
fn a_converted_session_has_no_reason() {
    check_reasons(&format!("{ALL}\n12:00:04 v1 purchase"), "-");
}
