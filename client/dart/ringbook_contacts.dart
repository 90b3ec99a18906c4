/// Syncs a phone's contacts with a Ringbook server, for Flutter apps that keep the ConnectyCube SDK for chat.
///
/// This is one file without packages: copy it into your app. It needs Dart 3.0 or newer and `dart:io`, so it does not
/// run on the web.
///
/// ```dart
/// final ringbook = Ringbook(
///   server: Uri.parse('https://book.example.com'),
///   applicationId: 1,
///   authKey: 'KEY',
///   udid: udid, // created once by newUdid() and stored by the app
///   credentials: () async => FirebasePhone('my-project', (await firebaseUser.getIdToken())!),
/// );
/// final sync = ContactSync(ringbook, FileSnapshot(File('${folder.path}/ringbook.json')));
///
/// await sync.run(readContacts);                      // after log-in, on resume, when contacts change
/// final friends = await ringbook.registeredUsers();  // the contacts who are registered
/// ```
///
/// * [Ringbook] is the client for the server: session, registered contacts, who joined, push subscriptions.
/// * [ContactSync] keeps this device's address book on the server equal to the phone's contacts.
/// * [RingbookException] is the base class of all exceptions that both of them throw.
///
/// This file prints and logs nothing, and no text of an exception contains a phone number, a name or a token.
library;

import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:math';

// ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A contact of the phone. A person with several numbers is several contacts.
final class Contact {
  const Contact({required this.name, required this.phone});

  /// 1 to 255 characters. If it is blank, the sync uses the number as the name.
  final String name;

  /// The number in the phone's spelling. The server reads spaces, brackets, `+44 (0)…` and similar forms.
  final String phone;

  @override
  String toString() => 'Contact(…)';
}

/// A contact who is a registered user.
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

  /// The contact's name in the phone's address book.
  final String name;

  final String? phone;
  final String? fullName;

  /// The id that the user's app has set by [Ringbook.setExternalId], for example the id in the chat.
  final String? externalId;

  final String? avatar;

  @override
  String toString() => 'RegisteredUser($id)';
}

/// The registered contacts who are new since a cursor.
final class NewlyRegistered {
  const NewlyRegistered._(this.users, this.next);

  final List<RegisteredUser> users;

  /// The cursor for the next call of [Ringbook.registeredSince]. Store it, also if [users] is empty.
  final String next;

  @override
  String toString() => 'NewlyRegistered(${users.length} users)';
}

/// A contact who has joined.
final class JoinedContact {
  JoinedContact._(Map<String, Object?> item)
      : id = _field<int>(item, 'id'),
        userId = _field<int>(_map(item['user']), 'id'),
        name = _field<String?>(item, 'address_book_name'),
        phone = _field<String?>(_map(item['user']), 'phone'),
        fullName = _field<String?>(_map(item['user']), 'full_name'),
        createdAt = _time(_field<String>(item, 'created_at')),
        seen = _field<bool>(item, 'seen');

  /// The place in the list of who joined. It only grows; [Ringbook.markSeen] takes it.
  final int id;

  /// The user's id on the Ringbook server.
  final int userId;

  /// The contact's name in the user's own address books; null if the stored contact is damaged.
  final String? name;

  final String? phone;
  final String? fullName;

  /// When the server noticed, in UTC.
  final DateTime createdAt;

  final bool seen;

  @override
  String toString() => 'JoinedContact($id)';
}

/// A part of the list of who joined.
final class JoinedPage {
  const JoinedPage._(this.items, this.next, this.unseen);

  final List<JoinedContact> items;

  /// The cursor for `after` of [Ringbook.joined].
  final String next;

  /// How many items the app has not shown, up to 100: for example for a badge.
  final int unseen;

  @override
  String toString() => 'JoinedPage(${items.length} items, $unseen unseen)';
}

/// Who is told that the user has joined, or who finds the user by the number.
enum Audience {
  /// Everyone who has the user's number.
  everyone,

  /// Only those whose number the user has, too.
  mutual,

  nobody,
}

/// The hours of a day in which joined pushes wait, as `22:00` and `08:00`. They may reach over midnight.
final class QuietHours {
  const QuietHours(this.from, this.to);

  /// No quiet hours.
  static const none = QuietHours('', '');

  final String from;
  final String to;

