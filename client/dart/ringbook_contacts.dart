/// A phone's contacts on a Ringbook server, for apps that keep the ConnectyCube SDK for chat.
///
/// One file, on `dart:io` alone: copy it into your app. Dart 3.0 or newer; not for the web, which has no `dart:io`.
///
/// ```dart
/// final ringbook = Ringbook(
///   server: Uri.parse('https://book.example.com'),
///   applicationId: 1,
///   authKey: 'KEY',
///   udid: udid, // made once by newUdid(), kept by the app
///   credentials: () async => FirebasePhone('my-project', (await firebaseUser.getIdToken())!),
/// );
/// final sync = ContactSync(ringbook, FileSnapshot(File('${folder.path}/ringbook.json')));
///
/// await sync.run(readContacts);                      // after log-in, on resume, when contacts change
/// final friends = await ringbook.registeredUsers();  // who of them is here
/// ```
///
/// * [Ringbook] asks the server: session, registered contacts, push subscriptions.
/// * [ContactSync] keeps this device's address book on the server as the phone has it.
/// * [RingbookException] is what either of them throws; its kinds are listed there.
///
/// Nothing here prints or logs, and no exception's text holds a phone number, a name or a token.
library;

import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:math';

// ── What goes in and comes out ──────────────────────────────────────────────────────────────────────────────────────

/// A contact of the phone: one for each of a person's numbers.
final class Contact {
  const Contact({required this.name, required this.phone});

  /// 1 to 255 characters. A contact without a name goes by its number.
  final String name;

  /// As the phone spells it: the server reads spaces, brackets, `+44 (0)…` and the like.
  final String phone;

  @override
  String toString() => 'Contact(…)';
}

/// A contact who has an account.
final class RegisteredUser {
  RegisteredUser._(Map<String, Object?> user)
      : id = _field<int>(user, 'id'),
        name = _field<String?>(user, 'address_book_name') ?? '',
        phone = _field<String?>(user, 'phone'),
        fullName = _field<String?>(user, 'full_name'),
        externalId = _field<String?>(user, 'external_id'),
        avatar = _field<String?>(user, 'avatar');

  /// The user's id on the Ringbook server.
  final int id;

  /// The name that this contact has in the phone's own address book.
  final String name;

  final String? phone;
  final String? fullName;

  /// The id that the app has given the user by [Ringbook.setExternalId]: with it the app opens the chat.
  final String? externalId;

  final String? avatar;

  @override
  String toString() => 'RegisteredUser($id)';
}

/// A contact that the server did not take, and why. The others were taken.
final class Rejection {
  const Rejection(this.contact, this.reasons);

  final Contact contact;
  final List<String> reasons;

  @override
  String toString() => 'Rejection(${reasons.join(' ')})';
}

/// What a sync has sent.
enum Sent {
  /// The server's book is as the phone's already.
  nothing,

  /// Only what is new, renamed or gone.
  changes,

  /// The whole book: the first time, after a reinstall, after a crash, and when the server's book was another.
  wholeBook,
}

/// What became of a sync.
final class SyncResult {
  const SyncResult(this.sent, {this.created = 0, this.updated = 0, this.deleted = 0, this.rejected = const []});

  final Sent sent;
  final int created;
  final int updated;
  final int deleted;

  /// Contacts of this upload that the server did not take. They are sent again when the phone changes them.
  final List<Rejection> rejected;

  @override
  String toString() =>
      'SyncResult(${sent.name}, $created created, $updated updated, $deleted deleted, ${rejected.length} rejected)';
}

/// How somebody signs in.
sealed class Credentials {
  const Credentials();

  Map<String, Object?> get _wire;
}

/// The ID token that Firebase hands out after a sign-in by phone.
final class FirebasePhone extends Credentials {
  const FirebasePhone(this.projectId, this.idToken);

  final String projectId;
  final String idToken;

  @override
  Map<String, Object?> get _wire => {
        'provider': 'firebase_phone',
        'firebase_phone': {'project_id': projectId, 'access_token': idToken},
      };
}

/// A login, or an e-mail, and its password.
final class Password extends Credentials {
  const Password({this.login, this.email, required this.password})
      : assert((login == null) != (email == null), 'a login or an e-mail');

