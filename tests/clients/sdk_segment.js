// Segment's Node SDK, as a shop uses it: sdk_segment.js URL WRITE_KEY
const { Analytics } = require("@segment/analytics-node");

const [host, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushInterval: 200 });
const anonymousId = "a1";
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
analytics.identify({ userId: "u1", anonymousId, traits: { plan: "pro" } });
analytics.page({ anonymousId, name: "Lamps", properties: { url: "https://shop.example/lamps", path: "/lamps" } });
analytics.track({
  anonymousId,
  event: "Order Completed",
  properties: {
    order_id: "o1",
    currency: "EUR",
    revenue: 44.7,
    products: [{ product_id: "p1", name: "Lamp", price: 19.9, quantity: 2 }],
  },
});
analytics.track({ anonymousId, event: "Size Chosen", properties: { section: "sizes", size: 42 } });
analytics.group({ userId: "u1", groupId: "g1" });
analytics.alias({ userId: "u1", previousId: anonymousId });
analytics.screen({ anonymousId, name: "Home" });
analytics.closeAndFlush();
