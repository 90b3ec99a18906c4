"""The results of the measurements of pushes, as text.

markdown(result)    the file in results/
table(result)       the results for a terminal
plain(result)       the results for a program
"""

import dataclasses
import statistics
from typing import Any

from holders import Group
from pushes import Delivery, Result
from report import columns, mebibytes, name, pipes, spread
from rich.console import Group as Together

MUST_RATE, MUST_FIRST_SECONDS, MUST_STORED_SECONDS = 5_000, 0.5, 5.0
PUSHES, PUSHES_HEAD = (
    "From the sign-up to the last push (medians)",
    (
        "through",
        "holders",
        "sent",
        "first push s",
        "stored s",
        "rows/s",
        "last push s",
        "recorded s",
        "pushes/s",
        "of the library",
        "worker CPU us",
        "sink CPU us",
    ),
)
ALONE, ALONE_HEAD = "The HTTP library alone", ("", "requests/s", "client CPU us", "sink CPU us")
SIGN_UPS, SIGN_UPS_HEAD = "Signing up", ("the number is held by", "ms", "CPU ms")
MEMORY, MEMORY_HEAD = "Memory of the worker", ("after", "resident MiB", "highest MiB")


def rate(one: Delivery) -> float:
    """Pushes per second, from the first to the last."""
    return (one.sent - 1) / (one.last - one.first)


def push_rows(result: Result) -> list[list[str]]:
    """The table of speeds, as text."""
    return [push_row(result, group) for group in result.groups]


def push_row(result: Result, group: Group) -> list[str]:
    """One line of it."""
    usual = {
        one: result.median(group.name, lambda seen: getattr(seen, one))  # noqa: B023
        for one in ("first", "stored", "last", "recorded", "cpu", "sink_cpu", "sent")
    }
    pushes = result.median(group.name, rate)
    return [
        group.name,
        f"{group.holders:,}",
        f"{usual['sent']:,.0f}",
        f"{usual['first']:.2f}",
        f"{usual['stored']:.1f}",
        f"{group.holders / usual['stored']:,.0f}",
        f"{usual['last']:.1f}",
        f"{usual['recorded']:.1f}",
        f"{pushes:,.0f}",
        f"{pushes / alone_rate(result):.2f}",
        *(f"{usual[one] / usual['sent'] * 1e6:.0f}" for one in ("cpu", "sink_cpu")),
    ]


def joined(result: Result) -> dict[str, float]:
    """The figures of the largest group for the table of musts."""
    many = result.groups[0]
    return {
        "first": result.median(many.name, lambda one: one.first),
        "stored": result.median(many.name, lambda one: one.stored),
        "rate": result.median(many.name, rate),
    }


def alone_rate(result: Result) -> float:
    """Requests per second of the HTTP library alone."""
    return statistics.median(one.rate for one in result.alone)


def alone_rows(result: Result) -> list[list[str]]:
    """The table of the HTTP library alone, as text."""
    cpu, sink_cpu = (statistics.median(getattr(one, of) for one in result.alone) for of in ("cpu", "sink_cpu"))
    return [
        [
            "requests as to APNs, as many in flight as of a lane",
            f"{alone_rate(result):,.0f}",
            f"{cpu * 1e6:.0f}",
            f"{sink_cpu * 1e6:.0f}",
        ]
    ]


def sign_up_rows(result: Result) -> list[list[str]]:
    """The table of sign-ups, as text."""
    held = ("nobody", f"{result.groups[0].holders:,}")
    return [
        [who, *(f"{statistics.median(pair[side][of] for pair in result.sign_ups) * 1e3:.2f}" for of in (0, 1))]
        for side, who in enumerate(held)
    ]


def memory_rows(result: Result) -> list[list[str]]:
    """The table of memory, as text: the maximum of all rounds."""
    return [[stage, *mebibytes(most(seen))] for stage, seen in result.memory.items()]


def most(seen: list[tuple[int, int] | None]) -> tuple[int, int] | None:
    """The maximum of all rounds, of the current and the peak memory."""
    known = [one for one in seen if one]
    return (max(one[0] for one in known), max(one[1] for one in known)) if known else None


def verdicts(result: Result) -> list[str]:
    """The results compared with the aims."""
    many = result.groups[0]
    pushes = result.median(many.name, rate)
    first, stored = (result.median(many.name, lambda one: getattr(one, of)) for of in ("first", "stored"))  # noqa: B023
    repeated = sum(one.repeated for of in result.deliveries.values() for one in of)
    ratios = [[held[of] / nobodys[of] for nobodys, held in result.sign_ups] for of in (0, 1)]
    clock, cpu = (spread(quartiles(one)) for one in ratios)
    return [
        f"{pushes:,.0f} pushes/s from one worker to {many.holders:,} holders; must: {MUST_RATE:,}"
        f" ({met(pushes >= MUST_RATE)}).",
        f"The first push after {first:.2f} s; must: {MUST_FIRST_SECONDS} ({met(first <= MUST_FIRST_SECONDS)})."
        f" All stored after {stored:.1f} s; must: {MUST_STORED_SECONDS} ({met(stored <= MUST_STORED_SECONDS)}).",
        f"A sign-up takes {clock} times as long when {many.holders:,} hold the number, {cpu} times on the processor"
        " (medians of pairs, with quartiles).",
        f"Pushes that the sink got twice: {repeated}.",
    ]


def met(it_is: bool) -> str:
    """In a word."""
    return "met" if it_is else "missed"


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


# ── three ways to show it ────────────────────────────────────────────────────────────────────────────────────────────


def tables(result: Result) -> list[tuple[str, tuple[str, ...], list[list[str]]]]:
    """Every table: title, head, lines."""
    return [
        (PUSHES, PUSHES_HEAD, push_rows(result)),
        (ALONE, ALONE_HEAD, alone_rows(result)),
        (SIGN_UPS, SIGN_UPS_HEAD, sign_up_rows(result)),
        (MEMORY, MEMORY_HEAD, memory_rows(result)),
    ]


def markdown(result: Result) -> str:
    """The file for results/."""
    parts = [
        f"# Pushes from Ringbook on {name(result.kind)}, {result.date}",
        pipes(("", ""), [[key, value] for key, value in result.facts.items()]),
        "\n".join(verdicts(result)),
        *(f"## {title}\n\n{pipes(head, lines)}" for title, head, lines in tables(result)),
        "What the columns mean, and how to measure again: [bench/README.md](../README.md).",
    ]
    return "\n\n".join(parts) + "\n"


def table(result: Result) -> Together:
    """The same for a terminal."""
    return Together(
        f"\nPushes on {name(result.kind)}, {result.date}\n",
        *(columns(title, head, lines) for title, head, lines in tables(result)),
        *verdicts(result),
    )


def plain(result: Result) -> dict[str, Any]:
    """The same for a program: seconds and bytes, every sample."""
    return dataclasses.asdict(result)
