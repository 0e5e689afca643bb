// A shop's server that reports to GA4's Measurement Protocol, for which there is no SDK: measurement_protocol.js URL WRITE_KEY
// What is answered 503 it sends again, as it was.
const [url, key] = process.argv.slice(2);
const body = JSON.stringify({
  client_id: "a9",
  user_id: "u9",
  timestamp_micros: String(Date.now() * 1000 + (process.pid % 1000)),
  events: [
    { name: "page_view", params: { page_location: "https://shop.example/lamps?a=b", page_title: "Lamps", session_id: "s9" } },
    {
      name: "purchase",
      params: {
        transaction_id: "o9",
        currency: "EUR",
        value: 44.7,
        items: [{ item_id: "p1", item_name: "Lamp", price: 19.9, quantity: 2 }],
      },
    },
  ],
});

(async () => {
  for (let times = 0; times < 20; times += 1) {
    const answer = await fetch(`${url}/mp/collect?measurement_id=G-1&api_secret=${key}`, { method: "POST", body });
    if (answer.ok) return;
    if (answer.status !== 503) throw new Error(`${answer.status}: ${await answer.text()}`);
  }
  throw new Error("always 503");
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
