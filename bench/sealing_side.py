"""One side of bench/sealing.py: a process that does what it is told, with the Ringbook that is on its path.

It runs with the code from before the sealing, too, so it uses only what both have. Each line that it reads is a JSON
object with the name of a call and its arguments; each line that it writes holds the processor time and the elapsed
time in seconds, and the result.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from world import Steps, World

from ringbook.config import Config, Limits
from ringbook.core import announcing, applications, discovery, subscriptions, users
from ringbook.core.profile import columns
from ringbook.model import Caller, Entry, Subscription
from ringbook.store import db as databases
from ringbook.store import migrations
from ringbook.store.db import Rows

NO_LIMITS = Limits(permits=0, address_permits_per_day=0, network_permits_per_day=0, app_permits_per_day=10**12)
PEOPLE = 16_000  # the smallest world: each is in the books of many
BOOK = 1_000
BATCH = 2_000
FIRST_HOLDER = 10_000_001  # far above the ids of users who sign up
GAP = 2**20


def opened(url: str) -> Any:
    """The database with its schema, sealed if this Ringbook seals."""
    try:
        from keyed import SEAL, migrate
    except ImportError:
        migrations.migrate(url)
        return databases.connect(url)
    migrate(url)
    return databases.connect(url, seal=SEAL)


class Side:
    """The database and what is done with it."""

    def __init__(self, url: str) -> None:
        self.db = opened(url)
        self.now = int(time.time())
        made = applications.create(self.db, "sealing", self.now)
        self.app = made
        self.world = World(PEOPLE)
        self.book: list[Any] = []

    def people(self) -> int:
        """Users with phones, a fifth of each book."""
        for first in range(0, PEOPLE, BATCH):
            with self.db.write() as tx:
                for user_id in range(first + 1, first + BATCH + 1):
                    values = {"login": f"user{user_id}", "phone": str(self.world.number_of(user_id))}
                    users.add(tx, self.app, columns(values), self.now)
        return PEOPLE

    def prepare(self, owner: int) -> int:
        """The entries of an owner's book, which are not measured."""
        contacts = Steps(self.world, self.world.book(owner, BOOK)).new
        sent = json.loads(contacts.body)["contacts"]
        self.book = [Entry(phone=one["phone"], name=one["name"]) for one in sent]
        self.caller = Caller(app=self.app, user_id=owner, is_guest=False, address="192.0.2.1")
        return len(self.book)

    def upload(self) -> list[int]:
        """The book is uploaded."""
        report = discovery.upload(self.db, NO_LIMITS, self.caller, self.book, now=self.now)
        return [report.created, report.updated, report.deleted]

    def retrieve(self) -> str:
        """The book is read back; a digest of it."""
        return digest(discovery.retrieve(self.db, self.caller))

    def registered(self) -> str:
        """The users in the book; a digest of their numbers and names."""
        try:
            found = discovery.registered(self.db, self.caller, now=self.now)
        except TypeError:  # before the sealing
            found = discovery.registered(self.db, self.caller)
        return digest([(one.user.phone, one.contact_name) for one in found])

    # ── many holders of a number

    def holders(self, count: int, numbers: list[int]) -> int:
        """Users who all have these numbers in their books, and each one device."""
        applications.change(self.db, self.app.id, "contact_joined_enabled", "true")
        self.app = applications.get(self.db, self.app.id)
        first = FIRST_HOLDER
        made = {"app_id": self.app.id, "now": self.now, "first": first, "last": first + count - 1}
        names = "WITH RECURSIVE n (i) AS (SELECT CAST(:first AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :last) "
        with self.db.write() as tx:
            tx.run(
                "INSERT INTO users (id, app_id, is_guest, created_at, updated_at) "
                f"{names} SELECT i, :app_id, 0, :now, :now FROM n",
                **made,
            )
            tx.run(
                "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at) "
                f"{names} SELECT i, 0, :app_id, '', {len(numbers)}, {GAP * (len(numbers) + 1)}, :now FROM n",
                **made,
            )
            for at in range(first, first + count, BATCH):
                self._hold(tx, range(at, min(at + BATCH, first + count)), numbers)
        self._devices(names, made)
        return count

    def _hold(self, tx: Any, owners: range, numbers: list[int]) -> None:
        if hasattr(tx, "seal"):
            kinds: dict[str, type] = {"owner_id": int, "number": int, "sealed": bytes, "seq": int, "entry": int}
            rows = list(self._sealed(tx.seal, owners, numbers))
        else:
            kinds = {"owner_id": int, "number": int, "name": str, "seq": int}
            rows = [(o, n, f"Ann Example {o}", GAP * k) for o in owners for k, n in enumerate(numbers, 1)]
        names = ", ".join(kinds)
        tx.run(
            f"INSERT INTO contacts (book, app_id, {names}) SELECT 0, :app_id, {names} FROM :rows AS r WHERE 1 = 1",
            app_id=self.app.id,
            rows=Rows(kinds, rows),
        )

    def _sealed(self, seal: Any, owners: range, numbers: list[int]) -> Iterator[tuple[int, int, bytes, int, int]]:
        for owner in owners:
            for place, number in enumerate(numbers, 1):
                keyed = seal.number(self.app.id, number)
                name = f"Ann Example {owner}"
                yield owner, keyed, seal.contact(self.app.id, owner, 0, keyed, number, name, None), GAP * place, 0

    def _devices(self, names: str, made: dict[str, Any]) -> None:
        """One device through the server's own function, and copies of its row for the others."""
        wished = Subscription(
            id=0,
            user_id=made["first"],
            device="phone",
            platform="ios",
            channel="apns",
            environment="production",
            bundle="org.example.ringbook",
            token="5a" * 32,
        )
        subscriptions.subscribe(self.db, Config(), self.app, [wished], self.now)
        with self.db.write() as tx:
            found = tx.one("SELECT * FROM subscriptions WHERE user_id = :first", first=made["first"])
            same = ", ".join(name for name in found if name not in ("id", "user_id"))
            tx.run(
                f"INSERT INTO subscriptions (id, user_id, {same}) {names} SELECT i, i, {same}"
                " FROM n JOIN subscriptions AS s ON s.user_id = :first WHERE i > :first",
                first=made["first"],
                last=made["last"],
            )

    def join(self, number: int) -> int:
        """A user signs up with a number that many hold."""
        with self.db.write() as tx:
            users.add(tx, self.app, columns({"login": f"joiner{number}", "phone": str(number)}), self.now)
        return number

    def announce(self) -> int:
        """Store the pushes to all holders; how many there are in all."""
        while announcing.expand(self.db, self.now + 1):
            pass
        with self.db.read() as tx:
            return int(tx.tuples("SELECT COUNT(*) FROM pushes")[0][0])


def digest(value: Any) -> str:
    """The same for the same value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def main() -> None:
    """Do what each line says."""
    side = Side(sys.argv[1])
    for line in sys.stdin:
        told = json.loads(line)
        work: Callable[..., Any] = getattr(side, told.pop("call"))
        before, started = time.process_time(), time.perf_counter()
        result = work(**told)
        clock, cpu = time.perf_counter() - started, time.process_time() - before
        print(json.dumps({"cpu": cpu, "clock": clock, "result": result}), flush=True)


if __name__ == "__main__":
    main()
