"""What must be fast, in one table: what is measured, how it is computed, the must and the aim.

    MUSTS                 the rows
    judged(found)         each row with its values, and whether it is met
    verdict(rows, say)    says which musts are missed, in the last line of a run; the exit code
    growing(sizes)        the rows of `growth.py`

Every value is computed from medians of one run. Two of them are shown: by the wall clock, and by the processor time of
the serving process. What decides is the processor time, but the wall clock where a row compares work of the database
and PostgreSQL does that work in processes of its own.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cases import BARE, RAW, RINGBOOK, SYDENT
from rounds import CLOCK, CPU, Samples

MEBIBYTE = 2**20
BEFORE = ("decode the body", "prepare all: the last four steps", "diff, all new", "seal")


@dataclass(frozen=True)
class Found:
    """What one run on one database measured.

    cases      samples by the key of a case
    reading    seconds per contact of an upload's steps before the database
    joined     seconds to the first push, seconds until all are stored, pushes per second; none if not measured
    anonymous  the highest anonymous memory of the server in bytes
    ready      seconds from the start of the process to the first answer of /readyz, of each start
    """

    kind: str
    cases: Mapping[str, Samples] = field(default_factory=dict)
    reading: Mapping[str, float] = field(default_factory=dict)
    joined: Mapping[str, float] = field(default_factory=dict)
    anonymous: int = 0
    ready: Sequence[float] = ()

    def time(self, key: str, clock: str, side: str = RINGBOOK) -> float:
        """The median time of a case; LookupError if it was not measured."""
        samples = self.cases[key]
        if side not in samples.seconds:
            raise LookupError(side)
        return samples.median(side, clock)

    def speed(self, key: str, clock: str, side: str = RAW) -> float:
        """How fast Ringbook is beside a side: the median of the rounds."""
        return self.cases[key].speed(side, clock)


Value = Callable[[Found, str], float]


@dataclass(frozen=True)
class Must:
    """A row: what is compared with what, the bounds, and how to compute the value.

    at_least    the value must not be smaller; otherwise it must not be larger
    database    it compares work of the database, which PostgreSQL does in processes of its own
    clocks      has it a value by the wall clock and one by processor time? Otherwise it has one value
    only        measured on this database only
    part        the part of the bench that measures it
    """

    work: str
    compared: str
    must: float
    aim: float
    value: Value
    unit: str = ""
    at_least: bool = False
    database: bool = False
    clocks: bool = True
    only: str = ""
    part: str = "books"

    def met(self, value: float | None, bound: float) -> bool:
        """Does a value keep a bound? One that was not measured does not."""
        return value is not None and (value >= bound if self.at_least else value <= bound)


def beside_the_floor(found: Found, clock: str) -> float:
    floor = found.time("session", clock) + found.time("compact", clock, RAW)
    return found.time("compact", clock) / floor


def beside_hashing(found: Found, clock: str) -> float:
    hashing = found.time("same", clock, BARE) - found.time("session", clock, BARE)
    return (found.time("same", clock) - found.time("session", clock)) / hashing


def against(key: str, other: str, side: str = RINGBOOK) -> Value:
    """The time of one case as a multiple of another."""
    return lambda found, clock: found.time(key, clock) / found.time(other, clock, side)


def beside_raw(key: str) -> Value:
    """The speed beside the raw statement."""
    return lambda found, clock: found.speed(key, clock)


def joined(name: str) -> Value:
    return lambda found, _: found.joined[name]


ONE_ROW = "× a request that commits one row (`PUT /users/ID`)"
MUSTS = (
    Must(
        "registered, compact",
        "× as fast as tuned Sydent",
        4,
        6,
        lambda found, clock: found.speed("compact", clock, SYDENT),
        at_least=True,
        only="sqlite",
    ),
    Must(
        "registered, compact, asked again",
        "× as fast as tuned Sydent",
        4,
        6,
        lambda found, clock: found.speed("compact again", clock, SYDENT),
        at_least=True,
        only="sqlite",
    ),
    Must(
        "registered, compact",
        "× (`GET /session` + the raw join + opening the texts)",
        1.5,
        1.5,
        beside_the_floor,
        database=True,
    ),
    Must("registered, whole", "× compact", 2, 1.5, against("whole", "compact")),
    Must(
        "the same body again",
        "× reading and hashing the body, beyond `GET /session`",
        1.5,
        1.2,
        beside_hashing,
    ),
    Must(
        "the same body again",
        "bytes of the answer",
        300,
        300,
        lambda found, _: found.cases["same"].size[RINGBOOK],
        clocks=False,
    ),
    Must(
        "the same contacts, another body",
        "µs a contact, the whole request",
        2.5,
        1.5,
        lambda found, clock: found.time("other", clock) / 1_000 * 1e6,
    ),
    Must("diff of 10 to 1,000", ONE_ROW, 2, 1.5, against("diff", "one row"), database=True),
    Must("diff of 10 to 20,000", ONE_ROW, 2, 1.5, against("diff 20,000", "one row"), database=True),
    Must("1,000 new contacts", "× as fast as raw", 0.65, 0.8, beside_raw("new"), at_least=True, database=True),
    Must(
        "1,000 new contacts",
        "µs a contact before the database",
        8,
        5,
        lambda found, _: sum(found.reading[step] for step in BEFORE) * 1e6,
        clocks=False,
    ),
    Must("50,000 new contacts", "× as fast as raw", 0.65, 0.8, beside_raw("new 50,000"), at_least=True, database=True),
    Must(
        "retrieve 1,000",
        "× as fast as raw, which opens the texts too",
        0.6,
        0.8,
        beside_raw("retrieve"),
        at_least=True,
        database=True,
    ),
    Must("`GET /session`", "× a bare answer of Starlette", 3, 2, against("session", "session", BARE)),
    Must("`GET /users/ID`", "× a bare answer of Starlette", 3, 2, against("user", "session", BARE)),
    Must("joined, 100,000 holders", "s to the first push", 0.5, 0.1, joined("first"), clocks=False, part="pushes"),
    Must("joined, 100,000 holders", "s until all are stored", 5, 3, joined("stored"), clocks=False, part="pushes"),
    Must(
        "joined, 100,000 holders",
        "pushes/s from one worker",
        5_000,
        8_000,
        joined("rate"),
        at_least=True,
        clocks=False,
        part="pushes",
    ),
    Must(
        "memory of the server",
        "MiB, the highest anonymous memory",
        150,
        120,
        lambda found, _: found.anonymous / MEBIBYTE,
        clocks=False,
    ),
    Must(
        "start",
        "s until ready",
        1,
        1,
        lambda found, _: statistics.median(found.ready),
        clocks=False,
    ),
)


@dataclass(frozen=True)
class Row:
    """A row of the table with its values; None = not measured."""

    kind: str
    work: str
    compared: str
    clock: float | None
    cpu: float | None
    decides: str
    must: float
    aim: float
    at_least: bool
    met: bool
    aim_met: bool
    part: str


def judged(found: Found) -> list[Row]:
    """Every row that belongs to this database."""
    return [row(must, found) for must in MUSTS if must.only in ("", found.kind)]


def row(must: Must, found: Found) -> Row:
    """One row with its values."""
    clock, cpu = (computed(must, found, one) for one in (CLOCK, CPU))
    by_clock = not must.clocks or (must.database and found.kind == "postgresql")
    value = clock if by_clock else cpu
    return Row(
        found.kind,
        must.work,
        must.compared,
        clock,
        cpu if must.clocks else None,
        CLOCK if by_clock else CPU,
        must.must,
        must.aim,
        must.at_least,
        must.met(value, must.must),
        must.met(value, must.aim),
        must.part,
    )


def computed(must: Must, found: Found, clock: str) -> float | None:
    """The value of a row, None if something that it needs was not measured."""
    try:
        return must.value(found, clock)
    except (LookupError, statistics.StatisticsError, ZeroDivisionError):
        return None


# ── growth ───────────────────────────────────────────────────────────────────────────────────────────────────────────

GROWTH_MUST, GROWTH_AIM = 1.25, 1.1
GROWING = {"new": "a new book of 1,000", "diff": "its diff of 10", "compact": "registered, compact"}


def growing(kind: str, sizes: Mapping[int, Mapping[str, Any]]) -> list[Row]:
    """The rows of growth: the slowest size as a multiple of the fastest.

    sizes    the medians in seconds by number of contacts, case and clock
    """
    return [
        grown(kind, work, [sizes[size][key] for size in sorted(sizes)], sorted(sizes)) for key, work in GROWING.items()
    ]


def grown(kind: str, work: str, medians: Sequence[Mapping[str, float]], sizes: Sequence[int]) -> Row:
    clock, cpu = (max(one[name] for one in medians) / min(one[name] for one in medians) for name in (CLOCK, CPU))
    value = clock if kind == "postgresql" else cpu
    compared = f"× between {', '.join(f'{size // 10**6}' for size in sizes)} million contacts"
    decides = CLOCK if kind == "postgresql" else CPU
    met = [len(sizes) > 1 and value <= bound for bound in (GROWTH_MUST, GROWTH_AIM)]
    return Row(kind, work, compared, clock, cpu, decides, GROWTH_MUST, GROWTH_AIM, False, *met, "growth")


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────

HEAD = ("work", "compared with", "wall clock", "processor", "must", "aim", "met")


def cells(row: Row) -> list[str]:
    """A row as text; the value that decides is in bold."""
    signs = "≥" if row.at_least else "≤"
    values = [
        shown(value) if name != row.decides else f"**{shown(value)}**"
        for name, value in ((CLOCK, row.clock), (CPU, row.cpu))
    ]
    met = "aim" if row.aim_met else "must" if row.met else "**no**" if decisive(row) is not None else "not measured"
    return [row.work, row.compared, *values, f"{signs} {row.must:g}", f"{signs} {row.aim:g}", met]


def decisive(row: Row) -> float | None:
    """The value that decides."""
    return row.clock if row.decides == CLOCK else row.cpu


def shown(value: float | None) -> str:
    """A value with three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict(rows: Iterable[Row], say: Callable[[str], object]) -> int:
    """Say which musts a run misses; 1 if there are any. Nothing may be said after it."""
    lost = [f"{row.work} ({row.kind}; {row.compared})" for row in rows if not row.met]
    say(f"Missed musts ({len(lost)}): {'; '.join(lost)}." if lost else "All musts are met.")
    return 1 if lost else 0
