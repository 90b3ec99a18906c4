// APNs, FCM and Google's token endpoint as their documentation describes them, on the loopback over TLS (HTTP/2, and
// HTTP/1.1 where a client wants that) and once more as plain HTTP/2. providers.py starts it and says how to give orders.
//
// argv: a JSON file {cert, private, apns: {key_id: PEM}, accounts: {email: PEM}, project}; stdout: {"tls": port, "plain": port}

const crypto = require('node:crypto');
const fs = require('node:fs');
const http2 = require('node:http2');

const set = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const keysOf = (pems) => new Map(Object.entries(pems).map(([name, pem]) => [name, crypto.createPublicKey(pem)]));
const apnsKeys = keysOf(set.apns);
const accounts = keysOf(set.accounts);
const TOKEN_ENDPOINT = 'https://oauth2.googleapis.com/token'; // what an assertion is made for, wherever it is sent
const SCOPE = 'https://www.googleapis.com/auth/firebase.messaging';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

let connections = 0;
let orders = {};
let asked = [];
let grants = [];
const counts = {};
const accessTokens = new Map();
const providerTokens = new Map();
const seen = new Set();

// ── What is asked ────────────────────────────────────────────────────────────────────────────────────────────────────

function serve(request, response) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => answer(request, response, Buffer.concat(parts)));
  request.on('error', () => {});
  response.on('error', () => {});
}

function answer(request, response, body) {
  const path = request.url.replace(/^\/sandbox/, '');
  if (path.startsWith('/3/device/')) return provide('apns', apns, request, response, body);
  if (/^\/v1\/projects\/[^/]+\/messages:send$/.test(path)) return provide('fcm', fcm, request, response, body);
  if (path === '/token') return oauth(request, response, body);
  if (path === '/asked') return control(request, response, body);
  return say(response, 404, {}, '{"error":"no such path"}');
}

function provide(provider, judge, request, response, body) {
  const [token, said] = judge(request, body);
  const word = said ? null : orderOf(provider, token);
  const id = provider === 'apns' ? request.headers['apns-id'] : `projects/${set.project}/messages/${asked.length}`;
  const note = {
    provider, token, id, path: request.url, order: word && word.text, version: request.httpVersion,
    connection: numberOf(request),
    headers: provider === 'apns' ? request.headers : undefined, body: body.toString(), status: 0,
  };
  asked.push(note);
  const reply = (status, headers, text) => {
    note.status = status;
    counts[`${provider} ${status}`] = (counts[`${provider} ${status}`] || 0) + 1;
    if (provider === 'apns') headers = { 'apns-id': id, ...headers };
    say(response, status, headers, text);
  };
  if (said) return reply(...said);
  const accept = () => (provider === 'apns' ? reply(200, {}, '') : reply(200, {}, JSON.stringify({ name: id })));
  if (!word) return accept();
  return obey(word, { provider, request, response, reply, accept });
}

// ── Orders ───────────────────────────────────────────────────────────────────────────────────────────────────────────

function orderOf(provider, token) {
  const text = provider === 'apns' ? Buffer.from(token, 'hex').toString('latin1') : token;
  const found = /^(once-)?([a-z]+)-([A-Za-z0-9_-]*)/.exec(text);
  if (!found || !(found[2] in ORDERS)) return null;
  if (found[1] && seen.has(text)) return null;
  if (found[1]) seen.add(text);
  return { text: found[0], name: found[2], rest: found[3].split('-') };
}

