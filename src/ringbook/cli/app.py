"""`ringbook app …`: applications, their keys and their settings.

app_create, app_list, app_show      create, list and show applications
app_connect                         code that connects each SDK
app_set, app_rotate_keys            change a setting; replace the keys
app_delete                          delete an application with all its data
"""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from .. import config, errors
from ..app_settings import SETTINGS, Setting
from . import common
from .common import File, Id, Json, WrongUse, Yes

if TYPE_CHECKING:
    from ..model import App

MASK = "********"

CONNECT = """\
Application {name}, at {address}

To try it: npm install connectycube@6, save this as app.mjs, run node app.mjs

{code}"""
PHONES = """\
── Addresses of this server while it runs on your machine

Android emulator             http://10.0.2.2:{port}
Android phone on USB         http://127.0.0.1:{port} after: adb reverse tcp:{port} tcp:{port}
iOS simulator, browser       http://127.0.0.1:{port}
phone in your network        this machine's address, after: ringbook serve --host 0.0.0.0"""

Secrets = Annotated[bool, Parameter(negative="", help="also show the auth secret")]
AppId = Annotated[Id, Parameter(help="id of the application")]
Key = Annotated[str, Parameter(help="name of the setting")]
Name = Annotated[str, Parameter(help="name of the application")]
Value = Annotated[str, Parameter(allow_leading_hyphen=True, help="new value, or @FILE for the text of a file")]

KEYS = "KEY is one of these:\n\n" + "\n".join(f"* `{key}`: {declared.help}" for key, declared in SETTINGS.items())

app = cyclopts.App(name="app", help="Applications: each has its own keys, users and settings.")


@app.command(name="create")
def app_create(name: Name, /, *, as_json: Json = False, file: File) -> None:
    """Create an application with its own keys; for a new SQLite file, also the schema."""
    from ..core import applications

    with common.database(common.settings(file), create=True) as db:
        common.answer(_keys(applications.create(db, name, common.now(), by=common.actor())), as_json)


@app.command(name="list")
def app_list(*, as_json: Json = False, file: File) -> None:
    """List the applications."""
    from ..core import applications

    with common.database(common.settings(file)) as db:
        found = [_listed(one) for one in applications.all_(db)]
    if as_json:
        common.print_json(found)
    elif found:
        common.table(found)
    else:
        common.print_line("no application yet: `ringbook app create NAME` creates one")


@app.command(name="show")
def app_show(id: AppId, /, *, as_json: Json = False, secrets: Secrets = False, file: File) -> None:
    """Show the keys and settings of an application."""
    from ..core import applications, audit

    with common.database(common.settings(file)) as db:
        one = applications.get(db, id)
        if secrets:
            audit.note(db, common.actor(), "secret shown", app_id=id, subject="auth_secret")
        common.answer(_shown(one, secrets=secrets), as_json)


@app.command(name="connect")
def app_connect(
    id: AppId, /, *, url: Annotated[str, Parameter(help="the server's address for apps")] = "", file: File
) -> None:
    """Print code that connects each SDK to this server, with the keys of an application.

    The address is --url, else the setting `public_url`, else that of `ringbook serve` on this machine.
    """
    from ..core import applications
    from ..dashboard import snippets
    from ..server import welcome

    settings = common.settings(file)
    with common.database(settings) as db:
        one = applications.get(db, id)
    local = welcome.url(settings, settings.port)
    address, wrong = snippets.endpoint_of(url, settings.public_url or local)
    if wrong:
        raise WrongUse(f"--url {wrong}")
    common.print_lines(_code(one, address).split("\n"))


@app.command(name="set", help_epilogue=KEYS)
def app_set(id: AppId, key: Key, value: Value, /, *, file: File) -> None:
    """Change a setting that `ringbook app show` lists; running processes use it within 5 seconds.

    With @FILE, the value is the text of the file without its last newline. Use a file for a value that itself begins
    with @.
    """
    from ..core import applications

    _check_key(key)
    with common.database(common.settings(file)) as db:
        try:
            applications.change(db, id, key, common.content(value), by=common.actor())
        except errors.Invalid as refused:
            raise _with_hint(SETTINGS[key], refused) from None
    common.print_line(f"application {id}: {key} is set")


@app.command(name="rotate-keys")
def app_rotate_keys(id: AppId, /, *, yes: Yes = False, as_json: Json = False, file: File) -> None:
    """Give an application a new auth key and secret; apps with the old keys can no longer open sessions."""
    from ..core import applications

    with common.database(common.settings(file)) as db:
        one = applications.get(db, id)
        warning = f"no installed app of application {id} ({one.name}) can open a session until it has the new keys"
        common.confirm(warning, "its name", one.name, yes=yes)
        common.answer(_keys(applications.rotate_keys(db, id, by=common.actor())), as_json)


@app.command(name="delete")
def app_delete(id: AppId, /, *, yes: Yes = False, file: File) -> None:
    """Delete an application for good, with its users, their address books and all other data."""
    from ..core import applications

    with common.database(common.settings(file)) as db:
        one = applications.get(db, id)
        warning = f"this deletes application {id} ({one.name}) with all its users and address books, for good"
        common.confirm(warning, "its name", one.name, yes=yes)
        deleted = applications.delete(db, id, _counted, by=common.actor())
    common.print_line(f"application {id} is deleted, with {deleted} users")


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_key(key: str) -> None:
    """Raise WrongUse for an unknown setting, with the most similar name or with all names."""
    if key not in SETTINGS:
        near = config.closest(key, SETTINGS)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(SETTINGS)}"
        raise WrongUse(f"there is no setting {key}; {hint}")


def _with_hint(declared: Setting, refused: errors.Invalid) -> errors.Invalid:
    """The refusal; for a setting that is a file, with how a file is given on the command line."""
    if declared.file:
        return errors.Invalid(f"{refused.reason}: give the file as @FILE", field=refused.field)
    return refused


def _code(one: "App", address: str) -> str:
    """The code for each SDK."""
    from ..dashboard import snippets

    parts = [CONNECT.format(name=one.name, address=address, code=snippets.first_try(one, address))]
    for snippet, code in snippets.snippets(one, address):
        parts.append(f"── {snippet.title} ({snippet.package})\n\n{code}")
    if any(host in address for host in ("//127.0.0.1", "//localhost", "//[::1]")):
        parts.append(PHONES.format(port=address.rpartition(":")[2]))
    return "\n\n".join(parts)


def _listed(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "name": one.name, "auth_key": one.auth_key}


def _keys(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "auth_key": one.auth_key, "auth_secret": one.auth_secret}


def _shown(one: "App", *, secrets: bool) -> dict[str, Any]:
    keys = {"auth_secret": one.auth_secret if secrets else MASK, "vapid_public_key": one.vapid_public_key}
    return _listed(one) | keys | {key: _masked(SETTINGS[key], getattr(one.settings, key)) for key in SETTINGS}


def _masked(declared: Setting, value: Any) -> Any:
    """The value of a setting; of a secret one, only whether it is set."""
    return MASK if declared.secret and value != declared.default else value


def _counted(users: int) -> None:
    if users % 100 == 0 and sys.stderr.isatty():
        print(f"\r{users} users", end="\r", file=sys.stderr, flush=True)
