"""Users: their fields, sign-up, changes and erasure. On both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sealed import bucket, subscription

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovery, passwords, proofs, sessions, users
from ringbook.core.sessions import Credentials, Opened
from ringbook.model import GUEST_SECONDS, App, Caller, Entry, User
from ringbook.store import codes, subscriptions
from ringbook.store import users as store
from ringbook.store.db import Database

NOW = 1_800_000_000
LIMITS = Limits()
HERE, PASSWORD = "192.0.2.1", "correct-horse"
EVERYTHING: users.Fields = {
    "login": "ann",
    "email": "ann@example.com",
    "password": PASSWORD,
    "phone": "+1 (202) 555-0101",
    "full_name": "Ann Example",
    "external_id": "x-1",
    "external_user_id": 5,
    "facebook_id": "fb1",
    "twitter_id": "tw1",
    "website": "https://example.com",
    "avatar": "a.png",
    "custom_data": "{}",
    "timezone": -300,
    "tag_list": ["vip", "climbing"],
}


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "test", NOW)


def signed_up(db: Database, app: App, login: str = "ann", now: int = NOW, **fields: Any) -> User:
    given: Any = {"login": login, "password": PASSWORD, **fields}
    return users.sign_up(db, LIMITS, app, given, HERE, now)


def caller(app: App, user: User) -> Caller:
    return Caller(app=app, user_id=user.id, is_guest=user.is_guest, address=HERE)


def changed(db: Database, app: App, user: User, now: int = NOW + 60, *, token: str = "", **fields: Any) -> User:
    given: Any = fields
    return users.update(db, LIMITS, caller(app, user), user.id, given, session=sessions.digest(token), now=now)


def signed_in(db: Database, app: App, password: str = PASSWORD, login: str = "ann", now: int = NOW) -> Opened:
    return sessions.open_user(db, LIMITS, app, Credentials(login, "", password), HERE, ts=now, nonce=0, now=now)


# ── signing up ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_user_is_what_was_said(db: Database, app: App) -> None:
    user = users.sign_up(db, LIMITS, app, EVERYTHING, HERE, NOW)
    said = {name: value for name, value in EVERYTHING.items() if name not in ("password", "tag_list")}
    assert {name: getattr(user, name) for name in said} == said
    assert (user.user_tags, user.is_guest, user.created_at, user.updated_at) == ("vip,climbing", False, NOW, NOW)
    assert (user.app_id, user.last_request_at) == (app.id, None)


@pytest.mark.parametrize(
    "said, field",
    [
        ({"password": PASSWORD}, ""),
        ({"login": "  ", "password": PASSWORD}, ""),
        ({"login": "ann"}, "password"),
        ({"login": "ann", "password": "1234567"}, "password"),
    ],
)
def test_login_or_email_and_a_password_are_needed(db: Database, app: App, said: users.Fields, field: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        users.sign_up(db, LIMITS, app, said, HERE, NOW)
    assert refused.value.field == field


@pytest.mark.parametrize("field", ["login", "email", "external_user_id", "facebook_id"])
def test_a_taken_value_is_refused_by_name(db: Database, app: App, field: str) -> None:
    users.sign_up(db, LIMITS, app, EVERYTHING, HERE, NOW)
    taken: Any = {"login": "bob", "password": PASSWORD, field: EVERYTHING[field]}  # type: ignore[literal-required]
    with pytest.raises(errors.Conflict, match="has already been taken") as refused:
        users.sign_up(db, LIMITS, app, taken, HERE, NOW)
    assert refused.value.field == field


def test_two_who_sign_up_with_one_login_at_once_become_one_user(db: Database, app: App) -> None:
    def tried(_: int) -> str:
        try:
            return str(signed_up(db, app).id)
        except errors.Conflict as refused:
            return refused.field

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(tried, range(4)))
    assert results.count("login") == 3


def test_a_phone_may_be_anything_and_anybodys_but_only_a_number_is_answered_to(db: Database, app: App) -> None:
    one, other = signed_up(db, app, phone="+1 202 555 0101"), signed_up(db, app, "bob", phone="1-202-555-0101")
    odd = signed_up(db, app, "cat", phone="ask me")
    with db.read() as tx:
        assert [store.numbers_of(tx, user.id) for user in (one, other, odd)] == [[12025550101], [12025550101], []]


def test_the_region_of_the_application_reads_a_national_phone(db: Database, app: App) -> None:
    app = applications.change(db, app.id, "default_region", "GB")
    user = signed_up(db, app, phone="07700 900123")
    with db.read() as tx:
        assert store.numbers_of(tx, user.id) == [447700900123]
    assert user.phone == "07700 900123"


def test_new_accounts_are_counted_for_their_address_taken_or_not(db: Database, app: App) -> None:
    limits = Limits(new_accounts_per_hour=3)

    def sign_up(login: str, address: str = HERE) -> User:
        return users.sign_up(db, limits, app, {"login": login, "password": PASSWORD}, address, NOW)

    sign_up("ann")
    with pytest.raises(errors.Conflict):
        sign_up("ann")
    users.guest(db, limits, app, "", HERE, NOW)
    with pytest.raises(errors.TooMany) as refused:
        sign_up("bob")
    assert refused.value.wait_seconds == 1200
    sign_up("bob", "192.0.2.2")
    with pytest.raises(errors.Invalid):
        sign_up("x", "192.0.2.3")  # a mistake is no account
    assert [sign_up(f"dan{number}", "192.0.2.3").login for number in range(3)]


def test_a_guest_is_there_for_a_day_without_a_number_or_a_password(db: Database, app: App) -> None:
    guest = users.guest(db, LIMITS, app, " Olof ", HERE, NOW)
    assert (guest.is_guest, guest.phone, guest.full_name) == (True, "", "Olof")
    assert guest.login and guest.login.startswith("guest_login_") and len(guest.login) == 44
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, "", guest.login)
    staying = signed_up(db, app)
    assert users.erase_guests(db, NOW + GUEST_SECONDS - 1, 10) == 0
    assert users.erase_guests(db, NOW + GUEST_SECONDS, 10) == 1
    with db.read() as tx:
        assert store.by_ids(tx, app.id, [guest.id, staying.id]).keys() == {staying.id}


def test_guests_are_erased_in_batches(db: Database, app: App) -> None:
    for _ in range(3):
        users.guest(db, LIMITS, app, "", HERE, NOW)
    assert [users.erase_guests(db, NOW + GUEST_SECONDS, 2) for _ in range(3)] == [2, 1, 0]


# ── changing oneself ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_is_said_changes(db: Database, app: App) -> None:
    before = users.sign_up(db, LIMITS, app, EVERYTHING, HERE, NOW)
    after = changed(db, app, before, full_name="Ann Renamed", avatar="", tag_list=["red"])
    kept = set(User.__struct_fields__) - {"full_name", "avatar", "user_tags", "updated_at"}
    assert {name for name in kept if getattr(before, name) != getattr(after, name)} == set()
    assert (after.full_name, after.avatar, after.user_tags, after.updated_at) == ("Ann Renamed", None, "red", NOW + 60)
    with db.read() as tx:
        assert tx.tuples("SELECT tag FROM tags") == [("red",)]


@pytest.mark.parametrize(
    "phone, numbers", [("+44 7700 900123", [447700900123]), ("12345", []), ("by the stairs", []), (None, [])]
)
def test_a_changed_phone_is_read_again(db: Database, app: App, phone: str | None, numbers: list[int]) -> None:
    user = signed_up(db, app, phone="+1 202 555 0101")
    assert changed(db, app, user, phone=phone).phone == phone
    with db.read() as tx:
        assert store.numbers_of(tx, user.id) == numbers


def test_nobody_changes_or_deletes_anybody_else(db: Database, app: App) -> None:
    ann, bob = signed_up(db, app), signed_up(db, app, "bob", full_name="Bob")
    with pytest.raises(errors.Forbidden):
        users.update(db, LIMITS, caller(app, ann), bob.id, {"full_name": "Eve"}, session=b"", now=NOW)
    with pytest.raises(errors.Forbidden):
        users.leave(db, caller(app, ann), bob.id)
    with db.read() as tx:
        assert store.by_id(tx, app.id, bob.id) == bob


def test_a_user_keeps_a_login_or_an_email(db: Database, app: App) -> None:
    user = signed_up(db, app, email="ann@example.com")
    assert changed(db, app, user, login=None).login is None
    with pytest.raises(errors.Invalid, match="login or email"):
        changed(db, app, user, email="")


@pytest.mark.parametrize("field, value", [("login", "BOB"), ("email", "Bob@example.com"), ("facebook_id", "fb2")])
def test_a_change_to_what_somebody_has_is_refused(db: Database, app: App, field: str, value: str) -> None:
    signed_up(db, app, "bob", email="bob@example.com", facebook_id="fb2")
    ann = signed_up(db, app)
    with pytest.raises(errors.Conflict, match="has already been taken") as refused:
        changed(db, app, ann, **{field: value})
    assert refused.value.field == field
    assert changed(db, app, ann, login="ANN").login == "ANN"  # one's own, in another case


@pytest.mark.parametrize("old", [None, "", "wrong-horse"])
def test_a_new_password_needs_the_old_one(db: Database, app: App, old: str | None) -> None:
    ann = signed_up(db, app)
    with pytest.raises(errors.Invalid) as refused:
        changed(db, app, ann, password="battery-staple", old_password=old, full_name="Eve")
    assert refused.value.field == "old_password"
    assert signed_in(db, app).user == with_last_request(ann, NOW)


def test_a_new_password_replaces_the_old_one_and_ends_the_other_sessions(db: Database, app: App) -> None:
    this, other = signed_in(db, app), signed_in(db, app)
    assert this.user
    users.update(
        db,
        LIMITS,
        caller(app, this.user),
        this.user.id,
        {"password": "battery-staple", "old_password": PASSWORD},
        session=sessions.digest(this.token),
        now=NOW,
    )
    assert sessions.current(db, this.token, NOW)
    assert sessions.current(db, other.token, NOW) is None
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, PASSWORD)
    assert signed_in(db, app, "battery-staple").user


def in_step(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """Each thread waits after the comparison of a right password until all have come so far."""
    matches, together = passwords.matches, threading.Barrier(many, timeout=10)

    def and_wait(stored: str | None, given: str) -> bool:
        right = matches(stored, given)
        together.wait()
        return right

    monkeypatch.setattr(passwords, "matches", and_wait)


def test_of_two_who_change_the_password_at_once_with_the_old_one_one_is_refused(
    db: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [signed_in(db, app), signed_in(db, app)]
    in_step(monkeypatch, 2)

    def change(position: int) -> str:
        one = opened[position]
        assert one.user
        try:
            changed(db, app, one.user, token=one.token, password=f"battery-staple-{position}", old_password=PASSWORD)
        except errors.SessionGone:
            return "refused"
        return "changed"

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(change, range(2)))
    monkeypatch.undo()
    assert sorted(outcomes) == ["changed", "refused"]
    assert signed_in(db, app, f"battery-staple-{outcomes.index('changed')}").user
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, f"battery-staple-{outcomes.index('refused')}")


def test_of_two_changes_at_once_in_one_session_one_is_refused(
    db: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = signed_in(db, app)
    in_step(monkeypatch, 2)

    def change(position: int) -> str:
        assert opened.user
        try:
            new = f"battery-staple-{position}"
            changed(db, app, opened.user, token=opened.token, password=new, old_password=PASSWORD)
        except errors.Invalid as refused:
            return refused.field
        return "changed"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(change, range(2))) == ["changed", "old_password"]


def test_a_reset_that_comes_while_the_old_password_is_compared_wins(
    db: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = signed_in(db, app)
    user = opened.user
    assert user
    matches, resets = passwords.matches, []

    def and_then_reset(stored: str | None, given: str) -> bool:
        right = matches(stored, given)
        resets.append(users.reset_password(db, user.id, NOW))
        return right

    monkeypatch.setattr(passwords, "matches", and_then_reset)
    with pytest.raises(errors.SessionGone):
        changed(db, app, user, token=opened.token, password="battery-staple", old_password=PASSWORD)
    monkeypatch.undo()
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, "battery-staple")
    assert signed_in(db, app, resets[-1]).user


def test_a_session_that_ends_while_the_old_password_is_compared_changes_nothing(
    db: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = signed_in(db, app)
    assert opened.user
    matches = passwords.matches

    def and_then_end(stored: str | None, given: str) -> bool:
        right = matches(stored, given)
        sessions.end(db, opened.token)
        return right

    monkeypatch.setattr(passwords, "matches", and_then_end)
    with pytest.raises(errors.SessionGone):
        changed(db, app, opened.user, token=opened.token, password="battery-staple", old_password=PASSWORD)
    monkeypatch.undo()
    assert signed_in(db, app, PASSWORD).user


def test_no_session_of_the_old_password_outlives_a_reset(db: Database, app: App) -> None:
    """Sign-ins and a reset at the same time: in any order, the remaining sessions were opened with the new password."""
    ann = signed_up(db, app)

    def sign_in(_: int) -> str:
        try:
            return signed_in(db, app).token
        except errors.Unauthorized:
            return ""

    with ThreadPoolExecutor(5) as threads:
        tries = [threads.submit(sign_in, position) for position in range(8)]
        threads.submit(users.reset_password, db, ann.id, NOW).result()
        tokens = [one.result() for one in tries]
    assert [token for token in tokens if token and sessions.current(db, token, NOW)] == []


def test_a_change_without_a_password_keeps_the_other_sessions(db: Database, app: App) -> None:
    other = signed_in(db, app)
    assert other.user
    changed(db, app, other.user, full_name="Ann")
    assert sessions.current(db, other.token, NOW)


def test_wrong_old_passwords_are_counted_with_those_of_signing_in(db: Database, app: App) -> None:
    limits = Limits(wrong_passwords=2)
    ann = signed_up(db, app)
    session = sessions.digest(signed_in(db, app).token)

    def change(old: str) -> None:
        new: users.Fields = {"password": PASSWORD, "old_password": old}
        users.update(db, limits, caller(app, ann), ann.id, new, session=session, now=NOW)

    for _ in range(5):
        change(PASSWORD)  # right ones cost nothing
    for _ in range(2):
        with pytest.raises(errors.Invalid):
            change("wrong-horse")
    with pytest.raises(errors.TooMany):
        change(PASSWORD)
    with pytest.raises(errors.TooMany):
        sessions.open_user(db, limits, app, Credentials("ann", "", PASSWORD), HERE, ts=NOW, nonce=0, now=NOW)


@pytest.mark.parametrize(
    "field, value",
    [("login", "ann"), ("email", "a@example.com"), ("phone", "12025550101"), ("password", "battery-staple")],
)
def test_a_guest_becomes_nobody(db: Database, app: App, field: str, value: str) -> None:
    guest = users.guest(db, LIMITS, app, "Olof", HERE, NOW)
    with pytest.raises(errors.Invalid) as refused:
        changed(db, app, guest, **{field: value})
    assert refused.value.field == field


def test_a_guest_may_send_the_whole_profile_back(db: Database, app: App) -> None:
    guest = users.guest(db, LIMITS, app, "Olof", HERE, NOW)
    after = changed(db, app, guest, login=guest.login, email=None, phone="", full_name="Olof the guest")
    assert (after.full_name, after.phone, after.login) == ("Olof the guest", "", guest.login)


# ── the end of an account ────────────────────────────────────────────────────────────────────────────────────────────

ABOUT = {
    "users": "id",
    "numbers": "user_id",
    "tags": "user_id",
    "sessions": "user_id",
    "books": "owner_id",
    "contacts": "owner_id",
    "removed": "owner_id",
    "subscriptions": "user_id",
}


def test_nothing_is_left_of_a_user_who_leaves(db: Database, app: App) -> None:
    bob = signed_up(db, app, "bob", phone="+44 7700 900123")
    ann = users.sign_up(db, LIMITS, app, EVERYTHING, HERE, NOW)
    signed_in(db, app)
    for who in (ann, bob):
        book = [Entry("+44 7700 900123", "Bob"), Entry("+1 202 555 0101", "Ann"), Entry("+44 7700 900124", "Cat")]
        discovery.upload(db, LIMITS, caller(app, who), book, device="phone", now=NOW)
        discovery.upload(
            db, LIMITS, caller(app, who), [Entry("447700900124", None, destroy=True)], device="phone", now=NOW
        )
        subscribe(db, app, who.id)
    left = {table: rows_about(db, table, bob.id) for table in ABOUT}

    users.leave(db, caller(app, ann), ann.id)

    assert {table: rows_about(db, table, ann.id) for table in ABOUT} == dict.fromkeys(ABOUT, 0)
    assert {table: rows_about(db, table, bob.id) for table in ABOUT} == left
    with db.read() as tx:
        assert not tx.tuples("SELECT 1 FROM buckets WHERE name = :name", name=bucket(f"permits:{ann.id}"))
        assert tx.tuples("SELECT 1 FROM buckets WHERE name = :name", name=bucket(f"permits:{bob.id}"))
    assert discovery.registered(db, caller(app, bob), "phone", now=NOW)[0].user.id == bob.id
    assert signed_up(db, app).id > ann.id  # the login is free again, the id is not


def subscribe(db: Database, app: App, user_id: int) -> None:
    with db.write() as tx:
        subscriptions.insert(tx, app.id, subscription(user_id, "t"), 0)


def rows_about(db: Database, table: str, user_id: int) -> int:
    with db.read() as tx:
        rows = tx.tuples(f"SELECT count(*) FROM {table} WHERE {ABOUT[table]} = :user_id", user_id=user_id)
    return int(rows[0][0])


def test_codes_to_a_number_that_the_user_had_verified_go_too_and_codes_to_one_only_typed_stay(
    db: Database, app: App
) -> None:
    """The typed number may be another person's, who has just requested a code."""
    verified = proofs.by_phone(db, LIMITS, app, "+12025550101", "192.0.2.1", NOW)
    squatter = signed_up(db, app, phone="+447700900123").id
    for number in (12025550101, 447700900123):
        send_code(db, app, number)
    for user_id in (verified, squatter):
        assert users.erase(db, user_id)
    with db.read() as tx:
        assert tx.tuples("SELECT number FROM codes") == [(tx.seal.number(app.id, 447700900123),)]


