"""`ringbook admin …`: accounts of the dashboard.

admin_create, admin_delete      create and delete an admin
admin_list                      list the admins
admin_reset_password            give an admin a new password
"""

from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from . import common
from .common import File, Json, Yes

Email = Annotated[str, Parameter(help="e-mail address of the admin")]
Role = Annotated[
    Literal["owner", "viewer"],
    Parameter(
        help="what the admin may do: an owner everything; a viewer changes, reveals and exports nothing, and sees no"
        " phones and e-mails of users"
    ),
]

admin = cyclopts.App(name="admin", help="Admins: people who may log in to the dashboard.")


@admin.command(name="create")
def admin_create(email: Email, /, *, role: Role = "owner", as_json: Json = False, file: File) -> None:
    """Create an admin of the dashboard; the password is shown once."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        password = admins.create(db, email, common.now(), role=role, by=common.actor())
        common.answer({"email": email, "password": password}, as_json)


@admin.command(name="list")
def admin_list(*, as_json: Json = False, file: File) -> None:
    """List the admins of the dashboard."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        found = admins.all_(db)
    nowhere = None if as_json else "logged in nowhere"
    rows = [
        {
            "email": one.email,
            "role": one.role,
            "since": common.when(one.created_at),
            "seen": common.when(one.seen_at) or nowhere,
        }
        for one in found
    ]
    if as_json:
        common.print_json(rows)
    elif rows:
        common.table(rows)
    else:
        common.print_line("no admin yet: `ringbook admin create EMAIL` creates one")


@admin.command(name="delete")
def admin_delete(email: Email, /, *, yes: Yes = False, file: File) -> None:
    """Delete an admin; the admin's sessions end at once, and the audit log keeps the entries."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        admins.check(db, email)
        common.confirm(f"{email} can no longer log in to the dashboard", "the e-mail", email, yes=yes)
        admins.remove(db, email, by=common.actor())
    common.print_line(f"{email} is no longer an admin")


@admin.command(name="reset-password")
def admin_reset_password(email: Email, /, *, as_json: Json = False, file: File) -> None:
    """Give an admin a new password, which is shown once."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        password = admins.reset_password(db, email, by=common.actor())
        common.answer({"email": email, "password": password}, as_json)
