"""Import of the users of a former system.

    import_users   imports the users of a file, with their ids in the former system
    Report         the result, line by line

An imported user has no password, and signs in with a proof of identity or after an admin's reset. Imported users are
not announced as joined. `users.imported_at` is the time of the last import that wrote the account. From the first
sign-in, proof, or number given by an admin on, the account belongs to its user, and no import writes it any more.
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
from ..store import words as words_store
from ..store.db import Database, Row, Tx
from . import audit, stats, words
from .audit import Actor
from .import_lines import Account, Line, Lines, id_of, parse

__all__ = ["Lines", "Refusal", "Report", "import_users"]

BATCH = 1_000  # users in one transaction: enough to be fast, few enough not to block other transactions for long
TRIES = 5
BLANK: Row = dict.fromkeys((*store.WRITTEN, store.SEEN)) | {"login_private": 0, "number": None, "verified_at": None}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was refused, and why. `more` further lines were read as a part of it."""

    line: int
    reason: str
    more: int = 0

    @property
    def where(self) -> str:
        """The line, or the lines, in words."""
        return f"lines {self.line}–{self.line + self.more}" if self.more else f"line {self.line}"


@dataclass(slots=True)
class Report:
    """The result. `without_number` users have a phone that is not a number, so no contact can find them by it."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    without_number: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def refused_lines(self) -> int:
        """How many lines of the file were refused."""
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
    """The users in the database that have a batch's ids, unique values and verified numbers."""

    users: dict[int, Row]
    holders: "Holders"
    verified: dict[int, int]


@dataclass(slots=True)
class Plan:
    """The rows to write for a batch, and its report."""

    new: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    report: Report = field(default_factory=Report)


# The id of the user who has a value, by its name in `store.UNIQUE` and the value. None: the user who had it gave it up.
Holders = dict[tuple[str, Any], int | None]


def import_users(
    db: Database,
    app: App,
    lines: Iterable[Line],
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    now: int,
    by: Actor | None = None,
) -> Report:
    """Add the users of these lines, and change earlier imported users. The same lines again change nothing.

    lines      they are read twice: first to reserve all ids up to the largest new one, so that users who sign up during
               the import get larger ids
    dry_run    nothing is written; the report is the same as that of a run
    progress   called with the number of lines processed, and of all lines

    Lines that cannot be imported are in the report; all others are imported. Users who signed up here, or have signed
    in since their import, are not changed. No user loses an id, login, e-mail, external_user_id, facebook_id or
    verified number to an imported one. Raises Invalid when the file as a whole cannot be read.
    """
    total, largest = _survey(lines)
    if not dry_run:
        _reserve(db, app, largest, total > len(largest), now)
        audit.note(db, by, "import began", app_id=app.id, detail=f"lines: {total}")
    report, seen = Report(), set[int]()
    holders: Holders | None = {} if dry_run else None
    everything, done = iter(lines), 0
    while batch := list(islice(everything, BATCH)):
        report += _import_batch(db, app, _checked(app, batch, seen, report, now), holders, now)
        done += len(batch)
        progress(done, total)
    report.refused.sort(key=lambda one: one.line)
    if not dry_run:
        told = f"added: {report.added}, changed: {report.changed}"
        audit.note(db, by, "users imported", app_id=app.id, detail=told)
    return report


def _survey(lines: Iterable[Line]) -> tuple[int, list[Line]]:
    """The number of lines, and the lines with the largest ids."""
    total = 0

    def counted() -> Iterator[Line]:
        nonlocal total
        for line in lines:
            total += 1
            yield line

    largest = heapq.nlargest(BATCH, counted(), key=lambda line: id_of(line) or 0)
    return total, largest


def _reserve(db: Database, app: App, largest: Sequence[Line], others: bool, now: int) -> None:
    """Reserve the ids up to the largest one that will be imported. Lines that are refused must not use up ids.

    others   there are further lines, with smaller ids: if all of `largest` are refused, reserve up to the smallest of
             their ids
    """
    batch = _checked(app, largest, set(), Report(), now)
    with db.read() as tx:
        plan = _decide(app, batch, _read_found(tx, app, batch), {}, now) if batch else Plan()
    smallest = (id_of(largest[-1]) or 0) if others else 0
    last = max((user["id"] for user in plan.new), default=smallest)
    if last:
        with db.write() as tx:
            store.reserve(tx, last)


def _checked(app: App, batch: Sequence[Line], seen: set[int], report: Report, now: int) -> list[Account]:
    """The lines that can be read. The others go into the report."""
    taken = []
    for line in batch:
        try:
            one = parse(line, app.settings.default_region, now)
            if one.id in seen:
                raise errors.Invalid("is in an earlier line, too", field="id")
        except errors.Invalid as error:
            reason = f"{error.field}: {error}".removeprefix(": ")
            report.refused.append(Refusal(line.number, reason, line.more))
        else:
            seen.add(one.id)
            taken.append(one)
    return taken


