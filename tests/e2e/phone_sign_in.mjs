#!/usr/bin/env node
// Signs in by phone number with the unmodified npm package `connectycube`: the ID tokens come from the Firebase Auth
// emulator, which sends codes for fictional numbers and tells them to whoever asks.
//
//   node phone_sign_in.mjs --endpoint URL --app-id 1 --auth-key KEY --emulator HOST:PORT --project demo-x
//
// Prints a line for each thing that was seen; the first one that is not as expected ends it with status 1.
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import connectycube from 'connectycube';

const names = ['endpoint', 'app-id', 'auth-key', 'emulator', 'project'];
const { values: args } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
for (const name of names) assert(args[name], `missing --${name}`);

const ANN = '+12025550142';
const ANN_LATER = '+12025550143';
const BEA = '+12025550144';
const CARA = '+12025550145';

const run = Date.now().toString(36); // the emulator outlives a run, and knows an e-mail only once
let seen = 0;
const see = (what) => console.log(`${++seen} ${what}`);

// ---------- Firebase, as an app's Firebase SDK speaks to it ----------
const identityToolkit = async (call, body, headers = {}) => {
  const answer = await fetch(`http://${args.emulator}/identitytoolkit.googleapis.com/v1/${call}?key=any`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const said = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(said));
  return said;
};

// The ID token of somebody who has typed the code that was sent to their phone.
const tokenByPhone = async (phoneNumber) => {
  const { sessionInfo } = await identityToolkit('accounts:sendVerificationCode', { phoneNumber, recaptchaToken: 'any' });
  const answer = await fetch(`http://${args.emulator}/emulator/v1/projects/${args.project}/verificationCodes`);
  const { verificationCodes } = await answer.json();
  const { code } = verificationCodes.find((sent) => sent.sessionInfo === sessionInfo);
  return (await identityToolkit('accounts:signInWithPhoneNumber', { sessionInfo, code })).idToken;
};

// The ID token of somebody who signs in by e-mail; verified: who has followed the link in Firebase's letter.
const tokenByEmail = async (email, verified) => {
  const password = 'correct-horse';
  const { localId } = await identityToolkit('accounts:signUp', { email, password });
  if (verified) {
    await identityToolkit('accounts:update', { localId, emailVerified: true }, { authorization: 'Bearer owner' });
  }
  return (await identityToolkit('accounts:signInWithPassword', { email, password, returnSecureToken: true })).idToken;
};

// The emulator signs nothing, so anybody can rewrite what a token of its says.
const rewritten = (token, claims, header = {}) => {
  const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
  const write = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const [head, body] = token.split('.');
  return `${write({ ...read(head), ...header })}.${write({ ...read(body), ...claims })}.`;
};

// ---------- Ringbook, through the SDK ----------
const app = () => {
  const client = new connectycube.ConnectyCube();
  const endpoints = { api_url: args.endpoint };
  client.init({ appId: Number(args['app-id']), authKey: args['auth-key'] }, { endpoints, debug: { mode: 0 } });
  return client;
};
const by = (provider, token, project = args.project) => ({
  provider,
  [provider]: { project_id: project, access_token: token },
});
const signedIn = async (provider, token) => {
  const client = app();
  return { client, session: await client.createSession(by(provider, token)) };
};
const refused = async (promise, status, words) => {
  const said = await promise.then(
    () => assert.fail(`should be refused: ${words}`),
    (error) => error,
  );
  assert.equal(said.code, status, JSON.stringify(said));
  assert.match(JSON.stringify(said.info), words);
};
const registered = async (client) =>
  (await client.addressbook.getRegisteredUsers(false)).items.map(({ user }) => user.id).sort((a, b) => a - b);

const bea = await signedIn('firebase_phone', await tokenByPhone(BEA));
await bea.client.addressbook.uploadAddressBook([
  { name: 'Ann', phone: ANN },
  { name: 'Ann later', phone: ANN_LATER },
]);
assert.deepEqual(await registered(bea.client), []);
see('a book with a number that nobody has yet');

