"""A thief who can write to the database, but does not have its key, opens nothing with what is written."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers import KEY, SEAL, Databases, key_file
from store.older import brought_to

from ringbook import errors
from ringbook.config import Config, Limits
from ringbook.core import admins, applications, codes, key_changes, passwords, resets, sessions, users
from ringbook.core.audit import Actor
from ringbook.model import App
from ringbook.seal import Key, halves
from ringbook.server import checks, opening
from ringbook.store import admin_answers, keys, migrations, row_macs
from ringbook.store import db as databases_
from ringbook.store.db import Database

NOW = 1_800_000_000
LIMITS = Limits(new_accounts_per_hour=0)
ADDRESS, PASSWORD, OWN = "192.0.2.1", "correct-horse-battery", "the-password-of-the-thief"
OWNER = "owner@example.org"
BY = Actor("test", "", NOW)
TOKEN = "f" * 40  # a token that the thief has invented


class Thief:
    """Somebody with an account of the application, who can also run SQL on the database."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.app = applications.create(db, "Friends", NOW)
        self.victim = self.signed_up("victim", PASSWORD)
        self.own = self.signed_up("thief", OWN)

    def signed_up(self, login: str, password: str) -> sessions.Opened:
        given = sessions.Credentials(login, "", password)
        return sessions.open_user(self.db, LIMITS, self.app, given, ADDRESS, ts=1, nonce=1, now=NOW)

    def runs(self, sql: str, **params: Any) -> int:
        with self.db.write() as tx:
            return tx.run(sql, **params)

    def session(self, token: str) -> Any:
        """The session of a token, as a thread and the event loop find it."""
        found = sessions.current(self.db, token, NOW)
        with_user, _ = sessions.current_with_user(self.db, token, NOW)
        with_books, _ = sessions.current_with_reports(self.db, token, NOW)
        assert bool(found) == bool(with_user) == bool(with_books)
        in_loop = asyncio.run(sessions.current_with_user_in_loop(self.db, token, NOW))
        books_in_loop = asyncio.run(sessions.current_with_reports_in_loop(self.db, token, NOW))
        assert found or not (in_loop or books_in_loop)
        return found

    def opens(self, login: str, password: str) -> bool:
        try:
            return bool(self.signed_up(login, password))
        except errors.Unauthorized:
            return False


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    with closing(databases_.connect(database_url, seal=SEAL)) as opened:
        yield opened


@pytest.fixture
def thief(db: Database) -> Thief:
    return Thief(db)


def hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mac", ["mac", "NULL"])
def test_an_invented_session_does_not_exist(thief, mac):
    thief.runs(
        "INSERT INTO sessions (token_hash, id, app_id, user_id, nonce, ts, created_at, last_used_at, expires_at, mac)"
        f" SELECT :hash, 99, app_id, user_id, nonce, ts, created_at, last_used_at, expires_at, {mac} FROM sessions"
        " WHERE user_id = :victim",
        hash=hashed(TOKEN),
        victim=thief.victim.user.id,
    )
    assert thief.session(TOKEN) is None
    assert thief.session(thief.victim.token)


def test_ones_own_session_does_not_become_that_of_another_user(thief):
    assert thief.session(thief.own.token).user_id == thief.own.user.id
    thief.runs("UPDATE sessions SET user_id = :v WHERE user_id = :t", v=thief.victim.user.id, t=thief.own.user.id)
    assert thief.session(thief.own.token) is None
    with pytest.raises(errors.SessionGone):
        sessions.sign_in_verified(thief.db, thief.app, thief.own.token, thief.own.user.id, NOW)


def test_the_token_of_another_session_is_not_copied_over(thief):
    thief.runs("DELETE FROM sessions WHERE user_id = :own", own=thief.own.user.id)
    thief.runs("UPDATE sessions SET token_hash = :hash", hash=hashed(thief.own.token))
    assert thief.session(thief.own.token) is None


def test_a_session_of_the_application_does_not_become_a_users(thief):
    opened = sessions.open_application(thief.db, LIMITS, thief.app, ADDRESS, ts=1, nonce=1, now=NOW)
    assert thief.session(opened.token)
    thief.runs("UPDATE sessions SET user_id = :victim WHERE user_id IS NULL", victim=thief.victim.user.id)
    assert thief.session(opened.token) is None


