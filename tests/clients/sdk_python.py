"""Segment's and Snowplow's Python SDKs, as a shop uses them: sdk_python.py URL WRITE_KEY"""

import logging
import sys
from urllib.parse import urlsplit

from segment.analytics import Client
from snowplow_tracker import Emitter, PageView, StructuredEvent, Subject, Tracker

logging.getLogger("snowplow_tracker").setLevel(logging.WARNING)
url, key = sys.argv[1:3]


def failed(error, _):
    print(error, file=sys.stderr)
    sys.exit(1)


segment = Client(key, host=url, gzip=True, on_error=failed)
segment.identify(user_id="u7", anonymous_id="a7", traits={"plan": "pro"})
segment.page(anonymous_id="a7", name="Lamps", properties={"path": "/lamps"})
product = {"product_id": "p1", "name": "Lamp", "price": 19.9, "quantity": 2}
segment.track(
    anonymous_id="a7",
    event="Order Completed",
    properties={"order_id": "o7", "currency": "EUR", "revenue": 44.7, "products": [product]},
)
segment.shutdown()

at = urlsplit(url)
emitter = Emitter(
    at.hostname,
    protocol=at.scheme,
    port=at.port,
    method="post",
    batch_size=10,
    on_failure=lambda count, events: failed(f"{count} were sent, {len(events)} were not", events),
)
subject = Subject().set_user_id("u8").set_domain_user_id("a8")
snowplow = Tracker("shop", emitters=emitter, subject=subject, app_id=key)
snowplow.track(PageView(page_url="https://shop.example/lamps", page_title="Lamps"))
snowplow.track(StructuredEvent(category="shop", action="size-chosen", label="42"))
snowplow.flush()
