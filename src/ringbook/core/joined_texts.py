"""The texts of joined pushes, composed when a push is claimed, so that nothing readable waits in the queue.

    words(template, name)               the text of a push
    payload(app, channel, text, about)  the payload for a channel; also of a test push
    compose(db, tx, rows)               the payloads of claimed or waiting pushes

The name is the one that the recipient's own address book has at this moment, and the template is that of today.
"""

from collections.abc import Sequence
from typing import Any

from .. import errors
from ..model import App
from ..push import providers
from ..store import joined as store
from ..store.db import Database, Row, Tx
from . import applications


def words(template: str, name: str) -> str:
    """The template with the name in place of `%s`, and a per cent sign in place of `%%`.

    The pieces between `%%` are replaced one by one, so that a name that contains such signs stays as it is.
    """
    return "%".join(piece.replace("%s", name) for piece in template.split("%%"))


def payload(app: App, channel: str, text: str, about: int, **more: Any) -> dict[str, Any]:
    """The payload of a joined push.

    about   the user who has joined
    more    keys that are added
    """
    found: dict[str, Any] = {"message": text, "user_id": about, "type": "contact_joined", **more}
    if app.settings.contact_joined_fcm_notification and providers.channel(channel).own_notification:
        found["android_fcm_notification"] = {"body": text}
    return found


def compose(db: Database, tx: Tx, rows: Sequence[Row]) -> dict[int, dict[str, Any] | None]:
    """The payloads of those of these pushes that are joined pushes, by the push's id.

    A push whose recipient no longer has the contact is left out. None stands for a contact or an application that
    cannot be read.
    """
    joined = [row for row in rows if row["number"] is not None]
    if not joined:
        return {}
    names = store.names(tx, sorted({(row["user_id"], row["app_id"], row["number"]) for row in joined}))
    apps = {app_id: _application(db, tx, app_id) for app_id in {row["app_id"] for row in joined}}
    found: dict[int, dict[str, Any] | None] = {}
    for row in joined:
        holder = row["user_id"], row["number"]
        if holder in names:
            name, app = names[holder], apps[row["app_id"]]
            found[row["id"]] = None if name is None or app is None else _payload(app, row, name)
    return found


def _application(db: Database, tx: Tx, app_id: int) -> App | None:
    try:
        return applications.cached_within(db, tx, app_id)
    except errors.Unreadable:
        return None


def _payload(app: App, row: Row, name: str) -> dict[str, Any]:
    text = words(app.settings.contact_joined_template, name)
    return payload(app, row["channel"], text, row["about_user_id"])
