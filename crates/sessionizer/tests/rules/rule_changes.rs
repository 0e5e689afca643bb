//! Rules that a control record changes: what follows them, and what keeps those before.

use super::check::check;

#[test]
fn a_session_begun_before_keeps_its_rules_to_the_end() {
    check(
        "12:00:00 v1 page_view id=a
         tick 12:00:11
         rules 12:00:12 need.delivery.within=5s
         12:00:20 v1 page_view type=product
         12:00:20 v2 page_view type=product
         12:00:24 v1 info_exposed info=delivery_price visible=150
         12:00:24 v2 info_exposed info=delivery_price visible=150
         12:30:24.000001 v1 page_view type=product
         12:30:29 v1 info_exposed info=delivery_price visible=150",
        "need delivery found_late visitor=v1 rules=0
         need delivery found_in_time visitor=v2 rules=1
         need delivery found_in_time visitor=v1 rules=1
         session v1 12:00:00-12:00:24 rules=0
         session v2 12:00:20-12:00:24 rules=1
         session v1 12:30:24.000001-12:30:29 rules=1",
    );
}

#[test]
fn an_event_is_hidden_by_the_rules_of_its_record_whatever_its_session_goes_by() {
    check(
        "12:00:00 v1 page_view id=a
         tick 12:00:11
         rules 12:00:12 hidden=name:scroll
         12:00:20 v1 scroll id=b
         12:00:20 v2 page_view id=c",
        "event a session=a
         event b session=-
         event c session=c
         session v1 12:00:00-12:00:00 rules=0
         session v2 12:00:20-12:00:20 rules=1",
    );
}

#[test]
fn an_event_held_before_and_settled_after_keeps_the_rules_of_its_record() {
    check(
        "12:00:00 v1 page_view type=product
         rules 12:00:01 needs=none
         12:00:02 v2 page_view type=product",
        "need delivery abandoned visitor=v1 rules=0
         session v1 12:00:00-12:00:00 rules=0
         session v2 12:00:02-12:00:02 rules=1",
    );
}

#[test]
fn a_held_event_is_judged_by_the_rules_of_the_session_it_turns_out_to_be_of() {
    check(
        "12:00:05 v1 page_view id=b type=home
         rules 12:00:06 need.delivery.raised=name:page_view&type:home
         12:00:04 v1 page_view id=a type=product @12:00:07",
        "session v1 12:00:04-12:00:05 id=a rules=1
         need delivery abandoned raised=12:00:05 type=home rules=1",
    );
    check(
        "12:00:04 v1 page_view id=a type=product
         rules 12:00:05 need.delivery.raised=name:page_view&type:home
         12:00:06 v1 page_view id=b type=home
         12:00:06 v2 page_view id=c type=home",
        "session v1 12:00:04-12:00:06 id=a rules=0
         session v2 12:00:06-12:00:06 rules=1
         need delivery gave_up raised=12:00:04 rules=0
         need delivery abandoned raised=12:00:06 visitor=v2 rules=1",
    );
}

#[test]
fn conversions_are_judged_by_the_sessions_rules() {
    check(
        "12:00:00 v1 page_view
         tick 12:00:11
         rules 12:00:12 conversion=name:sign_up error=name:purchase
         12:00:20 v1 purchase
         12:00:20 v2 purchase
         12:00:21 v1 sign_up
         12:00:21 v2 sign_up",
        "session v1 12:00:00-12:00:21 conversions=1 rules=0
         session v2 12:00:20-12:00:21 conversions=1 rules=1",
    );
}

#[test]
fn needs_may_come_go_and_change_places() {
    check(
        "12:00:00 v1 page_view type=cart
         tick 12:00:11
         rules 12:00:12 needs=none need.size.raised=type:product need.size.found=info:size \
            need.size.within=1s need.returns.raised=type:cart need.returns.found=info:returns
         12:00:20 v1 page_view type=product
         12:00:20 v2 page_view type=product
         12:00:21 v1 info_exposed info=size
         12:00:21 v2 info_exposed info=size",
        "need delivery gave_up visitor=v1
         need returns gave_up visitor=v1
         need size found_in_time visitor=v2
         session v1 12:00:00-12:00:21 found=- not_found=delivery,returns
         session v2 12:00:20-12:00:21 found=size not_found=-",
    );
}

