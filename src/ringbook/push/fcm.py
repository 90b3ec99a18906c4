"""Firebase Cloud Messaging, HTTP v1: pushes to Android and other devices with a Firebase token.

    sender(app, context)             what sends an application's messages; NotSetUp says which setting is missing
    shaped(message, now)             the body of a request, None when it cannot be small enough
    data(payload)                    the keys and values that an app gets
    notification(payload)            what the system itself shows, where the payload asks for that
    read_answer(status, body, …)     the receipt for an answer

Sources: Firebase, "Method: projects.messages.send" with "REST Resource: projects.messages" (fields), "ErrorCode" and
"FCM error codes" (answers), "Best practices for FCM registration token management" (which tokens are dead), "Best
practices when sending FCM messages at scale" (when to try again), "FCM message types" (4,096 bytes); Google, "Using
OAuth 2.0 for Server to Server Applications" (access tokens).
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from google.auth import transport
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2 import service_account

from ..model import App
from ..outbound.requests import Answer, Outgoing, Unreachable
from .forms import Form
from .transport import (
    ACCEPTED,
    Cause,
    Message,
    NotSetUp,
    Outcome,
    Receipt,
    SenderContext,
    cause_of,
    retry_after,
    unanswered,
)
from .universal import MESSAGE, custom, cut, text

ADDRESS = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
LARGEST_BYTES = 4096
LONGEST_SECONDS = 2_419_200  # four weeks
TIMEOUT_SECONDS = 20.0  # to fetch an access token; a lease is longer
QUOTA_SECONDS = 60  # the least wait after QUOTA_EXCEEDED, where FCM names none
NO_DEVICE = "a token that no device has"
UNWRITABLE = (ValueError, TypeError, OverflowError, RecursionError)  # half a surrogate pair, an endless number

GONE = {"UNREGISTERED"}
LATER = {"INTERNAL", "QUOTA_EXCEEDED", "UNAVAILABLE"}
RESERVED = {"from", "message_type"}
RESERVED_PREFIXES = ("google", "gcm")
TAG = "tag"
SHOWN = ("title", "body", "image")
ANDROID_TEXTS = (
    "body_loc_key",
    "channel_id",
    "click_action",
    "color",
    "icon",
    "sound",
    TAG,
    "ticker",
    "title_loc_key",
)
ANDROID_LISTS = ("body_loc_args", "title_loc_args")
# How a malformed token is told from a malformed message: both are INVALID_ARGUMENT.
TOKEN_FIELD = "message.token"
TOKEN_WORDS = "The registration token is not a valid FCM registration token"
# Where the error code says more than the status.
CAUSES = {
    "INTERNAL": Cause.PROVIDER_UNAVAILABLE,
    "PERMISSION_DENIED": Cause.CREDENTIALS_REFUSED,
    "QUOTA_EXCEEDED": Cause.RATE_LIMITED,
    "SENDER_ID_MISMATCH": Cause.WRONG_APPLICATION,
    "THIRD_PARTY_AUTH_ERROR": Cause.CREDENTIALS_REFUSED,
    "UNAUTHENTICATED": Cause.CREDENTIALS_REFUSED,
    "UNAVAILABLE": Cause.PROVIDER_UNAVAILABLE,
}
ADVICE = {
    "PERMISSION_DENIED": "the service account may not send in its project, or the Cloud Messaging API is off there",
    "SENDER_ID_MISMATCH": "the token is of another Firebase project than fcm_service_account",
    "THIRD_PARTY_AUTH_ERROR": "Firebase has no key, or a wrong one, for the device's APNs or Web Push",
    "UNAUTHENTICATED": "FCM does not take the access token of fcm_service_account",
}


def sender(app: App, context: SenderContext) -> "Fcm":
    """The sender of an application's messages. Raises NotSetUp with the setting that is missing or wrong."""
    hint = f"ringbook app set {app.id} fcm_service_account @FILE.json"
    if not app.settings.fcm_service_account:
        raise NotSetUp(f"fcm_service_account is not set: {hint}")
    try:
        account = msgspec.json.decode(app.settings.fcm_service_account, type=dict[str, Any])
        project, _ = msgspec.convert([account["project_id"], account["token_uri"]], tuple[str, str])
        credentials = service_account.Credentials.from_service_account_info(account, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, GoogleAuthError, UnsupportedAlgorithm):
        raise NotSetUp(f"fcm_service_account is not the key file of a Firebase service account: {hint}") from None
    return Fcm(context, project, credentials)


