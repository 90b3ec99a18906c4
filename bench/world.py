"""The users, books and uploads of the measurement. They are the same for every side and every run.

    World(users)                 the registered users and their numbers
    World.book(owner, size)      an address book; a fifth of its contacts are registered
    Steps(world, book)           the uploads of one owner, one after the other

No number belongs to a real phone. Half of a book are American numbers reserved for fiction (NPA 555-01xx), spelled as
phones show them, `+1 (202) 555-0142`; there are 80,000 of these. The others begin with 999, an unassigned country code,
and consist of digits only; there are as many as needed, spread over the whole table of users.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

import msgspec

FICTIONAL, TAKEN_EVERY = 80_000, 5
TURNS = FICTIONAL // TAKEN_EVERY
SYNTHETIC, APART = 999_000_000_000, 37
GAP = 2**20
GIVEN = ("Ann", "Björn", "Chloé", "Dmitri", "Elif", "Fatou", "Hana", "Jürgen", "Łukasz", "नेहा", "Olamide", "יעל")
FAMILY = ("Example", "Sample", "Specimen", "Muster", "Placeholder", "Untel", "Fulana", "Rossi 🏡", "", "(work)")


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact of a book; the phone sends `typed`, and the server reads it as `number`."""

    number: int
    typed: str
    name: str
    is_user: bool

    @property
    def spelling(self) -> str | None:
        """The spelling that is stored beside the number, if it differs from the digits."""
        return None if self.typed == str(self.number) else self.typed


