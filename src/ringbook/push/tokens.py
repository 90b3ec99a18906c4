"""Checks of push tokens: could the provider of a channel reach this device? Nothing is sent to find out.

    Check                  raises Invalid, naming the field, unless the subscription can be used
    matching(pattern)      the check for a token that is one text
    browser                the check for a browser's subscription: endpoint, p256dh and auth
    allowed_endpoint(…)    may pushes be sent to this URL?

The checks are apart from the senders because a sender imports its provider's libraries, which the API does not need.
"""

import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from .. import errors
from ..config import Config
from ..model import Subscription
from ..outbound.networks import HTTPS_PORT, may_be_public

Check = Callable[[Subscription, Config], None]

INVALID = "is invalid"
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{1,100}={0,2}")
MAX_ENDPOINT = 2048
AUTH_BYTES = 16
POINT_BYTES = 65


def matching(pattern: str) -> Check:
    """The check that a subscription has a token, and that the whole token matches a regular expression."""
    compiled = re.compile(pattern)

    def check(subscription: Subscription, _config: Config) -> None:
        if not subscription.token:
            raise errors.Invalid("can't be blank", field="token")
        if not compiled.fullmatch(subscription.token):
            raise errors.Invalid(INVALID, field="token")

    return check


def browser(subscription: Subscription, config: Config) -> None:
    """Check the three values of a browser (W3C Push API, PushSubscription; RFC 8291 §3.1: a P-256 point, 16 bytes)."""
    if not allowed_endpoint(subscription.token, config):
        raise errors.Invalid("must be an https address on the public internet", field="endpoint")
    if len(_decoded(subscription.web_auth)) != AUTH_BYTES:
        raise errors.Invalid(INVALID, field="web_auth")
    if not is_on_curve(_decoded(subscription.web_p256dh)):
        raise errors.Invalid(INVALID, field="web_p256dh")


def allowed_endpoint(url: str, config: Config) -> bool:
    """May pushes be sent to this URL, which a user has sent? Names that resolve to private addresses are refused later.

    URLs that two parsers read differently are refused: requests are made with another parser than this function's.
    Source: WHATWG, "URL Standard", state machine: `\\` ends the host, and blanks are removed.
    """
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in " \\@"):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
    except ValueError:
        return False
    if len(url) > MAX_ENDPOINT or not host:
        return False
    if config.allow_private_addresses:
        return parts.scheme in ("https", "http")
    return parts.scheme == "https" and port in (HTTPS_PORT, *config.outgoing_ports) and may_be_public(host)


def _decoded(value: str | None) -> bytes:
    """The bytes of base64 in either alphabet; b"" for other text, and for more than a browser's values need."""
    if not BASE64.fullmatch(value or ""):  # the decoder skips other characters, and the text is stored unchanged
        return b""
    try:
        return base64.urlsafe_b64decode((value or "") + "==")
    except (ValueError, binascii.Error):
        return b""


def is_on_curve(point: bytes) -> bool:
    """Is this an uncompressed point of P-256?"""
    if len(point) != POINT_BYTES:
        return False
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        return False
    return True
