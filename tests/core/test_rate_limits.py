"""Rate limits: who shares a bucket, and what uploads, passwords and new accounts cost. On both databases."""

from typing import Any

import pytest
from sealed import add_number, buckets

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovery, rate_limits, sessions, users
from ringbook.core.charging import Bucket
from ringbook.core.rate_limits import REMEMBERED_SECONDS
from ringbook.core.sessions import Credentials
from ringbook.model import App, Caller, Entry
from ringbook.store.db import Database
from ringbook.times import DAY, HOUR

NOW = 1_800_000_000
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
TEN = Bucket("ten", 10, 0.5, "too many")


def rows(db: Database, table: str) -> list[dict[str, Any]]:
    with db.read() as tx:
        return tx.all(f"SELECT * FROM {table}")


def used_of_all(db: Database) -> dict[str, float]:
    """What is used of every bucket, by its name."""
    with db.read() as tx:
        return buckets(tx)


# ── who shares a bucket ──────────────────────────────────────────────────────────────────────────────────────────────


def test_names_of_buckets_hold_neither_login_nor_phone():
    bucket = rate_limits.passwords(Limits(), 1, "+12025550123", HERE)
    assert "2025550123" not in bucket.name


def test_accounts_of_two_applications_do_not_share_wrong_passwords():
    assert rate_limits.passwords(Limits(), 1, "5", HERE).name != rate_limits.passwords(Limits(), 2, "5", HERE).name
    assert rate_limits.passwords(Limits(), 1, "5", HERE).name != rate_limits.passwords(Limits(), 1, "5", ELSEWHERE).name


# ── permits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def caller(db: Database, app: App, *, address: str = HERE, is_guest: bool = False) -> Caller:
    """A new user, without a password."""
    with db.write() as tx:
        row = tx.one(
            "INSERT INTO users (id, app_id, is_guest, created_at, updated_at)"
            " VALUES (:id, :app_id, :guest, 0, 0) RETURNING id",
            id=tx.next_id("user_ids"),
            app_id=app.id,
            guest=int(is_guest),
        )
    assert row
    return Caller(app=app, user_id=row["id"], is_guest=is_guest, address=address)


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "tests", NOW)


def entries(first: int, count: int, *, destroy: bool = False) -> list[Entry]:
    return [Entry(f"1202555{n:04}", None if destroy else "x", destroy) for n in range(first, first + count)]


def upload(db: Database, who: Caller, lines: list[Entry], now: int = NOW, *, device: str = "", **given: int) -> None:
    discovery.upload(db, Limits(**given), who, lines, device=device, now=now)


def book(db: Database, who: Caller, device: str = "") -> int:
    return len(discovery.retrieve(db, who, device))


def used(db: Database, who: Caller) -> float:
    names = {f"permits:{who.user_id}"}
    return sum(used for name, used in used_of_all(db).items() if name in names)


def test_new_numbers_cost_permits_and_beyond_them_nothing_is_changed(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 8), permits=10)
    with pytest.raises(errors.TooMany) as refused:
        upload(db, ann, entries(6, 5), permits=10)
    assert refused.value.wait_seconds == HOUR / 6
    assert (book(db, ann), used(db, ann)) == (8, 8)
    upload(db, ann, entries(6, 4), permits=10)
    assert book(db, ann) == 10


def test_permits_come_back_with_time(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 10), permits=10)
    with pytest.raises(errors.TooMany):
        upload(db, ann, entries(10, 6), NOW + HOUR - 1, permits=10)
    upload(db, ann, entries(10, 6), NOW + HOUR, permits=10)
    assert book(db, ann) == 16


def test_the_same_book_again_costs_nothing(db, app):
    ann = caller(db, app)
    for _ in range(3):
        upload(db, ann, entries(0, 10), permits=10)
    assert used(db, ann) == 10


def test_a_guest_has_permits_of_its_own_size(db, app):
    guest = caller(db, app, is_guest=True)
    with pytest.raises(errors.TooMany):
        upload(db, guest, entries(0, 101))
    upload(db, guest, entries(0, 100))
    assert book(db, guest) == 100