const token = await tokenByPhone(ANN);
const ann = await signedIn('firebase_phone', token);
assert(ann.session.token && Number.isInteger(ann.session.user_id), JSON.stringify(ann.session));
assert.equal(ann.session.user.id, ann.session.user_id);
assert.equal(ann.session.user.phone.replace(/\D/g, ''), ANN.slice(1));
see('a phone opens a session, and makes a user with its number');

await ann.client.addressbook.uploadAddressBook([{ name: 'Bea', phone: BEA }]);
assert.deepEqual(await registered(ann.client), [bea.session.user_id]);
assert.deepEqual(await registered(bea.client), [ann.session.user_id]);
see('both find each other in their books');

const again = await signedIn('firebase_phone', await tokenByPhone(ANN));
assert.equal(again.session.user_id, ann.session.user_id);
assert.equal((await again.client.addressbook.get()).length, 1);
see('the same phone signs the same user in again, with the book');

const both = app();
await both.createSession();
const user = await both.login(by('firebase_phone', await tokenByPhone(ANN)));
assert.equal(user.id, ann.session.user_id);
assert.deepEqual(await registered(both), [bea.session.user_id]);
see('login makes an application session hers');

const open = (provider, wrong, project) => app().createSession(by(provider, wrong, project));
const now = Math.floor(Date.now() / 1000);
await refused(open('firebase_phone', rewritten(token, { aud: 'demo-other' })), 422, /another project/);
await refused(open('firebase_phone', rewritten(token, { aud: 'demo-other' }), 'demo-other'), 422, /project/);
await refused(open('firebase_phone', rewritten(token, { exp: now - 120 })), 422, /expired/);
await refused(open('firebase_phone', rewritten(token, { iat: now + 600 })), 422, /future/);
await refused(open('firebase_phone', rewritten(token, { iss: 'https://example.com' })), 422, /somebody else/);
await refused(open('firebase_phone', rewritten(token, { phone_number: undefined })), 422, /no phone number/);
await refused(open('firebase_phone', rewritten(token, {}, { alg: 'HS256' })), 422, /not valid/);
await refused(open('firebase_phone', token.slice(0, 50)), 422, /cannot be read/);
await refused(open('firebase_phone', ''), 422, /access_token/);
see('a wrong token opens nothing');

await refused(open('firebase_email', await tokenByEmail(`ann-${run}@example.com`, false)), 422, /verified e-mail/);
const cara = await signedIn('firebase_email', await tokenByEmail(`cara-${run}@example.com`, true));
assert.equal(cara.session.user.email, `cara-${run}@example.com`);
see('an e-mail opens a session once Firebase has verified it');

const put = async (who, body) => {
  const answer = await fetch(`${args.endpoint}/users/${who.session.user_id}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'CB-Token': who.session.token },
    body: JSON.stringify(body),
  });
  return { status: answer.status, said: await answer.text() };
};
const unverified = await put(ann, { user: { phone: ANN_LATER } });
assert.equal(unverified.status, 422, unverified.said);
const verified = await put(ann, { user: {}, ...by('firebase_phone', await tokenByPhone(ANN_LATER)) });
assert.equal(verified.status, 200, verified.said);
const moved = await signedIn('firebase_phone', await tokenByPhone(ANN_LATER));
assert.equal(moved.session.user_id, ann.session.user_id);
assert.deepEqual(await registered(bea.client), [ann.session.user_id]);
see('a verified number changes only by a proof of the new one, and the friend finds the new one');

const other = await signedIn('firebase_phone', await tokenByPhone(ANN));
assert.notEqual(other.session.user_id, ann.session.user_id);
see('the number that was let go opens an account of its own');

const late = await put(cara, { user: {}, ...by('firebase_phone', await tokenByPhone(CARA)) });
assert.equal(late.status, 200, late.said);
await bea.client.addressbook.uploadAddressBook([{ name: 'Cara', phone: CARA }]);
assert((await registered(bea.client)).includes(cara.session.user_id));
see('a user who signed in by e-mail is found once the phone is verified');
console.log('all seen');
