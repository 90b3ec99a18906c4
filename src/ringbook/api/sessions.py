"""Sessions over HTTP (protocol §2): open, show and end sessions; sign in and out."""

from collections.abc import Callable
from typing import Any

from .. import errors, profile_fields
from ..core import applications, sessions
from ..core.sessions import Credentials
from ..model import App
from . import proofs
from .endpoint import Answer, Call, Route, Who
from .shapes.proofs import CodeAsked
from .shapes.sessions import (
    LoginRequest,
    OneSession,
    SessionInList,
    SessionRequest,
    SignInIn,
    session_in_list,
    session_out,
)
from .shapes.users import OneUser, user_out
from .wire import Dialect, take


def open_session(call: Call) -> Answer:
    """Open a session

    For the application itself, for a user, or for a guest. A user signs in with login or email and password, or with a
    `provider`: `firebase_phone` or `firebase_email` with an ID token, `phone` with a code that a first request has
    requested (202). If the application has its own identity provider, a login whose password is wrong or unknown here
    is verified there. An unknown login, or a proof of an unknown phone or email, creates a user unless the
    application's setting `session_creates_user` is off (then 404). QuickBlox SDKs must sign their requests; a signature
    that is sent must be valid.
    """
    asked = take(SessionRequest, call.values)
    app = applications.by_id_and_key(call.db, asked.application_id, asked.auth_key)
    check_signature(call, app, asked)
    if proofs.asks_for_code(call.values):
        return proofs.ask_for_code(call, app)
    opened = opened_for(call, app, asked)
    answer = session_out(opened.session, opened.token, opened.user, call.dialect)
    return Answer(answer, status=201, session=opened.session)


def opened_for(call: Call, app: App, asked: SessionRequest) -> sessions.Opened:
    """Opens the requested session: for the application, a guest or a user."""
    ts, nonce = asked.timestamp if asked.timestamp is not None else call.now, asked.nonce or 0
    common: dict[str, Any] = {"ts": ts, "nonce": nonce, "now": call.now}
    if proofs.provider(call.values):
        return sessions.open_verified(call.db, app, proofs.user_of(call, app), **common, limits=call.config.limits)
    if asked.user is None:
        return sessions.open_application(call.db, call.config.limits, app, call.address, **common)
    limits = call.config.limits
    if asked.user.guest:
        return sessions.open_guest(call.db, limits, app, asked.user.full_name or "", call.address, **common)
    return logged_in(
        call,
        app,
        asked.user,
        lambda given: sessions.open_user(call.db, limits, app, given, call.address, **common),
        lambda user_id: sessions.open_verified(call.db, app, user_id, **common, limits=limits),
    )


def logged_in(
    call: Call,
    app: App,
    given: SignInIn | LoginRequest,
    with_password: Callable[[Credentials], sessions.Opened],
    as_user: Callable[[int], sessions.Opened],
) -> sessions.Opened:
    """Signs in by a password of this server, else through the application's identity provider.

    A wrong password here is not refused at once: another user may have signed up here with a login that the provider
    knows. The answer does not show whether the login exists here.
    """
    login, email = (given.login or "").strip(), (given.email or "").strip()
    if not (app.settings.cidp_url and login):
        profile_fields.check_readable(login, "login")
        return with_password(credentials(given))
    here = (
        profile_fields.is_readable(login, "login")
        and bool(given.password)
        and sessions.has_password(call.db, app, login, email)
    )
    if here:
        try:
            return with_password(credentials(given))
        except errors.SessionGone:
            raise
        except errors.Unauthorized:
            pass
    return as_user(proofs.user_of_provider(call, app, login, given.password or "", charged=here))


def check_signature(call: Call, app: App, asked: SessionRequest) -> None:
    """Refuses a wrong signature, and a missing one from QuickBlox SDKs."""
    if not asked.signature:
        if call.dialect is Dialect.QUICKBLOX:
            raise errors.Invalid("Unexpected signature")
        return
    once = "user" in call.values or "provider" in call.values or bool(proofs.provider(call.values))
    message = signed_text(call.values)
    limits, address = call.config.limits, call.address
    sessions.check_signature(
        call.db, limits, app, message, asked.signature, asked.timestamp, address, once=once, now=call.now
    )


def signed_text(values: dict[str, Any]) -> str:
    """The signed text: values without the signature, `name=value` sorted by name, raw, joined by & (protocol §2.1)."""
    pairs = sorted(pair for name, value in values.items() if name != "signature" for pair in flat(name, value))
    return "&".join(f"{name}={value}" for name, value in pairs)


