"""A world for tests of the joined push: users, their address books and devices, and the queue of pushes.

Play(db)                 an application with joined pushes on, and a clock
Play.person, holds       adds a user with a number; adds contacts to a user's book
Play.prefers             changes what a user prefers
Play.device              adds a push subscription
Play.tell                announces every fact
Play.pushes              the pushes in the queue, with the texts that would be sent now
Play.payloads            the same, with channels and payloads
"""

from dataclasses import dataclass
from typing import Any

from ringbook.config import Config, Limits
from ringbook.core import announcing, applications, delivery, discovery, preferences, proofs, subscriptions, users
from ringbook.core.profile import columns
from ringbook.model import App, Caller, Entry, Subscription, User
from ringbook.store.db import Database, Row

NOW = 1_800_000_000
DAY = 86_400
LIMITS = Limits(new_accounts_per_hour=0, phone_changes_per_day=0)
ADDRESS = "192.0.2.1"
ANN, BOB, CLEO = "+12025550101", "+447700900123", "+12025550103"


@dataclass
class Play:
    """An application and its users."""

    db: Database
    app_id: int = 0
    now: int = NOW

    def __post_init__(self) -> None:
        self.app_id = applications.create(self.db, "Friends", self.now).id
        self.set(contact_joined_enabled="true")

    @property
    def app(self) -> App:
        """The application as it is now: the first verified number sets `verified_since`."""
        return applications.get(self.db, self.app_id)

    def set(self, **settings: str) -> None:
        """Change settings, and empty the cache."""
        for key, value in settings.items():
            applications.change(self.db, self.app_id, key, value)
        applications._cache.clear()

    def person(self, login: str, phone: str = "") -> User:
        """A new user with a typed number. It has no password, because hashing one takes time."""
        with self.db.write() as tx:
            return users.add(tx, self.app, columns({"login": login, "phone": phone}), self.now)

    def verified(self, phone: str) -> int:
        """Sign in with a verified number. Returns the user's id."""
        return proofs.by_phone(self.db, LIMITS, self.app, phone, ADDRESS, self.now)

    def caller(self, user_id: int) -> Caller:
        """The caller of a user's request."""
        return Caller(app=self.app, user_id=user_id, is_guest=False, address=ADDRESS)

    def holds(self, user_id: int, *contacts: tuple[str, str], device: str = "", force: bool = False) -> None:
        """Upload contacts, as (phone, name), to a user's book."""
        entries = [Entry(phone=phone, name=name) for phone, name in contacts]
        discovery.upload(self.db, LIMITS, self.caller(user_id), entries, device=device, force=force, now=self.now)

    def prefers(self, user_id: int, **given: Any) -> None:
        """Change the user's preferences for joined pushes."""
        preferences.change(self.db, self.caller(user_id), given, now=self.now)

    def device(self, user_id: int, token: str, **values: Any) -> Subscription:
        """Subscribe a device of a user; by default an Android device in production."""
        wished = {
            "id": 0,
            "user_id": user_id,
            "device": f"udid-{token}",
            "platform": "android",
            "channel": "gcm",
            "environment": "production",
            "bundle": None,
            "token": token,
        } | values
        return subscriptions.subscribe(
            self.db, Config(allow_private_addresses=True), self.app, [Subscription(**wished)], self.now
        )[0]

    def changes(self, user_id: int, **fields: Any) -> None:
        """Change the user's profile."""
        users.update(self.db, LIMITS, self.caller(user_id), user_id, users.Fields(**fields), session=b"", now=self.now)

    def changes_verified(self, user_id: int, phone: str) -> None:
        """Change the user's number to a verified one."""
        users.update(
            self.db, LIMITS, self.caller(user_id), user_id, {}, session=b"", now=self.now, verified_phone=phone
        )

    def tell(self, batch: int = announcing.BATCH) -> None:
        """Announce every fact to all holders."""
        applications._cache.clear()
        while announcing.expand(self.db, self.now, batch):
            pass

    def rows(self, sql: str, **params: Any) -> list[Row]:
        """The rows of a query."""
        with self.db.read() as tx:
            return tx.all(sql, **params)

    def pushes(self) -> list[tuple[int, str]]:
        """The recipients and texts of the pushes in the queue."""
        return [(user_id, payload["message"]) for user_id, _, payload in self.payloads()]

    def payloads(self) -> list[tuple[int, str, dict[str, Any]]]:
        """The recipients, channels and payloads of the pushes in the queue, composed as for an attempt now."""
        sql = (
            "SELECT * FROM pushes WHERE subscription_id > 0 AND outcome IS NULL"
            " ORDER BY user_id, COALESCE(joined_id, 0), subscription_id, id"
        )
        with self.db.read() as tx:
            rows = tx.all(sql)
            found = delivery._payloads(self.db, tx, rows)
        payloads = ((row, found[row["id"]]) for row in rows)
        return [(row["user_id"], row["channel"], what) for row, what in payloads if isinstance(what, dict)]

    def facts(self) -> list[tuple[int, int]]:
        """The waiting facts: the user, and whether the number was verified."""
        return [
            (r["user_id"], r["verified"]) for r in self.rows("SELECT * FROM joined WHERE done_at IS NULL ORDER BY id")
        ]
