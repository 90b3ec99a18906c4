"""Sessions over HTTP (protocol §2): open, look at, end; sign in and out."""

from typing import Any

from .. import errors
from ..core import applications, sessions
from ..core.sessions import Credentials
from ..model import App
from .endpoint import Answer, Call, Route, Who
from .shapes import LoginRequest, OneSession, OneUser, SessionRequest, SignInIn, session_out, user_out
from .wire import Dialect, take

PROVIDERS = {"facebook", "twitter", "firebase_phone", "firebase_email"}


def open_session(call: Call) -> Answer:
    """Open a session

    For the application itself, for a user with login or email and password, or for a guest. A login that nobody has
    makes a new user, unless the application's setting `session_creates_user` is off (404 then). Requests of QuickBlox
    SDKs must be signed; a signature that is sent must be right.
    """
    asked = take(SessionRequest, call.values)
    app = applications.named(call.db, asked.application_id, asked.auth_key)
    check_signature(call, app, asked)
    refuse_provider(call.values)
    opened = opened_for(call, app, asked)
    answer = session_out(opened.session, opened.token, opened.user, call.dialect)
    return Answer(answer, status=201, session=opened.session)


def opened_for(call: Call, app: App, asked: SessionRequest) -> sessions.Opened:
    """The session that was asked for: the application's, a guest's or a user's."""
    ts, nonce = asked.timestamp if asked.timestamp is not None else call.now, asked.nonce or 0
    common: dict[str, Any] = {"ts": ts, "nonce": nonce, "now": call.now}
    if asked.user is None:
        return sessions.open_application(call.db, call.config.limits, app, call.address, **common)
    limits = call.config.limits
    if asked.user.guest:
        return sessions.open_guest(call.db, limits, app, asked.user.full_name or "", call.address, **common)
    return sessions.open_user(call.db, limits, app, credentials(asked.user), call.address, **common)


def check_signature(call: Call, app: App, asked: SessionRequest) -> None:
    """Refuse a wrong signature, and in QuickBlox's dialect a missing one."""
    if not asked.signature:
        if call.dialect is Dialect.QUICKBLOX:
            raise errors.Invalid("Unexpected signature")
        return
    once = "user" in call.values or "provider" in call.values
    message = signed_text(call.values)
    sessions.check_signature(call.db, app, message, asked.signature, asked.timestamp, once=once, now=call.now)


def signed_text(values: dict[str, Any]) -> str:
    """What a signature covers: all but itself, `name=value` sorted by name, raw, joined with & (protocol §2.1)."""
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


def refuse_provider(values: dict[str, Any]) -> None:
    """Say that a provider cannot be used, rather than open a session for nobody."""
    provider = values.get("provider")
    if provider or any(name in values for name in PROVIDERS):
        name = provider if isinstance(provider, str) and provider in PROVIDERS else "this provider"
        reason = f"signing in with {name} is not supported by this server: use login or email"
        raise errors.Invalid(reason, field="provider")


def credentials(given: SignInIn | LoginRequest) -> Credentials:
    """Login or email, and the password; Invalid names what is missing."""
    if not (given.login or given.email):
        raise errors.Invalid("login or email is required")
    if not given.password:
        raise errors.Invalid("can't be blank", field="password")
    return Credentials((given.login or "").strip(), (given.email or "").strip(), given.password)


def show_session(call: Call) -> Answer:
    """Show the session"""
    assert call.session
    user = sessions.user_of(call.db, call.session)
    return Answer(session_out(call.session, call.token, user, call.dialect))


def end_session(call: Call) -> Answer:
    """End the session

    The token is dead at once.
    """
    sessions.end(call.db, call.token)
    return Answer()


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

    The session of this token becomes the user's. A login that nobody has is refused like a wrong password.
    """
    refuse_provider(call.values)
    given = credentials(take(LoginRequest, call.values))
    opened = sessions.sign_in(call.db, call.config.limits, call.app, call.token, given, call.address, call.now)
    assert opened.user
    return Answer(OneUser(user_out(opened.user)), status=202, session=opened.session)


def sign_out(call: Call) -> Answer:
    """Sign out

    The session goes back to being the application's own.
    """
    sessions.sign_out(call.db, call.token, call.now)
    return Answer()


ROUTES = [
    Route(
        method="POST",
        path="/session",
        handler=open_session,
        who=Who.ANYBODY,
        status=201,
        request=SessionRequest,
        answer=OneSession,
        refusals=(401, 404, 422, 429),
        hashes=True,
    ),
    Route(method="GET", path="/session", handler=show_session, who=Who.SESSION, answer=OneSession),
    Route(method="DELETE", path="/session", handler=end_session, who=Who.SESSION),
    Route(method="DELETE", path="/session/list", handler=end_other_sessions),
    Route(method="DELETE", path="/session/{id}", handler=end_session_by_id, refusals=(404,)),
    Route(
        method="POST",
        path="/login",
        handler=sign_in,
        who=Who.SESSION,
        status=202,
        request=LoginRequest,
        answer=OneUser,
        refusals=(422, 429),
        hashes=True,
    ),
    Route(method="DELETE", path="/login", handler=sign_out, who=Who.SESSION),
]
