"""Webhooks: sends events to an application's own backend, signed as "Standard Webhooks" 1.0.0 describes.

    sender(app, context)   sends an application's events; NotSetUp without an address or a key
    signature(key, …)      the signature, which a backend compares with its own
    read_answer(…)         the receipt for an answer

An event may come more than once; its id, `webhook-id`, is the same each time. Verification libraries for many languages
exist. The application chooses the address, so private networks are refused unless the operator allows them.

Source: Standard Webhooks, "Verifying webhook authenticity" and "Delivery success and failure".
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urljoin

import msgspec

from ..app_settings import WEBHOOK_PREFIX, webhook_key
from ..model import App
from ..outbound.requests import Outgoing, Unreachable, silence
from .transport import ACCEPTED, Cause, Message, NotSetUp, Outcome, Receipt, SenderContext, cause_of, later, unanswered

LATER = {408, 425, 429}
WORDS = {410: "your backend wants no more of these", 429: "your backend is asked too often"}


def sender(app: App, context: SenderContext) -> "Webhook":
    """Sends to webhook_url, signed with webhook_secret."""
    settings = app.settings
    if not settings.webhook_url:
        raise NotSetUp(f"webhook_url is empty (ringbook app set {app.id} webhook_url https://…)")
    try:
        key = webhook_key(settings.webhook_secret)
    except ValueError as error:
        raise NotSetUp(
            f'{error} (ringbook app set {app.id} webhook_secret "{WEBHOOK_PREFIX}$(openssl rand -base64 32)")'
        ) from None
    return Webhook(settings.webhook_url, key, context)


class Webhook:
    """One backend."""

    def __init__(self, url: str, key: bytes, context: SenderContext) -> None:
        self._url = url
        self._key = key
        self._connections = context.connections
        self._outgoing = Outgoing.of(context.config)

    async def send(self, message: Message, now: int) -> Receipt:
        """See `transport.Sender`; the timestamp is that of the attempt."""
        body, name = msgspec.json.encode(message.payload), str(message.payload["id"])
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, name, now, body),
        }
        try:
            answer = await self._connections.post(self._url, headers=headers, body=body, foreign=True)
        except Unreachable as error:
            return unanswered(error)
        return read_answer(answer.status, answer.headers, now)

    async def check(self, now: int) -> str:
        """Request the root page of the backend's server, because a backend takes every signed request for an event."""
        return await asyncio.to_thread(silence, self._outgoing, urljoin(self._url, "/"))


def signature(key: bytes, name: str, at: int, body: bytes) -> str:
    """HMAC-SHA256 over id, time and body, with full stops between them.

    at   of the attempt, UTC seconds
    """
    signed = hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def read_answer(status: int, answered: Mapping[str, str], now: int) -> Receipt:
    """Turn an answer into a receipt; nothing of its body is kept.

    answered   its headers, names in lower case

    2xx is ACCEPTED. 408, 425, 429 and 5xx are LATER; every other status, also 410, is REFUSED.
    """
    if 200 <= status < 300:
        return ACCEPTED
    if status in LATER or status >= 500:
        reason = f"{WORDS.get(status, 'your backend is in trouble')} ({status})"
        return later(status, reason, answered, now)
    if 300 <= status < 400:
        reason = f"redirects are not followed ({status}): set webhook_url to where it leads"
    else:
        reason = f"{WORDS.get(status, 'your backend does not take it')} ({status})"
    cause = Cause.REQUEST_REFUSED if status == 410 else cause_of(status)  # 410 ends no push token here
    return Receipt(Outcome.REFUSED, reason, cause=cause)
