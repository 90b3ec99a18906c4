#!/usr/bin/env node
// Phones of several people, each with the unmodified npm package `connectycube`: test_joined_push.py says what they do.
//
//   node joined_push.mjs --endpoint URL --app-id 1 --auth-key KEY
//
// stdin: a line {"who", "call", "given"} for each call, such as {"who": "bob", "call": "users.signup", "given": [{…}]};
// stdout: a line {"answer"} or {"refused"} for each, in the same order.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import connectycube from 'connectycube';

const names = ['endpoint', 'app-id', 'auth-key'];
const { values: args } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
for (const name of names) assert(args[name], `missing --${name}`);

const phones = new Map();
const phone = (who) => {
  if (!phones.has(who)) {
    const client = new connectycube.ConnectyCube();
    const endpoints = { api_url: args.endpoint };
    client.init({ appId: Number(args['app-id']), authKey: args['auth-key'] }, { endpoints, debug: { mode: 0 }, timeout: 15000 });
    phones.set(who, client);
  }
  return phones.get(who);
};

const called = async ({ who, call, given }) => {
  const path = call.split('.');
  const method = path.pop();
  const part = path.reduce((whole, name) => whole[name], phone(who));
  assert.equal(typeof part[method], 'function', call);
  return part[method](...given);
};

for await (const line of createInterface({ input: process.stdin })) {
  const said = await called(JSON.parse(line)).then(
    (answer) => ({ answer: answer ?? null }),
    (error) => ({ refused: error instanceof Error ? error.stack : error }),
  );
  console.log(JSON.stringify(said));
}