class Fcm:
    """Sends the messages of one application; keeps its access token, which is good for an hour."""

    def __init__(self, context: SenderContext, project: str, credentials: service_account.Credentials) -> None:
        endpoint = context.config.fcm_endpoint
        url = f"{(endpoint or ADDRESS).rstrip('/')}/v1/projects/{quote(project, safe='')}/messages:send"
        self._destination = context.connections.to(url, trusted=bool(endpoint))
        self._access = Access(credentials, Outgoing.of(context.config))

    async def send(self, message: Message, now: int) -> Receipt:
        """Make one attempt. An access token that FCM refuses is replaced once."""
        try:
            body = shaped(message, now)
        except UNWRITABLE:
            return Receipt(Outcome.REFUSED, "payload cannot be written as JSON", cause=Cause.PAYLOAD_INVALID)
        if body is None:
            return Receipt(Outcome.REFUSED, "payload too large", cause=Cause.PAYLOAD_TOO_LARGE)
        receipt = await self._send(body, now)
        if receipt.outcome is Outcome.ACCEPTED and (left_out := _left_out(message)):
            reason = f"without {left_out} of its keys, whose names FCM keeps for itself"
            return Receipt(Outcome.ACCEPTED, reason, cause=Cause.ACCEPTED)
        return receipt

    async def check(self, now: int) -> str:
        """Send a dry run with a made-up token: when FCM refuses only the token, the credentials are right."""
        message = {"token": NO_DEVICE, "data": {MESSAGE: ""}, "android": {"priority": "high", "ttl": "0s"}}
        receipt = await self._send(msgspec.json.encode({"message": message, "validate_only": True}), now)
        return "" if receipt.outcome in (Outcome.ACCEPTED, Outcome.GONE) else receipt.reason

    async def _send(self, body: bytes, now: int) -> Receipt:
        try:
            answer = await self._post_authorized(body)
        except Unreachable as error:
            return unanswered(error)
        except TimeoutError:
            return Receipt(Outcome.LATER, "it took too long", cause=Cause.NO_ANSWER)
        except GoogleAuthError as error:
            return Receipt(Outcome.REFUSED, refused_words(error), cause=Cause.CREDENTIALS_REFUSED)
        return read_answer(answer.status, answer.body, answer.headers, now)

    async def _post_authorized(self, body: bytes) -> Answer:
        """Posts a message; once more with a new access token, when the first one is refused."""
        token = self._access.fresh() or await self._access.token()
        answer = await self._post(body, token)
        if answer.status != 401 or code(answer.body) == "THIRD_PARTY_AUTH_ERROR":
            return answer
        self._access.drop(token)
        return await self._post(body, await self._access.token())

    async def _post(self, body: bytes, token: str) -> Answer:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self._destination.post("", headers=headers, body=body)


# ── Access tokens ────────────────────────────────────────────────────────────────────────────────────────────────────


class Access:
    """The access token of a service account, fetched when it is needed and some minutes before it ends.

    It is fetched once for all senders that wait for it, and all of them get the same result.
    """

    def __init__(self, credentials: service_account.Credentials, outgoing: Outgoing) -> None:
        self._credentials = credentials
        self._request = Asking(outgoing)
        self._fetching: asyncio.Task[None] | None = None

    def fresh(self) -> str:
        """A token that is good for some minutes more; "" when one must be fetched."""
        return str(self._credentials.token) if self._credentials.token_state is TokenState.FRESH else ""

    async def token(self) -> str:
        """A valid token, within TIMEOUT_SECONDS. Unreachable when there is none now, GoogleAuthError if refused."""
        if not self.fresh():
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._fetched()
        return str(self._credentials.token)

    def drop(self, token: str) -> None:
        """Forget this token, so that another one is fetched."""
        if self._credentials.token == token:
            self._credentials.token = None

    async def _fetched(self) -> None:
        if not self._fetching or self._fetching.done():
            self._fetching = asyncio.create_task(asyncio.to_thread(self._fetch))
        try:
            await asyncio.shield(self._fetching)
        except Unreachable:
            if self._credentials.token_state is not TokenState.STALE:  # a stale one is good for some minutes yet
                raise

    def _fetch(self) -> None:
        try:
            self._credentials.refresh(self._request)  # type: ignore[no-untyped-call]
        except GoogleAuthError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError):  # the library stumbles over what is not JSON
            raise Unreachable("no access token: the answer of Google's token endpoint cannot be read") from None


