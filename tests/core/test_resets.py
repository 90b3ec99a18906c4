"""Password reset by mail: who gets a link, what it does, and what ends it. On both databases, over real SMTP."""

import hashlib
from typing import Any

import msgspec
import pytest
from smtp import Mailbox, listening

from ringbook import config, errors
from ringbook.config import Config, Limits
from ringbook.core import applications, passwords, resets, sessions, user_record, users
from ringbook.core.profile import columns
from ringbook.model import App, Caller
from ringbook.store.db import Database
from ringbook.worker import jobs, mailer

NOW = 1_800_000_000
HERE = "192.0.2.1"
OLD, NEW = "correct-horse", "battery-staple"
TEXTS = '{"en": "New password\\nFollow %s now", "pt-BR": "Nova senha\\nSiga %s"}'


@pytest.fixture
def mailbox():
    with listening() as found:
        yield found


@pytest.fixture
def process(mailbox: Mailbox) -> Config:
    return config.load({f"RINGBOOK_{name.upper()}": value for name, value in mailbox.config.items()})


@pytest.fixture
def app(db: Database) -> App:
    made = applications.create(db, "tests", NOW)
    applications.change(db, made.id, "password_reset_mails", TEXTS)
    return applications.get(db, made.id)


def person(db: Database, app: App, email: str = "ann@example.org", **fields: Any) -> int:
    with db.write() as tx:
        values = columns({"login": f"login {email}", "email": email, **fields})
        return users.add(tx, app, values | {"password_hash": passwords.hashed(OLD)}, NOW).id


def ask(db: Database, process: Config, app: App, email: str = "ann@example.org", now: int = NOW, **more: Any) -> None:
    resets.request(db, process, app, email, more.get("languages", ""), more.get("address", HERE), now)


def send_all(db: Database, process: Config, now: int = NOW) -> None:
    while mailer.send_next(db, process, now):
        pass


def rows(db: Database) -> list[dict[str, Any]]:
    with db.read() as tx:
        return tx.all("SELECT * FROM resets")


def signed_in(db: Database, app: App, password: str, now: int = NOW) -> bool:
    try:
        sessions.open(
            db,
            Limits(),
            sessions.Credentials(auth_key=app.auth_key, email="ann@example.org", password=password),
            HERE,
            now,
        )
    except errors.Unauthorized:
        return False
    return True


def matches(db: Database, app: App, user_id: int, password: str) -> bool:
    with db.read() as tx:
        stored = tx.one("SELECT password_hash FROM users WHERE id = :id", id=user_id)
    assert stored
    return passwords.matches(stored["password_hash"], password)


# ── the mail ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_link_sets_a_new_password_once(db, app, process, mailbox):
    ann = person(db, app)
    ask(db, process, app, " ANN@example.org ")
    assert mailbox.got == []  # the request sends nothing itself
    send_all(db, process)
    assert mailbox.recipients == ["ann@example.org"]
    assert mailbox.got[0][1]["Subject"] == "New password"
    token = mailbox.token()
    assert mailbox.text() == f"Follow https://contacts.example.com/reset/{token} now\n"
    resets.use_up(db, token, NEW, NOW + 1)
    assert matches(db, app, ann, NEW) and not matches(db, app, ann, OLD)
    with pytest.raises(errors.NotFound, match="no longer valid"):
        resets.use_up(db, token, OLD, NOW + 2)
    assert rows(db) == []


def test_the_mail_goes_to_the_stored_address_and_not_to_the_one_in_the_request(db, app, process, mailbox):
    """Both spellings are compared as equal, and are two mailboxes."""
    person(db, app, "ann@straße.example")
    ask(db, process, app, "ann@strasse.example")
    send_all(db, process)
    assert mailbox.recipients == ["ann@straße.example"]


