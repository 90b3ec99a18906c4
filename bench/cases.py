"""What is measured in each round, and by whom.

CASES, MIDDLE_CASES, LARGE_CASES    the operations, in their order
Case.works                          the call of each side that takes part
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raw import Cost
from world import Steps

RAW, RINGBOOK, BARE, SYDENT = "raw", "Ringbook", "Starlette", "Sydent"
BOOK, MIDDLE, LARGE = 1_000, 20_000, 50_000
TIMES = 20  # a small request is too short to be measured alone
Work = Callable[[Any, int, Steps], Cost]


@dataclass(frozen=True)
class Case:
    """An operation: the name by which `musts` finds it, a name for people, and the call of each side for an owner."""

    key: str
    name: str
    works: dict[str, Work]


def uploaded(key: str, name: str, step: str, *others: str) -> Case:
    """An upload, by Ringbook and by others."""

    def work(side: Any, owner: int, its: Steps) -> Cost:
        return side.upload(owner, getattr(its, step))

    return Case(key, name, dict.fromkeys((*others, RINGBOOK), work))


def registered(side: Any, owner: int, its: Steps, *, compact: bool) -> Cost:
    return side.registered(owner, its.book, compact=compact)


def compact(side: Any, owner: int, its: Steps) -> Cost:
    return registered(side, owner, its, compact=True)


def whole(side: Any, owner: int, its: Steps) -> Cost:
    return registered(side, owner, its, compact=False)


def retrieved(side: Any, owner: int, its: Steps) -> Cost:
    return side.retrieve(owner, its.book)


def small(side: Any, owner: int, _its: Steps) -> Cost:
    return side.small(owner, TIMES)


CASES = (
    Case("session", "GET /session", {RINGBOOK: lambda side, owner, _: side.session(owner, TIMES), BARE: small}),
    Case("user", "GET /users/ID", {RINGBOOK: lambda side, owner, _: side.user(owner, TIMES)}),
    Case("one row", "PUT /users/ID, which commits one row", {RINGBOOK: lambda side, owner, _: side.one_row(owner)}),
    uploaded("new", "upload 1,000 new contacts", "new", RAW),
    uploaded("same alone", "upload the same body again, once", "new_again"),
    Case(
        "same",
        "upload the same body again, 20 times (bare: read and hash it)",
        {
            RINGBOOK: lambda side, owner, its: side.uploads(owner, its.new_again, TIMES),
            BARE: lambda side, _, its: side.hashed(its.new.body, TIMES),
        },
    ),
    uploaded("other", "the same contacts in another order, one renamed", "other", RAW),
    uploaded("diff", "upload a diff of 10", "change", RAW),
    uploaded("force", "upload the book, 10 differ, `force`", "force", RAW),
    Case("retrieve", "retrieve 1,000", {RAW: retrieved, RINGBOOK: retrieved}),
    Case(
        "compact",
        "registered users, compact (200 of 1,000)",
        {RAW: compact, RINGBOOK: compact, SYDENT: lambda side, owner, its: side.lookups(owner, its.book, 1)},
    ),
    Case(
        "compact again",
        "the same question again, 20 times",
        {
            RINGBOOK: lambda side, owner, its: side.registered_again(owner, its.book, TIMES),
            SYDENT: lambda side, owner, its: side.lookups(owner, its.book, TIMES),
        },
    ),
    Case("whole", "registered users, whole (200 of 1,000)", {RAW: whole, RINGBOOK: whole}),
)
# A diff on top of 50,000 contacts would exceed the default limits. After 20,000 new contacts, no cache of the processor
# has anything that a small request needs. So others come first, as before the `PUT /users/ID` of the comparison.
MIDDLE_CASES = (
    uploaded("new 20,000", "upload 20,000 new contacts", "new", RAW),
    Case("session 20,000", "GET /session after these", {RINGBOOK: lambda side, owner, _: side.session(owner, TIMES)}),
    uploaded("diff 20,000", "upload a diff of 10 to these", "change", RAW),
)
LARGE_CASES = (uploaded("new 50,000", "upload 50,000 new contacts", "new", RAW),)
GROWTH_CASES = (
    uploaded("new", "upload 1,000 new contacts", "new"),
    uploaded("diff", "upload a diff of 10", "change"),
    Case(
        "compact",
        "registered users, compact (200 of 1,000)",
        {RINGBOOK: lambda side, owner, its: side.registered(owner, its.after, compact=True)},
    ),
)
