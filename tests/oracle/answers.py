#!/usr/bin/env python3
"""Recomputes figures of the documentation from the events of its sample and compares them.

    answers.py LAKE DOC…

LAKE holds the sample that the README loads, each DOC is a Markdown file in which a block of SQL is
followed by a block with its answer. The answers are computed from the events' Parquet files alone, by
the definitions of docs/semantics.md, sections 4 and 5. Ends with 0 where all are equal, else with 1.
"""

import collections
import copy
import datetime
import json
import math
import os
import re
import statistics
import sys
import tempfile
from fractions import Fraction

import pyarrow as pa
import pyarrow.parquet as pq

import oracle
import reading

HERE = os.path.dirname(os.path.abspath(__file__))
HOUR = 3_600_000_000
DAY = 24 * HOUR
EPOCH = datetime.date(1970, 1, 1)
COLUMNS = ["site", "visitor_id", "session_id", "event_name", "event_time", "seq", "page_type",
           "bot", "info_key", "visible_ms"]
LOSS_SESSIONS_MIN = 30
# Statements of the documents that are compared, at least: who rewrites one there rewrites it here.
COMPARED_MIN = 14


def read_events(lake):
    """Rows as dicts, each with `time` in microseconds, in no order."""
    events = []
    for file in reading.find_files([os.path.join(lake, "events")]):
        table = pq.read_table(file, columns=COLUMNS, partitioning=None)
        times = table.column("event_time").cast(pa.int64()).to_pylist()
        for event, time in zip(table.to_pylist(), times):
            events.append({**event, "time": time, "seq": event["seq"] or 0})
    return events


def logs_of(events, *whose, tie):
    """The humans' events by `whose`, each log in order; without what has none. `tie` is the key of what
    is equal in time and counter."""
    logs = collections.defaultdict(list)
    for event in events:
        if event["bot"] is None and event[whose[-1]] is not None:
            logs[tuple(event[column] for column in whose)].append(event)
    for log in logs.values():
        log.sort(key=lambda event: (event["time"], event["seq"], tie(event)))
    return logs


def named(name):
    return lambda event: event["event_name"] == name


def chain(log, entry, steps, window):
    """Times of the steps that follow each other from event number `entry` on, as far as they go: the
    furthest that any chain reaches, and each as early as it can be reached."""
    times, place = [log[entry]["time"]], entry
    for step in steps[1:]:
        behind = range(place + 1, len(log))
        place = next((later for later in behind if step(log[later])), None)
        if place is None or log[place]["time"] - times[0] > window:
            break
        times.append(log[place]["time"])
    return times


def nearest_rank_ms(times, share):
    return sorted(times)[math.ceil(len(times) * share) - 1] // 1_000 if times else None


def funnel(events, names, window):
    """A row a step: entered, converted, still open, lost, shares of the previous and the first step,
    median of the time since the step before."""
    steps = [named(name) for name in names]
    horizon = max(event["time"] for event in events)
    trials = []
    first = lambda event: next((at for at, step in enumerate(steps) if step(event)), len(steps))
    for log in logs_of(events, "site", "visitor_id", tie=first).values():
        entry = next((place for place, event in enumerate(log) if steps[0](event)), None)
        if entry is not None:
            trials.append(chain(log, entry, steps, window))
    rows = []
    for step, name in enumerate(names):
        reached = [times for times in trials if len(times) > step]
        stuck = [] if step + 1 == len(names) else [t for t in reached if len(t) == step + 1]
        lost = sum(times[0] + window < horizon for times in stuck)
        since = [times[step] - times[step - 1] for times in reached] if step else []
        rows.append({
            "step": step + 1, "name": name, "entered": len(reached),
            "converted": len(reached) - len(stuck), "still_open": len(stuck) - lost, "lost": lost,
            "share_of_previous": len(reached) / rows[-1]["entered"] if step else None,
            "share_of_first": len(reached) / len(trials),
            "median_ms": nearest_rank_ms(since, Fraction(1, 2)),
        })
    return rows


