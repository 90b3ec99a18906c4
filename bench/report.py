"""The results, as text.

Result               one database's figures
markdown(result)     the file in results/
table(result)        the results for a terminal
plain(result)        the results for a program
"""

from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rounds import RAW, Case, Samples

DEFAULTS, UNLIMITED = "HTTP", "HTTP, no limits"
AIM_RATIO, AIM_MEBIBYTES = 0.5, 150
MEBIBYTE = 2**20
HEAD = (
    "work",
    "raw ms",
    "HTTP ms",
    "no limits ms",
    "contacts/s",
    "against raw",
    "no limits",
    "raw CPU ms",
    "HTTP CPU ms",
)


@dataclass(frozen=True)
class Result:
    """One database, measured once.

    measured   each case with its samples
    memory     current and peak bytes of the server after each stage; None if the system does not report them
    reading    seconds per contact, by step
    """

    kind: str
    date: str
    facts: dict[str, str]
    measured: list[tuple[Case, Samples]]
    memory: dict[str, tuple[int, int] | None]
    reading: dict[str, float]


def rows(result: Result) -> list[list[str]]:
    """The table of speeds, as text."""
    return [row(case, samples) for case, samples in result.measured]


def row(case: Case, samples: Samples) -> list[str]:
    """One line of the table."""
    medians = [samples.median(side) for side in (RAW, DEFAULTS, UNLIMITED)]
    return [
        case.name,
        *(f"{seconds * 1e3:.2f}" for seconds in medians),
        f"{case.contacts / medians[1]:,.0f}",
        spread(samples.ratios(DEFAULTS)),
        spread(samples.ratios(UNLIMITED)),
        *(f"{samples.cpu_median(side) * 1e3:.2f}" for side in (RAW, DEFAULTS)),
    ]


def spread(ratios: tuple[float, float, float]) -> str:
    """A ratio with its quartiles."""
    low, middle, high = ratios
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def memory_rows(result: Result) -> list[list[str]]:
    """The table of memory, as text."""
    return [[stage, *(mebibytes(seen))] for stage, seen in result.memory.items()]


def mebibytes(seen: tuple[int, int] | None) -> list[str]:
    """The current and the peak memory in MiB."""
    return [f"{amount / MEBIBYTE:.0f}" for amount in seen] if seen else ["–", "–"]


def reading_rows(result: Result) -> list[list[str]]:
    """The table of steps, as text."""
    return [[name, f"{seconds * 1e6:.2f}"] for name, seconds in result.reading.items()]


def verdicts(result: Result) -> list[str]:
    """The results compared with the benchmark's aims."""
    slow = "; ".join(case.name for case, samples in result.measured if missed(case, samples))
    lines = [f"Uploads at least at half of the raw statement's speed: {f'all but {slow}' if slow else 'all'}."]
    peaks = [seen[1] for seen in result.memory.values() if seen]
    if peaks and result.kind == "sqlite":
        lines.append(f"Memory: {max(peaks) / MEBIBYTE:.0f} MiB at its highest; the aim is under {AIM_MEBIBYTES} MiB.")
    return lines


def missed(case: Case, samples: Samples) -> bool:
    return case.is_upload and samples.ratios(DEFAULTS)[1] < AIM_RATIO


# ── three ways to show it ────────────────────────────────────────────────────────────────────────────────────────────

SPEED = "Speed (medians; against raw = how fast, raw being 1, with quartiles)"
MEMORY, MEMORY_HEAD = "Memory of the server", ("after", "resident MiB", "highest MiB")
READING, READING_HEAD = "An upload before the database", ("step", "us for one contact")


def markdown(result: Result) -> str:
    """The file for results/."""
    parts = [
        f"# Ringbook on {name(result.kind)}, {result.date}",
        pipes(("", ""), [[key, value] for key, value in result.facts.items()]),
        "\n".join(verdicts(result)),
        f"## {SPEED}\n\n{pipes(HEAD, rows(result))}",
        f"## {MEMORY}\n\n{pipes(MEMORY_HEAD, memory_rows(result))}",
        f"## {READING}\n\n{pipes(READING_HEAD, reading_rows(result))}",
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
        columns(SPEED, HEAD, rows(result)),
        columns(MEMORY, MEMORY_HEAD, memory_rows(result)),
        columns(READING, READING_HEAD, reading_rows(result)),
        *verdicts(result),
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
        "seconds": {case.name: samples.seconds for case, samples in result.measured},
        "cpu_seconds": {case.name: samples.cpu for case, samples in result.measured},
        "memory_bytes": result.memory,
        "seconds_for_one_contact": result.reading,
    }


def name(kind: str) -> str:
    """The name of the database, for people."""
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[kind]