def flat(name: str, value: Any) -> list[tuple[str, str]]:
    """`{"user": {"login": "x"}}` as `user[login]` and `x`; null is sent but not signed."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat(f"{name}[{key}]", item)]
    if isinstance(value, list):
        return [(name, ",".join(str(item) for item in value))]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


def credentials(given: SignInIn | LoginRequest) -> Credentials:
    """Login or email, and the password. Raises Invalid when one is missing."""
    if not (given.login or given.email):
        raise errors.Invalid("login or email is required")
    if not given.password:
        raise errors.Invalid("can't be blank", field="password")
    return Credentials((given.login or "").strip(), (given.email or "").strip(), given.password)


def show_session(call: Call) -> Answer:
    """Show the session"""
    assert call.session
    return Answer(session_out(call.session, call.token, call.user, call.dialect))


def end_session(call: Call) -> Answer:
    """End the session

    The token stops working at once.
    """
    sessions.end(call.db, call.token)
    return Answer()


def show_sessions(call: Call) -> Answer:
    """List your sessions

    The one that was used last comes first; the time of use is up to a minute old. The response has no tokens. Ringbook
    keeps neither addresses nor user agents nor locations of sessions, so these fields of the SDKs are empty.
    """
    return Answer([session_in_list(one) for one in sessions.of_user(call.db, call.user_id, call.now)])


def end_other_sessions(call: Call) -> Answer:
    """End the user's other sessions"""
    sessions.end_others(call.db, call.user_id, call.token)
    return Answer()


def end_session_by_id(call: Call) -> Answer:
    """End one of the user's sessions"""
    sessions.end_by_id(call.db, call.user_id, call.path_id())
    return Answer()


def sign_in(call: Call) -> Answer:
    """Sign in

    The session of this token becomes a session of the user. An unknown login is refused like a wrong password. A
    `provider` works as for opening a session; the first step of `phone` is answered with the code's request_id. The
    application's own identity provider is used as for opening a session.
    """
    given = take(LoginRequest, call.values)
    if proofs.asks_for_code(call.values):
        return proofs.ask_for_code(call, call.app)
    opened = signed_in(call, call.app, given)
    assert opened.user
    return Answer(OneUser(user_out(opened.user)), status=202, session=opened.session)


def signed_in(call: Call, app: App, given: LoginRequest) -> sessions.Opened:
    """Signs the session of this token in."""
    if proofs.provider(call.values):
        user_id = proofs.user_of(call, app)
        return sessions.sign_in_verified(call.db, app, call.token, user_id, call.now, limits=call.config.limits)
    limits = call.config.limits
    return logged_in(
        call,
        app,
        given,
        lambda known: sessions.sign_in(call.db, limits, app, call.token, known, call.address, call.now),
        lambda user_id: sessions.sign_in_verified(call.db, app, call.token, user_id, call.now, limits=limits),
    )


def sign_out(call: Call) -> Answer:
    """Sign out

    The session becomes an application session again.
    """
    sessions.sign_out(call.db, call.config.limits, call.token, call.address, call.now)
    return Answer()


FIREBASE = {"project_id": "your-firebase-project", "access_token": "the ID token"}
CODE = {"request_id": "3f6c0d9a51be4c7e8a20d4b17c95e2f8", "code": "123456"}
SIGN_INS: dict[str, tuple[str, dict[str, Any]]] = {
    "login": ("Login and password", {"login": "ann", "password": "correct-horse"}),
    "email": ("E-mail and password", {"email": "ann@example.com", "password": "correct-horse"}),
    "own": ("Your own identity provider: its login and password", {"login": "ann", "password": "the-provider's"}),
    "firebase_phone": ("Firebase, by phone", {"provider": "firebase_phone", "firebase_phone": FIREBASE}),
    "firebase_email": ("Firebase, by e-mail", {"provider": "firebase_email", "firebase_email": FIREBASE}),
    "phone": ("A code by SMS, first step", {"provider": "phone", "phone": {"number": "+44 7700 900123"}}),
    "phone_code": ("A code by SMS, second step", {"provider": "phone", "phone": CODE}),
}
APPLICATION = {"application_id": 1, "auth_key": "d1f0c5b2a7e94c3b8d6f1a20"}


def of_session(fields: dict[str, Any]) -> dict[str, Any]:
    """The body that opens a session with these fields of a sign-in: a password belongs to the object `user`."""
    return APPLICATION | (fields if "provider" in fields else {"user": fields})


SESSIONS = {
    **{name: (title, of_session(fields)) for name, (title, fields) in SIGN_INS.items()},
    "guest": ("A guest", of_session({"guest": True, "full_name": "Ann"})),
    "application": ("The application, without a user", APPLICATION),
}

ROUTES = [
    Route(
        method="POST",
        path="/session",
        handler=open_session,
        who=Who.ANYBODY,
        status=201,
        request=SessionRequest,
        examples=SESSIONS,
        answer=OneSession,
        also={202: CodeAsked},
        refusals=(401, 404, 422, 429),
        slow=True,
        anonymous_bytes=16 * 1024,  # an identity provider's token with many claims
    ),
    Route(
        method="GET",
        path="/session",
        handler=show_session,
        in_loop=show_session,
        who=Who.SESSION,
        answer=OneSession,
        shows_user=True,
    ),
    Route(method="DELETE", path="/session", handler=end_session, who=Who.SESSION),
    Route(method="GET", path="/session/list", handler=show_sessions, answer=list[SessionInList]),
    Route(method="DELETE", path="/session/list", handler=end_other_sessions),
    Route(method="DELETE", path="/session/{id}", handler=end_session_by_id, refusals=(404,)),
    Route(
        method="POST",
        path="/login",
        handler=sign_in,
        who=Who.SESSION,
        status=202,
        request=LoginRequest,
        examples=SIGN_INS,
        answer=OneUser,
        also={202: CodeAsked},
        refusals=(404, 422, 429),
        slow=True,
    ),
    Route(method="DELETE", path="/login", handler=sign_out, who=Who.SESSION),
]