def test_a_session_does_not_move_to_another_application_and_a_guests_does_not_last(thief):
    other = applications.create(thief.db, "Others", NOW).id
    guest = sessions.open_guest(thief.db, LIMITS, thief.app, "Guest", ADDRESS, ts=1, nonce=1, now=NOW)
    assert thief.session(guest.token)
    thief.runs("UPDATE sessions SET guest_until = NULL WHERE guest_until IS NOT NULL")
    thief.runs("UPDATE sessions SET app_id = :other WHERE user_id = :own", other=other, own=thief.own.user.id)
    assert thief.session(guest.token) is thief.session(thief.own.token) is None


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("columns", [("password_hash",), ("password_hash", "password_mac", "one_time_until")])
def test_ones_own_password_does_not_open_another_account(thief, columns):
    sets = ", ".join(f"{one} = (SELECT t.{one} FROM users AS t WHERE t.id = :own)" for one in columns)
    thief.runs(f"UPDATE users SET {sets} WHERE id = :victim", own=thief.own.user.id, victim=thief.victim.user.id)
    assert not thief.opens("victim", OWN) and not thief.opens("victim", PASSWORD)
    assert thief.opens("thief", OWN)


def test_an_invented_password_opens_nothing_and_a_password_can_still_be_reset(thief):
    thief.runs("UPDATE users SET password_hash = :h WHERE id = :v", h=passwords.hashed(OWN), v=thief.victim.user.id)
    assert not thief.opens("victim", OWN)
    new = users.reset_password(thief.db, thief.victim.user.id, NOW)
    assert thief.opens("victim", new)


def test_a_one_time_password_that_was_used_does_not_become_a_lasting_one(thief):
    password = users.reset_password(thief.db, thief.own.user.id, NOW)
    assert thief.opens("thief", password) and not thief.opens("thief", password)
    thief.runs("UPDATE users SET one_time_until = NULL WHERE id = :own", own=thief.own.user.id)
    assert not thief.opens("thief", password)
    thief.runs("UPDATE users SET one_time_until = :later WHERE id = :own", own=thief.own.user.id, later=NOW + 999)
    assert not thief.opens("thief", password)


def test_an_invented_link_to_a_new_password_is_not_valid(thief):
    token = "A" * 43
    thief.runs(
        "INSERT INTO resets (id, user_id, app_id, language, known, token_hash, created_at, expires_at, attempts)"
        " VALUES (1, :victim, :app, 'en', 0, :hash, :now, :later, 1)",
        victim=thief.victim.user.id,
        app=thief.app.id,
        hash=hashed(token),
        now=NOW,
        later=NOW + 999,
    )
    assert not resets.is_valid(thief.db, token, NOW)
    with pytest.raises(errors.NotFound):
        resets.use_up(thief.db, token, OWN, NOW)
    assert thief.opens("victim", PASSWORD)


def test_a_link_of_ones_own_does_not_lead_to_another_account(thief):
    config = Config(smtp_host="localhost", smtp_from="a@example.org", public_url="https://example.org")
    with thief.db.write() as tx:
        users.store.change(
            tx, thief.app.id, thief.own.user.id, {"email": "t@example.org", "email_folded": "t@example.org"}, NOW
        )
    resets.request(thief.db, config, thief.app, "t@example.org", "en", ADDRESS, NOW)
    mail = resets.claim(thief.db, config, NOW)
    assert mail
    token = mail.text.rpartition("/reset/")[2][:43]
    assert resets.is_valid(thief.db, token, NOW)
    thief.runs("UPDATE resets SET user_id = :victim", victim=thief.victim.user.id)
    assert not resets.is_valid(thief.db, token, NOW)


