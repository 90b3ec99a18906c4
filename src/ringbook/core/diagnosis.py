"""Why is a contact not found? Follows one user and one number from the upload to the push, step by step.

    diagnose(db, user_id, typed, now)     reads the evidence from the database and returns all steps (`findings.py`)
    number_of(db, app, user_id, contact)  the number by which a user should find a contact

The answer reveals whether a number is in a user's address book, so the query is written to the audit log when an admin
is given. Names and other numbers from the user's books are included only with `names`.
"""

from collections.abc import Sequence

from msgspec import Struct

from .. import errors, phone
from ..model import App
from ..store import books, subscriptions, user_record, users
from ..store import diagnosis as store
from ..store.db import Database, Row, Tx
from . import applications, audit, discoverable, preferences, privacy, push_trace, rate_limits, user_lookup, withholding
from .audit import Actor
from .findings import MOST, Evidence, Finding, Step, steps, verdict


class Answer(Struct, frozen=True, kw_only=True):
    """All steps; `found` says whether the user's app is shown a user for this number. `holders` are who have it."""

    user_id: int
    application_id: int
    found: bool
    verdict: str
    steps: list[Step]
    holders: list[int] = []


def diagnose(
    db: Database,
    user_id: int,
    typed: str,
    now: int,
    *,
    app_id: int | None = None,
    names: bool = False,
    by: Actor | None = None,
) -> Answer:
    """The steps for a user and the number of a contact, as an admin typed it.

    app_id   when given, the user must belong to this application
    names    include the contact's name in the user's books, and other numbers there that end with the same digits
    by       the admin, for the audit log
    Raises NotFound when there is no such user.
    """
    with db.read() as tx:
        user = user_record.user(tx, user_id)
    if not user or app_id not in (None, user["app_id"]):
        raise errors.NotFound(f"there is no user {user_id}" + (f" in application {app_id}" if app_id else ""))
    app = applications.get(db, user["app_id"])
    evidence = _read(db, app, user, typed, now, names=names)
    if evidence.number is not None:
        action: audit.Action = "contacts revealed" if names else "number looked for"
        audit.note(db, by, action, app_id=app.id, subject=f"user {user_id}", detail=phone.masked(evidence.number))
    found = steps(evidence, now)
    return Answer(
        user_id=user_id,
        application_id=app.id,
        found=bool(evidence.shown),
        verdict=verdict(evidence, found),
        steps=found,
        holders=[row["user_id"] for row in evidence.holders if row["user_id"] != user_id],
    )


def number_of(db: Database, app: App, user_id: int, contact: str) -> str:
    """The number by which a user should find a contact, ready for `diagnose`.

    contact   a number in any spelling, which is returned unchanged; or the id, login or e-mail of a user. Of several
              numbers of this user, one that is in a book of the user who looks

    Raises NotFound when the text is no number and means nobody, and Invalid when it means a user without a number.
    """
    if privacy.number(contact, app.settings.default_region) is not None:
        return contact
    try:
        user = user_lookup.one_user(db, app, contact)
    except errors.NotFound:
        if any(sign.isalpha() for sign in contact):
            raise errors.NotFound("nobody has this id, login or e-mail") from None
        return contact  # the diagnosis says what is wrong with the number
    with db.read() as tx:
        found = sorted(users.numbers_of(tx, user.id), key=lambda one: not store.in_books(tx, app.id, user_id, one))
    if not found:
        raise errors.Invalid(f"user {user.id} has no number, so nobody finds this user")
    return f"+{phone.digits(found[0])}"


def _read(db: Database, app: App, user: Row, typed: str, now: int, *, names: bool) -> Evidence:
    try:
        number = phone.read(typed, app.settings.default_region)
    except phone.WrongLength:
        return Evidence(app=app, user=user, typed=typed, number=None, unreadable=Finding.WRONG_LENGTH)
    except phone.Unreadable:
        return Evidence(app=app, user=user, typed=typed, number=None, unreadable=Finding.NOT_DIGITS)
    with db.read() as tx:
        return _query(tx, app, user, typed, number, now, names=names)


def _query(tx: Tx, app: App, user: Row, typed: str, number: int, now: int, *, names: bool) -> Evidence:
    user_id = user["id"]
    holders = store.holders(tx, app.id, number)
    ids = [row["user_id"] for row in holders]
    others = [one for one in ids if one != user_id]
    places = store.in_books(tx, app.id, user_id, number)
    shown = _shown(tx, app, user_id, places)
    notified = store.told(tx, app.id, user_id, number)
    digest = notified["digest"] if notified else None
    pushes = store.pushes(tx, user_id, others, digest, MOST) if others else []
    similar = [] if places else store.alike(tx, app.id, user_id, number, MOST)
    wishes = preferences.of_many(tx, app, ids)
    telling = withholding.telling(tx, app, [(one, user_id) for one in others])
    return Evidence(
        app=app,
        user=user,
        typed=typed,
        number=number,
        places=places,
        similar=[(one, [row["user_id"] for row in store.holders(tx, app.id, one)]) for one in similar],
        removed=store.removed(tx, app.id, user_id, number, now - rate_limits.REMEMBERED_SECONDS),
        books=store.synced(tx, user_id),
        holders=holders,
        audiences={one: found.discoverable for one, found in wishes.items()},
        hiding=discoverable.hidden_by_number(tx, app, user_id, [number]),
        shown=[one for one in ids if one in shown],
        wishes={one: found.told for one, found in wishes.items()},
        silent=[one for one in others if (one, user_id) not in telling],
        notified=notified,
        announcements=store.facts(tx, others) if others else [],
        subscriptions=subscriptions.of_user(tx, user_id),
        wants=preferences.of(tx, app, user_id),
        pushes=pushes,
        zones=push_trace.time_zones(tx, pushes),
        names=names,
    )


def _shown(tx: Tx, app: App, user_id: int, places: Sequence[Row]) -> set[int]:
    """The users whom the API lists for the books that contain the number."""
    return {
        found
        for device in sorted({row["device"] for row in places})
        for found, *_ in books.registered(tx, app.id, user_id, device, discoverable.rules(app)).found
    }