#[test]
fn equal_rules_are_no_change() {
    check(
        "12:00:00 v1 page_view
         rules 12:00:01 cap=24h
         12:00:02 v2 page_view",
        "session v1 12:00:00-12:00:00 rules=0
         session v2 12:00:02-12:00:02 rules=0",
    );
}

#[test]
fn a_control_record_moves_the_watermark_by_the_rules_before_it() {
    check(
        "12:00:00 v1 click id=a
         rules 12:00:10.000001 lateness=1m
         stop",
        "event a written=12:00:10.000001",
    );
}

#[test]
fn a_larger_lateness_takes_hold_as_log_time_catches_up() {
    check(
        "tick 12:00:20
         rules 12:00:20 lateness=1m
         12:00:09.999999 v1 click id=a @12:00:30
         12:00:10 v1 click id=b @12:01:10
         12:00:10.000001 v1 click id=c @12:01:11
         12:00:11 v1 click id=d @12:01:11",
        "record a late
         record b on_time
         record c late
         record d on_time",
    );
}

#[test]
fn a_smaller_lateness_takes_hold_with_the_next_record() {
    check(
        "12:00:09 v1 click id=a
         rules 12:00:10 lateness=0s
         commit
         12:00:09.5 v1 click id=b @12:00:10
         stop",
        "record a on_time
         record b late
         event b late
         event a written=12:00:10",
    );
}

#[test]
fn bounds_of_the_memory_are_those_in_force() {
    check(
        "12:00:00 v1 click id=a
         12:00:01 v1 click id=b
         rules 12:00:02 ids_max=1
         12:00:03 v1 click id=c
         12:00:04 v1 click id=b",
        "record a on_time
         record b on_time
         record c on_time
         record b on_time",
    );
    check(
        "12:00:00 v1 click id=a
         rules 12:00:30 window=10s
         12:00:31 v1 click id=a",
        "record a on_time
         record a on_time",
    );
}

#[test]
fn a_session_signals_by_its_own_rules() {
    check(
        "12:00:00 v1 page_view
         tick 12:00:11
         rules 12:00:12 need.delivery.within=5s
         12:00:20 v1 page_view id=a type=product
         12:00:20 v2 page_view id=b type=product
         tick 12:00:23.500001
         tick 12:00:25.500001",
        "signal delivery a due=12:00:23.500001 deadline=12:00:23.5
         signal delivery b due=12:00:25.500001 deadline=12:00:25.5
         need delivery abandoned visitor=v1 signalled=yes rules=0
         need delivery abandoned visitor=v2 signalled=yes rules=1",
    );
}

#[test]
fn a_held_session_signals_by_its_own_rules() {
    check(
        "12:00:00 v1 page_view
         rules 12:00:01 need.delivery.within=1s
         12:00:02 v1 page_view id=a type=product
         tick 12:00:04
         tick 12:00:05.500001",
        "signal delivery a due=12:00:05.500001 deadline=12:00:05.5
         need delivery abandoned signalled=yes rules=0",
    );
}

#[test]
fn an_event_held_before_signals_by_the_rules_of_the_session_it_turns_out_to_be_of() {
    check(
        "12:00:02 v1 page_view id=a type=home
         rules 12:00:03 need.delivery.raised=name:page_view&type:home
         12:00:01 v1 page_view @12:00:04
         tick 12:00:05.5
         tick 12:00:05.500001",
        "signal delivery a due=12:00:05.500001
         need delivery abandoned signalled=yes rules=1",
    );
}

#[test]
fn one_signal_is_enough_where_an_event_moves_to_a_session_of_later_rules() {
    check(
        "12:00:02 v1 page_view id=a type=product
         rules 12:00:03 need.delivery.within=4s
         tick 12:00:05.500001
         12:00:01 v1 page_view @12:00:06
         tick 12:00:06.500001",
        "signal delivery a due=12:00:05.500001
         need delivery abandoned signalled=yes rules=1",
    );
}

#[test]
fn rules_that_only_a_held_event_follows_outlive_a_restart() {
    check(
        "12:00:00 v1 page_view id=a type=product
         rules 12:00:01 need.delivery.within=5s
         restart
         tick 12:00:05
         restart
         tick 12:00:20",
        "need delivery abandoned rules=0",
    );
}

#[test]
fn a_session_that_the_record_of_later_rules_closes_keeps_its_own() {
    check(
        "12:00:00 v1 page_view id=a type=product
         tick 12:00:11
         rules 12:30:11 need.delivery.within=5s
         tick 12:30:17",
        "need delivery abandoned rules=0",
    );
}
