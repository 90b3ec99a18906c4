"""Verifies Firebase ID tokens, which show that a user owns a phone number or an e-mail address.

    Proof                          what a valid token verifies
    Certificates                   Google's public keys, cached as long as their headers allow
    verify(token, project, …)      the proof in a token; Invalid says what is wrong

Sources: Firebase, "Verify ID Tokens" (claims, certificates and their caching); RFC 7519 §4.1 (registered claims);
RFC 7518 §3.3 (RS256); RFC 9111 §4.2 and §5.3 (how long an answer is fresh).
"""

import email.utils
import math
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .. import errors
from ..logs import log
from ..outbound.requests import Outgoing, Unreachable

CERTIFICATES_URL = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
LEEWAY_SECONDS = 60
LARGEST_TOKEN = 8192
LARGEST_SUBJECT = 128
PAST = ("iat", "auth_time", "nbf")  # the last two where they are named
LATEST = 2**53  # of the moments in a token, in seconds
SHORTEST_SECONDS, USUAL_SECONDS, LONGEST_SECONDS = 1, 300, 86_400  # how long certificates are kept; usual: unsaid
OLD_KEYS_SECONDS = 60  # so long old keys do before their source is tried again
UNKNOWN_KEY_SECONDS = 30  # an unknown key id fetches at most so often: anybody can make one up
E164 = re.compile(r"\+[0-9]{1,15}")  # as Firebase writes every number
REFUSED = "the Firebase token is not valid: {why}"
Keys = dict[str, RSAPublicKey]


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified user: Firebase's id, the phone number (E.164) and the e-mail; "" for a missing value."""

    subject: str
    phone: str
    email: str


# ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Certificates:
    """The public keys by key id, fetched when they are needed; old ones stay while the source cannot be reached."""

    def __init__(self, outgoing: Outgoing, url: str = CERTIFICATES_URL) -> None:
        self.url = url
        self._outgoing = outgoing
        self._keys: Keys = {}
        self._stale_at = 0
        self._not_before = 0  # a source that takes long to fail is left alone for as long again
        self._unknown_at = -UNKNOWN_KEY_SECONDS
        self._fetches = 0
        self._turn = threading.Lock()

    def key(self, key_id: str, now: int) -> RSAPublicKey | None:
        """The key with this id, or None. Raises Unavailable when no key is stored at all.

        While the source cannot be reached, only the stored keys are valid, and an invented key id is refused as at any
        other time. One thread downloads at a time. Meanwhile other threads use an old key, or wait when there is none.
        """
        if now >= self._stale_at or key_id not in self._keys:
            self._renew_if_due(key_id, now)
        if not self._keys:
            raise errors.Unavailable("Firebase's certificates cannot be fetched just now. Try again.")
        return self._keys.get(key_id)

    def fetched(self) -> Keys:
        """The keys that the source publishes now, without storing them. Raises Unreachable."""
        return self._download()[0]

    def _renew_if_due(self, key_id: str, now: int) -> None:
        fetches_before = self._fetches
        if not self._turn.acquire(timeout=0 if key_id in self._keys else self._outgoing.timeout_seconds):
            return
        try:
            if self._fetches == fetches_before and self._due(now):
                self._renew(now)
        finally:
            self._turn.release()

    def _due(self, now: int) -> bool:
        """Is a download allowed: when the keys are stale, or for an unknown key id?"""
        if now < self._not_before:
            return False
        if now < self._stale_at:
            if now - self._unknown_at < UNKNOWN_KEY_SECONDS:
                return False
            self._unknown_at = now
        return True

    def _renew(self, now: int) -> None:
        began = time.monotonic()
        try:
            self._keys, fresh = self._download()
            self._stale_at = now + fresh
        except Unreachable as error:
            log.warning("Firebase certificates not fetched", url=self.url, why=str(error))
            self._not_before = now + round(2 * (time.monotonic() - began))
            if self._keys:
                self._stale_at = max(self._stale_at, now + OLD_KEYS_SECONDS)
        self._fetches += 1

    def _download(self) -> tuple[Keys, int]:
        """The keys, and for how many seconds they are fresh."""
        answer = self._outgoing.request("GET", self.url, headers={"Accept": "application/json"})
        if answer.status != 200:
            raise Unreachable(f"the answer has status {answer.status}")
        return read_keys(answer.body), fresh_seconds(answer.headers, time.time())


def read_keys(body: bytes) -> Keys:
    """The RSA keys in either of the forms that Google publishes: certificates by key id, or a JWK set.

    Raises Unreachable when there is none.
    """
    try:
        values: Any = msgspec.json.decode(body, type=dict[str, Any])
        found = _of_jwk_set(values) if isinstance(values.get("keys"), list) else _of_certificates(values)
    except (ValueError, TypeError, RecursionError, jwt.PyJWTError):
        raise Unreachable("the answer is neither certificates nor a JWK set") from None
    keys = {key_id: key for key_id, key in found.items() if isinstance(key, RSAPublicKey)}
    if not keys:
        raise Unreachable("the answer holds no RSA key")
    return keys


