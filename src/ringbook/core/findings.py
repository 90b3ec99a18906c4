"""The findings of a diagnosis: a value of each step for programs, and its sentences for people. Pure.

Evidence                     the state of the database at one moment
steps(evidence, now)         the steps of the diagnosis
verdict(evidence, found)     the result in one sentence
FINDINGS                     the state and the sentences of each finding
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from .. import phone
from ..model import App, Subscription
from ..preferences import Audience, Preferences
from ..store.db import Row
from . import push_trace
from .push_trace import Obstacle

State = Literal["yes", "no", "note"]
MOST = 5  # similar numbers, announcements and pushes that are listed


class Finding(Enum):
    """The result of a step. Code compares findings; the sentences in `FINDINGS` are for people only."""

    TYPED = "typed"
    READ = "read"
    NO_COUNTRY = "no country"
    WRONG_LENGTH = "wrong length"
    NOT_DIGITS = "not digits"
    IN_BOOK = "in book"
    SIMILAR_IN_BOOK = "similar in book"
    REMOVED = "removed"
    NO_CONTACTS = "no contacts"
    NOT_IN_BOOK = "not in book"
    REGISTERED = "registered"
    NOT_REGISTERED = "not registered"
    VERIFIED = "verified"
    UNVERIFIED_COUNTS = "unverified counts"
    NOT_VERIFIED = "not verified"
    NOBODY_TO_VERIFY = "nobody to verify"
    MAY_BE_FOUND = "may be found"
    HIDES = "hides"
    NOBODY_TO_FIND = "nobody to find"
    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    ANNOUNCED = "announced"
    ANNOUNCING_OFF = "announcing off"
    NOBODY_TO_ANNOUNCE = "nobody to announce"
    IMPORTED = "imported"
    NO_ANNOUNCEMENT = "no announcement"
    NOT_TOLD = "not told"
    NOTIFIED = "notified"
    NEVER_IN_BOOK = "never in book"
    NOBODY_TO_NOTIFY_OF = "nobody to notify of"
    NOT_NOTIFIED = "not notified"
    NOT_YET_NOTIFIED = "not yet notified"
    REACHABLE = "reachable"
    NOT_REACHABLE = "not reachable"
    PRINTED = "printed"
    PUSH_ACCEPTED = "push accepted"
    PUSH_WAITING = "push waiting"
    PUSH_FAILED = "push failed"
    NO_PUSH = "no push"
    NO_PUSH_ANY_MORE = "no push any more"


class Text(NamedTuple):
    """The step, its state, the observation, and what to do ("" when nothing); `{…}` are values of the finding."""

    what: str
    state: State
    seen: str
    todo: str = ""


NOT_KEPT = "pushes and announcements are deleted after RINGBOOK_PUSHES_KEPT_DAYS days"
NUMBER_READ = "{digits} ({country}), {region}"
WITH_COUNTRY = "give the number with + and its country code"
NEVER_NOTIFIED = "the user was never notified of this number"
CONTACT_BEFORE = "a contact who was registered before the number came into the book is found, but not announced"
PUSHES = "{pushes}"

FINDINGS: dict[Finding, Text] = {
    Finding.TYPED: Text("as typed", "yes", "{typed}"),
    Finding.READ: Text("as read", "yes", NUMBER_READ),
    Finding.NO_COUNTRY: Text(
        "as read",
        "note",
        NUMBER_READ,
        "if that is not the number you mean, write it with + and the country code, or set default_region",
    ),
    Finding.WRONG_LENGTH: Text(
        "as read",
        "no",
        f"it has fewer than {phone.MIN_DIGITS} or more than {phone.MAX_DIGITS} digits",
        WITH_COUNTRY,
    ),
    Finding.NOT_DIGITS: Text("as read", "no", "it has characters other than digits and formatting", WITH_COUNTRY),
    Finding.IN_BOOK: Text("in an address book", "yes", "{places}"),
    Finding.SIMILAR_IN_BOOK: Text(
        "in an address book",
        "no",
        "no, but a number that ends with the same digits is: {similar}",
        "one of the two lacks its country: let apps write + and the country code, or set default_region",
    ),
    Finding.REMOVED: Text("in an address book", "no", "not any more: the app removed it within the last 30 days"),
    Finding.NO_CONTACTS: Text(
        "in an address book",
        "no",
        "no: the user has no contacts here",
        "the app uploads them with POST /address_book; did that fail?",
    ),
    Finding.NOT_IN_BOOK: Text(
        "in an address book", "no", "in none of the user's books ({books})", "let the app upload it again"
    ),
    Finding.REGISTERED: Text("registered", "yes", "{holders}"),
    Finding.NOT_REGISTERED: Text(
        "registered",
        "no",
        "no user of this application has the number",
        "the contact has to sign up, or to put the number into the profile, with + and the country code",
    ),
    Finding.VERIFIED: Text("verified", "yes", "by {users}; {rule}"),
    Finding.UNVERIFIED_COUNTS: Text("verified", "yes", "nobody has verified it; {rule}"),
    Finding.NOT_VERIFIED: Text(
        "verified",
        "no",
        "nobody has verified it, and {rule}",
        "the contact signs in by Firebase or a one-time code; or use `ringbook users give-number` instead",
    ),
    Finding.NOBODY_TO_VERIFY: Text("verified", "note", "there is no user who could verify it; {rule}"),
    Finding.MAY_BE_FOUND: Text("may be found", "yes", "{audiences}"),
    Finding.HIDES: Text(
        "may be found",
        "no",
        "{audiences}",
        "nothing: the contact decides it (discoverable), or else the application by contact_joined_discoverable",
    ),
    Finding.NOBODY_TO_FIND: Text("may be found", "note", "there is nobody to find"),
    Finding.SHOWN: Text("found by the app", "yes", "GET /address_book/registered_users lists {users}"),
    Finding.NOT_SHOWN: Text(
        "found by the app",
        "no",
        "GET /address_book/registered_users does not list anybody for this number",
        "the first step above that says no is the reason",
    ),
    Finding.ANNOUNCED: Text("announced", "yes", "{announcements}"),
    Finding.ANNOUNCING_OFF: Text(
        "announced",
        "no",
        "contact_joined_enabled is off: nobody is notified when a contact joins",
        "switch it on: `ringbook app set {app_id} contact_joined_enabled true`;"
        " users who joined before are not announced",
    ),
    Finding.NOBODY_TO_ANNOUNCE: Text("announced", "note", "there is nobody to announce"),
    Finding.IMPORTED: Text("announced", "no", "imported users are never announced"),
    Finding.NO_ANNOUNCEMENT: Text(
        "announced",
        "note",
        "there is no announcement: the user got the number while the setting was off, or long ago",
        NOT_KEPT,
    ),
    Finding.NOT_TOLD: Text(
        "announced",
        "no",
        "{wishes}",
        "nothing: the contact decides it (announce, discoverable), or else the application",
    ),
    Finding.NOTIFIED: Text(
        "notified", "yes", "the user was notified of this number {at} ({verified}), which happens only once"
    ),
    Finding.NEVER_IN_BOOK: Text("notified", "no", "never: the number is in none of the user's books"),
    Finding.NOBODY_TO_NOTIFY_OF: Text("notified", "no", NEVER_NOTIFIED),
    Finding.NOT_NOTIFIED: Text("notified", "no", NEVER_NOTIFIED, CONTACT_BEFORE),
    Finding.NOT_YET_NOTIFIED: Text("notified", "note", NEVER_NOTIFIED, CONTACT_BEFORE),
    Finding.REACHABLE: Text("device", "yes", "{subscriptions}"),
    Finding.NOT_REACHABLE: Text("device", "no", "{subscriptions}", "{obstacle}"),
    Finding.PRINTED: Text("device", "note", "{subscriptions}", "{obstacle}"),
    Finding.PUSH_ACCEPTED: Text("push", "yes", PUSHES, "{advice}"),
    Finding.PUSH_WAITING: Text("push", "note", PUSHES, "{advice}"),
    Finding.PUSH_FAILED: Text("push", "no", PUSHES, "{advice}"),
    Finding.NO_PUSH: Text("push", "no", "there is no push to this user about the contact"),
    Finding.NO_PUSH_ANY_MORE: Text("push", "note", "there is no push to this user about the contact", NOT_KEPT),
}


OF_PUSH = {"announced", "notified", "device", "push"}


class Step(Struct, frozen=True):
    """One step: `yes` (as it should be), `no` (the contact is not found because of it) or `note` (it depends).

    finding   a value of `Finding`, for programs
    seen      what the database says
    todo      what to do, "" when nothing
    """

    finding: str
    what: str
    state: State
    seen: str
    todo: str = ""

    @property
    def is_of_push(self) -> bool:
        """Whether it concerns the push about the contact, and not whether the contact is found."""
        return self.what in OF_PUSH


class Evidence(Struct, frozen=True, kw_only=True):
    """The state of the database at one moment.

    number         None when `typed` cannot be read; `unreadable` says why
    places         the books that hold the number
    similar        numbers in the user's books that end with the same digits, with the users who have them
    removed        whether the app removed the number lately
    books          the user's books
    holders        the users who have the number
    audiences      who finds each of them by the number
    hiding         those of them whom the user does not find because of that
    shown          those of them whom the user's app is shown
    wishes         who of the holders of the number each of them wants to be told
    silent         those of them who do not want this user to be told
    notified       when the user was notified of the number
    announcements  of other users with this number
    wants          the user's preferences
    pushes         to the user about them
    zones          the user's time zone, by id, where a push waits for quiet hours
    """

    app: App
    user: Row
    typed: str
    number: int | None
    unreadable: Finding = Finding.NOT_DIGITS
    places: Sequence[Row] = ()
    similar: Sequence[tuple[int, Sequence[int]]] = ()
    removed: bool = False
    books: Sequence[Row] = ()
    holders: Sequence[Row] = ()
    audiences: Mapping[int, Audience] = {}
    hiding: Collection[int] = ()
    shown: Sequence[int] = ()
    wishes: Mapping[int, Audience] = {}
    silent: Collection[int] = ()
    notified: Row | None = None
    announcements: Sequence[Row] = ()
    subscriptions: Sequence[Subscription] = ()
    wants: Preferences | None = None
    pushes: Sequence[Row] = ()
    zones: Mapping[int, str] = {}
    names: bool = False


def steps(evidence: Evidence, now: int) -> list[Step]:
    """The steps in order. A number that cannot be read ends them."""
    typed = _step(Finding.TYPED, typed=evidence.typed)
    if evidence.number is None:
        return [typed, _step(evidence.unreadable)]
    looks: list[Callable[[Evidence], Step]] = [
        _number_read,
        _in_book,
        _registered,
        _verified,
        _may_be_found,
        _found,
        lambda evidence: _announced(evidence, now),
        _notified,
        _device,
    ]
    return [typed, *(look(evidence) for look in looks), _push(evidence, now)]


def verdict(evidence: Evidence, found: Sequence[Step]) -> str:
    """The result in one sentence."""
    if evidence.shown:
        pushed = "" if evidence.notified else "; the user was not notified by a push"
        return f"found: the app of user {evidence.user['id']} is shown {_users(evidence.shown)}{pushed}"
    first = next((step for step in found if step.state == "no"), None)
    return f"not found: {first.seen}" if first else "not found"


def _step(finding: Finding, **values: Any) -> Step:
    text = FINDINGS[finding]
    return Step(finding.value, text.what, text.state, text.seen.format(**values), text.todo.format(**values))


def _number_read(evidence: Evidence) -> Step:
    assert evidence.number is not None
    region = evidence.app.settings.default_region
    country = phone.region_of(evidence.number)
    return _step(
        Finding.READ if country else Finding.NO_COUNTRY,
        digits=phone.digits(evidence.number),
        country=country or "of no known country",
        region=f"with the application's default_region {region}" if region else "without a default_region",
    )


def _in_book(evidence: Evidence) -> Step:
    if evidence.places:
        return _step(Finding.IN_BOOK, places="; ".join(_place(row, evidence) for row in evidence.places))
    if evidence.similar:
        return _step(Finding.SIMILAR_IN_BOOK, similar="; ".join(_similar(one, evidence) for one in evidence.similar))
    if evidence.removed:
        return _step(Finding.REMOVED)
    filled = [row for row in evidence.books if row["size"]]
    if not filled:
        return _step(Finding.NO_CONTACTS)
    sizes = ", ".join(f"{_book(row)}: {row['size']}, {_at(row['synced_at'])}" for row in filled)
    return _step(Finding.NOT_IN_BOOK, books=sizes)


def _place(row: Row, evidence: Evidence) -> str:
    name = f" as “{row['name']}”" if evidence.names else ""
    typed = f", typed {row['typed']}" if row["typed"] else ""
    return f"in {_book(row)}{name}{typed}, last synced {_at(row['synced_at'])}"


def _similar(found: tuple[int, Sequence[int]], evidence: Evidence) -> str:
    number, ids = found
    digits = phone.digits(number)
    shown = digits if evidence.names else f"one of {len(digits)} digits, {_country(number)}"
    return f"{shown} (registered: {_users(ids)})" if ids else shown


def _country(number: int) -> str:
    country = phone.region_of(number)
    return f"of {country}" if country else "of no known country"


def _registered(evidence: Evidence) -> Step:
    if not evidence.holders:
        return _step(Finding.NOT_REGISTERED)
    holders = "; ".join(
        f"user {row['user_id']}{' (the same user)' if row['user_id'] == evidence.user['id'] else ''},"
        f" since {_at(row['created_at'])}"
        for row in evidence.holders
    )
    return _step(Finding.REGISTERED, holders=holders)


def _verified(evidence: Evidence) -> Step:
    counting = "only verified numbers count" if evidence.app.verified_only else "unverified numbers count, too"
    rule = f"{counting} (require_verified_number {evidence.app.settings.require_verified_number})"
    if not evidence.holders:
        return _step(Finding.NOBODY_TO_VERIFY, rule=rule)
    verified = [row["user_id"] for row in evidence.holders if row["verified_at"] is not None]
    if verified:
        return _step(Finding.VERIFIED, users=_users(verified), rule=rule)
    return _step(Finding.NOT_VERIFIED if evidence.app.verified_only else Finding.UNVERIFIED_COUNTS, rule=rule)


def _may_be_found(evidence: Evidence) -> Step:
    if not evidence.holders:
        return _step(Finding.NOBODY_TO_FIND)
    ids = [row["user_id"] for row in evidence.holders]
    listed = "; ".join(_audience(user_id, evidence) for user_id in ids)
    return _step(Finding.HIDES if set(ids) <= set(evidence.hiding) else Finding.MAY_BE_FOUND, audiences=listed)


def _audience(user_id: int, evidence: Evidence) -> str:
    verified = " verified" if evidence.app.verified_only else ""
    sentences: dict[Audience, str] = {
        "everyone": "by everyone who has the number",
        "mutual": f"only by users whose{verified} number is in an address book of user {user_id} too",
        "nobody": "by nobody",
    }
    missing = f", and user {user_id} has no{verified} number of user {evidence.user['id']}"
    hides = missing if user_id in evidence.hiding and evidence.audiences[user_id] == "mutual" else ""
    return f"user {user_id} wants to be found {sentences[evidence.audiences[user_id]]}{hides}"


def _found(evidence: Evidence) -> Step:
    return _step(Finding.SHOWN, users=_users(evidence.shown)) if evidence.shown else _step(Finding.NOT_SHOWN)


def _announced(evidence: Evidence, now: int) -> Step:
    if not evidence.app.settings.contact_joined_enabled:
        return _step(Finding.ANNOUNCING_OFF, app_id=evidence.app.id)
    others = [row for row in evidence.holders if row["user_id"] != evidence.user["id"]]
    if not others:
        return _step(Finding.NOBODY_TO_ANNOUNCE)
    if {row["user_id"] for row in others} <= set(evidence.silent):
        return _step(Finding.NOT_TOLD, wishes="; ".join(_wish(row["user_id"], evidence) for row in others))
    if evidence.announcements:
        listed = "; ".join(_announcement(row, now) for row in evidence.announcements[:MOST])
        return _step(Finding.ANNOUNCED, announcements=listed)
    if all(row["imported_at"] is not None for row in others):
        return _step(Finding.IMPORTED)
    return _step(Finding.NO_ANNOUNCEMENT)


def _wish(user_id: int, evidence: Evidence) -> str:
    if evidence.wishes[user_id] == "nobody":
        return f"user {user_id} wants nobody to be told"
    verified = " verified" if evidence.app.verified_only else ""
    return (
        f"user {user_id} wants only users to be told whose{verified} number is in an address book of user {user_id}"
        f" too, and user {user_id} has no{verified} number of user {evidence.user['id']}"
    )


def _announcement(row: Row, now: int) -> str:
    number = "a verified" if row["verified"] else "an unverified"
    return f"user {row['user_id']} gained {number} number {_at(row['created_at'])}: {push_trace.result(row, now)}"


def _notified(evidence: Evidence) -> Step:
    if evidence.notified:
        verified = "verified" if evidence.notified["verified"] else "not verified then"
        return _step(Finding.NOTIFIED, at=_at(evidence.notified["at"]), verified=verified)
    if not evidence.places:
        return _step(Finding.NEVER_IN_BOOK)
    if not evidence.holders:
        return _step(Finding.NOBODY_TO_NOTIFY_OF)
    return _step(Finding.NOT_YET_NOTIFIED if evidence.announcements else Finding.NOT_NOTIFIED)


def _device(evidence: Evidence) -> Step:
    counts = Counter(f"{one.channel} {one.environment}" for one in evidence.subscriptions)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
    obstacles = push_trace.obstacles(evidence.app, evidence.subscriptions, [], evidence.wants)
    for obstacle in obstacles:
        if obstacle in push_trace.OF_RECIPIENT:
            return _step(Finding.NOT_REACHABLE, subscriptions=listed, obstacle=push_trace.OBSTACLES[obstacle])
    if Obstacle.PRINTED in obstacles:
        return _step(Finding.PRINTED, subscriptions=listed, obstacle=push_trace.OBSTACLES[Obstacle.PRINTED])
    return _step(Finding.REACHABLE, subscriptions=listed)


def _push(evidence: Evidence, now: int) -> Step:
    if not evidence.pushes:
        return _step(Finding.NO_PUSH_ANY_MORE if evidence.notified else Finding.NO_PUSH)
    pushes = [push_trace.push(row, now, evidence.zones) for row in evidence.pushes]
    outcomes = {one.outcome for one in pushes}
    finding = Finding.PUSH_FAILED
    if push_trace.ACCEPTED in outcomes:
        finding = Finding.PUSH_ACCEPTED
    elif push_trace.WAITING in outcomes:
        finding = Finding.PUSH_WAITING
    return _step(finding, pushes="; ".join(_outcome(one) for one in pushes), advice=pushes[0].advice)


def _outcome(one: push_trace.Push) -> str:
    reason = f" ({one.reason})" if one.reason else ""
    return f"push {one.id} by {one.channel}: {one.outcome}{reason}, {one.settled_at or one.created_at}"


def _book(row: Row) -> str:
    return f"the book of device {row['device']}" if row["device"] else "the book of all devices"


def _users(ids: Sequence[int]) -> str:
    return ("users " if len(ids) > 1 else "user ") + ", ".join(map(str, ids))


def _at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