  final String? login;
  final String? email;
  final String password;

  @override
  Map<String, Object?> get _wire => {
        'user': {if (login != null) 'login': login, if (email != null) 'email': email, 'password': password},
      };
}

/// Whose push service the device is reached by.
enum PushChannel {
  /// Firebase Cloud Messaging, on Android.
  fcm('gcm', 'android'),

  /// Apple's, on iOS.
  apns('apns', 'ios'),

  /// Apple's for calls, on iOS.
  apnsVoip('apns_voip', 'ios');

  const PushChannel(this._wire, this._platform);

  final String _wire;
  final String _platform;
}

// ── What can go wrong ───────────────────────────────────────────────────────────────────────────────────────────────

/// What [Ringbook] and [ContactSync] throw. The text may go into a log: it never holds a number, a name or a token.
sealed class RingbookException implements Exception {
  const RingbookException(this.message);

  final String message;

  @override
  String toString() => 'Ringbook: $message';
}

/// There was no connection, or no answer in time. Try again when the phone is online.
final class UnreachableException extends RingbookException {
  const UnreachableException(super.message);
}

/// The server answered, several times, that it cannot just now (5xx). It may have carried the request out all the same.
/// Try again later: each call of this file can be made twice.
final class UnavailableException extends RingbookException {
  const UnavailableException(this.status) : super('the server cannot answer just now (status $status)');

  final int status;
}

/// Too often, or too many numbers that are new to the user. Nothing was changed.
final class TooManyException extends RingbookException {
  const TooManyException(this.retryAfter) : super('the server asks to wait before the next try');

  /// How long the server asks to wait; null if it did not say.
  final Duration? retryAfter;
}

/// The server refused to open a session, or the session that it had just opened.
final class SignInRefusedException extends RingbookException {
  SignInRefusedException(this.reasons) : super('the sign-in was refused: ${reasons.join('; ')}');

  final List<String> reasons;
}

/// The credentials belong to somebody else than those before: make a new [Ringbook] for the new user.
final class AnotherUserException extends RingbookException {
  const AnotherUserException() : super('the credentials are those of another user than before');
}

/// The server refused a request as it stands (400, 403, 404, 422). It will refuse it again.
final class RefusedException extends RingbookException {
  RefusedException(this.status, this.reasons)
      : super('the server refused the request ($status): ${reasons.join('; ')}');

  final int status;
  final List<String> reasons;
}

/// What came is not what a Ringbook server sends: the address may lead elsewhere, such as to the log-in page of a Wi-Fi.
final class NotRingbookException extends RingbookException {
  const NotRingbookException() : super('the answer is not one of a Ringbook server');
}

/// The phone's contacts could not be read, or may not be. Nothing was sent; the server's book is as it was.
final class ContactsUnreadableException extends RingbookException {
  const ContactsUnreadableException([this.cause]) : super('the contacts of this phone could not be read');

  /// What the reading threw; null if the permission is missing. May hold anything: do not log it.
  final Object? cause;
}

/// The phone says that it has no contacts, though it had some. Nothing was sent.
///
/// Some phones show apps without permission an empty address book. If the person really has deleted every contact,
/// run the sync with `allowEmpty: true`.
final class ContactsEmptyException extends RingbookException {
  const ContactsEmptyException() : super('the phone has shown no contacts, where it had some before');
}

// ── The server ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// A name for this installation of the app: 128 random bits. Make it once, and keep it.
///
/// Keep it where it outlives a reinstall if you can (the keychain on iOS), but never copy it to another phone: two
/// phones that share it overwrite each other's book. So leave it out of backups that move to a new phone.
String newUdid() {
  final random = Random.secure();
  return [for (var i = 0; i < 16; i++) random.nextInt(256).toRadixString(16).padLeft(2, '0')].join();
}

