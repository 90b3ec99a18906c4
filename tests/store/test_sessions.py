"""Sessions and used signatures in both databases."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from ringbook import errors
from ringbook.core import applications
from ringbook.store import books, reports, sessions, users
from ringbook.store.db import Database, Row

NOW = 1_800_000_000
HOUR = 3600


@pytest.fixture
def app_id(db: Database) -> int:
    return applications.create(db, "tests", NOW).id


@pytest.fixture
def ann(db: Database, app_id: int) -> int:
    return user(db, app_id)


def user(db: Database, app_id: int) -> int:
    with db.write() as tx:
        user_id = users.insert(tx, app_id, {}, NOW)
    assert user_id
    return user_id


def hashed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def opened(db: Database, app_id: int, name: str, user_id: int | None = None, **values: Any) -> Row:
    given = {"nonce": 0, "ts": NOW, "now": NOW, "expires_at": NOW + HOUR, "guest_until": None} | values
    with db.write() as tx:
        return sessions.insert(tx, hashed(name), app_id=app_id, user_id=user_id, **given)


def found(db: Database, name: str, now: int = NOW) -> Row | None:
    with db.read() as tx:
        return sessions.by_token(tx, hashed(name), now)


def test_a_session_comes_back_whole(db, app_id, ann):
    row = opened(db, app_id, "a", ann, nonce=-(2**31), ts=2**40, guest_until=NOW + 9)
    assert row == found(db, "a")
    assert {
        "app_id": app_id,
        "user_id": ann,
        "nonce": -(2**31),
        "ts": 2**40,
        "guest_until": NOW + 9,
    }.items() <= row.items()
    assert (row["created_at"], row["last_used_at"], row["expires_at"]) == (NOW, NOW, NOW + HOUR)
    assert found(db, "b") is None


def test_a_session_is_there_until_its_last_second_is_over(db, app_id):
    opened(db, app_id, "a")
    assert found(db, "a", NOW + HOUR - 1)
    assert found(db, "a", NOW + HOUR) is None


def test_a_sessions_user_must_be_there(db, app_id):
    with pytest.raises(errors.SessionGone):
        opened(db, app_id, "a", 4711)


def test_use_moves_the_end(db, app_id):
    opened(db, app_id, "a")
    with db.write() as tx:
        sessions.touch(tx, hashed("a"), NOW + 60, NOW + 60 + HOUR)
    row = found(db, "a")
    assert row
    assert (row["last_used_at"], row["expires_at"]) == (NOW + 60, NOW + 60 + HOUR)


def test_a_session_becomes_a_users_and_the_applications_own_again(db, app_id, ann):
    opened(db, app_id, "a", guest_until=NOW + 9)
    with db.write() as tx:
        row = sessions.set_user(tx, hashed("a"), app_id, ann, NOW + 1, NOW + 1 + HOUR)
        assert row
        assert (row["user_id"], row["guest_until"], row["expires_at"]) == (ann, None, NOW + 1 + HOUR)
        row = sessions.set_user(tx, hashed("a"), app_id, None, NOW + 2, NOW + 2 + HOUR)
        assert row
        assert row["user_id"] is None
        assert sessions.set_user(tx, hashed("b"), app_id, ann, NOW, NOW) is None


def test_ending_says_who_used_it_last_and_only_once(db, app_id, ann):
    opened(db, app_id, "a", ann)
    with db.write() as tx:
        assert sessions.end(tx, hashed("a")) == [{"user_id": ann, "last_used_at": NOW}]
        assert sessions.end(tx, hashed("a")) == []
    assert found(db, "a") is None


def test_one_ends_ones_own_by_id_and_all_others(db, app_id, ann):
    bob = user(db, app_id)
    first = opened(db, app_id, "a", ann)["id"]
    for name, who in (("b", ann), ("c", ann), ("d", bob), ("e", None)):
        opened(db, app_id, name, who)
    with db.write() as tx:
        assert sessions.end_by_id(tx, bob, first) == []
        assert len(sessions.end_by_id(tx, ann, first)) == 1
        assert len(sessions.end_others(tx, ann, hashed("b"))) == 1
    assert [name for name in "abcde" if found(db, name)] == ["b", "d", "e"]
    with db.write() as tx:
        assert len(sessions.end_others(tx, bob, b"")) == 1


def test_sessions_go_with_their_user(db, app_id, ann):
    opened(db, app_id, "a", ann)
    with db.write() as tx:
        users.delete(tx, ann)
    assert found(db, "a") is None


def test_a_sweep_ends_what_is_over_in_batches(db, app_id, ann):
    for n in range(5):
        opened(db, app_id, f"old {n}", ann, expires_at=NOW)
    opened(db, app_id, "new", ann, expires_at=NOW + 1)
    with db.write() as tx:
        assert [len(sessions.sweep(tx, NOW, 2)) for _ in range(4)] == [2, 2, 1, 0]
    assert found(db, "new")


def test_several_sweeps_at_once_end_each_session_once(db, app_id, ann):
    for n in range(60):
        opened(db, app_id, f"old {n}", ann, expires_at=NOW)

    def sweep() -> int:
        with db.write() as tx:
            return len(sessions.sweep(tx, NOW, 20))

    with ThreadPoolExecutor(4) as threads:
        ended = sum(threads.map(lambda _: sweep(), range(12)))
    assert ended == 60


def test_ids_are_drawn_once_and_begin_again_below_two_to_the_31(db, app_id):
    last = opened(db, app_id, "a")["id"]
    with db.write() as tx:
        tx.reserve_ids("session_ids", 2**31 - 100)
    assert [opened(db, app_id, name)["id"] for name in "bc"] == [1, 2]
    assert last >= 1


def test_a_signature_is_remembered_until_its_time_is_over(db, app_id):
    with db.write() as tx:
        assert sessions.remember_signature(tx, app_id, "s", NOW)
        assert not sessions.remember_signature(tx, app_id, "s", NOW + 99)
        assert sessions.remember_signature(tx, app_id + 1, "s", NOW)
        assert sessions.sweep_signatures(tx, NOW, 10) == 0
        assert sessions.sweep_signatures(tx, NOW + 1, 10) == 2
        assert sessions.remember_signature(tx, app_id, "s", NOW)


def test_a_signature_used_many_times_at_once_is_used_once(db, app_id):
    def use() -> bool:
        with db.write() as tx:
            return sessions.remember_signature(tx, app_id, "s", NOW)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda one: one(), [partial(use)] * 16)) == 1


def test_a_session_and_a_user_read_at_once_are_those_that_are_read_alone(db, app_id, ann):
    """Also a user who is not the session's own; nobody of another application, and nobody for an id that nobody has."""
    bob, stranger = user(db, app_id), user(db, applications.create(db, "other", NOW).id)
    opened(db, app_id, "a", ann)
    opened(db, app_id, "nobody")
    with db.write() as tx:
        users.mark_seen(tx, {ann: NOW - 5})
    for name, own in (("a", ann), ("nobody", None), ("unknown", None)):
        for asked in (None, ann, bob, stranger, 0, 2**31 - 1):
            with db.read() as tx:
                alone = sessions.by_token(tx, hashed(name), NOW)
                wanted = own if asked is None else asked
                known = users.by_id(tx, app_id, wanted) if alone and wanted else None
                assert sessions.by_token_with_user(tx, hashed(name), NOW, asked) == (alone, known)
    with db.read() as tx:
        assert sessions.by_token_with_user(tx, hashed("a"), NOW + HOUR) == (None, None)


def test_a_session_and_reports_read_at_once_are_those_that_are_read_alone(db, app_id, ann):
    bob = user(db, app_id)
    opened(db, app_id, "a", ann)
    opened(db, app_id, "b", bob)
    opened(db, app_id, "nobody")
    with db.write() as tx:
        for device in ("", "phone", "tablet"):
            book = books.add_book(tx, app_id, ann, len(device), device, NOW + len(device))
            reports.put(tx, ann, book["book"], b"reports")
            if device == "phone":
                books.set_book(tx, ann, book["book"], 1, 1)
    with db.read() as tx:
        assert [book.reports for book in sorted(reports.of_owner(tx, ann))] == [b"reports", None, b"reports"]
        for name, own in (("a", ann), ("b", bob), ("nobody", None), ("unknown", None)):
            session, held = sessions.by_token_with_reports(tx, hashed(name), NOW)
            assert session == sessions.by_token(tx, hashed(name), NOW)
            assert sorted(held) == sorted(reports.of_owner(tx, own) if own else [])
        assert sessions.by_token_with_reports(tx, hashed("a"), NOW + HOUR) == (None, [])
