"""The definitions on hand-made logs, each a few events at an edge of docs/semantics.md.

Run with `pytest tests/oracle`; needs duckdb, pyarrow and deltalake.
"""

import pytest

import definitions
from minilog import GAP, S, check, ev, found, only, order, page


# Sessions


def test_a_pause_of_exactly_the_gap_does_not_split(run):
    session = only(run(page(0), page(GAP))["sessions"])
    check(session, event_count=2, duration_ms=GAP // 1000, close_cause="end_of_load")


def test_a_pause_of_one_microsecond_more_splits(run):
    first, second = run(page(0), page(GAP + 1))["sessions"]
    check(first, close_cause="timeout", ended_at=0)
    check(second, close_cause="end_of_load", started_at=GAP + 1)


def test_the_cap_counts_from_the_first_event(run):
    day = 86_400 * S
    steps = list(range(0, day, GAP)) + [day, day + 1]
    first, second = run(*[ev("scroll", time) for time in steps])["sessions"]
    check(first, ended_at=day, close_cause="cap")
    check(second, started_at=day + 1, event_count=1)


def test_an_event_without_room_cuts_at_the_cap_and_begins_nothing(run):
    day = 86_400 * S
    steps = [ev("scroll", time) for time in range(0, day + 1, GAP)]
    refused = ev("scroll", day + 1, overflow=True)
    first, second = run(*steps, refused, ev("scroll", day + GAP + 1))["sessions"]
    check(first, ended_at=day, close_cause="cap")
    check(second, started_at=day + GAP + 1, event_count=1)


def test_a_hidden_heartbeat_bridges_nothing(run):
    hidden = ev("heartbeat", GAP // 2, visible_ms=0)
    assert len(run(page(0), hidden, page(GAP + 1))["sessions"]) == 2
    seen = ev("heartbeat", GAP // 2, visible_ms=1)
    assert len(run(page(0), seen, page(GAP + 1))["sessions"]) == 1


def test_no_visitor_no_session(run):
    assert run(page(0, visitor_id=None))["sessions"] == []


def test_late_events_are_left_out_unless_asked_for(run):
    log = [page(0), ev("scroll", S, late=True), page(2 * S)]
    check(only(run(*log)["sessions"]), event_count=2, revision=0)
    check(only(run(*log, include_late=True)["sessions"]), event_count=3, revision=1)


def test_session_id_is_length_prefixed_and_hangs_on_the_first_event(run):
    first = page(0)
    session = only(run(ev("scroll", S), first)["sessions"])
    assert session["session_id"] == definitions.session_id("s", "v", first["event_id"])
    assert definitions.session_id("ab", "c", "d") != definitions.session_id("a", "bc", "d")
    assert definitions.session_id("s", "v", "e") == "70f7975d5594d9ec3e08a027a231f4fe"


@pytest.mark.parametrize("lower, upper", [("a", "b"), ("z", "é"), ("～", "😀"), ("a", "aa")])
def test_ties_go_by_seq_and_then_by_the_bytes_of_the_id(run, lower, upper):
    tied = [page(0, event_id=upper), found(0, event_id=lower)]
    assert run(*tied)["needs"] == [], "the find comes first: met"
    tied = [page(0, event_id=lower), found(0, event_id=upper)]
    check(only(run(*tied)["needs"]), outcome="found_in_time", info_ms=0)
    by_seq = [page(0, event_id=lower, seq=2), found(0, event_id=upper, seq=1)]
    assert run(*by_seq)["needs"] == []


def test_durations_are_cut(run):
    check(only(run(page(0), ev("scroll", 1_999))["sessions"]), duration_ms=1)


def test_a_session_belongs_to_the_day_it_began(run):
    tables = run(page(86_400 * S - 1), found(86_400 * S))
    for table in tables.values():
        check(only(table), session_date="1970-01-01")


def test_first_and_last_values(run):
    check(
        only(run(
            ev("scroll", 0, section="hero"),
            ev("scroll", 1, page_path="/a", page_type="home", user_id="u1", country="DE"),
            ev("scroll", 2, page_path="/b", section="end", user_id="u2", utm_term="x"),
            ev("scroll", 3),
        )["sessions"]),
        landing_path="/a", exit_path="/b", exit_page_type="home", exit_section="end",
        user_id="u1", country="DE", utm_term="x", utm_source=None,
    )


@pytest.mark.parametrize("log, engaged", [
    ([("page_view", 0), ("scroll", 10 * S)], False),
    ([("page_view", 0), ("scroll", 10 * S + 1)], True),
    ([("page_view", 0), ("page_view", 1)], True),
    ([("purchase", 0)], True),
])
def test_engaged(run, log, engaged):
    check(only(run(*[ev(*event) for event in log])["sessions"]), engaged=engaged)


def test_beyond_the_cap_only_start_end_and_count_are_exact(run):
    tables = run(
        page(0), ev("click", 1), order(2), found(3), page(4), ev("scroll", 5),
        events_per_session_max=2,
    )
    check(
        only(tables["sessions"]),
        event_count=6, overflow_count=4, ended_at=5, converted=False, page_view_count=1,
    )
    check(only(tables["needs"]), outcome="abandoned", click_count=1)
    check(only(tables["page_views"]), ended_at=5, click_count=1)


# Steps, conversions, money


def test_progress_is_the_first_event_of_a_further_step(run):
    names = ["view_item", "begin_checkout", "add_to_cart", "begin_checkout", "scroll"]
    session = only(run(*[ev(name, index * S) for index, name in enumerate(names)])["sessions"])
    check(
        session, furthest_step="begin_checkout", furthest_step_index=3, progress_to_exit_ms=3000
    )


def test_without_a_step_progress_is_the_start(run):
    session = only(run(ev("scroll", 0), ev("scroll", 2 * S))["sessions"])
    check(session, furthest_step=None, furthest_step_index=None, progress_to_exit_ms=2000)


def test_an_order_counts_once_and_one_without_id_each_time(run):
    log = [order(0, "a", 1, "EUR"), order(1, "a", 1, "EUR"), order(2), order(3)]
    check(only(run(*log)["sessions"]), conversion_count=3, value=10_000, currency="EUR")


def test_sixteen_orders_are_remembered(run):
    ids = [str(n) for n in range(16)]
    log = [order(n, id_) for n, id_ in enumerate(ids + ["0"])]
    check(only(run(*log)["sessions"]), conversion_count=16)
    log = [order(n, id_) for n, id_ in enumerate(ids + ["16", "0"])]
    check(only(run(*log)["sessions"]), conversion_count=18)


@pytest.mark.parametrize("log, value, currency", [
    ([(0, "a", "10.25", "EUR"), (1, "b", "0.0001", "EUR")], 102_501, "EUR"),
    ([(0, "a", 10, "EUR"), (1, "b", 5, "USD")], None, None),
    ([(0, "a", 10, "EUR"), (1, "a", 4, "EUR", "refund")], 60_000, "EUR"),
    ([(0, "a", 10, "EUR"), (1, "a", 4, "USD", "refund")], None, None),
    ([(0, "a", 10, "EUR"), (1, "b", None, "USD")], 100_000, "EUR"),
    ([(0, "a", 10, None)], 100_000, None),
    ([(0, "a", 10, None), (1, "b", 1, "EUR")], None, None),
    ([(0, "a", None, "EUR")], None, None),
    ([(0, "a", 4, "EUR", "refund")], -40_000, "EUR"),
])
def test_money(run, log, value, currency):
    check(only(run(*[order(*event) for event in log])["sessions"]), value=value, currency=currency)


# Page views


def views(tables):
    return [(v["page_view_id"], v["started_at"], v["ended_at"]) for v in tables["page_views"]]


def test_a_page_view_and_its_view_item_are_one(run):
    tables = run(
        page(0, page_view_id="p"),
        found(1, page_view_id="other", visible_ms=7),
        ev("view_item", 2, page_view_id="p", lcp_ms=9),
        ev("click", 3),
        page(4, page_view_id="q"),
        ev("scroll", 5, visible_ms=3),
    )
    assert views(tables) == [("p", 0, 4), ("q", 4, 5)]
    first, second = tables["page_views"]
    check(first, visible_ms=7, lcp_ms=9, click_count=1, is_landing=True, is_exit=False)
    check(second, visible_ms=3, lcp_ms=None, is_landing=False, is_exit=True, index_in_session=2)


@pytest.mark.parametrize("first, second, count", [
    (dict(page_view_id="p", page_url="u"), dict(page_url="u"), 1),
    (dict(page_url="u"), dict(page_view_id="p", page_url="u"), 1),
    (dict(page_url="u"), dict(page_url="u"), 1),
    (dict(page_view_id="p", page_url="u"), dict(page_view_id="q", page_url="u"), 2),
    (dict(page_view_id="p", page_url="u"), dict(page_url="w"), 2),
    (dict(page_view_id="p"), dict(), 2),
])
def test_views_merge_by_id_or_by_url_and_another_name(run, first, second, count):
    tables = run(ev("page_view", 0, **first), ev("view_item", 1, **second))
    assert len(tables["page_views"]) == count
    check(only(tables["sessions"]), page_view_count=count)


def test_same_name_on_one_url_is_another_view(run):
    log = [ev("page_view", 0, page_url="u"), ev("page_view", 1, page_url="u", page_view_id="p")]
    assert len(run(*log)["page_views"]) == 2


def test_a_view_takes_the_first_id_of_its_events_and_else_its_event_id(run):
    log = [
        ev("page_view", 0, page_url="u"),
        ev("view_item", 1, page_url="u", page_view_id="p"),
        ev("view_item", 2, page_url="w", page_view_id="p"),
        ev("screen_view", 3),
    ]
    assert views(run(*log)) == [("p", 0, 3), (log[3]["event_id"], 3, 3)]


def test_events_before_the_first_view_count_for_none(run):
    check(only(run(ev("click", 0), page(1))["page_views"]), click_count=0)


# Needs


@pytest.mark.parametrize("wait, outcome", [
    (0, "found_in_time"), (3 * S, "found_in_time"), (3 * S + 1, "found_late"), (GAP, "found_late"),
])
def test_within_is_inclusive(run, wait, outcome):
    need = only(run(page(0), found(wait))["needs"])
    check(need, outcome=outcome, info_ms=wait // 1000, left_before_deadline=False)


@pytest.mark.parametrize("visible_ms, outcome", [(149, "abandoned"), (150, "found_in_time")])
def test_exposed_long_enough(run, visible_ms, outcome):
    check(only(run(page(0), found(S, visible_ms=visible_ms))["needs"]), outcome=outcome)


@pytest.mark.parametrize("times, count, outcome", [
    ([0, 2 * S], 2, "found_in_time"),
    ([0, S, 2 * S], 3, "found_late"),
    ([0, S, 2 * S + 1], 2, "found_in_time"),
])
def test_clicks_from_raising_to_find_both_included(run, times, count, outcome):
    log = [ev("click", 0) for t in times if t == 0] + [page(0), found(2 * S)]
    log += [ev("click", t) for t in times if t > 0]
    check(only(run(*log)["needs"]), click_count=count, outcome=outcome)


def test_the_raising_click_is_not_counted(run):
    need = {"name": "n", "raised_by": "event_name = 'click'", "found_by": "info_key = 'k'",
            "within_us": S, "max_clicks": 0}
    log = [ev("click", 0), found(1, key="k")]
    check(only(run(*log, needs=[need])["needs"]), click_count=0, outcome="found_in_time")


def test_the_raising_event_may_find(run):
    need = {"name": "n", "raised_by": "event_name = 'e'", "found_by": "info_key = 'k'",
            "within_us": S, "max_clicks": 0}
    row = only(run(ev("e", 5, info_key="k"), needs=[need])["needs"])
    check(row, found_at=5, info_ms=0, outcome="found_in_time")


def test_met_beforehand_writes_no_row_and_stays_met(run):
    tables = run(found(0), page(1), page(2))
    assert tables["needs"] == []
    check(only(tables["sessions"]), needs_raised=[], needs_found=[], needs_not_found=[])


def test_one_episode_a_session(run):
    check(only(run(page(0), found(S), page(9 * S))["needs"]), raised_at=0)


def test_an_unseen_page_raises_nothing(run):
    assert run(page(0, visible_ms=0))["needs"] == []
    check(only(run(page(0, visible_ms=0), page(5, visible_ms=1))["needs"]), raised_at=5)


@pytest.mark.parametrize("log, outcome, converted, found_at", [
    (["order 1", "found 2"], "converted_without", True, None),
    (["found 2", "order 2"], "found_in_time", True, 2),
    (["order 2", "found 2"], "found_in_time", True, 2),
    (["found 1", "order 2"], "found_in_time", True, 1),
    (["order 0"], "converted_without", True, None),
])
def test_find_and_conversion(run, log, outcome, converted, found_at):
    make = {"order": order, "found": found}
    events = [make[name](int(time)) for name, time in map(str.split, log)]
    need = only(run(page(0), *events)["needs"])
    check(need, outcome=outcome, converted=converted, found_at=found_at)


def test_a_conversion_before_the_raising_does_not_end_it(run):
    tables = run(order(0), page(1))
    check(only(tables["needs"]), outcome="abandoned", converted=False)
    check(only(tables["sessions"]), converted=True, reason=None, reasons=[])


def test_a_conversion_at_the_time_of_the_raising_ends_it_even_if_before_in_order(run):
    check(only(run(order(5), page(5))["needs"]), outcome="converted_without", converted=True)


def test_an_order_told_again_is_no_conversion_of_a_later_need(run):
    log = [order(0, "a"), page(1), order(2, "a")]
    check(only(run(*log)["needs"]), outcome="abandoned", converted=False)


@pytest.mark.parametrize("time, outcome", [(0, "abandoned"), (1, "gave_up")])
def test_a_page_view_after_means_a_later_time(run, time, outcome):
    log = [page(0, page_view_id="p"), page(time, "home", page_view_id="q")]
    check(only(run(*log)["needs"]), outcome=outcome)


def test_the_raising_pages_own_view_item_is_no_page_after(run):
    log = [page(0, page_view_id="p"), ev("view_item", S, page_view_id="p")]
    check(only(run(*log)["needs"]), outcome="abandoned", left_after_ms=1000)


@pytest.mark.parametrize("wait, before", [(3 * S - 1, True), (3 * S, False)])
def test_left_before_deadline(run, wait, before):
    need = only(run(page(0), ev("page_hide", wait))["needs"])
    check(need, left_before_deadline=before, left_after_ms=wait // 1000)


def test_load_ms_is_that_of_the_raising_page_view(run):
    log = [page(0, page_view_id="p", lcp_ms=10), ev("web_vitals", 1, lcp_ms=4001), page(2, "home")]
    check(only(run(*log)["needs"]), load_ms=4001, raised_path="/product")


def test_clicks_of_a_lost_need_count_to_the_end(run):
    log = [page(0), ev("click", S), ev("click", 9 * S)]
    check(only(run(*log)["needs"]), click_count=2)


def test_clicks_of_a_converted_need_count_to_the_conversion(run):
    log = [page(0), ev("click", S), order(S), ev("click", S), ev("click", S + 1)]
    check(only(run(*log)["needs"]), click_count=2)


def test_needs_are_listed_in_order_of_declaration(run):
    log = [page(0, "cart"), found(1, "returns")]
    session = only(run(*log)["sessions"])
    check(session, needs_raised=["delivery", "returns"], needs_found=["returns"],
          needs_not_found=["delivery"])


# Reasons


def reasons(tables):
    session = tables["sessions"][0]
    return session["reason"], session["reasons"]


def test_no_reason(run):
    assert reasons(run(ev("scroll", 0))) == ("none", [])


def test_the_first_reason_that_holds(run):
    log = [page(0, lcp_ms=4001), ev("search", 1, search_results=0), ev("exception", 2)]
    wanted = ["error", "slow_page", "zero_search", "need_not_found"]
    assert reasons(run(*log)) == ("error", wanted)


@pytest.mark.parametrize("log, slow", [
    ([("home", 4001), ("home", 1)], False),
    ([("home", 1), ("home", 4001)], True),
    ([("home", 1), ("home", 4000)], False),
    ([("product", 4001), ("home", 1)], True),
    ([("product", 1), ("product", 4001), ("home", None)], False),
])
def test_slow_pages_are_the_raising_and_the_last(run, log, slow):
    events = [page(i, kind, lcp_ms=lcp) for i, (kind, lcp) in enumerate(log)]
    assert ("slow_page" in reasons(run(*events))[1]) == slow


def clicks(*parts):
    return [ev("click", time, target=target, x=x, y=y) for time, target, x, y in parts]


@pytest.mark.parametrize("parts, rage", [
    ([(0, "a", 0, 0), (1, "a", 0, 0), (S, "a", 0, 30)], True),
    ([(0, "a", 0, 0), (1, "a", 0, 0), (S + 1, "a", 0, 0)], False),
    ([(0, "a", 0, 0), (1, "a", 18, 24), (2, "a", 0, 0)], True),
    ([(0, "a", 0, 0), (1, "a", 0, 0), (2, "a", 22, 22)], False),
    ([(0, "a", 0, 0), (1, "b", 0, 0), (2, "a", 0, 0), (3, "a", 0, 0)], False),
    ([(0, "a", 0, 0), (1, "a", None, 0), (2, "a", 0, 0)], False),
    ([(0, None, 0, 0)] * 3, False),
    ([(0, "a", 0, 0), (2 * S, "a", 0, 0), (2 * S, "a", 0, 0), (3 * S, "a", 0, 0)], True),
])
def test_rage_clicks(run, parts, rage):
    assert ("rage_click" in reasons(run(*clicks(*parts)))[1]) == rage
