"""Announcements of joined contacts: who is notified, how often and with which text. On both databases."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from core.joining import ANN, BOB, CLEO, DAY, LIMITS, Play
from hypothesis import given
from hypothesis import strategies as st
from servers import SEAL

from ringbook import errors
from ringbook.core import announcing, delivery, discovery, users
from ringbook.core.joined_texts import words
from ringbook.model import Entry
from ringbook.store import joined as store
from ringbook.store.db import connect
from ringbook.store.db.postgres import PostgresTx


@pytest.fixture
def play(db):
    return Play(db)


def holder(play: Play, login: str, *contacts: tuple[str, str]) -> int:
    """A user with a book and a device."""
    user = play.person(login)
    play.holds(user.id, *contacts)
    play.device(user.id, f"fcm-token-of-{login}")
    return user.id


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "template, name, text",
    [
        ("Your friend %s joined.", "Ann", "Your friend Ann joined."),
        ("%s is here", "100% Ann %s %%", "100% Ann %s %% is here"),
        ("100%% of %s", "Ann", "100% of Ann"),
        ("%%s %s", "Ann", "%s Ann"),
        ("Somebody joined", "Ann", "Somebody joined"),
    ],
)
def test_the_name_stands_where_the_template_says(template, name, text):
    assert words(template, name) == text


@given(st.text(), st.text(alphabet="%sx", max_size=8))
def test_a_name_stays_as_it_is_whatever_it_holds(name, other):
    assert words("<%s>" + other.replace("%", "%%"), name) == f"<{name}>{other}"


# ── who ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_holder_is_told_with_the_name_from_their_own_book(play):
    bob = holder(play, "bob", (ANN, "Annie"), (CLEO, "Cleo"))
    cleo = holder(play, "cleo", ("+1 202 555 0101", "Ann from work"))
    holder(play, "nobody", (CLEO, "Cleo"))
    ann = play.person("ann", ANN)
    play.tell()
    assert play.pushes() == [(bob, "Your friend Annie joined."), (cleo, "Your friend Ann from work joined.")]
    assert play.facts() == []
    payload = play.payloads()[0][2]
    assert payload == {"message": "Your friend Annie joined.", "user_id": ann.id, "type": "contact_joined"}


def test_a_number_is_the_same_however_each_of_them_dials_it(play):
    play.set(default_region="GB")
    bob = holder(play, "bob", ("07700 900123", "Ann at home"))
    cleo = holder(play, "cleo", ("00 44 (0)7700 900123", "Ann abroad"))
    holder(play, "nobody", ("+1 202 555 0101", "Another"))
    play.person("ann", "+44 7700 900123")
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann at home joined."), (cleo, "Your friend Ann abroad joined.")]


def test_from_the_first_verified_number_on_only_verified_ones_are_told(play):
    """`require_verified_number` is auto: after the first verified number, only verified numbers count."""
    bob = holder(play, "bob", (ANN, "Ann"), (BOB, "Bob"), (CLEO, "Cleo"))
    play.person("cleo", CLEO)
    play.verified(ANN)
    play.tell()  # what was typed before, and not told yet, is not any more
    play.person("impostor", BOB)
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann joined.")]


def test_every_device_of_a_holder_is_reached_but_none_by_a_voip_push(play):
    bob = holder(play, "bob", (ANN, "Ann"))
    play.device(bob, "0f" * 32, channel="apns", platform="ios")
    play.device(bob, "1f" * 32, channel="apns_voip", platform="ios")
    play.person("ann", ANN)
    play.tell()
    channels = [row["channel"] for row in play.rows("SELECT channel FROM pushes ORDER BY subscription_id")]
    assert channels == ["gcm", "apns"]


def test_development_subscriptions_are_told_only_where_the_application_says_so(play):
    bob = holder(play, "bob")
    play.device(bob, "fcm-token-development", environment="development")
    play.holds(bob, (ANN, "Ann"), (CLEO, "Cleo"))
    play.person("ann", ANN)
    play.tell()
    assert len(play.pushes()) == 1
    play.set(contact_joined_development="on")
    play.person("cleo", CLEO)
    play.tell()
    assert len(play.pushes()) == 3


def test_nobody_is_told_of_themselves(play):
    ann = play.person("ann")
    play.holds(ann.id, (ANN, "Me"))
    play.device(ann.id, "fcm-token-of-ann")
    play.changes(ann.id, phone=ANN)
    play.tell()
    assert play.pushes() == []


def test_somebody_with_several_books_is_told_once_with_the_name_of_the_book_of_all_devices(play):
    bob = holder(play, "bob")
    play.holds(bob, (ANN, "Old phone"), device="old")
    play.now += 10
    play.holds(bob, (ANN, "New phone"), device="new")
    play.person("ann", ANN)
    play.tell()
    assert play.pushes() == [(bob, "Your friend New phone joined.")]
    play.holds(bob, (CLEO, "Everywhere"))
    play.now += 10
    play.holds(bob, (CLEO, "New phone"), device="new")
    play.person("cleo", CLEO)
    play.tell()
    assert play.pushes()[1:] == [(bob, "Your friend Everywhere joined.")]


def test_two_applications_know_nothing_of_each_other(play, db):
    other = Play(db)
    holder(other, "bob", (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    assert play.pushes() == []


def test_fcm_shows_it_by_itself_where_the_application_says_so(play):
    play.set(contact_joined_fcm_notification="on")
    bob = holder(play, "bob", (ANN, "Ann"))
    play.device(bob, "0f" * 32, channel="apns", platform="ios")
    play.person("ann", ANN)
    play.tell()
    android, ios = (payload for _, _, payload in play.payloads())
    assert android["android_fcm_notification"] == {"body": "Your friend Ann joined."}
    assert "android_fcm_notification" not in ios


# ── once for ever ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_holder_is_told_of_a_number_once_for_ever(play):
    holder(play, "bob", (ANN, "Ann"))
    ann = play.person("ann", ANN)
    play.tell()
    users.erase(play.db, ann.id)
    play.person("ann2", ANN)
    play.tell()
    assert play.pushes() == []  # the first one went with her account, and there is no second


def test_also_when_the_contact_was_removed_and_added_again(play):
    bob = holder(play, "bob", (ANN, "Ann"))
    first = play.person("ann", ANN)
    play.tell()
    play.changes(first.id, phone=CLEO)
    play.now += DAY
    discovery.upload(play.db, LIMITS, play.caller(bob), [Entry(ANN, None, True)], now=play.now)
    play.holds(bob, (ANN, "Ann again"))
    play.person("other", ANN)
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann again joined.")]


def test_a_verified_joiner_is_told_once_more_after_an_unverified_one(play):
    bob = holder(play, "bob", (ANN, "Ann"))
    play.person("impostor", ANN)
    play.tell()
    play.verified(ANN)
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann joined.")] * 2
    play.now += 200 * DAY  # the number is handed on, and its next owner verifies it
    play.verified(ANN)
    play.tell()
    assert len(play.pushes()) == 2


def test_an_unverified_joiner_is_not_told_after_a_verified_one(play):
    play.set(require_verified_number="off")
    holder(play, "bob", (ANN, "Ann"))
    play.verified(ANN)
    play.tell()
    play.person("impostor", ANN)
    play.tell()
    assert len(play.pushes()) == 1


def test_a_holder_without_a_device_counts_as_told(play):
    bob = play.person("bob")
    play.holds(bob.id, (ANN, "Ann"))
    ann = play.person("ann", ANN)
    play.tell()
    play.device(bob.id, "fcm-token-of-bob")
    play.changes(ann.id, phone=CLEO)
    play.changes(ann.id, phone=ANN)
    play.tell()
    assert play.pushes() == []


def test_what_was_told_is_not_kept_as_a_number(play):
    holder(play, "bob", (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    (kept,) = play.rows("SELECT * FROM announced")
    assert 12025550101 not in kept.values()
    assert play.rows("SELECT number, digits, result FROM joined") == [
        {"number": None, "digits": None, "result": "told"}
    ]


def test_what_was_told_ends_with_the_holders_account(play):
    bob = holder(play, "bob", (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    users.erase(play.db, bob)
    assert play.rows("SELECT * FROM announced") == play.rows("SELECT * FROM pushes") == []


# ── facts that came to nothing ───────────────────────────────────────────────────────────────────────────────────────


def test_a_fact_that_is_true_no_longer_is_not_told(play):
    holder(play, "bob", (ANN, "Ann"))
    ann = play.person("ann", ANN)
    play.changes(ann.id, phone=CLEO)
    play.tell()
    assert play.pushes() == []
    assert play.rows("SELECT result FROM joined ORDER BY id")[0] == {"result": "the user no longer has this number"}


def test_a_fact_is_not_told_once_the_setting_is_off_or_only_verified_numbers_count(play):
    holder(play, "bob", (ANN, "Ann"), (CLEO, "Cleo"))
    play.person("ann", ANN)
    play.set(require_verified_number="on")
    play.tell()
    play.set(require_verified_number="off")
    play.person("cleo", CLEO)
    play.set(contact_joined_enabled="off")
    play.tell()
    assert play.pushes() == []
    assert play.facts() == []


def test_erasing_the_joiner_takes_the_fact_and_the_pushes_about_them_along(play):
    holder(play, "bob", (ANN, "Ann"), (CLEO, "Cleo"))
    ann, cleo = play.person("ann", ANN), play.person("cleo", CLEO)
    announcing.expand(play.db, play.now)
    users.erase(play.db, ann.id)
    users.erase(play.db, cleo.id)
    assert play.rows("SELECT * FROM joined") == play.rows("SELECT * FROM pushes") == []


# ── in batches ───────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def happening_after(monkeypatch, place, name: str, work: Callable[[], object]) -> Iterator[None]:
    """Do something right after the first call of a function. On SQLite it waits for the transaction's end."""
    call, working = getattr(place, name), []

    def slowly(*values, **named):
        answer = call(*values, **named)
        if not working:
            working.append(Thread(target=work))
            working[0].start()
            working[0].join(2)
        return answer

    monkeypatch.setattr(place, name, slowly)
    yield
    working[0].join()