# ── a batch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _import_batch(db: Database, app: App, batch: list[Account], holders: Holders | None, now: int) -> Report:
    """Import one batch.

    holders   the values that a dry run has assigned so far; None when this is not a dry run
    """
    if not batch:
        return Report()
    if holders is not None:
        with db.read() as tx:
            return _decide(app, batch, _read_found(tx, app, batch), holders, now).report
    for left in reversed(range(TRIES)):
        try:
            return _write(db, app, batch, now)
        except (errors.Conflict, errors.Unavailable):
            # A user signed up or in after the batch was read: read it again.
            if not left:
                raise
    raise AssertionError


def _write(db: Database, app: App, batch: list[Account], now: int) -> Report:
    with db.write() as tx:
        plan = _decide(app, batch, _read_found(tx, app, batch), {}, now)
        # Changes first: a new user may have the login that a changed one gives up.
        if plan.changed:
            _update(tx, app, plan.changed, now)
        if plan.new and not store.insert(tx, app.id, plan.new, now):
            raise errors.Conflict("a user signed up during the import")
        app_totals.change_users(tx, app.id, [user["id"] for user in plan.new])
        if written := plan.new + plan.changed:
            store.add_numbers(tx, app.id, written)
            words_store.put_all(tx, app.id, _words(written))
            if any(user["verified_at"] is not None for user in written):
                applications.set_verified(tx, app.id, now)
        stats.after(tx, app.id, "imported", now, len(plan.new))
    return plan.report


def _update(tx: Tx, app: App, changed: list[Row], now: int) -> None:
    if not store.update(tx, app.id, changed, now):
        raise errors.Conflict("a user signed in during the import")
    ids = [user["id"] for user in changed]
    store.forget_numbers(tx, ids)
    words_store.forget(tx, ids)


def _words(written: list[Row]) -> list[tuple[int, str]]:
    """The words by which admins find these users."""
    return [
        (user["id"], word)
        for user in written
        for word in words.of_user(user["full_name"], user["login"], user["external_id"])
    ]


def _read_found(tx: Tx, app: App, batch: list[Account]) -> Found:
    held: Holders = {}
    for key, name in store.UNIQUE.items():
        values = list({one.columns[name] for one in batch if one.columns.get(name) is not None})
        if values:
            found = store.holders(tx, app.id, key, values)
            held |= {(name, value): user_id for value, user_id in found.items()}
    numbers = list({one.number for one in batch if one.number is not None})
    verified = store.verified(tx, app.id, numbers) if numbers else {}
    return Found(store.known(tx, [one.id for one in batch]), held, verified)


def _decide(app: App, batch: list[Account], found: Found, holders: Holders, now: int) -> Plan:
    """What to write for each line, in order. Pure, except that it adds the assigned values to `holders`."""
    plan = Plan()
    for one in batch:
        old = found.users.get(one.id)
        user = _merged(one, old, now)
        if reason := _refusal_reason(app, one, old, user, found, holders):
            plan.report.refused.append(Refusal(one.line, reason, one.more))
            continue
        _note_holders(holders, old, user)
        _add_to_plan(plan, old, user)
    return plan


def _merged(one: Account, old: Row | None, now: int) -> Row:
    """The account after the import. Columns that the line does not have keep their values."""
    was = old or BLANK | {"created_at": now}
    number = one.number if "phone" in one.columns else was["number"]
    kept = was["verified_at"] if number == was["number"] else None
    verified = kept is not None if one.verified is None else one.verified
    user = {name: was[name] for name in (*store.WRITTEN, store.SEEN)} | one.columns
    return user | {"id": one.id, "number": number, "verified_at": (kept or now) if verified else None}


def _refusal_reason(app: App, one: Account, old: Row | None, user: Row, found: Found, holders: Holders) -> str:
    """Why the line is refused; "" when it is not."""
    if old and old["app_id"] != app.id:
        return "id: is that of a user of another application"
    if old and old["imported_at"] is None:
        return "id: is that of a user who signed up here"
    if old and not old["untouched"]:
        return "id: the user has signed in here since the import, or was given a password or a number"
    if not (user["login"] or user["email"] or user["phone"]):
        return "login, email or phone is required"
    for key, name in store.UNIQUE.items():
        value = (name, user[name])
        holder = holders.get(value, found.holders.get(value))
        if holder not in (None, one.id):
            return f"{key}: is taken by user {holder}"
    holder = None if one.number is None else found.verified.get(one.number)
    return "" if holder in (None, one.id) else f"phone: is the verified number of user {holder}"


def _note_holders(holders: Holders, old: Row | None, user: Row) -> None:
    for name in store.UNIQUE.values():
        if old and old[name] not in (None, user[name]):
            holders[name, old[name]] = None
        if user[name] is not None:
            holders[name, user[name]] = user["id"]


def _add_to_plan(plan: Plan, old: Row | None, user: Row) -> None:
    plan.report.without_number += user["phone"] is not None and user["number"] is None
    if not old:
        plan.new.append(user)
        plan.report.added += 1
    elif any(old[name] != value for name, value in user.items()):
        plan.changed.append(user)
        plan.report.changed += 1
    else:
        plan.report.unchanged += 1
