"""Why isn't she found? One user, one number, and every step between an upload and a push, in words.

    ask(db, user_id, typed, now)   everything that is known, read at one moment
    steps(known, now)              what it means, step by step, and what to do; pure

A step is `yes` (as it should be), `no` (here it ends), or `note` (it depends). An asker who is named is written down,
since the answer tells whether a number is in somebody's book; names and other numbers from there are given only to
whoever says so with `names`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from .. import errors, phone
from ..model import App, Subscription
from ..store import books, buckets, subscriptions, user_record
from ..store import diagnosis as store
from ..store.db import Database, Row, Tx
from . import applications, audit, limits, privacy, push_trace
from .audit import Actor

State = Literal["yes", "no", "note"]
MOST = 5
NEVER_KEPT = "pushes and facts are forgotten after RINGBOOK_PUSHES_KEPT_DAYS days"


class Step(Struct, frozen=True):
    """One step: what was looked at, how it stands, what was seen, and what to do ("" when nothing)."""

    what: str
    state: State
    seen: str
    todo: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """All steps; `found` says whether the user's app is shown somebody for this number."""

    user_id: int
    application_id: int
    found: bool
    verdict: str
    steps: list[Step]


class Known(Struct, frozen=True, kw_only=True):
    """What the database says, at one moment."""

    app: App
    user: Row
    typed: str
    number: int | None
    unread: str = ""
    held: Sequence[Row] = ()
    alike: Sequence[tuple[int, Sequence[int]]] = ()
    removed: bool = False
    synced: Sequence[Row] = ()
    holders: Sequence[Row] = ()
    shown: Sequence[int] = ()
    told: Row | None = None
    facts: Sequence[Row] = ()
    subscribed: Sequence[Subscription] = ()
    pushes: Sequence[Row] = ()
    names: bool = False


def ask(
    db: Database,
    user_id: int,
    typed: str,
    now: int,
    *,
    app_id: int | None = None,
    names: bool = False,
    by: Actor | None = None,
) -> Answer:
    """Every step for a user and the number that somebody else has, as it was typed.

    app_id   the user must belong to this application, when one is named
    names    also what the user calls the number, and other numbers in the user's books that end alike
    by       who asks, for the audit log
    Raises NotFound when there is no such user.
    """
    with db.read() as tx:
        user = user_record.user(tx, user_id)
    if not user or app_id not in (None, user["app_id"]):
        raise errors.NotFound(f"there is no user {user_id}" + (f" in application {app_id}" if app_id else ""))
    app = applications.get(db, user["app_id"])
    number, unread = _read(typed, app.settings.default_region)
    if number is not None:
        action: audit.Action = "contacts revealed" if names else "number looked for"
        audit.note(db, by, action, app_id=app.id, subject=f"user {user_id}", detail=phone.masked(number))
    known = Known(app=app, user=user, typed=typed, number=number, unread=unread, names=names)
    if number is not None:
        with db.read() as tx:
            known = _looked(tx, known, number, now)
    found = steps(known, now)
    return Answer(
        user_id=user_id,
        application_id=app.id,
        found=bool(known.shown),
        verdict=verdict(known, found),
        steps=found,
    )


def _read(typed: str, region: str) -> tuple[int | None, str]:
    try:
        return phone.read(typed, region), ""
    except phone.WrongLength:
        return None, f"it has fewer than {phone.MIN_DIGITS} or more than {phone.MAX_DIGITS} digits"
    except phone.Unreadable:
        return None, "it holds something else than digits and formatting"