  Map<String, Object?>? get _wire => from.isEmpty && to.isEmpty ? null : {'from': from, 'to': to};

  @override
  String toString() => 'QuietHours($from, $to)';
}

/// What holds for the user: the user's own choice, or else the application's.
final class JoinedSettings {
  JoinedSettings._(Map<String, Object?> wire)
      : announce = _audience(wire, 'announce'),
        discoverable = _audience(wire, 'discoverable'),
        notify = _field<bool>(wire, 'notify'),
        quiet = _quiet(wire['quiet']),
        timeZone = _field<String?>(wire, 'time_zone'),
        digest = _field<int>(wire, 'digest'),
        locale = _field<String?>(wire, 'locale');

  /// Who is told that the user has joined.
  final Audience announce;

  /// Who finds the user by the number.
  final Audience discoverable;

  /// Whether pushes are sent to the user when contacts join.
  final bool notify;

  /// [QuietHours.none] if there are none.
  final QuietHours quiet;

  /// An IANA name, such as `Europe/Berlin`.
  final String? timeZone;

  /// After so many joined pushes within 24 hours, the others come together.
  final int digest;

  /// The language of the pushes, such as `de`.
  final String? locale;

  static Audience _audience(Map<String, Object?> wire, String name) =>
      Audience.values.asNameMap()[_field<String>(wire, name)] ?? (throw const NotRingbookException());

  static QuietHours _quiet(Object? wire) =>
      wire == null ? QuietHours.none : QuietHours(_field<String>(_map(wire), 'from'), _field<String>(_map(wire), 'to'));

  @override
  String toString() => 'JoinedSettings(${announce.name}, ${discoverable.name})';
}

/// A contact that the server rejected, with the reasons. Rejected contacts do not affect the others.
final class Rejection {
  const Rejection(this.contact, this.reasons);

  final Contact contact;
  final List<String> reasons;

  @override
  String toString() => 'Rejection(${reasons.join(' ')})';
}

/// What a sync uploaded.
enum Sent {
  /// Nothing: the server's address book already equals the phone's.
  nothing,

  /// Only contacts that are new, renamed or removed.
  changes,

  /// The whole address book: the first time, after a reinstall or a crash, and if the server's address book has
  /// changed.
  wholeBook,
}

/// The result of a sync.
final class SyncResult {
  const SyncResult(this.sent, {this.created = 0, this.updated = 0, this.deleted = 0, this.rejected = const []});

  final Sent sent;
  final int created;
  final int updated;
  final int deleted;

  /// The contacts of this upload that the server rejected. They are uploaded again when they change on the phone.
  final List<Rejection> rejected;

  @override
  String toString() =>
      'SyncResult(${sent.name}, $created created, $updated updated, $deleted deleted, ${rejected.length} rejected)';
}

/// The credentials of a user.
sealed class Credentials {
  const Credentials();

  Map<String, Object?> get _wire;
}

/// The ID token that Firebase issues after a sign-in by phone.
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

/// A login or an e-mail address, and the password.
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

/// The push service of a device.
enum PushChannel {
  /// Firebase Cloud Messaging, on Android.
  fcm('gcm', 'android'),

  /// The Apple Push Notification service, on iOS.
  apns('apns', 'ios'),

  /// The Apple Push Notification service for VoIP calls, on iOS.
  apnsVoip('apns_voip', 'ios');

  const PushChannel(this._wire, this._platform);

  final String _wire;
  final String _platform;
}

// ── Exceptions ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// The base class of the exceptions of [Ringbook] and [ContactSync]. The text contains no number, name or token, so it
/// can be logged.
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

/// The server failed or was overloaded (5xx), also after the retries. It may have carried out the request all the same.
/// Try again later: every call of this file can be repeated without harm.
final class UnavailableException extends RingbookException {
  const UnavailableException(this.status) : super('the server is not available (status $status)');

  final int status;
}

/// A limit was reached: too many requests, or too many numbers that are new to the user. Nothing has changed.
final class TooManyException extends RingbookException {
  const TooManyException(this.retryAfter) : super('a limit was reached; try again later');

  /// The wait that the server asks for; null if it did not give one.
  final Duration? retryAfter;
}

