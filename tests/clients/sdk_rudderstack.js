// RudderStack's Node SDK, as a shop uses it: sdk_rudderstack.js URL WRITE_KEY
const Analytics = require("@rudderstack/rudder-sdk-node");

const [dataPlaneUrl, writeKey] = process.argv.slice(2);
const analytics = new Analytics(writeKey, { dataPlaneUrl, flushInterval: 200 });
const anonymousId = "a2";
analytics.identify({ userId: "u2", traits: { plan: "pro" } });
analytics.page({ anonymousId, name: "Lamps", properties: { path: "/lamps" } });
analytics.track({
  anonymousId,
  event: "Product Added",
  properties: { product_id: "p1", name: "Lamp", price: 19.9, quantity: 2, currency: "EUR" },
});
analytics.flush((error) => {
  if (error) {
    console.error(error);
    process.exitCode = 1;
  }
});
