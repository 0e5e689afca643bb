// Storefronts' browser SDKs in a real browser, on pages of a shop: sdk_browser.js URL WRITE_KEY PAGE_PORT [busy]
// Each page is left when the collector has answered its events; what an SDK sends then is sent as well. Of a collector that is
// busy now and then only those answers count that are no refusal, and a page whose SDK gives up is left after a while.
const fs = require("fs");
const http = require("http");
const path = require("path");
const { chromium } = require("playwright-core");

const [collector, writeKey, port, busy] = process.argv.slice(2);
const PATIENCE_MS = busy ? 15_000 : 60_000;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const scripts = {
  "/segment.js": "@segment/analytics-next/dist/umd/index.js",
  "/rudderstack.js": "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js",
  "/snowplow.js": "@snowplow/browser-tracker/dist/index.umd.js",
};
const rudderstack = (visitor, useBeacon) => `<script src="/rudderstack.js"></script><script>
  const analytics = new window.rudderanalytics.RudderAnalytics();
  analytics.load(KEY, COLLECTOR, { configUrl: COLLECTOR, useBeacon: ${useBeacon} });
  analytics.setAnonymousId("${visitor}");
  analytics.page("Shop", "Lamps");
  analytics.track("Product Added", { product_id: "p1", name: "Lamp", price: 19.9, quantity: 2, currency: "EUR" });
</script>`;
const snowplow = (user, eventMethod) => `<script src="/snowplow.js"></script><script>
  const { newTracker, trackPageView, trackStructEvent, setUserId } = window.snowplowBrowserTracking;
  newTracker("sp", COLLECTOR, { appId: KEY, eventMethod: "${eventMethod}", contexts: { webPage: true, session: true } });
  setUserId("${user}");
  trackPageView();
  trackStructEvent({ category: "shop", action: "size-chosen", label: "42" });
</script>`;
const segment = (visitor, user, settings) => `<script src="/segment.js"></script><script>
  const analytics = window.AnalyticsNext.AnalyticsBrowser.load(
    { writeKey: KEY, cdnURL: COLLECTOR }, { integrations: { "Segment.io": ${JSON.stringify(settings)} } });
  analytics.setAnonymousId("${visitor}");
  analytics.page("Lamps");
  analytics.identify("${user}", { plan: "pro" });
  analytics.track("Product Viewed", { product_id: "p1", name: "Lamp", price: 19.9, currency: "EUR" });
</script>`;
const batching = { strategy: "batching", config: { size: 3, timeout: 60_000 } };
// The body of each page, and how many requests with events are answered before it is left. To those that end with `direct` no
// campaign leads.
const pages = {
  "/segment": [segment("b1", "u4", { protocol: "http" }), 3],
  "/segment-batch": [segment("b4", "u7", { protocol: "http", deliveryStrategy: batching }), 1],
  "/rudderstack": [rudderstack("b2", false), 2],
  "/rudderstack-direct": [rudderstack("b5", false), 2],
  "/rudderstack-beacon": [rudderstack("b3", true), 0],
  "/snowplow": [snowplow("u5", "post"), 1],
  "/snowplow-get": [snowplow("u6", "get"), 2],
};

function serve(request, response) {
  const name = request.url.split("?")[0];
  const script = scripts[name];
  response.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  if (script) return response.end(fs.readFileSync(path.join(__dirname, "node_modules", script)));
  const [body] = pages[name] || [""];
  const filled = body.replaceAll("KEY", JSON.stringify(writeKey)).replaceAll("COLLECTOR", JSON.stringify(collector));
  return response.end(`<!doctype html><title>Lamps - Shop</title><body>${filled}</body>`);
}

async function visit(browser, name, count) {
  const page = await browser.newPage({ locale: "de-DE" });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  const isOfEvents = (request) =>
    request.method() === "POST" || (request.url().startsWith(collector) && request.url().includes("/i?"));
  let answered = 0;
  const all = new Promise((resolve, reject) => {
    const missing = () => new Error(`${name}: ${answered} of ${count} answers: ${errors}`);
    const late = setTimeout(() => (busy ? resolve() : reject(missing())), PATIENCE_MS);
    const look = () => answered >= count && (clearTimeout(late), resolve());
    page.on("response", (response) => {
      if (isOfEvents(response.request())) {
        const isTaken = response.status() === 200;
        if (!isTaken && !busy) errors.push(`${response.status()} of ${response.url()}`);
        answered += isTaken || !busy;
        look();
      }
    });
    look();
  });
  await page.goto(`http://localhost:${port}${name}${name.endsWith("direct") ? "" : "?utm_source=news"}`);
  await page.waitForFunction(() => document.readyState === "complete");
  // An SDK that sends nothing before a page is left must have begun at least.
  if (count === 0) await page.waitForFunction(() => window.localStorage.length > 0);
  await all;
  await page.goto("about:blank");
  await page.close();
  if (errors.length) throw new Error(`${name}: ${errors}`);
}

(async () => {
  const shop = http.createServer(serve);
  await new Promise((listening) => shop.listen(Number(port), "localhost", listening));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: FLAGS });
  for (const [name, [, count]] of Object.entries(pages)) await visit(browser, name, count);
  await browser.close();
  shop.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
