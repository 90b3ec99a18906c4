"""Password reset by mail: who gets a link, what it does, and what ends it. On both databases, over real SMTP."""

import hashlib
from typing import Any

import msgspec
import pytest
from core.test_discoverable import counted
from prometheus_client import REGISTRY
from smtp import Mailbox, listening

from ringbook import config, errors
from ringbook.config import Config, Limits
from ringbook.core import applications, passwords, resets, sessions, user_record, users
from ringbook.core.profile import columns
from ringbook.model import App, Caller
from ringbook.store.db import Database
from ringbook.times import DAY
from ringbook.worker import jobs, mailer

NOW = 1_800_000_000
HERE, HOME = "192.0.2.1", "198.51.100.7"
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


def strangers(number: int) -> str:
    """An address, each in a network of its own."""
    return f"2001:db8:{number:x}::1"


def sign_in_at(db: Database, app: App, address: str, now: int, *, login: str = "", email: str = "") -> None:
    sessions.open_user(db, Limits(), app, sessions.Credentials(login, email, OLD), address, ts=now, nonce=1, now=now)


def rows(db: Database) -> list[dict[str, Any]]:
    with db.read() as tx:
        return tx.all("SELECT * FROM resets ORDER BY created_at, known DESC")


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


def test_an_e_mail_gets_so_many_mails_in_an_hour_half_of_them_for_one_network_and_nobody_is_told(
    db, app, process, mailbox
):
    def refused() -> float:
        return REGISTRY.get_sample_value("ringbook_limits_reached_total", {"limit": "resets_per_user_per_hour"}) or 0

    person(db, app)
    before = refused()
    for address, mails in ((HERE, 2), ("192.0.2.99", 2), (HOME, 3), (strangers(1), 3)):
        for _ in range(4):
            ask(db, process, app, address=address)
            send_all(db, process)
        assert len(mailbox.got) == mails
    assert refused() - before == 13
    ask(db, process, app, now=NOW + 3600)
    send_all(db, process, NOW + 3600)
    assert len(mailbox.got) == 4


@pytest.mark.parametrize("address, mails", [(HERE, 5), (HOME, 10)])
def test_an_e_mail_gets_so_many_mails_in_a_day_and_as_many_again_for_known_networks(
    db, app, process, mailbox, address, mails
):
    """Half are asked for from HERE, which is not known; HOME gets mails of its own."""
    person(db, app)
    sign_in_at(db, app, HOME, NOW + DAY, email="ann@example.org")
    few = msgspec.structs.replace(process, limits=Limits(resets_per_user_per_hour=0, resets_per_user_per_day=5))
    for asked_from in (HERE, address):
        for _ in range(7):
            ask(db, few, app, address=asked_from, now=NOW + DAY)
            send_all(db, few, NOW + DAY)
    assert len(mailbox.got) == mails


def test_what_strangers_use_up_does_not_refuse_a_network_where_the_account_has_signed_in(db, app, process, mailbox):
    person(db, app)
    now = NOW + DAY
    sign_in_at(db, app, HOME, now, email="ann@example.org")
    for number in range(100):
        ask(db, process, app, address=strangers(number), now=now)
        send_all(db, process, now)
    assert len(mailbox.got) == 3
    ask(db, process, app, address=HOME, now=now)
    send_all(db, process, now)
    assert len(mailbox.got) == 4 and all(resets.is_valid(db, mailbox.token(n), now) for n in range(4))


def test_a_sign_in_by_login_makes_the_network_known_for_the_e_mail_of_the_account(db, app, process, mailbox):
    person(db, app)
    for now in (NOW + DAY - 1, NOW + DAY):  # whoever has an account of less than a day stores nothing
        sign_in_at(db, app, HOME, now, login="login ann@example.org")
        ask(db, process, app, address=HOME, now=now)
        send_all(db, process, now)
    ask(db, process, app, address=HERE, now=NOW + DAY)
    assert [row["known"] for row in rows(db)] == [0, 1, 0]


def test_a_user_has_at_most_so_many_links_and_none_goes_for_another_one(db, app, process, mailbox):
    person(db, app)
    now = NOW + DAY
    sign_in_at(db, app, HOME, now, email="ann@example.org")
    free = {"resets_per_user_per_hour": 0, "resets_per_user_per_day": 0, "max_reset_links_per_user": 3}
    few = msgspec.structs.replace(process, limits=Limits(**free))
    for address, links in ((HERE, 3), (HOME, 6), (HERE, 6), (HOME, 6)):
        for _ in range(5):
            ask(db, few, app, address=address, now=now)
            send_all(db, few, now)
        assert len(mailbox.got) == len(rows(db)) == links
    assert all(resets.is_valid(db, mailbox.token(n), now) for n in range(6))
    ask(db, few, app, now=now + 3600)
    send_all(db, few, now + 3600)
    assert len(mailbox.got) == 7  # links that have expired do not count