/// The server refused to open a session, or refused a session that it had just opened.
final class SignInRefusedException extends RingbookException {
  SignInRefusedException(this.reasons) : super('the sign-in was refused: ${reasons.join('; ')}');

  final List<String> reasons;
}

/// The credentials belong to another user than before. Create a new [Ringbook] for the new user.
final class AnotherUserException extends RingbookException {
  const AnotherUserException() : super('the credentials belong to another user than before');
}

/// The server refused the request (400, 403, 404, 422). It would refuse the same request again.
final class RefusedException extends RingbookException {
  RefusedException(this.status, this.reasons)
      : super('the server refused the request ($status): ${reasons.join('; ')}');

  final int status;
  final List<String> reasons;
}

/// The answer is not one of a Ringbook server. For example, the log-in page of a Wi-Fi network may have answered.
final class NotRingbookException extends RingbookException {
  const NotRingbookException() : super('the answer is not one of a Ringbook server');
}

/// The app could not read the phone's contacts, or has no permission to. Nothing was uploaded.
final class ContactsUnreadableException extends RingbookException {
  const ContactsUnreadableException([this.cause]) : super('the contacts of this phone could not be read');

  /// The exception that the reading threw; null if the permission is missing. It can contain personal data: do not log
  /// it.
  final Object? cause;
}

/// The phone has no contacts, but had some at the last sync. Nothing was uploaded.
///
/// Some phones show an empty address book to apps without permission. If the user has really deleted every contact, run
/// the sync with `allowEmpty: true`.
final class ContactsEmptyException extends RingbookException {
  const ContactsEmptyException() : super('the phone has no contacts, but had some at the last sync');
}

// ── The server ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// Creates an id for this installation of the app: 128 random bits in hexadecimal. Create it once and store it.
///
/// If possible, store it where it survives a reinstall, such as in the keychain on iOS. Never copy it to another phone:
/// two phones with one id overwrite each other's address book. So exclude it from backups that can be restored to
/// another phone.
String newUdid() {
  final random = Random.secure();
  return [for (var i = 0; i < 16; i++) random.nextInt(256).toRadixString(16).padLeft(2, '0')].join();
}

