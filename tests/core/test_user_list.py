"""The list of users: search, filters, order and pages give what a plain look at all users gives."""

import csv
import io
import random

import pytest
from core.joining import BOB, LIMITS, NOW, Play
from sealed import entries

from ringbook.core import imports, proofs, user_list, users
from ringbook.core.audit import Actor
from ringbook.core.import_lines import Line
from ringbook.core.profile import columns
from ringbook.core.user_list import Wanted
from ringbook.profile_fields import fold
from ringbook.store import user_list as store
from ringbook.store import words

BY = Actor("op@example.com", "192.0.2.9", NOW)
NAMES = ("Ann Archer", "Ben Archer", "Chloé Dubois", "Dieter Ann", "", "Esra Yılmaz")


@pytest.fixture
def play(db):
    return Play(db)


def add(play, at=NOW, **fields):
    with play.db.write() as tx:
        return users.add(tx, play.app, columns(fields), at).id


def crowd(play, count=137):
    """Users of whom some have a name, a device, contacts."""
    chance = random.Random(5)
    ids = []
    for n in range(count):
        fields = {"login": f"person-{n}", "full_name": f"{chance.choice(NAMES)}" or None}
        ids.append(add(play, NOW + chance.randrange(5), **fields))
        if n % 3 == 0:
            play.device(ids[-1], f"fcm-token-of-person-{n}")
        if n % 4 == 0:
            play.holds(ids[-1], (BOB, "Bob"))
    return ids


def all_pages(play, **wanted):
    """The ids of all pages, one after another."""
    found, after = [], 0
    while after is not None:
        page = user_list.page(play.db, play.app, Wanted(**wanted), after)
        assert len(page.users) <= user_list.PER_PAGE
        found += [one.id for one in page.users]
        after = page.after
    return found


def plain(play, ids, sort):
    """The same by looking at every user."""
    with play.db.read() as tx:
        keys = {row["id"]: row for row in store.keys_of(tx, play.app_id, ids)}
    if sort in ("newest", "oldest"):
        return sorted(ids, key=lambda one: (keys[one]["created_at"], one), reverse=sort == "newest")
    named = [one for one in ids if keys[one]["full_name_folded"] is not None]
    unnamed = sorted(one for one in ids if keys[one]["full_name_folded"] is None)
    return sorted(named, key=lambda one: (keys[one]["full_name_folded"], one), reverse=sort == "-name") + unnamed


@pytest.mark.parametrize("sort", user_list.SORTS)
def test_pages_in_every_order_hold_each_user_once(play, sort):
    ids = crowd(play)
    other = Play(play.db)
    add(other, login="elsewhere", full_name="Ann")
    assert all_pages(play, sort=sort) == plain(play, ids, sort)


def test_filters_keep_whom_they_name(play, monkeypatch):
    monkeypatch.setattr(user_list, "AT_ONCE", 7)
    ids = crowd(play)
    devices = [one for n, one in enumerate(ids) if n % 3 == 0]
    both = [one for n, one in enumerate(ids) if n % 12 == 0]
    assert sorted(all_pages(play, only=("device",))) == sorted(devices)
    assert all_pages(play, only=("device", "book"), sort="oldest") == plain(play, both, "oldest")
    assert all_pages(play, only=("verified",)) == []
    verified = proofs.by_phone(play.db, LIMITS, play.app, BOB, "192.0.2.1", NOW)
    assert all_pages(play, only=("verified",)) == [verified]
    late = all_pages(play, since=NOW + 3)
    with play.db.read() as tx:
        assert all(row["created_at"] >= NOW + 3 for row in store.keys_of(tx, play.app_id, late))
    assert all_pages(play, since=NOW + 10**6) == []


def test_a_page_looks_at_a_bounded_number_of_users(play, monkeypatch):
    monkeypatch.setattr(user_list, "AT_ONCE", 10)
    monkeypatch.setattr(user_list, "MOST_LOOKED_AT", 30)
    ids = crowd(play, 100)
    page = user_list.page(play.db, play.app, Wanted(only=("verified",)), 0)
    assert (page.users, page.looked_at) == ([], 30) and page.after == plain(play, ids, "newest")[29]
    assert all_pages(play, only=("verified",)) == []


def test_a_search_finds_the_beginning_of_any_word_and_sorts(play):
    ann = add(play, login="a.archer", full_name="Ann Archer")
    archie = add(play, NOW + 1, login="zed", full_name="Zed", external_id="archive-7")
    add(play, login="march")
    assert set(all_pages(play, text="arch")) == {ann, archie}
    assert all_pages(play, text="ARCH", sort="newest") == [archie, ann]
    assert all_pages(play, text="arch", sort="name") == [ann, archie]
    assert all_pages(play, text="ann arch") == [ann] and all_pages(play, text="arch ann zed") == []
    assert all_pages(play, text="archive-7")[0] == archie  # by the whole external id first
    page = user_list.page(play.db, play.app, Wanted(text="arch"), 0)
    assert (page.matches, page.is_cut) == (2, False)


def test_a_search_finds_whom_a_plain_look_finds(play):
    ids = crowd(play)
    for text in ("a", "arc", "ann", "ann a", "person", "chloe dubois", "yılmaz", "person 12"):
        beginnings = user_list.splitting.of_query(text)
        with play.db.read() as tx:
            expected = {
                one.id
                for one in users.store.by_ids(tx, play.app_id, ids).values()
                if all(any(word.startswith(part) for word in users._words(one)) for part in beginnings)
            }
        assert set(all_pages(play, text=text)) == expected, text


