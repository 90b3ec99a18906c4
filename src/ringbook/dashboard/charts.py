"""Small charts over time: the values from which a template draws tables that look like charts (charts.css).

    chart(title, days, …)    one series, a bar for each day
    area(title, days, …)     one series of totals, as a line with the area below it
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
    start: str = ""  # of an area: the class of its height at the beginning of the day


@dataclass(frozen=True, slots=True)
class Chart:
    """A title, the total above the bars, and the bars of each day; a stacked chart has the `names` of its series."""

    title: str
    total: int
    text: str
    most: int
    names: tuple[str, ...]
    is_area: bool
    days: tuple[tuple[str, tuple[Bar, ...]], ...]

    @property
    def is_empty(self) -> bool:
        """Is there nothing to draw?"""
        return not self.most


def chart(title: str, days: Sequence[int], values: Sequence[int], *, total: int, text: str) -> Chart:
    """One series. `total` is shown above it, `text` explains it."""
    return _chart(title, days, {title: values}, (), total, text)


def area(title: str, days: Sequence[int], values: Sequence[int], *, total: int, text: str) -> Chart:
    """One series of totals. It begins at 0, so that a small change looks small."""
    most = max(values, default=0)
    sizes = [_size(value, most)[1:] for value in values]
    before = [sizes[0], *sizes[:-1]] if sizes else []
    bars = [
        (Bar(title, value, f"s{size}", f"b{start}"),) for value, size, start in zip(values, sizes, before, strict=True)
    ]
    return Chart(title, total, text, most, (), True, tuple(zip(map(day_of, days), bars, strict=True)))


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
    return Chart(title, total, text, most, names, False, bars)


def _size(value: int, most: int) -> str:
    return f"s{max(LEAST, round(FULL * value / most))}" if value else "s0"


def day_of(day: int) -> str:
    """A day, UTC, as in `24 Nov`."""
    at = datetime.fromtimestamp(day * DAY, UTC)
    return f"{at.day} {at:%b}"