def erased_after(monkeypatch, place, name: str, play: Play, user_id: int):
    """Erase a user right after the first call of a function."""
    return happening_after(monkeypatch, place, name, lambda: users.erase(play.db, user_id))


def test_a_batch_on_postgresql_reads_the_rows_of_its_own_holders_alone(databases, monkeypatch):
    """Whatever the statistics say: here they say that most tables are empty."""
    plans: list[tuple[str, str]] = []
    execute = PostgresTx._execute

    def explained(tx, sql, params):
        if "AS h LEFT JOIN" in sql:
            (plan,) = tx._statements.tuples(execute(tx, f"EXPLAIN (FORMAT JSON) {sql}", {**params}))[0]
            plans.extend(reads(plan if isinstance(plan, list) else json.loads(plan)))
        return execute(tx, sql, params)

    with databases.fresh("postgresql") as url, closing(connect(url, seal=SEAL)) as db:
        play = Play(db)
        for n in range(6):
            wishes = {"time_zone": "Europe/Berlin", "quiet": ("00:00", "23:59")} if n % 2 else {"digest": 0}
            play.prefers(holder(play, f"holder{n}", (ANN, "Ann")), **wishes)
        play.person("ann", ANN)
        with db.write() as tx:
            for statement in OTHERS:
                tx.run(statement)
        monkeypatch.setattr(PostgresTx, "_execute", explained)
        announcing.expand(db, play.now)
    found = {table for table, _ in plans}
    assert found == {"contacts", "users", "announced", "joined_lists", "preferences", "subscriptions"}
    assert [one for one in plans if not re.search(r"owner_id (>|=)|id = \w+\.owner_id", one[1])] == []


