"""Sign-in with a proof of identity: which account it opens, and who has the number then. On both databases."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from servers import SEAL

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovery, imports, numbers, privacy, proofs, sessions, users
from ringbook.core.import_lines import Line
from ringbook.model import App, Caller, Entry
from ringbook.store import db as store
from ringbook.store import proofs as proof_store
from ringbook.store import users as user_store
from ringbook.verify.cidp import Identity
from ringbook.verify.firebase import Proof

NOW = 1_800_000_000
DAY = 86400
LIMITS = Limits()
ADDRESS = "192.0.2.1"
ANN, BOB = "+12025550101", "+447700900123"


@pytest.fixture
def app(db: store.Database) -> App:
    return applications.create(db, "test", NOW)


def fresh(db: store.Database, app: App) -> App:
    """The application as it is now: its first verified number changes what counts."""
    return applications.get(db, app.id)


def sign_in_by_phone(db: store.Database, app: App, phone: str, now: int = NOW) -> int:
    return proofs.by_phone(db, LIMITS, app, phone, ADDRESS, now)


def typed(db: store.Database, app: App, login: str, phone: str) -> Caller:
    fields: users.Fields = {"login": login, "password": "correct-horse", "phone": phone}
    return caller(app, users.sign_up(db, LIMITS, app, fields, ADDRESS, NOW).id)


def caller(app: App, user_id: int) -> Caller:
    return Caller(app=app, user_id=user_id, is_guest=False, address=ADDRESS)


def phone_of(db: store.Database, app: App, user_id: int) -> str | None:
    with db.read() as tx:
        from ringbook.store import users as user_store

        return user_store.by_id(tx, app.id, user_id).phone


def imported(db: store.Database, user_id: int, last_request_at: int | None = None) -> None:
    with db.write() as tx:
        tx.run(
            "UPDATE users SET imported_at = :now, as_imported = 1 WHERE id = :id",
            now=NOW,
            id=user_id,
        )
        if last_request_at is not None:
            user_store.mark_seen(tx, {user_id: last_request_at})
        tx.run("UPDATE numbers SET imported = 1 WHERE user_id = :id", id=user_id)


def change(db, who: Caller, **options):
    fields, now = options.pop("fields", {}), options.pop("now", NOW)
    return users.update(db, LIMITS, who, who.user_id, fields, session=b"", now=now, **options)


def test_a_verified_number_opens_the_same_account_each_time(db, app):
    assert sign_in_by_phone(db, app, ANN) == sign_in_by_phone(db, app, ANN, NOW + DAY)
    assert phone_of(db, app, sign_in_by_phone(db, app, ANN)) == ANN


def test_two_proofs_at_once_make_one_account(db, app):
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(sign_in_by_phone(db, app, ANN))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_who_only_typed_a_number_loses_it_to_whoever_proves_it_and_keeps_the_account(db, app):
    squatter = typed(db, app, "squatter", ANN)
    owner = sign_in_by_phone(db, app, ANN)
    assert owner != squatter.user_id
    assert phone_of(db, app, squatter.user_id) is None
    assert phone_of(db, app, owner) == ANN


def test_an_imported_account_is_entered_and_of_several_the_one_used_last(db, app):
    older, newer = typed(db, app, "older", ANN), typed(db, app, "newer", ANN)
    imported(db, older.user_id, NOW - 5 * DAY)
    imported(db, newer.user_id, NOW - 2 * DAY)
    assert sign_in_by_phone(db, app, ANN) == newer.user_id
    assert phone_of(db, app, older.user_id) is None


def brought(db: store.Database, app: App, verified: str = "", last_request_at: str = "", now: int = NOW) -> int:
    """An imported user with the number of Ann, and her e-mail."""
    said = {
        "id": "1005",
        "login": "ann",
        "phone": ANN,
        "email": "ann@example.com",
        "verified": verified,
        "last_request_at": last_request_at,
    }
    assert imports.import_users(db, app, [Line(2, said)], now=now).refused == []
    return 1005


@pytest.mark.parametrize("verified", ["true", "false"])
@pytest.mark.parametrize("days", [0, 179, 181, 2000])
def test_an_imported_account_that_was_never_used_here_is_entered_however_old_it_is(db, app, verified, days):
    last = datetime.fromtimestamp(NOW - 400 * DAY, UTC).isoformat()
    old = brought(db, app, verified, last)
    assert sign_in_by_phone(db, app, ANN, NOW + days * DAY) == old


@pytest.mark.parametrize("verified", ["true", "false"])
def test_an_imported_account_that_was_used_here_and_then_fell_silent_is_not_entered(db, app, verified):
    old = brought(db, app, verified)
    sessions.open_verified(db, app, old, ts=NOW, nonce=0, now=NOW + DAY)
    assert sign_in_by_phone(db, app, ANN, NOW + 181 * DAY) == old
    assert sign_in_by_phone(db, app, ANN, NOW + 2000 * DAY) != old
    assert phone_of(db, app, old) is None


@pytest.mark.parametrize("swept", [True, False])
def test_it_is_the_use_that_counts_also_once_its_session_has_been_swept(db, app, swept):
    old = brought(db, app)
    sessions.open_verified(db, app, old, ts=NOW, nonce=0, now=NOW + DAY)
    if swept:
        sessions.sweep(db, NOW + 2 * DAY)
    assert sign_in_by_phone(db, app, ANN, NOW + 182 * DAY) != old


def test_what_the_owner_of_an_imported_account_typed_since_then_is_no_way_into_it(db, app):
    """Otherwise an imported user could type another person's number or e-mail, and would get that person's book."""
    user = caller(app, brought(db, app))
    change(db, user, now=NOW + 1, fields={"phone": BOB, "email": "bob@example.com"})
    assert sign_in_by_phone(db, app, BOB, NOW + 2) != user.user_id
    assert by_email(db, app, "bob@example.com") != user.user_id


def test_a_change_of_anything_but_the_number_leaves_the_imported_one_believed(db, app):
    user = caller(app, brought(db, app))
    change(db, user, now=NOW + 1, fields={"full_name": "Ann Example", "phone": "+1 (202) 555-0101"})
    assert sign_in_by_phone(db, app, ANN, NOW + 2) == user.user_id


# ── what else an import said, once somebody has entered ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verified", ["true", "false"])
def test_who_enters_by_the_number_ends_belief_in_the_e_mail(db, app, verified):
    """Otherwise a user who typed another person's number in the former system would share that person's account."""
    old = brought(db, app, verified)
    assert sign_in_by_phone(db, app, ANN, NOW + 1) == old
    other = by_email(db, app)
    assert other != old
    assert by_email(db, app) == other
    assert sign_in_by_phone(db, app, ANN, NOW + 2) == old


@pytest.mark.parametrize("verified", ["true", "false"])
def test_who_enters_by_the_e_mail_ends_belief_in_the_number(db, app, verified):
    old = brought(db, app, verified)
    assert by_email(db, app) == old
    other = sign_in_by_phone(db, app, ANN, NOW + 1)
    assert other != old
    assert (phone_of(db, app, old), by_email(db, app)) == (None, old)


def test_who_enters_by_one_and_proves_the_other_has_both(db, app):
    old = brought(db, app)
    assert by_email(db, app) == old
    assert change(db, caller(app, old), now=NOW + 1, verified_phone=ANN).email == "ann@example.com"
    assert (sign_in_by_phone(db, app, ANN, NOW + 2), by_email(db, app)) == (old, old)


def test_who_was_given_a_password_ends_belief_in_what_nobody_has_verified(db, app):
    old = brought(db, app, "false")
    given = sessions.Credentials("ann", "", users.reset_password(db, old, NOW))
    assert sessions.open_user(db, LIMITS, app, given, ADDRESS, ts=NOW, nonce=0, now=NOW + 1).session.user_id == old
    assert sign_in_by_phone(db, app, ANN, NOW + 2) != old
    assert by_email(db, app) != old


def test_a_password_leaves_the_number_that_was_verified_elsewhere(db, app):
    old = brought(db, app, "true")
    given = sessions.Credentials("ann", "", users.reset_password(db, old, NOW))
    sessions.open_user(db, LIMITS, app, given, ADDRESS, ts=NOW, nonce=0, now=NOW + 1)
    assert sign_in_by_phone(db, app, ANN, NOW + 2) == old


def test_a_number_that_was_given_by_an_admin_ends_belief_in_the_e_mail(db, app):
    old = brought(db, app)
    numbers.give(db, app, old, BOB, NOW + 1)
    assert by_email(db, app) != old
    assert sign_in_by_phone(db, app, BOB, NOW + 2) == old


# ── numbers that are handed on ───────────────────────────────────────────────────────────────────────────────────────


def test_a_number_verified_after_half_a_year_of_silence_opens_a_new_account(db, app):
    old = sign_in_by_phone(db, app, ANN)
    session = sessions.open_verified(db, app, old, ts=NOW, nonce=0, now=NOW)
    later = NOW + 181 * DAY
    new = sign_in_by_phone(db, app, ANN, later)
    assert new != old
    assert phone_of(db, app, old) is None
    assert sessions.current(db, session.token, NOW) is None


def test_a_used_account_is_not_silent(db, app):
    old = sign_in_by_phone(db, app, ANN)
    sessions.open_verified(db, app, old, ts=NOW, nonce=0, now=NOW + 100 * DAY)
    assert sign_in_by_phone(db, app, ANN, NOW + 200 * DAY) == old


def test_zero_days_never_hand_a_number_on(db, app):
    app = applications.change(db, app.id, "reassigned_after_days", "0")
    assert sign_in_by_phone(db, app, ANN) == sign_in_by_phone(db, app, ANN, NOW + 5000 * DAY)


def test_from_the_first_verified_number_only_verified_ones_are_found(db, app):
    owner = typed(db, app, "owner", "12025550199")
    bob = typed(db, app, "bob", BOB)
    discovery.upload(db, LIMITS, owner, [Entry(ANN, "Ann"), Entry(BOB, "Bob")], now=NOW)
    assert [item.user.id for item in discovery.registered(db, owner, now=NOW)] == [bob.user_id]
    ann = sign_in_by_phone(db, app, ANN)
    owner = caller(fresh(db, app), owner.user_id)
    assert [item.user.id for item in discovery.registered(db, owner, now=NOW)] == [ann]
    with pytest.raises(errors.NotFound):
        users.find(db, LIMITS, owner, "phone", BOB, NOW)
    assert users.find(db, LIMITS, owner, "phone", ANN, NOW).id == ann
    assert users.find(db, LIMITS, owner, "id", bob.user_id, NOW).phone is None


@pytest.mark.parametrize(("setting", "found"), [("off", {"ann", "bob"}), ("on", {"ann"})])
def test_the_owner_may_decide_what_counts(db, app, setting, found):
    ids = {"bob": typed(db, app, "bob", BOB).user_id, "ann": sign_in_by_phone(db, app, ANN)}
    app = applications.change(db, app.id, "require_verified_number", setting)
    owner = typed(db, app, "owner", "12025550199")
    discovery.upload(db, LIMITS, owner, [Entry(ANN, "Ann"), Entry(BOB, "Bob")], now=NOW)
    assert {item.user.id for item in discovery.registered(db, owner, now=NOW)} == {ids[name] for name in found}


def test_a_verified_number_changes_only_by_proof(db, app):
    ann = caller(app, sign_in_by_phone(db, app, ANN))
    for phone in (BOB, "", None):
        with pytest.raises(errors.Invalid) as refused:
            change(db, ann, fields={"phone": phone, "full_name": "x"})
        assert refused.value.field == "phone"
    assert change(db, ann, fields={"phone": "1 (202) 555-0101"}).phone == "1 (202) 555-0101"
    with db.read() as tx:
        assert proof_store.verified_of(tx, ann.user_id) == 12025550101


def test_a_proof_gives_the_new_number_and_lets_the_old_one_go(db, app):
    ann = caller(app, sign_in_by_phone(db, app, ANN))
    squatter = typed(db, app, "squatter", BOB)
    assert change(db, ann, verified_phone=BOB).phone == BOB
    assert phone_of(db, app, squatter.user_id) is None
    with db.read() as tx:
        assert proof_store.holders(tx, app.id, 12025550101) == []
        assert proof_store.verified_of(tx, ann.user_id) == 447700900123


def test_of_two_who_have_verified_a_number_the_later_has_it_and_the_earlier_is_signed_out(db, app):
    earlier = sign_in_by_phone(db, app, ANN)
    session = sessions.open_verified(db, app, earlier, ts=NOW, nonce=0, now=NOW)
    later = typed(db, app, "later", BOB)
    change(db, later, verified_phone=ANN)
    assert phone_of(db, app, earlier) is None
    assert sessions.current(db, session.token, NOW) is None
    assert sign_in_by_phone(db, app, ANN) == later.user_id


def test_an_unknown_number_makes_nobody_when_sessions_may_not(db, app):
    app = applications.change(db, app.id, "session_creates_user", "false")
    with pytest.raises(errors.NotFound):
        sign_in_by_phone(db, app, ANN)


def by_email(db, app, email: str = "ann@example.com", subject: str = "s1") -> int:
    return proofs.by_email(db, LIMITS, app, Proof(subject, "", email), ADDRESS, NOW)


def test_firebase_knows_its_users_by_subject_whatever_becomes_of_the_e_mail(db, app):
    assert by_email(db, app) == by_email(db, app, "other@example.com")


def test_a_typed_e_mail_is_lost_to_whoever_verified_it_and_the_account_is_not_entered(db, app):
    fields: users.Fields = {"email": "ann@example.com", "password": "correct-horse"}
    squatter = users.sign_up(db, LIMITS, app, fields, ADDRESS, NOW)
    owner = by_email(db, app)
    assert owner != squatter.id
    with db.read() as tx:
        emails = [user.email for user in user_store.by_ids(tx, app.id, [squatter.id, owner]).values()]
        assert emails == [None, "ann@example.com"]
        assert tx.tuples("SELECT count(email), count(email_keyed) FROM users") == [(1, 1)]


def test_an_imported_account_is_entered_by_its_verified_e_mail(db, app):
    fields: users.Fields = {"email": "ann@example.com", "password": "correct-horse"}
    known = users.sign_up(db, LIMITS, app, fields, ADDRESS, NOW)
    imported(db, known.id)
    assert by_email(db, app) == known.id


def test_an_e_mail_that_firebase_has_not_verified_opens_nothing(db, app):
    with pytest.raises(errors.Invalid):
        by_email(db, app, "")


def by_provider(db, app, uid: str = "7") -> int:
    return proofs.by_provider(db, LIMITS, app, Identity(uid, "", "", "", ""), ADDRESS, NOW)


def external(db, app, *ids: int, external_id: str = "7") -> None:
    rows = [Line(2, {"id": one, "login": f"user{one}", "phone": ANN, "external_id": external_id}) for one in ids]
    assert imports.import_users(db, app, rows, now=NOW).refused == []


def test_an_imported_account_is_entered_by_the_uid_that_it_has_as_external_id(db, app):
    external(db, app, 1005)
    assert [by_provider(db, app) for _ in range(2)] == [1005, 1005]
    assert sign_in_by_phone(db, app, ANN, NOW + 1) != 1005


def test_an_external_id_that_another_user_has_typed_does_not_keep_the_owner_out(db, app):
    external(db, app, 1007)
    typed: users.Fields = {"login": "typed", "password": "correct-horse", "external_id": "7"}
    users.sign_up(db, LIMITS, app, typed, ADDRESS, NOW)
    assert by_provider(db, app) == 1007


def test_an_external_id_of_several_or_of_an_account_that_was_used_or_not_imported_opens_nothing(db, app):
    external(db, app, 1005, 1006)
    external(db, app, 1007, external_id="8")
    assert by_provider(db, app) not in (1005, 1006)
    change(db, caller(app, 1007), now=NOW + 1, fields={"full_name": "Ann"})
    assert by_provider(db, app, "8") != 1007
    fields: users.Fields = {"login": "typed", "password": "correct-horse", "external_id": "9"}
    assert users.sign_up(db, LIMITS, app, fields, ADDRESS, NOW).id != by_provider(db, app, "9")


def test_an_identity_provider_knows_its_users_by_uid_and_fills_new_profiles_with_what_is_free(db, app):
    typed(db, app, "taken", BOB)
    identity = Identity(uid="7", login="taken", full_name="Ann", email="ann@example.com", phone="+1 202 555 0101")
    user_id = proofs.by_provider(db, LIMITS, app, identity, ADDRESS, NOW)
    assert proofs.by_provider(db, LIMITS, app, identity, ADDRESS, NOW) == user_id
    user = users.find(db, LIMITS, caller(app, user_id), "id", user_id, NOW)
    assert (user.login, user.full_name, user.email, user.phone) == (None, "Ann", "ann@example.com", "+1 202 555 0101")


# ── at once ──────────────────────────────────────────────────────────────────────────────────────────────────────────

TIMES = 20


def at_once(*works: Callable[[], Any]) -> Sequence[Any]:
    """The results of functions that run at the same time. Refusals are raised."""
    start = threading.Barrier(len(works))

    def begun(work: Callable[[], Any]) -> Any:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [one.result() for one in [pool.submit(begun, work) for work in works]]


def pair(turn: int) -> tuple[str, str]:
    return f"+4420718{30000 + 2 * turn}", f"+4420718{30001 + 2 * turn}"


def agreed(db: store.Database, app: App, user_id: int) -> str | None:
    """The number of the user's phone, which must be the only number that finds the user."""
    shown = phone_of(db, app, user_id)
    with db.read() as tx:
        assert user_store.numbers_of(tx, user_id) == ([int(shown[1:])] if shown else [])
    return shown


