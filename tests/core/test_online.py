"""Which contacts are online, by who finds whom. On both databases."""

from collections.abc import Callable
from typing import Any

import pytest

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovery, online, preferences, rate_limits, users
from ringbook.model import App, Caller, Entry
from ringbook.store import users as store
from ringbook.store.db import Database

NOW = 1_800_000_000
HERE = "192.0.2.1"
LIMITS = Limits(permits=0, searches_per_minute=0, address_searches_per_minute=0)
ANN, BOB, EVE = "12025550101", "12025550102", "12025550103"


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "test", NOW)


def signed_up(db: Database, app: App, phone: str, seen_at: int = NOW) -> Caller:
    user = users.sign_up(
        db, LIMITS, app, {"login": f"user-{phone}", "password": "correct-horse", "phone": phone}, HERE, NOW
    )
    with db.write() as tx:
        store.mark_seen(tx, {user.id: seen_at})
    return Caller(app=app, user_id=user.id, is_guest=False, address=HERE)


def holds(db: Database, caller: Caller, *phones: str, device: str = "") -> None:
    discovery.upload(db, LIMITS, caller, [Entry(phone, "x") for phone in phones], device=device, now=NOW)


def seen(db: Database, caller: Caller, now: int = NOW, **page: int) -> list[int]:
    """The ids of the contacts who are online, which are as many as the count says."""
    found = [user.id for user in online.contacts(db, LIMITS, caller, **{"offset": 0, "limit": 100} | page, now=now)]
    assert page or online.count(db, LIMITS, caller, now) == len(found)
    return found


def prefers(db: Database, caller: Caller, discoverable: str) -> None:
    preferences.change(db, caller, {"discoverable": discoverable}, now=NOW)


def test_contacts_with_a_request_in_the_last_five_minutes_are_online(db: Database, app: App) -> None:
    ann, bob, eve = (signed_up(db, app, phone, NOW) for phone in (ANN, BOB, EVE))
    holds(db, ann, BOB)
    holds(db, ann, EVE, ANN, device="tablet")
    assert seen(db, ann) == sorted([bob.user_id, eve.user_id])
    with db.write() as tx:
        store.mark_seen(tx, {eve.user_id: NOW + 10})
    assert seen(db, ann, NOW + 300) == sorted([bob.user_id, eve.user_id])
    assert seen(db, ann, NOW + 301) == [eve.user_id]
    assert seen(db, ann, NOW + 311) == []


def test_nobody_else_is_shown_or_counted(db: Database, app: App) -> None:
    ann, bob = signed_up(db, app, ANN), signed_up(db, app, BOB)
    stranger = signed_up(db, applications.create(db, "other", NOW), EVE)
    holds(db, ann, EVE, "12025550199")
    holds(db, stranger, ANN)
    assert (seen(db, ann), seen(db, bob), seen(db, stranger)) == ([], [], [])


@pytest.mark.parametrize("settled", ["by the user", "by the application"])
@pytest.mark.parametrize("holds_back", [False, True])
@pytest.mark.parametrize("audience", ["everyone", "mutual", "nobody"])
def test_a_contact_is_shown_to_whoever_finds_the_contact(
    db: Database, app: App, audience: str, holds_back: bool, settled: str
) -> None:
    ann, bob = signed_up(db, app, ANN), signed_up(db, app, BOB)
    holds(db, ann, BOB)
    holds(db, bob, *([ANN] if holds_back else []))
    if settled == "by the user":
        prefers(db, bob, audience)
    else:
        prefers(db, ann, "everyone")
        changed = applications.change(db, app.id, "contact_joined_discoverable", audience)
        ann = Caller(app=changed, user_id=ann.user_id, is_guest=False, address=HERE)
    assert seen(db, ann) == ([bob.user_id] if audience == "everyone" or (audience == "mutual" and holds_back) else [])


@pytest.mark.parametrize("holds_back", [False, True])
@pytest.mark.parametrize("audience", ["everyone", "mutual", "nobody"])
def test_a_user_who_hides_does_not_see_those_from_whom_the_user_hides(
    db: Database, app: App, audience: str, holds_back: bool
) -> None:
    ann, bob = signed_up(db, app, ANN), signed_up(db, app, BOB)
    holds(db, ann, BOB)
    holds(db, bob, *([ANN] if holds_back else []))
    prefers(db, ann, audience)
    assert seen(db, ann) == ([bob.user_id] if audience == "everyone" or (audience == "mutual" and holds_back) else [])


def test_where_only_verified_numbers_count_others_are_not_online(db: Database, app: App) -> None:
    ann, bob = signed_up(db, app, ANN), signed_up(db, app, BOB)
    holds(db, ann, BOB)
    strict = applications.change(db, app.id, "require_verified_number", "on")
    ann = Caller(app=strict, user_id=ann.user_id, is_guest=False, address=HERE)
    assert seen(db, ann) == []
    with db.write() as tx:
        tx.run("UPDATE numbers SET verified_at = :now WHERE user_id = :id", now=NOW, id=bob.user_id)
    assert seen(db, ann) == [bob.user_id]


def test_pages_have_all_contacts_once(db: Database, app: App) -> None:
    ann, others = signed_up(db, app, ANN), [signed_up(db, app, f"120255501{n}") for n in range(10, 15)]
    holds(db, ann, *(f"120255501{n}" for n in range(10, 15)))
    pages = [seen(db, ann, offset=at, limit=2) for at in (0, 2, 4, 6)]
    assert pages == [sorted(one.user_id for one in others)[at : at + 2] for at in (0, 2, 4, 6)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda db, who, limits: online.count(db, limits, who, NOW),
        lambda db, who, limits: online.contacts(db, limits, who, offset=0, limit=1, now=NOW),
    ],
)
def test_it_is_charged_like_a_search(db: Database, app: App, ask: Callable[..., Any]) -> None:
    ann = signed_up(db, app, ANN)
    limits = Limits(searches_per_minute=2)
    ask(db, ann, limits)
    with rate_limits.search(db, limits, ann, NOW):
        pass
    with pytest.raises(errors.TooMany, match="Too many searches by this user"):
        ask(db, ann, limits)