# Users who heard of the same fact, and what a batch looks at: only of contacts the statistics are new.
OTHERS = (
    "INSERT INTO users (id, app_id, is_guest, created_at, updated_at)"
    " SELECT 1000000 + n, j.app_id, 0, 0, 0 FROM joined AS j, generate_series(1, 5000) AS n",
    "INSERT INTO announced (owner_id, app_id, number, digits, verified, at, joined_id, joined_user_id, place)"
    " SELECT u.id, j.app_id, j.number, j.digits, 0, 0, j.id, 0, 1 FROM joined AS j, users AS u WHERE u.id > 1000000",
    "INSERT INTO joined_lists (owner_id, app_id, incarnation, last_place, joined_id, seen_up_to, window_at,"
    " window_count) SELECT u.id, j.app_id, 0, 1, j.id, 0, 0, 0 FROM joined AS j, users AS u WHERE u.id > 1000000",
    "INSERT INTO subscriptions (user_id, id, app_id, device, platform, channel, environment, token, token_key,"
    " created_at, updated_at) SELECT u.id, u.id, s.app_id, 'some', s.platform, s.channel, s.environment, s.token,"
    " s.token_key, 0, 0 FROM users AS u, (SELECT * FROM subscriptions LIMIT 1) AS s WHERE u.id > 1000000",
    "INSERT INTO preferences (user_id, app_id, digest, time_zone, quiet_from, quiet_to)"
    " SELECT id, app_id, 0, 'Europe/Berlin', 0, 1439 FROM users WHERE id > 1000000",
    "INSERT INTO contacts (owner_id, book, number, app_id, entry, seq, sealed)"
    " SELECT a.owner_id, 0, a.number, a.app_id, 0, 0, a.digits FROM announced AS a",
    "ANALYZE contacts",
    "UPDATE pg_class SET relpages = 1, reltuples = 0 WHERE relname IN"
    " ('users', 'announced', 'joined_lists', 'subscriptions', 'preferences')",
)


