"""Small charts over time: the values from which a template draws tables that look like charts (charts.css).

    chart(title, days, …)    one series, a bar for each day
    stacked(title, days, …)  several, on top of each other

A bar's height is one of 101 CSS classes, because the content security policy forbids inline styles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

DAY = 86_400
FULL = 100
LEAST = 3  # of FULL: a bar for 1 stays visible beside one for a million


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of one day; `size` is the class of its height."""

    name: str
    value: int
    size: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A title, the total above the bars, and the bars of each day; a stacked chart has the `names` of its series."""

    title: str
    total: int
    text: str
    most: int
    names: tuple[str, ...]
    days: tuple[tuple[str, tuple[Bar, ...]], ...]

    @property
    def is_empty(self) -> bool:
        """Is there nothing to draw?"""
        return not self.most


def chart(title: str, days: Sequence[int], values: Sequence[int], *, total: int, text: str) -> Chart:
    """One series. `total` is shown above it, `text` explains it."""
    return _chart(title, days, {title: values}, (), total, text)


def stacked(title: str, days: Sequence[int], values: Mapping[str, Sequence[int]], *, text: str) -> Chart:
    """Several series on top of each other, with their sum above them."""
    return _chart(title, days, values, tuple(values), sum(map(sum, values.values())), text)


def _chart(
    title: str,
    days: Sequence[int],
    values: Mapping[str, Sequence[int]],
    names: tuple[str, ...],
    total: int,
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
