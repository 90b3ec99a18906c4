// Runs the Dart code of docs/how-to/who-joined.md, as a phone would. test_who_joined.py inserts the code of the page at the
// marked line. The rest of this file stands in for the app and for the plugins.
//
// stdin: one line {"call", …} per call of a function of the page; stdout: one line {"answer"} per call.
import 'dart:convert';
import 'dart:io';

import 'ringbook_contacts.dart';

const given = String.fromEnvironment('given');
final settings = jsonDecode(utf8.decode(base64.decode(given))) as Map<String, Object?>;
final folder = Directory(settings['folder']! as String);
final ringbook = Ringbook(
  server: Uri.parse(settings['server']! as String),
  applicationId: settings['application_id']! as int,
  authKey: settings['auth_key']! as String,
  udid: 'phone-1',
  credentials: () async => Password(login: settings['login']! as String, password: settings['password']! as String),
  allowHttp: true,
);
final sync = ContactSync(ringbook, FileSnapshot(File('${folder.path}/ringbook.json')));
var contacts = <Contact>[];
final shown = <String>[];

Iterable<Contact>? readContacts() => contacts;

Future<void> showFriends(List<RegisteredUser> users) async => shown.addAll(users.map((user) => user.name));

/// The plugin `shared_preferences`, as far as the page needs it.
class SharedPreferencesAsync {
  final _values = <String, String>{};

  Future<String?> getString(String key) async => _values[key];

  Future<void> setString(String key, String value) async => _values[key] = value;
}

// THE PAGE

Future<void> main() async {
  await for (final line in stdin.transform(utf8.decoder).transform(const LineSplitter())) {
    stdout.writeln(jsonEncode({'answer': await call(jsonDecode(line) as Map<String, Object?>)}));
    await stdout.flush();
  }
  exit(0);
}

List<Object?> json(JoinedPage page) => [
      [for (final item in page.items) item.name],
      page.unseen,
    ];

Future<Object?> call(Map<String, Object?> request) async {
  switch (request['call']) {
    case 'sign up':
      final stored = await signUp(Audience.mutual, timeZone: 'Europe/Berlin', language: 'de');
      return [stored.announce.name, stored.discoverable.name, stored.timeZone, stored.locale];
    case 'new friends':
      contacts = [
        for (final pair in request['contacts']! as List)
          Contact(name: (pair as List)[0] as String, phone: pair[1] as String),
      ];
      return [for (final friend in await newFriends()) friend.name];
    case 'pages':
      final first = await newest();
      return [json(first), json(await older(first)), await onShown(first)];
    case 'joined since':
      return [for (final one in await joinedSince()) one.name];
    case 'settings':
      final asleep = await sleepAtNight();
      final muted = await mute();
      return [asleep.quiet.from, asleep.quiet.to, muted.notify, (await readSettings()).notify];
    default:
      throw StateError('no such call');
  }
}