def test_a_change_of_number_and_a_sign_in_by_the_old_one_leave_one_number(db, app):
    for turn in range(TIMES):
        old, new = pair(turn)
        ann = caller(app, sign_in_by_phone(db, app, old))
        _, entered = at_once(
            lambda a=ann, n=new: change(db, a, verified_phone=n), lambda o=old: sign_in_by_phone(db, app, o)
        )
        assert agreed(db, app, ann.user_id) == new
        assert entered == ann.user_id or agreed(db, app, entered) == old


def test_two_may_exchange_their_verified_numbers(db, app):
    for turn in range(TIMES):
        first, second = pair(turn)
        ann, bob = (caller(app, sign_in_by_phone(db, app, number)) for number in (first, second))
        at_once(
            lambda a=ann, n=second: change(db, a, verified_phone=n),
            lambda b=bob, n=first: change(db, b, verified_phone=n),
        )
        assert (agreed(db, app, ann.user_id), agreed(db, app, bob.user_id)) == (second, first)


def test_a_proof_that_meets_an_erasure_opens_an_account(db, app):
    for turn in range(TIMES):
        number, _ = pair(turn)
        ann = sign_in_by_phone(db, app, number)
        erased, entered = at_once(lambda a=ann: users.erase(db, a), lambda n=number: sign_in_by_phone(db, app, n))
        assert erased
        there = phone_of(db, app, entered) if entered != ann else None
        assert there == (number if entered != ann else None)


