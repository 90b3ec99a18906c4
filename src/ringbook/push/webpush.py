"""Web Push: notifications in browsers, through the push service that each browser has chosen.

    sender(app, context)    sends an application's pushes to browsers; NotSetUp when its keys cannot be used
    shaped(payload)         the JSON text that a service worker receives
    encrypted(plain, …)     the body of the request: the text, encrypted for one browser
    headers(message, now)   the headers of the request, without the signed one
    origin(url)             the audience of a signed header
    read_answer(…)          the receipt for an answer

The address of a subscription is a secret, and a user chooses it: private networks are refused unless the operator
allows them.

Sources: RFC 8030 (the request), RFC 8188 and 8291 (encryption), RFC 8292 (VAPID: the signed header, whose key a browser
was given when it subscribed); Apple, "Sending web push notifications in web apps and browsers"; Mozilla, autopush's
"Error Codes"; Microsoft, "Push notification service request and response headers", for Edge on Windows.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyreqwest.http import Url

from ..model import App
from ..outbound.requests import Unreachable
from . import universal
from .connections import Connections
from .transport import ACCEPTED, Cause, Message, NotSetUp, Outcome, Receipt, SenderContext, cause_of, later, unanswered

CURVE = ec.SECP256R1()
RECORD_BYTES = 4096
LARGEST_BYTES = 3993  # of plain text: no push service may refuse what that comes to (RFC 8291 §4, RFC 8030 §7.2)
AUTH_BYTES = 16
SALT_BYTES = 16
LONGEST_TTL_SECONDS = 28 * 86_400  # FCM's; others keep a message for 30 days at most
TOKEN_SECONDS = 12 * 3600  # RFC 8292 §2 allows a day, counted by the push service's clock
TOKEN_SPARE_SECONDS = 3600
MOST_TOKENS = 1000  # a user may name any push service

GONE = {404, 410}  # 404 by RFC 8030 §7.3; Apple, Mozilla and Microsoft say 410 as well
LATER = {406, 408, 425, 429}  # Microsoft says 406, too, when it is asked too often
KEY = "the application's key is refused: did the browser subscribe with vapid_public_key, and is web_push_contact set?"
WORDS = {
    400: "the push service does not understand the request",
    401: KEY,
    403: KEY,
    404: "the subscription has ended",
    406: "too many pushes",
    410: "the subscription has ended",
    413: "payload too large",
    429: "too many pushes",
}
# Apple's reasons, which are quoted because they distinguish one 400 or 403 from another. Nothing else is quoted.
APPLE = (
    "BadAuthorizationHeader",
    "BadJwtToken",
    "BadVapidPublicKey",
    "BadWebPushRequest",
    "VapidPkHashMismatch",
)


def sender(app: App, context: SenderContext) -> "WebPush":
    """Sends with the keys that were created with the application."""
    try:
        key = ec.derive_private_key(int.from_bytes(_decoded(context.vapid_private_key)), CURVE)
    except ValueError:
        key = None
    if key is None or _point(key.public_key()) != _decoded(app.vapid_public_key):
        raise NotSetUp(
            f"application {app.id} has lost its keys for Web Push, and browsers accept no others:"
            " bring the database back from a backup, or make a new application (ringbook app create)"
        )
    return WebPush(app, context.connections, key)


class WebPush:
    """Caches the signed headers while they are valid: Apple asks for at most one new header an hour."""

    def __init__(self, app: App, connections: Connections, key: ec.EllipticCurvePrivateKey) -> None:
        self._public = app.vapid_public_key
        self._contact = app.settings.web_push_contact
        self._connections = connections
        self._key = key
        self._tokens: dict[str, tuple[str, int]] = {}

    async def send(self, message: Message, now: int) -> Receipt:
        """See `transport.Sender`. Invalid keys or an invalid address mean that the subscription is dead: GONE."""
        plain = shaped(message.payload)
        if plain is None:
            return Receipt(Outcome.REFUSED, WORDS[413], silent=None, cause=Cause.PAYLOAD_TOO_LARGE)
        try:
            body = encrypted(plain, message.web_p256dh or "", message.web_auth or "")
            signed = headers(message, now) | {"Authorization": self._authorization(origin(message.token), now)}
        except ValueError:
            return Receipt(Outcome.GONE, "no browser has such a subscription", cause=Cause.TOKEN_GONE)
        try:
            answer = await self._connections.post(message.token, headers=signed, body=body, foreign=True)
        except Unreachable as error:
            # Without a sign that our own network works, an outage of ours would end the subscriptions of others.
            counts = not error.ours and self._connections.is_online(message.token)
            return unanswered(error, silent=True if counts else None)
        return read_answer(answer.status, answer.body, answer.headers, now)

    async def check(self, now: int) -> str:
        """Check the contact. `sender` has checked the keys, and push services offer no check without a push."""
        if self._contact and not self._contact.startswith(("mailto:", "https:")):
            return "web_push_contact must begin with mailto: or https: (RFC 8292 §2.1)"
        return ""

    def _authorization(self, audience: str, now: int) -> str:
        token, until = self._tokens.get(audience, ("", 0))
        if not TOKEN_SPARE_SECONDS <= until - now <= TOKEN_SECONDS + TOKEN_SPARE_SECONDS:  # or the clock was set back
            if len(self._tokens) >= MOST_TOKENS:
                self._tokens.clear()
            until = now + TOKEN_SECONDS
            claims = {"aud": audience, "exp": until} | ({"sub": self._contact} if self._contact else {})
            token = jwt.encode(claims, self._key, "ES256")
            self._tokens[audience] = token, until
        return f"vapid t={token}, k={self._public}"


def shaped(payload: dict[str, Any]) -> bytes | None:
    """`{"data": {"message": …, and the app's own keys}}` (docs/wire.md §6.2), with the text cut where it is too long.

    None when the payload is too long even without the text.
    """
    custom = universal.custom(payload)

    def with_text(text: str) -> bytes:
        return msgspec.json.encode({"data": ({"message": text} if text else {}) | custom})

    text = universal.cut(universal.text(payload), lambda text: len(with_text(text)) <= LARGEST_BYTES)
    return None if text is None else with_text(text)


def encrypted(
    plain: bytes,
    p256dh: str,
    auth: str,
    *,
    salt: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """One record that only the browser can decrypt. Raises ValueError when the subscription's keys are invalid.

    p256dh, auth   the browser's keys, base64url
    salt, key      random for each message, unless given

    Source: RFC 8291 §3.4 and §4, RFC 8188 §2.
    """
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, _decoded(p256dh))
    secret = _decoded(auth)
    if len(secret) != AUTH_BYTES:
        raise ValueError("auth is not 16 bytes")
    salt, key = salt or os.urandom(SALT_BYTES), key or ec.generate_private_key(CURVE)
    ours = _point(key.public_key())
    shared = key.exchange(ec.ECDH(), receiver)
    material = _derived(shared, secret, b"WebPush: info\0" + _point(receiver) + ours, 32)
    content_key = _derived(material, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(material, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + RECORD_BYTES.to_bytes(4) + bytes([len(ours)]) + ours
    return header + AESGCM(content_key).encrypt(nonce, plain + b"\x02", None)


def headers(message: Message, now: int) -> dict[str, str]:
    """The headers of the request, without the signed one.

    A repeated push replaces the first one while that still waits for the browser, because they have the same topic
    (RFC 8030 §5.4; Mozilla documents letters and digits only). Apple and Microsoft refuse a TTL of 0.
    """
    topic = hashlib.sha256(f"{message.id} {message.created_at}".encode()).hexdigest()[:32]
    return {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "TTL": str(min(max(message.expires_at - now, 1), LONGEST_TTL_SECONDS)),
        "Urgency": "high",
        "Topic": topic,
    }


def origin(url: str) -> str:
    """Scheme, host and, unless it is the default, port (RFC 6454 §6.2). Raises ValueError for an invalid address.

    `Connections` parses addresses in the same way: a header for one push service must not be sent to another.
    """
    read = Url(url)
    if read.scheme not in ("https", "http"):
        raise ValueError("no address")
    return read.origin_ascii


def read_answer(status: int, body: bytes, answered: Mapping[str, str], now: int) -> Receipt:
    """Turn an answer into a receipt.

    answered   its headers, names in lower case

    2xx is ACCEPTED: 201 is usual, 202 promises a receipt later (RFC 8030 §5 and §5.1). `GONE` is GONE. `LATER` and 5xx
    are LATER. The rest is REFUSED, because an operator has to act; redirects are not followed.
    """
    if 200 <= status < 300:
        return ACCEPTED
    word = next((f" {word}" for word in APPLE if word.encode() in body), "")
    reason = f"{WORDS.get(status, 'the push service does not take it')} ({status}{word})"
    if status in GONE:
        return Receipt(Outcome.GONE, reason, cause=Cause.TOKEN_GONE)
    if status in LATER or status >= 500:
        return later(status, reason, answered, now, Cause.RATE_LIMITED if status == 406 else None)
    return Receipt(Outcome.REFUSED, reason, cause=cause_of(status))


def _derived(secret: bytes, salt: bytes, about: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, about).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _decoded(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "==")
