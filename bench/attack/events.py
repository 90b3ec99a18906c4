"""Floods of events to endpoints that never answer, and the delay of an honest sender's push.

    flooded      12 senders call POST /events for 100 recipients with 10 dead browsers each, until they are refused
    queued       the same with 100,000 pushes that are already in the queue, on both databases
    one_sender   how much one account can store: 9 days of as many events as the limits allow

The dead endpoints are sockets on the loopback that accept connections and never answer.
"""

import base64
import http.client
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from attack import Attack, Figure
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from databases import file_of, place
from keyed import SEAL, migrate
from served import Served, ringbook, serve

from ringbook import errors
from ringbook.config import Config, Limits
from ringbook.core import applications, delivery, events, subscriptions, users
from ringbook.core.delivery import Attempt
from ringbook.core.profile import columns
from ringbook.model import App, Caller, Subscription
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import db as store
from ringbook.store import pushes

SENDERS, RECIPIENTS, DEVICES, HOSTS = 12, 100, 10, 50
FLOOD_SECONDS, PATIENCE_SECONDS, SETTLING_SECONDS = 15, 60, 15
QUEUED = 100_000
MOST_SECONDS = 2.0
MOST_BYTES = 8 * 1024 * 1024
DAYS, DAY = 9, 86_400
NOW = 1_800_000_000
PASSWORD = "correct-horse"
TEXT = base64.b64encode(json.dumps({"message": "x" * 400}).encode()).decode()
POINT = (
    ec.derive_private_key(271, ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
)
KEYS = {"web_auth": "A" * 22, "web_p256dh": base64.urlsafe_b64encode(POINT).decode()}


# ── who takes part ───────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def dead_hosts() -> Iterator[list[str]]:
    """Addresses that accept connections and never answer."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2_000)) for _ in range(HOSTS)]
        yield [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


@dataclass
class Browser:
    """A push service that answers at once and records when it got a request."""

    url: str
    asked_at: list[float]


@contextmanager
def answering() -> Iterator[Browser]:
    """The push service of the honest user's browser."""
    asked_at: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked_at.append(time.monotonic())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Browser(f"http://127.0.0.1:{server.server_port}", asked_at)
    finally:
        server.shutdown()
        server.server_close()


class World:
    """An application in a database, and its users."""

    def __init__(self, url: str) -> None:
        migrate(url)
        made = json.loads(ringbook(url, "app", "create", "attacked", "--json"))
        self.keys = {"application_id": made["application_id"], "auth_key": made["auth_key"]}
        self.db = store.connect(url, pool=2, seal=SEAL)

    @property
    def app(self) -> App:
        """Create the application."""
        return applications.get(self.db, self.keys["application_id"])

    def person(self, login: str) -> int:
        """Create a user."""
        with self.db.write() as tx:
            return users.add(tx, self.app, columns({"login": login}), NOW).id

    def browser(self, user_id: int, endpoint: str, serial: int) -> tuple[int, str]:
        """Create a subscription of a user; its id and its lane."""
        one = Subscription(
            id=0,
            user_id=user_id,
            device=f"browser{serial}",
            platform="web",
            channel="web",
            environment="production",
            bundle=None,
            token=f"{endpoint}/{user_id}/{serial}",
            **KEYS,
        )
        made = subscriptions.subscribe(self.db, Config(allow_private_addresses=True), self.app, [one], NOW)
        return made[0].id, f"{self.app.id}:web?"

    def recipients(self, hosts: Sequence[str]) -> dict[int, list[int]]:
        """Create the recipients with their dead browsers; the ids of subscriptions by user."""
        found = {}
        for n in range(RECIPIENTS):
            user = self.person(f"recipient{n}")
            endpoints = [hosts[(n * DEVICES + serial) % len(hosts)] for serial in range(DEVICES)]
            found[user] = [self.browser(user, endpoint, serial)[0] for serial, endpoint in enumerate(endpoints)]
        return found


class Account:
    """A user who has signed in over HTTP."""

    def __init__(self, served: Served, world: World, login: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        user = {"login": login, "password": PASSWORD}
        token = self._ask("POST", "/session", "", world.keys)[1]["session"]["token"]
        self.id = self._ask("POST", "/users", token, {"user": user})[1]["user"]["id"]
        self._token = self._ask("POST", "/session", "", world.keys | {"user": user})[1]["session"]["token"]

    def tell(self, *user_ids: int) -> int:
        """Send an event; the status of the response."""
        event = {"notification_type": "push", "environment": "production", "message": TEXT}
        wanted = {"event": event | {"user": {"ids": ",".join(map(str, user_ids))}}}
        return self._ask("POST", "/events", self._token, wanted)[0]

    def _ask(self, method: str, path: str, token: str, values: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | ({"CB-Token": token} if token else {})
        self._connection.close()  # the server closes a connection that was silent for 5 seconds
        self._connection.request(method, path, json.dumps(values).encode(), headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


# ── the attacks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def flooded() -> list[Figure]:
    """12 senders flood the queue; then an honest user sends a push to a browser, in the same channel."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringbook-attack-")))
        where = stack.enter_context(place("sqlite", folder))
        hosts, honest = stack.enter_context(dead_hosts()), stack.enter_context(answering())
        url = where.empty()
        world = World(url)
        stack.enter_context(closing(world.db))
        recipients = list(world.recipients(hosts))
        before = stored(world, url)
        served = stack.enter_context(serve(url, folder, ALLOW_PRIVATE_ADDRESSES="true", LOG_LEVEL="error"))
        bob = Account(served, world, "bob")
        world.browser(bob.id, honest.url, 0)
        senders = [Account(served, world, f"sender{n}") for n in range(SENDERS)]
        statuses = flood(senders, recipients)
        seconds = attempted_after(bob, honest)
        rows = count(world)
        grown = stored(world, url) - before
    taken = statuses.count(201)
    return [
        Figure("calls taken, refused", f"{taken:,}, {statuses.count(429):,}", "some are refused", 429 in statuses),
        Figure("pushes stored", f"{rows:,}", f"{SENDERS * 1_000 + 1:,}", rows <= SENDERS * 1_000 + 1),
        Figure("database larger by, MiB", f"{grown / 2**20:.1f}", "12 × 8", grown <= SENDERS * MOST_BYTES),
        Figure("honest push attempted after, s", f"{seconds:.2f}", f"{MOST_SECONDS}", seconds <= MOST_SECONDS),
    ]


def flood(senders: list[Account], recipients: list[int]) -> list[int]:
    """Each sender calls repeatedly, also after refusals. Returns all statuses."""
    statuses: list[int] = []
    until = time.monotonic() + FLOOD_SECONDS

    def work(sender: Account) -> None:
        while time.monotonic() < until:
            statuses.append(sender.tell(*recipients))
            time.sleep(0.2 if statuses[-1] == 429 else 0)

    threads = [threading.Thread(target=work, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def attempted_after(bob: Account, honest: Browser) -> float:
    """Seconds from the response to the honest user's event until the push service gets the push."""
    if (status := bob.tell(bob.id)) != 201:
        raise AssertionError(f"the honest sender is answered {status}")
    began = time.monotonic()
    while not honest.asked_at and time.monotonic() < began + PATIENCE_SECONDS:
        time.sleep(0.005)
    return max(0.0, honest.asked_at[0] - began) if honest.asked_at else float("inf")


def queued(kind: str) -> list[Figure]:
    """100,000 pushes of 12 senders wait in the same lane as the honest user's push."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringbook-attack-")))
        where = stack.enter_context(place(kind, folder))
        hosts, honest = stack.enter_context(dead_hosts()), stack.enter_context(answering())
        url = where.empty()
        world = World(url)
        stack.enter_context(closing(world.db))
        fill(world, world.recipients(hosts))
        served = stack.enter_context(serve(url, folder, ALLOW_PRIVATE_ADDRESSES="true", LOG_LEVEL="error"))
        bob = Account(served, world, "bob")
        world.browser(bob.id, honest.url, 0)
        time.sleep(SETTLING_SECONDS)  # until the flood uses all its places, and its first requests have timed out
        waiting = count(world, "outcome IS NULL")
        seconds = attempted_after(bob, honest)
    return [
        Figure("pushes that wait before", f"{waiting:,}", f"{QUEUED:,}", waiting >= QUEUED),
        Figure("honest push attempted after, s", f"{seconds:.2f}", f"{MOST_SECONDS}", seconds <= MOST_SECONDS),
    ]


def fill(world: World, recipients: dict[int, list[int]]) -> None:
    """Put the flood into the queue directly, without limits."""
    lane, at = f"{world.app.id}:web?", int(time.time())
    places = [(user_id, one) for user_id, ids in recipients.items() for one in ids]
    for n in range(SENDERS):
        sender = world.person(f"sender{n}")
        rows: list[pushes.NewPush] = [
            (user_id, one, "web", "production", '{"message":"x"}', 1, lane)
            for turn in range(-(-QUEUED // SENDERS // len(places)))
            for user_id, one in places
        ]
        with world.db.write() as tx:
            pushes.add(tx, world.app.id, sender, rows, now=at, expires_at=at + DAY)


def one_sender() -> list[Figure]:
    """One account sends as much as the limits allow for 9 days, in small and in large events; no push is accepted."""
    return [figure for size in (400, 4_000) for figure in (growth(size, Outcome.GONE), growth(size, Outcome.REFUSED))]


def growth(size: int, outcome: Outcome) -> Figure:
    """The bytes that one sender's pushes occupy, for texts of this size and this outcome."""
    with tempfile.TemporaryDirectory(prefix="ringbook-attack-") as folder:
        url = f"sqlite:///{folder}/ringbook.db"
        world = World(url)
        with closing(world.db):
            sender = world.person("sender")
            for serial in range(DEVICES):
                world.browser(sender, "http://127.0.0.1:1", serial)
            world.db.scrub()
            before = stored(world, url)
            spend(world, sender, size, outcome)
            grown, rows = stored(world, url) - before, count(world)
    how = f"{rows:,} {'parked' if outcome is Outcome.REFUSED else 'settled'} pushes, texts of {size:,} bytes, MiB"
    return Figure(how, f"{grown / 2**20:.1f}", f"{MOST_BYTES >> 20}", grown <= MOST_BYTES)


def spend(world: World, sender: int, size: int, outcome: Outcome) -> None:
    """Send as much as the limits allow, every hour. Due pushes get the longest reason and the outcome."""
    app, event = world.app, events.Event(payload={"message": "x" * size}, to=events.Recipients(ids=[sender]))
    caller = Caller(app=app, user_id=sender, is_guest=False, address="192.0.2.1")
    limits = msgspec.structs.replace(Limits(), events_per_minute=0, events_per_address_per_minute=0)
    receipt = Receipt(outcome, "r" * delivery.LONGEST_REASON)
    for now in range(NOW, NOW + DAYS * DAY, DAY // 6):
        try:
            while True:
                events.send(world.db, limits, caller, event, now)
                due = delivery.claim(world.db, now, 2_000)
                attempts = [Attempt(due=one, receipt=receipt, began_at=0) for one in due]  # an old one ends nothing
                delivery.record(world.db, attempts, now)
        except errors.TooMany:
            pass
        while delivery.sweep(world.db, now - 7 * DAY):
            pass


def stored(world: World, url: str) -> int:
    """The bytes of the database file after a checkpoint."""
    world.db.scrub()
    return file_of(url).stat().st_size


def count(world: World, which: str = "1 = 1") -> int:
    """The number of pushes."""
    with world.db.read() as tx:
        return int(tx.tuples(f"SELECT COUNT(*) FROM pushes WHERE {which}")[0][0])


ATTACKS = (
    Attack("events: 12 senders to 1,000 dead browsers", flooded),
    Attack("events: 100,000 pushes wait, SQLite", lambda: queued("sqlite")),
    Attack("events: 100,000 pushes wait, PostgreSQL", lambda: queued("postgresql")),
    Attack("events: one sender for 9 days", one_sender),
)