/// One user on one device, as a Ringbook server sees them.
///
/// The session is opened by the first call. When the server has ended it (401), [credentials] is asked once for a new
/// one and the call repeated. A call is repeated, up to [tries] times in all, after a time-out, a 5xx, or a 429 that
/// says how long to wait; everything this class sends may be sent twice without harm.
final class Ringbook {
  /// Throws [ArgumentError] for an address without TLS, unless [allowHttp] is set for development, and for a [udid]
  /// that is empty, longer than 64 characters or a word that the server takes for none.
  Ringbook({
    required this.server,
    required this.applicationId,
    required this.authKey,
    required this.udid,
    required this.credentials,
    this.timeout = const Duration(seconds: 60),
    this.tries = 3,
    this.backoff = const Duration(seconds: 1),
    this.longestWait = const Duration(seconds: 60),
    bool allowHttp = false,
    HttpClient? httpClient,
  }) : _http = httpClient ?? HttpClient() {
    if (server.scheme != 'https' && !(allowHttp && server.scheme == 'http')) {
      throw ArgumentError.value(server.scheme, 'server', 'must be an https address');
    }
    if (udid.trim().isEmpty || udid.length > 64 || const {'null', 'undefined'}.contains(udid)) {
      throw ArgumentError('must name this device, by 1 to 64 characters', 'udid');
    }
    RangeError.checkValueInInterval(tries, 1, 10, 'tries');
    // Servers and proxies close quiet connections after some seconds; one that closes just as it is used is an error.
    if (httpClient == null) {
      _http.idleTimeout = const Duration(seconds: 3);
      _http.connectionTimeout = timeout * 2; // the time-out of the whole try comes first
    }
  }

  /// Where the server is, with a path if it is not at the root.
  final Uri server;

  final int applicationId;
  final String authKey;

  /// The name of this device: see [newUdid]. Each device has an address book of its own.
  final String udid;

  /// Asked whenever a session is needed; what it throws reaches the caller.
  final Future<Credentials> Function() credentials;

  /// How long one try may take, from connecting to the last byte of the answer.
  final Duration timeout;

  /// How often a call is tried at most.
  final int tries;

  /// The wait before the second try; it doubles with each further one. `Retry-After` of a 5xx comes first.
  final Duration backoff;

  /// Who is asked to wait longer than this does not wait: the call ends, and says how long it would be.
  final Duration longestWait;

  final HttpClient _http;
  _Session? _session;
  Future<_Session>? _opening;
  int? _userId;

  /// The id of the user, on the Ringbook server. Opens the session if there is none.
  Future<int> get userId async => (_session ?? await _open()).userId;

  /// The contacts in this device's book who have an account, in the book's order.
  Future<List<RegisteredUser>> registeredUsers() async {
    final answer = await _call('GET', 'address_book/registered_users', query: {'udid': udid});
    final items = _field<List<Object?>>(_map(answer), 'items');
    return [for (final item in items) RegisteredUser._(_map(_map(item)['user']))];
  }

  /// This device's book as the server holds it, in upload order.
  Future<List<Contact>> addressBook() async {
    final answer = await _call('GET', 'address_book', query: {'udid': udid});
    return [
      for (final one in _list(answer).map(_map))
        Contact(name: _field<String>(one, 'name'), phone: _field<String>(one, 'phone')),
    ];
  }

  /// Write down the id that the user has elsewhere, such as in chat: their friends find it as
  /// [RegisteredUser.externalId].
  Future<void> setExternalId(String externalId) async {
    await _call('PUT', 'users/${await userId}', body: {
      'user': {'external_id': externalId},
    });
  }

  /// Let this device be told when a contact joins; answers the subscription's id. Call it again when the push service
  /// has given the app a new token: the subscription stays the same one.
  Future<int> subscribe(PushChannel channel, String token, {bool development = false, String? bundle}) async {
    final answer = await _call('POST', 'subscriptions', body: {
      'notification_channel': channel._wire,
      'push_token': {
        'environment': development ? 'development' : 'production',
        'client_identification_sequence': token,
        if (bundle != null) 'bundle_identifier': bundle,
      },
      'device': {'udid': udid, 'platform': channel._platform},
    });
    return _field<int>(_map(_map(_list(answer).firstOrNull)['subscription']), 'id');
  }

  /// End this device's subscriptions; those of the user's other devices stay.
  Future<void> unsubscribe() async {
    for (final one in _list(await _call('GET', 'subscriptions'))) {
      final subscription = _map(_map(one)['subscription']);
      if (_map(subscription['device'])['udid'] != udid) continue;
      await _end(_field<int>(subscription, 'id'));
    }
  }

