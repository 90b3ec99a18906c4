"""`ringbook app …`: applications, their keys and their settings.

app_create, app_list, app_show      one, or all there are
app_set, app_rotate_keys            change one
app_delete                          and everything that belongs to it
"""

import difflib
import sys
from typing import TYPE_CHECKING, Annotated, Any, get_args

import cyclopts
import msgspec
from cyclopts import Parameter

from ..model import AppSettings
from . import common
from .common import File, Id, Json, WrongUse, Yes

if TYPE_CHECKING:
    from ..model import App

MASK = "********"

Secrets = Annotated[bool, Parameter(negative="", help="show the auth secret, too")]
Value = Annotated[str, Parameter(allow_leading_hyphen=True)]

KEYS = "KEY is one of these:\n\n" + "\n".join(
    f"* `{field.name}`: {get_args(field.type)[1].description}" for field in msgspec.structs.fields(AppSettings)
)

app = cyclopts.App(name="app", help="Applications: each has its own keys, users and settings.")


@app.command(name="create")
def app_create(name: str, /, *, as_json: Json = False, file: File) -> None:
    """Make an application with keys of its own; on an empty SQLite file the schema, too."""
    from ..core import applications

    with common.database(common.settings(file), make=True) as db:
        common.answer(_keys(applications.create(db, name, common.now(), by=common.actor())), as_json)


@app.command(name="list")
def app_list(*, as_json: Json = False, file: File) -> None:
    """Every application."""
    from ..core import applications

    with common.database(common.settings(file)) as db:
        found = [_listed(one) for one in applications.all_(db)]
    if as_json:
        common.say_json(found)
    elif found:
        common.table(found)
    else:
        common.say("no application yet: `ringbook app create NAME` makes one")


@app.command(name="show")
def app_show(id: Id, /, *, as_json: Json = False, secrets: Secrets = False, file: File) -> None:
    """An application's keys and settings."""
    from ..core import applications, audit

    with common.database(common.settings(file)) as db:
        one = applications.get(db, id)
        if secrets:
            audit.note(db, common.actor(), "secret shown", app_id=id, subject="auth_secret")
        common.answer(_shown(one, secrets=secrets), as_json)


@app.command(name="set", help_epilogue=KEYS)
def app_set(id: Id, key: str, value: Value, /, *, file: File) -> None:
    """Change a setting that `ringbook app show` lists; every running process knows within 5 seconds.

    VALUE is the setting's text, or @FILE for the text of a file without the newline at its end. A text that itself
    begins with @ is given as a file.
    """
    from ..core import applications

    _check_key(key)
    with common.database(common.settings(file)) as db:
        applications.change(db, id, key, common.content(value), by=common.actor())
    common.say(f"application {id}: {key} is set")


@app.command(name="rotate-keys")
def app_rotate_keys(id: Id, /, *, yes: Yes = False, as_json: Json = False, file: File) -> None:
    """Give an application a new auth key and secret; apps that carry the old ones can open no more sessions."""
    from ..core import applications

    with common.database(common.settings(file)) as db:
        one = applications.get(db, id)
        warning = f"no installed app of application {id} ({one.name}) can open a session until it carries the new keys"
        common.sure(warning, "its name", one.name, yes=yes)
        common.answer(_keys(applications.rotate_keys(db, id, by=common.actor())), as_json)


@app.command(name="delete")
def app_delete(id: Id, /, *, yes: Yes = False, file: File) -> None:
    """Delete an application with its users, their address books and everything else about them, for good."""
    from ..core import applications

    with common.database(common.settings(file)) as db:
        one = applications.get(db, id)
        warning = f"this deletes application {id} ({one.name}) with all its users and address books, for good"
        common.sure(warning, "its name", one.name, yes=yes)
        deleted = applications.delete(db, id, _counted, by=common.actor())
    common.say(f"application {id} is deleted, with {deleted} users")


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_key(key: str) -> None:
    """A name that is nearly one of a setting is answered with that, before all that there are."""
    known = list(AppSettings.__struct_fields__)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise WrongUse(f"there is no setting {key}; {hint}")


def _listed(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "name": one.name, "auth_key": one.auth_key}


def _keys(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "auth_key": one.auth_key, "auth_secret": one.auth_secret}


def _shown(one: "App", *, secrets: bool) -> dict[str, Any]:
    keys = {"auth_secret": one.auth_secret if secrets else MASK, "vapid_public_key": one.vapid_public_key}
    fields = msgspec.structs.fields(type(one.settings))
    return _listed(one) | keys | {field.name: _masked(field, getattr(one.settings, field.name)) for field in fields}


def _masked(field: msgspec.structs.FieldInfo, value: Any) -> Any:
    """A setting's value; of one that is secret, only whether it is set."""
    meta = get_args(field.type)[1]
    secret = meta.extra and meta.extra.get("secret")
    return MASK if secret and value != field.default else value


def _counted(users: int) -> None:
    if users % 100 == 0 and sys.stderr.isatty():
        print(f"\r{users} users", end="\r", file=sys.stderr, flush=True)
