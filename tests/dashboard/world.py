"""An application with users, address books, pushes and statistics, so that no page of the dashboard is empty.

fill(server)    creates the content of the pages
paths(world)    the path of every page, by the name of its picture
"""

import contextlib
import random
import re
import time
import uuid
from dataclasses import dataclass

from servers import SEAL, Server

from ringbook import errors
from ringbook.config import Config, Limits
from ringbook.core import announcing, applications, delivery, discovery, stats, subscriptions, test_push, users
from ringbook.core.audit import Actor
from ringbook.core.profile import columns
from ringbook.dashboard.routes import ROUTES
from ringbook.model import Caller, Entry, Subscription
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import db as databases
from ringbook.store import stats as store

DAY = 86_400
OPERATOR = "op@example.com"
PEOPLE = """Ann Archer, Ben Okafor, Chloé Dubois, Dieter Lindström, Esra Yılmaz, Farah Singh, George Abbott, Hana Novák,
Imran Iqbal, Jack O'Brien, Kezia Patel, Liam Hughes, Maya Murphy, Noor Haddad, Olivia Taylor, Priya Walsh, Quinn Fraser,
Rosa Young""".replace("\n", " ").split(", ")
SETTINGS = {"contact_joined_enabled": "on", "default_region": "GB", "reassigned_after_days": "90"}
LIMITS = Limits(new_accounts_per_hour=0)


@dataclass(frozen=True)
class World:
    """The application and one of its users."""

    app_id: int
    user_id: int


def phone(n: int) -> str:
    """A number reserved for fiction: Ofcom's for drama, NANPA's 555-01xx."""
    return f"+44 7700 900{n:03}" if n % 3 else f"+1 202 555 01{n:02}"


def fill(server: Server) -> World:
    """Create the application and its data, with the current time."""
    with contextlib.closing(databases.connect(server.database_url, seal=SEAL)) as db:
        return Filling(db, int(time.time())).all()


