"""The results of one database, as text.

Result               one database's figures
found(result)        the figures from which `musts` computes its rows
markdown(result)     the file in results/
table(result)        the results for a terminal
plain(result)        the results for a program
"""

from dataclasses import dataclass, field
from typing import Any

import musts
from cases import RINGBOOK, Case
from rich.console import Group
from rich.table import Table
from rounds import CPU, Samples

MEBIBYTE = 2**20
HEAD = ("work", "by", "ms", "processor ms", "Ringbook's speed beside it")


@dataclass(frozen=True)
class Result:
    """One database, measured once.

    measured    each case with its samples
    anonymous   the highest anonymous memory of the server after each stage, in bytes
    reading     seconds per contact, by step
    ready       seconds until ready, for each start of the server
    beside      what is measured a few times only: the other ways of Sydent
    """

    kind: str
    date: str
    facts: dict[str, str]
    measured: list[tuple[Case, Samples]]
    anonymous: dict[str, int]
    reading: dict[str, float]
    ready: list[float]
    beside: dict[str, dict[str, float]] = field(default_factory=dict)


def found(result: Result, joined: dict[str, float] | None = None) -> musts.Found:
    """The figures from which the table of musts is computed; `joined` are those of the pushes."""
    cases = {case.key: samples for case, samples in result.measured}
    highest = max(result.anonymous.values(), default=0)
    return musts.Found(result.kind, cases, result.reading, joined or {}, highest, result.ready)


def summary(result: Result) -> dict[str, Any]:
    """What the page of figures shows beside the table of musts: medians in seconds, by case and side."""
    return {
        "medians": {
            case.key: {side: [samples.median(side), samples.median(side, CPU)] for side in samples.seconds}
            for case, samples in result.measured
        },
        "beside": result.beside,
    }


def rows(result: Result) -> list[list[str]]:
    """The table of speeds, as text: one line for each side of each case."""
    return [line for case, samples in result.measured for line in lines(case, samples)]


def lines(case: Case, samples: Samples) -> list[list[str]]:
    """The lines of a case: Ringbook, and who else took part."""
    sides = sorted(samples.seconds, key=lambda side: side != RINGBOOK)
    return [[case.name if side == RINGBOOK else "", *line(samples, side)] for side in sides]


def line(samples: Samples, side: str) -> list[str]:
    beside = "" if side == RINGBOOK else f"{samples.speed(side):.2f}, processor {samples.speed(side, CPU):.2f}"
    return [side, f"{samples.median(side) * 1e3:.2f}", f"{samples.median(side, CPU) * 1e3:.2f}", beside]


def memory_rows(result: Result) -> list[list[str]]:
    """The table of memory, as text."""
    return [[stage, f"{seen / MEBIBYTE:.0f}"] for stage, seen in result.anonymous.items()]


def mebibytes(seen: tuple[int, int] | None) -> list[str]:
    """The current and the peak memory in MiB."""
    return [f"{amount / MEBIBYTE:.0f}" for amount in seen] if seen else ["–", "–"]


def spread(ratios: tuple[float, float, float]) -> str:
    """A ratio with its quartiles."""
    low, middle, high = ratios
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def beside_rows(result: Result) -> list[list[str]]:
    """Sydent in its other ways, as text."""
    return [[way, f"{one['clock'] * 1e3:.1f}", f"{one['cpu'] * 1e3:.1f}"] for way, one in result.beside.items()]


def reading_rows(result: Result) -> list[list[str]]:
    """The table of steps, as text."""
    return [[name, f"{seconds * 1e6:.2f}"] for name, seconds in result.reading.items()]


# ── three ways to show it ────────────────────────────────────────────────────────────────────────────────────────────

SPEED = "Medians"
MEMORY, MEMORY_HEAD = "Anonymous memory of the server", ("after", "highest MiB")
READING, READING_HEAD = "An upload before the database", ("step", "us for one contact")
BESIDE, BESIDE_HEAD = "Sydent in other ways, 1,000 numbers", ("way", "ms", "processor ms")


def tables(result: Result) -> list[tuple[str, tuple[str, ...], list[list[str]]]]:
    """Every table: title, head, lines."""
    found = [
        (SPEED, HEAD, rows(result)),
        (MEMORY, MEMORY_HEAD, memory_rows(result)),
        (READING, READING_HEAD, reading_rows(result)),
    ]
    return found + ([(BESIDE, BESIDE_HEAD, beside_rows(result))] if result.beside else [])


def markdown(result: Result) -> str:
    """The file for results/."""
    parts = [
        f"# Ringbook on {name(result.kind)}, {result.date}",
        pipes(("", ""), [[key, value] for key, value in result.facts.items()]),
        *(f"## {title}\n\n{pipes(head, lines)}" for title, head, lines in tables(result)),
        "What the columns mean, and how to measure again: [bench/README.md](../README.md).",
    ]
    return "\n\n".join(parts) + "\n"


def pipes(head: tuple[str, ...], lines: list[list[str]]) -> str:
    """A table in Markdown, with numbers aligned to the right."""
    ruler = [":--", *("--:" for _ in head[1:])] if head[0] else [":--" for _ in head]
    return "\n".join(f"| {' | '.join(line)} |" for line in (list(head), ruler, *lines))


def table(result: Result) -> Group:
    """The results for a terminal."""
    return Group(
        f"\n{name(result.kind)}, {result.date}\n",
        *(columns(title, head, lines) for title, head, lines in tables(result)),
    )


def columns(title: str, head: tuple[str, ...], lines: list[list[str]]) -> Table:
    """A table for a terminal."""
    shown = Table(title=title, title_justify="left", box=None)
    for position, word in enumerate(head):
        shown.add_column(word, justify="right" if position else "left")
    for line in lines:
        shown.add_row(*line)
    return shown


def plain(result: Result) -> dict[str, Any]:
    """The results for a program: seconds and bytes of every sample."""
    return {
        "database": result.kind,
        "date": result.date,
        "facts": result.facts,
        "seconds": {case.key: samples.seconds for case, samples in result.measured},
        "cpu_seconds": {case.key: samples.cpu for case, samples in result.measured},
        "anonymous_bytes": result.anonymous,
        "seconds_for_one_contact": result.reading,
        "ready_seconds": result.ready,
    }


def name(kind: str) -> str:
    """The name of the database, for people."""
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[kind]
