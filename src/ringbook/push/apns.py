"""Apple Push Notification service: pushes to iOS and other Apple devices.

    sender(app, context)            what sends an application's messages; NotSetUp says which setting is missing
    headers(message, topic, …)      the headers of a request, without its authorization
    shaped(message)                 the body of a request, None when it cannot be small enough
    read_answer(status, body, …)    the receipt for an answer

Sources, all of Apple's documentation of User Notifications: "Establishing a token-based connection to APNs" (provider
tokens), "Sending notification requests to APNs" (headers), "Generating a remote notification" (the body and its keys)
and "Handling notification responses from APNs" (statuses, reasons, what may be tried again).
"""

import hashlib
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..model import App
from ..outbound.requests import Unreachable
from .connections import Connections, Destination
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
from .universal import APNS_PAYLOAD, custom, cut, text

ADDRESS = "https://api.push.apple.com"
SANDBOX_ADDRESS = "https://api.sandbox.push.apple.com"
VOIP = "apns_voip"
RENEWED_SECONDS = 40 * 60  # Apple refuses a provider token after an hour
SOONEST_SECONDS = 20 * 60  # and a new one before these are over
AHEAD_SECONDS = 60  # a token that is made so much later than now: the clock was set back, and Apple may refuse it
LARGEST_BYTES = 4096
LARGEST_VOIP_BYTES = 5120

GONE = {(400, "BadDeviceToken"), (410, "ExpiredToken"), (410, "Unregistered")}
LATER = {(400, "IdleTimeout"), (429, "TooManyProviderTokenUpdates"), (429, "TooManyRequests")}
EXPIRED = "ExpiredProviderToken"
# Where the reason says more than the status.
CAUSES = {
    EXPIRED: Cause.CREDENTIALS_EXPIRED,
    "BadEnvironmentKeyIdInToken": Cause.CREDENTIALS_REFUSED,
    "BadTopic": Cause.WRONG_APPLICATION,
    "DeviceTokenNotForTopic": Cause.WRONG_APPLICATION,
    "IdleTimeout": Cause.PROVIDER_UNAVAILABLE,
    "MissingTopic": Cause.WRONG_APPLICATION,
    "TopicDisallowed": Cause.WRONG_APPLICATION,
}
# What an operator can do about some refusals, besides reading Apple's word.
ADVICE = {
    EXPIRED: "is this machine's clock right?",
    "BadEnvironmentKeyIdInToken": "apns_key is for the other environment (sandbox or production)",
    "DeviceTokenNotForTopic": "the device's app has another bundle id than apns_topic or its subscription names",
    "InvalidProviderToken": "apns_key, apns_key_id and apns_team_id do not belong together, or the key was revoked",
    "TopicDisallowed": "apns_topic is not an app of the team apns_team_id",
}
TOPIC = re.compile(r"[A-Za-z0-9.-]{1,200}")
NAMES = uuid.UUID("6f2b1d3e-6c0f-4c5e-9d0c-3f2f6c2d8a41")
LOCALIZED = {
    "title_loc_key": "title-loc-key",
    "title_loc_args": "title-loc-args",
    "body_loc_key": "loc-key",
    "body_loc_args": "loc-args",
}
APS = {"ios_sound": "sound", "ios_category": "category", "ios_thread_id": "thread-id"}
SWITCHES = {"ios_content_available": "content-available", "ios_mutable_content": "mutable-content"}
ON = (1, "1", "true")  # True equals 1
UNWRITABLE = (ValueError, TypeError, OverflowError, RecursionError)  # half a surrogate pair, an endless number


def sender(app: App, context: SenderContext) -> "Apns":
    """What sends an application's messages; NotSetUp says which setting is missing or wrong."""
    settings = app.settings
    for name in ("apns_key", "apns_key_id", "apns_team_id"):
        if not getattr(settings, name):
            value = "@AuthKey_….p8" if name == "apns_key" else "…"
            raise NotSetUp(f"{name} is not set: ringbook app set {app.id} {name} {value}")
    return Apns(app, context, _key(app))


