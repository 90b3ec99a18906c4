"""Outgoing mail, against a real SMTP server on the loopback."""

import ssl

import msgspec
import pytest
import trustme
from servers import free_port
from smtp import Mailbox, listening

from ringbook import config
from ringbook.config import Config
from ringbook.outbound import mail
from ringbook.outbound.mail import Outcome, Result, send

TEXT = "Follow this link:\n\nhttps://contacts.example.com/reset/x\n"


@pytest.fixture
def mailbox():
    with listening() as found:
        yield found


def settings(mailbox: Mailbox, **more: str) -> Config:
    return config.load({f"RINGBOOK_{name.upper()}": value for name, value in (mailbox.config | more).items()})


def sent(mailbox: Mailbox, to: str = "ann@example.org", subject: str = "Hello", **more: str) -> Result:
    return send(settings(mailbox, **more), to, subject, TEXT)


def test_a_mail_arrives_with_its_headers(mailbox):
    assert sent(mailbox, subject="Größe: Passwort") == Result(Outcome.SENT)
    (to, message) = mailbox.got[0]
    assert to == ["ann@example.org"]
    assert message["To"] == "ann@example.org"
    assert message["From"] == "Friends <no-reply@example.com>"
    assert message["Subject"] == "Größe: Passwort"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] and message["Message-ID"].endswith("@example.com>")
    assert mailbox.text() == TEXT


def test_an_address_beyond_ascii_is_sent_to_as_it_is(mailbox):
    assert sent(mailbox, to="ann@straße.example") == Result(Outcome.SENT)
    assert mailbox.recipients == ["ann@straße.example"]


@pytest.mark.parametrize(
    "to", ["ann@example.org,bob@example.org", "x<bob@example.org", "a>b@example.org", '"a"@example.org', "a;b@c", "ann"]
)
def test_an_address_that_could_mean_another_one_is_never_sent_to(mailbox, to):
    assert sent(mailbox, to=to).outcome is Outcome.REFUSED
    assert mailbox.got == []


def test_a_subject_cannot_add_a_header(mailbox):
    assert sent(mailbox, subject="Hello\nBcc: bob@example.org").outcome is Outcome.REFUSED
    assert mailbox.got == []


@pytest.mark.parametrize("reply, outcome", [("450 try later", Outcome.LATER), ("550 no such mailbox", Outcome.REFUSED)])
def test_a_refusal_says_whether_to_try_again_and_nothing_of_the_mail(mailbox, reply, outcome):
    mailbox.replies = [reply]
    assert sent(mailbox) == Result(outcome, f"the server answers {reply[:3]}")


def test_a_server_that_is_away_is_tried_again(mailbox):
    assert sent(mailbox, smtp_port=str(free_port())).outcome is Outcome.LATER


def test_a_server_that_is_silent_is_tried_again(mailbox, monkeypatch):
    import socket

    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert sent(mailbox, smtp_port=str(silent.getsockname()[1])).outcome is Outcome.LATER


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("localhost").configure_cert(context)
    return file, context


def test_with_starttls_the_log_in_is_encrypted_and_the_certificate_checked(authority):
    file, context = authority
    more = {"smtp_host": "localhost", "smtp_tls": "starttls", "smtp_user": "friends", "smtp_password": "sesame"}
    with listening(tls_context=context, require_starttls=True, auth_required=True) as mailbox:
        assert sent(mailbox, ca_file=str(file), **more) == Result(Outcome.SENT)
        assert sent(mailbox, **more).outcome is Outcome.LATER  # a certificate of nobody we trust
        wrong = sent(mailbox, ca_file=str(file), **more | {"smtp_password": "wrong"})
        assert (wrong.outcome, "smtp_password" in wrong.reason) == (Outcome.LATER, True)
    assert len(mailbox.got) == 1


def test_a_server_without_starttls_gets_no_mail(mailbox):
    assert sent(mailbox, smtp_tls="starttls").outcome is Outcome.REFUSED
    assert mailbox.got == []


@pytest.mark.parametrize("missing", ["smtp_from", "public_url"])
def test_the_settings_that_belong_together_are_named(mailbox, missing):
    with pytest.raises(config.ConfigError, match="RINGBOOK_SMTP_FROM and RINGBOOK_PUBLIC_URL"):
        settings(mailbox, **{missing: ""})


def test_a_sender_is_an_address(mailbox):
    with pytest.raises(config.ConfigError, match="RINGBOOK_SMTP_FROM"):
        settings(mailbox, smtp_from="Friends")
    assert msgspec.structs.replace(settings(mailbox), smtp_password="x").smtp_password not in repr(settings(mailbox))