/// The client for a Ringbook server, for one user on one device.
///
/// The first call opens the session. If the session has expired (401), the client calls [credentials], opens a new
/// session and repeats the call, once. After a time-out, a 5xx, or a 429 with `Retry-After`, it retries the call, up to
/// [tries] tries in all. Every request of this class can be repeated without harm.
final class Ringbook {
  /// Throws [ArgumentError] if the address is not https, unless [allowHttp] is set for development. Throws it also for
  /// a [udid] that is blank, longer than 64 characters, `null` or `undefined`: the server treats these words as no
  /// udid.
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
    // Servers and proxies close idle connections after some seconds. Reusing one at that moment would fail.
    if (httpClient == null) {
      _http.idleTimeout = const Duration(seconds: 3);
      _http.connectionTimeout = timeout * 2; // longer than the time-out of a whole try, which applies first
    }
  }

  /// The address of the server, with a path if the server is not at the root.
  final Uri server;

  final int applicationId;
  final String authKey;

  /// The id of this device, from [newUdid]. Each device has its own address book.
  final String udid;

  /// Returns the credentials. Called whenever a session is needed; its exceptions reach the caller.
  final Future<Credentials> Function() credentials;

  /// The time limit of one try, from connecting to the last byte of the answer.
  final Duration timeout;

  /// The maximum number of tries of a call.
  final int tries;

  /// The wait before the second try; it doubles for each further try. `Retry-After` of a 5xx overrides it.
  final Duration backoff;

  /// The longest wait. If the server asks for a longer one, the call throws at once.
  final Duration longestWait;

  final HttpClient _http;
  _Session? _session;
  Future<_Session>? _opening;
  int? _userId;

  /// The user's id on the Ringbook server. Opens a session if there is none.
  Future<int> get userId async => (_session ?? await _open()).userId;

  /// The contacts of this device's address book who are registered users, in address book order.
  Future<List<RegisteredUser>> registeredUsers() async {
    final answer = await _call('GET', 'address_book/registered_users', query: {'udid': udid});
    final items = _field<List<Object?>>(_map(answer), 'items');
    return [for (final item in items) RegisteredUser._(_map(_map(item)['user']))];
  }

  /// The registered contacts of this device's address book who are new since the call that returned this cursor as
  /// [NewlyRegistered.next]: they have signed up, may be found now, have another number, or are new in the book.
  ///
  /// Without a cursor, and if the server does not know it, all of them are new.
  Future<NewlyRegistered> registeredSince([String cursor = '0']) async {
    final answer = _map(await _call('GET', 'address_book/registered_users', query: {'udid': udid, 'since': cursor}));
    return NewlyRegistered._(
      [for (final item in _list(answer['items'])) RegisteredUser._(_map(_map(item)['user']))],
      _field<String>(answer, 'next'),
    );
  }

  /// The contacts of all of the user's address books who have joined, the newest first. Complete also if the user does
  /// not allow pushes, or if a push was lost.
  ///
  /// With [after], the [JoinedPage.next] of an earlier call: only what has come since, the oldest first. If there are
  /// [limit] items, there may be more: call it again. With [before], the id of an item: only older ones.
  Future<JoinedPage> joined({int limit = 100, String? after, int? before}) async {
    final answer = _map(await _call('GET', 'contact_joined', query: {
      'limit': '$limit',
      if (after != null) 'after': after,
      if (before != null) 'before': '$before',
    }));
    return JoinedPage._(
      [for (final item in _list(answer['items'])) JoinedContact._(_map(item))],
      _field<String>(answer, 'next'),
      _field<int>(answer, 'unseen'),
    );
  }

  /// Marks the items of [joined] up to this id as seen, for all of the user's devices. Returns how many are not.
  Future<int> markSeen(int upTo) async =>
      _field<int>(_map(await _call('POST', 'contact_joined/seen', body: {'up_to': upTo})), 'unseen');

  /// Who is told that the user joins, who finds the user, and how the user hears of others.
  Future<JoinedSettings> joinedSettings() async =>
      JoinedSettings._(_map(await _call('GET', 'contact_joined/settings')));

  /// Changes these settings; what is left out stays unchanged. [QuietHours.none] removes the quiet hours, and an empty
  /// text the time zone or the language. Quiet hours need a time zone.
  Future<JoinedSettings> changeJoinedSettings({
    Audience? announce,
    Audience? discoverable,
    bool? notify,
    QuietHours? quiet,
    String? timeZone,
    int? digest,
    String? locale,
  }) async =>
      JoinedSettings._(_map(await _call('PUT', 'contact_joined/settings', body: {
        if (announce != null) 'announce': announce.name,
        if (discoverable != null) 'discoverable': discoverable.name,
        if (notify != null) 'notify': notify,
        if (quiet != null) 'quiet': quiet._wire,
        if (timeZone != null) 'time_zone': timeZone.isEmpty ? null : timeZone,
        if (digest != null) 'digest': digest,
        if (locale != null) 'locale': locale.isEmpty ? null : locale,
      })));

  /// This device's address book on the server, in upload order.
  Future<List<Contact>> addressBook() async {
    final answer = await _call('GET', 'address_book', query: {'udid': udid});
    return [
      for (final one in _list(answer).map(_map))
        Contact(name: _field<String>(one, 'name'), phone: _field<String>(one, 'phone')),
    ];
  }

  /// Sets the user's id in another system, such as the chat. Other users read it as [RegisteredUser.externalId].
  Future<void> setExternalId(String externalId) async {
    await _call('PUT', 'users/${await userId}', body: {
      'user': {'external_id': externalId},
    });
  }

  /// Subscribes this device to pushes, such as "a contact joined"; returns the subscription's id. Call it again when
  /// the push service has issued a new token.
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

  /// Deletes this device's subscriptions. Those of the user's other devices stay.
  Future<void> unsubscribe() async {
    for (final one in _list(await _call('GET', 'subscriptions'))) {
      final subscription = _map(_map(one)['subscription']);
      if (_map(subscription['device'])['udid'] != udid) continue;
      await _deleteSubscription(_field<int>(subscription, 'id'));
    }
  }

  /// A try that was answered with 5xx may have deleted the subscription. So a 404 counts as success.
  Future<void> _deleteSubscription(int subscriptionId) async {
    try {
      await _call('DELETE', 'subscriptions/$subscriptionId');
    } on RefusedException catch (refused) {
      if (refused.status != HttpStatus.notFound) rethrow;
    }
  }

  /// Ends the session on the server. The next call opens a new one.
  Future<void> endSession() async {
    final session = _session;
    if (session == null) return;
    final answer = await _exchange('DELETE', 'session', token: session.token);
    if (answer.status != HttpStatus.unauthorized) answer.check();
    _session = null;
  }

  /// Closes the connections. Running calls fail.
  void close() => _http.close(force: true);

  Future<_Report> _upload({
    List<String> removed = const [],
    List<Contact> upserts = const [],
    bool force = false,
  }) async {
    final answer = await _call('POST', 'address_book', body: {
      // Removals come first: a removed phone may be the old spelling of a changed contact's number.
      'contacts': [
        for (final phone in removed) {'phone': phone, 'destroy': 1},
        for (final contact in upserts) {'name': contact.name, 'phone': contact.phone},
      ],
      'force': force ? 1 : 0,
      'udid': udid,
    });
    return _Report(_map(answer), removed.length, upserts);
  }

  // ── sessions

  Future<_Session> _open() => _opening ??= _signIn().whenComplete(() => _opening = null);

  Future<_Session> _signIn() async {
    final proof = await credentials();
    final keys = {'application_id': applicationId, 'auth_key': authKey};
    final answer = await _exchange('POST', 'session', body: {...keys, ...proof._wire});
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

  // ── requests and retries

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
        final retryWait = _repeatAfter(answer, attempt);
        if (retryWait == null) return answer;
        wait = retryWait;
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

  /// The wait before the next try; null if there is no further try.
  Duration? _repeatAfter(_Answer answer, int attempt) {
    final wait = switch (answer.status) {
      HttpStatus.tooManyRequests => answer.retryAfter,
      >= 500 => answer.retryAfter ?? _pause(attempt),
      _ => null,
    };
    return wait == null || wait > longestWait || attempt >= tries ? null : wait;
  }

  /// A random wait between half of the backoff and all of it, so that many phones do not retry at the same moment.
  Duration _pause(int attempt) => backoff * (1 << (attempt - 1)) * (0.5 + Random().nextDouble() / 2);

  Uri _url(String path, Map<String, String>? query) => server.replace(
        path: '${server.path.replaceFirst(RegExp(r'/+$'), '')}/$path',
        queryParameters: query,
      );

  Future<_Answer> _send(String method, Uri url, List<int>? body, String? token) {
    HttpClientRequest? pending;
    var timedOut = false;

    Future<_Answer> exchange() async {
      final request = pending = await _http.openUrl(method, url);
      if (timedOut) {
        request.done.ignore();
        request.abort();
        throw TimeoutException(null);
      }
      request.followRedirects = false; // never send the token to another server
      request.headers.set(HttpHeaders.acceptHeader, 'application/json');
      if (token != null) request.headers.set('CB-Token', token);
      if (body != null) {
        request.headers.set(HttpHeaders.contentTypeHeader, 'application/json; charset=utf-8');
        request.contentLength = body.length;
        request.add(body);
      }
      final response = await request.close();
      final bytes = BytesBuilder(copy: false);
      // A response cannot be aborted. The time-out on its stream closes the connection if the rest never arrives.
      await response.timeout(timeout).forEach(bytes.add);
      return _Answer(response.statusCode, response.headers.value(HttpHeaders.retryAfterHeader), bytes.takeBytes());
    }

    return exchange().timeout(timeout, onTimeout: () {
      timedOut = true;
      pending?.abort();
      throw TimeoutException(null);
    });
  }
}