def test_looking_at_a_link_does_not_use_it_up(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    send_all(db, process)
    for _ in range(3):
        assert resets.is_valid(db, mailbox.token(), NOW)
    resets.use_up(db, mailbox.token(), NEW, NOW)
    assert not resets.is_valid(db, mailbox.token(), NOW)


@pytest.mark.parametrize("email", ["nobody@example.org", "ann", "", "x" * 100_000, "bob@example.org"])
def test_nobody_else_gets_a_mail_and_nothing_is_said(db, app, process, mailbox, email):
    person(db, app)
    other = applications.create(db, "others", NOW)
    person(db, other, "bob@example.org")
    ask(db, process, app, email)
    send_all(db, process)
    assert mailbox.got == [] == rows(db)


def test_neither_the_token_nor_the_address_is_stored(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    assert rows(db)[0]["token_hash"] is None
    send_all(db, process)
    (row,) = rows(db)
    assert bytes(row["token_hash"]) == hashlib.sha256(mailbox.token().encode()).digest()
    assert "ann@" not in str(row) and "ann@" not in repr(row)


@pytest.mark.parametrize(
    "header, subject",
    [
        ("", "New password"),
        ("pt-br;q=0.9, fr", "Nova senha"),
        ("pt-BR-x-y", "Nova senha"),
        ("en;q=0.5, pt-BR;q=0.8", "Nova senha"),
        ("pt-BR;q=0, de", "New password"),
        ("*" * 10_000, "New password"),
        (";q=,;;", "New password"),
    ],
)
def test_the_app_says_the_language(db, app, process, mailbox, header, subject):
    person(db, app)
    ask(db, process, app, languages=header)
    send_all(db, process)
    assert mailbox.got[0][1]["Subject"] == subject


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"en": "Subject only"}',
        '{"en": "Subject\\nno link"}',
        '{"en": "%s\\nlink in the subject %s"}',
        '{"en": "Subject\\n%s and %s"}',
        '{"english!": "Subject\\n%s"}',
        '{"en": "Sub\\rject\\n%s"}',
        '{"en": "Subject\\n%s' + "x" * 4_000 + '"}',
    ],
)
def test_a_mail_without_a_subject_or_a_link_is_refused(db, app, text):
    with pytest.raises(errors.Invalid) as refused:
        applications.change(db, app.id, "password_reset_mails", text)
    assert refused.value.field == "password_reset_mails"


def test_without_an_smtp_server_the_answer_says_what_the_operator_must_set(db, app):
    with pytest.raises(errors.Invalid, match="RINGBOOK_SMTP_HOST.*RINGBOOK_PUBLIC_URL") as refused:
        ask(db, Config(), app)
    assert refused.value.field == "password"


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_e_mail_gets_so_many_mails_in_an_hour_and_nobody_is_told(db, app, process, mailbox):
    person(db, app)
    for _ in range(5):
        ask(db, process, app)
        send_all(db, process)
    assert len(mailbox.got) == 3
    ask(db, process, app, now=NOW + 3600)
    send_all(db, process, NOW + 3600)
    assert len(mailbox.got) == 4


def test_an_address_asks_only_so_often_whomever_it_asks_for(db, app, process):
    few = msgspec.structs.replace(process, limits=Limits(resets_per_address_per_hour=2))
    for n in range(2):
        ask(db, few, app, f"user{n}@example.org")
    with pytest.raises(errors.TooMany) as refused:
        ask(db, few, app, "nobody@example.org")
    assert refused.value.limit == "resets_per_address_per_hour"
    ask(db, few, app, "nobody@example.org", address="192.0.2.2")


