"""Finds the users whom an admin means: by id, login, e-mail, phone in any spelling, external id, or by how words begin.

The words are those of the name, the login and the external id. Phones, e-mails, and logins that read like one of these
are sealed, so they are found by the whole value only.

matches(db, app, text)    the users whom a text may mean, the best match first
one_user(db, app, text)   the one user whom it means. Raises NotFound, and Invalid when it means several
newest(db, app, …)        a page of all users, for commands
exists(db, app, id)       whether the application has a user with this id
exactly(tx, app, text)    those whom it means by a whole value
"""

from .. import errors, phone
from ..model import App, User
from ..store import user_list, user_search, users, words
from ..store.db import Database, Tx
from ..store.user_search import Condition
from . import words as splitting

MOST = 50
LAST_ID = 2**31


def matches(db: Database, app: App, text: str) -> list[User]:
    """The users whom a text may mean, each once: by a whole value first, then by the beginnings of words."""
    with db.read() as tx:
        found = [*exactly(tx, app, text), *_by_words(tx, app, text)]
        return list({user.id: user for user in found}.values())[:MOST]


def one_user(db: Database, app: App, text: str) -> User:
    """The one user whom a text means. An id wins over a login or a phone of the same digits."""
    with db.read() as tx:
        by_id = _by_id(tx, app, text)
        found = {user.id: user for user in ([by_id] if by_id else exactly(tx, app, text))}
    if not found:
        raise errors.NotFound("nobody has this id, login, e-mail or phone")
    if len(found) > 1:
        raise errors.Invalid(f"several users match: enter the id, one of {', '.join(map(str, sorted(found)))}")
    return found.popitem()[1]


def newest(db: Database, app: App, before: int, limit: int) -> list[User]:
    """Up to `limit` users older than the one with the id `before`, the newest first."""
    with db.read() as tx:
        return user_search.newest(tx, app.id, before, limit)


def exists(db: Database, app: App, user_id: int) -> bool:
    """Has the application a user with this id?"""
    with db.read() as tx:
        return users.by_id(tx, app.id, user_id) is not None


def exactly(tx: Tx, app: App, text: str) -> list[User]:
    """The users who have this id, login, e-mail or phone."""
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


def _by_words(tx: Tx, app: App, text: str) -> list[User]:
    """Users with this external id, then those of whom each word of the text begins a word, by name."""
    ids = user_list.by_external(tx, app.id, text.strip(), MOST)
    if beginnings := splitting.of_query(text):
        ids += words.found(tx, app.id, beginnings, MOST)[0]
    found = users.by_ids(tx, app.id, ids) if ids else {}
    return sorted(found.values(), key=lambda user: (user.full_name or user.login or "", user.id))


def _page(tx: Tx, app: App, condition: Condition) -> list[User]:
    return user_search.page(
        tx,
        app.id,
        [condition],
        sort="id",
        descending=False,
        offset=0,
        limit=MOST,
        verified_only=False,
    )