final class _Session {
  const _Session(this.token, this.userId);

  final String token;
  final int userId;
}

/// An HTTP answer; the body is JSON in UTF-8.
final class _Answer {
  const _Answer(this.status, this._retryAfter, this._body);

  final int status;
  final String? _retryAfter;
  final List<int> _body;

  /// The wait of `Retry-After`, given in seconds or as a date (RFC 9110, section 10.2.3); null if missing or invalid.
  Duration? get retryAfter {
    final text = _retryAfter?.trim() ?? '';
    final seconds = int.tryParse(text);
    // A Duration counts microseconds in 64 bits. Without a limit, a large number of seconds would overflow.
    if (seconds != null) return Duration(seconds: seconds.clamp(0, 1 << 31));
    try {
      final wait = HttpDate.parse(text).difference(DateTime.now());
      return wait.isNegative ? Duration.zero : wait;
    } on Exception {
      return null;
    }
  }

  /// The JSON value of a successful answer. Throws the exception for any other status.
  Object? check() => switch (status) {
        200 || 201 || 202 => _value,
        HttpStatus.tooManyRequests => throw TooManyException(retryAfter),
        >= 500 => throw UnavailableException(status),
        400 || 401 || 403 || 404 || 422 => throw RefusedException(status, reasons),
        _ => throw const NotRingbookException(),
      };

