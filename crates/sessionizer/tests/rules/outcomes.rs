//! The five outcomes of a need, and the bounds between them.

use super::check::check;

#[test]
fn found_three_seconds_later_is_in_time_and_a_microsecond_more_is_not() {
    check(
        "12:00:00 v1 page_view id=p type=product
         12:00:03 v1 info_exposed info=delivery_price visible=150",
        "need delivery found_in_time raised=12:00:00 found=12:00:03 clicks=0",
    );
    check(
        "12:00:00 v1 page_view id=p type=product
         12:00:03.000001 v1 info_exposed info=delivery_price visible=150",
        "need delivery found_late found=12:00:03.000001",
    );
}

#[test]
fn two_clicks_are_few_enough_and_three_are_not() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 click
         12:00:01 v1 click
         12:00:02 v1 info_exposed info=delivery_time visible=150",
        "need delivery found_in_time clicks=2",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 click
         12:00:01 v1 click
         12:00:01 v1 click
         12:00:02 v1 info_exposed info=delivery_time visible=150",
        "need delivery found_late clicks=3",
    );
}

#[test]
fn information_in_view_for_149_ms_is_not_found() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 info_exposed info=delivery_price visible=149
         12:00:02 v1 info_exposed info=delivery_price",
        "need delivery abandoned found=-",
    );
}

#[test]
fn a_conversion_ends_an_episode_that_found_nothing() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 click
         12:00:02 v1 purchase
         12:00:02.000001 v1 info_exposed info=delivery_price visible=150
         12:00:03 v1 click
         12:00:04 v1 page_view type=home",
        "need delivery converted_without found=- clicks=1 converted=yes left_before_deadline=no
         session v1 12:00:00-12:00:04 found=- not_found=delivery",
    );
}

#[test]
fn who_leaves_from_the_page_abandoned_and_who_went_on_gave_up() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 scroll",
        "need delivery abandoned left_after=1s converted=no",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 page_view type=home",
        "need delivery gave_up left_after=1s",
    );
}

#[test]
fn only_a_page_view_begun_after_the_raising_event_means_going_on() {
    check(
        "12:00:00 v1 page_view seq=1 type=product
         12:00:00 v1 page_view seq=2 type=home",
        "need delivery abandoned
         session v1 12:00:00-12:00:00 page_views=2",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:00.000001 v1 page_view type=home",
        "need delivery gave_up",
    );
    check(
        "12:00:00 v1 page_view type=product url=u
         12:00:01 v1 view_item type=product url=u",
        "need delivery abandoned
         session v1 12:00:00-12:00:01 page_views=1",
    );
}

#[test]
fn a_page_view_before_the_raising_event_means_nothing() {
    check(
        "11:59:59 v1 page_view type=home
         12:00:00 v1 page_view type=product",
        "need delivery abandoned left_after=0s",
    );
}

#[test]
fn leaving_before_the_deadline_ends_just_short_of_it() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:02.999999 v1 page_hide",
        "need delivery abandoned left_after=2.999999s left_before_deadline=yes",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:03 v1 page_hide",
        "need delivery abandoned left_after=3s left_before_deadline=no",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 info_exposed info=delivery_price visible=150",
        "need delivery found_in_time left_after=1s left_before_deadline=no",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 purchase",
        "need delivery converted_without left_after=1s left_before_deadline=no",
    );
}

#[test]
fn clicks_of_what_was_not_found_count_to_the_end_of_the_episode() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:10 v1 click
         12:20:00 v1 click
         12:40:00 v1 click",
        "need delivery abandoned clicks=3",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:10 v1 click seq=1
         12:00:10 v1 purchase seq=2
         12:00:10 v1 click seq=3
         12:00:10.000001 v1 click",
        "need delivery converted_without clicks=2",
    );
}

#[test]
fn each_need_has_its_own_episode() {
    check(
        "12:00:00 v1 page_view type=cart path=/cart
         12:00:01 v1 info_exposed info=returns visible=150
         12:00:05 v1 info_exposed info=delivery_time visible=150",
        "need delivery found_late found=12:00:05 path=/cart type=cart
         need returns found_in_time found=12:00:01
         session v1 12:00:00-12:00:05 found=delivery,returns not_found=-",
    );
    check(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 page_view type=cart path=/cart",
        "need delivery gave_up raised=12:00:00 path=-
         need returns abandoned raised=12:00:01 path=/cart
         session v1 12:00:00-12:00:01 found=- not_found=delivery,returns",
    );
}

#[test]
fn a_need_has_one_episode_a_session_and_another_in_the_next() {
    check(
        "12:00:00 v1 page_view id=a type=product
         12:00:01 v1 info_exposed info=delivery_price visible=150
         12:10:00 v1 page_view type=product
         12:40:00.000001 v1 page_view id=b type=product",
        "need delivery found_in_time session=a raised=12:00:00 session_start=12:00:00
         need delivery abandoned session=b raised=12:40:00.000001",
    );
}

#[test]
fn who_sees_another_page_at_the_very_time_did_not_go_on() {
    check(
        "12:00:00 v1 page_view id=a type=product
         12:00:00 v1 page_view id=b type=home",
        "need delivery abandoned",
    );
    check(
        "12:00:00 v1 page_view id=a type=product
         12:00:00.000001 v1 page_view id=b type=home",
        "need delivery gave_up",
    );
}