def reads(plan: Any) -> Iterator[tuple[str, str]]:
    """The tables that a plan reads, and by what it finds their rows."""
    if isinstance(plan, list):
        for part in plan:
            yield from reads(part)
    elif "Plan" in plan:
        yield from reads(plan["Plan"])
    else:
        if "Scan" in plan["Node Type"] and "Relation Name" in plan:
            yield plan["Relation Name"], plan.get("Index Cond") or plan.get("Recheck Cond") or ""
        yield from reads(plan.get("Plans", []))


def test_a_holder_who_comes_while_holders_are_told_gets_the_push_or_is_not_noted(play, monkeypatch):
    """The newcomer's device is in a lane where none of the others had one."""
    zoe = play.person("zoe")
    play.device(zoe.id, "ab" * 32, channel="apns", platform="ios")
    bob = holder(play, "bob", (ANN, "Ann"))
    play.person("ann", ANN)
    arrives = happening_after(monkeypatch, announcing.store, "devices", lambda: play.holds(zoe.id, (ANN, "Ann")))
    with arrives, suppress(announcing.Overtaken):
        announcing.expand(play.db, play.now)
    play.tell()
    noted = {row["owner_id"] for row in play.rows("SELECT owner_id FROM announced")}
    assert noted == {row["user_id"] for row in play.rows("SELECT user_id FROM pushes")}
    assert bob in noted


def test_a_joiner_who_is_erased_while_holders_are_told_is_told_to_nobody(play, monkeypatch):
    """On PostgreSQL both run at the same time; on SQLite the erasure deletes the pushes."""
    holder(play, "bob", (ANN, "Ann"))
    ann = play.person("ann", ANN)
    with erased_after(monkeypatch, announcing.pushes, "add_joined", play, ann.id), suppress(announcing.Overtaken):
        announcing.expand(play.db, play.now)
    assert play.rows("SELECT * FROM pushes") == []


@pytest.mark.parametrize("has_list", [False, True], ids=["first fact", "second fact"])
@pytest.mark.parametrize("moment", ["have_chosen", "_take_places", "announce", "for_digest", "move"])
def test_of_a_holder_who_is_erased_while_holders_are_told_nothing_is_left(play, monkeypatch, moment, has_list):
    """No foreign key binds the notes of whom a user was told about."""
    gone, bob = (holder(play, name, (ANN, "Ann"), (CLEO, "Cleo")) for name in ("gone", "bob"))
    if has_list:
        play.person("cleo", CLEO)
        play.tell()
    play.person("ann", ANN)
    with erased_after(monkeypatch, announcing.store, moment, play, gone), suppress(announcing.Overtaken):
        announcing.expand(play.db, play.now)
    play.tell()
    for table, owner in (("announced", "owner_id"), ("joined_lists", "owner_id"), ("pushes", "user_id")):
        assert {row["id"] for row in play.rows(f"SELECT {owner} AS id FROM {table}")} == {bob}, table
    assert (bob, "Your friend Ann joined.") in play.pushes()