  /// The reasons of a refusal. Phone numbers are masked, so that they do not get into logs.
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
      throw const NotRingbookException(); // the original exception quotes the body
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

DateTime _time(String text) => DateTime.tryParse(text) ?? (throw const NotRingbookException());

/// The server's report on an upload.
final class _Report {
  _Report(Map<String, Object?> wire, int removed, List<Contact> upserts)
      : created = _field<int>(wire, 'created'),
        updated = _field<int>(wire, 'updated'),
        deleted = _field<int>(wire, 'deleted'),
        rejected = [
          for (final MapEntry(key: position, value: reasons) in _map(wire['rejected']).entries)
            Rejection(_at(upserts, position, removed), [for (final reason in _list(reasons)) '$reason']),
        ];

  final int created;
  final int updated;
  final int deleted;
  final List<Rejection> rejected;

  /// The contact at a position. Positions count from 0, over the removals and then the changed contacts.
  static Contact _at(List<Contact> upserts, String position, int removed) {
    final at = (int.tryParse(position) ?? -1) - removed;
    return at >= 0 && at < upserts.length ? upserts[at] : throw const NotRingbookException();
  }

  SyncResult toResult(Sent sent) =>
      SyncResult(sent, created: created, updated: updated, deleted: deleted, rejected: rejected);
}

// ── The sync ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Stores the snapshot of [ContactSync], which is a text. It contains names and numbers, so keep it private to the app.
/// If the snapshot is lost, the next sync uploads the whole address book.
abstract interface class SnapshotStore {
  /// The text that was saved last; null if there is none.
  Future<String?> load();

  /// Replaces the text atomically; null deletes it.
  Future<void> save(String? text);
}

/// A snapshot store in a file. The folder must exist and be private to the app.
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
        // The file did not exist.
      }
      return;
    }
    final next = File('${file.path}.new');
    await next.writeAsString(text, flush: true);
    await next.rename(file.path);
  }
}

/// Reads the phone's contacts; returns null if the app has no permission. If it throws, the contacts count as
/// unreadable.
typedef ReadContacts = FutureOr<Iterable<Contact>?> Function();

/// Keeps this device's address book on the server equal to the phone's contacts.
///
/// The first sync uploads the whole address book, which replaces the one on the server. So does a sync after a
/// reinstall or a crash, or after another program has changed the address book. Other syncs upload only the changes
/// since the snapshot.
///
/// The sync deletes the snapshot before each upload and writes it again after the server's answer. So a snapshot exists
/// only while it is correct. If the app is killed during an upload, the next sync uploads the whole address book.
///
/// Use one object per device. The calls of one object run one after the other; those of two objects do not.
final class ContactSync {
  ContactSync(this.ringbook, this.store, {this.checkEvery = const Duration(days: 1)});

  final Ringbook ringbook;
  final SnapshotStore store;

  /// How often the server's address book is compared with the snapshot. Between these checks, an unexpected report on
  /// an upload also reveals that another program has changed the address book.
  final Duration checkEvery;

  Future<void> _lastTask = Future.value();

  /// Makes the server's address book equal to the phone's contacts.
  ///
  /// Throws [ContactsUnreadableException] if [read] throws or returns null. Throws [ContactsEmptyException] if [read]
  /// returns no contacts, there were some at the last sync, and [allowEmpty] is false. In both cases nothing was
  /// uploaded. After any other exception, run the sync again later.
  Future<SyncResult> run(ReadContacts read, {bool allowEmpty = false}) => _serialize(() async {
        final now = await _readPhone(read);
        final owner = '${ringbook.server}|${ringbook.applicationId}|${await ringbook.userId}|${ringbook.udid}';
        final before = _Snapshot.parse(await store.load(), owner);
        if (now.isEmpty && !allowEmpty) {
          if (before == null || before.isEmpty) return const SyncResult(Sent.nothing);
          throw const ContactsEmptyException();
        }
        return before == null ? _uploadAll(owner, now) : _uploadChanges(before, now);
      });