@dataclass
class Filling:
    """The world while it is created."""

    db: databases.Database
    now: int

    def all(self) -> World:
        """Create users, their books and devices, then users who join, then the outcomes of the pushes."""
        self.app = applications.create(self.db, "Friends", self.now - 40 * DAY)
        by = Actor(OPERATOR, "192.0.2.7", self.now - 600)
        for key, value in {
            "contact_joined_enabled": "on",
            "default_region": "GB",
            "reassigned_after_days": "90",
        }.items():
            applications.change(self.db, self.app.id, key, value, by=by)
        applications._cache.clear()
        self.app = applications.get(self.db, self.app.id)
        early = [self.person(n, self.now - (30 - n) * DAY) for n in range(12)]
        for n, user_id in enumerate(early):
            self.book(user_id, n)
            self.device(user_id, n)
        late = [self.person(n, self.now - (18 - n) * 1_800) for n in range(12, 18)]
        self.book(late[0], 12, device="pixel-8")
        self.tell()
        test_push.send(self.db, self.app, early[0], by)
        self.settle()
        self.figures()
        for key, value in {
            "webhook_url": "https://backend.example.com/joined",
            "webhook_secret": "not a secret",
        }.items():
            applications.change(self.db, self.app.id, key, value)
        return World(self.app.id, early[0])

    def person(self, n: int, at: int) -> int:
        """Sign up a user."""
        first, _, last = PEOPLE[n].partition(" ")
        login = f"{first.lower()}.{last.lower()}".replace("'", "")
        fields = {"login": login, "full_name": PEOPLE[n], "phone": phone(n), "email": f"person{n}@example.com"}
        with self.db.write() as tx:
            user = users.add(tx, self.app, columns(fields), at)
        return user.id

    def book(self, user_id: int, n: int, device: str = "") -> None:
        """Upload a book with most of the other users, with names of its owner's choice."""
        held = [other for other in range(18) if other != n and (other + n) % 4]
        entries = [Entry(phone=phone(other), name=PEOPLE[other].split()[0]) for other in held]
        caller = Caller(app=self.app, user_id=user_id, is_guest=False, address="192.0.2.1")
        discovery.upload(self.db, LIMITS, caller, entries, device=device, now=self.now - n * 3_000)

    def device(self, user_id: int, n: int) -> None:
        """Subscribe a phone."""
        apple = n % 3 == 1
        token = uuid.uuid4().hex * 2 if apple else f"token-{uuid.uuid4().hex}"
        wished = Subscription(
            id=0,
            user_id=user_id,
            device="iPhone 15" if apple else "Pixel 8",
            platform="ios" if apple else "android",
            channel="apns" if apple else "gcm",
            environment="production",
            bundle="com.example.friends" if apple else None,
            token=token,
        )
        subscriptions.subscribe(self.db, Config(), self.app, [wished], self.now)

    def tell(self) -> None:
        """Announce the users who joined late."""
        while announcing.expand(self.db, self.now):
            pass

    def settle(self) -> None:
        """Settle the pushes: most are accepted, and a few fail, each for another reason."""
        odd = {5: Receipt(Outcome.GONE, "UNREGISTERED"), 8: Receipt(Outcome.REFUSED, "InvalidProviderToken (403)")}
        while due := delivery.claim(self.db, self.now, 200):
            attempts = [
                delivery.Attempt(due=one, receipt=odd.get(one.user_id, Receipt(Outcome.ACCEPTED)), began_at=self.now)
                for one in due
            ]
            delivery.record(self.db, attempts, self.now)

    def figures(self) -> None:
        """Store the statistics of a month, always the same, and refusals."""
        stats.forget()
        for reason, count in REFUSED.items():
            for _ in range(count):
                stats.refused(self.app.id, "/address_book", errors.Invalid(reason, field="contacts"), self.now - 90)
        chance = random.Random(7)
        for day in range(-30, 30):
            at, growth = self.now - (29 - day) * DAY, max(4, day + 22) / 52
            weekend = 0.6 if (at // DAY) % 7 in (2, 3) else 1.0
            for name, most in FIGURES.items():
                stats.add(self.app.id, name, at, round(most * growth * weekend * chance.uniform(0.6, 1.1)))
            if 0 <= day < 29:  # today's are what there is
                with self.db.write() as tx:
                    store.add(
                        tx, [(self.app.id, at // DAY, name, most * min(day, 26) // 27) for name, most in MANY.items()]
                    )
        stats.flush(self.db, self.now)


# What happens on a day at most, and how many there are in the end.
FIGURES: dict[stats.Name, int] = {
    "sign-ups": 9,
    "uploads": 16,
    "matches": 38,
    "sessions": 24,
    "joined": 7,
    "pushes accepted": 9,
    "joined pushes accepted": 8,
    "pushes gone": 1,
    "pushes parked": 2,
    "pushes expired": 1,
}
MANY = {"users": 18, "books": 13, "contacts": 169}
REFUSED = {"must be a list of contacts": 3, "holds more than 50000 contacts": 1}


def paths(world: World) -> dict[str, str]:
    """Every page below /dashboard by the name of its picture. New pages are included automatically."""
    once = ("{nonce}", "{token}", "/holders", "/activity")  # shown after a form only, or no page
    values = {"app_id": world.app_id, "user_id": world.user_id, "book": 0}
    found = {}
    for route in ROUTES:
        path = re.sub(r"\{(\w+)\}", lambda one: str(values.get(one[1], "")), route.path)
        if any(part in route.path for part in once):
            continue
        if route.method == "GET" and not route.live and "static" not in path and path not in ("", "/", "/login"):
            found[name_of(route.path)] = path
    return found


def name_of(path: str) -> str:
    """The name of a page's picture: `/apps/{app_id}/users/{user_id}` is user, `/apps/{app_id}` is overview."""
    named = {"/apps/{app_id}": "overview", "/apps/{app_id}/users/{user_id}": "user"}
    named["/apps/{app_id}/users/{user_id}/books/{book}"] = "book"
    plain = re.sub(r"/apps/\{app_id\}|/\{\w+\}", "", path).strip("/").replace("/", "-")
    return named.get(path, plain)
