"""Who is told of whom while the joined users change their minds: random histories against a plain definition.

Everybody knows all numbers from the beginning, so whoever should be told of a user is decided by the user's preference
and the user's own address book. Announcements and pushes go in small steps between the other acts, and some die.
"""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread

import pytest
from core.joining import DAY, LIMITS, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.core import announcing, delivery, discovery, users
from ringbook.core.delivery import Attempt
from ringbook.model import Entry
from ringbook.preferences import AUDIENCES
from ringbook.push.transport import Outcome, Receipt

NUMBERS = [f"+1202555{100 + n:04}" for n in range(3)]
OF_HOLDERS = [f"+1202555{200 + n:04}" for n in range(6)]
HISTORIES = 25


@dataclass
class Joiner:
    """A user who joins, as the plain definition knows them. `wish` is "" where nothing was chosen."""

    id: int
    phone: str = ""
    verified: bool = False
    wish: str = ""
    book: set[str] = field(default_factory=set)
    had: set[str] = field(default_factory=set)


class Death(Exception):
    """Stands for kill -9: the transaction is undone."""


class World:
    """An application in which users come and change their minds."""

    def __init__(self, play: Play, chance: random.Random) -> None:
        self.play, self.chance = play, chance
        self.verified_only, self.default = chance.random() < 0.5, chance.choice(AUDIENCES)
        play.set(require_verified_number="on" if self.verified_only else "off", contact_joined_digest="1000")
        play.set(contact_joined_announce=self.default, contact_joined_delay_seconds=chance.choice(["0", "60"]))
        self.start = play.now
        self.holders: dict[int, str] = {}  # their numbers
        self.devices: dict[int, int] = {}
        self.joiners: list[Joiner] = []
        self.verified_once: set[str] = set()
        self.erased: set[str] = set()  # numbers of erased users, whose pushes went with them
        self.sent: Counter[tuple[int, int, str]] = Counter()  # holder, device, number
        for n, number in enumerate(OF_HOLDERS):
            self.holder(n, number)

    def holder(self, n: int, number: str) -> None:
        """Half of the holders have verified their number."""
        login = f"holder{n}"
        user_id = self.play.person(login).id if n % 2 else self.play.verified(number)
        if n % 2:
            self.play.changes(user_id, phone=number)
        self.play.holds(user_id, *((joins, "Joiner") for joins in NUMBERS))
        self.holders[user_id] = number if n % 2 == 0 or not self.verified_only else ""
        self.devices[user_id] = n % 3
        for one in range(n % 3):
            self.play.device(user_id, f"token-of-{login}-{one}")

    # ── the plain definition ─────────────────────────────────────────────────────────────────────────────────────────

    def tells(self, joiner: Joiner, holder: int) -> bool:
        """Does the user want this holder of the number to be told?"""
        wish = joiner.wish or self.default
        return wish == "everyone" or (wish == "mutual" and self.holders[holder] in joiner.book)

    def counts(self, joiner: Joiner) -> bool:
        return bool(joiner.phone) and (joiner.verified or not self.verified_only)

    def check(self) -> None:
        """At the end, whoever should have been told was told."""
        for joiner in self.joiners:
            for holder, devices in self.devices.items():
                should = self.counts(joiner) and joiner.phone not in self.erased and self.tells(joiner, holder)
                if should:
                    found = [self.sent[holder, device, joiner.phone] for device in self.ids(holder)]
                    # One device is enough: a change of mind may withhold the push to the other one for ever.
                    assert len(found) == devices and any(found) == bool(devices), (joiner, holder)

    def ids(self, holder: int) -> list[int]:
        return [row["id"] for row in self.play.rows("SELECT id FROM subscriptions WHERE user_id = :id", id=holder)]

    # ── acts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def comes(self) -> None:
        self.joiners.append(Joiner(self.play.person(f"joiner{len(self.joiners)}-{self.chance.random()}").id))

    def gains(self, joiner: Joiner) -> None:
        """A number that nobody of the others has, unless it is verified, in another day than the last one."""
        verified, number = self.chance.random() < 0.5, self.chance.choice(NUMBERS)
        others = [one for one in self.joiners if one is not joiner and one.phone == number]
        if (joiner.verified or others) and not verified:
            return
        if joiner.phone == number and (joiner.verified or not verified):
            return
        while self.sends(most=50):  # else they expire
            pass
        self.play.now += DAY + 1
        if verified:
            self.play.changes_verified(joiner.id, number)
            self.verified_once.add(number)
        else:
            self.play.changes(joiner.id, phone=number)
        for other in others:
            other.phone, other.verified = "", False
        joiner.verified = verified or (joiner.verified and joiner.phone == number)
        joiner.phone = number
        joiner.had.add(number)

    def uploads(self, joiner: Joiner) -> None:
        book = set(self.chance.sample(OF_HOLDERS, self.chance.randint(0, len(OF_HOLDERS))))
        if self.chance.random() < 0.7:
            book |= joiner.book
        entries = [Entry(number, "Holder") for number in sorted(book)]
        discovery.upload(self.play.db, LIMITS, self.play.caller(joiner.id), entries, force=True, now=self.play.now)
        joiner.book = book

    def chooses(self, joiner: Joiner) -> None:
        joiner.wish = self.chance.choice(AUDIENCES)
        self.play.prefers(joiner.id, announce=joiner.wish)

    def goes(self, joiner: Joiner) -> None:
        users.erase(self.play.db, joiner.id)
        self.joiners.remove(joiner)
        self.erased |= joiner.had

    def waits(self, joiner: Joiner) -> None:
        self.play.now += self.chance.choice([1, 60, 3_600])

    def announces(self, joiner: Joiner | None = None) -> None:
        """One step of the announcements, which may be undone at its end."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(announcing, "AGAIN_SECONDS", 0)
            if self.chance.random() < 0.3:
                patch.setattr(announcing.waking, "pushes_added", self.dies)
            with suppress(Death):
                announcing.expand(self.play.db, self.play.now, self.chance.randint(1, 3))

    def dies(self, *_) -> None:
        raise Death

    def sends(self, joiner: Joiner | None = None, most: int = 2) -> int:
        """Send some pushes. Each is wanted by the joined user at this moment."""
        dues = delivery.claim(self.play.db, self.play.now, most)
        by_id = {one.id: one for one in self.joiners}
        for due in dues:
            row = self.play.rows("SELECT * FROM pushes WHERE id = :id", id=due.message.id)[0]
            (number,) = [
                one for one in NUMBERS if self.play.db.seal.number(self.play.app_id, int(one)) == row["number"]
            ]
            assert self.tells(by_id[due.sender_id], due.user_id), due
            self.sent[due.user_id, due.subscription_id, number] += 1
            assert self.sent[due.user_id, due.subscription_id, number] <= 1 + (number in self.verified_once)
        accepted = [Attempt(due=due, receipt=Receipt(Outcome.ACCEPTED), began_at=self.play.now) for due in dues]
        delivery.record(self.play.db, accepted, self.play.now)
        return len(dues)

    def keyed(self, number: str) -> int:
        return self.play.db.seal.number(self.play.app_id, int(number))

    def step(self) -> None:
        often = {self.gains: 4, self.uploads: 4, self.chooses: 5, self.waits: 2, self.announces: 8, self.sends: 6}
        if len(self.joiners) > 1:
            often[self.goes] = 1
        (act,) = self.chance.choices(list(often), list(often.values()))
        if len(self.joiners) < 2:
            self.comes()
        act(self.chance.choice(self.joiners))

    def ends(self) -> None:
        """Let all happen that is due within the next days."""
        for _ in range(4):
            while announcing.expand(self.play.db, self.play.now, 3) or self.sends(most=50):
                pass
            self.play.now += DAY + 1
        assert self.play.now - self.start < 30 * DAY


@settings(max_examples=HISTORIES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_nobody_is_told_against_a_wish_or_twice_and_in_the_end_all_are_told_who_should_be(db, seed):
    world = World(Play(db), random.Random(seed))
    for _ in range(3):
        world.comes()
    for _ in range(40):
        if world.play.now - world.start > 24 * DAY:
            break
        world.step()
    world.ends()
    world.check()


@pytest.mark.parametrize("seed", range(3))
def test_several_workers_and_a_user_who_changes_there_and_back_miss_nobody_and_repeat_nobody(db, seed):
    """At the end the user wants everybody to be told."""
    world = World(Play(db), random.Random(seed))
    play = world.play
    play.set(require_verified_number="off", contact_joined_announce="everyone", contact_joined_delay_seconds="0")
    joiner = play.person("joiner", NUMBERS[0]).id
    over, trouble = Event(), list[Exception]()

    def until_over(work: Callable[[], object]) -> None:
        while not over.is_set():
            retried(work, trouble)

    sent: Counter[tuple[int, int]] = Counter()
    workers = [
        Thread(target=until_over, args=(lambda: announcing.expand(play.db, play.now, 2),)),
        Thread(target=until_over, args=(lambda: announcing.expand(play.db, play.now, 3),)),
        Thread(target=until_over, args=(lambda: send(play, sent, 2),)),
    ]
    for thread in workers:
        thread.start()
    chance = random.Random(seed)
    for _ in range(25):
        wish, numbers = chance.choice(AUDIENCES), chance.sample(OF_HOLDERS, 2)
        retried(lambda wish=wish: play.prefers(joiner, announce=wish), trouble)
        retried(lambda numbers=numbers: play.holds(joiner, *((one, "Holder") for one in numbers)), trouble)
    over.set()
    for thread in workers:
        thread.join()
    play.prefers(joiner, announce="everyone")
    for seconds in (0, delivery.LEASE_SECONDS, DAY):  # claims that failed are over; what is beyond three a day is due
        play.now += seconds
        while announcing.expand(play.db, play.now) or send(play, sent, 50):
            pass
    assert trouble == []
    assert set(sent.values()) == {1}
    assert {holder for holder, _ in sent} == {holder for holder, devices in world.devices.items() if devices}


def retried(work: Callable[[], object], trouble: list[Exception]) -> None:
    """Run it, again when another transaction was in its way."""
    for _ in range(50):
        try:
            work()
        except (announcing.Overtaken, errors.Busy, errors.Unavailable):
            continue
        except Exception as error:
            trouble.append(error)
        return


def send(play: Play, sent: Counter[tuple[int, int]], most: int) -> int:
    """Send some pushes, and count them by recipient and device."""
    dues = delivery.claim(play.db, play.now, most)
    accepted = [Attempt(due=due, receipt=Receipt(Outcome.ACCEPTED), began_at=play.now) for due in dues]
    for _ in range(50):
        with suppress(errors.Busy, errors.Unavailable):
            delivery.record(play.db, accepted, play.now)
            break
    sent.update((due.user_id, due.subscription_id) for due in dues)
    return len(dues)