  /// A try that was answered with 5xx may have ended it: the next one then finds none, which is as good.
  Future<void> _end(int subscriptionId) async {
    try {
      await _call('DELETE', 'subscriptions/$subscriptionId');
    } on RefusedException catch (refused) {
      if (refused.status != HttpStatus.notFound) rethrow;
    }
  }

  /// End the session on the server. The next call would open another.
  Future<void> endSession() async {
    final session = _session;
    if (session == null) return;
    final answer = await _exchange('DELETE', 'session', token: session.token);
    if (answer.status != HttpStatus.unauthorized) answer.check();
    _session = null;
  }

  /// Close the connections; calls that are under way fail.
  void close() => _http.close(force: true);

  Future<_Report> _upload({List<String> gone = const [], List<Contact> put = const [], bool force = false}) async {
    final answer = await _call('POST', 'address_book', body: {
      // What is gone first: it may be the old spelling of a number that is put.
      'contacts': [
        for (final phone in gone) {'phone': phone, 'destroy': 1},
        for (final contact in put) {'name': contact.name, 'phone': contact.phone},
      ],
      'force': force ? 1 : 0,
      'udid': udid,
    });
    return _Report(_map(answer), gone.length, put);
  }

  // ── sessions

  Future<_Session> _open() => _opening ??= _signIn().whenComplete(() => _opening = null);

  Future<_Session> _signIn() async {
    final given = await credentials();
    final keys = {'application_id': applicationId, 'auth_key': authKey};
    final answer = await _exchange('POST', 'session', body: {...keys, ...given._wire});
    if (const {400, 401, 403, 404, 422}.contains(answer.status)) throw SignInRefusedException(answer.reasons);
    final wire = _map(_map(answer.check())['session']);
    final session = _Session(_field<String>(wire, 'token'), _field<int>(wire, 'user_id'));
    if (session.userId != (_userId ??= session.userId)) throw const AnotherUserException();
    return _session = session;
  }

  Future<Object?> _call(String method, String path, {Map<String, String>? query, Object? body}) async {
    for (var renewed = false;; renewed = true) {
      final session = _session ?? await _open();
      final answer = await _exchange(method, path, query: query, body: body, token: session.token);
      if (answer.status != HttpStatus.unauthorized) return answer.check();
      if (identical(_session, session)) _session = null;
      if (renewed) throw SignInRefusedException(answer.reasons);
    }
  }

  // ── one request, and its repetitions

  Future<_Answer> _exchange(
    String method,
    String path, {
    Map<String, String>? query,
    Object? body,
    String? token,
  }) async {
    final bytes = body == null ? null : utf8.encode(jsonEncode(body));
    for (var attempt = 1;; attempt++) {
      Duration wait;
      try {
        final answer = await _send(method, _url(path, query), bytes, token);
        final again = _repeatAfter(answer, attempt);
        if (again == null) return answer;
        wait = again;
      } on TimeoutException {
        if (attempt >= tries) throw const UnreachableException('no answer in time');
        wait = _pause(attempt);
      } on SocketException {
        throw const UnreachableException('no connection to the server');
      } on TlsException {
        throw const UnreachableException('no trusted connection to the server');
      } on HttpException {
        throw const UnreachableException('the connection was closed before the answer was complete');
      }
      await Future<void>.delayed(wait);
    }
  }

  /// How long to wait before the next try; null if this answer is the last.
  Duration? _repeatAfter(_Answer answer, int attempt) {
    final wait = switch (answer.status) {
      HttpStatus.tooManyRequests => answer.retryAfter,
      >= 500 => answer.retryAfter ?? _pause(attempt),
      _ => null,
    };
    return wait == null || wait > longestWait || attempt >= tries ? null : wait;
  }

  /// Half to all of the backoff, so that phones that failed together do not come back together.
  Duration _pause(int attempt) => backoff * (1 << (attempt - 1)) * (0.5 + Random().nextDouble() / 2);

