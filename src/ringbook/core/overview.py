"""The overview of an application: steps of its setup, totals, statistics by day, and refusals.

    of(db, app, now)        everything that the page shows; its cost does not grow with the number of users
    counts(db, app)         the totals alone
    server(db, now)         the same of the whole server: refusals without a known application, limits, pushes that wait

Users, books and contacts are read from the totals that `app_totals.py` keeps. The statistics by day are those of
`stats.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..model import App
from ..push import providers
from ..store import app_totals, pushes
from ..store import stats as store
from ..store.db import Database
from . import delivery
from .stats import DAY, NEAR

DAYS = 30
MOST_REFUSALS = 8
MOST_WAITING = 10_000  # joined pushes that are counted
SERVER = 0  # in place of an application's id: statistics of the whole server


class Step(Struct, frozen=True):
    """A step of the setup until users are notified of joined contacts."""

    name: str
    done: bool


class Refusal(Struct, frozen=True):
    """A kind of refused requests within the last week: how many, the first and the last time.

    request   what was requested, as `stats.refused` was given it
    cause     the cause of the class of the refusals, see `errors.by_cause`
    """

    request: str
    cause: str
    reason: str
    count: int
    first_at: int
    last_at: int


class Near(Struct, frozen=True):
    """A shared limit that was nearly reached today or yesterday: its setting, and how many charges found it so."""

    limit: str
    count: int


class Overview(Struct, frozen=True, kw_only=True):
    """The values of the overview page.

    counts       the number of users, of books that are not empty, and of contacts
    since        the first day with statistics; None = there are none
    days         the days of `series` as days since 1970; the last one is today
    series       by name, a value for each day
    """

    steps: list[Step]
    counts: dict[str, int]
    since: int | None
    days: list[int]
    series: dict[str, list[int]]
    refusals: list[Refusal]
    near: list[Near]
    waiting: int
    late_seconds: int
    joined: "Joined"


class Joined(Struct, frozen=True, kw_only=True):
    """What became of joined pushes.

    sent, printed    within DAYS days: providers have them; they were printed instead (push_console)
    withheld         within DAYS days: their recipients want none, or the contacts hide
    quiet, digests   those that wait now for the end of quiet hours, or of the 24 hours of a digest; up to MOST_WAITING
    """

    sent: int
    printed: int
    quiet: int
    digests: int
    withheld: int


class ServerView(Struct, frozen=True, kw_only=True):
    """The values of the server's page. `refusals` are those of requests without a known application."""

    refusals: list[Refusal]
    near: list[Near]
    waiting: int
    late_seconds: int


def of(db: Database, app: App, now: int) -> Overview:
    """The overview of an application."""
    today = now // DAY
    days = list(range(today - DAYS + 1, today + 1))
    waiting, late_since = delivery.waiting(db)
    with db.read() as tx:
        happened = store.totals(tx, app.id)
        counts = dict(zip(app_totals.NAMES, app_totals.of_app(tx, app.id), strict=True))
        rows = store.days(tx, app.id, days[0], today)
        waits = pushes.waits_of(tx, app.id, MOST_WAITING)
        return Overview(
            steps=_steps(app, happened, counts),
            counts=counts,
            since=store.since(tx, app.id),
            days=days,
            series=series(rows, days, counts),
            refusals=[Refusal(**row) for row in store.refusals(tx, app.id, MOST_REFUSALS)],
            near=_near(rows, today - 1),
            waiting=waiting,
            late_seconds=max(0, now - late_since) if late_since is not None else 0,
            joined=Joined(
                sent=_sum(rows, "joined pushes accepted"),
                printed=_sum(rows, "joined pushes printed"),
                quiet=waits[pushes.QUIET],
                digests=waits[pushes.DIGEST],
                withheld=_sum(rows, "joined pushes withheld"),
            ),
        )


def _sum(rows: Sequence[tuple[int, str, int]], wanted: str) -> int:
    return sum(value for _, name, value in rows if name == wanted)


def counts(db: Database, app: App) -> dict[str, int]:
    """The number of users, of books that are not empty, and of contacts."""
    with db.read() as tx:
        return dict(zip(app_totals.NAMES, app_totals.of_app(tx, app.id), strict=True))


def server(db: Database, now: int) -> ServerView:
    """What concerns no single application."""
    today = now // DAY
    waiting, late_since = delivery.waiting(db)
    with db.read() as tx:
        return ServerView(
            refusals=[Refusal(**row) for row in store.refusals(tx, SERVER, MOST_REFUSALS)],
            near=_near(store.days(tx, SERVER, today - 1, today), today - 1),
            waiting=waiting,
            late_seconds=max(0, now - late_since) if late_since is not None else 0,
        )


def _near(rows: Sequence[tuple[int, str, int]], since: int) -> list[Near]:
    counts: Counter[str] = Counter()
    for day, name, value in rows:
        if day >= since and name.startswith(NEAR):
            counts[name.removeprefix(NEAR)] += value
    return [Near(limit, count) for limit, count in sorted(counts.items())]


def series(
    rows: Sequence[tuple[int, str, int]], days: Sequence[int], counts: Mapping[str, int]
) -> dict[str, list[int]]:
    """Values by name and day. A missing day is 0 for events, and the last known value for totals."""
    found: dict[str, dict[int, int]] = {}
    for day, name, value in rows:
        found.setdefault(name, {})[day] = value
    for name, count in counts.items():
        found.setdefault(name, {})[days[-1]] = count
    return {name: _filled(values, days, last=name in counts) for name, values in found.items()}


def _filled(values: Mapping[int, int], days: Sequence[int], *, last: bool) -> list[int]:
    filled: list[int] = []
    for day in days:
        before = filled[-1] if filled and last else 0
        filled.append(values.get(day, before))
    return filled


def _steps(app: App, happened: Mapping[str, int], counts: Mapping[str, int]) -> list[Step]:
    """The steps. Imported users have not called, and a push that was printed was not sent."""
    called = happened.get("sessions", 0) or counts["users"] > happened.get("imported", 0)
    needed = [one for one in providers.PROVIDERS if one.needed and not one.own_keys]
    sends = any(not one.missing(app.settings) for one in needed) and not app.settings.push_console
    return [
        Step("call", bool(called)),
        Step("book", bool(counts["contacts"] or happened.get("matches"))),
        Step("provider", bool(sends)),
        Step("card", app.settings.contact_joined_enabled),
        Step("push", bool(happened.get("joined pushes accepted"))),
    ]
