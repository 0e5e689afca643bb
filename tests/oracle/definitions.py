"""The definitions of docs/semantics.md, evaluated by brute force over whole sessions in memory.

Input is one visitor's events in the order (event_time, seq, event_id), each with the bits of the
conditions it fulfils; output is the rows of `sessions`, `needs` and `page_views`. Written from the
text alone: it shares no code and no technique with the streaming fold. Where the text leaves a
choice, README.md lists what is chosen here.
"""

import datetime
import hashlib
from typing import NamedTuple, Optional

REMEMBERED_ORDERS = 16
RAGE_CLICKS = 3
RAGE_WITHIN_US = 1_000_000
RAGE_DISTANCE_PX = 30
ENGAGED_US = 10_000_000
DAY_US = 86_400_000_000
EPOCH = datetime.date(1970, 1, 1)


class Event(NamedTuple):
    """One row of `events`; times in microseconds, money in ten-thousandths."""

    site: str
    visitor_id: str
    event_id: str
    time: int
    name: Optional[str]
    bits: int
    late: bool
    page_view_id: Optional[str]
    page_url: Optional[str]
    page_path: Optional[str]
    page_type: Optional[str]
    section: Optional[str]
    target: Optional[str]
    x: Optional[int]
    y: Optional[int]
    visible_ms: Optional[int]
    lcp_ms: Optional[int]
    order_id: Optional[str]
    value: Optional[int]
    currency: Optional[str]
    user_id: Optional[str]
    channel: Optional[str]
    utm_source: Optional[str]
    utm_medium: Optional[str]
    utm_campaign: Optional[str]
    utm_term: Optional[str]
    utm_content: Optional[str]
    device_type: Optional[str]
    country: Optional[str]
    bot: Optional[str]
    log_partition: Optional[int]
    session_id: Optional[str]
    overflow: Optional[bool]

    @property
    def refused(self):
        """It would have begun a session beyond those that may be open."""
        return self.overflow is True and self.session_id is None


class Need(NamedTuple):
    name: str
    raised_bit: int
    found_bit: int
    within_us: int
    max_clicks: int


class Rules(NamedTuple):
    """The rules file; each condition is named by its bit in `Event.bits`."""

    gap_us: int
    cap_us: int
    events_max: int
    slow_page_ms: int
    conversion: int
    page_view: int
    error: int
    zero_search: int
    rage_target: int
    steps: list  # of (name, bit), in order
    needs: list  # of Need, in order of declaration


class PageView:
    """The page-view event that begins it, and all events that count for it (that one included)."""

    def __init__(self, first):
        self.first = first
        self.id = first.page_view_id
        self.events = [first]

    @property
    def lcp_ms(self):
        return greatest(event.lcp_ms for event in self.events)

    def continues_with(self, event):
        if self.id is not None and event.page_view_id is not None:
            return self.id == event.page_view_id
        return (
            event.page_url is not None
            and event.page_url == self.first.page_url
            and event.name != self.first.name
        )


def split_sessions(events, rules):
    """A visitor's events in order -> lists of events, each with why an event ended it."""
    sessions = []
    is_open = False
    for event in events:
        if is_open:
            current = sessions[-1][0]
            if event.time - current[-1].time > rules.gap_us:
                sessions[-1][1] = "timeout"
            elif event.time - current[0].time > rules.cap_us:
                sessions[-1][1] = "cap"
            else:
                current.append(event)
                continue
        is_open = not event.refused
        if is_open:
            sessions.append([[event], None])
    return sessions


def session_id(site, visitor_id, first_event_id):
    digest = hashlib.sha256()
    for part in (site, visitor_id, first_event_id):
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()[:32]