  Uri _url(String path, Map<String, String>? query) => server.replace(
        path: '${server.path.replaceFirst(RegExp(r'/+$'), '')}/$path',
        queryParameters: query,
      );

  Future<_Answer> _send(String method, Uri url, List<int>? body, String? token) {
    HttpClientRequest? sending;
    var over = false;

    Future<_Answer> exchange() async {
      final request = sending = await _http.openUrl(method, url);
      if (over) {
        request.done.ignore();
        request.abort();
        throw TimeoutException(null);
      }
      request.followRedirects = false; // a token goes to no other place
      request.headers.set(HttpHeaders.acceptHeader, 'application/json');
      if (token != null) request.headers.set('CB-Token', token);
      if (body != null) {
        request.headers.set(HttpHeaders.contentTypeHeader, 'application/json; charset=utf-8');
        request.contentLength = body.length;
        request.add(body);
      }
      final response = await request.close();
      final bytes = BytesBuilder(copy: false);
      // An answer cannot be aborted. That its stream has a time-out too ends the connection if the rest never comes.
      await response.timeout(timeout).forEach(bytes.add);
      return _Answer(response.statusCode, response.headers.value(HttpHeaders.retryAfterHeader), bytes.takeBytes());
    }

    return exchange().timeout(timeout, onTimeout: () {
      over = true;
      sending?.abort();
      throw TimeoutException(null);
    });
  }
}

final class _Session {
  const _Session(this.token, this.userId);

  final String token;
  final int userId;
}

/// A status, and a body that is read as JSON in UTF-8.
final class _Answer {
  const _Answer(this.status, this._retryAfter, this._body);

  final int status;
  final String? _retryAfter;
  final List<int> _body;

  /// In seconds or as a date (RFC 9110, section 10.2.3); null if there is none that can be read.
  Duration? get retryAfter {
    final text = _retryAfter?.trim() ?? '';
    final seconds = int.tryParse(text);
    // A duration counts microseconds: of too many seconds it would make a time in the past.
    if (seconds != null) return Duration(seconds: seconds.clamp(0, 1 << 31));
    try {
      final wait = HttpDate.parse(text).difference(DateTime.now());
      return wait.isNegative ? Duration.zero : wait;
    } on Exception {
      return null;
    }
  }

  /// The value of a success; any other status is thrown.
  Object? check() => switch (status) {
        200 || 201 || 202 => _value,
        HttpStatus.tooManyRequests => throw TooManyException(retryAfter),
        >= 500 => throw UnavailableException(status),
        400 || 401 || 403 || 404 || 422 => throw RefusedException(status, reasons),
        _ => throw const NotRingbookException(),
      };

  /// What the body says of a refusal. Digits are left out: nobody's number gets into a log this way.
  List<String> get reasons {
    try {
      return switch (_value) {
        {'errors': final List<Object?> errors} => [for (final one in errors) _withoutDigits('$one')],
        {'errors': final Map<String, Object?> errors} => [
            for (final MapEntry(key: field, value: reasons) in errors.entries)
              for (final one in reasons is List<Object?> ? reasons : [reasons])
                _withoutDigits(field == 'base' ? '$one' : '$field $one'),
          ],
        _ => const [],
      };
    } on NotRingbookException {
      return const [];
    }
  }

  Object? get _value {
    try {
      final text = utf8.decode(_body).trim();
      return text.isEmpty ? null : jsonDecode(text);
    } on FormatException {
      throw const NotRingbookException(); // the original would quote the body
    }
  }
}

String _withoutDigits(String text) => text.replaceAll(RegExp(r'\d(?:[ ().-]*\d){5,}'), '…');

Map<String, Object?> _map(Object? value) => value is Map<String, Object?> ? value : throw const NotRingbookException();

List<Object?> _list(Object? value) => value is List<Object?> ? value : throw const NotRingbookException();

T _field<T>(Map<String, Object?> map, String name) {
  final value = map[name];
  return value is T ? value : throw const NotRingbookException();
}

/// What the server says of an upload.
final class _Report {
  _Report(Map<String, Object?> wire, int gone, List<Contact> put)
      : created = _field<int>(wire, 'created'),
        updated = _field<int>(wire, 'updated'),
        deleted = _field<int>(wire, 'deleted'),
        rejected = [
          for (final MapEntry(key: position, value: reasons) in _map(wire['rejected']).entries)
            Rejection(_at(put, position, gone), [for (final reason in _list(reasons)) '$reason']),
        ];