def test_a_holder_who_is_erased_while_holders_are_told_puts_off_nobody(play, monkeypatch):
    gone, bob = holder(play, "gone", (ANN, "Ann")), holder(play, "bob", (ANN, "Ann"))
    play.person("ann", ANN)
    with erased_after(monkeypatch, announcing.store, "holders", play, gone), suppress(announcing.Overtaken):
        announcing.expand(play.db, play.now)
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann joined.")]


def test_a_fact_that_cannot_be_told_lets_the_others_go_first(play, monkeypatch):
    bob = holder(play, "bob", (ANN, "Ann"), (CLEO, "Cleo"))
    ann, _ = play.person("ann", ANN), play.person("cleo", CLEO)
    holders = announcing.store.holders

    def failing(tx, app_id, number, after, limit):
        if number == 12025550101:
            raise ArithmeticError
        return holders(tx, app_id, number, after, limit)

    monkeypatch.setattr(announcing.store, "holders", failing)
    with pytest.raises(ArithmeticError):
        announcing.expand(play.db, play.now)
    play.tell()
    assert play.pushes() == [(bob, "Your friend Cleo joined.")]
    monkeypatch.undo()
    play.now += announcing.AGAIN_SECONDS
    play.tell()
    assert [row["about_user_id"] for row in play.rows("SELECT about_user_id FROM pushes ORDER BY id")][1] == ann.id


@pytest.mark.parametrize(
    "damage", ["UPDATE joined SET digits = :broken", "UPDATE applications SET auth_secret = :broken"]
)
def test_a_fact_that_cannot_be_read_lets_those_of_other_applications_go_first(play, damage):
    other = Play(play.db)
    bob = holder(other, "bob", (CLEO, "Cleo"))
    play.person("ann", ANN)
    with play.db.write() as tx:
        id_ = "id" if "applications" in damage else "app_id"
        tx.run(f"{damage} WHERE {id_} = :app_id", broken=bytes(32), app_id=play.app_id)
    other.person("cleo", CLEO)
    with pytest.raises(errors.Unreadable):
        other.tell()
    other.tell()
    assert other.pushes() == [(bob, "Your friend Cleo joined.")]


def test_a_number_that_is_verified_while_it_is_told_is_told_once(play):
    play.set(require_verified_number="off")
    holders = [holder(play, f"holder{n}", (ANN, "Ann")) for n in range(4)]
    ann = play.person("ann", ANN)
    announcing.expand(play.db, play.now, 2)
    play.changes_verified(ann.id, ANN)
    play.tell(batch=2)
    assert [who for who, _ in play.pushes()] == sorted([*holders, *holders[:2]])


def test_many_holders_are_told_in_batches_each_once(play):
    holders = [holder(play, f"holder{n}", (ANN, f"Ann {n}")) for n in range(7)]
    play.person("ann", ANN)
    play.tell(batch=2)
    assert play.pushes() == [(who, f"Your friend Ann {n} joined.") for n, who in enumerate(holders)]


