// Runs the Dart code of docs/how-to/sync-contacts.md, as a phone would. test_sync_contacts.py inserts the code of the page
// at the two marked lines. The rest of this file stands in for the app and for the Flutter plugins.
//
// stdin: one line {"call", …} per call of a function of the page; stdout: one line {"answer"} or {"threw"} per call.
import 'dart:convert';

import 'flutter_contacts.dart' show address;

// IMPORTS OF THE PAGE

const given = String.fromEnvironment('given');
final settings = jsonDecode(utf8.decode(base64.decode(given))) as Map<String, Object?>;
final udid = settings['udid']! as String;
final folder = Directory(settings['folder']! as String);
final firebaseUser = FirebaseUser();
final reported = <String>[];

class FirebaseUser {
  Future<String?> getIdToken() async => settings['token']! as String;
}

void report(Contact contact, List<String> reasons) => reported.add('${contact.name}: ${reasons.join(' ')}');

// THE PAGE

Future<void> main() async {
  await for (final line in stdin.transform(utf8.decoder).transform(const LineSplitter())) {
    final request = jsonDecode(line) as Map<String, Object?>;
    if (request.containsKey('address')) address = request['address'] as List<Object?>?;
    Map<String, Object?> reply;
    try {
      reply = {'answer': await call(request)};
    } on RingbookException catch (error) {
      reply = {'threw': '${error.runtimeType}'};
    }
    stdout.writeln(jsonEncode(reply));
    await stdout.flush();
  }
  exit(0);
}

Future<Object?> call(Map<String, Object?> request) async {
  switch (request['call']) {
    case 'refresh':
      reported.clear();
      final friends = await refresh();
      return {
        'friends': [for (final friend in friends) [friend.name, friend.externalId]],
        'reported': reported,
      };
    case 'careful':
      return (await careful.run(readContacts)).sent.name;
    case 'even if empty':
      return (await syncEvenIfEmpty()).sent.name;
    case 'link chat':
      await linkChat(request['id']! as int);
    case 'revoked':
      await onPermissionRevoked();
    case 'log out':
      await onLogOut();
    case 'error message':
      return errorMessage();
    default:
      throw StateError('no such call');
  }
  return null;
}
