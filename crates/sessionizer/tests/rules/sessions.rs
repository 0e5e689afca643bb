//! Where sessions begin and end, and what a session is called.

use super::check::check;

#[test]
fn a_pause_of_thirty_minutes_goes_on_and_a_microsecond_more_does_not() {
    check(
        "12:00:00 v1 page_view id=a
         12:30:00 v1 page_view",
        "session v1 12:00:00-12:30:00 id=a events=2 close=timeout",
    );
    check(
        "12:00:00 v1 page_view id=a
         12:30:00.000001 v1 page_view id=b",
        "session v1 12:00:00-12:00:00 id=a events=1 close=timeout
         session v1 12:30:00.000001-12:30:00.000001 id=b events=1 close=timeout",
    );
}

/// Page views half an hour apart over 24 hours, and one more event.
fn a_day_and(last: &str) -> String {
    let halves =
        (24..=72).map(|half| format!("{}:{:02}:00 v1 page_view\n", half / 2, half % 2 * 30));
    halves.collect::<String>() + last
}

#[test]
fn a_session_lasts_twenty_four_hours_and_a_microsecond_more_begins_the_next() {
    check(
        &a_day_and("36:00:00 v1 scroll id=z"),
        "session v1 12:00:00-36:00:00 id=e1 events=50 page_views=49 close=timeout",
    );
    check(
        &a_day_and("36:00:00.000001 v1 scroll id=z"),
        "session v1 12:00:00-36:00:00 id=e1 events=49 close=cap
         session v1 36:00:00.000001-36:00:00.000001 id=z events=1 close=timeout",
    );
}

#[test]
fn a_pause_past_the_cap_is_a_timeout() {
    check(
        "rules cap=40m
         12:00:00 v1 page_view
         12:20:00 v1 page_view
         12:51:00 v1 page_view id=b
         13:20:00 v1 page_view
         13:31:00.000001 v1 page_view id=c",
        "session v1 12:00:00-12:20:00 close=timeout
         session v1 12:51:00-13:20:00 id=b close=cap
         session v1 13:31:00.000001-13:31:00.000001 id=c close=timeout",
    );
}

#[test]
fn midnight_and_another_campaign_split_nothing() {
    check(
        "23:50:00 v1 page_view utm_campaign=spring
         24:10:00 v1 page_view utm_campaign=summer",
        "session v1 23:50:00-24:10:00 events=2 utm_campaign=spring",
    );
}

#[test]
fn visitors_are_told_apart_by_site_and_id() {
    check(
        "12:00:00 v1 page_view id=a
         12:00:01 v2 page_view id=a
         12:00:02 other/v1 page_view id=a
         12:00:03 v1 page_view id=b",
        "session v1 12:00:00-12:00:03 events=2
         session v2 12:00:01-12:00:01 events=1
         session other/v1 12:00:02-12:00:02 events=1",
    );
}

#[test]
fn a_session_is_named_after_the_first_event_in_order() {
    check(
        "12:00:02 v1 page_view id=a
         12:00:01 v1 page_view id=b",
        "session v1 12:00:01-12:00:02 id=b
         event b session=b
         event a session=b",
    );
}

#[test]
fn a_session_closes_when_the_watermark_has_passed_its_end_and_the_gap() {
    check(
        "12:00:00 v1 page_view
         tick 12:25:00
         tick 12:25:10
         tick 12:30:10
         stop",
        "no session",
    );
    check(
        "12:00:00 v1 page_view
         tick 12:25:00
         tick 12:25:10
         tick 12:30:10
         tick 12:30:10.000001
         stop",
        "session v1 12:00:00-12:00:00 close=timeout written=12:30:10.000001",
    );
}

#[test]
fn an_event_on_time_keeps_a_session_open_whatever_the_watermark_was() {
    check(
        "rules gap=1m
         12:00:00 v1 page_view
         12:01:00 v1 page_view id=b @12:01:10
         tick 12:01:10.000001
         tick 12:02:10
         tick 12:02:10.000001
         stop",
        "record e1 on_time
         record b on_time
         session v1 12:00:00-12:01:00 events=2 written=12:02:10.000001",
    );
}

#[test]
fn a_cut_session_closes_when_the_event_beyond_its_cap_is_settled() {
    check(
        "rules cap=1m
         12:00:00 v1 page_view
         12:01:00.000001 v1 page_view
         tick 12:01:10.000001
         tick 12:01:10.000002
         stop",
        "session v1 12:00:00-12:00:00 close=cap written=12:01:10.000002",
    );
}

#[test]
fn a_hidden_pages_heartbeat_belongs_to_no_session() {
    check(
        "12:00:00 v1 heartbeat id=a visible=0
         12:00:01 v1 page_view id=b
         12:20:00 v1 heartbeat id=c visible=0
         12:31:00 v1 heartbeat id=d visible=1
         12:31:01.000001 v1 heartbeat id=e visible=0
         12:45:00 v1 page_view id=f",
        "event a session=-
         event b session=b
         event c session=-
         event d session=d
         event e session=-
         event f session=d
         session v1 12:00:01-12:00:01 id=b events=1
         session v1 12:31:00-12:45:00 id=d events=2",
    );
}

#[test]
fn a_visible_heartbeat_keeps_a_session_alive() {
    check(
        "12:00:00 v1 page_view
         12:25:00 v1 heartbeat visible=15000
         12:50:00 v1 heartbeat",
        "session v1 12:00:00-12:50:00 events=3",
    );
}

#[test]
fn an_event_without_a_visitor_belongs_to_no_session() {
    check(
        "12:00:00 - page_view id=a type=product
         12:00:01 - page_view id=b",
        "event a session=-
         event b session=-
         no session
         no need
         no page_view
         no signal",
    );
}

#[test]
fn ten_seconds_are_not_engaged_and_a_microsecond_more_is() {
    check(
        "12:00:00 v1 page_view
         12:00:10 v1 scroll",
        "session v1 12:00:00-12:00:10 engaged=no",
    );
    check(
        "12:00:00 v1 page_view
         12:00:10.000001 v1 scroll",
        "session v1 12:00:00-12:00:10.000001 engaged=yes",
    );
}

#[test]
fn two_page_views_or_a_conversion_are_engaged() {
    check(
        "12:00:00 v1 page_view
         12:00:00 v1 page_view",
        "session v1 12:00:00-12:00:00 page_views=2 engaged=yes",
    );
    check("12:00:00 v1 purchase", "session v1 12:00:00-12:00:00 page_views=0 engaged=yes");
    check("12:00:00 v1 page_view", "session v1 12:00:00-12:00:00 page_views=1 engaged=no");
}

/// So many that some share the few bits by which a hash table tells its entries apart.
#[test]
fn many_visitors_are_told_apart_also_when_others_are_forgotten() {
    let lines = |line: &dyn Fn(u32) -> String| (0..200).map(line).collect::<String>();
    let gone = lines(&|n| format!("12:00:00 a{n:03} click\n"));
    let stays = |at: &str| lines(&|n| format!("{at} t{n:03}/v1 click\n"));
    let (first, last) = (stays("12:00:50"), stays("12:01:30"));
    check(
        &format!("rules gap=1m\n{gone}{first}tick 12:01:20\n{last}"),
        &(lines(&|n| format!("session a{n:03} 12:00:00-12:00:00 events=1\n"))
            + &lines(&|n| format!("session t{n:03}/v1 12:00:50-12:01:30 events=2\n"))),
    );
}