def _looked(tx: Tx, known: Known, number: int, now: int) -> Known:
    app, user_id = known.app, known.user["id"]
    hashed = privacy.hashed(app, number)
    holders = store.holders(tx, app.id, number)
    ids = [row["user_id"] for row in holders]
    others = [one for one in ids if one != user_id]
    held = store.in_books(tx, user_id, number)
    shown = {
        one
        for device in sorted({row["device"] for row in held})
        for one, _ in books.registered(tx, user_id, device, proven=app.verified_only)
    }
    alike = [] if held else store.alike(tx, user_id, number, MOST)
    return Known(
        app=app,
        user=known.user,
        typed=known.typed,
        number=number,
        held=held,
        alike=[(one, [row["user_id"] for row in store.holders(tx, app.id, one)]) for one in alike],
        removed=bool(buckets.removed_among(tx, user_id, [hashed], now - limits.REMEMBERED_SECONDS)),
        synced=store.synced(tx, user_id),
        holders=holders,
        shown=[one for one in ids if one in shown],
        told=store.told(tx, user_id, hashed),
        facts=store.facts(tx, others) if others else [],
        subscribed=subscriptions.of_user(tx, user_id),
        pushes=store.pushes(tx, user_id, others, MOST) if others else [],
        names=known.names,
    )


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def steps(known: Known, now: int) -> list[Step]:
    """What it means. After what cannot be read there is nothing to look at."""
    looks: list[Callable[[Known], Step]] = [_as_read]
    if known.number is not None:
        looks += [_in_a_book, _registered, _proven, _found, _joined, _told, _subscription]
    found = [Step("as typed", "yes", known.typed), *(look(known) for look in looks)]
    return found if known.number is None else [*found, _push(known, now)]


def verdict(known: Known, found: Sequence[Step]) -> str:
    """The answer in a sentence."""
    if known.shown:
        who = _users(known.shown)
        pushed = "" if known.told else "; the user was not told of it by a push"
        return f"found: the app of user {known.user['id']} is shown {who}{pushed}"
    first = next((step for step in found if step.state == "no"), None)
    return f"not found: {first.seen}" if first else "not found"


def _as_read(known: Known) -> Step:
    region = known.app.settings.default_region
    how = (
        f"with the application's default_region {region}" if region else "without a default_region: digits match digits"
    )
    if known.number is None:
        return Step("as read", "no", known.unread, "give the number with + and its country code")
    country = phone.region_of(known.number)
    seen = f"{phone.digits(known.number)} ({country or 'of no country that is known'}), {how}"
    todo = "if that is not the number that was meant, write it with + and the country code, or set default_region"
    return Step("as read", "yes" if country else "note", seen, "" if country else todo)


def _in_a_book(known: Known) -> Step:
    if known.held:
        return Step("in an address book", "yes", "; ".join(_place(row, known) for row in known.held))
    if known.alike:
        seen = "no, but a number that ends with the same digits is: " + "; ".join(
            _other(one, known) for one in known.alike
        )
        todo = "one of the two lacks its country: let apps write + and the country code, or set default_region"
        return Step("in an address book", "no", seen, todo)
    if known.removed:
        return Step("in an address book", "no", "no more: the app has removed it within the last 30 days")
    filled = [row for row in known.synced if row["size"]]
    if not filled:
        seen = "no: the user has no contacts here"
        return Step("in an address book", "no", seen, "the app uploads them with POST /address_book; did that fail?")
    sizes = ", ".join(f"{_device(row)}: {row['size']}, {_at(row['synced_at'])}" for row in filled)
    return Step("in an address book", "no", f"in none of the user's books ({sizes})", "let the app upload it again")


def _place(row: Row, known: Known) -> str:
    name = f" as “{row['name']}”" if known.names else ""
    typed = f", typed {row['typed']}" if row["typed"] else ""
    return f"in {_device(row)}{name}{typed}, last synced {_at(row['synced_at'])}"


def _other(found: tuple[int, Sequence[int]], known: Known) -> str:
    number, ids = found
    digits = phone.digits(number)
    said = digits if known.names else f"one of {len(digits)} digits, {_country(number)}"
    return f"{said} (registered: {_users(ids)})" if ids else said


def _country(number: int) -> str:
    country = phone.region_of(number)
    return f"of {country}" if country else "of no country that is known"


def _registered(known: Known) -> Step:
    if not known.holders:
        todo = "she has to sign up, or to put the number into her profile, spelled so that it is read like this"
        return Step("registered", "no", "no user of this application answers to the number", todo)
    seen = "; ".join(
        f"user {row['user_id']}{' (the same user)' if row['user_id'] == known.user['id'] else ''},"
        f" since {_at(row['created_at'])}"
        for row in known.holders
    )
    return Step("registered", "yes", seen)


