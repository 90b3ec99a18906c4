#!/usr/bin/env node
// Runs the JavaScript of docs/how-to/sync-contacts.md for test_sync_contacts.py, as a phone would.
//
//   node sync_contacts.mjs --page page.mjs --storage storage.json [--dies]
//
// stdin: one line {"call", "given"} per call of a function of the page; stdout: one line {"answer"} or {"threw"} per call.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: { page: { type: 'string' }, storage: { type: 'string' }, dies: { type: 'boolean' } },
});

const stored = existsSync(args.storage) ? JSON.parse(readFileSync(args.storage)) : {};
const write = () => writeFileSync(args.storage, JSON.stringify(stored));
globalThis.localStorage = {
  getItem: (name) => stored[name] ?? null,
  setItem: (name, value) => {
    if (args.dies && name !== 'udid') process.exit(137); // after the server's answer, before the snapshot is stored
    stored[name] = String(value);
    write();
  },
  removeItem: (name) => {
    delete stored[name];
    write();
  },
};

const page = await import(pathToFileURL(args.page));

const slow = async () => {
  let tries = 0;
  return page.withRetries(() => (++tries === 1 ? new Promise(() => {}) : Promise.resolve(tries)), 0.05);
};
const calls = { ...page, slow, udid: async () => page.udid };

for await (const line of createInterface({ input: process.stdin })) {
  const { call, given = [] } = JSON.parse(line);
  const reply = await calls[call](...given).then(
    (answer) => ({ answer: answer ?? null }),
    (error) => ({ threw: error instanceof Error ? error.message : error }),
  );
  console.log(JSON.stringify(reply));
}
