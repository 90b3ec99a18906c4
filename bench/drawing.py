"""Pictures as SVG text, readable on light and on dark pages.

bars(title, values, unit)        one horizontal bar for each value
curve(title, lines, unit)        lines over a number of contacts
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, MARGIN, ROW, BAR = 760, 24, 34, 18
LABELS = 290
PLOT_TOP, PLOT_HEIGHT, PLOT_LEFT, PLOT_RIGHT = 64, 250, 64, 210
STYLE = """text{font:14px system-ui,sans-serif;fill:#1f2328}.small{font-size:12px;fill:#59636e}.title{font-weight:600}
.page{fill:#ffffff;stroke:#d1d9e0}.grid{stroke:#d1d9e0}.c0{--c:#0969da}.c1{--c:#bc4c00}.c2{--c:#1a7f37}.c3{--c:#818b98}
.bar{fill:var(--c)}.line{stroke:var(--c);fill:none;stroke-width:2.5}.dot{fill:var(--c)}.dashed{stroke-dasharray:6 5}
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.page{fill:#0d1117;stroke:#3d444d}
.grid{stroke:#3d444d}.c0{--c:#4493f8}.c1{--c:#db6d28}.c2{--c:#3fb950}.c3{--c:#9198a1}}"""
Points = Mapping[int, float]


def bars(title: str, values: Sequence[tuple[str, float, int]], unit: str) -> str:
    """Bars for (label, value, colour) from top to bottom, each with its value."""
    most = max((value for _, value, _ in values), default=1) or 1
    room = WIDTH - LABELS - 2 * MARGIN - 90
    parts = []
    for place, (label, value, colour) in enumerate(values):
        top = 60 + place * ROW
        length = max(2, value / most * room)
        parts.append(words(MARGIN, top + 14, label))
        parts.append(f'<rect class="bar c{colour}" x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" rx="3"/>')
        parts.append(words(LABELS + length + 8, top + 14, f"{digits(value)} {unit}"))
    return drawing(title, 72 + len(values) * ROW, parts)


def curve(title: str, lines: Sequence[tuple[str, Points, int, bool]], unit: str) -> str:
    """A line for each (label, points, colour, dashed); its label stands at its end. Both scales are logarithmic."""
    points = [point for _, line, _, _ in lines for point in line.items()]
    if not points:
        return drawing(title, 110, [words(MARGIN, 80, "not measured yet")])
    across = Scale([x for x, _ in points], PLOT_LEFT, WIDTH - PLOT_RIGHT)
    steps = grid([y for _, y in points])
    up = Scale(steps, PLOT_TOP + PLOT_HEIGHT, PLOT_TOP)
    parts = []
    for step in steps:
        y = up.place(step)
        parts.append(f'<line class="grid" x1="{PLOT_LEFT}" x2="{WIDTH - PLOT_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(words(PLOT_LEFT - 8, y + 4, f"{step:g}{' ' + unit if step == steps[-1] else ''}", "small", "end"))
    for x in sorted({x for x, _ in points}):
        parts.append(words(across.place(x), PLOT_TOP + PLOT_HEIGHT + 22, amount(x), "small", "middle"))
    for _, line, colour, dashed in lines:
        placed = [(across.place(x), up.place(line[x])) for x in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="line c{colour}{" dashed" if dashed else ""}" points="{path}"/>')
        parts += [f'<circle class="dot c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in placed]
    ends = apart([up.place(line[max(line)]) for _, line, _, _ in lines])
    parts += [words(WIDTH - PLOT_RIGHT + 44, end + 4, one[0], "small") for one, end in zip(lines, ends, strict=True)]
    return drawing(title, PLOT_TOP + PLOT_HEIGHT + 44, parts)


def apart(heights: Sequence[float], least: float = 16) -> list[float]:
    """The same heights, moved down where two labels would overlap, and up where they would leave the picture."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    found = list(heights)
    for before, after in itertools.pairwise(order):
        found[after] = max(found[after], found[before] + least)
    bottom = float(PLOT_TOP + PLOT_HEIGHT)
    for place in reversed(order):
        found[place] = min(found[place], bottom)
        bottom = found[place] - least
    return found


class Scale:
    """A logarithmic scale for these values between two places of the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = (math.log10(edge(values)) for edge in (min, max))
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Where a value stands."""
        return self._start + (math.log10(value) - self._low) / ((self._high - self._low) or 1) * (
            self._end - self._start
        )


def grid(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten, from below the smallest value to above the largest."""
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    high = min(step for step in steps if step >= max(values))
    return [step for step in steps if low <= step <= high]


def amount(count: int) -> str:
    """A number of contacts in millions."""
    return f"{count / 10**6:g} million"


def digits(value: float) -> str:
    """A value with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def words(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """A text."""
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def drawing(title: str, height: float, parts: Sequence[str]) -> str:
    """A whole picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
        f' aria-label="{escape(title, quote=True)}">'
    )
    page = f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>'
    lines = [head, f"<style>{STYLE}</style>", page, words(MARGIN, 34, title, "title"), *parts, "</svg>"]
    return "\n".join(lines) + "\n"
