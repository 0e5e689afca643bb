// Stands before a collector: proxy.js COLLECTOR EVERY
// Passes requests on and, unless EVERY is 0, answers each EVERY-th that has events 503: as it was refused, or, in turns, as it
// was taken and its answer lost. Prints its port; at its end, as JSON, how many were answered so (`busy`), the ids of
// events whose sender was told that they are taken (`taken`), and what was posted as Snowplow's payload_data (`payloads`).
const http = require("http");
const zlib = require("zlib");

const target = new URL(process.argv[2]);
const every = Number(process.argv[3]);
let requests = 0;
let busy = 0;
const taken = new Set();
const payloads = [];

function pass(request, body, then) {
  const { method, url: path, headers } = request;
  const passed = http.request({ hostname: target.hostname, port: target.port, method, path, headers }, (answer) => {
    const parts = [];
    answer.on("data", (part) => parts.push(part));
    answer.on("end", () => then(answer, Buffer.concat(parts)));
  });
  passed.end(body);
}

// The events' ids by the names that SDKs give them, wherever they stand.
function note(request, body) {
  const isPacked = body[0] === 0x1f && body[1] === 0x8b;
  const text = (isPacked ? zlib.gunzipSync(body) : body).toString();
  for (const [, id] of text.matchAll(/"(?:messageId|eid)":\s*"([^"]+)"/g)) taken.add(id);
  const inQuery = new URL(request.url, target).searchParams.get("eid");
  if (inQuery) taken.add(inQuery);
  if (request.url.endsWith("/tp2")) payloads.push(JSON.parse(text).data);
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    const hasEvents = request.method === "POST" || request.url.startsWith("/i?");
    requests += hasEvents;
    const isBusy = hasEvents && every > 0 && requests % every === 0;
    busy += isBusy;
    const refuse = () => response.writeHead(503, { "Retry-After": "1" }).end();
    if (isBusy && busy % 2 === 1) return refuse();
    return pass(request, body, (answer, answered) => {
      if (isBusy) return refuse();
      if (hasEvents && answer.statusCode < 300) note(request, body);
      return response.writeHead(answer.statusCode, answer.headers).end(answered);
    });
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => {
  console.log(JSON.stringify({ busy, taken: [...taken], payloads }));
  process.exit();
});
