"""The diagnosis says "found" of a number exactly when GET /address_book/registered_users shows its owner.

Over random worlds: people with typed and verified numbers, in national and international spelling, who come, change and
go; books per device that grow and shrink; with and without a default region, and the rule that verified numbers count.
"""

import random
from contextlib import suppress

import pytest
from core.joining import LIMITS, Play

from ringbook import errors, phone
from ringbook.core import diagnosis, discovery, preferences, users
from ringbook.model import Entry
from ringbook.preferences import AUDIENCES

WORLDS, PEOPLE, DEEDS = 2, 6, 30
# Each number in several spellings; some of them are another number, or none, without a region.
SPELLINGS = [
    ("+447700900101", "07700 900101", "7700900101", "00447700900101", "447700900101"),
    ("+447700900102", "07700 900102", "+44 (0)7700 900102", "447700900102"),
    ("+12025550103", "2025550103", "(202) 555-0103", "12025550103"),
    ("+12025550104", "+1 202 555 0104", "12025550104"),
    ("+4915550100105", "15550100105", "015550100105"),
]
DEVICES = ("", "phone", "tablet")
BEFORE = ("as typed", "as read", "in an address book", "registered", "verified", "may be found")


class World(Play):
    """A world with random events."""

    def fill(self, chance: random.Random) -> None:
        self.chance = chance
        self.people = [
            self.person(f"user-{n}", self.number() if chance.random() < 0.5 else "").id for n in range(PEOPLE)
        ]
        for _ in range(DEEDS):
            acts = [self.upload, self.upload, self.drop, self.change, self.verify, self.come, self.go, self.choose]
            chance.choice(acts)()

    def number(self) -> str:
        return self.chance.choice(self.chance.choice(SPELLINGS))

    def anybody(self) -> int:
        return self.chance.choice(self.people)

    def upload(self) -> None:
        self.holds(self.anybody(), *((self.number(), "Name") for _ in range(3)), device=self.chance.choice(DEVICES))

    def drop(self) -> None:
        entries = [Entry(phone=self.number(), destroy=True)]
        device = self.chance.choice(DEVICES)
        discovery.upload(self.db, LIMITS, self.caller(self.anybody()), entries, device=device, now=self.now)

    def change(self) -> None:
        with suppress(errors.Invalid):  # a verified number stays
            self.changes(self.anybody(), phone=self.number())

    def verify(self) -> None:
        self.changes_verified(self.anybody(), self.international())

    def come(self) -> None:
        self.people = sorted({*self.people, self.verified(self.international())})

    def choose(self) -> None:
        chosen = {"discoverable": self.chance.choice(AUDIENCES)}
        preferences.change(self.db, self.caller(self.anybody()), chosen, now=self.now)

    def go(self) -> None:
        if len(self.people) > 3:
            users.erase(self.db, self.people.pop(self.chance.randrange(len(self.people))))

    def international(self) -> str:
        return self.chance.choice(SPELLINGS)[0]

    def questions(self) -> list[tuple[int, str]]:
        return [(user_id, typed) for user_id in self.people for typed in sum(SPELLINGS, ())]

    def shown(self, user_id: int, typed: str) -> set[int]:
        """The users whom the user's apps are shown for this number."""
        caller, region = self.caller(user_id), self.app.settings.default_region
        try:
            number = phone.read(typed, region)
        except (phone.Unreadable, phone.WrongLength):
            return set()
        sql = "SELECT user_id FROM numbers WHERE app_id = :app_id AND number = :number"
        keyed = self.db.seal.number(self.app_id, number)
        answer_to = {row["user_id"] for row in self.rows(sql, app_id=self.app_id, number=keyed)}
        found: set[int] = set()
        for device in DEVICES:
            if number in {phone.read(typed, region) for typed, _ in discovery.retrieve(self.db, caller, device)}:
                registered = discovery.registered(self.db, caller, device, now=self.now)
                found |= {one.user.id for one in registered} & answer_to
        return found


@pytest.mark.parametrize("region, verified", [("", "off"), ("GB", "auto"), ("US", "on")])
def test_why_says_found_exactly_when_the_app_is_shown_somebody(db, region, verified):
    seen = {
        agrees(world, user_id, typed) for world in worlds(db, region, verified) for user_id, typed in world.questions()
    }
    assert seen == {True, False}  # where everybody, or nobody, is found nothing is shown


def worlds(db, region, verified):
    for seed in range(WORLDS):
        world = World(db)
        world.set(default_region=region, require_verified_number=verified)
        world.fill(random.Random(f"{region} {seed}"))
        yield world


def agrees(world: World, user_id: int, typed: str) -> bool:
    """Check that the diagnosis agrees with the API, and that its first step that says no is the reason."""
    answer = diagnosis.diagnose(world.db, user_id, typed, world.now)
    shown = world.shown(user_id, typed)
    assert answer.found == bool(shown), (user_id, typed, answer)
    assert all(f"{one}" in answer.verdict for one in shown)
    reasons = [step for step in answer.steps if step.what in BEFORE and step.state == "no"]
    assert bool(reasons) != answer.found, (user_id, typed, answer)
    return answer.found