@pytest.mark.parametrize("enter", ["e-mail", "uid"])
def test_whoever_finds_an_account_that_is_erased_before_it_is_entered_gets_a_new_one(databases, monkeypatch, enter):
    """PostgreSQL; on SQLite no transaction can come in between."""
    lock, left = numbers.lock_user, [1005]

    def locked(tx: store.Tx, user_id: int) -> None:
        if left:
            assert users.erase(db, left.pop())
        lock(tx, user_id)

    with databases.fresh("postgresql") as url, closing(store.connect(url, seal=SEAL)) as db:
        app = applications.create(db, "test", NOW)
        said = {"id": 1005, "email": "ann@example.com", "external_id": "7"}
        assert imports.import_users(db, app, [Line(2, said)], now=NOW).refused == []
        monkeypatch.setattr(numbers, "lock_user", locked)
        entered = by_email(db, app) if enter == "e-mail" else by_provider(db, app)
        assert (left, entered) == ([], 1006)
        assert sessions.open_verified(db, app, entered, ts=NOW, nonce=0, now=NOW)


def test_who_proves_the_number_that_another_proof_has_just_taken_shows_it_too(db, app, monkeypatch):
    """The other request comes after the account was read, which shows the number already, and before it is written."""
    ann, left = typed(db, app, "ann", ANN), [ANN]
    charge = privacy.charge

    def meanwhile(*given: Any, **named: Any) -> None:
        if left:
            sign_in_by_phone(db, app, left.pop())
        charge(*given, **named)

    monkeypatch.setattr(privacy, "charge", meanwhile)
    change(db, ann, verified_phone=ANN)
    assert not left
    assert agreed(db, app, ann.user_id) == ANN


def test_a_number_given_and_changed_at_the_same_time_goes_to_one_of_them(db, app):
    for turn in range(TIMES):
        first, second = pair(turn)
        ann, bob = (caller(app, sign_in_by_phone(db, app, number)) for number in (first, second))
        at_once(
            lambda b=bob.user_id, n=first: numbers.give(db, app, b, n, NOW),
            lambda a=ann, n=second: change(db, a, verified_phone=n),
        )
        assert {agreed(db, app, one.user_id) for one in (ann, bob)} in ({first, second}, {first, None}, {second, None})


def test_a_proof_does_not_undo_what_was_typed_since(db, app):
    """The user who typed the number changes it, while another user verifies it."""
    for turn in range(TIMES):
        first, second = pair(turn)
        squatter = typed(db, app, f"squatter{turn}", first)
        _, owner = at_once(
            lambda s=squatter, n=second: change(db, s, fields={"phone": n}),
            lambda n=first: sign_in_by_phone(db, app, n),
        )
        assert agreed(db, app, owner) == first
        assert agreed(db, app, squatter.user_id) == second
