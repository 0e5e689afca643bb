//! What a session tells of its visitor: first and last facts, steps and progress, orders and money.

use super::check::check;

#[test]
fn each_origin_is_the_first_that_an_event_told() {
    check(
        "12:00:00 v1 scroll
         12:00:01 v1 page_view user=u1 device=mobile country=DE utm_source=a
         12:00:02 v1 page_view user=u2 device=desktop country=FR utm_source=b channel=email
         12:00:03 v1 scroll channel=direct bot=ua:X utm_medium=m utm_campaign=c utm_term=t utm_content=n",
        "session v1 12:00:00-12:00:03 user=u1 device=mobile country=DE channel=email bot=ua:X \
         utm_source=a utm_medium=m utm_campaign=c utm_term=t utm_content=n",
    );
}

#[test]
fn landing_is_the_first_path_and_exit_the_last_of_each_column() {
    check(
        "12:00:00 v1 scroll
         12:00:01 v1 click path=/a type=home
         12:00:02 v1 page_view path=/b section=hero
         12:00:03 v1 page_view type=cart
         12:00:04 v1 page_hide",
        "session v1 12:00:00-12:00:04 landing=/a exit=/b exit_type=cart exit_section=hero",
    );
    check(
        "12:00:00 v1 scroll",
        "session v1 12:00:00-12:00:00 landing=- exit=- exit_type=- exit_section=-",
    );
}

#[test]
fn progress_is_the_first_event_of_the_furthest_step() {
    check(
        "12:00:00 v1 page_view
         12:00:01 v1 view_item
         12:00:02 v1 begin_checkout
         12:00:03 v1 begin_checkout
         12:00:04 v1 add_to_cart
         12:00:09 v1 scroll",
        "session v1 12:00:00-12:00:09 step=begin_checkout progress_to_exit=7s",
    );
    check(
        "12:00:00 v1 scroll
         12:00:09 v1 scroll",
        "session v1 12:00:00-12:00:09 step=- progress_to_exit=9s",
    );
}

#[test]
fn a_converted_session_has_progress_too() {
    check(
        "12:00:00 v1 view_item
         12:00:02 v1 purchase
         12:00:09 v1 scroll",
        "session v1 12:00:00-12:00:09 step=purchase progress_to_exit=7s conversions=1",
    );
}

#[test]
fn an_order_counts_once_and_a_conversion_without_one_each_time() {
    check(
        "12:00:00 v1 purchase order=1 value=10 currency=EUR
         12:00:01 v1 purchase order=1 value=10 currency=EUR
         12:00:02 v1 purchase value=5.5 currency=EUR
         12:00:03 v1 purchase value=5.5 currency=EUR",
        "session v1 12:00:00-12:00:03 conversions=3 value=21 currency=EUR",
    );
}

/// Orders `from` to `to` of one euro each, a second apart.
fn orders(from: usize, to: usize) -> String {
    let order = |n| format!("12:00:{n:02} v1 purchase order={n} value=1 currency=EUR\n");
    (from..=to).map(order).collect()
}

#[test]
fn sixteen_orders_are_remembered_and_the_seventeenth_forgets_the_first() {
    check(
        &(orders(1, 16) + "12:01:00 v1 purchase order=1 value=1 currency=EUR"),
        "session v1 12:00:01-12:01:00 conversions=16 value=16",
    );
    check(
        &(orders(1, 17)
            + "12:01:00 v1 purchase order=2 value=1 currency=EUR
               12:01:01 v1 purchase order=1 value=1 currency=EUR"),
        "session v1 12:00:01-12:01:01 conversions=18 value=18",
    );
}

#[test]
fn an_order_told_again_is_not_remembered_anew() {
    check(
        &(orders(1, 16)
            + "12:00:30 v1 purchase order=1 value=1 currency=EUR
               12:00:31 v1 purchase order=17 value=1 currency=EUR
               12:00:32 v1 purchase order=1 value=1 currency=EUR"),
        "session v1 12:00:01-12:00:32 conversions=18",
    );
}

#[test]
fn refunds_are_taken_off_each_time_and_are_no_conversion() {
    check(
        "12:00:00 v1 purchase order=1 value=10 currency=EUR
         12:00:01 v1 refund order=1 value=2.5 currency=EUR
         12:00:02 v1 refund order=1 value=2.5 currency=EUR",
        "session v1 12:00:00-12:00:02 conversions=1 value=5 currency=EUR",
    );
    check(
        "12:00:00 v1 refund value=2.5 currency=EUR",
        "session v1 12:00:00-12:00:00 conversions=0 value=-2.5 currency=EUR engaged=no",
    );
}

#[test]
fn mixed_currencies_have_no_value() {
    check(
        "12:00:00 v1 purchase value=10 currency=EUR
         12:00:01 v1 purchase value=10 currency=USD",
        "session v1 12:00:00-12:00:01 conversions=2 value=- currency=-",
    );
    check(
        "12:00:00 v1 purchase value=10 currency=EUR
         12:00:01 v1 refund value=10 currency=USD
         12:00:02 v1 purchase value=10 currency=EUR",
        "session v1 12:00:00-12:00:02 value=- currency=-",
    );
    check(
        "12:00:00 v1 purchase value=10 currency=EUR
         12:00:01 v1 purchase value=10 currency=USD
         12:00:02 v1 purchase value=10 currency=USD",
        "session v1 12:00:00-12:00:02 conversions=3 value=- currency=-",
    );
}

#[test]
fn no_currency_is_a_currency_of_its_own() {
    check(
        "12:00:00 v1 purchase value=10
         12:00:01 v1 purchase value=10",
        "session v1 12:00:00-12:00:01 value=20 currency=-",
    );
    check(
        "12:00:00 v1 purchase value=10
         12:00:01 v1 purchase value=10 currency=EUR",
        "session v1 12:00:00-12:00:01 value=- currency=-",
    );
}

#[test]
fn what_tells_no_value_tells_no_currency() {
    check(
        "12:00:00 v1 purchase currency=USD
         12:00:01 v1 purchase value=10 currency=EUR
         12:00:02 v1 add_to_cart value=99 currency=USD",
        "session v1 12:00:00-12:00:02 conversions=2 value=10 currency=EUR",
    );
    check("12:00:00 v1 purchase currency=USD", "session v1 12:00:00-12:00:00 value=- currency=-");
}

#[test]
fn a_step_is_seen_where_no_need_is_asked() {
    check("rules needs=none\n12:00:00 v1 view_item", "session v1 12:00:00-12:00:00 step=view_item");
}