def test_the_code_of_ones_own_number_does_not_verify_another_number(thief):
    """Both rows are there: the thief asked for a code to the victim's number, too."""
    ids = {number: f"{number % 100:032x}" for number in (12025550101, 12025550102)}
    with thief.db.write() as tx:
        for number, request_id in ids.items():
            codes._put(tx, thief.app, number, f"+{number}", request_id, f"{number % 1_000_000}", NOW)
    own, victims = ids.values()
    assert codes.verify(thief.db, thief.app, own, "550101", NOW) == "+12025550101"
    thief.runs("UPDATE codes SET answered_at = NULL")
    hash_of_own = "(SELECT c.code_hash FROM codes AS c WHERE c.request_id = :own)"
    thief.runs(f"UPDATE codes SET code_hash = {hash_of_own} WHERE request_id = :victims", own=own, victims=victims)
    thief.runs("DELETE FROM codes WHERE request_id = :own", own=own)
    thief.runs("UPDATE codes SET request_id = :own", own=own)
    with pytest.raises(errors.Invalid, match="is wrong"):
        codes.verify(thief.db, thief.app, own, "550101", NOW)


def test_a_code_does_not_last_longer_because_its_row_says_so(thief):
    with thief.db.write() as tx:
        codes._put(tx, thief.app, 12025550101, "+12025550101", "0" * 32, "550101", NOW)
    thief.runs("UPDATE codes SET expires_at = :later", later=NOW + 9_999)
    with pytest.raises(errors.Invalid, match="is wrong"):
        codes.verify(thief.db, thief.app, "0" * 32, "550101", NOW + 5_000)


# ── admins ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def checks_say(db: Database, table: str) -> bool:
    """Does `ringbook check` find a wrong row in this table?"""
    with db.read() as tx:
        return table in row_macs.wrong(tx)


def log_in(db: Database, email: str, password: str) -> admins.Login:
    return admins.sign_in(db, LIMITS, email, password, ADDRESS, NOW)


def test_an_invented_session_of_an_admin_does_not_exist(thief):
    password = admins.create(thief.db, OWNER, NOW)
    login = log_in(thief.db, OWNER, password)
    thief.runs(
        "INSERT INTO admin_sessions (token_hash, email, address, browser, created_at, last_used_at, expires_at, mac)"
        " SELECT :hash, email, address, browser, created_at, last_used_at, expires_at, mac FROM admin_sessions",
        hash=hashed(TOKEN),
    )
    assert admins.session(thief.db, TOKEN, NOW) is None
    assert admins.session(thief.db, login.token, NOW)


def test_a_viewer_does_not_become_an_owner(thief):
    admins.create(thief.db, OWNER, NOW)
    login = log_in(
        thief.db, "viewer@example.org", password := admins.create(thief.db, "viewer@example.org", NOW, role="viewer")
    )
    thief.runs("UPDATE admins SET role = 'owner'")
    assert admins.session(thief.db, login.token, NOW) is None
    with pytest.raises(errors.Unauthorized):
        log_in(thief.db, "viewer@example.org", password)
    for change in (
        lambda: admins.reset_password(thief.db, "viewer@example.org"),
        lambda: admins.set_role(thief.db, "viewer@example.org", "viewer"),
    ):
        with pytest.raises(errors.Invalid, match="delete the admin, and create a new one"):
            change()
    admins.remove(thief.db, "viewer@example.org")
    assert log_in(thief.db, "viewer@example.org", admins.create(thief.db, "viewer@example.org", NOW, role="viewer"))


def test_the_password_and_the_session_of_another_admin_open_nothing(thief):
    admins.create(thief.db, OWNER, NOW)
    login = log_in(
        thief.db, "viewer@example.org", password := admins.create(thief.db, "viewer@example.org", NOW, role="viewer")
    )
    with thief.db.read() as tx:
        owner = tx.one("SELECT email FROM admins WHERE role = 'owner'")
        assert owner
    thief.runs("UPDATE admin_sessions SET email = :owner", owner=owner["email"])
    assert admins.session(thief.db, login.token, NOW) is None
    thief.runs(
        "UPDATE admins SET (password_hash, mac) ="
        " (SELECT a.password_hash, a.mac FROM admins AS a WHERE a.role = 'viewer') WHERE role = 'owner'"
    )
    with pytest.raises(errors.Unauthorized):
        log_in(thief.db, OWNER, password)


