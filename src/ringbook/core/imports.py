"""Bringing an existing user base along.

    bring      the users of a file, with the ids they have had elsewhere
    Report     what became of its lines

An imported user has no password, and enters by a proof or after a reset. Nobody is told that imported users joined:
`users.imported_at` marks them for good. It is the time of the last import that wrote the account; from the first
sign-in, proof, or number given by an admin on the account is the user's own, and no import writes it any more.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .. import errors
from ..model import App
from ..store import app_totals, applications
from ..store import imports as store
from ..store.db import Database, Row, Tx
from . import audit, stats
from .audit import Actor
from .import_lines import Line, Lines, Wanted, id_of, wanted

__all__ = ["Lines", "Refusal", "Report", "bring"]

BATCH = 1_000  # users in one transaction: long enough to be fast, short enough for those who wait behind it
TRIES = 5
NEVER: Row = dict.fromkeys(store.WRITTEN) | {"login_private": 0, "number": None, "verified_at": None}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken, and why; with it, `more` further lines that were read as a part of it."""

    line: int
    reason: str
    more: int = 0

    @property
    def where(self) -> str:
        """The line, or the lines, in words."""
        return f"lines {self.line}–{self.line + self.more}" if self.more else f"line {self.line}"


@dataclass(slots=True)
class Report:
    """What became of the lines; `without_number` of the users taken have a phone by which nobody can find them."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    without_number: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def refused_lines(self) -> int:
        """How many lines of the file were not taken."""
        return sum(1 + one.more for one in self.refused)

    def __iadd__(self, other: "Report") -> "Report":
        self.added += other.added
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.without_number += other.without_number
        self.refused += other.refused
        return self


@dataclass(frozen=True, slots=True)
class Found:
    """What the database holds of a batch's ids, unique values and numbers."""

    users: dict[int, Row]
    holders: "Holders"
    verified: dict[int, int]


@dataclass(slots=True)
class Plan:
    """What to write for a batch, and what to say of it."""

    new: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    report: Report = field(default_factory=Report)


# By column and value: who has it, as far as this is known; None: nobody any more.
Holders = dict[tuple[str, Any], int | None]


def bring(
    db: Database,
    app: App,
    lines: Iterable[Line],
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    now: int,
    by: Actor | None = None,
) -> Report:
    """Add the users of these lines, and change those whom an import brought; the same lines twice change nothing.

    lines      are gone through twice: first for the largest id that will be taken, up to which all are reserved before
               anybody is added, so that those who sign up meanwhile get larger ones
    dry_run    nothing is written; the report is the one that a run would give
    progress   called with the lines done, and how many there are

    A line that cannot be taken is in the report, and the others go in. Who has signed in since, or signed up here, is
    not changed; nobody's id, login, e-mail, external_user_id, facebook_id or verified number is taken away.
    Raises Invalid when the file as a whole cannot be read.
    """
    total, largest = _survey(lines)
    if not dry_run:
        _reserve(db, app, largest, total > len(largest), now)
        audit.note(db, by, "import began", app_id=app.id, detail=f"lines: {total}")
    report, seen = Report(), set[int]()
    given: Holders | None = {} if dry_run else None
    everything, done = iter(lines), 0
    while batch := list(islice(everything, BATCH)):
        report += _bring(db, app, _checked(app, batch, seen, report, now), given, now)
        done += len(batch)
        progress(done, total)
    report.refused.sort(key=lambda one: one.line)
    if not dry_run:
        told = f"added: {report.added}, changed: {report.changed}"
        audit.note(db, by, "users imported", app_id=app.id, detail=told)
    return report


def _survey(lines: Iterable[Line]) -> tuple[int, list[Line]]:
    """How many lines there are, and those with the largest ids."""
    total = 0

    def counted() -> Iterator[Line]:
        nonlocal total
        for line in lines:
            total += 1
            yield line

    largest = heapq.nlargest(BATCH, counted(), key=lambda line: id_of(line) or 0)
    return total, largest


def _reserve(db: Database, app: App, largest: Sequence[Line], others: bool, now: int) -> None:
    """Reserve the ids up to the largest one that will be taken: a line that is refused must not use any up.

    others   are there lines with smaller ids? Then the smallest of these is reserved where none of them is taken.
    """
    batch = _checked(app, largest, set(), Report(), now)
    with db.read() as tx:
        plan = _decide(app, batch, _look(tx, app, batch), {}, now) if batch else Plan()
    smallest = (id_of(largest[-1]) or 0) if others else 0
    last = max((user["id"] for user in plan.new), default=smallest)
    if last:
        with db.write() as tx:
            store.reserve(tx, last)


def _checked(app: App, batch: Sequence[Line], seen: set[int], report: Report, now: int) -> list[Wanted]:
    """What can be read of the lines; the others go into the report."""
    taken = []
    for line in batch:
        try:
            one = wanted(line, app.settings.default_region, now)
            if one.id in seen:
                raise errors.Invalid("stands in an earlier line, too", field="id")
        except errors.Invalid as error:
            reason = f"{error.field}: {error}".removeprefix(": ")
            report.refused.append(Refusal(line.number, reason, line.more))
        else:
            seen.add(one.id)
            taken.append(one)
    return taken


