"""The measurement: each round runs every operation once on each side.

    CASES                       the operations
    measure(sides, …)           so many rounds; Samples by case and side
    crowd(served, …)            many clients at once, to measure memory

Other programs slow all sides of a round equally, so ratios are computed within a round. The order of the sides changes
from round to round, and the first rounds are not counted.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from raw import Cost, Raw
from served import Served
from world import Steps, World

Side = Raw | Served
RAW = "raw"
BOOK, MIDDLE, LARGE = 1_000, 20_000, 50_000


@dataclass(frozen=True)
class Case:
    """An operation: its name, its number of contacts, and the call that a side makes for an owner."""

    name: str
    contacts: int
    is_upload: bool
    work: Callable[[Any, int, Steps], Cost]


CASES = (
    Case("upload 1,000 new contacts", BOOK, True, lambda side, owner, its: side.upload(owner, its.new)),
    Case("upload the same book again", BOOK, True, lambda side, owner, its: side.upload(owner, its.same)),
    Case("upload a diff of 10", 10, True, lambda side, owner, its: side.upload(owner, its.change)),
    Case("upload the book, 10 differ, `force`", BOOK, True, lambda side, owner, its: side.upload(owner, its.force)),
    Case("retrieve 1,000", BOOK, False, lambda side, owner, its: side.retrieve(owner, its.book)),
    Case(
        "registered users, compact (200 of 1,000)",
        BOOK,
        False,
        lambda side, owner, its: side.registered(owner, its.book, compact=True),
    ),
    Case(
        "registered users, whole (200 of 1,000)",
        BOOK,
        False,
        lambda side, owner, its: side.registered(owner, its.book, compact=False),
    ),
)
# A diff on top of 50,000 contacts would exceed the default limits.
MIDDLE_CASES = (
    Case("upload 20,000 new contacts", MIDDLE, True, lambda side, owner, its: side.upload(owner, its.new)),
    Case("upload a diff of 10 to these", 10, True, lambda side, owner, its: side.upload(owner, its.change)),
)
LARGE_CASES = (Case("upload 50,000 new contacts", LARGE, True, lambda side, owner, its: side.upload(owner, its.new)),)


@dataclass
class Samples:
    """Wall-clock seconds of each round by side, and processor seconds of this process (raw) or of the server (HTTP)."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, side: str) -> float:
        """The median time."""
        return statistics.median(self.seconds[side])

    def cpu_median(self, side: str) -> float:
        """The median processor time."""
        return statistics.median(self.cpu[side])

    def ratios(self, side: str) -> tuple[float, float, float]:
        """The speed of a side in relation to the raw side of the same round: lower quartile, median, upper quartile."""
        each = [raw / its for raw, its in zip(self.seconds[RAW], self.seconds[side], strict=True)]
        low, middle, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        return low, middle, high


def measure(
    sides: dict[str, Side],
    world: World,
    owners: Sequence[int],
    *,
    warm_up: int,
    cases: Sequence[Case] = CASES,
    size: int = BOOK,
    tell: Callable[[str, int, int], None],
) -> dict[str, Samples]:
    """Measure one round for each owner; the first `warm_up` rounds are not counted."""
    samples: dict[str, Samples] = {case.name: Samples() for case in cases}
    for done, owner in enumerate(owners):
        its = Steps(world, world.book(owner, size))
        order = turned(list(sides), done)
        sign_in(sides, owner)
        for case in cases:
            counted = samples[case.name] if done >= warm_up else Samples()
            for name in order:
                take(counted, name, sides[name], lambda side: case.work(side, owner, its))  # noqa: B023
        tell(f"rounds of {size:,} contacts", done + 1, len(owners))
    return samples


def take(samples: Samples, name: str, side: Side, work: Callable[[Side], Cost]) -> None:
    """Run the operation on one side."""
    cost = work(side)
    samples.seconds[name].append(cost.clock)
    samples.cpu[name].append(cost.cpu)


def sign_in(sides: dict[str, Side], owner: int) -> None:
    """A first request, as apps make one. It stores the use of the session, which happens once a minute."""
    for side in sides.values():
        if isinstance(side, Served):
            side.retrieve(owner, [])


def turned(names: list[str], by: int) -> list[str]:
    """The same names in rotated order."""
    by %= len(names)
    return names[by:] + names[:by]


def crowd(served: Served, world: World, owners: Sequence[int]) -> None:
    """Run one client for each owner at the same time, each with its own book. A wrong result ends the benchmark."""
    with ThreadPoolExecutor(len(owners)) as pool:
        for visited in [pool.submit(visit, served.another(), world, owner) for owner in owners]:
            visited.result()


def visit(served: Served, world: World, owner: int) -> None:
    """One client: upload, upload again, read back, get the registered contacts; several times."""
    book = world.book(owner, BOOK)
    its = Steps(world, book)
    served.upload(owner, its.new)
    for _ in range(5):
        served.upload(owner, its.same)
        served.registered(owner, book, compact=False)
        served.retrieve(owner, book)
    served.close()
