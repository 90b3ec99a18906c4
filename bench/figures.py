"""The page of figures for visitors, from results/latest.json: a table, two pictures, what is not good yet.

    python bench/figures.py      writes bench/results/figures.md, beside.svg, growth.svg, and three lines of README.md
    page(saved)                  the page
    three(saved)                 its first three lines, which README.md quotes
    pictures(saved)              the pictures by file name
    readme(text, saved)          README.md with these three lines

Nothing on the page is written by hand, so that it cannot differ from what was measured.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import latest
import musts
from cases import RINGBOOK, SYDENT
from drawing import bars, curve, digits
from musts import Row
from peers import ANALYSED, SHIPPED, VERSION
from report import name, pipes

RESULTS = Path(__file__).with_name("results")
README = Path(__file__).parents[1] / "README.md"
KINDS = ("sqlite", "postgresql")
PARTS = ("books", "pushes", "growth")
NOT_MEASURED = "not measured yet"
BEGIN, END = "<!-- three lines of bench/results/figures.md, written by bench/figures.py -->", "<!-- end -->"
Saved = Mapping[str, Mapping[str, Any]]


def write() -> None:
    """Write the page, its pictures and the lines in README.md."""
    saved = latest.load()
    for file, text in pictures(saved).items():
        (RESULTS / file).write_text(text)
    (RESULTS / "figures.md").write_text(page(saved))
    README.write_text(readme(README.read_text(), saved))


def readme(text: str, saved: Saved) -> str:
    """README.md with the three lines between the marks."""
    lines = "\n".join(three(saved))
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{lines}\n{END}", text, flags=re.DOTALL)


def page(saved: Saved) -> str:
    """The whole page."""
    parts = [
        "# Ringbook in figures",
        "\n".join(three(saved)),
        "![Time for one question: Sydent and Ringbook](beside.svg)",
        "![Time by the number of stored contacts](growth.svg)",
        "## What must be fast",
        "Ratios within one run. *must* is the goal that a release has to keep; *aim* is where we want to be. The value"
        " is processor time of the serving process, and elapsed time where PostgreSQL works in processes of its own.",
        pipes(("work", "measured as", "must", "aim", *(name(kind) for kind in KINDS)), table(saved)),
        "## How it was measured",
        "\n".join(how(saved)),
        "## What is not good yet",
        "\n".join(lacking(saved)),
        "All figures: " + files() + ". What they mean, and how to measure again: [bench/README.md](../README.md).",
    ]
    return "\n\n".join(parts) + "\n"


# ── three lines ──────────────────────────────────────────────────────────────────────────────────────────────────────


def three(saved: Saved) -> list[str]:
    """What a visitor wants to know, on SQLite."""
    return [f"* {beside_line(saved)}", f"* {upload_line(saved)}", f"* {joined_line(saved)}"]


def beside_line(saved: Saved) -> str:
    own, theirs = (median(saved, "compact", side) for side in (RINGBOOK, SYDENT))
    again = median(saved, "compact again")
    if own is None:
        return f"Finding 200 registered contacts in a book of 1,000: {NOT_MEASURED}."
    later = f", and {milliseconds(again)} when nothing has changed since" if again else ""
    beside = f"; a tuned Sydent {VERSION} takes {milliseconds(theirs)}" if theirs else ""
    return (
        f"Finding 200 registered contacts in a book of 1,000 takes {milliseconds(own)} of processor time{later}{beside}"
        f" ({users(saved)} users)."
    )


def users(saved: Saved) -> str:
    """The number of users in the database that was measured."""
    facts = saved.get("books", {}).get("sqlite", {}).get("facts", {})
    return facts.get("tables", "1,000,000 users").split(" users")[0]


def upload_line(saved: Saved) -> str:
    new, same = median(saved, "new"), median(saved, "same")
    if new is None or same is None:
        return f"Uploading 1,000 contacts: {NOT_MEASURED}."
    return f"Uploading 1,000 new contacts takes {milliseconds(new)}, the same book again {milliseconds(same)}."


def joined_line(saved: Saved) -> str:
    found = {row.compared: decided(row) for row in rows(saved, "pushes", "sqlite")}
    first, rate = found.get("s to the first push"), found.get("pushes/s from one worker")
    if first is None or rate is None:
        return f"A contact joins whom 100,000 users have: {NOT_MEASURED}."
    return (
        f"A contact joins whom 100,000 users have: the first push goes out after {digits(first)} s,"
        f" and then {digits(rate)} a second from one worker."
    )


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


def table(saved: Saved) -> list[list[str]]:
    """A line for each row of musts, with the values of both databases."""
    by_kind = {
        kind: {(row.work, row.compared): row for part in PARTS for row in rows(saved, part, kind)} for kind in KINDS
    }
    keys = list(dict.fromkeys(key for found in by_kind.values() for key in found))
    return [line(key, [found.get(key) for found in by_kind.values()]) for key in keys]


def line(key: tuple[str, str], found: list[Row | None]) -> list[str]:
    one = next(row for row in found if row)
    sign = "≥" if one.at_least else "≤"
    return [*key, f"{sign} {one.must:,g}", f"{sign} {one.aim:,g}", *(cell(row) for row in found)]


def cell(row: Row | None) -> str:
    """The value that decides, and whether it keeps the must."""
    if row is None:
        return "–"
    value = decided(row)
    return NOT_MEASURED if value is None else f"{digits(value)} {'✓' if row.met else '✗'}"


def decided(row: Row) -> float | None:
    """The value that decides."""
    return musts.decisive(row)


def all_rows(saved: Saved, kind: str) -> list[Row]:
    """The rows of all parts on one database."""
    return [row for part in PARTS for row in rows(saved, part, kind)]


def rows(saved: Saved, part: str, kind: str) -> list[Row]:
    """The rows of one part on one database."""
    figures = saved.get(part, {}).get(kind)
    return latest.rows_of(figures) if figures else []


# ── how, and what not ────────────────────────────────────────────────────────────────────────────────────────────────


def how(saved: Saved) -> Iterator[str]:
    """Lines on the machine and the runs."""
    for part, title in (("books", "Address books"), ("pushes", "Pushes"), ("growth", "Growth")):
        for _, figures in sorted(saved.get(part, {}).items(), reverse=True):
            facts = figures["facts"]
            machine = f"{facts['processor']}, {facts['memory']}, Python {facts['Python']}"
            busy = f"fsync {facts['disk'].split(' to ')[0]}; load {facts['load'].split(' ')[0]}"
            yield f"* {title}, {figures['date']}: {facts['measured']}; {facts['database']}; {machine}; {busy}."
    yield (
        f"* Sydent {VERSION} from its package, on SQLite with the same users and numbers, request by request in turns"
        " with Ringbook. *Tuned* means that we replaced its statement by a better one; this is the one we compare"
        f" with. {others(saved)}"
    )
    yield "* *raw* is the best SQL statement for the same rows from Python, without a server. Its input is ready."
    yield "* Processor time is that of the server's process. A client on the same machine sends one request at a time."


def others(saved: Saved) -> str:
    """Sydent without tuning."""
    found = saved.get("books", {}).get("sqlite", {}).get("beside", {})
    if not found:
        return ""
    shipped, analysed = (milliseconds(found[way]["cpu"]) for way in (SHIPPED, ANALYSED))
    return f"As it is installed, it takes {shipped}; after `ANALYZE`, {analysed}."


def lacking(saved: Saved) -> Iterator[str]:
    """The musts that are missed, and what was not measured."""
    for kind in KINDS:
        for row in all_rows(saved, kind):
            if not row.met:
                yield f"* {name(kind)}: {row.work}, {shortfall(row)}."
    for part, title in (("books", "address books"), ("pushes", "pushes"), ("growth", "growth")):
        for kind in KINDS:
            if kind not in saved.get(part, {}):
                yield f"* {name(kind)}: {title} {NOT_MEASURED}."
    sizes = [int(size) for one in saved.get("growth", {}).values() for size in one["sizes"]]
    if sizes and max(sizes) < 10**8:
        yield f"* Growth was measured up to {max(sizes) // 10**6} million contacts, not up to 100 million."
    yield "* One machine, which also runs the client and the providers. Nothing was measured over a network."


def shortfall(row: Row) -> str:
    """A value beside its must."""
    value = decided(row)
    sign = "at least" if row.at_least else "at most"
    seen = NOT_MEASURED if value is None else digits(value)
    return f"{row.compared}: {seen} instead of {sign} {row.must:,g}"


def files() -> str:
    """Links to the detailed results."""
    found = [f"{part}-{kind}.md" for part in ("books", "pushes") for kind in KINDS]
    return ", ".join(f"[{file}]({file})" for file in found if (RESULTS / file).exists()) or NOT_MEASURED


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def pictures(saved: Saved) -> dict[str, str]:
    """Each picture by its file name."""
    return {"beside.svg": beside(saved), "growth.svg": growth(saved)}


def beside(saved: Saved) -> str:
    """Bars of processor time: who of 1,000 numbers is registered?"""
    wanted = (
        (f"Sydent {VERSION}, tuned", "compact", SYDENT, 3),
        ("Ringbook, whole profiles", "whole", RINGBOOK, 0),
        ("Ringbook, compact", "compact", RINGBOOK, 0),
        ("Ringbook, compact, asked again", "compact again", RINGBOOK, 0),
        ("Ringbook, the same book again", "same", RINGBOOK, 2),
    )
    found = [(label, median(saved, key, side), colour) for label, key, side, colour in wanted]
    values = [(label, value * 1e3, colour) for label, value, colour in found if value is not None]
    return bars(f"Which of 1,000 numbers are registered? Processor time, {users(saved)} users", values, "ms")


def growth(saved: Saved) -> str:
    """Curves of processor time over the number of stored contacts."""
    works = (("new", "1,000 new", 0), ("diff", "diff of 10", 1), ("compact", "registered", 2))
    drawn = []
    for kind in KINDS:
        sizes = saved.get("growth", {}).get(kind, {}).get("sizes", {})
        clock = "clock" if kind == "postgresql" else "cpu"
        for key, label, colour in works:
            points = {int(size): one[key][clock] * 1e3 for size, one in sizes.items()}
            if points:
                drawn.append((f"{label}, {name(kind)}", points, colour, kind == "postgresql"))
    return curve("The same work with more stored contacts (SQLite: processor, PostgreSQL: elapsed)", drawn, "ms")


def median(saved: Saved, key: str, side: str = RINGBOOK) -> float | None:
    """The median processor time of a case on SQLite in seconds; None if it was not measured."""
    sides = saved.get("books", {}).get("sqlite", {}).get("medians", {}).get(key, {})
    return sides[side][1] if side in sides else None


def milliseconds(seconds: float) -> str:
    """A time for people."""
    return f"{digits(seconds * 1e3)} ms"


if __name__ == "__main__":
    write()
