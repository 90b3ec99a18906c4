"""The measurement: each round runs every operation once on each side that takes part in it.

    measure(sides, …)           so many rounds; Samples by the key of a case
    crowd(served, …)            many clients at once, to measure memory

Other programs slow all sides of a round equally, so ratios are computed within one run. The order of the sides changes
from round to round, and the first rounds are not counted.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cases import BOOK, RINGBOOK, Case
from served import Served
from world import Steps, World

Tell = Callable[[str, int, int], None]
CLOCK, CPU = "clock", "cpu"


@dataclass
class Samples:
    """Of each round, by side: wall-clock seconds; processor seconds of this process (raw) or of the server; bytes."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    size: dict[str, int] = field(default_factory=dict)

    def median(self, side: str, clock: str = CLOCK) -> float:
        """The median time of a side."""
        return statistics.median((self.seconds if clock == CLOCK else self.cpu)[side])

    def speed(self, side: str, clock: str = CLOCK) -> float:
        """How fast Ringbook is beside a side of the same rounds: 0.5 takes twice as long. The median of all rounds."""
        times = self.seconds if clock == CLOCK else self.cpu
        return statistics.median(other / its for other, its in zip(times[side], times[RINGBOOK], strict=True))


def measure(
    sides: dict[str, Any],
    world: World,
    owners: Sequence[int],
    *,
    warm_up: int,
    cases: Sequence[Case],
    size: int,
    tell: Tell,
) -> dict[str, Samples]:
    """Measure one round for each owner; the first `warm_up` rounds are not counted."""
    samples: dict[str, Samples] = {case.key: Samples() for case in cases}
    for done, owner in enumerate(owners):
        its = Steps(world, world.book(owner, size))
        sign_in(sides, owner)
        for case in cases:
            counted = samples[case.key] if done >= warm_up else Samples()
            for name in turned([name for name in sides if name in case.works], done):
                take(counted, name, case.works[name](sides[name], owner, its))
        tell(f"rounds of {size:,} contacts", done + 1, len(owners))
    return samples


def take(samples: Samples, side: str, cost: Any) -> None:
    """Count the cost of an operation."""
    samples.seconds[side].append(cost.clock)
    samples.cpu[side].append(cost.cpu)
    samples.size[side] = cost.size


def sign_in(sides: dict[str, Any], owner: int) -> None:
    """A first request, as apps make one. It stores the use of the session, which happens once a minute."""
    for side in sides.values():
        if isinstance(side, Served):
            side.retrieve(owner, [])


def turned(names: list[str], by: int) -> list[str]:
    """The same names in rotated order."""
    by %= len(names) or 1
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
        served.upload(owner, its.new_again)
        served.registered(owner, book, compact=False)
        served.retrieve(owner, book)
    served.close()