def test_no_limit_is_no_limit(db, app):
    ann = caller(db, app)
    none = {"address_permits_per_day": 0, "network_permits_per_day": 0, "contact_changes_per_day": 0}
    upload(db, ann, entries(0, 200), permits=0, **none)
    assert [name for name in used_of_all(db) if not name.startswith(f"permits of app {app.id}")] == []


def test_a_number_removed_less_than_30_days_ago_costs_nothing(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 10), permits=10, permits_per_hour=0)
    upload(db, ann, entries(0, 10, destroy=True), permits=10, permits_per_hour=0)
    assert book(db, ann) == 0
    upload(db, ann, entries(0, 10), NOW + REMEMBERED_SECONDS, permits=10, permits_per_hour=0)
    assert (book(db, ann), used(db, ann)) == (10, 10)


def test_a_number_removed_longer_ago_costs_again(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 10), permits=10, permits_per_hour=0)
    upload(db, ann, entries(0, 10, destroy=True), permits=10, permits_per_hour=0)
    with pytest.raises(errors.TooMany):
        upload(db, ann, entries(0, 10), NOW + REMEMBERED_SECONDS + 1, permits=10, permits_per_hour=0)


def test_removed_numbers_are_not_stored_as_numbers_and_are_forgotten_after_30_days(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 3))
    upload(db, ann, entries(0, 3, destroy=True))
    removed = {value for row in rows(db, "removed") for value in row.values() if isinstance(value, int)}
    assert len(rows(db, "removed")) == 3
    assert removed.isdisjoint(range(12025550000, 12025550003))
    # The four buckets: the user's, the address's, its /24's and the strangers'.
    assert rate_limits.sweep(db, NOW + REMEMBERED_SECONDS) == 4
    assert rate_limits.sweep(db, NOW + REMEMBERED_SECONDS + 1) == 3


def test_force_pays_for_what_is_new_and_remembers_what_it_removes(db, app):
    ann = caller(db, app)
    for first in (0, 5, 0, 5):
        discovery.upload(db, Limits(permits=15, permits_per_hour=0), ann, entries(first, 10), force=True, now=NOW)
    assert used(db, ann) == 15


def test_what_another_device_of_the_user_holds_costs_nothing(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 10), permits=10, device="phone")
    upload(db, ann, entries(0, 10), permits=10, device="tablet")
    upload(db, ann, entries(0, 10), permits=10)
    assert [book(db, ann, device) for device in ("phone", "tablet", "")] == [10, 10, 10]
    assert used(db, ann) == 10


def test_a_hit_and_a_miss_cost_the_same(db, app):
    ann, bob = caller(db, app), caller(db, app)
    with db.write() as tx:
        add_number(tx, app.id, bob.user_id, 12025550000)
    upload(db, ann, entries(0, 1))
    hit = used(db, ann)
    upload(db, ann, entries(1, 1))
    assert (hit, used(db, ann)) == (1, 2)


def test_everybody_behind_one_address_shares_its_permits(db, app):
    upload(db, caller(db, app), entries(0, 6), address_permits_per_day=10)
    with pytest.raises(errors.TooMany) as refused:
        upload(db, bob := caller(db, app), entries(0, 6), address_permits_per_day=10)
    assert refused.value.wait_seconds == 2 * DAY / 10
    assert (book(db, bob), used(db, bob)) == (0, 0)
    upload(db, caller(db, app, address=ELSEWHERE), entries(0, 6), address_permits_per_day=10)


def test_a_64_of_ipv6_is_one_address(db, app):
    upload(db, caller(db, app, address="2001:db8::1"), entries(0, 6), address_permits_per_day=10)
    with pytest.raises(errors.TooMany):
        upload(db, caller(db, app, address="2001:db8::ffff:1"), entries(0, 6), address_permits_per_day=10)
    upload(db, caller(db, app, address="2001:db8:0:1::1"), entries(0, 6), address_permits_per_day=10)


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_book_over_its_size_is_refused_and_nothing_is_changed(db, app):
    ann = caller(db, app)
    upload(db, ann, entries(0, 8), max_book_contacts=10)
    with pytest.raises(errors.Invalid, match="10 contacts"):
        upload(db, ann, entries(6, 5), max_book_contacts=10)
    assert (book(db, ann), used(db, ann)) == (8, 8)
    upload(db, ann, entries(6, 4), max_book_contacts=10)