@pytest.mark.parametrize("workers", [4])
def test_several_workers_at_once_tell_everybody_once(play, workers):
    holders = [holder(play, f"holder{n}", (ANN, "Ann"), (BOB, "Bob")) for n in range(12)]
    play.person("ann", ANN)
    play.person("bob", BOB)
    ready, trouble = Barrier(workers), []

    def work():
        ready.wait()
        try:
            while announcing.expand(play.db, play.now, 3):
                pass
        except Exception as error:
            trouble.append(error)

    threads = [Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    assert sorted(who for who, _ in play.pushes()) == sorted(holders * 2)
    assert play.facts() == []


# ── the application's backend ────────────────────────────────────────────────────────────────────────────────────────


def test_the_backend_is_told_once_of_each_fact_without_names_and_numbers(play):
    play.set(webhook_url="https://example.com/hook", webhook_secret="a secret of the tests")
    for n in range(5):
        holder(play, f"holder{n}", (ANN, "Secret name"))
    ann = play.person("ann", ANN)
    play.tell(batch=2)
    (event,) = (due.message.payload for due in delivery.claim(play.db, play.now, 10) if not due.subscription_id)
    assert event == {
        "id": event["id"],
        "type": "contact_joined",
        "application_id": play.app_id,
        "user_id": ann.id,
        "verified": False,
        "created_at": "2027-01-15T08:00:00Z",
    }


def test_the_backend_is_not_told_of_somebody_whom_nobody_knows(play):
    play.set(webhook_url="https://example.com/hook", webhook_secret="a secret of the tests")
    play.person("ann", ANN)
    play.tell()
    assert play.rows("SELECT * FROM pushes") == []


def test_old_facts_are_forgotten(play):
    play.person("ann", ANN)
    play.tell()
    assert announcing.sweep(play.db, play.now) == 0
    assert announcing.sweep(play.db, play.now + 1) == 1
    play.person("bob", BOB)
    assert announcing.sweep(play.db, play.now + 1) == 0  # it has not been told yet


# ── the joined user decides ──────────────────────────────────────────────────────────────────────────────────────────


def told(play: Play) -> list[int]:
    """Who is noted as notified of Ann's number, in the order of the ids."""
    keyed = play.db.seal.number(play.app_id, 12025550101)
    rows = play.rows("SELECT owner_id FROM announced WHERE number = :keyed ORDER BY owner_id", keyed=keyed)
    return [row["owner_id"] for row in rows]


def result(play: Play) -> str | None:
    return play.rows("SELECT result FROM joined ORDER BY created_at DESC, id DESC LIMIT 1")[0]["result"]


KINDS = pytest.mark.parametrize("kind", ["announce", "discoverable"])  # who does not find a user is not told either


@KINDS
@pytest.mark.parametrize("by_default", [False, True])
def test_nobody_is_told_of_a_user_who_wants_that(play, by_default, kind):
    holder(play, "bob", (ANN, "Ann"))
    if by_default:
        play.set(**{f"contact_joined_{kind}": "nobody"})
    ann = play.person("ann", ANN)
    if not by_default:
        play.prefers(ann.id, **{kind: "nobody"})
    play.tell()
    assert (told(play), play.pushes(), play.facts()) == ([], [], [])
    assert result(play) == announcing.WITHHELD


@KINDS
def test_who_changes_to_everyone_later_is_announced_then_and_once(play, kind):
    bob = holder(play, "bob", (ANN, "Ann"))
    ann = play.person("ann", ANN)
    play.prefers(ann.id, **{kind: "nobody"})
    play.tell()
    for _ in range(2):
        play.prefers(ann.id, **{kind: "everyone"})
        play.tell()
        assert play.pushes() == [(bob, "Your friend Ann joined.")]
        play.prefers(ann.id, **{kind: "nobody"})


def test_who_changes_to_nobody_while_holders_are_told_is_not_told_to_the_others(play):
    holders = [holder(play, f"holder{n}", (ANN, "Ann")) for n in range(4)]
    ann = play.person("ann", ANN)
    announcing.expand(play.db, play.now, 2)
    play.prefers(ann.id, announce="nobody")
    play.tell(batch=2)
    assert (told(play), play.facts()) == (holders[:2], [])
    play.prefers(ann.id, announce="everyone")
    play.tell(batch=2)
    assert [who for who, _ in play.pushes()] == holders


@KINDS
def test_only_mutual_contacts_are_told_also_after_uploads_of_the_next_30_days(play, kind):
    bob, cleo = holder(play, "bob", (ANN, "Ann")), holder(play, "cleo", (ANN, "Ann"))
    play.changes(bob, phone=BOB)
    play.changes(cleo, phone=CLEO)
    ann = play.person("ann", ANN)
    play.prefers(ann.id, **{kind: "mutual"})
    play.tell()
    assert (play.pushes(), told(play)) == ([], [])
    play.holds(ann.id, ("+4915550100999", "Nobody"))
    play.tell()
    assert told(play) == []
    play.holds(ann.id, (BOB, "Bob"), device="tablet")
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann joined.")]
    play.now += 29 * DAY
    play.holds(ann.id, (BOB, "Bobby"), (CLEO, "Cleo"))
    play.tell()
    assert told(play) == [bob, cleo]
    play.now += DAY
    play.tell()
    assert (play.facts()[-1:], result(play)) == ([], "told")


def test_after_30_days_an_upload_tells_nobody(play):
    bob = holder(play, "bob", (ANN, "Ann"))
    play.changes(bob, phone=BOB)
    ann = play.person("ann", ANN)
    play.prefers(ann.id, announce="mutual")
    play.tell()
    play.now += 30 * DAY
    play.holds(ann.id, (BOB, "Bob"))
    play.tell()
    assert (told(play), play.facts()) == ([], [])


def test_after_many_uploads_contacts_are_looked_at_once_a_minute(play):
    """Each look reads all contacts of the user, and a stranger can upload as often as the server answers."""
    bob = holder(play, "bob", (ANN, "Ann"))
    play.changes(bob, phone=BOB)
    ann = play.person("ann", ANN)
    play.prefers(ann.id, announce="mutual")
    play.tell()
    for n in range(store.AT_ONCE):
        play.holds(ann.id, (f"+491555010{n:04}", "Nobody"))
        assert announcing.expand(play.db, play.now) == 1
    play.holds(ann.id, (BOB, "Bob"))
    play.now += store.REST_SECONDS - 1
    play.holds(ann.id, (CLEO, "Cleo"))
    play.tell()
    assert play.pushes() == []
    play.now += 1
    play.tell()
    assert play.pushes() == [(bob, "Your friend Ann joined.")]


def test_an_upload_that_adds_nobody_or_of_another_user_makes_nothing_due(play):
    ann, bob = play.person("ann", ANN), play.person("bob", BOB)
    play.prefers(ann.id, announce="mutual")
    play.tell()
    play.holds(ann.id, (CLEO, "Cleo"))
    play.tell()
    (waits,) = play.rows("SELECT armed, due_at FROM joined WHERE done_at IS NULL")
    play.holds(ann.id, (CLEO, "Cleopatra"))
    play.holds(bob.id, (CLEO, "Cleo"), (ANN, "Ann"))
    assert play.rows("SELECT armed, due_at FROM joined WHERE done_at IS NULL") == [waits]
    assert waits["due_at"] == play.now + 30 * DAY


def test_where_only_verified_numbers_count_both_numbers_of_mutual_contacts_are_verified(play):
    play.set(require_verified_number="on")
    bob, cleo = play.verified(BOB), holder(play, "cleo", (ANN, "Ann"))
    play.holds(bob, (ANN, "Ann"))
    play.changes(cleo, phone=CLEO)
    ann = play.verified(ANN)
    play.prefers(ann, announce="mutual")
    play.holds(ann, (BOB, "Bob"), (CLEO, "Cleo"))
    play.tell()
    assert told(play) == [bob]
    play.changes_verified(cleo, CLEO)
    play.holds(ann, ("+4915550100999", "Nobody"))
    play.tell()
    assert told(play) == [bob, cleo]


def test_mutual_contacts_among_many_holders_are_told_in_batches_each_once(play):
    phones = [f"+120255501{n:02}" for n in range(20, 50)]
    ids = [holder(play, f"holder{n}", (ANN, "Ann")) for n in range(30)]
    for user_id, phone in zip(ids, phones, strict=True):
        play.changes(user_id, phone=phone)
    ann = play.person("ann", ANN)
    play.prefers(ann.id, announce="mutual")
    play.holds(ann.id, *((phone, "Holder") for n, phone in enumerate(phones) if n % 5 and n != 11))
    play.tell(batch=7)
    mutual = [user_id for n, user_id in enumerate(ids) if n % 5 and n != 11]
    assert [who for who, _ in play.pushes()] == mutual
    play.holds(ann.id, *((phone, "Holder") for phone in phones))
    play.tell(batch=4)
    assert [who for who, _ in play.pushes()] == ids


def test_mutual_contacts_who_became_such_while_they_were_told_are_not_missed(play, monkeypatch):
    """An upload that commits while the contacts are read makes the fact due again."""
    bob = holder(play, "bob", (ANN, "Ann"))
    play.changes(bob, phone=BOB)
    play.tell()
    ann = play.person("ann", ANN)
    play.prefers(ann.id, announce="mutual")
    uploads = partial(play.holds, ann.id, (BOB, "Bob"))
    with happening_after(monkeypatch, announcing.store, "mutual_holders", uploads), suppress(announcing.Overtaken):
        announcing.expand(play.db, play.now)
    play.tell()
    assert told(play) == [bob]


@pytest.mark.parametrize("wish", ["nobody", "mutual"])
def test_a_wish_that_comes_while_holders_are_told_is_heard(play, monkeypatch, wish):
    holders = [holder(play, f"holder{n}", (ANN, "Ann")) for n in range(4)]
    ann = play.person("ann", ANN)
    chooses = happening_after(monkeypatch, announcing.pushes, "add_joined", lambda: play.prefers(ann.id, announce=wish))
    with chooses, suppress(announcing.Overtaken):
        announcing.expand(play.db, play.now, 2)
    play.tell(batch=2)
    assert set(told(play)) <= set(holders[:2])


@KINDS
def test_a_change_of_the_applications_choice_holds_for_facts_that_wait(play, kind):
    bob, cleo = holder(play, "bob", (ANN, "Ann")), holder(play, "cleo", (ANN, "Ann"))
    play.set(**{f"contact_joined_{kind}": "mutual"})
    play.person("ann", ANN)
    play.tell()
    assert told(play) == []
    play.set(**{f"contact_joined_{kind}": "everyone"})
    play.tell()
    assert told(play) == [bob, cleo]


def test_where_users_may_not_choose_their_former_choice_does_not_count(play):
    bob = holder(play, "bob", (ANN, "Ann"))
    ann = play.person("ann", ANN)
    play.prefers(ann.id, announce="nobody")
    play.set(contact_joined_choice="false")
    play.tell()
    assert told(play) == [bob]


# ── recycled numbers ─────────────────────────────────────────────────────────────────────────────────────────────────

FORMER = ["typed", "verified", "withheld", "verified and withheld"]


@pytest.mark.parametrize("ends", ["stays", "is erased", "changes the number"])
@pytest.mark.parametrize("latter", ["typed", "verified", "typed, then verified"])
@pytest.mark.parametrize("former", FORMER)
def test_the_next_owner_of_a_number_is_announced_once_unless_a_verified_one_was(play, former, latter, ends):
    """A user who had only typed the number may never have had it: the owner who verifies it is announced."""
    play.set(require_verified_number="off", reassigned_after_days="1")
    bob = holder(play, "bob", (ANN, "Ann"))
    first = play.verified(ANN) if "verified" in former else play.person("first", ANN).id
    if "withheld" in former:
        play.prefers(first, announce="nobody")
    play.tell()
    known = {"typed": 1, "verified": 2}.get(former, 0)  # what Bob knows: 2 is verified
    assert [row["verified"] + 1 for row in play.rows("SELECT verified FROM announced")] == ([known] if known else [])
    pushes = len(play.rows("SELECT id FROM pushes"))
    if ends == "is erased":
        users.erase(play.db, first)
        pushes = 0
    elif ends == "changes the number":
        play.changes_verified(first, CLEO)
    play.now += 200 * DAY
    second = play.person("second").id
    if "typed" in latter:
        play.changes(second, phone=ANN)
        play.tell()
        pushes, known = pushes + (known < 1), max(known, 1)
        assert len(play.rows("SELECT id FROM pushes")) == pushes
    if "verified" in latter:
        play.changes_verified(second, ANN)
        play.tell()
        pushes, known = pushes + (known < 2), 2
        assert len(play.rows("SELECT id FROM pushes")) == pushes
    for _ in range(2):  # to verify it once more changes nothing
        play.now += 300 * DAY
        play.verified(ANN) if "verified" in latter else None
        play.tell()
    assert len(play.rows("SELECT id FROM pushes")) == pushes
    assert told(play) == [bob]