  /// Empties this device's address book on the server and deletes the snapshot. Call it when the user has revoked the
  /// permission to read the contacts. The address books of the user's other devices stay. If it throws, call it again.
  Future<void> withdraw() => _serialize(_withdraw);

  /// Calls [withdraw], deletes this device's push subscriptions, and ends the session. If it throws, the user is not
  /// logged out completely: call it again.
  Future<void> logOut() => _serialize(() async {
        await _withdraw();
        await ringbook.unsubscribe();
        await ringbook.endSession();
      });

  Future<void> _withdraw() async {
    await store.save(null);
    await ringbook._upload(force: true);
  }

  Future<T> _serialize<T>(Future<T> Function() step) {
    final task = _lastTask.then((_) => step());
    _lastTask = task.then((_) {}, onError: (_) {});
    return task;
  }

  /// Names by phone, in the phone's spelling. If a spelling occurs twice, the last name wins, as on the server.
  Future<Map<String, String>> _readPhone(ReadContacts read) async {
    try {
      final contacts = await read();
      if (contacts == null) throw const ContactsUnreadableException();
      return {
        for (final Contact(:name, :phone) in contacts)
          _withoutLoneSurrogates(phone): _withoutLoneSurrogates(name.trim().isEmpty ? phone : name),
      };
    } on ContactsUnreadableException {
      rethrow;
    } on Exception catch (cause) {
      throw ContactsUnreadableException(cause);
    }
  }

  /// UTF-8 cannot encode a lone surrogate. It becomes a replacement character here, so that the snapshot has the same
  /// text.
  static String _withoutLoneSurrogates(String text) => utf8.decode(utf8.encode(text));

  Future<SyncResult> _uploadChanges(_Snapshot before, Map<String, String> now) async {
    var known = before;
    if (before.isOlderThan(checkEvery)) {
      if (!before.matchesBook(await ringbook.addressBook())) return _uploadAll(before.owner, now);
      known = before.checked();
    }
    final changes = known.changesTo(now);
    if (changes == null) return _uploadAll(before.owner, now);
    if (changes.isEmpty) {
      if (known != before || !known.hasOnly(now)) await store.save(known.after(changes, now, const []).text);
      return const SyncResult(Sent.nothing);
    }
    await store.save(null);
    final report = await ringbook._upload(removed: changes.removed, upserts: changes.upserts);
    if (!known.matchesReport(changes, report)) return _uploadAll(before.owner, now);
    await store.save(known.after(changes, now, report.rejected).text);
    return report.toResult(Sent.changes);
  }

  Future<SyncResult> _uploadAll(String owner, Map<String, String> now) async {
    final contacts = [for (final MapEntry(key: phone, value: name) in now.entries) Contact(name: name, phone: phone)];
    await store.save(null);
    final report = await ringbook._upload(upserts: contacts, force: true);
    // If every entry created a contact, the server's address book is known. Otherwise it has to be read.
    final book = report.created == contacts.length ? contacts : await ringbook.addressBook();
    final known = _Snapshot.of(owner, now, book, report.rejected);
    // If the server rejects every contact, it keeps its old address book. Then there is no snapshot.
    if (known != null) await store.save(known.text);
    return report.toResult(Sent.wholeBook);
  }
}

/// The changes on the phone: the phones of removed contacts, and the contacts that are new or renamed.
final class _Changes {
  const _Changes(this.removed, this.upserts);

  final List<String> removed;
  final List<Contact> upserts;

  bool get isEmpty => removed.isEmpty && upserts.isEmpty;
}

/// The phone's contacts at the last sync, and what the server did with them. Each map has names by phone.
final class _Snapshot {
  const _Snapshot(this.owner, this.checkedAt, this.kept, this.merged, this.rejected);

