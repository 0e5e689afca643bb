#!/usr/bin/env python3
"""Prints random small logs as JSON lines for `footfall load`: random_logs.py VISITORS [SEED].

Times tie, with and without a counter that tells them apart; pauses are a session's gap, and what is
looked for is found on the microsecond of a need's deadline or one behind it; orders are told again,
visitors are machines or have no id.
"""

import datetime
import json
import random
import sys

BEGIN = datetime.datetime(2026, 3, 2, 8, tzinfo=datetime.timezone.utc)
PAUSES = [0, 0, 1, 400_000, 1_000_000, 2_999_999, 3_000_000, 3_000_001, 1_800_000_000, 1_800_000_001]
EVENTS_MAX = 9
KINDS = [
    lambda rng: {"event_name": "page_view", "page_type": rng.choice(["product", "cart", "home"])},
    lambda rng: {"event_name": "page_view", "page_type": rng.choice(["product", "cart"]),
                 "page_url": rng.choice(["https://shop.example/1", "https://shop.example/2"])},
    lambda rng: {"event_name": "view_item", "page_type": "product",
                 "page_url": rng.choice(["https://shop.example/1", "https://shop.example/2"])},
    lambda rng: {"event_name": "info_exposed", "visible_ms": rng.choice([0, 149, 150, 900]),
                 "info_key": rng.choice(["delivery_price", "delivery_time", "returns", "sizes"])},
    lambda rng: {"event_name": "info_exposed", "visible_ms": 900,
                 "info_key": rng.choice(["delivery_price", "returns"])},
    lambda rng: {"event_name": "click", "target": rng.choice(["a", "b"]), "x": 1, "y": 1},
    lambda rng: {"event_name": rng.choice(["scroll", "search"])},
    lambda rng: {"event_name": "heartbeat", "visible_ms": rng.choice([0, 900])},
]
PURCHASE = lambda rng: {"event_name": "purchase", "value": "10.00", "currency": "EUR",
                        **({"order_id": rng.choice("AB")} if rng.random() < 0.7 else {})}


def log(rng, visitor):
    """Events of a visitor in the order in which they happen."""
    time = BEGIN + datetime.timedelta(minutes=rng.randrange(3 * 24 * 60))
    whose = {"site": rng.choice(["north", "south"])}
    if rng.random() < 0.97:
        whose["visitor_id"] = f"v{visitor // 2}"
    if rng.random() < 0.05:
        whose["bot"] = "of a test"
    for number in range(rng.randrange(1, EVENTS_MAX + 1)):
        kind = PURCHASE if rng.random() < 0.08 else rng.choice(KINDS)
        event = {"event_id": f"{rng.randrange(100):02}-{visitor}-{number}", **whose, **kind(rng)}
        event["timestamp"] = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
        if rng.random() < 0.8:
            event["seq"] = rng.randrange(6)
        if "page_type" in event:
            event["page_path"] = "/" + event["page_type"]
            if rng.random() < 0.1:
                event["visible_ms"] = 0
        yield event
        time += datetime.timedelta(microseconds=rng.choice(PAUSES))


def main(visitors, seed="1"):
    rng = random.Random(int(seed))
    events = [event for visitor in range(int(visitors)) for event in log(rng, visitor)]
    rng.shuffle(events)
    for event in events:
        print(json.dumps(event))


if __name__ == "__main__":
    main(*sys.argv[1:])
