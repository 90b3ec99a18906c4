"""The interface of push providers: a sender takes a message and returns a receipt.

    Message      one push to one device, the same at every attempt
    Receipt      the result of an attempt: its `Outcome` says what follows, its `Cause` says why
    Sender       sends the messages of one application through one channel
    SenderContext   what a sender needs besides its application
    NotSetUp     why an application cannot send through a channel; the text says what to do
    cause_of     the cause that an HTTP status stands for
    ACCEPTED     the receipt of a push that the provider has
    later        the receipt of an answer that asks to repeat the push
    unanswered   the receipt of a request that got no answer
    retry_after  how long a provider asks to wait

A message carries the *universal payload* (docs/wire.md §6.2): a flat JSON object with `message`, which each provider
shapes into what its own devices understand (`universal.py` knows the keys that are not for everybody).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from ..config import Config

if TYPE_CHECKING:
    from ..outbound.requests import Unreachable
    from .connections import Connections

LONGEST_WAIT_SECONDS = 86_400


class Outcome(Enum):
    """The result of one attempt, in one word."""

    ACCEPTED = "accepted"  # the provider has it
    GONE = "gone"  # the push token is dead; the subscription is removed
    LATER = "later"  # a temporary failure: try again
    REFUSED = "refused"  # an operator has to act: credentials, a payload that is too large


class Cause(Enum):
    """Why an attempt had its outcome. Code compares causes; the text of a receipt is for people only.

    The values are labels of metrics: they do not change, and hold no name, number or host.
    """

    ACCEPTED = "accepted"
    PRINTED = "printed"  # push_console is on: nothing was sent
    TOKEN_GONE = "token gone"  # the provider says that the push token, or the subscription, has ended or is invalid
    NEVER_ANSWERED = "never answered"  # an endpoint of a browser that has not answered in a day of attempts
    NOT_SET_UP = "not set up"  # a setting of the application is missing or cannot be used
    APPLICATION_DELETED = "application deleted"
    CREDENTIALS_REFUSED = "credentials refused"
    CREDENTIALS_EXPIRED = "credentials expired"  # a token that this server signed is too old for the provider
    WRONG_APPLICATION = "wrong application"  # the token belongs to another project, team or bundle id
    PAYLOAD_TOO_LARGE = "payload too large"
    PAYLOAD_INVALID = "payload invalid"  # it cannot be written as JSON
    REQUEST_REFUSED = "request refused"  # the provider refuses the request for another reason
    REDIRECTED = "redirected"  # redirects are not followed
    RATE_LIMITED = "rate limited"
    PROVIDER_UNAVAILABLE = "provider unavailable"  # the provider answers that it cannot take the push now
    NO_ANSWER = "no answer"  # no connection, no valid certificate, or no answer in time
    ADDRESS_NOT_ALLOWED = "address not allowed"  # a private network, a port or a scheme that is not allowed
    SUBSCRIPTION_ENDED = "subscription ended"  # by the app, before the push was sent
    CONTACT_REMOVED = "contact removed"  # by the recipient of a joined push, before it was sent
    CONTACT_HIDES = "contact hides"  # the user whom a joined push is about has changed who is told
    NOTIFY_OFF = "notify off"  # the recipient of a joined push wants none
    NOT_SENT_IN_TIME = "not sent in time"  # it expired before an attempt
    UNREADABLE = "unreadable"  # the stored push cannot be decoded
    DATABASE_UNAVAILABLE = "database unavailable"
    SERVER_ERROR = "server error"  # an error of this server, which its log describes
    OTHER = "other"


class Receipt(Struct, frozen=True):
    """The result of one attempt.

    reason         for people: the provider's word, or a sentence of ours; never a token, a text or a key
    gone_at        with GONE, when the token died, UTC seconds; None where the provider does not say
    wait_seconds   with LATER, how long the provider asks us to wait
    silent         true when no answer came; None when this server is at fault, which says nothing about the host
    cause          for code
    """

    outcome: Outcome
    reason: str = ""
    gone_at: int | None = None
    wait_seconds: int | None = None
    silent: bool | None = False
    cause: Cause = Cause.OTHER


STATUS_CAUSES = {
    401: Cause.CREDENTIALS_REFUSED,
    403: Cause.CREDENTIALS_REFUSED,
    410: Cause.TOKEN_GONE,
    413: Cause.PAYLOAD_TOO_LARGE,
    408: Cause.PROVIDER_UNAVAILABLE,
    425: Cause.PROVIDER_UNAVAILABLE,
    429: Cause.RATE_LIMITED,
}


def cause_of(status: int) -> Cause:
    """The cause that an HTTP status stands for, where a provider says no more."""
    if status in STATUS_CAUSES:
        return STATUS_CAUSES[status]
    if 200 <= status < 300:
        return Cause.ACCEPTED
    if 300 <= status < 400:
        return Cause.REDIRECTED
    return Cause.PROVIDER_UNAVAILABLE if status >= 500 else Cause.REQUEST_REFUSED


def unanswered(error: "Unreachable", *, silent: bool | None = False) -> Receipt:
    """The receipt of a request that got no answer: it is to be repeated."""
    cause = Cause.NO_ANSWER if error.allowed else Cause.ADDRESS_NOT_ALLOWED
    return Receipt(Outcome.LATER, str(error), silent=silent, cause=cause)


ACCEPTED = Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)


def later(status: int, reason: str, headers: Mapping[str, str], now: int, cause: Cause | None = None) -> Receipt:
    """The receipt of an answer that asks to repeat the push.

    headers   of the answer, names in lower case
    cause     the status's own, unless given
    """
    wait = retry_after(headers.get("retry-after"), now)
    return Receipt(Outcome.LATER, reason, wait_seconds=wait, cause=cause or cause_of(status))


class Message(Struct, frozen=True, kw_only=True):
    """One push to one device.

    id             unique in this database, and the same at every attempt
    token          the push token, or the endpoint of a Web Push subscription, or of a webhook ""
    payload        the universal payload
    expires_at     UTC seconds; it is not sent from then on
    alike          shared by messages of one application and channel whose payloads differ in the text only: there a
                   sender keeps what it has prepared for all of them
    """

    id: int
    channel: str
    environment: str
    token: str
    bundle: str | None = None
    web_auth: str | None = None
    web_p256dh: str | None = None
    payload: dict[str, Any]
    created_at: int
    expires_at: int
    alike: dict[str, Any] | None = None


class NotSetUp(Exception):
    """An application's settings do not allow sending through a channel; the text says which and what to do."""


class Sender(Protocol):
    """Sends the messages of one application through one channel, many at the same time, on one event loop."""

    async def send(self, message: Message, now: int) -> Receipt:
        """Make one attempt. Failures of the provider are receipts, not exceptions.

        now   UTC seconds
        """

    async def check(self, now: int) -> str:
        """Check the credentials with the provider, without a push: "" when they are right, else the reason.

        "" as well where a provider offers no such check.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderContext:
    """How a process reaches providers, and an application's own private key for Web Push (base64url, RFC 8292 §2)."""

    config: Config
    connections: "Connections"
    vapid_private_key: str


def retry_after(value: str | None, now: int) -> int | None:
    """The seconds that a `Retry-After` header asks to wait, at most a day; None when it cannot be read.

    now   UTC seconds

    Source: RFC 9110 §10.2.3 (seconds or a date) and §5.6.7 (the three forms of a date).
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(int(value), LONGEST_WAIT_SECONDS)
    try:
        date = parsedate_to_datetime(value)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(math.ceil(seconds), 0), LONGEST_WAIT_SECONDS)