class Asking(transport.Request):
    """Makes google-auth use our `Outgoing`, without repeats; Unreachable for failures that may be temporary."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **more: Any,
    ) -> "Answered":
        try:
            answer = self._outgoing.request(method, url, headers=headers, body=body)
        except Unreachable as error:
            raise Unreachable(f"no access token: {error}", allowed=error.allowed) from error
        if answer.status in (408, 429) or answer.status >= 500:
            raise Unreachable(f"no access token: Google's token endpoint answers with status {answer.status}")
        return Answered(answer)


class Answered(transport.Response):
    """An answer, as google-auth reads it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        """The status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        return self._answer.headers

    @property
    def data(self) -> bytes:
        """The body."""
        return self._answer.body


def refused_words(error: GoogleAuthError) -> str:
    """Google's error code (RFC 6749 §5.2) for a refused access token. The rest of its answer may quote the account."""
    said = error.args[1] if isinstance(error, RefreshError) and len(error.args) > 1 else None
    word = said.get("error") if isinstance(said, dict) else None
    why = word if _is_word(word) else "without saying why"
    return f"Google gives no access token to fcm_service_account ({why}): is the key still there, and the clock right?"


# ── What is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def shaped(message: Message, now: int) -> bytes | None:
    """The body of a request, with the text shortened to fit; None when the body is too large without the text.

    There is no collapse key: FCM keeps four of them per device at most, and drops pushes beyond. A push that FCM was
    given twice shows once all the same where the system shows it, by its tag.
    """
    ttl = f"{min(max(message.expires_at - now, 0), LONGEST_SECONDS)}s"
    if message.alike is not None and (body := _from_form(message, ttl)):
        return body
    values, shown = data(message.payload), notification(message.payload)
    rest = _size(shown) + _size(values | {MESSAGE: ""} if MESSAGE in values else values)
    kept = cut(values.get(MESSAGE, ""), lambda some: rest + len(some.encode()) <= LARGEST_BYTES)
    if kept is None:
        return None
    if MESSAGE in values:
        values[MESSAGE] = kept
    return _body(values, shown, message.token, ttl, _tag(message))


def _body(values: Mapping[str, str], shown: dict[str, Any], token: str, ttl: str, tag: str) -> bytes:
    android: dict[str, Any] = {"priority": "high", "ttl": ttl}
    made = {"token": token, "data": values, "android": android}
    if shown:
        made["notification"] = {key: shown.pop(key) for key in SHOWN if key in shown}
        android["notification"] = {TAG: tag} | shown
    return msgspec.json.encode({"message": made})


def _tag(message: Message) -> str:
    return f"ringbook-{message.id}"


def _from_form(message: Message, ttl: str) -> bytes | None:
    """The body of one of many messages that differ in their texts only; None where the text has to be shortened."""
    assert message.alike is not None
    if "fcm" not in message.alike:
        message.alike["fcm"] = _form(message.payload)
    form, rest = message.alike["fcm"]
    words = text(message.payload)
    if rest + form.count("text") * len(words.encode()) > LARGEST_BYTES:
        return None
    filled: bytes = form.fill(words, message.token, ttl, _tag(message))
    return filled


def _form(payload: Mapping[str, Any]) -> tuple[Form, int]:
    """The form of messages with this payload, and what FCM counts of it without the text."""

    def write(words: str, token: str, ttl: str, tag: str) -> bytes:
        said = _saying(payload, words)
        return _body(data(said), notification(said), token, ttl, tag)

    silent = _saying(payload, "")
    return Form(write, "text", "token", "ttl", "tag"), _size(data(silent)) + _size(notification(silent))


def _saying(payload: Mapping[str, Any], words: str) -> dict[str, Any]:
    """The payload with another text, also in what Android shows by itself."""
    shown = payload.get("android_fcm_notification")
    return {**payload, MESSAGE: words} | ({"android_fcm_notification": {**shown, "body": words}} if shown else {})


