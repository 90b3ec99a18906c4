"""Who is told of whom in random worlds: the statements inside the database against a plain model in Python.

Several workers announce in batches of random sizes. Some of them die within a batch, and meanwhile others leave, join,
change their numbers, remove contacts and register devices.
"""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

import pytest
from core.joining import DAY, LIMITS, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.core import announcing, discovery, preferences, users
from ringbook.model import Entry

NUMBERS = [f"+1202555{100 + n:04}" for n in range(3)]
CHANNELS = ("gcm", "apns", "apns_voip")
SEEDS = 12


@dataclass
class Person:
    """A user as the model knows them."""

    id: int
    phone: str = ""
    verified: bool = False
    books: dict[str, set[str]] = field(default_factory=dict)
    devices: list[tuple[int, str, str]] = field(default_factory=list)  # id, channel, environment
    told: dict[str, bool] = field(default_factory=dict)  # of these numbers; verified?
    notify: bool = True
    digest: bool = False  # also of the first who joins


@dataclass
class Model:
    """What is promised: a holder is notified once of each number, and once more when it is verified later."""

    people: list[Person] = field(default_factory=list)
    pushes: Counter[tuple[int, int, int]] = field(default_factory=Counter)  # recipient, device, joined user

    def tell(self, joiner: Person, *, development: bool) -> None:
        """Announce a user to all holders."""
        for holder in self.people:
            holds = any(joiner.phone in book for book in holder.books.values())
            if not holds or holder is joiner:
                continue
            known = holder.told.get(joiner.phone)
            if known is None or (joiner.verified and not known):
                holder.told[joiner.phone] = joiner.verified
                about = holder if holder.digest else joiner
                for device, channel, environment in holder.devices if holder.notify else []:
                    if channel != "apns_voip" and (development or environment == "production"):
                        self.pushes[holder.id, device, about.id] += 1


class World:
    """An application and its model, changed side by side by random steps."""

    def __init__(self, play: Play, chance: random.Random) -> None:
        self.play, self.chance, self.model = play, chance, Model()
        self.count = 0
        self.development = chance.random() < 0.5
        play.set(require_verified_number="off", contact_joined_development=str(self.development).lower())

    def stranger(self) -> Person:
        self.count += 1
        person = Person(self.play.person(f"user{self.count}").id)
        self.model.people.append(person)
        return person

    def uploads(self, person: Person) -> None:
        device = self.chance.choice(["", "phone", "tablet"])
        held = self.chance.sample(NUMBERS, self.chance.randint(0, len(NUMBERS)))
        entries = [Entry(number, f"name of {number}") for number in held]
        play = self.play
        caller = play.caller(person.id)
        discovery.upload(play.db, LIMITS, caller, entries, force=True, device=device, now=play.now)
        person.books[device] = set(held)

    def subscribes(self, person: Person) -> None:
        self.count += 1
        channel, environment = self.chance.choice(CHANNELS), self.chance.choice(["production", "development"])
        token = f"token-of-a-device-{self.count}" if channel == "gcm" else f"{self.count:064x}"
        platform = "android" if channel == "gcm" else "ios"
        made = self.play.device(person.id, token, channel=channel, platform=platform, environment=environment)
        person.devices.append((made.id, channel, environment))

    def chooses(self, person: Person) -> None:
        """Quiet hours change when a push is sent, and not whether there is one."""
        person.notify, person.digest = self.chance.random() < 0.7, self.chance.random() < 0.4
        quiet = self.chance.choice([None, ("00:00", "23:59"), ("22:00", "08:00")])
        given = {
            "notify": person.notify,
            "digest": 0 if person.digest else 5,
            "quiet": quiet,
            "time_zone": "Asia/Tokyo",
        }
        preferences.change(self.play.db, self.play.caller(person.id), given, now=self.play.now)

    def joins(self, person: Person) -> None:
        """Gain a number, and announce it to all before the next step."""
        if person.phone:
            return
        person.phone, person.verified = self.chance.choice(NUMBERS), self.chance.random() < 0.5
        if any(other.phone == person.phone for other in self.model.people if other is not person):
            person.phone = ""
            return
        if person.verified:
            self.play.changes_verified(person.id, person.phone)
        else:
            self.play.changes(person.id, phone=person.phone)
        told(self.play, self.chance)
        self.model.tell(person, development=self.development)
        self.play.now += 2 * DAY  # three numbers a day

    def leaves(self, person: Person) -> None:
        users.erase(self.play.db, person.id)
        self.model.people.remove(person)
        for key in [one for one in self.model.pushes if person.id in (one[0], one[2])]:
            del self.model.pushes[key]

    def loses_number(self, person: Person) -> None:
        if person.phone and not person.verified:  # a verified number changes only for another verified one
            self.play.changes(person.id, phone=f"+4477009{self.chance.randint(10_000, 99_999)}")
            told(self.play, self.chance)
            person.phone = ""

    def friend(self) -> None:
        """A stranger with a book and a device."""
        person = self.stranger()
        self.uploads(person)
        self.subscribes(person)

    def step(self) -> None:
        often = {self.joins: 8, self.loses_number: 6, self.uploads: 2}
        often |= {self.subscribes: 1, self.leaves: 1, self.chooses: 2}
        (action,) = self.chance.choices(list(often), list(often.values()))
        if len(self.model.people) < 4 or self.chance.random() < 0.15:
            self.friend()
        action(self.chance.choice(self.model.people))


