"""An application at a glance: what is set up, how many there are, what happens, what is refused.

    of(db, app, now)     everything that its first page shows, at a cost that does not grow with its users
    count(db, now)       how many there are, counted by a worker from time to time

Users, books and contacts are counted while the page is made only where there are few. Otherwise a worker counts them,
seldom enough that it spends no more than a hundredth of its time on it, and the page says when that was. What happens
is read from the sums of `stats.py`, which begin when this version does.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ..model import App
from ..push import providers
from ..store import stats as store
from ..store.db import Database, Tx
from . import applications, delivery
from .stats import DAY, NEAR

DAYS = 30
FEW = 1_000
MOST_REFUSALS = 8
LEAST_PAUSE_SECONDS = 60
SHARE = 100  # counting takes at most one part in so many of a worker's time
SERVER = 0  # stands where an application's id would
COUNTED_AT, COUNTING_MS = "counted at", "counting ms"
COUNTED = ("users", "books", "contacts")


class Step(Struct, frozen=True):
    """One thing to do before people are told that their friends joined."""

    name: str
    done: bool


class Refusal(Struct, frozen=True):
    """What was refused, how often within the week, and when the last time."""

    route: str
    status: int
    reason: str
    count: int
    first_at: int
    last_at: int


class Near(Struct, frozen=True):
    """A limit that many users share was nearly reached today or yesterday: its setting, and how often that was seen."""

    limit: str
    count: int


class Overview(Struct, frozen=True, kw_only=True):
    """`counts` are users, books and contacts, None before they were counted for the first time.

    counted_at   when a worker counted them; None: just now
    since        the first day of which anything was counted; None: nothing was
    days         the days that `series` tell of, the last one today, as days since 1970
    series       by name, a value for each day
    """

    steps: list[Step]
    counts: dict[str, int | None]
    counted_at: int | None
    since: int | None
    days: list[int]
    series: dict[str, list[int]]
    refusals: list[Refusal]
    near: list[Near]
    waiting: int
    late_seconds: int


def of(db: Database, app: App, now: int) -> Overview:
    """What there is to see of an application."""
    today = now // DAY
    days = list(range(today - DAYS + 1, today + 1))
    waiting, late_since = delivery.waiting(db)
    with db.read() as tx:
        totals = store.totals(tx, app.id)
        counts, counted_at = _counts(tx, app.id, totals)
        rows = store.days(tx, app.id, days[0], today)
        of_server = store.days(tx, SERVER, today - 1, today)
        return Overview(
            steps=_steps(tx, app, totals),
            counts=counts,
            counted_at=counted_at,
            since=store.since(tx, app.id),
            days=days,
            series=series(rows, days, counts),
            refusals=[Refusal(**row) for row in store.refusals(tx, app.id, MOST_REFUSALS)],
            near=_near([*rows, *of_server], today - 1),
            waiting=waiting,
            late_seconds=max(0, now - late_since) if late_since is not None else 0,
        )


def strangers(db: Database) -> list[Refusal]:
    """What was refused to callers whose application is not known: a wrong id or key, for one."""
    with db.read() as tx:
        return [Refusal(**row) for row in store.refusals(tx, SERVER, MOST_REFUSALS)]


def _near(rows: Sequence[tuple[int, str, int]], since: int) -> list[Near]:
    counts: Counter[str] = Counter()
    for day, name, value in rows:
        if day >= since and name.startswith(NEAR):
            counts[name.removeprefix(NEAR)] += value
    return [Near(limit, count) for limit, count in sorted(counts.items())]


def series(
    rows: Sequence[tuple[int, str, int]], days: Sequence[int], counts: Mapping[str, int | None]
) -> dict[str, list[int]]:
    """Values by name and day. What was not counted on a day is 0; of how many there are, what was known last."""
    found: dict[str, dict[int, int]] = {}
    for day, name, value in rows:
        found.setdefault(name, {})[day] = value
    for name, count in counts.items():
        if count is not None:
            found.setdefault(name, {})[days[-1]] = count
    return {name: _filled(values, days, last=name in COUNTED) for name, values in found.items()}


def _filled(values: Mapping[int, int], days: Sequence[int], *, last: bool) -> list[int]:
    filled: list[int] = []
    for day in days:
        before = filled[-1] if filled and last else 0
        filled.append(values.get(day, before))
    return filled


def _counts(tx: Tx, app_id: int, totals: Mapping[str, int]) -> tuple[dict[str, int | None], int | None]:
    if store.are_few(tx, FEW):
        return dict(_looked(tx, app_id)), None
    return {name: totals.get(name) for name in COUNTED}, store.totals(tx, SERVER).get(COUNTED_AT)


def _looked(tx: Tx, app_id: int) -> dict[str, int]:
    books, contacts = store.books(tx).get(app_id, (0, 0))
    return {"users": store.users(tx).get(app_id, 0), "books": books, "contacts": contacts}


def _steps(tx: Tx, app: App, totals: Mapping[str, int]) -> list[Step]:
    provider = app.settings.push_console or providers.any_set_up(app.settings)
    return [
        Step("call", bool(totals.get("sessions")) or store.has_users(tx, app.id)),
        Step("book", bool(totals.get("uploads")) or store.has_contacts(tx, app.id)),
        Step("provider", bool(provider)),
        Step("card", app.settings.contact_joined_enabled),
        Step("push", bool(totals.get("joined pushes accepted"))),
    ]


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def count(db: Database, now: int) -> int:
    """Count users, books and contacts, unless that was done a short while ago. Returns 0: there is never more to do."""
    with db.read() as tx:
        last: Mapping[str, Any] = store.totals(tx, SERVER)
    pause = max(LEAST_PAUSE_SECONDS, SHARE * last.get(COUNTING_MS, 0) // 1000)
    if now - last.get(COUNTED_AT, 0) < pause:
        return 0
    began = time.monotonic()
    with db.read() as tx:
        users, books = store.users(tx), store.books(tx)
    took = int((time.monotonic() - began) * 1000)
    rows = [(SERVER, store.EVER, COUNTED_AT, now), (SERVER, store.EVER, COUNTING_MS, took)]
    for app in applications.all_(db):
        values = (users.get(app.id, 0), *books.get(app.id, (0, 0)))
        for name, value in zip(COUNTED, values, strict=True):
            rows += [(app.id, store.EVER, name, value), (app.id, now // DAY, name, value)]
    with db.write() as tx:
        store.set_now(tx, sorted(rows))
    return 0