def ways(events, anchor, depth, top, is_start):
    """Counts of the most frequent paths of page types over sessions, and of the rest."""
    counts = collections.Counter()
    # Of what is equal in time and counter the anchor comes first on a way from it, and last on a way to it.
    def tie(event):
        label = event["page_type"]
        return (anchor(event) != is_start, label is None and not is_start, label or "")

    for log in logs_of(events, "session_id", tie=tie).values():
        place = next((place for place, event in enumerate(log) if anchor(event)), None)
        if place is None:
            continue
        way = log[place:] if is_start else log[:place + 1]
        labels = [event["page_type"] for event in way if event["page_type"] is not None]
        labels = [label for at, label in enumerate(labels) if at == 0 or labels[at - 1] != label]
        labels = labels[:depth] if is_start else labels[-depth:]
        if labels:
            counts[" > ".join(labels)] += 1
    # Which of two that are equally frequent is shown is not said: the sample has none at its cuts.
    shown = counts.most_common(top)
    rest = sum(counts.values()) - sum(count for _, count in shown)
    return [*shown, (None, rest)]


def returns(events, started, periods):
    """(cohort, period) -> [visitors, returned], by day; any event is a return."""
    counts = collections.defaultdict(lambda: [0, 0])
    for log in logs_of(events, "site", "visitor_id", tie=lambda it: not started(it)).values():
        start = next((place for place, event in enumerate(log) if started(event)), None)
        if start is None:
            continue
        cohort = log[start]["time"] // DAY
        days = {event["time"] // DAY for event in log[start + 1:]}
        for period in range(periods + 1):
            counts[cohort, period][0] += 1
            counts[cohort, period][1] += cohort + period in days
    return counts


def date(day):
    return str(EPOCH + datetime.timedelta(days=day))


class Batch:
    """Sessions and needs as the batch oracle makes them of the events, humans' alone."""

    def __init__(self, lake, needs):
        """`needs` are more than those that are shipped."""
        with open(os.path.join(HERE, "default_rules.json"), encoding="utf-8") as file:
            raw = json.load(file)
        raw["needs"] += needs(copy.deepcopy(raw["needs"]))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(raw, file)
            file.flush()
            rules, bits, hidden = reading.read_rules(file.name)
        connection = reading.connect()
        files = reading.find_files([os.path.join(lake, "events")])
        reading.make_view(connection, "events", files, reading.EVENT_COLUMNS)
        visitors = reading.read_visitors(connection, bits, hidden, False)
        expected = oracle.compute(visitors, rules, oracle.Watermarks([]), oracle.Report(), False)
        tables = expected.tables
        self.sessions = {
            session["session_id"]: session for session in rows(tables, "sessions")
            if session["bot"] is None
        }
        self.needs = [need for need in rows(tables, "needs") if need["session_id"] in self.sessions]

    def outcomes(self, name):
        return collections.Counter(row["outcome"] for row in self.needs if row["need"] == name)

    def by_page(self, name, is_measured):
        """Page template -> the needs that were raised on it; not all that were are measured."""
        pages = collections.defaultdict(list)
        for row in self.needs:
            if row["need"] == name:
                pages[template(row)].append({**row, "is_measured": is_measured(row)})
        return pages

    def losses(self, needs):
        """Currency -> what these needs are associated with losing."""
        needs = [row for row in needs if row["is_measured"]]
        found = [row for row in needs if row["found_at"] is not None]
        not_found = [row for row in needs if row["found_at"] is None]
        if min(len(found), len(not_found)) < LOSS_SESSIONS_MIN:
            return {}
        c1, c0 = (Fraction(sum(row["converted"] for row in side), len(side))
                  for side in (found, not_found))
        orders = collections.defaultdict(list)
        for row in needs:
            session = self.sessions[row["session_id"]]
            if row["converted"] and session["value"] is not None:
                orders[session["currency"]].append(Fraction(session["value"], 10_000))
        lost = sum(not row["converted"] for row in not_found)
        return {
            currency: lost * (c1 - c0) * sum(values) / len(values)
            for currency, values in orders.items()
        }


def rows(tables, table):
    names = [name for name, _ in reading.table_columns(table)[0]]
    return [dict(zip(names, row)) for row in tables[table].values()]


def template(need):
    if need["raised_page_type"] is not None:
        return need["raised_page_type"]
    parts = (need["raised_path"] or "").split("/")
    return "/".join("*" if re.search(r"\d", part) else part for part in parts)


def measured(events):
    """(need, site, day) of which an event fulfils the need's `found_by`."""
    keys = {"delivery": ("delivery_price", "delivery_time"), "returns": ("returns",)}
    return {
        (need, event["site"], date(event["time"] // DAY))
        for event in events for need, facts in keys.items()
        if event["event_name"] == "info_exposed" and event["info_key"] in facts
        and (event["visible_ms"] or 0) >= 150
    }


def more_needs(shipped):
    """What the documents ask for in a call, as needs that are declared."""
    delivery = shipped[0]
    return [
        {**delivery, "name": "in 5 s", "within_us": 5_000_000},
        {**delivery, "name": "in 5 s, 3 clicks", "within_us": 5_000_000, "max_clicks": 3},
        {"name": "returns, 1 click", "raised_by": "page_type = 'cart'",
         "found_by": "event_name = 'info_exposed' AND info_key = 'returns'",
         "within_us": 3_000_000, "max_clicks": 1},
    ]


def needs_by_page(events, batch):
    """(need, page) -> the figures of the view."""
    known = measured(events)
    figures = {}
    for need in ("delivery", "returns"):
        is_measured = lambda row: (need, row["site"], row["session_date"]) in known
        for page, raised in batch.by_page(need, is_measured).items():
            judged = [row for row in raised if row["is_measured"]]
            count = collections.Counter(row["outcome"] for row in judged)
            lost = count["abandoned"] + count["gave_up"]
            times = [row["info_ms"] for row in raised if row["info_ms"] is not None]
            figures[need, page] = {
                "raised": len(raised), "abandoned": count["abandoned"],
                "gave_up": count["gave_up"], "lost": lost,
                "share_lost": lost / len(judged) if judged else None,
                "median_info_ms": int(statistics.median(times)) if times else None,
                "losses": batch.losses(raised),
            }
    return figures


def answers(lake):
    """Statement -> (columns that are compared, their rows), in any order."""
    events, batch = read_events(lake), Batch(lake, more_needs)
    pages = needs_by_page(events, batch)
    day_returns = returns(events, lambda _: True, 1)
    item_returns = returns(events, named("view_item"), 2)
    horizon = max(event["time"] for event in events)

    def by_period(counts):
        """Sums over the cohorts whose period counts."""
        sums = collections.defaultdict(lambda: [0, 0])
        for (cohort, period), row in item_returns.items():
            if counts(cohort + period):
                sums[period] = [sum(pair) for pair in zip(sums[period], row)]
        return ["period", "visitors", "returned"], [[period, *row] for period, row in sums.items()]

    def steps(names, columns):
        return columns, [[row[c] for c in columns] for row in funnel(events, names, HOUR)]

    def outcomes(name):
        return ["outcome", "sessions"], list(batch.outcomes(name).items())

    return {
        "FROM funnel('view_item', 'add_to_cart', 'purchase', within => '1 hour')": steps(
            ["view_item", "add_to_cart", "purchase"],
            ["name", "entered", "converted", "still_open", "lost", "share_of_first", "median_ms"],
        ),
        "FROM funnel('view_item', 'add_to_cart', 'begin_checkout', 'purchase', within => '1 hour')":
            steps(["view_item", "add_to_cart", "begin_checkout", "purchase"],
                  ["step", "name", "entered", "lost", "share_of_previous", "median_ms"]),
        "FROM funnel_visitors('view_item', 'add_to_cart', 'purchase', within => '1 hour', step => 2,"
        " outcome => 'lost')": (
            ["lost_in_the_cart"],
            [[funnel(events, ["view_item", "add_to_cart", "purchase"], HOUR)[1]["lost"]]],
        ),
        "FROM paths(starting => event_name = 'view_item', by => page_type, depth => 3, top => 3)":
            (["path", "count"], ways(events, named("view_item"), 3, 3, True)),
        "FROM paths(starting => page_type = 'product', by => page_type, depth => 4, top => 5)":
            (["path", "count"],
             ways(events, lambda event: event["page_type"] == "product", 4, 5, True)),
        "FROM paths(ending => event_name = 'begin_checkout', by => page_type, depth => 4, top => 3)":
            (["path", "count"], ways(events, named("begin_checkout"), 4, 3, False)),
        "FROM retention(started => event_name = 'view_item', returned => true, period => 'day',"
        " periods => 2) WHERE is_over": by_period(lambda day: (day + 1) * DAY <= horizon),
        "FROM retention(started => event_name = 'view_item', returned => true, period => 'day',"
        " periods => 2) GROUP BY": by_period(lambda _: True),
        "FROM retention(period => 'day', periods => 1)": (
            ["cohort", "period", "visitors", "returned"],
            [[date(cohort), period, *row] for (cohort, period), row in day_returns.items()],
        ),
        "FROM needs('delivery', within => '5s')": outcomes("in 5 s"),
        "FROM needs('delivery', within => '5s', max_clicks => 3)": outcomes("in 5 s, 3 clicks"),
        "FROM needs(raised_by => page_type = 'cart', found_by => event_name = 'info_exposed' AND"
        " info_key = 'returns', within => '3s', max_clicks => 1)": outcomes("returns, 1 click"),
        "round(associated_losses[1]['loss']) AS loss": (
            ["need", "page_template", "raised", "lost", "share_lost", "loss"],
            [[*key, of["raised"], of["lost"], of["share_lost"], of["losses"]["EUR"]]
             for key, of in pages.items()],
        ),
        "SELECT need, page_template, raised, abandoned, gave_up": (
            ["need", "page_template", "raised", "abandoned", "gave_up", "share_lost",
             "median_info_ms"],
            [[*key, *(of[c] for c in ("raised", "abandoned", "gave_up", "share_lost",
                                      "median_info_ms"))] for key, of in pages.items()],
        ),
        "unnest(associated_losses) AS l FROM needs_by_page": (
            ["need", "page_template", "currency", "loss"],
            [[*key, currency, loss] for key, of in pages.items()
             for currency, loss in of["losses"].items()],
        ),
    }


def cell(value):
    """As a table of the documents shows it: shares to 3 places, money to none."""
    if isinstance(value, Fraction):
        return f"{math.floor(value + Fraction(1, 2))}.0"
    return "" if value is None else str(round(value, 3) if isinstance(value, float) else value)


def blocks(text):
    """(SQL in one line, header, rows) of each statement with an answer."""
    found = re.findall(r"```sql\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL)
    for sql, answer in found:
        table = [[shown.strip() for shown in line.strip("|").split("|")]
                 for line in answer.splitlines() if line.startswith("|")]
        yield " ".join(sql.split()), table[0], table[1:]


def main(lake, *docs):
    told = []
    for doc in docs:
        with open(doc, encoding="utf-8") as file:
            told += blocks(file.read())
    wrong = compared = 0
    for statement, (columns, computed) in answers(lake).items():
        asked = [block for block in told if statement in block[0]]
        wanted = sorted([cell(value) for value in row] for row in computed)
        for sql, header, answer in asked:
            shown = sorted([row[header.index(column)] for column in columns] for row in answer)
            if shown != wanted:
                wrong += 1
                print(f"{sql}\n  says     {shown}\n  computed {wanted}")
        compared += len(asked)
        print(f"{len(wanted)} rows of {len(asked)} × {statement}")
    if compared < COMPARED_MIN:
        wrong += 1
        print(f"{compared} statements of {docs} are known here, fewer than {COMPARED_MIN}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
