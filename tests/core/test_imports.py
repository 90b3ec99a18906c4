"""Imports: which lines are imported, with which ids; the same file again changes nothing."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import SEAL, Databases

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, imports, numbers, proofs, sessions, user_record, users
from ringbook.core.import_lines import Line, Lines, parse
from ringbook.core.imports import Refusal, Report, import_users
from ringbook.model import App
from ringbook.profile_fields import IMPORT_COLUMNS
from ringbook.store import db as store
from ringbook.store import users as user_store
from ringbook.store.db import Database

NOW = 1_800_000_000
DAY = 24 * 3600
LIMITS = Limits()
HERE = "192.0.2.1"
ANN, BOB = "+1 202 555 0101", "+44 7700 900123"


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "test", NOW - DAY)


def lines(*rows: dict[str, Any]) -> list[Line]:
    return [Line(number, row) for number, row in enumerate(rows, 2)]


def brought(db: Database, app: App, *rows: dict[str, Any], now: int = NOW, dry_run: bool = False) -> Report:
    return import_users(db, app, lines(*rows), now=now, dry_run=dry_run)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.unchanged, len(report.refused)


def reason(report: Report) -> str:
    assert len(report.refused) == 1
    return report.refused[0].reason


def stored(db: Database) -> list[list[dict[str, Any]]]:
    """All rows that an import may change."""
    with db.read() as tx:
        return [
            tx.all("SELECT * FROM users ORDER BY id"),
            tx.all("SELECT * FROM seen ORDER BY user_id"),
            tx.all("SELECT * FROM numbers ORDER BY app_id, number, user_id"),
            tx.all("SELECT id, verified_since FROM applications ORDER BY id"),
        ]


def signed_up(db: Database, app: App, login: str, **fields: Any) -> int:
    said: Any = {"login": login, "password": "correct-horse", **fields}
    return users.sign_up(db, LIMITS, app, said, HERE, NOW).id


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(tmp_path: Path, name: str, content: str | bytes) -> list[Line]:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(Lines(file))


def test_a_csv_file_may_have_quotes_blank_lines_and_a_byte_order_mark(tmp_path):
    found = read(tmp_path, "u.csv", '\ufeffid,full_name\r\n5,"Ann, the ""first""\nof all"\r\n\r\n6,Bob\r\n')
    assert found == [
        Line(2, {"id": "5", "full_name": 'Ann, the "first"\nof all'}, more=1),
        Line(5, {"id": "6", "full_name": "Bob"}),
    ]


def test_a_jsonl_file_may_have_blank_lines_and_a_byte_order_mark(tmp_path):
    found = read(tmp_path, "u.JSONL", '\ufeff{"id": 5}\n\n{"id": "6", "verified": true}')
    assert found == [Line(1, {"id": 5}), Line(3, {"id": "6", "verified": True})]


def test_lines_that_cannot_be_read_do_not_stop_the_others(tmp_path):
    table = read(tmp_path, "u.csv", b'id,login\n5,a"b\n6\n7,x,y\n8,\xff\xfe\n9,"bob"x\n10,dave\n')
    troubled = [line.number for line in table if line.error]
    assert troubled == [3, 4, 6]
    assert [line.values.get("id") for line in table if not line.error] == ["5", "8", "10"]
    with pytest.raises(errors.Invalid, match="cannot be stored"):
        parse(table[3], "", NOW)
    objects = read(tmp_path, "u.jsonl", b'{"id": 5\n[6]\n{"id": 7, "login": "\xff"}\n' + b"[" * 5000 + b'\n{"id": 8}')
    assert [bool(line.error) for line in objects] == [True, True, True, True, False]


def test_lines_that_a_stray_quote_has_swallowed_are_named(tmp_path, db, app):
    head, rest = "id,login,full_name\n", [f"{number},user{number},User {number}" for number in range(5, 105)]
    rest[10] = '15,user15,"User 15'
    for closing_quote in ('25,user25,"User 25', '25,user25,User 25"', '25,user25,"User" 25', "25,user25,User 25"):
        rest[20] = closing_quote
        found = read(tmp_path, "u.csv", head + "\n".join(rest))
        last = 22 if '"' in closing_quote else 101
        assert [(line.number, line.more) for line in found if line.error] == [(12, last - 12)]
        assert sum(1 + line.more for line in found) == 100
        report = import_users(db, app, found, dry_run=True, now=NOW)
        assert report.refused_lines == last - 11
        assert report.refused[0].where == f"lines 12–{last}"


def test_a_name_of_two_lines_hides_nothing(tmp_path):
    found = read(tmp_path, "u.csv", 'id,login,full_name\n5,ann,"Ann,\n15 Example Road"\n6,bob,Bob\n')
    assert [(line.number, line.more, line.error) for line in found] == [(2, 1, ""), (4, 0, "")]


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("u.csv", "id,colour,login,size\n1,red,ann,xl\n", "unknown column colour, size"),
        ("u.csv", "id;login\n1;ann\n", "columns are separated by “;”: save it again with commas"),
        ("u.csv", "id\tlogin\n1\tann\n", "columns are separated by tabs: save it again with commas"),
        ("u.csv", "id,login\n1,ann\n".encode("utf-16"), "not UTF-8: save it again as UTF-8"),
        ("u.csv", "id,login\n1,ann\n".encode("utf-16-be"), "not UTF-8: save it again as UTF-8"),
        ("u.csv", "id,\x1b[31mred\x07\n", "unknown column ?[31mred?;".replace("?", r"\?").replace("[", r"\[")),
        ("u.csv", "login\nann\n", "id among them"),
        ("u.csv", "id,login,login\n1,a,b\n", "each column once"),
        ("u.csv", "", "id among them"),
        ("u.txt", "id\n1\n", ".csv or .jsonl"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole(tmp_path, name, content, said):
    with pytest.raises(errors.Invalid, match=said.replace(".", r"\.")):
        read(tmp_path, name, content)


def test_a_jsonl_line_with_an_unknown_name_is_refused_by_this_name(tmp_path):
    assert "unknown column colour" in read(tmp_path, "u.jsonl", '{"id": 1, "colour": "red"}')[0].error


def test_a_hostile_file_is_refused_line_by_line(tmp_path, db, app):
    content = b"id,login,full_name\r\n5,ann,=cmd()\r\n6,a\0b,x\r\n\x007,bob,x\r\n8,carol," + b"x" * 200_000
    content += b"\r\n9,\xff\xfe,x\r\n2147483648,dora,x\r\n-1,eve,x\r\n0,fay,x\r\n5,gus,x\r\n"
    content += b"\xd9\xa3,hal,x\r\n10,ida\r\n11,jan,x"
    report = import_users(db, app, read(tmp_path, "u.csv", content), now=NOW)
    assert (report.added, [one.line for one in report.refused]) == (2, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    assert user_record.everything(db, 5)["user"]["full_name"] == "=cmd()"
    assert user_record.everything(db, 11)["user"]["login"] == "jan"


# ── what a line says ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "row, said",
    [
        ({}, "id: must be a whole number from 1 to 2000000000"),
        ({"id": ""}, "id: must be"),
        ({"id": "0"}, "id: must be"),
        ({"id": "-5"}, "id: must be"),
        ({"id": 2_000_000_001}, "so that those who sign up later have ids, too"),
        ({"id": 2**31}, "id: must be"),
        ({"id": "99999999999999999999"}, "id: must be"),
        ({"id": True}, "id: must be"),
        ({"id": 1.5}, "id: must be"),
        ({"id": "x"}, "id: must be"),
        ({"login": "x"}, "login: is too short"),
        ({"login": ["ann"]}, "login: must be a text"),
        ({"login": "a\0nn"}, "login: holds characters that cannot be stored"),
        ({"email": "nobody"}, "email: must be an e-mail address"),
        ({"external_user_id": "x"}, "external_user_id: must be a whole number"),
        ({"verified": "maybe"}, "verified: must be true or false"),
        ({"verified": "true"}, "verified: needs a phone"),
        ({"verified": True, "phone": "call me"}, "verified: needs a phone"),
        ({"last_request_at": "yesterday"}, "last_request_at: must be a time"),
        ({"last_request_at": "20181205"}, "last_request_at: must be a time"),
        ({"last_request_at": NOW}, "last_request_at: is in the future"),
        ({"created_at": "2999-01-01"}, "created_at: is in the future"),
        ({"created_at": 10**30}, "created_at: must be a time"),
        ({"login": None, "email": " ", "full_name": "Ann"}, "login, email or phone is required"),
    ],
)
def test_a_line_is_refused_with_its_number_and_the_reason(db, app, row, said):
    report = brought(db, app, {"id": 5} | row if "id" in row or row else row, {"id": 6, "login": "bob"})
    if not row:
        report = brought(db, app, {"login": "ann"})
    assert said in reason(report)
    assert report.refused[0].line == 2


@pytest.mark.parametrize(
    "text", ["2018-12-05T11:58:02Z", "2018-12-05 11:58:02 UTC", "2018-12-05T12:58:02+01:00", "1544011082", 1544011082]
)
def test_times_are_read_in_every_spelling(text):
    said = parse(Line(2, {"id": 1, "last_request_at": text, "created_at": text}), "", NOW).columns
    assert said == {"last_request_at": 1544011082, "created_at": 1544011082}


@pytest.mark.parametrize("word, meant", [("true", True), ("1", True), ("YES", True), ("no", False), ("", False)])
def test_verified_is_read_in_every_spelling(word, meant):
    assert parse(Line(2, {"id": 1, "phone": ANN, "verified": word}), "", NOW).verified is meant


def test_a_phone_is_read_by_the_region_of_the_application(db):
    app = applications.create(db, "test", NOW)
    app = applications.change(db, app.id, "default_region", "GB")
    brought(db, app, {"id": 5, "phone": "07700 900123"})
    with db.read() as tx:
        assert user_store.numbers_of(tx, 5) == [447700900123]


# ── what goes in ─────────────────────────────────────────────────────────────────────────────────────────────────────

EVERYTHING = {
    "id": "1005",
    "login": "Ann",
    "email": "Ann@Example.com",
    "phone": ANN,
    "verified": "true",
    "full_name": "Ann Example",
    "external_id": "x-1",
    "external_user_id": "7",
    "facebook_id": "fb1",
    "twitter_id": "tw1",
    "last_request_at": "2026-01-02T03:04:05Z",
    "created_at": "2020-01-02T03:04:05Z",
}


def test_an_imported_user_has_what_the_line_says_and_no_password(db, app):
    assert set(EVERYTHING) == set(IMPORT_COLUMNS)
    assert counts(brought(db, app, EVERYTHING)) == (1, 0, 0, 0)
    told = user_record.everything(db, 1005)
    for name in set(EVERYTHING) - {"id", "verified", "external_user_id"}:
        assert told["user"][name] == EVERYTHING[name]
    assert (told["user"]["id"], told["user"]["external_user_id"]) == (1005, 7)
    assert told["user"]["has_password"] is False
    assert told["user"]["imported_at"] == "2027-01-15T08:00:00Z"
    assert [one["number"] for one in told["numbers"]] == ["12025550101"]
    with db.read() as tx:
        found = user_store.by_email(tx, app.id, "ann@example.com")
    assert found and found.id == 1005


def test_the_first_verified_number_turns_verified_only_on(db, app):
    brought(db, app, {"id": 5, "phone": ANN, "verified": False})
    assert applications.get(db, app.id).verified_only is False
    brought(db, app, {"id": 6, "phone": BOB, "verified": True})
    assert applications.get(db, app.id).verified_since == NOW


def test_an_imported_number_opens_the_imported_account(db, app):
    brought(db, app, {"id": 5, "phone": ANN}, {"id": 6, "phone": BOB, "verified": True})
    assert proofs.by_phone(db, LIMITS, app, ANN, HERE, NOW + 5) == 5
    assert proofs.by_phone(db, LIMITS, app, BOB, HERE, NOW + 5) == 6


def test_of_several_with_one_number_the_latest_active_is_entered(db, app):
    rows = [
        {"id": number, "phone": ANN, "last_request_at": NOW - days * DAY} for number, days in [(5, 9), (6, 2), (7, 5)]
    ]
    assert counts(brought(db, app, *rows)) == (3, 0, 0, 0)
    assert proofs.by_phone(db, LIMITS, app, ANN, HERE, NOW + 5) == 6


def test_a_phone_that_is_no_number_is_kept_and_counted(db, app):
    report = brought(db, app, {"id": 5, "phone": "call me"})
    assert (report.added, report.without_number) == (1, 1)
    assert user_record.everything(db, 5)["user"]["phone"] == "call me"


def test_progress_is_told_by_batches(db, app, monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 2)
    seen: list[tuple[int, int]] = []
    rows = lines(*({"id": number, "login": f"user{number}"} for number in range(5, 10)))
    import_users(db, app, rows, progress=lambda done, total: seen.append((done, total)), now=NOW)
    assert seen == [(2, 5), (4, 5), (5, 5)]


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_signs_up_afterwards_gets_a_larger_id(db, app):
    brought(db, app, {"id": 1000, "login": "ann"})
    assert signed_up(db, app, "bob") == 1001
    brought(db, app, {"id": 500, "login": "carol"})
    assert signed_up(db, app, "dave") == 1002


def test_a_sign_up_whose_id_an_import_has_taken_draws_again(db, app, database_url):
    """The server has a block of ids in memory when an import in another process takes them all."""
    assert signed_up(db, app, "ann") == 1
    with closing(store.connect(database_url, seal=SEAL)) as importing:
        lines = [{"id": number, "login": f"imported-{number}"} for number in range(2, 205)]
        assert counts(brought(importing, app, *lines)) == (203, 0, 0, 0)
    assert signed_up(db, app, "bob") >= 205
    with pytest.raises(errors.Conflict) as taken:
        signed_up(db, app, "imported-7")
    assert taken.value.field == "login"


def test_a_dry_run_reserves_no_ids(db, app):
    assert counts(brought(db, app, {"id": 1000, "login": "ann"}, dry_run=True)) == (1, 0, 0, 0)
    assert signed_up(db, app, "bob") == 1


def test_ids_are_reserved_before_the_first_user_is_added(db, app, monkeypatch):
    """A user who signs up between two batches does not get an id of a later batch."""
    monkeypatch.setattr(imports, "BATCH", 1)
    fresh: list[int] = []
    rows = lines(*({"id": number, "login": f"old{number}"} for number in (1, 2, 3, 4)))

    def sign_up(done: int, total: int) -> None:
        fresh.append(signed_up(db, app, f"new{done}"))

    report = import_users(db, app, rows, progress=sign_up, now=NOW)
    assert counts(report) == (4, 0, 0, 0)
    assert fresh == [5, 6, 7, 8]


def test_sign_ups_at_the_same_time_do_not_collide(db, app, monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 5)
    names = count()
    rows = lines(*({"id": number, "login": f"old{number}"} for number in range(1, 101)))
    with ThreadPoolExecutor(4) as pool:
        joined = [pool.submit(lambda: signed_up(db, app, f"new{next(names)}")) for _ in range(6)]
        report = pool.submit(import_users, db, app, rows, now=NOW)
        joined += [pool.submit(lambda: signed_up(db, app, f"new{next(names)}")) for _ in range(6)]
        ids = {one.result() for one in joined}
    assert len(ids) == 12
    early = {number for number in ids if number <= 100}  # before anything was reserved
    assert {one.line - 1 for one in report.result().refused} == early
    assert report.result().added == 100 - len(early)


@pytest.fixture
def meanwhile(databases: Databases, monkeypatch: pytest.MonkeyPatch):
    """PostgreSQL, where something happens once between an import reading and writing (on SQLite it cannot)."""
    happens: list[Callable[[], Any]] = []
    look, write, writing = imports._read_found, imports._write, threading.Event()

    def looked(*given: Any) -> Any:
        found = look(*given)
        while happens and writing.is_set():
            happens.pop()()
        return found

    def written(*given: Any) -> Any:
        writing.set()
        try:
            return write(*given)
        finally:
            writing.clear()

    monkeypatch.setattr(imports, "_read_found", looked)
    monkeypatch.setattr(imports, "_write", written)
    with databases.fresh("postgresql") as url, closing(store.connect(url, seal=SEAL)) as db:
        yield db, applications.create(db, "test", NOW - DAY), happens


def test_who_signs_up_between_looking_and_writing_keeps_the_login(meanwhile):
    db, app, happens = meanwhile
    happens.append(lambda: signed_up(db, app, "ann"))
    report = brought(db, app, {"id": 5, "login": "ann"}, {"id": 6, "login": "bob"})
    assert counts(report) == (1, 0, 0, 1)
    assert reason(report) == "login: is taken by user 7"


def test_who_signs_in_between_looking_and_writing_is_left_alone(meanwhile):
    db, app, happens = meanwhile
    brought(db, app, {"id": 5, "login": "ann"}, {"id": 6, "login": "bob"})
    happens.append(lambda: sessions.open_verified(db, app, 5, ts=NOW, nonce=1, now=NOW + 1))
    report = brought(db, app, {"id": 5, "login": "anna"}, {"id": 6, "login": "bobby"}, now=NOW + 2)
    assert counts(report) == (0, 1, 0, 1)
    assert user_record.everything(db, 5)["user"]["login"] == "ann"


def test_the_largest_id_that_is_kept_leaves_room_for_those_who_sign_up(db, app):
    report = brought(db, app, {"id": 2**31 - 1, "login": "bob"}, {"id": 2_000_000_000, "login": "ann"})
    assert counts(report) == (1, 0, 0, 1)
    assert signed_up(db, app, "carol") == 2_000_000_001


@pytest.mark.parametrize("batch", [3, 100])
def test_a_line_that_is_not_taken_uses_up_no_ids(db, app, monkeypatch, batch):
    monkeypatch.setattr(imports, "BATCH", batch)
    signed_up(db, app, "ann")
    refused = [{"id": 2_000_000_000, "login": "x"}, {"id": 1_999_999_999, "login": "Ann"}]
    assert counts(brought(db, app, *refused, {"id": 500, "login": "bob"}, {"id": 7, "login": "dave"})) == (2, 0, 0, 2)
    assert signed_up(db, app, "carol") == 501


def test_a_server_without_ids_left_says_so_and_adds_nobody(db, app):
    with db.write() as tx:
        tx.reserve_ids("user_ids", 2**31 - 1)
    before = stored(db)
    with pytest.raises(errors.Unavailable):
        signed_up(db, app, "ann")
    assert stored(db) == before


# ── what is in the way ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_id_that_stands_twice_in_a_file_counts_once(db, app, monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 1)
    report = brought(db, app, {"id": 5, "login": "ann"}, {"id": "5", "login": "bob"})
    assert report.refused == [Refusal(3, "id: is in an earlier line, too")]
    assert user_record.everything(db, 5)["user"]["login"] == "ann"


def test_an_id_of_somebody_else_is_refused(db, app):
    here = signed_up(db, app, "ann")
    there = signed_up(db, applications.create(db, "other", NOW), "bob")
    report = brought(db, app, {"id": here, "login": "ann"}, {"id": there, "login": "carol"})
    assert [one.reason for one in report.refused] == [
        "id: is that of a user who signed up here",
        "id: is that of a user of another application",
    ]


@pytest.mark.parametrize(
    "field, value, other",
    [
        ("login", "ann", " ANN "),
        ("email", "ann@example.com", "Ann@Example.COM"),
        ("external_user_id", 7, "7"),
        ("facebook_id", "fb1", "fb1"),
    ],
)
@pytest.mark.parametrize("batch", [1, 100])
def test_a_taken_value_is_refused_by_its_name(db, app, monkeypatch, field, value, other, batch):
    monkeypatch.setattr(imports, "BATCH", batch)
    taken = signed_up(db, app, "ann", **({} if field == "login" else {field: value}))
    report = brought(db, app, {"id": 50, "phone": BOB, field: other}, {"id": 51, "login": "bob"})
    assert report.refused == [Refusal(2, f"{field}: is taken by user {taken}")]
    twice = brought(db, app, {"id": 60, "login": "one", "email": "x@example.com"}, {"id": 61, "email": "X@example.com"})
    assert reason(twice) == "email: is taken by user 60"


def test_the_same_values_in_another_application_are_free(db, app):
    signed_up(db, applications.create(db, "other", NOW), "ann", email="ann@example.com")
    assert counts(brought(db, app, {"id": 50, "login": "ann", "email": "ann@example.com"})) == (1, 0, 0, 0)


def test_a_number_that_somebody_has_verified_here_is_not_given_to_another(db, app):
    owner = proofs.by_phone(db, LIMITS, app, ANN, HERE, NOW)
    for verified in (True, False):
        report = brought(db, app, {"id": 50, "phone": ANN, "verified": verified})
        assert reason(report) == f"phone: is the verified number of user {owner}"


def test_a_user_who_was_here_since_is_left_alone(db, app):
    rows = [{"id": number, "login": f"user{number}", "phone": f"+1202555010{number}"} for number in range(1, 5)]
    brought(db, app, *rows)
    assert proofs.by_phone(db, LIMITS, app, "+12025550101", HERE, NOW) == 1
    sessions.open_verified(db, app, 1, ts=NOW, nonce=1, now=NOW)
    users.reset_password(db, 2, NOW)
    changed = [row | {"full_name": "New"} for row in rows]
    report = brought(db, app, *changed, now=NOW + DAY)
    assert counts(report) == (0, 2, 0, 2)
    assert {one.reason for one in report.refused} == {
        "id: the user has signed in here since the import, or was given a password or a number"
    }
    assert user_record.everything(db, 1)["user"]["full_name"] is None


def test_a_user_whose_number_was_given_or_verified_since_is_left_alone(db, app):
    rows = [{"id": number, "login": f"user{number}", "phone": f"+1202555010{number}"} for number in range(1, 4)]
    brought(db, app, *rows)
    numbers.give(db, app, 1, "+12025550191", NOW + 1)
    assert proofs.by_phone(db, LIMITS, app, "+12025550102", HERE, NOW + 1) == 2
    report = brought(db, app, *[row | {"full_name": "New"} for row in rows], now=NOW + 2)
    assert counts(report) == (0, 1, 0, 2)
    for number in ("+12025550191", "+12025550102"):
        assert len(numbers.holders(db, app, number)) == 1
    assert numbers.holders(db, app, "+12025550101") == []


def test_a_proof_waits_for_an_import_that_changes_the_number(databases, monkeypatch):
    """PostgreSQL, where the sign-in begins before the import is committed."""
    with (
        databases.fresh("postgresql") as url,
        closing(store.connect(url, seal=SEAL)) as db,
        ThreadPoolExecutor(1) as pool,
    ):
        app = applications.create(db, "test", NOW - DAY)
        brought(db, app, {"id": 5, "login": "ann", "phone": ANN})
        entered: list[Any] = []
        add = imports.store.add_numbers

        def added(*given: Any) -> None:
            entered.append(pool.submit(proofs.by_phone, db, LIMITS, app, ANN, HERE, NOW + 2))
            with suppress(TimeoutError):
                entered[0].result(0.5)
            add(*given)

        monkeypatch.setattr(imports.store, "add_numbers", added)
        assert counts(brought(db, app, {"id": 5, "login": "ann", "phone": BOB}, now=NOW + 1)) == (0, 1, 0, 0)
        assert entered[0].result() != 5
        assert (numbers.holders(db, app, ANN), numbers.holders(db, app, BOB)) == ([entered[0].result()], [5])


# ── again ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_file_changes_who_was_not_here_yet(db, app):
    brought(db, app, EVERYTHING)
    later = EVERYTHING | {"phone": BOB, "login": "Anna", "last_request_at": NOW + 100}
    for days in (1, 2, 3):
        later["last_request_at"] += DAY
        assert counts(brought(db, app, later, now=NOW + days * DAY + 500)) == (0, 1, 0, 0)
    told = user_record.everything(db, 1005)
    assert (told["user"]["login"], [one["number"] for one in told["numbers"]]) == ("Anna", ["447700900123"])


def test_columns_that_the_file_does_not_have_stay_as_they_are(db, app):
    brought(db, app, EVERYTHING)
    before = user_record.everything(db, 1005)
    assert counts(brought(db, app, {"id": 1005, "full_name": ""}, now=NOW + 9)) == (0, 1, 0, 0)
    after = user_record.everything(db, 1005)
    assert after["user"].pop("full_name") is None
    changed = {name for name in after["user"] if after["user"][name] != before["user"][name]}
    assert changed == {"updated_at", "imported_at"}
    assert after["numbers"] == before["numbers"]


def test_a_number_can_be_verified_and_unverified_by_a_later_file(db, app):
    def verified_at() -> str | None:
        return user_record.everything(db, 5)["numbers"][0]["verified_at"]

    brought(db, app, {"id": 5, "phone": ANN})
    assert verified_at() is None
    brought(db, app, {"id": 5, "phone": ANN, "verified": True}, now=NOW + 1)
    first = verified_at()
    brought(db, app, {"id": 5, "phone": ANN, "verified": True, "full_name": "Ann"}, now=NOW + 2)
    assert first and verified_at() == first
    brought(db, app, {"id": 5, "phone": BOB}, now=NOW + 3)
    assert verified_at() is None


def test_two_users_may_exchange_their_logins_when_one_gives_it_up_first(db, app):
    brought(db, app, {"id": 5, "login": "ann"}, {"id": 6, "login": "bob"})
    report = brought(
        db, app, {"id": 5, "login": "carol"}, {"id": 6, "login": "ann"}, {"id": 7, "login": "bob"}, now=NOW + 1
    )
    assert counts(report) == (1, 2, 0, 0)


@pytest.mark.parametrize("step", [-1, 1])
def test_many_logins_may_move_on_to_the_next_user(db, app, step):
    """In whichever order the database updates the rows, two users never have the same login."""
    ids = list(range(1, 30))[::-step]
    brought(db, app, *({"id": number, "login": f"user{number}"} for number in ids))
    moved = [{"id": ids[0], "login": "fresh"}, *({"id": number, "login": f"user{number + step}"} for number in ids[1:])]
    assert counts(brought(db, app, *moved, now=NOW + 1)) == (0, 29, 0, 0)


texts = st.text(alphabet="ab7", min_size=3, max_size=3)
emails = st.builds("{}@example.com".format, st.sampled_from("abc"))
phones = st.sampled_from([ANN, BOB, "+12025550102", "call me"])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


ROWS = st.fixed_dictionaries(
    {"id": st.integers(1, 8)},
    optional={
        "login": maybe(texts),
        "email": maybe(emails),
        "phone": maybe(phones),
        "verified": st.booleans(),
        "full_name": maybe(st.text(alphabet="aé😀 ", max_size=4)),
        "external_id": maybe(texts),
        "external_user_id": maybe(st.integers(-2, 2)),
        "facebook_id": maybe(texts),
        "twitter_id": maybe(texts),
        "last_request_at": maybe(st.integers(10**8, NOW - 1)),
        "created_at": maybe(st.integers(10**8, NOW - 1)),
    },
)
both_databases = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


KILLED = """
import os, signal, sys
from pathlib import Path
from ringbook.core import applications, imports
from ringbook.store import db as databases
from ringbook.store import imports as store
from ringbook.seal import Seal

