"""Sessions: when they expire, and what guesses cost. On both databases."""

import hashlib
import hmac
from contextlib import suppress

import pytest

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, charging, proofs, rate_limits, sessions, users
from ringbook.core.sessions import Credentials
from ringbook.model import App
from ringbook.store import db as store
from ringbook.store import placement

NOW = 1_800_000_000
ADDRESS = "192.0.2.1"
V6 = "2001:db8:0:{:x}::1"
ANN = Credentials("ann", "", "correct-horse")


@pytest.fixture
def app(db: store.Database) -> App:
    return applications.create(db, "test", NOW)


def opened(db, app, given: Credentials = ANN, *, limits: Limits | None = None, now: int = NOW) -> sessions.Opened:
    return sessions.open_user(db, limits or Limits(), app, given, ADDRESS, ts=now, nonce=0, now=now)


def signed(app: App, message: str) -> str:
    return hmac.new(app.auth_secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def test_a_session_lives_two_hours_from_its_last_use(db, app):
    token = opened(db, app).token
    assert sessions.current(db, token, NOW + 7100).expires_at == NOW + 7100 + 7200
    assert sessions.current(db, token, NOW + 7100 + 7199)
    assert sessions.current(db, token, NOW + 7100 + 7199 + 7200) is None


def test_its_use_is_written_back_at_most_once_a_minute(db, app):
    token = opened(db, app).token
    assert sessions.current(db, token, NOW + 59).expires_at == NOW + 7200
    assert sessions.current(db, token, NOW + 60).expires_at == NOW + 60 + 7200


def test_a_session_that_is_read_with_its_user_lives_and_ends_like_any_other(db, app):
    token = opened(db, app).token
    for now in (NOW + 59, NOW + 60, NOW + 7100, NOW + 7100 + 7200):
        alone = sessions.current(db, token, now)
        session, user = sessions.current_with_user(db, token, now)
        assert session == alone
        assert (user and user.login) == (session and ANN.login)


def test_its_use_is_written_back_also_when_it_is_read_with_its_user(db, app):
    token = opened(db, app).token
    session, _ = sessions.current_with_user(db, token, NOW + 60)
    assert session.expires_at == sessions.current(db, token, NOW + 60).expires_at == NOW + 60 + 7200


def test_a_session_of_the_application_and_one_that_is_gone_have_no_user(db, app):
    of_app = sessions.open_application(db, Limits(), app, ADDRESS, ts=NOW, nonce=0, now=NOW)
    assert sessions.current_with_user(db, of_app.token, NOW) == (of_app.session, None)
    assert sessions.current_with_user(db, "gone", NOW) == (None, None)


def test_whoever_is_erased_between_proof_and_session_is_told_to_try_again_and_keeps_the_session(db, app):
    """The same proof then creates a new account. With "session does not exist" an app would discard its session."""
    ann = sessions.open_application(db, Limits(), app, ADDRESS, ts=NOW, nonce=0, now=NOW)
    gone = opened(db, app).user.id
    assert users.erase(db, gone)
    with pytest.raises(errors.Unavailable, match="erased"):
        sessions.open_verified(db, app, gone, ts=NOW, nonce=0, now=NOW)
    with pytest.raises(errors.Unavailable, match="erased"):
        sessions.sign_in_verified(db, app, ann.token, gone, NOW)
    assert sessions.current(db, ann.token, NOW).user_id is None


def test_a_guests_session_ends_a_day_after_sign_up_however_often_it_is_used(db, app):
    guest = sessions.open_guest(db, Limits(), app, "Olof", ADDRESS, ts=NOW, nonce=0, now=NOW)
    assert sessions.current(db, guest.token, NOW + 86399).expires_at == NOW + 86400
    assert sessions.current(db, guest.token, NOW + 86400) is None


def test_a_sweep_ends_expired_sessions_and_erases_guests_whose_day_is_over(db, app):
    guest = sessions.open_guest(db, Limits(), app, "Olof", ADDRESS, ts=NOW, nonce=0, now=NOW)
    ann = opened(db, app)
    sessions.sweep(db, NOW + 86400)
    with db.read() as tx:
        assert tx.tuples("SELECT count(*) FROM sessions") == [(0,)]
        assert tx.tuples("SELECT user_id, last_request_at FROM seen") == [(ann.user.id, NOW)]
    assert guest.user.id != ann.user.id


def test_five_sessions_at_once_for_a_new_login_make_one_user(db, app):
    first = opened(db, app)
    # What the second of two sees: nobody has the login when it looks, and somebody has it when it writes.
    assert sessions._created(db, Limits(), app, ANN, ADDRESS, NOW)["id"] == first.user.id


def test_a_right_password_gives_its_try_back(db, app):
    few = Limits(wrong_passwords=1)
    for _ in range(3):
        opened(db, app, limits=few)


@pytest.mark.parametrize("limit", ["password_checks_per_hour", "address_password_checks_per_hour"])
def test_right_passwords_are_charged_to_the_account_and_to_the_address_and_to_no_other(db, app, limit):
    limits = Limits(**{limit: 2})
    opened(db, app, limits=limits)
    opened(db, app, limits=limits)
    with pytest.raises(errors.TooMany) as refused:
        opened(db, app, limits=limits)
    assert refused.value.limit == limit
    sessions.open_user(db, limits, app, ANN, "198.51.100.1", ts=NOW, nonce=1, now=NOW)
    opened(db, app, limits=limits, now=NOW + 3_600)


def test_refused_sign_ins_count_for_the_address_whichever_the_accounts(db, app):
    app = applications.change(db, app.id, "session_creates_user", "false")
    few = Limits(wrong_sign_ins_per_hour=2)
    users.sign_up(db, few, app, {"login": "ann", "password": "correct-horse"}, ADDRESS, NOW)
    users.sign_up(db, few, app, {"login": "cat", "password": "correct-horse"}, ADDRESS, NOW)
    assert opened(db, app, Credentials("cat", "", "correct-horse"), limits=few).user.login == "cat"  # it costs nothing
    with pytest.raises(errors.Unauthorized):
        opened(db, app, Credentials("ann", "", "wrong-horse"), limits=few)
    with pytest.raises(errors.NotFound):
        opened(db, app, Credentials("nobody", "", "wrong-horse"), limits=few)
    for login, password in (("ann", "wrong-horse"), ("nobody", "wrong-horse"), ("ann", "x"), ("ann", "correct-horse")):
        with pytest.raises(errors.TooMany) as refused:
            opened(db, app, Credentials(login, "", password), limits=few)
        assert refused.value.wait_seconds == 1800


def test_refused_sign_ins_of_others_do_not_refuse_an_account_that_has_signed_in_from_there(db, app):
    few = Limits(wrong_sign_ins_per_hour=3, wrong_passwords=2)
    opened(db, app)
    day = NOW + 86_400
    opened(db, app, now=day)
    for _ in range(3):
        with pytest.raises(errors.Unauthorized):
            opened(db, app, Credentials("ann", "", "wrong-horse"), limits=few, now=day)
    assert opened(db, app, limits=few, now=day).user
    with db.write() as tx:
        for bucket in rate_limits.sign_ins(few, ADDRESS):
            charging.charge_up_to(tx, bucket, 10**6, day)
    with pytest.raises(errors.TooMany):
        opened(db, app, Credentials("cat", "", "correct-horse"), limits=few, now=day)
    assert opened(db, app, limits=few, now=day).user
    for _ in range(few.wrong_passwords * rate_limits.KNOWN_TIMES):
        with suppress(errors.Unauthorized, errors.TooMany):
            opened(db, app, Credentials("ann", "", "wrong-horse"), limits=few, now=day)
    with pytest.raises(errors.TooMany, match="wrong passwords"):
        opened(db, app, limits=few, now=day)
    assert opened(db, app, limits=few, now=day + 60).user


def test_a_name_costs_the_same_whether_or_not_somebody_has_it(db, app):
    """If known accounts were counted differently, a caller could find out whether two names are one user's."""
    fields: users.Fields = {"login": "ann", "email": "ann@example.com", "password": "correct-horse"}
    users.sign_up(db, Limits(), app, fields, ADDRESS, NOW)
    few = Limits(wrong_passwords=2)
    token = sessions.open_application(db, few, app, ADDRESS, ts=NOW, nonce=0, now=NOW).token

    def told(login: str, email: str) -> type[Exception]:
        with pytest.raises(errors.Refused) as refused:
            sessions.sign_in(db, few, app, token, Credentials(login, email, "wrong-horse"), ADDRESS, NOW)
        return refused.type

    for given in (("ann", ""), ("", "ann@example.com"), ("", "nobody@example.com")):
        assert [told(*given) for _ in range(3)] == [errors.Unauthorized, errors.Unauthorized, errors.TooMany]


def test_a_sign_in_in_flight_does_not_outlive_a_new_password(db, app, monkeypatch):
    user = opened(db, app).user
    matches = sessions.passwords.matches

    def meanwhile(stored, password):
        right = matches(stored, password)
        users.reset_password(db, user.id, NOW)
        return right

    monkeypatch.setattr(sessions.passwords, "matches", meanwhile)
    with pytest.raises(errors.Unauthorized):
        opened(db, app)
    with db.read() as tx:
        assert tx.tuples("SELECT count(*) FROM sessions WHERE user_id IS NOT NULL") == [(0,)]


def test_a_password_reset_by_an_admin_opens_one_session_within_a_day(db, app):
    user = opened(db, app).user
    password = users.reset_password(db, user.id, NOW)
    assert opened(db, app, Credentials("ann", "", password)).user.id == user.id
    with pytest.raises(errors.Unauthorized):
        opened(db, app, Credentials("ann", "", password))
    late = users.reset_password(db, user.id, NOW)
    with pytest.raises(errors.Unauthorized):
        opened(db, app, Credentials("ann", "", late), now=NOW + 86401)


@pytest.mark.parametrize("digits", [40, 64])
def test_a_signature_opens_one_session_and_only_within_its_hour(db, app, digits):
    import hashlib
    import hmac

    algorithm = hashlib.sha1 if digits == 40 else hashlib.sha256
    right = hmac.new(app.auth_secret.encode(), b"a=1", algorithm).hexdigest()

    def check(signature: str, *, message: str = "a=1", now: int = NOW, once: bool = True) -> None:
        sessions.check_signature(db, Limits(), app, message, signature, NOW, ADDRESS, once=once, now=now)

    check(right, once=False)
    check(right.upper())
    for wrong in (lambda: check(right), lambda: check(right, message="a=2"), lambda: check("0" * digits)):
        with pytest.raises(errors.Invalid, match="Unexpected signature"):
            wrong()
    with pytest.raises(errors.Invalid, match="Bad timestamp"):
        check(right, now=NOW + 3601)


# ── how many there may be ────────────────────────────────────────────────────────────────────────────────────────────


def count(db, where: str = "1 = 1") -> int:
    with db.read() as tx:
        return int(tx.tuples(f"SELECT COUNT(*) FROM sessions WHERE {where}")[0][0])


def test_beyond_a_users_limit_the_session_that_was_used_longest_ago_ends(db, app):
    few = Limits(max_user_sessions=3)
    tokens = [opened(db, app, limits=few, now=NOW + n).token for n in range(3)]
    other = opened(db, app, Credentials("bob", "", "correct-horse"), limits=few).token
    assert sessions.current(db, tokens[0], NOW + 100)  # a use, which is written back
    newest = opened(db, app, limits=few, now=NOW + 101).token
    alive = [bool(sessions.current(db, token, NOW + 102)) for token in (*tokens, newest, other)]
    assert alive == [True, False, True, True, True]


def test_signing_in_on_a_session_counts_and_so_does_a_proof(db, app):
    few = Limits(max_user_sessions=2)
    ann = opened(db, app, limits=few).user.id
    blank = sessions.open_application(db, few, app, ADDRESS, ts=NOW, nonce=0, now=NOW).token
    for n in range(1, 4):
        sessions.sign_in(db, few, app, blank, ANN, ADDRESS, NOW + n)
        sessions.open_verified(db, app, ann, ts=NOW, nonce=0, now=NOW + n, limits=few)
        sessions.sign_in_verified(db, app, blank, ann, NOW + n, limits=few)
        assert count(db, "user_id IS NOT NULL") == 2
    assert sessions.current(db, blank, NOW + 4)


@pytest.mark.parametrize(
    "first, second, limit",
    [
        ("192.0.2.1", "192.0.2.2", "network_sessions_per_hour"),
        (V6.format(1), V6.format(2), "subnet_sessions_per_hour"),
        (V6.format(1), V6.format(256), "network_sessions_per_hour"),
    ],
)
def test_sessions_without_a_user_draw_on_the_networks_of_their_address(db, app, first, second, limit):
    few = Limits(**{limit: 2})
    for address in (first, second):
        sessions.open_application(db, few, app, address, ts=NOW, nonce=0, now=NOW)
    with pytest.raises(errors.TooMany) as refused:
        sessions.open_application(db, few, app, second, ts=NOW, nonce=0, now=NOW)
    assert (refused.value.limit, refused.value.wait_seconds) == (limit, 1800)
    with pytest.raises(errors.TooMany):
        sessions.check_signature(db, few, app, "nonce=1", signed(app, "nonce=1"), NOW, second, once=True, now=NOW)
    assert count(db) == 2


@pytest.mark.parametrize("limit, third", [("subnet", 3), ("network", 256)])
def test_refused_sign_ins_draw_on_the_networks_of_their_address(db, app, limit, third):
    few = Limits(**{f"{limit}_wrong_sign_ins_per_hour": 2})
    wrong = Credentials("ann", "", "wrong-horse")
    opened(db, app, limits=few)  # a right one costs nothing
    for network in (1, 2):
        with pytest.raises(errors.Unauthorized):
            sessions.open_user(db, few, app, wrong, V6.format(network), ts=NOW, nonce=0, now=NOW)
    with pytest.raises(errors.TooMany) as refused:
        sessions.open_user(db, few, app, wrong, V6.format(third), ts=NOW, nonce=0, now=NOW)
    assert (refused.value.limit, refused.value.wait_seconds) == (f"{limit}_wrong_sign_ins_per_hour", 1800)


def test_a_session_that_is_signed_out_counts_for_the_address_and_ends_beyond_the_limit(db, app):
    """Otherwise signing in and out would create any number of sessions without a user."""
    few = Limits(new_sessions_per_hour=2)
    for _ in range(5):
        sessions.sign_out(db, few, opened(db, app, limits=few).token, ADDRESS, NOW)
    assert count(db) == count(db, "user_id IS NULL") == 2
    with pytest.raises(errors.TooMany):
        sessions.open_application(db, few, app, ADDRESS, ts=NOW, nonce=0, now=NOW)


def test_signatures_that_are_remembered_count_for_the_address(db, app):
    few = Limits(new_sessions_per_hour=2)

    def check(n: int) -> None:
        message = f"nonce={n}"
        sessions.check_signature(db, few, app, message, signed(app, message), NOW, ADDRESS, once=True, now=NOW)

    check(1)
    check(2)
    with pytest.raises(errors.TooMany) as refused:
        check(3)
    assert refused.value.limit == "new_sessions_per_hour"
    with db.read() as tx:
        assert tx.tuples("SELECT COUNT(*) FROM nonces") == [(2,)]


COPIED = [name for name, table in placement.TABLES.items() if table.is_reference]
REFUSE_WRITES = {
    True: [
        f"CREATE TRIGGER {table}_{change} BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, '{table} written'); END"
        for table in COPIED
        for change in ("INSERT", "UPDATE", "DELETE")
    ],
    False: [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'written: %', TG_TABLE_NAME; END $$",
        # Also without a row to change: on a cluster, such a statement waits for all other writers of the table.
        *(
            f"CREATE TRIGGER written BEFORE INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
            for table in COPIED
        ),
    ],
}


def versions(db: store.Database) -> list[tuple[object, ...]]:
    """The transactions that wrote the users; none on SQLite, which does not record them."""
    if db.file:
        return []
    with db.read() as tx:
        return tx.tuples("SELECT id, xmin::text FROM users ORDER BY id")


def test_no_read_no_sign_in_and_no_end_of_a_session_writes_what_each_node_has(db, app):
    limits, phone = Limits(), "+447700900123"
    first = opened(db, app)
    proven = proofs.by_phone(db, limits, app, phone, ADDRESS, NOW)
    with db.write() as tx:
        for statement in [] if db.nodes() else REFUSE_WRITES[db.file is not None]:  # a cluster has no such triggers
            tx.run(statement)
    before = versions(db)
    again = opened(db, app, now=NOW + 60)
    _, user = sessions.current_with_user(db, again.token, NOW + 60)
    assert user.last_request_at == NOW + 60
    assert proofs.by_phone(db, limits, app, phone, ADDRESS, NOW + 60) == proven
    sessions.open_verified(db, app, proven, ts=NOW, nonce=1, now=NOW + 60)
    anonymous = sessions.open_application(db, limits, app, ADDRESS, ts=NOW, nonce=0, now=NOW + 60)
    sessions.sign_in(db, limits, app, anonymous.token, ANN, ADDRESS, NOW + 61)
    assert sessions.current(db, first.token, NOW + 120)
    sessions.sign_out(db, limits, anonymous.token, ADDRESS, NOW + 130)
    sessions.end(db, first.token)
    sessions.end_others(db, again.session.user_id, "")
    sessions.sweep(db, NOW + 10_000)
    assert versions(db) == before
    with db.read() as tx:
        assert tx.tuples("SELECT user_id, last_request_at FROM seen ORDER BY user_id") == [
            (first.user.id, NOW + 130),
            (proven, NOW + 60),
        ]