const refuse = {
  apns: (status, reason, more) => [status, {}, JSON.stringify({ reason, ...more })],
  fcm: (status, code, { message = code, fields, canonical } = {}) => {
    const details = [{ '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode: code }];
    if (fields) {
      const fieldViolations = fields.map((field) => ({ field, description: message }));
      details.push({ '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations });
    }
    return [status, {}, JSON.stringify({ error: { code: status, message, status: canonical || code, details } })];
  },
};
const NO_TOKEN = 'The registration token is not a valid FCM registration token';

const ORDERS = {
  gone: (at) => at.reply(...(at.provider === 'apns'
    ? refuse.apns(410, 'Unregistered', { timestamp: 1700000000123 })
    : refuse.fcm(404, 'UNREGISTERED', { canonical: 'NOT_FOUND', message: 'Requested entity was not found.' }))),
  bad: (at) => at.reply(...(at.provider === 'apns'
    ? refuse.apns(400, 'BadDeviceToken') : refuse.fcm(400, 'INVALID_ARGUMENT', { message: NO_TOKEN }))),
  // answer-403-InvalidProviderToken, answer-403-SENDER_ID_MISMATCH
  answer: (at, [status, code]) => at.reply(...refuse[at.provider](Number(status), code)),
  // busy-7: too many requests, try again in 7 seconds
  busy: (at, [seconds]) => {
    const [status, , text] = refuse[at.provider](429, at.provider === 'apns' ? 'TooManyRequests' : 'QUOTA_EXCEEDED');
    at.reply(status, { 'retry-after': seconds || '1' }, text);
  },
  down: (at) => at.reply(503, {}, at.provider === 'apns' ? '{"reason":"ServiceUnavailable"}' : '<html>'),
  slow: (at, [millis]) => setTimeout(at.accept, Number(millis) || 1000),
  never: () => {},
  large: (at) => at.reply(200, {}, 'x'.repeat(1024 * 1024)),
  moved: (at) => at.reply(302, { location: '/elsewhere' }, ''),
  broken: (at) => socketOf(at).destroy(),
  half: (at) => {
    at.response.writeHead(200, { 'content-length': '1000' });
    at.response.write('x'.repeat(10));
    setTimeout(() => socketOf(at).destroy(), 20);
  },
  // The server ends its side and listens on, as a firewall or a dying host may leave it.
  deaf: (at) => socketOf(at).end(),
  reset: (at) => (at.request.stream ? at.request.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM) : socketOf(at).destroy()),
  // Answered, and then the server wants no more on this connection.
  goaway: (at) => { at.accept(); if (at.request.stream) at.request.stream.session.goaway(0); },
  // No more streams after this one, which is answered only later.
  leaving: (at) => { if (at.request.stream) at.request.stream.session.goaway(0); setTimeout(at.accept, 50); },
};

const obey = (word, at) => ORDERS[word.name](at, word.rest);
const socketOf = (at) => sockets.get(numberOf(at.request));
const numberOf = (request) => (request.stream ? request.stream.session.socket : request.socket).number;

// ── APNs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

function apns(request, body) {
  const headers = request.headers;
  const token = request.url.replace(/^.*\/3\/device\//, '');
  const no = (status, reason) => [token, refuse.apns(status, reason)];
  if (request.method !== 'POST') return no(405, 'MethodNotAllowed');
  const wrong = providerToken(headers.authorization);
  if (wrong) return no(403, wrong);
  if (!/^([0-9a-f]{2}){16,}$/i.test(token)) return no(400, 'BadDeviceToken');
  const voip = headers['apns-push-type'] === 'voip';
  if (!headers['apns-topic']) return no(400, 'MissingTopic');
  if (voip !== headers['apns-topic'].endsWith('.voip')) return no(400, 'BadTopic');
  if (!['alert', 'background', 'voip'].includes(headers['apns-push-type'])) return no(400, 'InvalidPushType');
  if (!['1', '5', '10'].includes(headers['apns-priority'])) return no(400, 'BadPriority');
  if (headers['apns-push-type'] === 'background' && headers['apns-priority'] !== '5') return no(400, 'BadPriority');
  if (!UUID.test(headers['apns-id'])) return no(400, 'BadMessageId');
  if (!/^\d+$/.test(headers['apns-expiration'])) return no(400, 'BadExpirationDate');
  if (!headers['apns-collapse-id'] || headers['apns-collapse-id'].length > 64) return no(400, 'BadCollapseId');
  if (!body.length) return no(400, 'PayloadEmpty');
  if (body.length > (voip ? 5120 : 4096)) return no(413, 'PayloadTooLarge');
  if (!isObject(JSON.parse(body).aps)) return no(400, 'PayloadEmpty');
  return [token, null];
}

function providerToken(header) {
  const token = /^bearer (.+)$/.exec(header || '')?.[1];
  if (!token) return 'MissingProviderToken';
  if (!providerTokens.has(token)) {
    const [head, claims, right] = readJwt(token, (found) => apnsKeys.get(found.kid), 'ES256');
    if (!right || !/^\w{10}$/.test(claims.iss) || !Number.isInteger(claims.iat)) return 'InvalidProviderToken';
    providerTokens.set(token, { kid: head.kid, iss: claims.iss, iat: claims.iat });
  }
  const { iat } = providerTokens.get(token);
  const now = Date.now() / 1000;
  if (orders.apns === 'expired' && [...providerTokens.keys()][0] === token) return 'ExpiredProviderToken';
  // "no more than one hour from the current time", in either direction
  return Math.abs(now - iat) > 3600 || orders.apns === 'all expired' ? 'ExpiredProviderToken' : '';
}

// ── FCM ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

// Fields and types as in Google's discovery document of FCM v1, revision 20261023 (Notification, AndroidConfig,
// AndroidNotification); of the latter those that are texts or lists of texts.
const STRINGS = ['title', 'body', 'image'];
const ANDROID_STRINGS = [...STRINGS, 'icon', 'color', 'sound', 'tag', 'click_action', 'body_loc_key', 'title_loc_key',
  'channel_id', 'ticker'];

function fcm(request, body) {
  const access = accessTokens.get(/^Bearer (.+)$/.exec(request.headers.authorization || '')?.[1]);
  const unauthenticated = { error: { code: 401, message: 'Request had invalid authentication credentials.', status: 'UNAUTHENTICATED' } };
  if (!access || access.until < Date.now()) return ['', [401, {}, JSON.stringify(unauthenticated)]];
  if (request.url !== `/v1/projects/${set.project}/messages:send`) {
    const denied = { error: { code: 403, message: 'Permission denied', status: 'PERMISSION_DENIED' } };
    return ['', [403, {}, JSON.stringify(denied)]];
  }
  const { message, validate_only: dry, ...rest } = JSON.parse(body);
  const field = Object.keys(rest).length ? 'request' : wrongField(message);
  if (field) return [message?.token, refuse.fcm(400, 'INVALID_ARGUMENT', { message: `Invalid value at '${field}'`, fields: [field] })];
  if (!/^[\w:-]{20,}$/.test(message.token)) return [message.token, refuse.fcm(400, 'INVALID_ARGUMENT', { message: NO_TOKEN })];
  if (dry) return [message.token, [200, {}, JSON.stringify({ name: `projects/${set.project}/messages/fake_message_id` })]];
  return [message.token, null];
}

function wrongField(message) {
  const { token, data = {}, android = {}, notification = {}, ...rest } = message || {};
  if (typeof token !== 'string' || Object.keys(rest).length) return 'message';
  if (!areStrings(data)) return 'message.data[0].value';
  if (Object.keys(data).some((key) => /^(from|message_type|gcm|google)$|^(google|gcm)\./.test(key))) return 'message.data';
  if (!areStrings(notification, STRINGS)) return 'message.notification';
  const { priority, ttl, notification: shown = {}, ...more } = android;
  if (Object.keys(more).length || !['high', 'normal'].includes(priority)) return 'message.android';
  if (!/^\d+s$/.test(ttl) || parseInt(ttl, 10) > 2419200) return 'message.android.ttl';
  const { body_loc_args: first = [], title_loc_args: second = [], ...strings } = shown;
  if (!areStrings(strings, ANDROID_STRINGS) || !areStrings([...first, ...second])) return 'message.android.notification';
  const size = Buffer.byteLength(Object.entries({ ...data, ...notification }).flat().join(''));
  return size > 4096 ? 'message' : '';
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const areStrings = (values, names) => Object.entries(values)
  .every(([name, value]) => typeof value === 'string' && (!names || names.includes(name)));

// ── Google's token endpoint ──────────────────────────────────────────────────────────────────────────────────────────

function oauth(request, response, body) {
  const form = new URLSearchParams(body.toString());
  grants.push({ version: request.httpVersion, order: orders.oauth || '' });
  const done = () => say(response, ...grant(form));
  if (orders.oauth === 'never') return undefined;
  return orders.oauth === 'slow' ? setTimeout(done, 300) : done();
}

function grant(form) {
  const no = (status, error, description) => [status, {}, JSON.stringify({ error, error_description: description })];
  if (orders.oauth === '500') return [500, {}, 'internal failure'];
  if (orders.oauth === 'html') return [200, {}, '<html>'];
  if (orders.oauth === 'list') return [400, {}, '[]'];
  if (orders.oauth === 'denied') return [403, {}, '<html>'];
  if (orders.oauth === 'busy') return [429, { 'retry-after': '30' }, '{"error":"rate_limit_exceeded"}'];
  if (orders.oauth === 'refused') return no(400, 'invalid_grant', 'Invalid JWT Signature.');
  if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') return no(400, 'unsupported_grant_type', '');
  const [, claims, right] = readJwt(form.get('assertion') || '', (_head, found) => accounts.get(found.iss), 'RS256');
  const now = Date.now() / 1000;
  if (!right) return no(400, 'invalid_grant', 'Invalid JWT Signature.');
  if (claims.aud !== TOKEN_ENDPOINT || claims.exp <= now || claims.exp > claims.iat + 3600 || claims.iat > now + 60) {
    return no(400, 'invalid_grant', 'Invalid JWT: check the iat, exp and aud values.');
  }
  if (claims.scope !== SCOPE) return no(400, 'invalid_scope', 'the scope');
  const token = `ya29.${crypto.randomBytes(24).toString('base64url')}`;
  const seconds = orders.oauth === 'short' ? 100 : 3599;
  accessTokens.set(token, { until: Date.now() + seconds * 1000 });
  return [200, {}, JSON.stringify({ access_token: token, expires_in: seconds, token_type: 'Bearer' })];
}

function readJwt(token, keyFor, algorithm) {
  const none = [{}, {}, false];
  const [head, claims, signature] = token.split('.');
  if (!signature) return none;
  const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
  try {
    const [header, payload] = [read(head), read(claims)];
    const key = keyFor(header, payload);
    if (!key || header.alg !== algorithm) return none;
    const how = algorithm === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' } : key;
    const right = crypto.verify('sha256', Buffer.from(`${head}.${claims}`), how, Buffer.from(signature, 'base64url'));
    return [header, payload, right];
  } catch {
    return none;
  }
}

// ── What tests ask ───────────────────────────────────────────────────────────────────────────────────────────────────

function control(request, response, body) {
  if (request.method === 'PUT') {
    orders = { ...orders, ...JSON.parse(body) };
    if (orders.fcm === 'revoked') { accessTokens.clear(); delete orders.fcm; }
  }
  if (request.method === 'DELETE') {
    [orders, asked, grants, connections] = [{}, [], [], 0];
    for (const name of Object.keys(counts)) delete counts[name];
    seen.clear();
  }
  const tokens = [...providerTokens.values()];
  const whole = { connections, open: sockets.size, counts, grants, tokens, asked };
  return say(response, 200, { 'content-type': 'application/json' }, JSON.stringify(whole));
}

function say(response, status, headers, text) {
  if (response.destroyed || response.stream?.destroyed) return;
  if (text === '' && response.stream) return void response.stream.respond({ ':status': status, ...headers }, { endStream: true }); // as Apple: no DATA frame
  response.writeHead(status, { 'content-length': String(Buffer.byteLength(text)), ...headers });
  response.end(text);
}

// ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const sockets = new Map();
let number = 0;

function listen(server, then) {
  server.on('request', serve);
  server.on('session', (session) => session.on('error', () => {}));
  server.on('sessionError', () => {});
  server.on('clientError', () => {});
  server.on('tlsClientError', () => {});
  server.on(server.setSecureContext ? 'secureConnection' : 'connection', (socket) => {
    connections += 1;
    number += 1;
    socket.number = number;
    sockets.set(number, socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket.number));
  });
  server.listen(0, '127.0.0.1', () => then(server.address().port));
}

process.on('uncaughtException', (error) => process.stderr.write(`${error.stack}\n`));
const settings = { maxConcurrentStreams: 1000 };
const secure = http2.createSecureServer({ cert: set.cert, key: set.private, allowHTTP1: true, settings });
listen(secure, (tls) => listen(http2.createServer({ settings }), (plain) => console.log(JSON.stringify({ tls, plain }))));
