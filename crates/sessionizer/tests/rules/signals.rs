//! When a signal is due, by what the log held then.

use super::check::check;

#[test]
fn a_signal_is_due_when_log_time_has_passed_the_deadline_and_the_grace() {
    check(
        "12:00:00 v1 page_view type=product
         tick 12:00:03.5
         stop",
        "no signal",
    );
    check(
        "12:00:00 v1 page_view id=p type=product path=/p
         12:00:02 v1 click
         tick 12:00:03.5
         tick 12:00:03.500001
         tick 12:00:04",
        "signal delivery p visitor=v1 session=p raised=12:00:00 path=/p type=product clicks=1 \
            deadline=12:00:03.5 due=12:00:03.500001 written=12:00:03.500001
         need delivery abandoned signalled=yes",
    );
}

#[test]
fn none_is_due_when_a_find_arrived_in_time_even_while_it_is_held() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:03 v1 info_exposed info=delivery_price visible=150 @12:00:03.5
         tick 12:00:03.500001
         tick 12:00:20",
        "no signal
         need delivery found_in_time signalled=no",
    );
}

#[test]
fn the_record_that_passes_the_deadline_may_be_the_find() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:03 v1 info_exposed info=delivery_price visible=150 @12:00:09",
        "no signal
         need delivery found_in_time signalled=no",
    );
}

#[test]
fn a_find_that_is_no_longer_in_time_still_ends_the_episode() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:03.4 v1 info_exposed info=delivery_price visible=150
         tick 12:00:05",
        "no signal
         need delivery found_late",
    );
}

#[test]
fn none_is_due_after_a_conversion_that_counts() {
    check(
        "12:00:00 v1 page_view type=product
         12:00:02 v1 purchase
         tick 12:00:05",
        "no signal
         need delivery converted_without signalled=no",
    );
    check(
        "11:59:00 v1 purchase order=1
         12:00:00 v1 page_view id=p type=product
         12:00:02 v1 purchase order=1
         tick 12:00:05",
        "signal delivery p due=12:00:05
         need delivery abandoned signalled=yes",
    );
}

#[test]
fn a_signal_is_never_taken_back() {
    check(
        "12:00:00 v1 page_view id=p type=product
         tick 12:00:04
         12:00:02 v1 info_exposed info=delivery_price visible=150 @12:00:05",
        "signal delivery p due=12:00:04
         need delivery found_in_time signalled=yes",
    );
}

#[test]
fn a_raising_event_that_arrives_after_its_deadline_signals_at_once() {
    check(
        "12:00:00 v1 page_view id=p type=product @+3.500001s",
        "signal delivery p due=12:00:03.500001 written=12:00:03.500001",
    );
    check(
        "12:00:00 v1 page_view id=p type=product @+3.5s
         stop",
        "no signal",
    );
    check(
        "12:00:01 v1 info_exposed info=delivery_price visible=150 @12:00:08
         12:00:00 v1 page_view id=p type=product @12:00:08",
        "no signal
         need delivery found_in_time",
    );
}

#[test]
fn each_need_of_an_event_has_a_signal_and_only_one() {
    check(
        "12:00:00 v1 page_view id=p type=cart
         12:00:02 v1 page_view type=cart
         tick 12:00:04
         tick 12:00:05
         tick 12:00:06
         tick 12:00:30",
        "signal delivery p
         signal returns p",
    );
    check(
        "12:00:00 v1 page_view id=p type=cart
         12:00:02 v1 info_exposed info=delivery_time visible=150
         tick 12:00:04",
        "signal returns p
         need delivery found_in_time signalled=no
         need returns abandoned signalled=yes",
    );
}

#[test]
fn a_need_within_a_minute_is_signalled_from_the_open_session() {
    check(
        "rules need.delivery.within=1m
         12:00:00 v1 page_view id=p type=product
         12:00:50 v1 scroll
         tick 12:01:00.5
         tick 12:01:00.500001",
        "signal delivery p due=12:01:00.500001
         need delivery abandoned signalled=yes",
    );
    check(
        "rules need.delivery.within=1m
         12:00:00 v1 page_view id=p type=product
         12:00:30 v1 info_exposed info=delivery_price visible=150
         tick 12:02:00",
        "no signal
         need delivery found_in_time signalled=no",
    );
}

