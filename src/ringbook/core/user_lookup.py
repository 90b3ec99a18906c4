"""Finds the users whom an admin means: by id, login, e-mail, phone in any spelling, or by how a name or login begins.

Phones, e-mails, and logins that read like one of these are sealed, so they are found by the whole value only.

matches(db, app, text)    the users whom a text may mean, the best match first
one_user(db, app, text)   the one user whom it means. Raises NotFound, and Invalid when it means several
newest(db, app, …)        a page of all users
"""

from .. import errors, phone
from ..model import App, User
from ..store import user_search, users
from ..store.db import Database, Tx
from ..store.user_search import Condition
from ..store.users import fold

MOST = 50
LAST_ID = 2**31


def matches(db: Database, app: App, text: str) -> list[User]:
    """The users whom a text may mean, each once: by the whole id, login, e-mail or phone first, then by a beginning."""
    with db.read() as tx:
        found = [*_exactly(tx, app, text), *_by_beginning(tx, app, text)]
        return list({user.id: user for user in found}.values())[:MOST]


def one_user(db: Database, app: App, text: str) -> User:
    """The one user whom a text means. An id wins over a login or a phone of the same digits."""
    with db.read() as tx:
        by_id = _by_id(tx, app, text)
        found = {user.id: user for user in ([by_id] if by_id else _exactly(tx, app, text))}
    if not found:
        raise errors.NotFound("nobody has this id, login, e-mail or phone")
    if len(found) > 1:
        raise errors.Invalid(f"several users match: enter the id, one of {', '.join(map(str, sorted(found)))}")
    return found.popitem()[1]


def newest(db: Database, app: App, before: int, limit: int) -> list[User]:
    """Up to `limit` users older than the one with the id `before`, the newest first."""
    with db.read() as tx:
        return user_search.newest(tx, app.id, before, limit)


def _exactly(tx: Tx, app: App, text: str) -> list[User]:
    unique = [_by_id(tx, app, text), users.by_login(tx, app.id, text), users.by_email(tx, app.id, text)]
    return [*(user for user in unique if user), *_by_phone(tx, app, text)]


def _by_id(tx: Tx, app: App, text: str) -> User | None:
    text = text.removeprefix("#")
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < LAST_ID):
        return None
    return users.by_id(tx, app.id, int(text))


def _by_phone(tx: Tx, app: App, text: str) -> list[User]:
    try:
        number = phone.read(text, app.settings.default_region)
    except (phone.Unreadable, phone.WrongLength):
        return []
    return _page(tx, app, Condition("phone", "in", (number,)))


def _by_beginning(tx: Tx, app: App, text: str) -> list[User]:
    """Users whose full name begins with the text, then users whose login does."""
    beginning = fold(text)
    if not beginning:
        return []
    return [
        user
        for field in ("full_name", "login")
        for user in _page(tx, app, Condition(field, "start_with", (beginning,)))
    ]


def _page(tx: Tx, app: App, condition: Condition) -> list[User]:
    return user_search.page(
        tx,
        app.id,
        [condition],
        sort=condition.field if condition.operator == "start_with" else "id",
        descending=False,
        offset=0,
        limit=MOST,
        verified_only=False,
    )