def test_common_beginnings_are_cut(play, monkeypatch):
    monkeypatch.setattr(user_list, "MOST_FOUND", 20)
    crowd(play, 60)
    page = user_list.page(play.db, play.app, Wanted(text="person"), 0)
    assert page.is_cut and page.matches == 20 and len(all_pages(play, text="person")) == 20


def test_users_with_many_words_of_one_beginning_are_cut_too(play, monkeypatch):
    """Three rows of the index are one user: a search that ends among such rows has not seen all users."""
    monkeypatch.setattr(user_list, "MOST_FOUND", 20)
    for n in range(25):
        add(play, login=f"user-{n}", full_name=f"P{n:02}a P{n:02}b P{n:02}c")
    page = user_list.page(play.db, play.app, Wanted(text="p"), 0)
    assert page.is_cut and page.matches == 14


def exported(play, **wanted):
    """The ids in the export."""
    content = b"".join(user_list.csv_rows(play.db, play.app, Wanted(**wanted), BY)).decode()
    return [int(row["id"]) for row in csv.DictReader(io.StringIO(content))]


@pytest.mark.parametrize("text", ["person", "person 1", "ann a", "dubois"])
def test_the_export_of_a_search_holds_every_match_however_many(play, monkeypatch, text):
    crowd(play, 60)
    whole = sorted(all_pages(play, text=text))
    assert sorted(exported(play, text=text)) == whole
    monkeypatch.setattr(user_list, "MOST_FOUND", 3)
    monkeypatch.setattr(user_list, "CSV_BATCH", 7)
    assert exported(play, text=text) == whole
    device = [one for one in whole if one in set(exported(play, only=("device",)))]
    assert exported(play, text=text, only=("device",)) == device


def test_the_export_of_a_common_word_holds_who_is_found_by_a_whole_value(play, monkeypatch):
    ids = crowd(play, 30)
    last = add(play, login="zoe", external_id="person")
    with play.db.write() as tx:
        words.forget(tx, [last])
    monkeypatch.setattr(user_list, "MOST_FOUND", 3)
    assert exported(play, text="person") == sorted([*ids, last])


def words_of(play, user_id):
    with play.db.read() as tx:
        return {row[0] for row in tx.tuples("SELECT word FROM words WHERE user_id = :id", id=user_id)}


def test_words_follow_the_account(play):
    ann = add(play, login="ann", full_name="Ann Archer")
    assert words_of(play, ann) == {"ann", "archer"}
    change = users._Change({"full_name": "Anna", "full_name_folded": fold("Anna")}, b"", "", "", {})
    with play.db.write() as tx:
        users._changed(tx, play.caller(ann), change, NOW)
    assert words_of(play, ann) == {"ann", "anna"}
    users.erase(play.db, ann)
    assert words_of(play, ann) == set()
    with play.db.read() as tx:
        assert words.found(tx, play.app_id, ["ann"], 10) == ([], False)


def test_words_follow_an_imported_file(play):
    def bring(**fields):
        line = Line(2, {"id": "7", "login": "ann", "phone": BOB, "verified": "yes", **fields})
        imports.import_users(play.db, play.app, [line], now=NOW, dry_run=False)

    bring(full_name="Ann Archer")
    assert words_of(play, 7) == {"ann", "archer"} and all_pages(play, text="arch") == [7]
    bring(full_name="Ann Baker", external_id="crew-9")
    assert words_of(play, 7) == {"ann", "baker", "crew", "9"} and all_pages(play, text="arch") == []


def test_the_export_holds_every_user_and_no_formula(play):
    ids = crowd(play, 30)
    evil = add(play, login="=cmd()", full_name="@SUM(A1)", phone="+44 7700 900123", email="ann@example.com")
    monkey = b"".join(user_list.csv_rows(play.db, play.app, Wanted(), BY)).decode()
    rows = list(csv.DictReader(io.StringIO(monkey)))
    assert [int(row["id"]) for row in rows] == sorted([*ids, evil])
    last = next(row for row in rows if int(row["id"]) == evil)
    assert (last["login"], last["full_name"]) == ("'=cmd()", "'@SUM(A1)")
    assert (last["phone"], last["email"]) == ("+44 7700 900123", "ann@example.com")
    assert sum(row["has_device"] == "yes" for row in rows) == 10 and sum(int(row["contacts"]) for row in rows) == 8
    only = b"".join(user_list.csv_rows(play.db, play.app, Wanted(only=("device",)), BY)).decode()
    assert len(list(csv.DictReader(io.StringIO(only)))) == 10
    assert [entry.action for entry in entries(play.db)][:2] == ["users exported"] * 2


def test_the_export_comes_in_batches(play, monkeypatch):
    monkeypatch.setattr(user_list, "CSV_BATCH", 10)
    crowd(play, 25)
    assert len(list(user_list.csv_rows(play.db, play.app, Wanted(), BY))) == 4


@pytest.mark.parametrize(
    "value, written",
    [
        ("=1+1", "'=1+1"),
        ("Ann;=1+1", "Ann;'=1+1"),
        ("Ann\t@SUM(1)", "Ann\t'@SUM(1)"),
        ('Ann\n "=1', "Ann\n \"'=1"),
        (" =1", " '=1"),
        ("+1 (202) 555-0142", "+1 (202) 555-0142"),
        ("+1;=1", "'+1;'=1"),
        ("Ann-Marie; Bob", "Ann-Marie; Bob"),
    ],
)
def test_no_separator_of_a_spreadsheet_begins_a_formula(value, written):
    assert user_list._cell(value) == written
