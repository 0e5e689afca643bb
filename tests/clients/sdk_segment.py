"""Segment's Python SDK, as a shop uses it: sdk_segment.py URL WRITE_KEY"""

import sys

from segment.analytics import Client

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