def test_an_invitation_does_not_change_its_role_and_cannot_be_invented(thief):
    token = admins.invite(thief.db, "new@example.org", "viewer", BY)
    assert admins.invited(thief.db, token, NOW).role == "viewer"
    thief.runs("UPDATE admin_invitations SET role = 'owner'")
    for one in (token, TOKEN):
        with pytest.raises((errors.NotFound, errors.Unreadable)):
            admins.invited(thief.db, one, NOW)
        with pytest.raises((errors.NotFound, errors.Unreadable)):
            admins.accept(thief.db, one, PASSWORD, ADDRESS, NOW)
        assert checks_say(thief.db, "admin_invitations")
        thief.runs("UPDATE admin_invitations SET token_hash = :hash, role = 'viewer'", hash=hashed(TOKEN))
    assert admins.all_(thief.db) == []


def test_a_session_of_an_admin_ends_after_a_week_whatever_its_row_says(thief):
    login = log_in(thief.db, OWNER, admins.create(thief.db, OWNER, NOW))
    thief.runs("UPDATE admin_sessions SET expires_at = :later", later=NOW + 10**9)
    assert admins.session(thief.db, login.token, NOW + admins.LONGEST_SECONDS - 1)
    assert admins.session(thief.db, login.token, NOW + admins.LONGEST_SECONDS) is None


# ── the secret ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", ["row_secret = NULL", "row_secret = :other"])
def test_without_its_secret_a_database_is_not_opened(thief, database_url, change):
    params = {"other": bytes(64)} if ":other" in change else {}
    thief.runs(f"UPDATE keys SET {change}", **params)
    with closing(databases_.connect(database_url)) as again, pytest.raises(errors.Unavailable) as refused:
        opening.unlock(again, KEY)
    assert refused.value.why == keys.NO_SECRET


def test_check_counts_the_rows_that_were_written_without_the_key(thief, database_url):
    def found() -> dict[str, checks.Check]:
        config = Config(database=database_url, key_file=str(key_file()))
        return {one.what: one for one in checks.readiness(config)}

    admins.create(thief.db, OWNER, NOW)
    admins.invite(thief.db, "new@example.org", "viewer", BY)
    assert found()["rows that open something"].ok
    thief.runs("UPDATE sessions SET user_id = NULL WHERE user_id = :own", own=thief.own.user.id)
    thief.runs("UPDATE users SET password_hash = 'x'")
    told = found()["rows that open something"]
    assert not told.ok and "sessions: 1" in told.seen and "users: 2" in told.seen


# ── the key, and the upgrade ─────────────────────────────────────────────────────────────────────────────────────────


def test_passwords_and_sessions_go_on_after_a_change_of_the_key(thief, tmp_path):
    file = tmp_path / "ringbook.key"
    file.write_bytes(key_file().read_bytes())
    file.chmod(0o600)
    password = admins.create(thief.db, OWNER, NOW)
    login = log_in(thief.db, OWNER, password)
    key_changes.rotate(thief.db, file, lambda done, total: None, NOW, by=BY)
    row_macs_anew(thief.db)
    assert thief.session(thief.victim.token) and thief.opens("victim", PASSWORD)
    assert admins.session(thief.db, login.token, NOW) and log_in(thief.db, OWNER, password)
    thief.runs("UPDATE sessions SET user_id = :v WHERE user_id = :t", v=thief.victim.user.id, t=thief.own.user.id)
    assert thief.session(thief.own.token) is None


def test_after_the_key_was_forgotten_passwords_and_sessions_have_macs_under_a_new_secret(thief, tmp_path):
    with thief.db.read() as tx:
        before = keys.row_secret(tx)
    key_changes.forget(thief.db, tmp_path / "new.key", NOW, by=BY)
    with thief.db.read() as tx:
        assert keys.row_secret(tx) != before
    row_macs_anew(thief.db)
    assert thief.session(thief.victim.token) and thief.opens("victim", PASSWORD)
    thief.runs("UPDATE sessions SET user_id = :v WHERE user_id = :t", v=thief.victim.user.id, t=thief.own.user.id)
    assert thief.session(thief.own.token) is None


def row_macs_anew(db: Database) -> None:
    """Read the secret from the database again, as a new process does."""
    with db.read() as tx:
        row_macs.forget(tx)