def _of_jwk_set(values: dict[str, Any]) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(values).keys
    return {key.key_id: key.key for key in keys if key.key_id and key.public_key_use in ("sig", None)}


def _of_certificates(values: dict[str, Any]) -> dict[str, Any]:
    texts = msgspec.convert(values, dict[str, str])
    return {key_id: x509.load_pem_x509_certificate(pem.encode()).public_key() for key_id, pem in texts.items()}


def fresh_seconds(headers: Mapping[str, str], now: float) -> int:
    """For how many seconds an answer may be cached by its headers (names in lower case), within bounds of ours."""
    said = headers.get("cache-control", "").lower()
    if re.search(r"\bno-(store|cache)\b", said):
        return SHORTEST_SECONDS
    if found := re.search(r"\bmax-age\s*=\s*\"?(\d+)", said):
        seconds = int(found[1][:9]) - _whole(headers.get("age", ""))
    elif "expires" in headers:
        seconds = _until(headers["expires"], now)
    else:
        seconds = USUAL_SECONDS
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, seconds))


def _whole(text: str) -> int:
    return int(text[:9]) if text.isascii() and text.isdigit() else 0


def _until(date: str, now: float) -> int:
    try:
        return math.floor(email.utils.parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, OverflowError):
        return 0


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(token: str, project: str, certificates: Certificates | None, now: int) -> Proof:
    """The proof in an ID token that was made for this project. Raises Invalid with the reason.

    certificates   None: only unsigned tokens, which the Firebase Auth emulator makes, are accepted

    The token's header is checked before keys are downloaded. Raises Unavailable when no key is stored at all.
    """
    if len(token) > LARGEST_TOKEN:
        raise _invalid("it is too long")
    header = _header(token)
    if certificates is None:
        _allow(header, "none", "it is not one of the Firebase Auth emulator")
        return _proof(_claims(token, None, project), now)
    _allow(header, "RS256", "it is not signed with RS256")
    return _proof(_claims(token, _key(header, certificates, now), project), now)


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _invalid("it cannot be read") from None


def _allow(header: dict[str, Any], algorithm: str, why: str) -> None:
    if header.get("alg") != algorithm:
        raise _invalid(why)


def _key(header: dict[str, Any], certificates: Certificates, now: int) -> RSAPublicKey:
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise _invalid("it names no key")
    key = certificates.key(key_id, now)
    if key is None:
        raise _invalid("its key is unknown")
    return key


def _claims(token: str, key: RSAPublicKey | None, project: str) -> dict[str, Any]:
    """The claims of a token whose signature, audience and issuer are right. Without a key, no signature is needed."""
    signed: dict[str, Any] = {"key": key, "algorithms": ["RS256"]} if key else {"algorithms": ["none"]}
    # Times are checked by `_proof`, with the time that we were given.
    options: Any = {
        "verify_signature": key is not None,
        "verify_aud": True,
        "verify_iss": True,
        "strict_aud": True,
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
        "require": ["exp", "iat", "sub", "aud", "iss"],
    }
    issuer = f"https://securetoken.google.com/{project}"
    try:
        return jwt.decode(token, **signed, audience=project, issuer=issuer, options=options)
    except jwt.MissingRequiredClaimError:
        raise _invalid("a claim is missing") from None
    except jwt.InvalidAudienceError:
        raise _invalid("it was made for another project") from None
    except jwt.InvalidIssuerError:
        raise _invalid("somebody else has issued it") from None
    except jwt.InvalidSignatureError:
        raise _invalid("its signature is wrong") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _invalid("it cannot be read") from None


def _proof(claims: dict[str, Any], now: int) -> Proof:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LARGEST_SUBJECT or not subject.isprintable():
        raise _invalid("it is about nobody")
    if _moment(claims["exp"]) + LEEWAY_SECONDS <= now:
        raise _invalid("it has expired")
    if any(_moment(claims[name]) - LEEWAY_SECONDS > now for name in PAST if name in claims):
        raise _invalid("it comes from the future")
    phone, address = claims.get("phone_number"), claims.get("email")
    whole = isinstance(phone, str) and E164.fullmatch(phone)
    verified = claims.get("email_verified") is True and isinstance(address, str)
    return Proof(subject, str(phone) if whole else "", str(address) if verified else "")


def _moment(value: Any) -> float:
    # Compared, since an integer may be too large for everything else; NaN is not between any two.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LATEST < value < LATEST:
        raise _invalid("a time in it is none")
    return value


def _invalid(why: str) -> errors.Invalid:
    return errors.Invalid(REFUSED.format(why=why), field="token")