Row = tuple[int, str, str | None, int]  # number, name, typed, seq


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload, ready made for both sides.

    body, answer    the request over HTTP, and the expected response
    put, drop       the same upload as rows, sorted by number, and as numbers to remove
    whole           with `force`: contacts that are not in `put` are removed, too
    changes         how many rows differ from the stored ones; the others need not be written
    """

    body: bytes
    answer: dict[str, Any]
    put: list[Row]
    drop: list[int]
    whole: bool
    changes: int

    @property
    def entries(self) -> int:
        """The number of entries of the upload."""
        return len(self.put) + len(self.drop)


class World:
    """So many users, each with one number."""

    def __init__(self, users: int) -> None:
        self.users = users
        self.stride = users // TURNS

    def number_of(self, user_id: int) -> int:
        """A fictional number for every `stride`th user, a synthetic one for all others."""
        turn, rest = divmod(user_id, self.stride)
        return fictional(turn * TAKEN_EVERY)[0] if not rest and turn < TURNS else SYNTHETIC + user_id * APART

    def book(self, owner_id: int, size: int) -> list[Contact]:
        """The book of an owner in the order of the phone: a fifth are users; half fictional, half synthetic numbers."""
        random, tenth = Random(owner_id), size // 10
        near = self.users // self.stride
        book = [
            *(self._fictional(random, turn * TAKEN_EVERY) for turn in random.sample(range(1, TURNS), tenth)),
            *(self._fictional(random, index) for index in random.sample(FREE, 4 * tenth)),
            *(self._synthetic(random, turn * self.stride + 1, 0) for turn in random.sample(range(near), tenth)),
            *(self._synthetic(random, user_id, 1) for user_id in random.sample(range(self.users), 4 * tenth)),
        ]
        random.shuffle(book)
        return book

    def strangers(self, book: Sequence[Contact], count: int) -> list[Contact]:
        """Contacts that are neither in the book nor users."""
        random, held = Random(count), {contact.number for contact in book}
        found = (self._synthetic(random, user_id, 2) for user_id in range(self.users))
        return list(islice((contact for contact in found if contact.number not in held), count))

    def _fictional(self, random: Random, index: int) -> Contact:
        number, typed = fictional(index)
        return Contact(number, typed, named(random), index % TAKEN_EVERY == 0)

    def _synthetic(self, random: Random, user_id: int, off: int) -> Contact:
        """The number of this user or, with `off`, a number near it that no user has."""
        number = SYNTHETIC + user_id * APART + off
        return Contact(number, str(number), named(random), off == 0)


FREE = [index for index in range(FICTIONAL) if index % TAKEN_EVERY]


def fictional(index: int) -> tuple[int, str]:
    """One of the 80,000 numbers NPA 555-0100 to 555-0199, and a way to write it."""
    area, line = 200 + index // 100, index % 100
    spellings = (f"+1 ({area}) 555-01{line:02}", f"+1{area}55501{line:02}", f"+1-{area}-555-01{line:02}")
    return int(f"1{area}55501{line:02}"), spellings[index % 3]


def named(random: Random) -> str:
    """A name as in real address books."""
    return f"{random.choice(GIVEN)} {random.choice(FAMILY)} {random.randrange(100)}"


class Steps:
    """The uploads of one owner to an empty book, in this order. Each is created at its first use."""

    def __init__(self, world: World, book: list[Contact]) -> None:
        self._world = world
        self._first = book

    @cached_property
    def new(self) -> Upload:
        """The upload of the whole book."""
        count = len(self._first)
        return upload(self._first, self._first, changes=count, created=count)

    @cached_property
    def new_again(self) -> Upload:
        """The same body again."""
        return upload(self._first, self._first, changes=0, updated=len(self._first))

    @cached_property
    def other(self) -> Upload:
        """The same contacts in another body: in reversed order, and with one new name."""
        return upload(self._renamed[::-1], self._first, changes=1, updated=len(self._first))

    @property
    def change(self) -> Upload:
        """A diff of 10 contacts."""
        return self._second[1]

    @property
    def after(self) -> list[Contact]:
        """The book after `change`."""
        return self._second[0]

    @cached_property
    def force(self) -> Upload:
        """The whole book with `force`, with another 10 changes."""
        known, updated = self._second[0], len(self._first) - 4
        return upload(self.book, known, whole=True, changes=6, created=4, updated=updated, deleted=4)

    @property
    def book(self) -> list[Contact]:
        """The book after all uploads."""
        return self._third[0]

    @cached_property
    def _renamed(self) -> list[Contact]:
        """The book after `other`. A stranger is renamed whom no later upload renames or removes."""
        last = max(index for index, contact in enumerate(self._first) if not contact.is_user)
        old = self._first[last]
        return [*self._first[:last], Contact(old.number, old.typed, f"{old.name} Jr", False), *self._first[last + 1 :]]

    @cached_property
    def _second(self) -> tuple[list[Contact], Upload]:
        return changed(self._world, self._renamed if "other" in vars(self) else self._first)

    @cached_property
    def _third(self) -> tuple[list[Contact], Upload]:
        return changed(self._world, self._second[0])


def changed(world: World, book: list[Contact]) -> tuple[list[Contact], Upload]:
    """The book after 4 contacts were added, 2 renamed and 4 removed, and the upload with these changes."""
    free = [contact for contact in book if not contact.is_user]
    gone = free[:4]
    renamed = {one.number: Contact(one.number, one.typed, f"{one.name} II", False) for one in free[4:6]}
    new = world.strangers(book, 4)
    after = [renamed.get(contact.number, contact) for contact in book if contact not in gone]
    change = upload([*renamed.values(), *new], book, drop=gone, changes=6, created=4, updated=2, deleted=4)
    return [*after, *new], change


def upload(
    put: list[Contact],
    known: list[Contact],
    *,
    drop: Sequence[Contact] = (),
    whole: bool = False,
    changes: int,
    **counts: int,
) -> Upload:
    """An upload on top of a known book."""
    sent: list[dict[str, Any]] = [{"name": contact.name, "phone": contact.typed} for contact in put]
    sent += [{"phone": contact.typed, "destroy": 1} for contact in drop]
    body = msgspec.json.encode({"contacts": sent, "force": int(whole)})
    answer = {"created": 0, "updated": 0, "deleted": 0, "rejected": {}} | counts
    rows = sorted(placed(put, len(known)))
    return Upload(body, answer, rows, [contact.number for contact in drop], whole, changes)


def placed(contacts: Sequence[Contact], after: int = 0) -> Iterator[Row]:
    """Rows for contacts in their order, after the existing ones."""
    for position, contact in enumerate(contacts, after + 1):
        yield contact.number, contact.name, contact.spelling, position * GAP