add, left, imports.BATCH = store.add_numbers, [2], 10

def killed(*given):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    add(*given)

store.add_numbers = killed
db = databases.connect(sys.argv[1], seal=Seal(bytes(range(32))))
imports.import_users(db, applications.get(db, int(sys.argv[2])), imports.Lines(Path(sys.argv[3])), now=int(sys.argv[4]))
"""


def test_an_import_that_is_killed_is_made_up_for_by_the_same_file_again(db, database_url, app, tmp_path):
    """The import is killed in its second batch, after its users and before their numbers are written."""
    file = tmp_path / "users.csv"
    rows = [f"{number},user{number},+120255501{number:02},true" for number in range(5, 35)]
    file.write_text("\n".join(["id,login,phone,verified", *rows]))
    command = [sys.executable, "-c", KILLED, database_url, str(app.id), str(file), str(NOW)]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    with db.read() as tx:
        half = (tx.tuples("SELECT COUNT(*) FROM users"), tx.tuples("SELECT COUNT(*) FROM numbers"))
    assert half == ([(10,)], [(10,)])
    assert signed_up(db, app, "meanwhile") >= 35
    assert counts(import_users(db, app, Lines(file), now=NOW + 5)) == (20, 0, 10, 0)
    assert counts(import_users(db, app, Lines(file), now=NOW + 9)) == (0, 0, 30, 0)
    assert proofs.by_phone(db, LIMITS, app, "+12025550134", HERE, NOW + 10) == 34


@both_databases
@given(rows=st.lists(ROWS, max_size=12), batch=st.sampled_from([1, 3, 1_000]))
def test_the_same_file_twice_changes_nothing_and_a_dry_run_says_what_a_run_does(db, rows, batch):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(imports, "BATCH", batch)
        dry_run_then_twice(db, rows)


def dry_run_then_twice(db: Database, rows: list[dict[str, Any]]) -> None:
    app = applications.create(db, "test", NOW - DAY)
    # Ids belong to the whole server, so each example has its own.
    with db.read() as tx:
        base = tx.tuples("SELECT COALESCE(MAX(id), 0) FROM users")[0][0]
    rows = [row | {"id": row["id"] + base} for row in rows]
    before = stored(db)
    foretold = brought(db, app, *rows, dry_run=True)
    assert stored(db) == before
    first = brought(db, app, *rows)
    assert first == foretold
    after = stored(db)
    second = brought(db, app, *rows, now=NOW + DAY)
    assert stored(db) == after
    assert counts(second) == (0, 0, first.added, len(first.refused))
    # The same rows, but perhaps for another reason: what a later row of the file brought is there by now.
    assert [one.line for one in second.refused] == [one.line for one in first.refused]
    refused = {one.line for one in first.refused}
    for line, row in enumerate(rows, 2):
        if line not in refused:
            assert_agrees(user_record.everything(db, row["id"]), row)


def assert_agrees(told: dict[str, Any], row: dict[str, Any]) -> None:
    """The export has the values of the line."""
    line = parse(Line(2, row), "", NOW)
    shown = json.loads(json.dumps(told))["user"]
    for name in ("login", "email", "phone", "full_name", "external_id", "facebook_id", "twitter_id"):
        assert shown[name] == ((row.get(name) or "").strip() or None)
    assert shown["external_user_id"] == row.get("external_user_id")
    assert [one["number"] for one in told["numbers"]] == ([] if line.number is None else [str(line.number)])
    assert all((one["verified_at"] is not None) == bool(row.get("verified")) for one in told["numbers"])
    for name in ("last_request_at", "created_at"):
        if row.get(name) is not None:
            again = parse(Line(2, {"id": 1, name: shown[name]}), "", NOW + DAY)
            assert again.columns[name] == row[name]
