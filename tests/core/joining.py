"""What tests of the joined push begin with: people, their books, their devices, and what came of it.

Play(db)                 an application with the card on, and a clock
Play.person, holds       a user with a number; somebody's book
Play.device              where a user can be reached
Play.tell                every fact is told
Play.pushes              what is in the queue
"""

import json
from dataclasses import dataclass
from typing import Any

from ringbook.config import Config, Limits
from ringbook.core import announcing, applications, discovery, proofs, subscriptions, users
from ringbook.core.profile import columns
from ringbook.model import App, Caller, Entry, Subscription, User
from ringbook.store.db import Database, Row

NOW = 1_800_000_000
DAY = 86_400
LIMITS = Limits(new_accounts_per_hour=0)
ADDRESS = "192.0.2.1"
ANN, BOB, CLEO = "+12025550101", "+447700900123", "+12025550103"


@dataclass
class Play:
    """An application, and what happens in it."""

    db: Database
    app_id: int = 0
    now: int = NOW

    def __post_init__(self) -> None:
        self.app_id = applications.create(self.db, "Friends", self.now).id
        self.set(contact_joined_enabled="true")

    @property
    def app(self) -> App:
        """As it is now: a first verified number changes what counts."""
        return applications.get(self.db, self.app_id)

    def set(self, **settings: str) -> None:
        """Change settings; no process remembers the old ones."""
        for key, value in settings.items():
            applications.change(self.db, self.app_id, key, value)
        applications._cache.clear()

    def person(self, login: str, phone: str = "") -> User:
        """Somebody signs up, with a number that was only typed. Without a password, whose hash would take its time."""
        with self.db.write() as tx:
            return users.add(tx, self.app, columns({"login": login, "phone": phone}), self.now)

    def verified(self, phone: str) -> int:
        """Somebody signs in with a verified number."""
        return proofs.by_phone(self.db, LIMITS, self.app, phone, ADDRESS, self.now)

    def caller(self, user_id: int) -> Caller:
        """A request of a user's."""
        return Caller(app=self.app, user_id=user_id, is_guest=False, address=ADDRESS)

    def holds(self, user_id: int, *contacts: tuple[str, str], device: str = "") -> None:
        """Contacts, as (phone, name), come into a user's book."""
        entries = [Entry(phone=phone, name=name) for phone, name in contacts]
        discovery.upload(self.db, LIMITS, self.caller(user_id), entries, device=device, now=self.now)

    def device(self, user_id: int, token: str, **values: Any) -> Subscription:
        """A device of a user's, an Android one that is in production unless said otherwise."""
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
        """A user changes the profile."""
        users.update(self.db, LIMITS, self.caller(user_id), user_id, users.Fields(**fields), session=b"", now=self.now)

    def changes_verified(self, user_id: int, phone: str) -> None:
        """A user changes the number, and has verified the new one."""
        users.update(
            self.db, LIMITS, self.caller(user_id), user_id, {}, session=b"", now=self.now, verified_phone=phone
        )

    def tell(self, batch: int = announcing.BATCH) -> None:
        """Every fact is told to everybody whom it concerns."""
        applications._cache.clear()
        while announcing.expand(self.db, self.now, batch):
            pass

    def rows(self, sql: str, **params: Any) -> list[Row]:
        """What the database holds."""
        with self.db.read() as tx:
            return tx.all(sql, **params)

    def pushes(self) -> list[tuple[int, str]]:
        """Whom the queue holds a push for, and its text."""
        rows = self.rows("SELECT user_id, message FROM pushes WHERE subscription_id > 0 ORDER BY user_id, id")
        return [(row["user_id"], json.loads(row["message"])["message"]) for row in rows]

    def facts(self) -> list[tuple[int, int]]:
        """Facts that wait: the user, and whether the number was verified."""
        return [
            (r["user_id"], r["verified"]) for r in self.rows("SELECT * FROM joined WHERE done_at IS NULL ORDER BY id")
        ]
