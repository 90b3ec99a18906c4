"""The measurement: each round does all the work once on each side, side by side.

    CASES                       the work
    measure(sides, …)           so many rounds; Samples by case and side
    crowd(served, …)            many clients at once, for the memory it takes

Whatever else the machine is doing slows the sides of one round alike, so ratios are taken within a round. The order of
the sides changes from round to round, and the first rounds are not counted.
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
    """Some work: its name, how many contacts it is about, and how a side does it for an owner."""

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
# A diff on top of 50,000 would be more than the default limits allow.
MIDDLE_CASES = (
    Case("upload 20,000 new contacts", MIDDLE, True, lambda side, owner, its: side.upload(owner, its.new)),
    Case("upload a diff of 10 to these", 10, True, lambda side, owner, its: side.upload(owner, its.change)),
)
LARGE_CASES = (Case("upload 50,000 new contacts", LARGE, True, lambda side, owner, its: side.upload(owner, its.new)),)


@dataclass
class Samples:
    """Seconds of each round, by side; and seconds on the processor, in this process (raw) or in the server's (HTTP)."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, side: str) -> float:
        """The usual time."""
        return statistics.median(self.seconds[side])

    def cpu_median(self, side: str) -> float:
        """The usual time on the processor."""
        return statistics.median(self.cpu[side])

    def ratios(self, side: str) -> tuple[float, float, float]:
        """How fast a side is against the raw one, within each round: lower quartile, median, upper quartile."""
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
    """One round for each owner, the first `warm_up` of them uncounted."""
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
    """Let one side do it."""
    cost = work(side)
    samples.seconds[name].append(cost.clock)
    samples.cpu[name].append(cost.cpu)


def sign_in(sides: dict[str, Side], owner: int) -> None:
    """A first request, as apps make one: it writes back that the session was used, which happens once a minute."""
    for side in sides.values():
        if isinstance(side, Served):
            side.retrieve(owner, [])


def turned(names: list[str], by: int) -> list[str]:
    """The same names, beginning with another one."""
    by %= len(names)
    return names[by:] + names[:by]


def crowd(served: Served, world: World, owners: Sequence[int]) -> None:
    """As many clients as owners at once, each with a book of its own; whatever one of them misses ends the bench."""
    with ThreadPoolExecutor(len(owners)) as pool:
        for visited in [pool.submit(visit, served.another(), world, owner) for owner in owners]:
            visited.result()


def visit(served: Served, world: World, owner: int) -> None:
    """One client: upload, again, read back, who is here, a few times over."""
    book = world.book(owner, BOOK)
    its = Steps(world, book)
    served.upload(owner, its.new)
    for _ in range(5):
        served.upload(owner, its.same)
        served.registered(owner, book, compact=False)
        served.retrieve(owner, book)
    served.close()
