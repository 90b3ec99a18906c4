"""Test of the joined push: what a contact's push will look like, before anybody joins.

preview(template)   the text with a sample name; Invalid for a template that cannot be used
send(db, …)         sends that text to the devices of one user
"""

import msgspec

from .. import errors
from ..model import App
from ..store import pushes, subscriptions, users
from ..store.db import Database, Row
from . import announcing, audit, joined_texts, settings, waking
from .audit import Actor

KEY = "contact_joined_template"
NAME = "Annie"
LIFE_SECONDS = 3600  # a test that arrives a day later confuses its recipient


def preview(template: str) -> str:
    """The text of the push about a contact called Annie. Raises Invalid with the rule that the template breaks."""
    return joined_texts.words(settings.read(KEY, template), NAME)


def send(db: Database, app: App, user_id: int, by: Actor) -> int:
    """Send a test push to those of a user's devices that get joined pushes. Returns to how many.

    The payload has the key `test`, and is about the user. Raises NotFound, and Unreached when there is no such device.
    """
    text = preview(app.settings.contact_joined_template)
    with db.write() as tx:
        if not users.by_id(tx, app.id, user_id):
            raise errors.NotFound(f"there is no user {user_id}")
        reached = subscriptions.of_users(tx, app.id, [user_id], announcing.environments(app))
        rows = [_push(app, one, text) for one in announcing.getting(reached)]
        if not rows:
            raise errors.Unreached("no device of this user gets joined pushes: it has no subscription for them")
        pushes.add(tx, app.id, user_id, rows, now=by.at, expires_at=by.at + LIFE_SECONDS)
        waking.pushes_added(tx)
        audit.of_user(tx, by, "test push sent", user_id, f"devices: {len(rows)}")
    return len(rows)


def _push(app: App, subscription: Row, text: str) -> pushes.NewPush:
    user_id, channel = subscription["user_id"], subscription["channel"]
    message = msgspec.json.encode(joined_texts.payload(app, channel, text, user_id, test=True)).decode()
    return user_id, subscription["id"], channel, subscription["environment"], message, None, subscription["lane"]