def day(time_us):
    return (EPOCH + datetime.timedelta(days=time_us // DAY_US)).isoformat()


def greatest(values):
    return max((value for value in values if value is not None), default=None)


def first_of(events, field):
    return next((v for v in (getattr(e, field) for e in events) if v is not None), None)


def last_of(events, field):
    return first_of(reversed(events), field)


def page_views_of(events, rules):
    views = []
    for event in events:
        if event.bits & rules.page_view and not (views and views[-1].continues_with(event)):
            views.append(PageView(event))
        elif views:
            views[-1].events.append(event)
            if event.bits & rules.page_view and views[-1].id is None:
                views[-1].id = event.page_view_id
    return views


def counted_conversions(events, rules):
    """Conversions, each order once; a session remembers the orders it counted last."""
    counted, orders = [], []
    for event in events:
        if event.bits & rules.conversion and event.order_id not in orders:
            counted.append(event)
            if event.order_id is not None:
                orders = (orders + [event.order_id])[-REMEMBERED_ORDERS:]
    return counted


def money_of(events, conversions):
    """(sum, currency); neither where currencies are mixed or nothing has a value."""
    parts = [(event.value, event.currency) for event in conversions]
    parts += [
        (None if event.value is None else -event.value, event.currency)
        for event in events
        if event.name == "refund"
    ]
    parts = [part for part in parts if part[0] is not None]
    if len({currency for _, currency in parts}) != 1:
        return None, None
    return sum(value for value, _ in parts), parts[0][1]


def progress_of(events, rules):
    """(furthest step's index from 1 or None, time of the last progress or None)."""
    furthest, at = None, None
    for event in events:
        for index, (_, bit) in enumerate(rules.steps, start=1):
            if event.bits & bit and (furthest is None or index > furthest):
                furthest, at = index, event.time
    return furthest, at


def need_of(need, events, views, conversions, ended_at):
    """The episode of one need as a dict, or None where it was not raised or met beforehand."""
    for raising, event in enumerate(events):
        if event.bits & need.raised_bit and event.visible_ms != 0:
            break
        if event.bits & need.found_bit:
            return None
    else:
        return None
    raised = events[raising]
    t0 = raised.time
    finds = [e.time for e in events if e.bits & need.found_bit and e.time >= t0]
    orders = [e.time for e in conversions if e.time >= t0]
    found_at = min(finds, default=None)
    converted_at = min(orders, default=None)
    if found_at is not None and converted_at is not None and converted_at < found_at:
        found_at = None
    end = next(t for t in (found_at, converted_at, ended_at) if t is not None)
    clicks = sum(
        1
        for index, e in enumerate(events)
        if e.name == "click" and t0 <= e.time <= end and index != raising
    )
    lost = found_at is None and converted_at is None
    if found_at is not None:
        in_time = found_at - t0 <= need.within_us and clicks <= need.max_clicks
        outcome = "found_in_time" if in_time else "found_late"
    elif converted_at is not None:
        outcome = "converted_without"
    elif any(view.first.time > t0 for view in views):
        outcome = "gave_up"
    else:
        outcome = "abandoned"
    return {
        "need": need.name,
        "raised": raised,
        "view": next((v for v in views if any(e is raised for e in v.events)), None),
        "found_at": found_at,
        "clicks": clicks,
        "outcome": outcome,
        "left_before_deadline": lost and ended_at - t0 < need.within_us,
        "converted": converted_at is not None,
    }


def rage_clicked(events, rules):
    clicks = [event for event in events if event.bits & rules.rage_target]
    for start in range(len(clicks) - RAGE_CLICKS + 1):
        run = clicks[start : start + RAGE_CLICKS]
        first = run[0]
        if (
            run[-1].time - first.time <= RAGE_WITHIN_US
            and all(click.target == first.target for click in run)
            and all(click.x is not None and click.y is not None for click in run)
            and all(
                (click.x - first.x) ** 2 + (click.y - first.y) ** 2 <= RAGE_DISTANCE_PX**2
                for click in run
            )
        ):
            return True
    return False


def reasons_of(events, views, episodes, rules):
    pages = [episode["view"] for episode in episodes if episode["view"]] + views[-1:]
    holds = {
        "error": any(event.bits & rules.error for event in events),
        "slow_page": any((view.lcp_ms or 0) > rules.slow_page_ms for view in pages),
        "rage_click": rage_clicked(events, rules),
        "zero_search": any(event.bits & rules.zero_search for event in events),
        "need_not_found": any(episode["found_at"] is None for episode in episodes),
    }
    return [reason for reason, held in holds.items() if held]


def fold_session(all_events, close_cause, rules):
    """One session -> (session row or None where it is open, need rows, page-view rows).

    `close_cause` is None for a session still open: its last page view has no row then.
    """
    events = all_events[: rules.events_max]
    first, started_at, ended_at = all_events[0], all_events[0].time, all_events[-1].time
    views = page_views_of(events, rules)
    conversions = counted_conversions(events, rules)
    needs = [need_of(need, events, views, conversions, ended_at) for need in rules.needs]
    episodes = [episode for episode in needs if episode]
    common = {
        "session_id": session_id(first.site, first.visitor_id, first.event_id),
        "site": first.site,
        "visitor_id": first.visitor_id,
        "revision": sum(event.late for event in all_events),
        "session_date": day(started_at),
    }
    view_rows = page_view_rows(common, views, ended_at, close_cause is not None)
    if close_cause is None:
        return None, [], view_rows
    furthest, progress_at = progress_of(events, rules)
    value, currency = money_of(events, conversions)
    duration = ended_at - started_at
    converted = bool(conversions)
    reasons = [] if converted else reasons_of(events, views, episodes, rules)
    session = {
        **common,
        "started_at": started_at,
        "ended_at": ended_at,
        "duration_ms": duration // 1000,
        "event_count": len(all_events),
        "overflow_count": len(all_events) - len(events),
        "page_view_count": len(views),
        "engaged": duration > ENGAGED_US or len(views) >= 2 or converted,
        "landing_path": first_of(events, "page_path"),
        "exit_path": last_of(events, "page_path"),
        "exit_page_type": last_of(events, "page_type"),
        "exit_section": last_of(events, "section"),
        "furthest_step": rules.steps[furthest - 1][0] if furthest else None,
        "furthest_step_index": furthest,
        "converted": converted,
        "conversion_count": len(conversions),
        "value": value,
        "currency": currency,
        "needs_raised": [episode["need"] for episode in episodes],
        "needs_found": [e["need"] for e in episodes if e["found_at"] is not None],
        "needs_not_found": [e["need"] for e in episodes if e["found_at"] is None],
        "reason": None if converted else (reasons or ["none"])[0],
        "reasons": reasons,
        "progress_to_exit_ms": (
            ended_at - (started_at if progress_at is None else progress_at)
        )
        // 1000,
        "close_cause": close_cause,
    }
    for field in (
        "user_id channel utm_source utm_medium utm_campaign utm_term utm_content"
        " device_type country bot"
    ).split():
        session[field] = first_of(events, field)
    return session, [need_row(common, episode, ended_at) for episode in episodes], view_rows


def need_row(common, episode, ended_at):
    raised, found_at, view = episode["raised"], episode["found_at"], episode["view"]
    return {
        **common,
        "need": episode["need"],
        "raised_at": raised.time,
        "raised_path": raised.page_path,
        "raised_page_type": raised.page_type,
        "found_at": found_at,
        "info_ms": None if found_at is None else (found_at - raised.time) // 1000,
        "click_count": episode["clicks"],
        "load_ms": view.lcp_ms if view else None,
        "outcome": episode["outcome"],
        "left_after_ms": (ended_at - raised.time) // 1000,
        "left_before_deadline": episode["left_before_deadline"],
        "converted": episode["converted"],
    }


def page_view_rows(common, views, ended_at, closed):
    rows = []
    for index, view in enumerate(views, start=1):
        is_last = index == len(views)
        if is_last and not closed:
            break
        rows.append(
            {
                **common,
                "page_view_id": view.first.event_id if view.id is None else view.id,
                "index_in_session": index,
                "page_path": view.first.page_path,
                "page_type": view.first.page_type,
                "started_at": view.first.time,
                "ended_at": ended_at if is_last else views[index].first.time,
                "visible_ms": greatest(event.visible_ms for event in view.events),
                "click_count": sum(event.name == "click" for event in view.events),
                "lcp_ms": view.lcp_ms,
                "is_landing": index == 1,
                "is_exit": is_last,
            }
        )
    return rows