def send_code(db: Database, app: App, number: int) -> None:
    """The stored rows of codes."""
    when = {"now": NOW, "expires_at": NOW + 600}
    with db.write() as tx:
        codes.put(tx, app.id, number, request_id=f"{number:032x}", typed=str(number), code_hash=b"h", **when)


def test_erasing_nobody_says_so(db: Database, app: App) -> None:
    user = signed_up(db, app)
    assert users.erase(db, user.id)
    assert not users.erase(db, user.id)


# ── one-time passwords ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reset_password_opens_one_session_and_then_sets_a_new_one(db: Database, app: App) -> None:
    before = signed_in(db, app)
    assert before.user
    once = users.reset_password(db, before.user.id, NOW)
    assert sessions.current(db, before.token, NOW) is None
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, PASSWORD)

    opened = signed_in(db, app, once, now=NOW + 5)
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, once, now=NOW + 6)

    changed(db, app, before.user, token=opened.token, password="battery-staple", old_password=once)
    assert [signed_in(db, app, "battery-staple").user is not None for _ in range(2)] == [True, True]


def test_a_reset_password_lasts_a_day(db: Database, app: App) -> None:
    user = signed_up(db, app)
    once = users.reset_password(db, user.id, NOW)
    with pytest.raises(errors.Unauthorized):
        signed_in(db, app, once, now=NOW + 24 * 3600)
    assert signed_in(db, app, once, now=NOW + 24 * 3600 - 1).user


def test_two_who_use_a_reset_password_at_once_open_one_session(db: Database, app: App) -> None:
    once = users.reset_password(db, signed_up(db, app).id, NOW)

    def tried(_: int) -> bool:
        try:
            return signed_in(db, app, once).user is not None
        except errors.Unauthorized:
            return False

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(tried, range(3))) == [False, False, True]


def test_only_somebody_with_a_password_can_have_it_reset(db: Database, app: App) -> None:
    guest = users.guest(db, LIMITS, app, "", HERE, NOW)
    for user_id in (guest.id, 99_999):
        with pytest.raises(errors.NotFound):
            users.reset_password(db, user_id, NOW)


def with_last_request(user: User, at: int) -> User:
    return User(**{name: getattr(user, name) for name in User.__struct_fields__} | {"last_request_at": at})
