// The Firebase Auth emulator of firebase-tools, without its command line and with only the calls that the tests use. Its
// command line compiles a validator for every call of Google's Identity Toolkit, which takes 14 seconds of a core.
//
//     node emulator.cjs PROJECT PORT

const auth = "firebase-tools/lib/emulator/auth";
const { default: spec } = require(`${auth}/apiSpec`);
const { createApp } = require(`${auth}/server`);

const USED = /\/v1\/accounts:(sendVerificationCode|signInWithPhoneNumber|signInWithPassword|signUp|update)$|\/verificationCodes$/;
const [project, port] = process.argv.slice(2);

for (const path of Object.keys(spec.paths)) {
  if (!USED.test(path)) delete spec.paths[path];
}
createApp(project).then((app) => app.listen(Number(port), "127.0.0.1"));
