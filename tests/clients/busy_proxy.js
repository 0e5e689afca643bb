// A collector that is overloaded now and then: busy_proxy.js COLLECTOR
// Passes requests on, and answers every third of them 503: as it was refused, or, in turns, as it was taken and its
// answer lost. Prints its port; at its end, how many were answered so.
const http = require("http");

const target = new URL(process.argv[2]);
let requests = 0;
let busy = 0;

function pass(request, body, then) {
  const { method, url: path, headers } = request;
  const passed = http.request({ hostname: target.hostname, port: target.port, method, path, headers }, (answer) => {
    const parts = [];
    answer.on("data", (part) => parts.push(part));
    answer.on("end", () => then(answer, Buffer.concat(parts)));
  });
  passed.end(body);
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    requests += 1;
    const isBusy = requests % 3 === 0;
    busy += isBusy;
    const refuse = () => response.writeHead(503, { "Retry-After": "1" }).end();
    if (isBusy && busy % 2 === 1) return refuse();
    return pass(request, Buffer.concat(parts), (answer, body) => {
      if (isBusy) return refuse();
      return response.writeHead(answer.statusCode, answer.headers).end(body);
    });
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => {
  console.log(busy);
  process.exit();
});