def test_requests_for_one_user_wait_as_one_mail(db, app, process, mailbox):
    person(db, app)
    for _ in range(3):
        ask(db, process, app)
    assert len(rows(db)) == 1
    send_all(db, process)
    assert len(mailbox.got) == 1


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mail_that_was_not_taken_is_sent_again_later(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    mailbox.replies = ["450 later", "450 later"]
    send_all(db, process)
    send_all(db, process, NOW + 59)
    assert len(mailbox.replies) == 1
    send_all(db, process, NOW + 60)
    send_all(db, process, NOW + 60 + 120)
    assert len(mailbox.got) == 1
    assert resets.is_valid(db, mailbox.token(), NOW + 180)


def test_a_mail_that_is_refused_or_failed_too_often_is_given_up(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    mailbox.replies = ["550 nobody"]
    send_all(db, process)
    assert rows(db) == []
    ask(db, process, app)
    mailbox.replies = ["450 later"] * 20
    now = NOW
    for _ in range(resets.MOST_ATTEMPTS):
        send_all(db, process, now)
        now += 3_000
    assert rows(db) == []
    assert len(mailbox.replies) == 20 - resets.MOST_ATTEMPTS


def test_a_mail_of_a_worker_that_was_killed_is_sent_by_another(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    lost = resets.claim(db, process, NOW)
    assert lost and "ann@" not in repr(lost)
    assert resets.claim(db, process, NOW + 1) is None
    send_all(db, process, NOW + resets.LEASE_SECONDS)
    assert mailbox.recipients == ["ann@example.org"]


# ── what ends a link ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_ends_after_an_hour_and_its_row_is_swept(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    send_all(db, process)
    assert resets.is_valid(db, mailbox.token(), NOW + 3599)
    assert not resets.is_valid(db, mailbox.token(), NOW + 3600)
    with pytest.raises(errors.NotFound):
        resets.use_up(db, mailbox.token(), NEW, NOW + 3600)
    assert resets.sweep(db, NOW + 3599) == 0
    assert "links to new passwords" in jobs.parts(process)
    assert resets.sweep(db, NOW + 3600) == 1
    assert rows(db) == []


def test_a_mail_waits_for_a_day_also_when_an_earlier_link_ends_meanwhile(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    send_all(db, process)
    later = NOW + 3590
    ask(db, process, app, now=later)
    assert resets.sweep(db, later + 86_399) == 0
    assert not resets.is_valid(db, mailbox.token(), later + 100)
    assert resets.sweep(db, later + 86_400) == 1


def test_the_last_link_counts(db, app, process, mailbox):
    person(db, app)
    for _ in range(2):
        ask(db, process, app)
        send_all(db, process)
    assert not resets.is_valid(db, mailbox.token(0), NOW)
    assert resets.is_valid(db, mailbox.token(1), NOW)


@pytest.mark.parametrize("change", ["email", "password", "operator", "erased"])
def test_a_changed_e_mail_or_password_ends_the_link(db, app, process, mailbox, change):
    ann = person(db, app)
    ask(db, process, app)
    send_all(db, process)
    caller = Caller(app=app, user_id=ann, is_guest=False, address=HERE)
    if change == "email":
        users.update(db, Limits(), caller, ann, {"email": "new@example.org"}, session=b"", now=NOW)
    elif change == "password":
        session = b"s" * 32
        with db.write() as tx:
            from ringbook.store import sessions as stored

            values = {"app_id": app.id, "user_id": ann, "nonce": 0, "ts": NOW, "guest_until": None}
            stored.insert(tx, session, now=NOW, expires_at=NOW + 60, **values)
        users.update(db, Limits(), caller, ann, {"password": NEW, "old_password": OLD}, session=session, now=NOW)
    elif change == "operator":
        users.reset_password(db, ann, NOW)
    else:
        users.erase(db, ann)
    assert not resets.is_valid(db, mailbox.token(), NOW)
    assert rows(db) == []


def test_a_user_without_an_e_mail_by_now_gets_no_mail(db, app, process, mailbox):
    ann = person(db, app)
    ask(db, process, app)
    with db.write() as tx:
        tx.run("UPDATE users SET email = NULL, email_keyed = NULL WHERE id = :id", id=ann)
    send_all(db, process)
    assert mailbox.got == [] == rows(db)


def test_a_short_password_leaves_the_link(db, app, process, mailbox):
    ann = person(db, app)
    ask(db, process, app)
    send_all(db, process)
    with pytest.raises(errors.Invalid, match="too short"):
        resets.use_up(db, mailbox.token(), "short", NOW)
    resets.use_up(db, mailbox.token(), NEW, NOW)
    assert matches(db, app, ann, NEW)


def test_all_sessions_of_the_user_end_and_no_others(db, app, process, mailbox):
    from ringbook.store import sessions as stored

    ann, bob = person(db, app), person(db, app, "bob@example.org")
    with db.write() as tx:
        for user_id in (ann, ann, bob):
            values = {"app_id": app.id, "user_id": user_id, "nonce": 0, "ts": NOW, "guest_until": None}
            stored.insert(tx, f"{user_id}{tx.next_id('session_ids')}".encode(), now=NOW, expires_at=NOW + 60, **values)
    ask(db, process, app)
    send_all(db, process)
    resets.use_up(db, mailbox.token(), NEW, NOW)
    with db.read() as tx:
        assert [row["user_id"] for row in tx.all("SELECT user_id FROM sessions")] == [bob]


def test_the_export_of_a_user_says_that_a_link_was_asked_for(db, app, process):
    ann = person(db, app)
    assert user_record.everything(db, ann)["password_resets"] == []
    ask(db, process, app)
    (one,) = user_record.everything(db, ann)["password_resets"]
    assert one.keys() == {"created_at", "expires_at"}


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "../" * 14 + "x", "é" * 43, "x" * 100_000])
def test_what_is_no_token_is_no_link(db, token):
    assert not resets.is_valid(db, token, NOW)
