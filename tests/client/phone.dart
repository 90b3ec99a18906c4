// Phones of several users, each with client/dart/ringbook_contacts.dart, controlled by test_dart.py.
//
// stdin: one line {"phone", "call", …} per call; stdout: one line {"answer"} or {"threw", "text", …} per call, in order.
import 'dart:convert';
import 'dart:io';

import '../../client/dart/ringbook_contacts.dart';

typedef Wire = Map<String, Object?>;

final phones = <String, Phone>{};

Future<void> main() async {
  await for (final line in stdin.transform(utf8.decoder).transform(const LineSplitter())) {
    final request = jsonDecode(line) as Wire;
    stdout.writeln(jsonEncode(await outcome(request)));
    await stdout.flush();
  }
  exit(0);
}

Future<Wire> outcome(Wire request) async {
  try {
    return {'answer': await call(request)};
  } on RingbookException catch (error) {
    final details = switch (error) {
      RefusedException(:final status, :final reasons) => {'status': status, 'reasons': reasons},
      SignInRefusedException(:final reasons) => {'reasons': reasons},
      TooManyException(:final retryAfter) => {'seconds': retryAfter?.inSeconds},
      UnavailableException(:final status) => {'status': status},
      ContactsUnreadableException(:final cause) => {'cause': '$cause'},
      _ => const <String, Object?>{},
    };
    return {'threw': '${error.runtimeType}', 'text': '$error', ...details};
  } on ArgumentError catch (error) {
    return {'threw': 'ArgumentError', 'text': '$error'};
  }
}

Future<Object?> call(Wire request) async {
  final id = request['phone']! as String;
  if (request['call'] == 'start') {
    phones[id] = Phone(request);
    return null;
  }
  final Phone(:ringbook, :sync) = phones[id]!;
  switch (request['call']) {
    case 'sync':
      return json(await sync.run(() => read(request['contacts']), allowEmpty: request['allow_empty'] == true));
    case 'sync twice at once':
      final both = [for (final contacts in request['contacts']! as List) sync.run(() => read(contacts))];
      return [for (final result in await Future.wait(both)) json(result)];
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
    case 'registered since':
      final new_ = await ringbook.registeredSince(request['cursor'] as String? ?? '0');
      return {
        'users': [for (final user in new_.users) [user.id, user.name]],
        'next': new_.next,
        'text': '$new_',
      };
    case 'joined':
      final page = await ringbook.joined(
        limit: request['limit'] as int? ?? 100,
        after: request['after'] as String?,
        before: request['before'] as int?,
      );
      return {
        'items': [
          for (final one in page.items)
            [one.id, one.userId, one.name, one.phone, one.fullName, one.createdAt.isUtc, one.seen, '$one'],
        ],
        'next': page.next,
        'unseen': page.unseen,
        'text': '$page',
      };
    case 'mark seen':
      return ringbook.markSeen(request['up_to']! as int);
    case 'joined settings':
      return settings(await ringbook.joinedSettings());
    case 'change joined settings':
      final changes = request['changes']! as Wire;
      final quiet = changes['quiet'] as List?;
      return settings(await ringbook.changeJoinedSettings(
        announce: audience(changes['announce']),
        discoverable: audience(changes['discoverable']),
        notify: changes['notify'] as bool?,
        quiet: quiet == null ? null : QuietHours(quiet[0] as String, quiet[1] as String),
        timeZone: changes['time_zone'] as String?,
        digest: changes['digest'] as int?,
        locale: changes['locale'] as String?,
      ));
    case 'book':
      return [for (final contact in await ringbook.addressBook()) [contact.phone, contact.name]];
    case 'external id':
      await ringbook.setExternalId(request['id']! as String);
    case 'subscribe':
      return ringbook.subscribe(PushChannel.values.byName(request['channel']! as String), request['token']! as String);
    case 'texts':
      const contact = Contact(name: 'Ann', phone: '+12025550142');
      return ['$contact', '${const Rejection(contact, ['too long'])}', '${const SyncResult(Sent.nothing)}', newUdid()];
    default:
      throw StateError('unknown call');
  }
  return null;
}

/// The contacts that the phone shows to the app: a list, null without permission, or an exception.
Iterable<Contact>? read(Object? contacts) => switch (contacts) {
      null => null,
      final List<Object?> list => list.map((item) => switch (item) {
            {'name': final String name, 'phone': final String phone} => Contact(name: name, phone: phone),
            _ => throw const FormatException('the address book is locked'),
          }),
      _ => throw const FormatException('the address book is locked'),
    };

Audience? audience(Object? name) => name == null ? null : Audience.values.byName(name as String);

Wire settings(JoinedSettings all) => {
      'announce': all.announce.name,
      'discoverable': all.discoverable.name,
      'notify': all.notify,
      'quiet': [all.quiet.from, all.quiet.to],
      'time_zone': all.timeZone,
      'digest': all.digest,
      'locale': all.locale,
    };

Wire json(SyncResult result) => {
      'sent': result.sent.name,
      'counts': [result.created, result.updated, result.deleted],
      'rejected': [for (final one in result.rejected) [one.contact.name, one.reasons]],
    };

class Phone {
  Phone(Wire request)
      : ringbook = Ringbook(
          server: Uri.parse(request['server']! as String),
          applicationId: request['application_id']! as int,
          authKey: request['auth_key']! as String,
          udid: request['udid']! as String,
          credentials: credentialsFrom(request['credentials']! as List),
          timeout: Duration(milliseconds: request['timeout'] as int? ?? 60000),
          backoff: Duration(milliseconds: request['backoff'] as int? ?? 10),
          longestWait: const Duration(seconds: 5),
          allowHttp: request['allow_http'] as bool? ?? true,
        ),
        store = Storage(File(request['file']! as String), crashes: request['crashes'] == true) {
    final every = request['check_every'] as int?;
    sync = every == null
        ? ContactSync(ringbook, store)
        : ContactSync(ringbook, store, checkEvery: Duration(milliseconds: every));
  }

  final Ringbook ringbook;
  final Storage store;
  late final ContactSync sync;
}

/// Returns each of the credentials in turn, and the last one repeatedly.
Future<Credentials> Function() credentialsFrom(List<Object?> list) {
  final left = [...list];
  return () async => switch ((left.length > 1 ? left.removeAt(0) : left.first)! as List<Object?>) {
        ['login', final String login, final String password] => Password(login: login, password: password),
        ['firebase', final String project, final String token] => FirebasePhone(project, token),
        _ => throw StateError('unknown credentials'),
      };
}

/// A snapshot file. If `crashes` is set, the app exits after the server's answer, before the snapshot is stored.
class Storage implements SnapshotStore {
  Storage(File file, {required this.crashes}) : _file = FileSnapshot(file);

  final FileSnapshot _file;
  final bool crashes;

  @override
  Future<String?> load() => _file.load();

  @override
  Future<void> save(String? text) async {
    if (crashes && text != null) exit(137);
    await _file.save(text);
  }
}