def _proven(known: Known) -> Step:
    rule = "only proven numbers count here" if known.app.verified_only else "unproven numbers count here, too"
    setting = f"{rule} (require_verified_number {known.app.settings.require_verified_number})"
    if not known.holders:
        return Step("proven", "note", f"there is nobody who could have; {setting}")
    proven = [row["user_id"] for row in known.holders if row["verified_at"] is not None]
    if proven:
        return Step("proven", "yes", f"by {_users(proven)}; {setting}")
    if known.app.verified_only:
        todo = "she signs in by Firebase or a one-time code; or `ringbook users give-number` stands in for the proof"
        return Step("proven", "no", f"nobody has proven it, and {setting}", todo)
    return Step("proven", "yes", f"nobody has proven it; {setting}")


def _found(known: Known) -> Step:
    if known.shown:
        return Step("found by the app", "yes", f"GET /address_book/registered_users lists {_users(known.shown)}")
    seen = "GET /address_book/registered_users does not list anybody for this number"
    return Step("found by the app", "no", seen, "mend the first step above that says no")


def _joined(known: Known) -> Step:
    if not known.app.settings.contact_joined_enabled:
        app_id = known.app.id
        todo = f"switch it on: `ringbook app set {app_id} contact_joined_enabled true`; it announces nobody afterwards"
        return Step("announced", "no", "contact_joined_enabled is off: nobody is told who joins", todo)
    others = [row for row in known.holders if row["user_id"] != known.user["id"]]
    if not others:
        return Step("announced", "note", "there is nobody to announce")
    if known.facts:
        said = [
            f"user {row['user_id']} gained {'a proven' if row['verified'] else 'an unproven'} number"
            f" {_at(row['created_at'])}: {row['result'] or f'waits to be told: {push_trace.NO_WORKER}'}"
            for row in known.facts[:MOST]
        ]
        return Step("announced", "yes", "; ".join(said))
    if all(row["imported_at"] is not None for row in others):
        return Step("announced", "no", "imported users are never announced")
    seen = "nothing is remembered: the number was gained while the setting was off, or long ago"
    return Step("announced", "note", seen, NEVER_KEPT)


def _told(known: Known) -> Step:
    if known.told:
        how = "proven" if known.told["verified"] else "not proven then"
        return Step(
            "told", "yes", f"the user was told of this number {_at(known.told['at'])} ({how}); once is for ever"
        )
    if not known.held:
        return Step("told", "no", "never: the number is in no book of the user's")
    seen = "the user was never told of this number"
    if not known.holders:
        return Step("told", "no", seen)
    todo = "a contact who was there before the number came into the book is found, but not announced"
    return Step("told", "no" if not known.facts else "note", seen, todo)


def _subscription(known: Known) -> Step:
    counts = Counter(f"{one.channel} {one.environment}" for one in known.subscribed)
    has = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    stands = push_trace.hints(known.app, known.subscribed, [])
    own = [hint for hint in stands if hint.startswith("the user has")]
    if own:
        return Step("device", "no", has or "none", own[0])
    printed = [hint for hint in stands if hint.startswith("push_console")]
    return Step("device", "note" if printed else "yes", has, printed[0] if printed else "")


def _push(known: Known, now: int) -> Step:
    if not known.pushes:
        seen = "no push about her to this user is remembered"
        return Step("push", "note" if known.told else "no", seen, NEVER_KEPT if known.told else "")
    pushes = [push_trace.push(row, now) for row in known.pushes]
    seen = "; ".join(
        f"push {one.id} by {one.channel}: {one.outcome}{f' ({one.reason})' if one.reason else ''},"
        f" {one.settled_at or one.created_at}"
        for one in pushes
    )
    accepted = any(one.outcome == "accepted" for one in pushes)
    waits = any(one.outcome == push_trace.WAITING for one in pushes)
    return Step("push", "yes" if accepted else "note" if waits else "no", seen, pushes[0].advice)


def _device(row: Row) -> str:
    return f"the book of device {row['device']}" if row["device"] else "the book of all devices"


def _users(ids: Sequence[int]) -> str:
    return ("users " if len(ids) > 1 else "user ") + ", ".join(map(str, ids))


def _at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
