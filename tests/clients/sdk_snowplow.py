"""Snowplow's Python tracker, as a shop uses it: sdk_snowplow.py URL WRITE_KEY"""

import logging
import sys
from urllib.parse import urlsplit

from snowplow_tracker import Emitter, PageView, StructuredEvent, Subject, Tracker

logging.getLogger("snowplow_tracker").setLevel(logging.WARNING)
url, key = sys.argv[1:3]


def failed(count, events):
    print(f"{count} were sent, {len(events)} were not", file=sys.stderr)
    sys.exit(1)


at = urlsplit(url)
emitter = Emitter(
    at.hostname,
    protocol=at.scheme,
    port=at.port,
    method="post",
    batch_size=10,
    on_failure=failed,
)
subject = Subject().set_user_id("u8").set_domain_user_id("a8")
snowplow = Tracker("shop", emitters=emitter, subject=subject, app_id=key)
snowplow.track(PageView(page_url="https://shop.example/lamps", page_title="Lamps"))
snowplow.track(StructuredEvent(category="shop", action="size-chosen", label="42"))
snowplow.flush()