def test_whoever_asks_while_others_ask_too_has_a_link(db, app, process, mailbox):
    """Strangers ask all the time, and every link of theirs is in the user's mailbox: a day of it, on a new phone."""
    person(db, app)
    for now in range(NOW, NOW + DAY, 450):
        for number in range(8):
            ask(db, process, app, address=strangers(number), now=now)
            send_all(db, process, now)
        ask(db, process, app, address=HERE, now=now)
        send_all(db, process, now)
        assert resets.is_valid(db, mailbox.token(), now)
    assert 24 < len(mailbox.got) <= 48


def test_a_request_for_somebody_makes_the_same_statements_as_one_for_nobody(db, app, process):
    person(db, app)
    ask(db, process, app, "bob@example.org")  # both have been here
    ask(db, process, app)
    for number in range(5):  # a mail is queued, waits already, and is withheld
        made = []
        for email in ("ann@example.org", "bob@example.org"):
            with counted() as statements:
                ask(db, process, app, email, address=strangers(number))
            made.append(statements)
        assert made[0] == made[1]
    assert len(rows(db)) == 1


@pytest.mark.parametrize("limit", ["subnet_resets_per_hour", "network_resets_per_hour"])
def test_a_network_asks_only_so_often(db, app, process, limit):
    few = msgspec.structs.replace(process, limits=Limits(**{limit: 2}))
    for n in range(2):
        ask(db, few, app, "ann@example.org", address=f"2001:db8:1:{n}::1")
    with pytest.raises(errors.TooMany) as refused:
        ask(db, few, app, "nobody@example.org", address="2001:db8:1:9::1")
    assert refused.value.limit == limit
    ask(db, few, app, "nobody@example.org", address="2001:db8:2::1")


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


def test_mails_of_strangers_do_not_delay_those_of_known_networks(db, app, process, mailbox):
    """Two users wait for mails that strangers asked for. Then the second asks at home."""
    person(db, app, "bob@example.org")
    person(db, app)
    now = NOW + DAY
    sign_in_at(db, app, HOME, now, email="ann@example.org")
    for number, email in enumerate(("bob@example.org", "ann@example.org")):
        ask(db, process, app, email, address=strangers(number), now=now + number)
    for _ in range(2):
        ask(db, process, app, address=HOME, now=now + 2)
    send_all(db, process, now + 2)
    assert mailbox.recipients == ["ann@example.org", "bob@example.org", "ann@example.org"]


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


def test_a_mail_that_bounces_takes_no_other_link_away(db, app, process, mailbox):
    person(db, app)
    ask(db, process, app)
    send_all(db, process)
    ask(db, process, app, address=HOME, now=NOW + 60)
    mailbox.replies = ["550 full"]
    send_all(db, process, NOW + 60)
    assert len(mailbox.got) == len(rows(db)) == 1
    assert resets.is_valid(db, mailbox.token(), NOW + 60)


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
    assert resets.sweep(db, later + 86_399) == 1  # the earlier link
    assert len(rows(db)) == 1
    assert resets.sweep(db, later + 86_400) == 1


def test_an_earlier_link_stays_valid_until_it_expires(db, app, process, mailbox):
    """A stranger's request must not make the user's own link invalid, nor make it valid for longer."""
    person(db, app)
    for now, address in ((NOW, HOME), (NOW + 600, HERE)):
        ask(db, process, app, address=address, now=now)
        send_all(db, process, now)
    assert all(resets.is_valid(db, mailbox.token(n), NOW + 3599) for n in (0, 1))
    assert not resets.is_valid(db, mailbox.token(0), NOW + 3600)
    assert resets.is_valid(db, mailbox.token(1), NOW + 4199)
    assert not resets.is_valid(db, mailbox.token(1), NOW + 4200)


@pytest.mark.parametrize("used", [0, 1])
def test_a_link_that_was_used_ends_all_links_of_the_user_and_no_others(db, app, process, mailbox, used):
    person(db, app)
    person(db, app, "bob@example.org")
    for address in (HOME, HERE):
        ask(db, process, app, address=address)
        send_all(db, process)
    ask(db, process, app, "bob@example.org")
    send_all(db, process)
    ask(db, process, app, address=strangers(1))  # one waits
    resets.use_up(db, mailbox.token(used), NEW, NOW)
    assert [resets.is_valid(db, mailbox.token(n), NOW) for n in range(3)] == [False, False, True]
    with pytest.raises(errors.NotFound):
        resets.use_up(db, mailbox.token(1 - used), OLD, NOW)
    send_all(db, process)
    assert len(mailbox.got) == 3


@pytest.mark.parametrize("change", ["email", "password", "operator", "erased"])
def test_a_changed_e_mail_or_password_ends_all_links(db, app, process, mailbox, change):
    ann = person(db, app)
    for _ in range(2):
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
    assert not any(resets.is_valid(db, mailbox.token(n), NOW) for n in (0, 1))
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