#[test]
fn late_events_raise_and_find_nothing() {
    check(
        "12:00:00 v1 page_view id=p type=product @+10.000001s
         12:00:20 v2 page_view id=q type=product
         tick 12:00:24
         tick 12:00:40
         12:00:21 v2 info_exposed info=delivery_price visible=150 @12:00:40",
        "signal delivery q due=12:00:24
         need delivery abandoned signalled=yes visitor=v2",
    );
}

#[test]
fn none_is_due_for_a_need_met_before_or_raised_by_a_page_nobody_saw() {
    check(
        "12:00:00 v1 info_exposed info=delivery_price visible=150
         12:00:01 v1 page_view type=product
         12:00:01 v2 page_view type=product visible=0
         12:00:01 - page_view type=product
         tick 12:00:10",
        "no signal",
    );
}

#[test]
fn an_earlier_raising_event_that_arrives_later_has_a_signal_of_its_own() {
    check(
        "12:00:01 v1 page_view id=b type=product
         tick 12:00:04.500001
         12:00:00 v1 page_view id=a type=product @12:00:05",
        "signal delivery b due=12:00:04.500001
         signal delivery a due=12:00:05
         need delivery gave_up raised=12:00:00 signalled=yes",
    );
}

#[test]
fn signalled_speaks_of_the_raising_event_alone() {
    check(
        "12:00:03 v1 page_view id=b type=product
         tick 12:00:06.500001
         12:00:00 v1 info_exposed seq=2 info=delivery_price visible=150 @12:00:07
         12:00:00 v1 page_view id=a type=product seq=1 @12:00:07",
        "signal delivery b
         need delivery found_in_time raised=12:00:00 signalled=no",
    );
}

#[test]
fn a_second_raising_event_of_a_session_signals_nothing() {
    check(
        "12:00:00 v1 page_view id=a type=product
         tick 12:00:03.500001
         12:00:20 v1 page_view id=b type=product
         tick 12:00:24
         tick 12:00:40",
        "signal delivery a",
    );
}

#[test]
fn the_next_session_raises_anew() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view id=a type=product
         12:00:01 v1 info_exposed info=delivery_price visible=150
         12:01:01.000001 v1 page_view id=b type=product
         tick 12:01:05",
        "signal delivery b session=b
         need delivery found_in_time signalled=no
         need delivery abandoned signalled=yes",
    );
}

#[test]
fn a_jump_of_log_time_past_the_sessions_end_signals_before_it_closes() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view id=a type=product
         tick 12:02:00",
        "signal delivery a due=12:02:00
         need delivery abandoned signalled=yes written=12:02:00",
    );
}

#[test]
fn a_leap_signals_when_it_is_confirmed() {
    check(
        "12:00:00 v1 page_view id=a type=product
         tick 12:30:00
         tick 12:30:04
         tick 12:30:05",
        "signal delivery a due=12:30:05 written=12:30:05",
    );
}

#[test]
fn an_event_past_the_events_cap_raises_and_finds_nothing() {
    check(
        "rules events_max=1
         12:00:00 v1 scroll
         12:00:01 v1 page_view type=product
         12:00:01 v2 page_view id=p type=product
         12:00:02 v2 info_exposed info=delivery_price visible=150
         tick 12:00:06",
        "signal delivery p",
    );
}

#[test]
fn a_visitor_with_more_than_a_thousand_events_held_raises_no_signal() {
    let with = |others: usize| {
        let scrolls = "12:00:01 v1 scroll\n".repeat(others);
        format!("12:00:00 v1 page_view id=p type=product\n{scrolls}tick 12:00:03.500001\nstop")
    };
    check(&with(999), "signal delivery p due=12:00:03.500001");
    check(&with(1_000), "no signal");
}

#[test]
fn the_next_session_raises_anew_while_the_one_before_is_still_open() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view id=a type=product
         tick 12:00:11
         12:01:00.000001 v1 page_view id=b type=product
         tick 12:01:04",
        "signal delivery a session=a due=12:00:11
         signal delivery b session=b due=12:01:04
         need delivery abandoned session=a signalled=yes
         need delivery abandoned session=b signalled=yes",
    );
}

#[test]
fn a_need_is_signalled_whose_session_ends_with_the_record_that_passes_its_deadline() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view id=a type=product
         12:01:00.000001 v1 page_view id=b",
        "signal delivery a session=a due=12:01:00.000001
         need delivery abandoned session=a signalled=yes",
    );
}
