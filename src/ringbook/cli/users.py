"""`ringbook users …`: the accounts of users.

users_list                                 all users, the newest first, page by page
users_find                                 users by id, login, e-mail, phone or the beginnings of words
users_import, users_export, users_erase    import users; export and erase one user
users_reset_password, users_give_number    give a user a new password or a phone number
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
from cyclopts.validators import Number

from ..profile_fields import IMPORT_COLUMNS
from . import common
from .common import AppOfLogin, Failed, File, Id, Json, User, Yes

if TYPE_CHECKING:
    from ..core.imports import Report
    from ..model import User as UserOf

DryRun = Annotated[bool, Parameter(negative="", help="change nothing, only report what would happen")]
Output = Annotated[Path | None, Parameter(help="new file to write, readable by you alone; it must not exist")]

UserId = Annotated[Id, Parameter(help="id of the user")]

users = cyclopts.App(name="users", help="The accounts of users.")


@users.command(name="list")
def users_list(
    *,
    app: Annotated[Id, Parameter(help="id of the application that the users belong to")],
    limit: Annotated[int, Parameter(help="number of users to list", validator=Number(gte=1, lte=10_000))] = 50,
    after: Annotated[Id | None, Parameter(help="id of the last user of the page before: lists the next page")] = None,
    as_json: Json = False,
    file: File,
) -> None:
    """List users, the newest first; --after shows the next page."""
    from ..core import applications, user_lookup

    with common.database(common.settings(file)) as db:
        one = applications.get(db, app)
        if after is not None and not user_lookup.exists(db, one, after):
            raise Failed(f"application {app} has no user {after}")
        found = user_lookup.newest(db, one, after or 0, limit + 1)
    if as_json:
        common.print_json(_rows(found[:limit]))
    elif found:
        common.table(_rows(found[:limit]))
    else:
        common.print_line(f"application {app} has no {'more ' if after else ''}users")
    if len(found) > limit:
        common.note(f"there are more users: --after {found[limit - 1].id} lists the next ones")


@users.command(name="find")
def users_find(
    text: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="an id, a whole e-mail or phone, or the beginnings of words of the full name, the login and the"
            " external id; logins that read like a phone or an e-mail only as a whole",
        ),
    ],
    /,
    *,
    app: Annotated[Id, Parameter(help="id of the application that the users belong to")],
    as_json: Json = False,
    file: File,
) -> int:
    """List up to 50 users whom a text may mean, the best match first; exit code 1 when there is none."""
    from ..core import applications, user_lookup

    with common.database(common.settings(file)) as db:
        found = user_lookup.matches(db, applications.get(db, app), text)
    if as_json:
        common.print_json(_rows(found))
    elif found:
        common.table(_rows(found))
    else:
        common.print_line(f"application {app} has no such user; e-mails and phones are found only as a whole")
    return 0 if found else 1


@users.command(name="import")
def users_import(
    path: Annotated[Path, Parameter(help=f"the .csv or .jsonl file; its columns: {', '.join(IMPORT_COLUMNS)}")],
    /,
    *,
    app: Annotated[Id, Parameter(help="id of the application that the users belong to")],
    dry_run: DryRun = False,
    as_json: Json = False,
    file: File,
) -> int:
    """Import users with their ids from a .csv or .jsonl file; the same file may be imported again.

    Refused lines are listed on stderr, and the exit code is then 1.
    """
    from ..core import applications, imports

    with common.database(common.settings(file)) as db, _stopped(path), _progress() as progress:
        one, lines = applications.get(db, app), imports.Lines(path)
        by, now = common.actor(), common.now()
        report = imports.import_users(db, one, lines, dry_run=dry_run, progress=progress, now=now, by=by)
    for refusal in report.refused:
        common.note(f"{refusal.where}: {refusal.reason}")
    _print_report(report, dry_run=dry_run, as_json=as_json)
    return 1 if report.refused else 0


@users.command(name="export")
def users_export(id: UserId, /, *, output: Output = None, file: File) -> None:
    """Print everything that is stored about a user, as JSON."""
    from ..core import user_record

    with common.database(common.settings(file)) as db:
        everything = user_record.everything(db, id, by=common.actor())
    if output:
        _write(output, msgspec.json.format(msgspec.json.encode(everything)) + b"\n")
        common.print_line(f"everything about user {id} is in {output}")
    else:
        common.print_json(everything)


@users.command(name="erase")
def users_erase(id: UserId, /, *, yes: Yes = False, as_json: Json = False, file: File) -> None:
    """Erase a user for good, with everything that is stored about the user."""
    from ..core import user_record
    from ..core import users as core

    with common.database(common.settings(file)) as db:
        erased = _amounts(user_record.everything(db, id))
        common.confirm(
            f"this erases user {id} with address books, sessions and subscriptions, for good",
            "the id",
            str(id),
            yes=yes,
        )
        if not core.erase(db, id, by=common.actor()):
            raise Failed(f"there is no user {id}")
        db.scrub()
    common.answer({"user_id": id} | erased, as_json)


@users.command(name="reset-password")
def users_reset_password(user: User, /, *, app: AppOfLogin = None, as_json: Json = False, file: File) -> None:
    """Give a user a one-time password, which is shown once."""
    from ..core import users

    with common.database(common.settings(file)) as db:
        user_id = common.user_id(db, user, app)
        password = users.reset_password(db, user_id, common.now(), by=common.actor())
        common.answer({"user_id": user_id, "password": password}, as_json)


@users.command(name="give-number")
def users_give_number(
    id: UserId,
    phone: Annotated[str, Parameter(allow_leading_hyphen=True, help="number with + and the country code")],
    /,
    *,
    app: Annotated[Id, Parameter(help="id of the application that the user belongs to")],
    yes: Yes = False,
    as_json: Json = False,
    file: File,
) -> None:
    """Give a user a phone number as verified, and take it from the users who have it now.

    A user who had verified the number also loses all sessions and push subscriptions.
    """
    from ..core import applications, numbers

    with common.database(common.settings(file)) as db:
        one = applications.get(db, app)
        others = [str(holder) for holder in numbers.holders(db, one, phone) if holder != id]
        if others:
            warning = f"user {id} gets the number; user {', '.join(others)} has it now and loses it"
            common.confirm(warning, "the id of the user who gets it", str(id), yes=yes)
        former = numbers.give(db, one, id, phone, common.now(), by=common.actor())
    common.answer({"user_id": id, "phone": phone, "taken_from": former if as_json else _listed(former)}, as_json)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(found: "list[UserOf]") -> list[dict[str, Any]]:
    return [
        {"id": one.id, "login": one.login, "full_name": one.full_name, "since": common.when(one.created_at)}
        for one in found
    ]


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids)) or "nobody"


@contextmanager
def _stopped(path: Path) -> Iterator[None]:
    """Reports why an import stopped, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        common.note(f"interrupted: imported users stay; import {path.name} again for the rest")
        raise
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "lines", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_report(report: "Report", *, dry_run: bool, as_json: bool) -> None:
    refused = [
        {"line": one.line, "reason": one.reason} | ({"last_line": one.line + one.more} if one.more else {})
        for one in report.refused
    ]
    counts: dict[str, Any] = {
        "dry_run": dry_run,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "without_number": report.without_number,
    }
    common.answer(counts | {"refused": refused if as_json else report.refused_lines}, as_json)


def _amounts(everything: dict[str, Any]) -> dict[str, int]:
    """The number of rows of each kind."""
    books = everything["address_books"]
    return {
        "sessions": len(everything["sessions"]),
        "address_books": len(books),
        "contacts": sum(len(book["contacts"]) for book in books),
        "subscriptions": len(everything["subscriptions"]),
        "numbers": len(everything["numbers"]),
    }


def _write(output: Path, content: bytes) -> None:
    """Write a new file that only this user can read. Refuse an existing file, which others may be able to read."""
    try:
        with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise Failed(f"{output} cannot be written: {error.strerror}") from None