def test_a_book_over_its_size_may_still_shrink_and_be_renamed(db, app):
    """The limit was lowered after the upload."""
    ann = caller(db, app)
    upload(db, ann, entries(0, 8))
    upload(db, ann, [*entries(0, 2), *entries(7, 1, destroy=True)], max_book_contacts=5)
    assert book(db, ann) == 7


def test_an_upload_over_its_size_is_refused_and_nothing_is_changed(db, app):
    ann = caller(db, app)
    with pytest.raises(errors.Invalid, match="10 entries"):
        upload(db, ann, entries(0, 11), max_upload_contacts=10)
    assert book(db, ann) == 0


def test_one_device_too_many_is_refused_until_a_book_is_emptied(db, app):
    ann = caller(db, app)
    for device in ("a", "b"):
        upload(db, ann, entries(0, 1), device=device, max_books=3)
    with pytest.raises(errors.Invalid, match="at most 3"):
        upload(db, ann, entries(0, 1), device="c", max_books=3)
    assert book(db, ann, "c") == 0
    upload(db, ann, entries(0, 1, destroy=True), device="a", max_books=3)
    upload(db, ann, entries(0, 1), device="c", max_books=3)
    assert sorted(row["device"] for row in rows(db, "books")) == ["", "b", "c"]


# ── passwords and accounts ───────────────────────────────────────────────────────────────────────────────────────────

FEW = Limits(wrong_passwords=3, wrong_password_minutes=15, new_accounts_per_hour=2)


def sign_in(db: Database, app: App, password: str, *, address: str = HERE, login: str = "ann", now: int = NOW) -> None:
    given = Credentials(login, "", password)
    sessions.open_user(db, FEW, app, given, address, ts=now, nonce=0, now=now)


def test_wrong_passwords_are_counted_by_account_and_address(db, app):
    users.sign_up(db, FEW, app, {"login": "ann", "password": "right-password"}, HERE, NOW)
    for _ in range(3):
        with pytest.raises(errors.Unauthorized):
            sign_in(db, app, "wrong-password")
    with pytest.raises(errors.TooMany):
        sign_in(db, app, "right-password")
    sign_in(db, app, "right-password", address=ELSEWHERE)
    with pytest.raises(errors.TooMany):
        sign_in(db, app, "right-password", now=NOW + 299)
    sign_in(db, app, "right-password", now=NOW + 300)


def test_right_passwords_are_not_counted(db, app):
    users.sign_up(db, FEW, app, {"login": "ann", "password": "right-password"}, HERE, NOW)
    for _ in range(5):
        sign_in(db, app, "right-password")


def test_a_login_that_nobody_has_counts_like_a_wrong_password(db, app):
    token = sessions.open_application(db, Limits(), app, "192.0.2.9", ts=NOW, nonce=0, now=NOW).token
    given = Credentials("nobody", "", "some-password")
    for _ in range(3):
        with pytest.raises(errors.Unauthorized):
            sessions.sign_in(db, FEW, app, token, given, HERE, NOW)
    with pytest.raises(errors.TooMany):
        sessions.sign_in(db, FEW, app, token, given, HERE, NOW)


def test_new_accounts_are_counted_by_address(db, app):
    users.sign_up(db, FEW, app, {"login": "ann", "password": "right-password"}, HERE, NOW)
    users.guest(db, FEW, app, "", HERE, NOW)
    with pytest.raises(errors.TooMany) as refused:
        sign_in(db, app, "right-password", login="bob")
    assert refused.value.wait_seconds == HOUR / 2
    assert len(rows(db, "users")) == 2
    sign_in(db, app, "right-password", login="bob", now=NOW + HOUR // 2)
