"""Who finds a user by a number: the preference `discoverable`, as requests apply it.

    rules(app)                     which numbers an application's users find
    hidden(tx, …, user_ids)        those of these users whom the viewer does not find
    hidden_by_number(tx, …)        the users with some numbers, likewise
    hidden_logins(tx, …)           of some logins those of such users
may_find(tx, …, viewers)       those of these viewers to whom a user does not hide

A user who prefers `mutual` is found by whoever holds a number of the user and whose number the user holds, each in any
address book; where only verified numbers count, this is true of both numbers. Everybody finds themselves. A user whom
the viewer does not find is answered like a number that nobody has, and costs the same permits.
"""

from collections.abc import Collection, Mapping, Sequence

from ..model import App
from ..store import books
from ..store import discoverable as store
from ..store.db import Tx
from ..store.discoverable import Rules


def rules(app: App) -> Rules:
    """Which numbers the application's users find."""
    settings = app.settings
    return Rules(app.verified_only, settings.contact_joined_discoverable, settings.contact_joined_choice)


def hidden(tx: Tx, app: App, viewer_id: int, user_ids: Collection[int]) -> set[int]:
    """The users among these whom the viewer does not find."""
    chosen = store.chosen(tx, user_ids)
    return _hidden(tx, app, viewer_id, {user_id: chosen.get(user_id, store.NOT_CHOSEN) for user_id in user_ids})


def hidden_by_number(tx: Tx, app: App, viewer_id: int, numbers: Sequence[int]) -> set[int]:
    """The users with one of these numbers whom the viewer does not find."""
    return _hidden(tx, app, viewer_id, store.of_numbers(tx, app.id, numbers))


def hidden_logins(tx: Tx, app: App, viewer_id: int, logins: Sequence[str]) -> set[str]:
    """The logins among these, which must be folded, of users whom the viewer does not find."""
    found = store.of_logins(tx, app.id, logins)
    unfound = hidden(tx, app, viewer_id, found.values())  # also of none, which takes as long as one who hides
    return {login for login, user_id in found.items() if user_id in unfound}


def may_find(tx: Tx, app: App, user_id: int, viewers: Collection[int]) -> set[int]:
    """Those of these users, all of them contacts of the user, to whom the user does not hide."""
    kinds = rules(app)
    audience = kinds.audience(store.of_user(tx, user_id))
    if audience == "mutual":
        return store.mutual(tx, user_id, viewers, verified_only=kinds.verified_only)
    return set(viewers) if audience == "everyone" else set()


def _hidden(tx: Tx, app: App, viewer_id: int, codes: Mapping[int, int]) -> set[int]:
    """The same for users with these codes of the column `discoverable`."""
    kinds = rules(app)
    others = {user_id: kinds.audience(code) for user_id, code in codes.items() if user_id != viewer_id}
    nobody = {user_id for user_id, audience in others.items() if audience == "nobody"}
    asked = {user_id for user_id, audience in others.items() if audience == "mutual"}
    return nobody | (asked - books.holds(tx, viewer_id, sorted(asked), kinds) if asked else set())
