#!/usr/bin/env node
// A phone with the JavaScript of docs/how-to/sync-contacts.md: test_sync_contacts.py says what it does.
//
//   node sync_contacts.mjs --page page.mjs --storage storage.json [--dies]
//
// stdin: a line {"call", "given"} for each call of a function of the page; stdout: a line {"answer"} or {"threw"} for each.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: { page: { type: 'string' }, storage: { type: 'string' }, dies: { type: 'boolean' } },
});

const kept = existsSync(args.storage) ? JSON.parse(readFileSync(args.storage)) : {};
const write = () => writeFileSync(args.storage, JSON.stringify(kept));
globalThis.localStorage = {
  getItem: (name) => kept[name] ?? null,
  setItem: (name, value) => {
    if (args.dies && name !== 'udid') process.exit(137); // after the server has answered, before that is written down
    kept[name] = String(value);
    write();
  },
  removeItem: (name) => {
    delete kept[name];
    write();
  },
};

const page = await import(pathToFileURL(args.page));

const slow = async () => {
  let tries = 0;
  return page.patiently(() => (++tries === 1 ? new Promise(() => {}) : Promise.resolve(tries)), 0.05);
};
const calls = { ...page, slow, udid: async () => page.udid };

for await (const line of createInterface({ input: process.stdin })) {
  const { call, given = [] } = JSON.parse(line);
  const said = await calls[call](...given).then(
    (answer) => ({ answer: answer ?? null }),
    (error) => ({ threw: error instanceof Error ? error.message : error }),
  );
  console.log(JSON.stringify(said));
}
