// pg for Node against Footfall: log-in, every column of events, bound values, cancel by time-out.
// usage: node pg_client.js URL, with pg where NODE_PATH says.
const assert = require("node:assert");
const { Client } = require("pg");

async function main() {
  const client = new Client({ connectionString: process.argv[2] });
  await client.connect();
  const all = await client.query("SELECT * FROM events ORDER BY event_time LIMIT 50");
  assert.equal(all.rows.length, 50);
  assert.ok(all.fields.length > 50);
  assert.ok(all.rows[0].event_time instanceof Date);
  assert.ok(all.rows.some((row) => Object.values(row).includes(null)));
  const bound = await client.query(
    "SELECT count(*)::INT AS n FROM events WHERE event_name = $1 AND event_time >= $2 AND event_date > $3",
    ["view_item", new Date("2020-01-01T00:00:00Z"), "2020-01-01"],
  );
  assert.ok(bound.rows[0].n > 0);
  const nothing = await client.query({ name: "p", text: "SELECT $1::TEXT AS t, $2::DOUBLE PRECISION AS d", values: [null, 1.5] });
  assert.deepEqual(nothing.rows[0], { t: null, d: 1.5 });
  await client.query("SET statement_timeout = 300");
  const endless = "SELECT count(*) FROM generate_series(1, 100000000000)";
  await assert.rejects(client.query(endless), { code: "57014" });
  await assert.rejects(client.query("SELECT nothing FROM events"), { code: "42703", position: "8" });
  await client.end();
  console.log("pg for Node");
}

main();