# ── a batch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _bring(db: Database, app: App, batch: list[Wanted], given: Holders | None, now: int) -> Report:
    """Bring one batch; `given` is what a dry run has given away so far, None when this is none."""
    if not batch:
        return Report()
    if given is not None:
        with db.read() as tx:
            return _decide(app, batch, _look(tx, app, batch), given, now).report
    for left in reversed(range(TRIES)):
        try:
            return _write(db, app, batch, now)
        except (errors.Conflict, errors.Unavailable):
            # Between looking and writing somebody signed up, or in: look again.
            if not left:
                raise
    raise AssertionError


def _write(db: Database, app: App, batch: list[Wanted], now: int) -> Report:
    with db.write() as tx:
        plan = _decide(app, batch, _look(tx, app, batch), {}, now)
        # Changes first: a new user may have the login that another one has just given up.
        if plan.changed:
            _update(tx, plan.changed, now)
        if plan.new and not store.insert(tx, app.id, plan.new, now):
            raise errors.Conflict("a user signed up during the import")
        app_totals.change_users(tx, app.id, [user["id"] for user in plan.new])
        if written := plan.new + plan.changed:
            store.add_numbers(tx, app.id, written)
            if any(user["verified_at"] is not None for user in written):
                applications.set_verified(tx, app.id, now)
        stats.after(tx, app.id, "imported", now, len(plan.new))
    return plan.report


def _update(tx: Tx, changed: list[Row], now: int) -> None:
    if not store.update(tx, changed, now):
        raise errors.Conflict("a user signed in during the import")
    store.forget_numbers(tx, [user["id"] for user in changed])


def _look(tx: Tx, app: App, batch: list[Wanted]) -> Found:
    held: Holders = {}
    for column in store.UNIQUE.values():
        values = list({one.said[column] for one in batch if one.said.get(column) is not None})
        if values:
            found = store.holders(tx, app.id, column, values)
            held |= {(column, value): user_id for value, user_id in found.items()}
    numbers = list({one.number for one in batch if one.number is not None})
    verified = store.verified(tx, app.id, numbers) if numbers else {}
    return Found(store.known(tx, [one.id for one in batch]), held, verified)


def _decide(app: App, batch: list[Wanted], found: Found, given: Holders, now: int) -> Plan:
    """What becomes of each line, one after the other. Pure, save that `given` learns who has what from now on."""
    plan = Plan()
    for one in batch:
        old = found.users.get(one.id)
        user = _merged(one, old, now)
        if reason := _why_not(app, one, old, user, found, given):
            plan.report.refused.append(Refusal(one.line, reason, one.more))
            continue
        _give(given, old, user)
        _sort(plan, old, user)
    return plan


def _merged(one: Wanted, old: Row | None, now: int) -> Row:
    """The account as the line wants it: what it does not mention stays as it is."""
    was = old or NEVER | {"created_at": now}
    number = one.number if "phone" in one.said else was["number"]
    kept = was["verified_at"] if number == was["number"] else None
    verified = kept is not None if one.verified is None else one.verified
    user = {name: was[name] for name in store.WRITTEN} | one.said
    return user | {"id": one.id, "number": number, "verified_at": (kept or now) if verified else None}


def _why_not(app: App, one: Wanted, old: Row | None, user: Row, found: Found, given: Holders) -> str:
    """Why the line cannot be taken; "" when it can."""
    if old and old["app_id"] != app.id:
        return "id: is that of a user of another application"
    if old and old["imported_at"] is None:
        return "id: is that of a user who signed up here"
    if old and not old["untouched"]:
        return "id: the user has signed in here since the import, or was given a password or a number"
    if not (user["login"] or user["email"] or user["phone"]):
        return "login, email or phone is required"
    for name, column in store.UNIQUE.items():
        key = (column, user[column])
        holder = given.get(key, found.holders.get(key))
        if holder not in (None, one.id):
            return f"{name}: is taken by user {holder}"
    holder = None if one.number is None else found.verified.get(one.number)
    return "" if holder in (None, one.id) else f"phone: is the verified number of user {holder}"


def _give(given: Holders, old: Row | None, user: Row) -> None:
    for column in store.UNIQUE.values():
        if old and old[column] not in (None, user[column]):
            given[column, old[column]] = None
        if user[column] is not None:
            given[column, user[column]] = user["id"]


def _sort(plan: Plan, old: Row | None, user: Row) -> None:
    plan.report.without_number += user["phone"] is not None and user["number"] is None
    if not old:
        plan.new.append(user)
        plan.report.added += 1
    elif any(old[name] != value for name, value in user.items()):
        plan.changed.append(user)
        plan.report.changed += 1
    else:
        plan.report.unchanged += 1
