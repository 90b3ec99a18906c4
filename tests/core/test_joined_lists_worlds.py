"""The list of who joined in random histories: what readers get by cursors and pages, against a plain way in Python."""

import random
from contextlib import suppress
from dataclasses import dataclass, field

from core.joining import DAY, LIMITS, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors, phone
from ringbook.core import discovery, joined_lists, preferences, users
from ringbook.model import Entry
from ringbook.store import numbers, proofs

NUMBERS = [f"+1202555{100 + n:04}" for n in range(6)]
DEVICES = ["", "tablet"]
AUDIENCES = ["everyone", "mutual", "nobody"]
SEEDS = 12
Shown = tuple[int, int, str | None, bool]  # place, user, name in the own book, seen


@dataclass
class World:
    """A user with two readers of one list, and others who come and go. The user's own number is the first one."""

    play: Play
    chance: random.Random
    owner: int = 0
    others: list[int] = field(default_factory=list)
    cursors: list[str] = field(default_factory=lambda: ["0", "0"])

    def __post_init__(self) -> None:
        self.play.set(require_verified_number="off")
        self.owner = self.play.person("owner", NUMBERS[0]).id

    # ── the plain way

    def held(self, user_id: int) -> dict[int, str]:
        """The names by number in all of a user's books; a name in the global book wins."""
        found: dict[int, str] = {}
        for device in reversed(DEVICES):
            book = discovery.retrieve(self.play.db, self.play.caller(user_id), device)
            found |= {phone.read(typed, ""): name for typed, name in book}
        return found

    def answers(self, number: int) -> dict[int, bool]:
        """The users who answer to a number: verified?"""
        with self.play.db.read() as tx:
            holders = proofs.holders(tx, self.play.app_id, number)
        found = {holder["user_id"]: holder["verified_at"] is not None for holder in holders}
        return {key: verified for key, verified in found.items() if verified or not self.play.app.verified_only}

    def tells(self, user_id: int) -> bool:
        """Does this user, whose number the owner has, let the owner know?"""
        wishes = preferences.get(self.play.db, self.play.caller(user_id))
        both = {wishes.announce, wishes.discoverable}
        own = phone.read(NUMBERS[0], "")
        is_mutual = self.owner in self.answers(own) and own in self.held(user_id)
        return "nobody" not in both and ("mutual" not in both or is_mutual)

    def plain(self) -> list[Shown]:
        """All items, the newest first."""
        names, (seen,) = self.held(self.owner), [*self.seen(), 0][:1]
        found = []
        rows = self.play.rows(
            "SELECT * FROM announced WHERE owner_id = :id AND at > :since ORDER BY place DESC",
            id=self.owner,
            since=self.play.now - 90 * DAY,
        )
        for row in rows:
            with self.play.db.read() as tx:
                number = numbers.opened(tx, "announced", row["app_id"], row["number"], row["digits"])
            user_id = row["joined_user_id"]
            if number in names and user_id in self.answers(number) and self.tells(user_id):
                found.append((row["place"], user_id, names[number], row["place"] <= seen))
        return found

    def seen(self) -> list[int]:
        rows = self.play.rows("SELECT seen_up_to FROM joined_lists WHERE owner_id = :id", id=self.owner)
        return [row["seen_up_to"] for row in rows]

    # ── what readers do

    def read(self, limit: int, after: str | None = None, before: int | None = None) -> tuple[list[Shown], str]:
        """A page. Its count of unseen items is always that of the whole list."""
        caller = self.play.caller(self.owner)
        page = joined_lists.page(self.play.db, caller, limit=limit, after=after, before=before, now=self.play.now)
        assert page.unseen == sum(not seen for *_, seen in self.plain())
        return [(item.place, item.user.id, item.name, item.seen) for item in page.items], page.next

    def follow(self) -> None:
        """A reader asks for what has come since its cursor. The answer may be lost."""
        reader, limit = self.chance.randrange(2), self.chance.randint(1, 3)
        start = place(self.cursors[reader])
        items, cursor = self.read(limit, after=self.cursors[reader])
        expected = [item for item in reversed(self.plain()) if item[0] > start]
        assert items == expected[:limit]
        assert place(cursor) >= max([start, *(item[0] for item in items)])
        assert not [item for item in expected[limit:] if item[0] <= place(cursor)]
        if self.chance.random() < 0.7:
            self.cursors[reader] = cursor

    def leaf(self) -> None:
        """A reader looks at the newest page and pages back from there."""
        limit, whole = self.chance.randint(1, 3), self.plain()
        items, _ = self.read(limit)
        assert items == whole[:limit]
        if items:
            assert self.read(limit, before=items[-1][0])[0] == whole[limit : 2 * limit]

    def mark(self) -> None:
        """The app has shown the list up to some place, perhaps one that is not there."""
        up_to = self.chance.randint(1, 8)
        before = [*self.seen(), 0][0]
        left = joined_lists.mark_seen(self.play.db, self.play.caller(self.owner), up_to, self.play.now)
        assert left == sum(not seen for *_, seen in self.plain()) and [*self.seen(), 0][0] >= before

    # ── what happens

    def upload(self) -> None:
        """The owner adds, renames or removes contacts, or replaces a book."""
        force = self.chance.random() < 0.2
        entries = [self.entry(one, force) for one in self.chance.sample(NUMBERS, self.chance.randint(1, 3))]
        device, caller = self.chance.choice(DEVICES), self.play.caller(self.owner)
        discovery.upload(self.play.db, LIMITS, caller, entries, device=device, force=force, now=self.play.now)

    def entry(self, number: str, force: bool) -> Entry:
        gone = not force and self.chance.random() < 0.3
        return Entry(number, None, True) if gone else Entry(number, self.chance.choice(["x", "y"]))

    def join(self) -> None:
        """Somebody signs up with a number, or verifies one."""
        number = self.chance.choice(NUMBERS[1:])
        if self.chance.random() < 0.3:
            self.others.append(self.play.verified(number))
        else:
            self.others.append(self.play.person(f"user{self.chance.randrange(10**9)}", number).id)
        self.play.tell()

    def leave(self) -> None:
        if self.others:
            users.erase(self.play.db, self.others.pop(self.chance.randrange(len(self.others))))

    def change(self) -> None:
        if self.others:
            with suppress(errors.Invalid, errors.SessionGone):
                self.play.changes(self.chance.choice(self.others), phone=self.chance.choice(["", *NUMBERS[1:]]))
            self.play.tell()

    def prefer(self) -> None:
        """Somebody, or the application, says who is told or who finds them."""
        name, audience = self.chance.choice(["announce", "discoverable"]), self.chance.choice(AUDIENCES)
        if not self.others or self.chance.random() < 0.1:
            self.play.set(**{f"contact_joined_{name}": audience})
            return
        with suppress(errors.SessionGone):
            self.play.prefers(self.chance.choice(self.others), **{name: audience})
        self.play.tell()

    def hold(self) -> None:
        """Somebody adds or removes the owner's number."""
        if self.others:
            entry = Entry(NUMBERS[0], *self.chance.choice([("Owner", False), (None, True)]))
            other = self.play.caller(self.chance.choice(self.others))
            with suppress(errors.SessionGone):
                discovery.upload(self.play.db, LIMITS, other, [entry], now=self.play.now)
            self.play.tell()

    def count(self) -> None:
        """From now on only verified numbers count, or all."""
        self.play.set(require_verified_number=self.chance.choice(["on", "off"]))

    def jump(self) -> None:
        """The clock is set, forward or back."""
        self.play.now += self.chance.choice([-2 * DAY, -1, 60, 3 * DAY, 40 * DAY])

    def step(self) -> None:
        """Something happens."""
        reading = [self.follow] * 5 + [self.leaf] * 2 + [self.mark]
        writing = [self.upload, self.join] * 3 + [self.prefer, self.hold] * 2
        self.chance.choice([*reading, *writing, self.leave, self.change, self.count, self.jump])()


def place(cursor: str) -> int:
    """The place of a cursor; 0 for the beginning."""
    return int(cursor.partition("-")[2] or "0", 16)


@settings(max_examples=SEEDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_readers_get_exactly_the_items_that_the_plain_way_finds(db, seed):
    world = World(Play(db), random.Random(seed))
    for _ in range(60):
        world.step()