USER = (
    "INSERT INTO users (id, app_id, login, login_folded, login_keyed, password_hash, is_guest, created_at, updated_at)"
    " VALUES (:id, :app, :login, :login, :keyed, :hash, 0, 1, 1)"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def older(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """An empty database of the schema before the MACs."""
    if request.param == "sqlite":
        databases_.create(url := f"sqlite:///{tmp_path}/older.db")
        yield brought_to(url, "1002")
    else:
        with databases.postgresql.database() as url:
            yield brought_to(url, "1002")


def fill_older(db: Database, people: int) -> App:
    """What a process of the version before left: users with passwords and sessions, an admin, an invitation, a link."""
    hash_ = passwords.hashed(PASSWORD)
    with db.write() as tx:
        tx.run("INSERT INTO keys (fingerprint, state, created_at) VALUES (:print, 'current', 1)", print=KEY.fingerprint)
    app = applications.create(db, "Friends", NOW)
    email = SEAL.lookup("admin", 0, OWNER)
    with db.write() as tx:
        for n in range(1, people + 1):
            login = f"user{n}"
            keyed = SEAL.lookup("login", app.id, login)
            tx.run(USER, id=n, app=app.id, login=login, keyed=keyed, hash=hash_)
            tx.run(
                "INSERT INTO sessions (token_hash, id, app_id, user_id, nonce, ts, created_at, last_used_at,"
                " expires_at) VALUES (:hash, :id, :app, :id, 1, 1, :now, :now, :later)",
                hash=hashed(f"{n:040}"),
                id=n,
                app=app.id,
                now=NOW,
                later=NOW + 999,
            )
        tx.run(
            "INSERT INTO admins (email, sealed, password_hash, role, created_at) VALUES (:e, :s, :h, 'owner', 1)",
            e=email,
            s=SEAL.text(OWNER, "admins", "sealed", *halves(email)),
            h=hash_,
        )
        tx.run(
            "INSERT INTO admin_sessions (token_hash, email, address, browser, created_at, last_used_at, expires_at)"
            " VALUES (:hash, :email, '', '', :now, :now, :later)",
            hash=hashed("admin"),
            email=email,
            now=NOW,
            later=NOW + 999,
        )
        tx.run(
            "INSERT INTO admin_invitations (token_hash, sealed, role, created_at, expires_at)"
            " VALUES (:hash, :sealed, 'viewer', :now, :later)",
            hash=hashed("invited"),
            sealed=admin_answers.sealed(tx, "admin_invitations", hashed("invited"), "new@example.org"),
            now=NOW,
            later=NOW + 999,
        )
        tx.run(
            "INSERT INTO resets (user_id, app_id, language, token_hash, created_at, expires_at, attempts)"
            " VALUES (1, :app, 'en', :hash, :now, :later, 1)",
            app=app.id,
            hash=hashed("R" * 43),
            now=NOW,
            later=NOW + 999,
        )
    return app


def test_everything_that_is_open_goes_on_across_the_upgrade(older, monkeypatch):
    with closing(databases_.connect(older, seal=SEAL)) as db:
        app = fill_older(db, 12)
    with pytest.raises(errors.Unavailable, match="name the file of that key with RINGBOOK_KEY_FILE"):
        migrations.migrate(older)
    with pytest.raises(errors.Unavailable, match="but the database is sealed with the key"):
        migrations.migrate(older, Key(bytes(32)))
    told: list[tuple[int, int]] = []
    assert migrations.migrate(older, KEY, progress=lambda done, total: told.append((done, total))) == "1002"
    assert told[-1] == (12 + 12 + 4, 12 + 12 + 4)
    with closing(databases_.connect(older)) as db:
        opening.unlock(db, KEY)
        for n in range(1, 13):
            session = sessions.current(db, f"{n:040}", NOW)
            assert session and session.user_id == n
        given = sessions.Credentials("user12", "", PASSWORD)
        assert sessions.open_user(db, LIMITS, app, given, ADDRESS, ts=1, nonce=1, now=NOW)
        assert admins.session(db, "admin", NOW) and log_in(db, OWNER, PASSWORD)
        assert admins.invited(db, "invited", NOW).email == "new@example.org"
        assert resets.is_valid(db, "R" * 43, NOW)
        with db.read() as tx:
            assert row_macs.wrong(tx) == {}
