//! The order of events, the watermark, and what is late.

use super::check::check;

#[test]
fn an_event_at_the_watermark_is_on_time_and_a_microsecond_earlier_is_late() {
    check(
        "tick 12:00:20
         12:00:10 v1 click id=a @12:00:20
         12:00:09.999999 v1 click id=b @12:00:20",
        "record a on_time
         record b late
         event b late session=- written=12:00:20
         event a session=a",
    );
}

#[test]
fn a_record_moves_the_watermark_before_it_is_judged() {
    check(
        "12:00:00 v1 click id=a @+10s
         12:00:00 v2 click id=b @+10.000001s",
        "record a on_time
         record b late",
    );
}

#[test]
fn an_event_is_settled_when_the_watermark_has_passed_it() {
    check(
        "12:00:00 v1 click id=a
         tick 12:00:10
         stop",
        "no event",
    );
    check(
        "12:00:00 v1 click id=a
         tick 12:00:10
         tick 12:00:10.000001
         stop",
        "event a session=a written=12:00:10.000001",
    );
}

#[test]
fn an_event_without_a_visitor_waits_for_the_watermark_too() {
    check(
        "12:00:00 - click id=a
         tick 12:00:10
         tick 12:00:10.000001",
        "event a session=- written=12:00:10.000001",
    );
}

#[test]
fn a_late_event_changes_no_session_need_page_view_or_signal() {
    check(
        "12:00:00 v1 page_view id=a type=home @+10s
         11:59:59 v1 page_view id=b type=product path=/p @12:00:10
         11:59:59 v2 page_view id=c type=product @12:00:10",
        "event b late session=-
         event c late session=-
         event a session=a
         session v1 12:00:00-12:00:00 id=a events=1 landing=-
         no need
         no signal
         page_view a index=1",
    );
}

#[test]
fn ties_are_settled_by_the_clients_counter_then_by_id() {
    check(
        "12:00:00 v1 click id=d seq=2
         12:00:00 v1 click id=c
         12:00:00 v1 click id=b seq=1
         12:00:00 v1 click id=a seq=2
         12:00:00 v1 click id=e seq=-1
         11:59:59.999999 v1 click id=f seq=9
         12:00:00 v1 click id=B seq=0",
        "event f session=f
         event e session=f
         event B session=f
         event c session=f
         event b session=f
         event a session=f
         event d session=f",
    );
}

#[test]
fn what_ties_in_all_three_is_settled_alike_in_any_order_of_arrival() {
    let one = "12:00:00 v1 click id=a";
    let two = "12:00:00 v2 click id=a";
    for log in [format!("{one}\n{two}"), format!("{two}\n{one}")] {
        check(&format!("rules open_max=1\n{log}"), "session v1 12:00:00-12:00:00 events=1");
    }
}

#[test]
fn any_order_of_arrival_within_the_lateness_gives_the_same_rows() {
    for log in [
        "12:00:00 v1 page_view id=a type=product @12:00:09
         12:00:02 v1 info_exposed id=b info=delivery_price visible=150 @12:00:09
         12:00:03 v1 purchase id=c @12:00:09",
        "12:00:03 v1 purchase id=c @12:00:09
         12:00:02 v1 info_exposed id=b info=delivery_price visible=150 @12:00:09
         12:00:00 v1 page_view id=a type=product @12:00:09",
    ] {
        check(
            log,
            "session v1 12:00:00-12:00:03 id=a events=3 conversions=1
             need delivery found_in_time found=12:00:02
             event a
             event b
             event c",
        );
    }
}
