#!/usr/bin/env node
// Signs in by one-time codes with the unmodified npm package `connectycube`. The codes come from the gateway for
// development, which prints them into the server's log.
//
//   node sign_in_by_code.mjs --endpoint URL --app-id 1 --auth-key KEY --log FILE
//
// Prints a line for each thing that was seen; the first one that is not as expected ends it with status 1.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import connectycube from 'connectycube';

const names = ['endpoint', 'app-id', 'auth-key', 'log'];
const { values: args } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
for (const name of names) assert(args[name], `missing --${name}`);

const ANN = '+12025550142';
const ANN_LATER = '+12025550143';
let seen = 0;
const see = (what) => console.log(`${++seen} ${what}`);
const sentCode = () => readFileSync(args.log, 'utf8').match(/(\d{6}) is your code/g).at(-1).slice(0, 6);
const app = () => {
  const client = new connectycube.ConnectyCube();
  const endpoints = { api_url: args.endpoint };
  client.init({ appId: Number(args['app-id']), authKey: args['auth-key'] }, { endpoints, debug: { mode: 0 } });
  return client;
};

// As docs/how-to/phone-sign-in.md has it.
const askForCode = async (client, number) => {
  const asked = await client.service.ajax({
    type: 'POST',
    url: client.utils.getUrl('login'),
    data: { provider: 'phone', phone: { number } },
  });
  return asked.verification.request_id;
};

const client = app();
await client.createSession();
const request_id = await askForCode(client, ANN);
const code = sentCode();
const user = await client.login({ provider: 'phone', phone: { request_id, code } });
assert.equal(user.phone, ANN);
assert.deepEqual(await client.addressbook.get(), []);
see('both steps sign somebody in');

const lost = app();
await lost.createSession();
const again = await lost.login({ provider: 'phone', phone: { request_id, code } });
assert.equal(again.id, user.id);
see('an answer that was lost is asked for again');

const early = await askForCode(client, ANN).catch((error) => error);
assert.equal(early.code, 429, JSON.stringify(early));
see('a second code has to wait');

const dropped = await app()
  .createSession({ provider: 'phone', phone: { request_id, code } })
  .catch((error) => error);
assert.equal(dropped.code, 422, JSON.stringify(dropped));
see('createSession drops the code, and that is no session of the application');

const asked = await askForCode(client, ANN_LATER);
const verified = await client.service.ajax({
  type: 'PUT',
  url: client.utils.getUrl('users', user.id),
  data: { user: {}, provider: 'phone', phone: { request_id: asked, code: sentCode() } },
});
assert.equal(verified.user.phone, ANN_LATER);
see('a code verifies a new number');
console.log('all seen');
