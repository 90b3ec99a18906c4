"""Who an admin means: a user by id, login, e-mail, phone in any spelling, or the beginning of a name.

found(db, app, text)     those whom a text may mean, the best first
one_of(db, app, text)    the one that it means; NotFound, Invalid where it means several
newest(db, app, …)       a page of all
"""

from .. import errors, phone
from ..model import App, User
from ..store import user_search, users
from ..store.db import Database, Tx
from ..store.user_search import Condition
from ..store.users import fold

MOST = 50
LAST_ID = 2**31


def found(db: Database, app: App, text: str) -> list[User]:
    """Those whom a text may mean, each once: by id first, then by what is unique, by phone, by name."""
    with db.read() as tx:
        return list({user.id: user for user in [*_exactly(tx, app, text), *_by_name(tx, app, text)]}.values())[:MOST]


def one_of(db: Database, app: App, text: str) -> User:
    """The one user whom a text means: an id wins over what else it may be."""
    with db.read() as tx:
        by_id = _by_id(tx, app, text)
        meant = {user.id: user for user in ([by_id] if by_id else _exactly(tx, app, text))}
    if not meant:
        raise errors.NotFound("nobody has this id, login, e-mail or phone")
    if len(meant) > 1:
        raise errors.Invalid(f"this means several users: name the id, of {', '.join(map(str, sorted(meant)))}")
    return meant.popitem()[1]


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


def _by_name(tx: Tx, app: App, text: str) -> list[User]:
    return _page(tx, app, Condition("full_name", "start_with", (fold(text),))) if fold(text) else []


def _page(tx: Tx, app: App, condition: Condition) -> list[User]:
    return user_search.page(
        tx,
        app.id,
        [condition],
        sort="full_name" if condition.field == "full_name" else "id",
        descending=False,
        offset=0,
        limit=MOST,
        logins=True,
        proven=False,
    )