class Death(Exception):
    """Stands for kill -9: the transaction is undone."""


def told(play: Play, chance: random.Random) -> None:
    """Announce every fact, in batches of random sizes; some batches are undone at their end."""
    move = announcing.store.move

    def dying(*values):
        if chance.random() < 0.3:
            raise Death
        return move(*values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(announcing.store, "move", dying)
        patch.setattr(announcing, "BATCH", chance.randint(1, 6))
        patch.setattr(announcing, "AGAIN_SECONDS", 0)
        while play.facts():
            with suppress(Death):
                announcing.expand(play.db, play.now, chance.randint(1, 4))


def queued(play: Play) -> Counter[tuple[int, int, int]]:
    """The joined pushes in the queue: recipient, device, joined user."""
    rows = play.rows("SELECT user_id, subscription_id, about_user_id FROM pushes WHERE app_id = :app", app=play.app_id)
    return Counter((row["user_id"], row["subscription_id"], row["about_user_id"]) for row in rows)


@settings(max_examples=SEEDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_whoever_the_model_tells_is_told_and_nobody_else(db, seed):
    chance = random.Random(seed)
    world = World(Play(db), chance)
    for _ in range(5):
        world.friend()
    for _ in range(30):
        world.step()
        assert queued(world.play) == world.model.pushes
    ids = [row["id"] for row in world.play.rows("SELECT id FROM pushes")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("seed", range(4))
def test_several_workers_and_writers_at_once_miss_nobody_and_repeat_nobody(db, seed):
    """Holders who stay as they are get one push on each device. Of others, nobody gets two."""
    chance, play = random.Random(seed), Play(db)
    play.set(require_verified_number="off")
    stay = [befriended(play, f"stays{n}", chance.randint(1, 3)) for n in range(15)]
    go = [befriended(play, f"goes{n}", 1) for n in range(6)]
    change = [befriended(play, f"changes{n}", 1) for n in range(6)]
    together = [befriended(play, f"together{n}", 2) for n in range(6)]
    for user, _ in together:
        preferences.change(play.db, play.caller(user), {"digest": 1}, now=play.now)
    joiners = [play.person(f"joiner{n}", number).id for n, number in enumerate(NUMBERS)]
    trouble: list[Exception] = []
    work = [lambda: working(play, seed), lambda: working(play, seed + 1)]
    work += [lambda: leaving(play, go), lambda: changing(play, change)]
    threads = [Thread(target=caught, args=(one, trouble)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    working(play, seed)
    assert trouble == []
    found = queued(play)
    assert set(found.values()) <= {1}
    steady = {(user, device, joiner) for user, devices in stay for device in devices for joiner in joiners}
    assert {one for one in found if one[0] in {user for user, _ in stay}} == steady
    assert not {one for one in found if one[0] in {user for user, _ in go}}
    for user, devices in together:
        own = [one for one in found if one[0] == user]
        assert sorted(device for _, device, about in own if about == user) == devices  # the digest
        assert sorted(device for _, device, about in own if about != user) == devices
        rows = play.rows("SELECT digest FROM announced WHERE owner_id = :user ORDER BY place", user=user)
        assert [row["digest"] for row in rows] == [None, play.now, play.now]
    assert len({row["id"] for row in play.rows("SELECT id FROM pushes")}) == found.total()


def befriended(play: Play, login: str, devices: int) -> tuple[int, list[int]]:
    """A holder of all numbers, and the ids of the devices."""
    user = play.person(login).id
    play.holds(user, *((number, "Ann") for number in NUMBERS))
    return user, [play.device(user, f"token-of-{login}-{n}").id for n in range(devices)]


def working(play: Play, seed: int) -> None:
    """Announce until nothing is left, in small batches."""
    chance = random.Random(seed)
    while play.facts():
        with suppress(announcing.Overtaken, errors.Busy):
            announcing.expand(play.db, play.now, chance.randint(1, 5))


def leaving(play: Play, those: list[tuple[int, list[int]]]) -> None:
    for user, _ in those:
        users.erase(play.db, user)


def changing(play: Play, those: list[tuple[int, list[int]]]) -> None:
    """Register another device, and remove a contact."""
    for n, (user, _) in enumerate(those):
        play.device(user, f"another-token-of-{user}")
        with suppress(errors.Busy):
            discovery.upload(
                play.db, LIMITS, play.caller(user), [Entry(NUMBERS[n % len(NUMBERS)], None, destroy=True)], now=play.now
            )


def caught(work: Callable[[], None], trouble: list[Exception]) -> None:
    try:
        work()
    except Exception as error:
        trouble.append(error)
