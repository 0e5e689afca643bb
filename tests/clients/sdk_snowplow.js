// Snowplow's Node tracker, as a shop uses it: sdk_snowplow.js URL WRITE_KEY
const { newTracker, buildPageView, buildSelfDescribingEvent, buildStructEvent } = require("@snowplow/node-tracker");

const [url, appId] = process.argv.slice(2);
const { hostname, port, protocol } = new URL(url);
const failed = (_, error) => {
  console.error(error);
  process.exitCode = 1;
};
const collector = { endpoint: hostname, port, protocol: protocol.slice(0, -1), onRequestFailure: failed };
const tracker = newTracker({ namespace: "shop", appId }, collector);
tracker.setUserId("u3");
tracker.setDomainUserId("a3");
tracker.track(buildPageView({ pageUrl: "https://shop.example/lamps", pageTitle: "Lamps" }));
tracker.track(buildStructEvent({ category: "shop", action: "size-chosen", label: "42" }));
const action = "iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2";
const product = "iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0";
tracker.track(buildSelfDescribingEvent({ event: { schema: action, data: { type: "add_to_cart" } } }), [
  { schema: product, data: { id: "p1", name: "Lamp", category: "lights", price: 19.9, quantity: 2, currency: "EUR" } },
]);
tracker.flush();