  final int created;
  final int updated;
  final int deleted;
  final List<Rejection> rejected;

  /// Positions count from 0, over what is gone and then what is put.
  static Contact _at(List<Contact> put, String position, int gone) {
    final at = (int.tryParse(position) ?? -1) - gone;
    return at >= 0 && at < put.length ? put[at] : throw const NotRingbookException();
  }

  SyncResult as(Sent sent) =>
      SyncResult(sent, created: created, updated: updated, deleted: deleted, rejected: rejected);
}

// ── The sync ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Where [ContactSync] keeps what it knows of the server's book: one text. It holds names and numbers, so keep it
/// private to the app. Losing it costs a full upload, and nothing else.
abstract interface class SnapshotStore {
  /// The text that was saved last; null if there is none.
  Future<String?> load();

  /// Keep a text in place of the last one, whole or not at all; null forgets it.
  Future<void> save(String? text);
}

/// A snapshot in a file, in a folder of the app's own that exists.
final class FileSnapshot implements SnapshotStore {
  const FileSnapshot(this.file);

  final File file;

  @override
  Future<String?> load() async {
    try {
      return utf8.decode(await file.readAsBytes(), allowMalformed: true);
    } on PathNotFoundException {
      return null;
    }
  }

  @override
  Future<void> save(String? text) async {
    if (text == null) {
      try {
        await file.delete();
      } on PathNotFoundException {
        // It was gone already.
      }
      return;
    }
    final next = File('${file.path}.new');
    await next.writeAsString(text, flush: true);
    await next.rename(file.path);
  }
}

/// Reads the phone's contacts; null says that the app may not. What it throws counts as unreadable.
typedef ReadContacts = FutureOr<Iterable<Contact>?> Function();

/// Keeps this device's book on the server as the phone has it.
///
/// The first time, after a reinstall, after a crash and when somebody else has changed the book, the whole book is
/// sent, and replaces the one on the server. Otherwise only what has changed since the snapshot goes out.
///
/// Before anything is sent the snapshot is forgotten, and written anew once the server has answered. So there is one
/// only while it is certainly right, and being killed in between costs a full upload and nothing else.
///
/// Use one object for a device's book: its calls take turns, those of two objects would not.
final class ContactSync {
  ContactSync(this.ringbook, this.store, {this.checkEvery = const Duration(days: 1)});

  final Ringbook ringbook;
  final SnapshotStore store;

  /// How often the server's book is read back, to see whether it still is what the snapshot says. Between that, an
  /// answer that does not fit the snapshot tells the same.
  final Duration checkEvery;

  Future<void> _turn = Future.value();

  /// Bring the server's book up to what the phone has now.
  ///
  /// Throws [ContactsUnreadableException] if [read] throws or answers null, and [ContactsEmptyException] if it answers
  /// no contacts where there were some, unless [allowEmpty]; then nothing was sent. After any other
  /// [RingbookException], or when the store has thrown, simply run it again later.
  Future<SyncResult> run(ReadContacts read, {bool allowEmpty = false}) => _inTurn(() async {
        final now = await _phone(read);
        final owner = '${ringbook.server}|${ringbook.applicationId}|${await ringbook.userId}|${ringbook.udid}';
        final before = _Snapshot.parse(await store.load(), owner);
        if (now.isEmpty && !allowEmpty) {
          if (before == null || before.isEmpty) return const SyncResult(Sent.nothing);
          throw const ContactsEmptyException();
        }
        return before == null ? _whole(owner, now) : _changes(before, now);
      });

  /// Empty this device's book on the server, and forget the snapshot: when the permission to read the contacts has been
  /// revoked. The books of the user's other devices stay. If it throws, call it again later.
  Future<void> withdraw() => _inTurn(_withdraw);

  /// [withdraw], end this device's push subscriptions, and end the session. If it throws, the user is not logged out
  /// of the server yet: call it again.
  Future<void> logOut() => _inTurn(() async {
        await _withdraw();
        await ringbook.unsubscribe();
        await ringbook.endSession();
      });

