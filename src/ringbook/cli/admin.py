"""`ringbook admin …`: who may use the dashboard.

admin_create, admin_delete      let somebody in, and no more
admin_list                      who may
admin_reset_password            let somebody back in
"""

import cyclopts

from . import common
from .common import File, Json, Yes

admin = cyclopts.App(name="admin", help="People who may use the dashboard.")


@admin.command(name="create")
def admin_create(email: str, /, *, as_json: Json = False, file: File) -> None:
    """Let somebody use the dashboard; the password is shown this once."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        password = admins.create(db, email, common.now(), by=common.actor())
        common.answer({"email": email, "password": password}, as_json)


@admin.command(name="list")
def admin_list(*, as_json: Json = False, file: File) -> None:
    """Everybody who may log in at the dashboard."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        found = admins.all_(db)
    nowhere = None if as_json else "logged in nowhere"
    rows = [
        {"email": one.email, "since": common.when(one.created_at), "seen": common.when(one.seen_at) or nowhere}
        for one in found
    ]
    if as_json:
        common.say_json(rows)
    elif rows:
        common.table(rows)
    else:
        common.say("no admin yet: `ringbook admin create EMAIL` makes one")


@admin.command(name="delete")
def admin_delete(email: str, /, *, yes: Yes = False, file: File) -> None:
    """Let somebody into the dashboard no more; sessions end at once, and what was done stays in the audit log."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        common.sure(f"{email} can no longer log in at the dashboard", "the e-mail", email, yes=yes)
        admins.remove(db, email, by=common.actor())
    common.say(f"{email} is no admin any more")


@admin.command(name="reset-password")
def admin_reset_password(email: str, /, *, as_json: Json = False, file: File) -> None:
    """Give an admin a new password, shown this once."""
    from ..core import admins

    with common.database(common.settings(file)) as db:
        password = admins.reset_password(db, email, by=common.actor())
        common.answer({"email": email, "password": password}, as_json)
