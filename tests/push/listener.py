"""Counterparts for Web Push and webhooks on the loopback, and what a sender of them is made with.

push_service(folder)   the npm web-push-testing server, as a context: browsers subscribe there, and it decrypts
PushService            subscribe, what a browser got, the end of a subscription
application(…)         an application with keys for Web Push, and its private key
message(…)             a push that wants to go out
attempt(…)             make an application's sender and send, once or more often
"""

import asyncio
import base64
import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from servers import free_port, running, wait_until

from ringbook.app_settings import AppSettings
from ringbook.config import Config
from ringbook.model import App
from ringbook.push.connections import Connections
from ringbook.push.transport import Message, Receipt, Sender, SenderContext

PROGRAM = Path(__file__).parents[1] / "e2e" / "node_modules" / "web-push-testing" / "src" / "bin" / "server.js"
NEED_PUSH_SERVICE = "The tests need node 20 or newer and the npm package web-push-testing: make test installs them"
NOW = 1_790_000_000


# ── the push service ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Browser:
    """A browser's subscription, as an app sends it to us."""

    endpoint: str
    p256dh: str
    auth: str
    hash: str


@dataclass(frozen=True)
class PushService:
    """The server; it accepts `userVisibleOnly` as a text only, and bodies as application/octet-stream only."""

    url: str

    def subscribe(self, vapid_public_key: str) -> Browser:
        """A new browser, that takes pushes signed with this key."""
        asked = {"userVisibleOnly": "true", "applicationServerKey": vapid_public_key}
        made = self._post("/subscribe", asked)["data"]
        # It names itself localhost, which may be another address than the one it listens on.
        endpoint = f"{self.url}/notify/{made['clientHash']}"
        return Browser(endpoint, made["keys"]["p256dh"], made["keys"]["auth"], made["clientHash"])

    def received(self, browser: Browser) -> list[Any]:
        """What the browser decrypted, in order."""
        texts = self._post("/get-notifications", {"clientHash": browser.hash})["data"]["messages"]
        return [json.loads(text) for text in texts]

    def expire(self, browser: Browser) -> None:
        """The user has taken the permission back."""
        self._post(f"/expire-subscription/{browser.hash}", {})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answered = answer.read()
        return json.loads(answered) if answered.startswith(b"{") else None


@contextmanager
def push_service(folder: Path) -> Iterator[PushService]:
    """The server, ready; its log stays in the folder."""
    node = shutil.which("node")
    if not node or not PROGRAM.exists():
        raise RuntimeError(NEED_PUSH_SERVICE)
    port, log = free_port(), folder / "push-service.log"
    service = PushService(f"http://127.0.0.1:{port}")
    with running([node, PROGRAM, port], log, folder=folder) as process:
        wait_until(lambda: service._post("/status", {}), OSError, process, log)
        yield service


# ── what a sender is made with ───────────────────────────────────────────────────────────────────────────────────────


def vapid_keys() -> tuple[str, str]:
    """A key pair for Web Push, public and private, as applications have them."""
    private = ec.generate_private_key(ec.SECP256R1())
    return point(private.public_key()), encoded(private.private_numbers().private_value.to_bytes(32))


def point(public: ec.EllipticCurvePublicKey) -> str:
    """A public key as a browser gives it."""
    return encoded(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def application(**settings: Any) -> tuple[App, str]:
    """An application with these settings, and its private key for Web Push."""
    public, private = vapid_keys()
    app = App(
        id=3,
        name="Test",
        auth_key="key",
        auth_secret="secret",
        hash_key=b"",
        vapid_public_key=public,
        settings=AppSettings(**settings),
        created_at=0,
    )
    return app, private


def message(payload: dict[str, Any], browser: Browser | None = None, **others: Any) -> Message:
    """A push to a browser; without one, to a browser of which nobody has the keys."""
    browser = browser or nobodys("https://push.example.org/send/1")
    usual = {
        "id": 12,
        "channel": "web",
        "environment": "production",
        "token": browser.endpoint,
        "web_p256dh": browser.p256dh,
        "web_auth": browser.auth,
        "created_at": NOW - 60,
        "expires_at": NOW + 600,
    }
    return Message(payload=payload, **{**usual, **others})


def nobodys(endpoint: str) -> Browser:
    """A browser at this address, with keys that were thrown away."""
    return Browser(endpoint, point(ec.generate_private_key(ec.SECP256R1()).public_key()), encoded(os.urandom(16)), "")


Made = Callable[[App, SenderContext], Sender]


def attempt(made: Made, app: App, private: str, *messages: Message, now: int = NOW, **reach: Any) -> list[Receipt]:
    """Make the sender and send one message after the other; private addresses are allowed unless `reach` says no."""

    async def sent() -> list[Receipt]:
        async with Connections(**({"allow_private": True} | reach)) as connections:
            sender = made(app, SenderContext(config=Config(), connections=connections, vapid_private_key=private))
            return [await sender.send(one, now) for one in messages]

    return asyncio.run(sent())