  /// The snapshot after an upload of the whole address book. Null if [book] cannot be the result of this upload,
  /// because another program has changed it since.
  ///
  /// If a contact's spelling is not in the book, another spelling of its number must be, with the same last digits.
  static _Snapshot? of(String owner, Map<String, String> now, List<Contact> book, List<Rejection> rejections) {
    final nameInBook = {for (final Contact(:phone, :name) in book) phone: name};
    final lastDigitsInBook = {for (final phone in nameInBook.keys) _lastDigits(phone)};
    final rejectedPhones = {for (final rejection in rejections) rejection.contact.phone};
    final kept = <String, String>{}, merged = <String, String>{}, rejected = <String, String>{};
    now.forEach((phone, name) {
      final part = rejectedPhones.contains(phone) ? rejected : (nameInBook[phone] == name ? kept : merged);
      part[phone] = name;
    });
    final known = _Snapshot(owner, _now(), kept, merged, rejected);
    return known.matchesBook(book) && merged.keys.map(_lastDigits).every(lastDigitsInBook.contains) ? known : null;
  }

  /// The last six digits, which are the same in all spellings of a number.
  static String _lastDigits(String phone) {
    final digits = phone.replaceAll(RegExp(r'\D'), '');
    return digits.substring(max(0, digits.length - 6));
  }

  /// Null if the text is damaged or belongs to another server, application, user or device.
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

  /// When the server's address book was last known to equal [kept], in milliseconds since 1970.
  final int checkedAt;

  /// The contacts in the server's address book, in this spelling.
  final Map<String, String> kept;

  /// Other spellings of numbers in [kept]. The server has one contact for all spellings of a number.
  final Map<String, String> merged;

  /// The contacts that the server rejected.
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

  /// Whether the last check is at least [age] ago. A check in the future, after a change of the clock, counts as old.
  bool isOlderThan(Duration age) {
    final since = _now() - checkedAt;
    return since >= age.inMilliseconds || since < 0;
  }

  bool matchesBook(List<Contact> book) =>
      book.length == kept.length && book.every((contact) => kept[contact.phone] == contact.name);

  _Snapshot checked() => _Snapshot(owner, _now(), kept, merged, rejected);

  String? _nameOf(String phone) => kept[phone] ?? merged[phone] ?? rejected[phone];

  /// Whether the snapshot has only contacts that the phone has now; the phone has all others already.
  bool hasOnly(Map<String, String> now) => kept.length + merged.length + rejected.length == now.length;

  /// The changes from this snapshot to the phone's contacts. Null if the whole address book has to be uploaded: a
  /// number may be removed in one spelling and stay in another.
  _Changes? changesTo(Map<String, String> now) {
    final removed = [for (final phone in kept.keys) if (!now.containsKey(phone)) phone];
    final upserts = [
      for (final MapEntry(key: phone, value: name) in now.entries)
        if (_nameOf(phone) != name) Contact(name: name, phone: phone),
    ];
    final unsure = upserts.any((contact) => merged.containsKey(contact.phone)) ||
        (removed.isNotEmpty && merged.keys.any(now.containsKey));
    return unsure ? null : _Changes(removed, upserts);
  }

  /// Whether the report on [changes] is the one that this snapshot predicts. It is not if the server rejected a contact
  /// that was in its address book: the contact must then be removed, which needs an upload of the whole address book.
  bool matchesReport(_Changes changes, _Report report) {
    if (report.rejected.any((rejection) => kept.containsKey(rejection.contact.phone))) return false;
    final renamed = changes.upserts.where((contact) => kept.containsKey(contact.phone)).length;
    return report.updated == renamed &&
        report.deleted == changes.removed.length &&
        report.created == changes.upserts.length - renamed - report.rejected.length;
  }

  /// The snapshot after the changes.
  _Snapshot after(_Changes changes, Map<String, String> now, List<Rejection> rejections) {
    final rejectedPhones = {for (final rejection in rejections) rejection.contact.phone};
    final accepted = {
      for (final Contact(:phone, :name) in changes.upserts)
        if (!rejectedPhones.contains(phone)) phone: name,
    };
    Map<String, String> unchanged(Map<String, String> part) =>
        {for (final phone in part.keys) if (now.containsKey(phone) && !accepted.containsKey(phone)) phone: now[phone]!};
    final known = {...unchanged(kept), ...accepted};
    return _Snapshot(owner, checkedAt, known, unchanged(merged), {
      ...unchanged(rejected),
      for (final phone in rejectedPhones) phone: now[phone]!,
    });
  }
}