  Future<void> _withdraw() async {
    await store.save(null);
    await ringbook._upload(force: true);
  }

  Future<T> _inTurn<T>(Future<T> Function() step) {
    final turn = _turn.then((_) => step());
    _turn = turn.then((_) {}, onError: (_) {});
    return turn;
  }

  /// Name by number, as the phone spells it. Of two names for one spelling the last wins, as on the server.
  Future<Map<String, String>> _phone(ReadContacts read) async {
    try {
      final contacts = await read();
      if (contacts == null) throw const ContactsUnreadableException();
      return {
        for (final Contact(:name, :phone) in contacts) _sendable(phone): _sendable(name.trim().isEmpty ? phone : name),
      };
    } on ContactsUnreadableException {
      rethrow;
    } on Exception catch (cause) {
      throw ContactsUnreadableException(cause);
    }
  }

  /// Half an emoji cannot be sent; it becomes a replacement character, and must be the same in the snapshot.
  static String _sendable(String text) => utf8.decode(utf8.encode(text));

  Future<SyncResult> _changes(_Snapshot before, Map<String, String> now) async {
    var known = before;
    if (before.isOlderThan(checkEvery)) {
      if (!before.isThe(await ringbook.addressBook())) return _whole(before.owner, now);
      known = before.checked();
    }
    final changes = known.changesTo(now);
    if (changes == null) return _whole(before.owner, now);
    if (changes.isEmpty) {
      if (known != before || !known.hasAll(now)) await store.save(known.after(changes, now, const []).text);
      return const SyncResult(Sent.nothing);
    }
    await store.save(null);
    final report = await ringbook._upload(gone: changes.gone, put: changes.put);
    if (!known.foretold(changes, report)) return _whole(before.owner, now);
    await store.save(known.after(changes, now, report.rejected).text);
    return report.as(Sent.changes);
  }

  Future<SyncResult> _whole(String owner, Map<String, String> now) async {
    final contacts = [for (final MapEntry(key: phone, value: name) in now.entries) Contact(name: name, phone: phone)];
    await store.save(null);
    final report = await ringbook._upload(put: contacts, force: true);
    // If every entry made a contact, the book is known. If not, only reading it back tells which spellings it holds.
    final book = report.created == contacts.length ? contacts : await ringbook.addressBook();
    final known = _Snapshot.of(owner, now, book, report.rejected);
    // The server keeps the book it had if it can take nothing of a new one; then there is no snapshot, either.
    if (known != null) await store.save(known.text);
    return report.as(Sent.wholeBook);
  }
}

/// What has changed on the phone: numbers that are gone, and contacts that are new or renamed.
final class _Changes {
  const _Changes(this.gone, this.put);

  final List<String> gone;
  final List<Contact> put;

  bool get isEmpty => gone.isEmpty && put.isEmpty;
}

/// What the phone had when the server's book was last known, and what the server made of it. Names by spelling.
final class _Snapshot {
  const _Snapshot(this.owner, this.checkedAt, this.kept, this.merged, this.rejected);

  /// After a whole upload, from the book that it left; null if that is not what the upload can have left.
  ///
  /// A contact that is missing there under its spelling stands under another, which ends alike; else somebody has just
  /// taken it out.
  static _Snapshot? of(String owner, Map<String, String> now, List<Contact> book, List<Rejection> rejections) {
    final inBook = {for (final Contact(:phone, :name) in book) phone: name};
    final ends = {for (final phone in inBook.keys) _end(phone)};
    final refused = {for (final rejection in rejections) rejection.contact.phone};
    final kept = <String, String>{}, merged = <String, String>{}, rejected = <String, String>{};
    now.forEach((phone, name) {
      final part = refused.contains(phone) ? rejected : (inBook[phone] == name ? kept : merged);
      part[phone] = name;
    });
    final known = _Snapshot(owner, _now(), kept, merged, rejected);
    return known.isThe(book) && merged.keys.map(_end).every(ends.contains) ? known : null;
  }

