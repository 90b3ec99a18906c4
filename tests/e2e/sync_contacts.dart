// A phone with the Dart of docs/how-to/sync-contacts.md, which test_sync_contacts.py puts in place of the two lines about
// it; what an app or a plugin of Flutter would give stands here.
//
// stdin: a line {"call", …} for each call of a function of the page; stdout: a line {"answer"} or {"threw"} for each.
import 'dart:convert';

import 'flutter_contacts.dart' show address;

// IMPORTS OF THE PAGE

const given = String.fromEnvironment('given');
final settings = jsonDecode(utf8.decode(base64.decode(given))) as Map<String, Object?>;
final udid = settings['udid']! as String;
final folder = Directory(settings['folder']! as String);
final firebaseUser = FirebaseUser();
final told = <String>[];

class FirebaseUser {
  Future<String?> getIdToken() async => settings['token']! as String;
}

void report(Contact contact, List<String> reasons) => told.add('${contact.name}: ${reasons.join(' ')}');

// THE PAGE

Future<void> main() async {
  await for (final line in stdin.transform(utf8.decoder).transform(const LineSplitter())) {
    final asked = jsonDecode(line) as Map<String, Object?>;
    if (asked.containsKey('address')) address = asked['address'] as List<Object?>?;
    Map<String, Object?> said;
    try {
      said = {'answer': await called(asked)};
    } on RingbookException catch (error) {
      said = {'threw': '${error.runtimeType}'};
    }
    stdout.writeln(jsonEncode(said));
    await stdout.flush();
  }
  exit(0);
}

Future<Object?> called(Map<String, Object?> asked) async {
  switch (asked['call']) {
    case 'refresh':
      told.clear();
      final friends = await refresh();
      return {
        'friends': [for (final friend in friends) [friend.name, friend.externalId]],
        'told': told,
      };
    case 'careful':
      return (await careful.run(readContacts)).sent.name;
    case 'even if empty':
      return (await syncEvenIfEmpty()).sent.name;
    case 'link chat':
      await linkChat(asked['id']! as int);
    case 'revoked':
      await onPermissionRevoked();
    case 'log out':
      await onLogOut();
    case 'what to tell':
      return whatToTell();
    default:
      throw StateError('no such call');
  }
  return null;
}