def _key(app: App) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(app.settings.apns_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise NotSetUp(f"apns_key is not a key of Apple's: ringbook app set {app.id} apns_key @AuthKey_….p8")
    return key


class ProviderToken:
    """The signed token that authenticates requests to APNs. Apple refuses old ones, and ones renewed too often."""

    def __init__(self, team: str, key_id: str, key: EllipticCurvePrivateKey) -> None:
        self._team = team
        self._key_id = key_id
        self._key = key
        self._token = ""
        self.made_at = 0

    def at(self, now: int) -> str:
        """The token to use now."""
        if not self._token or not -AHEAD_SECONDS <= now - self.made_at < RENEWED_SECONDS:
            self._token = jwt.encode({"iss": self._team, "iat": now}, self._key, "ES256", {"kid": self._key_id})
            self.made_at = now
        return self._token

    def newer(self, expired: str, now: int) -> str:
        """A token that replaces an expired one; "" when it is too early to make another."""
        if self._token == expired and now - self.made_at >= SOONEST_SECONDS:
            self._token = ""
        token = self.at(now)
        return token if token != expired else ""


# Apple counts the tokens on a connection, so all senders with the same key share one, also senders that are replaced.
TOKENS: WeakKeyDictionary[Connections, dict[tuple[str, str, str], ProviderToken]] = WeakKeyDictionary()


class Apns:
    """Sends the messages of one application."""

    def __init__(self, app: App, context: SenderContext, key: EllipticCurvePrivateKey) -> None:
        names = app.settings.apns_team_id, app.settings.apns_key_id
        self._app = app
        self._production = _destination(context, context.config.apns_endpoint, ADDRESS)
        self._development = _destination(context, context.config.apns_sandbox_endpoint, SANDBOX_ADDRESS)
        shared = TOKENS.setdefault(context.connections, {})
        self._token = shared.setdefault((*names, app.settings.apns_key), ProviderToken(*names, key))

    async def send(self, message: Message, now: int) -> Receipt:
        """Make one attempt; a provider token that Apple calls expired is renewed once, if it is old enough."""
        topic = self._app.settings.apns_topic or message.bundle or ""
        if not topic:
            reason = "apns_topic is not set, and the subscription names no bundle id"
            return Receipt(Outcome.REFUSED, reason, cause=Cause.NOT_SET_UP)
        if not _is_topic(topic):
            reason = "apns_topic, or the bundle id of the subscription, is not one"
            return Receipt(Outcome.REFUSED, reason, cause=Cause.NOT_SET_UP)
        try:
            body = shaped(message)
        except UNWRITABLE:
            return Receipt(Outcome.REFUSED, "payload cannot be written as JSON", cause=Cause.PAYLOAD_INVALID)
        if body is None:
            return Receipt(Outcome.REFUSED, "payload too large", cause=Cause.PAYLOAD_TOO_LARGE)
        token = self._token.at(now)
        receipt = await self._attempt(message, topic, body, token, now)
        if receipt.cause is Cause.CREDENTIALS_EXPIRED and (newer := self._token.newer(token, now)):
            receipt = await self._attempt(message, topic, body, newer, now)
        return receipt

    async def check(self, now: int) -> str:
        """Sign with the key, which was read when the sender was made. APNs offers no check without a push."""
        self._token.at(now)
        return ""

    async def _attempt(self, message: Message, topic: str, body: bytes, token: str, now: int) -> Receipt:
        destination = self._development if message.environment == "development" else self._production
        named = headers(message, topic, self._app)
        named["authorization"] = f"bearer {token}"
        try:
            answer = await destination.post(message.token, headers=named, body=body)
        except Unreachable as error:
            return unanswered(error)
        return read_answer(answer.status, answer.body, answer.headers, now)


def _destination(context: SenderContext, endpoint: str, usual: str) -> Destination:
    address = f"{(endpoint or usual).rstrip('/')}/3/device/"
    return context.connections.to(address, trusted=bool(endpoint), only_http2=True)


@lru_cache(maxsize=100)
def _is_topic(topic: str) -> bool:
    return TOPIC.fullmatch(topic) is not None


def headers(message: Message, topic: str, app: App) -> dict[str, str]:
    """The headers of a request, without its authorization.

    A repeated attempt carries the same `apns-id` and `apns-collapse-id`, so that a device shows it once.
    """
    kind = push_type(message)
    # Push ids start at one in every database, so the application's key makes this id unique.
    push_id = uuid5(f"{app.vapid_public_key} {message.id}")
    return {
        "apns-topic": f"{topic}.voip" if kind == "voip" and not topic.endswith(".voip") else topic,
        "apns-push-type": kind,
        "apns-priority": "5" if kind == "background" else "10",
        "apns-expiration": str(message.expires_at),
        "apns-id": push_id,
        "apns-collapse-id": push_id,
        "content-type": "application/json",
    }


def uuid5(name: str) -> str:
    """The UUID of a name among ours, as `uuid.uuid5` makes it, which takes three times as long (RFC 9562 §5.5)."""
    hashed = hashlib.sha1(NAMES.bytes + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(hashed[16], 16) & 3]
    return f"{hashed[:8]}-{hashed[8:12]}-5{hashed[13:16]}-{variant}{hashed[17:20]}-{hashed[20:32]}"


def push_type(message: Message) -> str:
    """`voip`, or the type in the payload, or `background` when nothing in the payload is shown or played."""
    if message.channel == VOIP:
        return "voip"
    wished = message.payload.get("ios_push_type")
    if wished in ("alert", "background"):
        return str(wished)
    if message.payload.get("ios_content_available") not in ON and not _given(message.payload):
        return "alert"
    aps = _aps(message.payload, text(message.payload))
    return "background" if set(aps) == {"content-available"} else "alert"


def shaped(message: Message) -> bytes | None:
    """The body of a request, with the text shortened to fit; None when the body is too large without the text."""
    most = LARGEST_VOIP_BYTES if message.channel == VOIP else LARGEST_BYTES
    words = text(message.payload)
    if message.alike is not None and words:
        if "apns" not in message.alike:
            message.alike["apns"] = Form(partial(_body, message), "text")
        body: bytes = message.alike["apns"].fill(words)
        if len(body) <= most:
            return body
    kept = cut(words, lambda some: len(_body(message, some)) <= most)
    return None if kept is None else _body(message, kept)


def _body(message: Message, words: str) -> bytes:
    """The body of a request with this text."""
    others = custom(message.payload) | _given(message.payload)
    always = {"content-available": 1} if push_type(message) == "background" else {}  # a background push must have it
    return msgspec.json.encode({**others, "aps": _aps(message.payload, words) | always})


def _given(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload for APNs that an app has written itself; {} without one."""
    given = payload.get(APNS_PAYLOAD)
    return given if isinstance(given, dict) else {}


def _aps(payload: Mapping[str, Any], words: str) -> dict[str, Any]:
    given = _given(payload).get("aps")
    aps: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    if isinstance(aps.get("alert"), dict):
        aps["alert"] = aps["alert"] | ({"body": words} if words else {})
    elif alert := _alert(payload, words):
        aps["alert"] = alert
    if (badge := _whole(payload.get("ios_badge"))) is not None:
        aps["badge"] = badge
    aps |= {name: payload[key] for key, name in APS.items() if isinstance(payload.get(key), str)}
    if isinstance(payload.get("ios_sound"), dict):  # a critical alert's
        aps["sound"] = payload["ios_sound"]
    return aps | {name: 1 for key, name in SWITCHES.items() if payload.get(key) in ON}


def _alert(payload: Mapping[str, Any], words: str) -> dict[str, Any]:
    alert: dict[str, Any] = {"body": words} if words else {}
    localized = payload.get("ios_loc_data")
    if isinstance(localized, dict):
        alert |= {name: localized[key] for key, name in LOCALIZED.items() if localized.get(key) is not None}
    return alert


def _whole(value: Any) -> int | None:
    """An integer, also from text; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        return int(value) if isinstance(value, int | float | str) and abs(int(value)) < 2**31 else None
    except (ValueError, OverflowError):
        return None


def read_answer(status: int, body: bytes, headers: Mapping[str, str], now: int) -> Receipt:
    """The receipt for an answer of APNs.

    200 is ACCEPTED; 410 and the pairs in `GONE` are GONE; 429, 5xx and the pairs in `LATER` are LATER; the rest is
    REFUSED, because an operator has to act.

    BadDeviceToken is GONE, although a sandbox's token in the production environment gets the same answer: Apple says
    not to repeat the push, and the subscription names the wrong environment. DeviceTokenNotForTopic is REFUSED, because
    a wrong apns_topic must not end every subscription. Apple recommends 15 minutes of waiting after 5xx; Ringbook
    repeats sooner, and then less and less often, as with the other providers.
    """
    if status == 200:
        return ACCEPTED
    reason, at = _reason_and_time(body)
    words = f"{reason} ({status})" if reason else f"status {status}"
    if status == 410 or (status, reason) in GONE:
        return Receipt(Outcome.GONE, words, gone_at=at, cause=Cause.TOKEN_GONE)
    wait = retry_after(headers.get("retry-after"), now)
    cause = CAUSES.get(reason) or cause_of(status)
    if status == 429 or status >= 500 or (status, reason) in LATER:
        return Receipt(Outcome.LATER, words, wait_seconds=wait, cause=cause)
    return Receipt(Outcome.REFUSED, f"{words}: {ADVICE[reason]}" if reason in ADVICE else words, cause=cause)


def _reason_and_time(body: bytes) -> tuple[str, int | None]:
    """Apple's reason ("" when it is missing), and when the token died: Apple sends milliseconds, this is seconds."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        return "", None
    reason, at = answer.get("reason"), answer.get("timestamp")
    is_word = isinstance(reason, str) and len(reason) < 64 and reason.isascii() and reason.isalnum()
    moment = at // 1000 if isinstance(at, int) and not isinstance(at, bool) and 0 < at < 2**53 else None
    return (str(reason) if is_word else ""), moment
