"""What a joined push will look like, before anybody joins.

shown(template)    the text with a sample name, or Invalid
send(db, …)        the same as a push to one user's devices, who is told of nobody
"""

from typing import Any

import msgspec

from .. import errors
from ..model import App
from ..store import pushes, subscriptions, users
from ..store.db import Database
from . import announcing, audit, settings
from .audit import Actor

KEY = "contact_joined_template"
NAME = "Annie"
LIFE_SECONDS = 3600  # a test that arrives tomorrow only puzzles


def shown(template: str) -> str:
    """The text of the push about a contact called Annie; Invalid says what a template must be like."""
    return announcing.words(settings.read(KEY, template), NAME)


def send(db: Database, app: App, user_id: int, by: Actor) -> int:
    """Send the sample to a user's devices that would get the real one; to how many.

    It says of itself that it is a test, and is about the user. Raises NotFound, and Unreached when there is no device.
    """
    text = shown(app.settings.contact_joined_template)
    payload: dict[str, Any] = {"message": text, "user_id": user_id, "type": "contact_joined", "test": True}
    environments = ["production", *(["development"] if app.settings.contact_joined_development else [])]
    with db.write() as tx:
        if not users.by_id(tx, app.id, user_id):
            raise errors.NotFound(f"there is no user {user_id}")
        reached = [
            one
            for one in subscriptions.of_users(tx, app.id, [user_id], environments)
            if one["channel"] not in announcing.SILENT
        ]
        if not reached:
            raise errors.Unreached("no device of this user gets joined pushes: it has no subscription for them")
        rows: list[pushes.NewPush] = []
        for one in reached:
            message = payload
            if app.settings.contact_joined_fcm_notification and one["channel"] == "gcm":
                message = payload | {"android_fcm_notification": {"body": text}}
            encoded = msgspec.json.encode(message).decode()
            rows.append((user_id, one["id"], one["channel"], one["environment"], encoded, None, one["lane"]))
        pushes.add(tx, app.id, user_id, rows, now=by.at, expires_at=by.at + LIFE_SECONDS)
        audit.of_user(tx, by, "test push sent", user_id, f"devices: {len(rows)}")
    return len(rows)
