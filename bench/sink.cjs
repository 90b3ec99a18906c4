// A provider that takes every push and remembers none: it answers as APNs, FCM and a Web Push service do, and counts.
// sinks.py starts it.
//
// argv: a JSON file {cert, private}; stdout: {"pushes": port of HTTP/2, "others": port of HTTP/1.1}, both with TLS
//
// others: POST /token is Google's token endpoint; GET /counts tells what came, and when in ms since 1970; DELETE /counts
// forgets that, with ?wait=MS answers come so much later from then on

const fs = require('node:fs');
const http2 = require('node:http2');
const https = require('node:https');

const { cert, private: key } = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const FCM = Buffer.from('{"name":"projects/demo-ringbook/messages/1"}');
const JSON_TYPE = { 'content-type': 'application/json' };

const nothing = () => ({ pushes: 0, bytes: 0, connections: 0, first: null, last: null });
let counts = nothing();
let wait = 0;

const pushes = http2.createSecureServer({ cert, key, settings: { maxConcurrentStreams: 1000 } });
pushes.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  stream.on('data', (part) => { counts.bytes += part.length; });
  stream.on('end', () => {
    counts.pushes += 1;
    counts.last = Date.now();
    counts.first ??= counts.last;
    if (wait) setTimeout(answer, wait, stream, headers[':path']);
    else answer(stream, headers[':path']);
  });
});
pushes.on('session', (session) => {
  counts.connections += 1;
  session.on('error', () => {});
});
pushes.on('sessionError', () => {});

function answer(stream, path) {
  if (stream.destroyed) return;
  if (path.startsWith('/3/device/')) return stream.respond({ ':status': 200 }, { endStream: true });
  if (!path.startsWith('/v1/')) return stream.respond({ ':status': 201 }, { endStream: true });
  stream.respond({ ':status': 200, ...JSON_TYPE });
  return stream.end(FCM);
}

const others = https.createServer({ cert, key }, (request, response) => {
  const asked = new URL(request.url, 'https://sink');
  if (request.method === 'DELETE') {
    counts = nothing();
    wait = Number(asked.searchParams.get('wait'));
  }
  const token = { access_token: 'any', expires_in: 3599, token_type: 'Bearer' };
  request.resume();
  response.writeHead(200, JSON_TYPE);
  response.end(JSON.stringify(asked.pathname === '/token' ? token : counts));
});

const listening = (server) => new Promise((done) => {
  server.listen(0, '127.0.0.1', () => done(server.address().port));
});
Promise.all([listening(pushes), listening(others)])
  .then(([first, second]) => console.log(JSON.stringify({ pushes: first, others: second })));
