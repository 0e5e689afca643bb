//! Which events make one page view, and what a page view knows.

use super::check::check;

#[test]
fn equal_ids_are_one_page_view_whatever_lies_between() {
    check(
        "12:00:00 v1 page_view id=a pv=1 path=/p type=product
         12:00:01 v1 click pv=9
         12:00:02 v1 view_item pv=1 path=/q type=home
         12:00:03 v1 page_view pv=1",
        "page_view 1 index=1 path=/p type=product start=12:00:00 end=12:00:03 clicks=1 exit=yes
         session v1 12:00:00-12:00:03 page_views=1",
    );
}

#[test]
fn different_ids_are_two_page_views_even_at_one_address() {
    check(
        "12:00:00 v1 page_view pv=1 url=u
         12:00:01 v1 view_item pv=2 url=u",
        "page_view 1 index=1 start=12:00:00 end=12:00:01 exit=no
         page_view 2 index=2 start=12:00:01 end=12:00:01 exit=yes",
    );
}

#[test]
fn an_id_that_comes_back_later_is_another_page_view() {
    check(
        "12:00:00 v1 page_view pv=1
         12:00:01 v1 page_view pv=2
         12:00:02 v1 page_view pv=1",
        "page_view 1 index=1
         page_view 2 index=2
         page_view 1 index=3",
    );
}

#[test]
fn without_an_id_the_address_joins_events_of_different_names() {
    check(
        "12:00:00 v1 page_view id=a url=u
         12:00:01 v1 view_item id=b url=u",
        "page_view a index=1 end=12:00:01",
    );
    check(
        "12:00:00 v1 page_view id=a url=u
         12:00:01 v1 page_view id=b url=u",
        "page_view a end=12:00:01 exit=no
         page_view b exit=yes",
    );
    check(
        "12:00:00 v1 page_view id=a url=u
         12:00:01 v1 view_item id=b url=w",
        "page_view a
         page_view b",
    );
    check(
        "12:00:00 v1 page_view id=a
         12:00:01 v1 view_item id=b",
        "page_view a
         page_view b",
    );
}

#[test]
fn the_name_and_the_address_are_those_of_the_event_that_began_it() {
    check(
        "12:00:00 v1 page_view id=a url=u
         12:00:01 v1 view_item url=u
         12:00:02 v1 screen_view url=u
         12:00:03 v1 page_view id=b url=u",
        "page_view a end=12:00:03
         page_view b",
    );
    check(
        "12:00:00 v1 page_view id=a pv=1 url=u
         12:00:01 v1 page_view id=b pv=1 url=w
         12:00:02 v1 view_item id=c url=w",
        "page_view 1 end=12:00:02
         page_view c",
    );
}

#[test]
fn one_of_the_two_may_have_an_id() {
    check(
        "12:00:00 v1 page_view id=a pv=1 url=u
         12:00:01 v1 view_item id=b url=u",
        "page_view 1",
    );
    check(
        "12:00:00 v1 page_view id=a url=u
         12:00:01 v1 view_item id=b pv=1 url=u",
        "page_view 1 start=12:00:00 end=12:00:01",
    );
    check(
        "12:00:00 v1 page_view id=a pv=1 url=u
         12:00:01 v1 page_view id=b url=u",
        "page_view 1
         page_view b",
    );
}

#[test]
fn the_id_taken_from_the_second_event_binds_the_third() {
    check(
        "12:00:00 v1 page_view id=a url=u
         12:00:01 v1 view_item pv=1 url=u
         12:00:02 v1 page_view pv=1 url=w
         12:00:03 v1 screen_view pv=2 url=u",
        "page_view 1 start=12:00:00 end=12:00:03
         page_view 2 start=12:00:03",
    );
}

#[test]
fn an_id_equal_to_the_first_events_id_is_another_page_view() {
    check(
        "12:00:00 v1 page_view id=a
         12:00:01 v1 page_view id=b pv=a",
        "page_view a index=1
         page_view a index=2",
    );
}

#[test]
fn any_other_event_counts_for_the_page_view_it_follows() {
    check(
        "12:00:00 v1 click
         12:00:00 v1 scroll visible=90000 lcp=90000
         12:00:01 v1 page_view pv=1
         12:00:02 v1 click pv=2
         12:00:03 v1 page_view pv=2
         12:00:04 v1 click pv=1
         12:00:05 v1 click",
        "page_view 1 clicks=1 visible=- lcp=- start=12:00:01 end=12:00:03
         page_view 2 clicks=2",
    );
}

#[test]
fn visible_and_lcp_are_the_greatest_of_its_events() {
    check(
        "12:00:00 v1 page_view pv=1 lcp=1000 visible=10
         12:00:01 v1 page_hide visible=4000
         12:00:02 v1 web_vitals lcp=3000
         12:00:03 v1 view_item pv=1 lcp=2000 visible=3000",
        "page_view 1 visible=4000 lcp=3000",
    );
}

#[test]
fn a_page_view_ends_with_the_next_and_the_last_with_the_session() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view id=a
         12:00:02 v1 page_view id=b
         12:00:05 v1 page_hide
         tick 12:00:12
         tick 12:00:12.000001",
        "page_view a end=12:00:02 exit=no written=12:00:12.000001
         page_view b end=12:00:05 exit=yes written=14:00:17.000001",
    );
}

#[test]
fn an_open_sessions_last_page_view_has_no_row() {
    check(
        "12:00:00 v1 page_view id=a
         12:00:02 v1 page_view id=b
         tick 12:00:30
         stop",
        "page_view a",
    );
}

#[test]
fn page_views_are_counted_anew_in_each_session() {
    check(
        "12:00:00 v1 page_view id=a url=u pv=1
         12:30:00.000001 v1 page_view id=b url=u pv=1",
        "page_view 1 session=a index=1 exit=yes session_start=12:00:00
         page_view 1 session=b index=1 exit=yes session_start=12:30:00.000001",
    );
}

#[test]
fn events_before_the_first_page_view_make_none() {
    check("12:00:00 v1 click", "no page_view");
}