def _left_out(message: Message) -> int:
    """How many of the app's own keys are not sent."""
    if message.alike is not None and "left out" in message.alike:
        return int(message.alike["left out"])
    count = len(custom(message.payload)) - len(own(message.payload))
    if message.alike is not None:
        message.alike["left out"] = count
    return count


def _size(values: Mapping[str, Any]) -> int:
    """The bytes that FCM counts: those of keys and values."""
    return sum(len(key.encode()) + len(_as_text(value).encode()) for key, value in values.items())


def data(payload: Mapping[str, Any]) -> dict[str, str]:
    """The keys and values that an app gets: all are texts, the message as it is, other values as JSON."""
    words = {MESSAGE: text(dict(payload))} if payload.get(MESSAGE) is not None else {}
    return {key: _as_text(value) for key, value in own(payload).items()} | words


def own(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The app's own keys, without those that FCM reserves: FCM refuses a push that has one of them.

    Source: "REST Resource: projects.messages", `data`, and "ErrorCode", invalid data key, which list different keys.
    """
    kept = custom(dict(payload))
    return {key: value for key, value in kept.items() if key not in RESERVED and not key.startswith(RESERVED_PREFIXES)}


def notification(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The notification that Android shows, by FCM's names, without keys that FCM would refuse."""
    wished = payload.get("android_fcm_notification")
    if not isinstance(wished, dict):
        return {}
    shown: dict[str, Any] = {key: _as_text(wished[key]) for key in SHOWN + ANDROID_TEXTS if wished.get(key) is not None}
    lists = {key: [_as_text(one) for one in wished[key]] for key in ANDROID_LISTS if isinstance(wished.get(key), list)}
    return shown | lists


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# ── What is answered ─────────────────────────────────────────────────────────────────────────────────────────────────


def read_answer(status: int, body: bytes, headers: Mapping[str, str], now: int) -> Receipt:
    """The receipt for an answer of FCM.

    200 is ACCEPTED. UNREGISTERED is GONE, and so is INVALID_ARGUMENT when it is the token that is invalid.
    QUOTA_EXCEEDED, UNAVAILABLE, INTERNAL, 429 and 5xx are LATER. The rest is REFUSED, because an
    operator has to act. SENDER_ID_MISMATCH is REFUSED too: with the service account of a wrong project, GONE would end
    all subscriptions, and FCM's page on dead tokens does not name it. So is a 404 that does not name the token.
    """
    if status == 200:
        return ACCEPTED
    reason = code(body)
    words = f"{reason} ({status})" if reason else f"status {status}"
    if reason in GONE or (reason == "INVALID_ARGUMENT" and _is_about_token(_error(body))):
        return Receipt(Outcome.GONE, words, cause=Cause.TOKEN_GONE)
    cause = CAUSES.get(reason) or cause_of(status)
    if reason in LATER or status in (408, 429) or status >= 500:
        wait = retry_after(headers.get("retry-after"), now)
        wait = QUOTA_SECONDS if wait is None and status == 429 else wait
        return Receipt(Outcome.LATER, words, wait_seconds=wait, cause=cause)
    return Receipt(Outcome.REFUSED, f"{words}: {ADVICE[reason]}" if reason in ADVICE else words, cause=cause)


def code(body: bytes) -> str:
    """FCM's own error code, else the general status, "" when the answer names neither."""
    error = _error(body)
    found = [one.get("errorCode") for one in _objects(error.get("details"))] + [error.get("status")]
    return next((str(word) for word in found if _is_word(word)), "")


def _is_about_token(error: Mapping[str, Any]) -> bool:
    """Does FCM call the token invalid? Its list of wrong fields says so, or without a list its documented sentence."""
    details = _objects(error.get("details"))
    fields = [one.get("field") for detail in details for one in _objects(detail.get("fieldViolations"))]
    return fields == [TOKEN_FIELD] if fields else error.get("message") == TOKEN_WORDS


def _error(body: bytes) -> dict[str, Any]:
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (ValueError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def _objects(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _is_word(word: Any) -> bool:
    return isinstance(word, str) and 0 < len(word) < 64 and word.isascii() and word.replace("_", "").isalnum()
