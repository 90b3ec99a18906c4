"""Small charts over time: what a template needs to draw them as tables that look like charts (charts.css).

    chart(title, days, …)    one series, a bar for each day
    stacked(title, days, …)  several, on top of each other

A bar's height is one of a hundred and one classes: a page may hold no style of its own (the content security policy).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

DAY = 86_400
FULL = 100
LEAST = 3  # of a hundred: what happened once among a million can be seen, too


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a day: what it is of, how many, and the class of its height."""

    name: str
    value: int
    size: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A title, what stands above the bars, and the bars of each day; `names` are those of a stacked chart."""

    title: str
    total: int | None
    text: str
    most: int
    names: tuple[str, ...]
    days: tuple[tuple[str, tuple[Bar, ...]], ...]

    @property
    def is_empty(self) -> bool:
        """Is there nothing to draw?"""
        return not self.most


def chart(title: str, days: Sequence[int], values: Sequence[int], *, total: int | None, text: str) -> Chart:
    """One series; `total` stands above it, None where it is not known, and `text` says what it is."""
    return _chart(title, days, {title: values}, (), total, text)


def stacked(title: str, days: Sequence[int], values: Mapping[str, Sequence[int]], *, text: str) -> Chart:
    """Several series on top of each other; above them stands the sum."""
    return _chart(title, days, values, tuple(values), sum(map(sum, values.values())), text)


def _chart(
    title: str,
    days: Sequence[int],
    values: Mapping[str, Sequence[int]],
    names: tuple[str, ...],
    total: int | None,
    text: str,
) -> Chart:
    most = max((sum(at) for at in zip(*values.values(), strict=True)), default=0)
    bars = tuple(
        (day_of(day), tuple(Bar(name, series[at], _size(series[at], most)) for name, series in values.items()))
        for at, day in enumerate(days)
    )
    return Chart(title, total, text, most, names, bars)


def _size(value: int, most: int) -> str:
    return f"s{max(LEAST, round(FULL * value / most))}" if value else "s0"


def day_of(day: int) -> str:
    """A day, UTC, as in `24 Nov`."""
    at = datetime.fromtimestamp(day * DAY, UTC)
    return f"{at.day} {at:%b}"