  /// Where all spellings of a number agree: countries differ in what stands before the last six digits.
  static String _end(String phone) {
    final digits = phone.replaceAll(RegExp(r'\D'), '');
    return digits.substring(max(0, digits.length - 6));
  }

  /// Null for a text that is damaged, or of another server, application, user or device.
  static _Snapshot? parse(String? text, String owner) {
    final Object? value;
    try {
      value = jsonDecode(text ?? 'null');
    } on FormatException {
      return null;
    }
    if (value
        case {
          'version': 1,
          'owner': final String of,
          'checked_at': final int at,
          'kept': final Map<String, Object?> kept,
          'merged': final Map<String, Object?> merged,
          'rejected': final Map<String, Object?> rejected,
        } when of == owner) {
      return _Snapshot(of, at, _names(kept), _names(merged), _names(rejected));
    }
    return null;
  }

  static Map<String, String> _names(Map<String, Object?> value) => {
        for (final MapEntry(:key, :value) in value.entries)
          if (value is String) key: value,
      };

  final String owner;

  /// When the server's book was last known to be `kept`, in milliseconds since 1970.
  final int checkedAt;

  /// In the server's book, spelled like this.
  final Map<String, String> kept;

  /// Other spellings of numbers in `kept`: the server has one contact for both.
  final Map<String, String> merged;

  /// Not taken.
  final Map<String, String> rejected;

  static int _now() => DateTime.now().millisecondsSinceEpoch;

  bool get isEmpty => kept.isEmpty && merged.isEmpty && rejected.isEmpty;

  String get text => jsonEncode({
        'version': 1,
        'owner': owner,
        'checked_at': checkedAt,
        'kept': kept,
        'merged': merged,
        'rejected': rejected,
      });

  /// Also when the clock has gone back.
  bool isOlderThan(Duration age) {
    final since = _now() - checkedAt;
    return since >= age.inMilliseconds || since < 0;
  }

  bool isThe(List<Contact> book) =>
      book.length == kept.length && book.every((contact) => kept[contact.phone] == contact.name);

  _Snapshot checked() => _Snapshot(owner, _now(), kept, merged, rejected);

  String? _nameOf(String phone) => kept[phone] ?? merged[phone] ?? rejected[phone];

  /// Nothing but what the phone has now?
  bool hasAll(Map<String, String> now) => kept.length + merged.length + rejected.length == now.length;

  /// Null if only a whole upload is sure to be right: a number may go under one spelling and stay under another.
  _Changes? changesTo(Map<String, String> now) {
    final gone = [for (final phone in kept.keys) if (!now.containsKey(phone)) phone];
    final put = [
      for (final MapEntry(key: phone, value: name) in now.entries)
        if (_nameOf(phone) != name) Contact(name: name, phone: phone),
    ];
    final unsure = put.any((contact) => merged.containsKey(contact.phone)) ||
        (gone.isNotEmpty && merged.keys.any(now.containsKey));
    return unsure ? null : _Changes(gone, put);
  }

  /// Does the answer to the changes fit what the server was believed to hold? A contact that was in the book and is not
  /// taken any more does not: it has to leave the book. (The counts alone may fit by chance.)
  bool foretold(_Changes changes, _Report report) {
    if (report.rejected.any((rejection) => kept.containsKey(rejection.contact.phone))) return false;
    final renamed = changes.put.where((contact) => kept.containsKey(contact.phone)).length;
    return report.updated == renamed &&
        report.deleted == changes.gone.length &&
        report.created == changes.put.length - renamed - report.rejected.length;
  }

  /// What is known once the changes are made.
  _Snapshot after(_Changes changes, Map<String, String> now, List<Rejection> rejections) {
    final refused = {for (final rejection in rejections) rejection.contact.phone};
    final taken = {
      for (final Contact(:phone, :name) in changes.put)
        if (!refused.contains(phone)) phone: name,
    };
    Map<String, String> still(Map<String, String> part) =>
        {for (final phone in part.keys) if (now.containsKey(phone) && !taken.containsKey(phone)) phone: now[phone]!};
    final known = {...still(kept), ...taken};
    return _Snapshot(owner, checkedAt, known, still(merged), {
      ...still(rejected),
      for (final phone in refused) phone: now[phone]!,
    });
  }
}
