"""Pictures as SVG text, readable on light and on dark pages.

bars(title, values, unit)        one horizontal bar for each value
curve(title, lines, unit)        lines over a number of contacts, on a logarithmic scale
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

WIDTH, MARGIN, ROW, BAR = 760, 24, 34, 18
LABELS = 250
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
    """A line for each (label, points, colour, dashed); its label stands at its end."""
    points = [point for _, line, _, _ in lines for point in line.items()]
    if not points:
        return drawing(title, 110, [words(MARGIN, 80, "not measured yet")])
    low, high = (math.log10(edge(x for x, _ in points)) for edge in (min, max))
    top = nice(max(y for _, y in points) * 1.05)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / ((high - low) or 1)
        width = WIDTH - PLOT_LEFT - PLOT_RIGHT
        return PLOT_LEFT + across * width, PLOT_TOP + PLOT_HEIGHT * (1 - y / top)

    parts = list(grid(top, unit))
    for x in sorted({x for x, _ in points}):
        parts.append(words(place(x, 0)[0], PLOT_TOP + PLOT_HEIGHT + 22, amount(x), "small", "middle"))
    ends = apart([place(max(line), line[max(line)])[1] for _, line, _, _ in lines])
    for (label, line, colour, dashed), end in zip(lines, ends, strict=True):
        placed = [place(x, line[x]) for x in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="line c{colour}{" dashed" if dashed else ""}" points="{path}"/>')
        parts += [f'<circle class="dot c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in placed]
        parts.append(words(WIDTH - PLOT_RIGHT + 12, end + 5, label, "small"))
    return drawing(title, PLOT_TOP + PLOT_HEIGHT + 44, parts)


def grid(top: float, unit: str) -> Iterator[str]:
    """Horizontal lines with their values."""
    for part in range(5):
        y = PLOT_TOP + PLOT_HEIGHT * (1 - part / 4)
        yield f'<line class="grid" x1="{PLOT_LEFT}" x2="{WIDTH - PLOT_RIGHT}" y1="{y}" y2="{y}"/>'
        yield words(PLOT_LEFT - 8, y + 4, f"{top * part / 4:g}{' ' + unit if part == 4 else ''}", "small", "end")


def apart(heights: Sequence[float], least: float = 17) -> list[float]:
    """The same heights, moved so that no two labels overlap."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    found = list(heights)
    for before, after in zip(order, order[1:], strict=False):
        found[after] = max(found[after], found[before] + least)
    return found


def nice(value: float) -> float:
    """The next larger of 1, 2, 4, 8, 10 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


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
