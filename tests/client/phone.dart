// Phones of several people, each with client/dart/ringbook_contacts.dart: test_dart.py says what they do.
//
// stdin: a line {"who", "call", …} for each call; stdout: a line {"answer"} or {"threw", "said", …} for each, in order.
import 'dart:convert';
import 'dart:io';

import '../../client/dart/ringbook_contacts.dart';

typedef Wire = Map<String, Object?>;

final phones = <String, Phone>{};

Future<void> main() async {
  await for (final line in stdin.transform(utf8.decoder).transform(const LineSplitter())) {
    final asked = jsonDecode(line) as Wire;
    stdout.writeln(jsonEncode(await outcome(asked)));
    await stdout.flush();
  }
  exit(0);
}

Future<Wire> outcome(Wire asked) async {
  try {
    return {'answer': await called(asked)};
  } on RingbookException catch (error) {
    final details = switch (error) {
      RefusedException(:final status, :final reasons) => {'status': status, 'reasons': reasons},
      SignInRefusedException(:final reasons) => {'reasons': reasons},
      TooManyException(:final retryAfter) => {'seconds': retryAfter?.inSeconds},
      UnavailableException(:final status) => {'status': status},
      ContactsUnreadableException(:final cause) => {'cause': '$cause'},
      _ => const <String, Object?>{},
    };
    return {'threw': '${error.runtimeType}', 'said': '$error', ...details};
  } on ArgumentError catch (error) {
    return {'threw': 'ArgumentError', 'said': '$error'};
  }
}

Future<Object?> called(Wire asked) async {
  final who = asked['who']! as String;
  if (asked['call'] == 'start') {
    phones[who] = Phone(asked);
    return null;
  }
  final Phone(:ringbook, :sync) = phones[who]!;
  switch (asked['call']) {
    case 'sync':
      return shown(await sync.run(() => read(asked['contacts']), allowEmpty: asked['allow_empty'] == true));
    case 'sync twice at once':
      final both = [for (final contacts in asked['contacts']! as List) sync.run(() => read(contacts))];
      return [for (final result in await Future.wait(both)) shown(result)];
    case 'withdraw':
      await sync.withdraw();
    case 'log out':
      await sync.logOut();
    case 'user':
      return ringbook.userId;
    case 'registered':
      return [
        for (final user in await ringbook.registeredUsers())
          {'id': user.id, 'name': user.name, 'phone': user.phone, 'external_id': user.externalId, 'text': '$user'},
      ];
    case 'registered twice at once':
      final both = await Future.wait([ringbook.registeredUsers(), ringbook.registeredUsers()]);
      return [for (final users in both) users.length];
    case 'book':
      return [for (final contact in await ringbook.addressBook()) [contact.phone, contact.name]];
    case 'external id':
      await ringbook.setExternalId(asked['id']! as String);
    case 'subscribe':
      return ringbook.subscribe(PushChannel.values.byName(asked['channel']! as String), asked['token']! as String);
    case 'texts':
      const contact = Contact(name: 'Ann', phone: '+12025550142');
      return ['$contact', '${const Rejection(contact, ['too long'])}', '${const SyncResult(Sent.nothing)}', newUdid()];
    default:
      throw StateError('no such call');
  }
  return null;
}

/// What the phone shows an app: a list, null without permission, or an exception for the text "unreadable".
Iterable<Contact>? read(Object? contacts) => switch (contacts) {
      null => null,
      final List<Object?> list => list.map((one) => switch (one) {
            {'name': final String name, 'phone': final String phone} => Contact(name: name, phone: phone),
            _ => throw const FormatException('the address book is locked'),
          }),
      _ => throw const FormatException('the address book is locked'),
    };

Wire shown(SyncResult result) => {
      'sent': result.sent.name,
      'counts': [result.created, result.updated, result.deleted],
      'rejected': [for (final one in result.rejected) [one.contact.name, one.reasons]],
    };

class Phone {
  Phone(Wire asked)
      : ringbook = Ringbook(
          server: Uri.parse(asked['server']! as String),
          applicationId: asked['application_id']! as int,
          authKey: asked['auth_key']! as String,
          udid: asked['udid']! as String,
          credentials: proofs(asked['credentials']! as List),
          timeout: Duration(milliseconds: asked['timeout'] as int? ?? 60000),
          backoff: Duration(milliseconds: asked['backoff'] as int? ?? 10),
          longestWait: const Duration(seconds: 5),
          allowHttp: asked['allow_http'] as bool? ?? true,
        ),
        store = Storage(File(asked['file']! as String), dies: asked['dies'] == true) {
    final every = asked['check_every'] as int?;
    sync = every == null
        ? ContactSync(ringbook, store)
        : ContactSync(ringbook, store, checkEvery: Duration(milliseconds: every));
  }

  final Ringbook ringbook;
  final Storage store;
  late final ContactSync sync;
}

/// Each proof in turn, the last one again and again.
Future<Credentials> Function() proofs(List<Object?> given) {
  final left = [...given];
  return () async => switch ((left.length > 1 ? left.removeAt(0) : left.first)! as List<Object?>) {
        ['login', final String login, final String password] => Password(login: login, password: password),
        ['firebase', final String project, final String token] => FirebasePhone(project, token),
        _ => throw StateError('no such proof'),
      };
}

/// A file. A phone that dies does so after the server has answered, before it has written that down.
class Storage implements SnapshotStore {
  Storage(File file, {required this.dies}) : _kept = FileSnapshot(file);

  final FileSnapshot _kept;
  final bool dies;

  @override
  Future<String?> load() => _kept.load();

  @override
  Future<void> save(String? text) async {
    if (dies && text != null) exit(137);
    await _kept.save(text);
  }
}
