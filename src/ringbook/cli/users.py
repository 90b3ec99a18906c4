"""`ringbook users …`: people's accounts, brought in, handed over, and erased.

users_import, users_export, users_erase    bring in, hand over, erase
users_reset_password, users_give_number    let somebody back in
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
import msgspec
from cyclopts import Parameter

from . import common
from .common import Failed, File, Id, Json, Of, Yes

if TYPE_CHECKING:
    from ..core.imports import Report

DryRun = Annotated[bool, Parameter(negative="", help="write nothing, only say what would happen")]
Output = Annotated[Path | None, Parameter(help="file to write, readable by you alone; it must not be there yet")]

users = cyclopts.App(name="users", help="People's accounts.")


@users.command(name="import")
def users_import(
    path: Path,
    /,
    *,
    app: Annotated[Id, Parameter(help="id of the application that the users belong to")],
    dry_run: DryRun = False,
    as_json: Json = False,
    file: File,
) -> int:
    """Bring users along, with the ids they have had, from a .csv or .jsonl file; it may be imported again.

    Columns: id, login, email, phone, verified, full_name, external_id, external_user_id, facebook_id, twitter_id,
    last_request_at, created_at. Lines that cannot be taken are named on stderr, and the exit code is then 1.
    """
    from ..core import applications, imports

    with common.database(common.settings(file)) as db, _stopped(path), _progress() as progress:
        one, lines = applications.get(db, app), imports.Lines(path)
        by, now = common.actor(), common.now()
        report = imports.bring(db, one, lines, dry_run=dry_run, progress=progress, now=now, by=by)
    for refusal in report.refused:
        print(f"{refusal.where}: {refusal.reason}", file=sys.stderr)
    _tell(report, dry_run=dry_run, as_json=as_json)
    return 1 if report.refused else 0


@users.command(name="export")
def users_export(id: Id, /, *, output: Output = None, file: File) -> None:
    """Print everything that is stored about a user, as JSON."""
    from ..core import user_record

    with common.database(common.settings(file)) as db:
        everything = user_record.everything(db, id, by=common.actor())
    if output:
        _write(output, msgspec.json.format(msgspec.json.encode(everything)) + b"\n")
        common.say(f"everything about user {id} is in {output}")
    else:
        common.say_json(everything)


@users.command(name="erase")
def users_erase(id: Id, /, *, yes: Yes = False, as_json: Json = False, file: File) -> None:
    """Erase a user and everything about the user, for good."""
    from ..core import user_record
    from ..core import users as core

    with common.database(common.settings(file)) as db:
        erased = _amounts(user_record.everything(db, id))
        common.sure(
            f"this erases user {id} with address books, sessions and subscriptions, for good",
            "the id",
            str(id),
            yes=yes,
        )
        if not core.erase(db, id, by=common.actor()):
            raise Failed(f"there is no user {id} any more")
        db.scrub()
    common.answer({"user_id": id} | erased, as_json)


@users.command(name="reset-password")
def users_reset_password(user: str, /, *, app: Of = None, as_json: Json = False, file: File) -> None:
    """Give a user a one-time password, shown this once.

    USER is an id, or with --app a login, an e-mail or a phone.
    """
    from ..core import users

    with common.database(common.settings(file)) as db:
        user_id = common.user_id(db, user, app)
        password = users.reset_password(db, user_id, common.now(), by=common.actor())
        common.answer({"user_id": user_id, "password": password}, as_json)


@users.command(name="give-number")
def users_give_number(
    id: Id,
    phone: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    app: Annotated[Id, Parameter(help="id of the application that the user belongs to")],
    yes: Yes = False,
    as_json: Json = False,
    file: File,
) -> None:
    """Give a user a phone number, as if it had been proven, and take it from whoever has it now.

    Write the number with + and the country. Who has proven it, too, also loses sessions and push subscriptions.
    """
    from ..core import applications, numbers

    with common.database(common.settings(file)) as db:
        one = applications.get(db, app)
        others = [str(holder) for holder in numbers.holders(db, one, phone) if holder != id]
        if others:
            warning = f"the number goes to user {id}; user {', '.join(others)} has it now, and loses it"
            common.sure(warning, "the id of the user who gets it", str(id), yes=yes)
        former = numbers.give(db, one, id, phone, common.now(), by=common.actor())
    common.answer({"user_id": id, "phone": phone, "taken_from": former if as_json else _listed(former)}, as_json)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids)) or "nobody"


@contextmanager
def _stopped(path: Path) -> Iterator[None]:
    """Says what stopped an import, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted: what is in stays in; import {path.name} again, and the rest follows", file=sys.stderr)
        raise
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Shows how far it is, where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "lines", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _tell(report: "Report", *, dry_run: bool, as_json: bool) -> None:
    refused = [
        {"line": one.line, "reason": one.reason} | ({"last_line": one.line + one.more} if one.more else {})
        for one in report.refused
    ]
    said: dict[str, Any] = {
        "dry_run": dry_run,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "without_number": report.without_number,
    }
    common.answer(said | {"refused": refused if as_json else report.refused_lines}, as_json)


def _amounts(everything: dict[str, Any]) -> dict[str, int]:
    """How much of each there is."""
    books = everything["address_books"]
    return {
        "sessions": len(everything["sessions"]),
        "address_books": len(books),
        "contacts": sum(len(book["contacts"]) for book in books),
        "subscriptions": len(everything["subscriptions"]),
        "numbers": len(everything["numbers"]),
    }


def _write(output: Path, content: bytes) -> None:
    """Write a new file of one's own: one that is there already may be open to others."""
    try:
        with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise Failed(f"{output} cannot be written: {error.strerror}") from None
