"""`ringbook check` of the SMTP server, against a real one on the loopback. It sends no mail."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme
from servers import free_port
from smtp import Mailbox, listening

from ringbook import config
from ringbook.outbound import mail
from ringbook.outbound.mail_check import trouble
from ringbook.server import checks

USER = {"smtp_user": "friends", "smtp_password": "sesame"}


def settings(mailbox: Mailbox, **more: str) -> config.Config:
    return config.load({f"RINGBOOK_{name.upper()}": value for name, value in (mailbox.config | more).items()})


@pytest.fixture
def mailbox():
    with listening() as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    """A file of authorities, and the TLS of a server whose certificate is from there."""
    made = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("localhost").configure_cert(context)
    return str(file), context


def check(**values: str) -> list[checks.Check]:
    found = checks.readiness(config.load({f"RINGBOOK_{name.upper()}": value for name, value in values.items()}))
    return [one for one in found if one.what == "mail"]


def test_a_server_that_takes_mails_is_well_and_gets_none(mailbox, tmp_path: Path):
    database = {"database": f"sqlite:///{tmp_path / 'none.db'}"}
    where = f"127.0.0.1:{mailbox.port}"
    assert check(**database, **mailbox.config) == [
        checks.Check("mail", True, f"{where} accepts the sender Friends <no-reply@example.com>")
    ]
    assert check(**database) == []  # no server is set
    assert mailbox.got == []


def test_each_step_of_starttls_and_the_log_in_says_what_to_correct(authority):
    file, context = authority
    tls = {"smtp_host": "localhost", "smtp_tls": "starttls", "ca_file": file}
    with listening(tls_context=context, require_starttls=True, auth_required=True) as mailbox:
        assert trouble(settings(mailbox, **tls, **USER)) == ""
        assert "RINGBOOK_CA_FILE" in trouble(settings(mailbox, **tls | {"ca_file": ""}, **USER))
        assert "RINGBOOK_SMTP_HOST must be the name" in trouble(settings(mailbox, **tls | {"smtp_host": "127.0.0.1"}))
        wrong = trouble(settings(mailbox, **tls, **USER | {"smtp_password": "wrong"}))
        assert "RINGBOOK_SMTP_PASSWORD" in wrong and "535" in wrong
        assert "refuses the sender no-reply@example.com" in trouble(settings(mailbox, **tls))  # without a log-in
        assert "offers no log-in" in trouble(settings(mailbox, **tls | {"smtp_tls": "none"}, **USER))
        plain = trouble(settings(mailbox, **tls | {"smtp_tls": "tls"}))
        assert "RINGBOOK_SMTP_TLS=starttls" in plain
        assert mailbox.got == []


def test_a_server_without_starttls_is_told(mailbox):
    assert "offers no STARTTLS" in trouble(settings(mailbox, smtp_tls="starttls"))


def test_a_server_that_takes_no_mails_now_is_told(mailbox):
    async def refuses(*_: object) -> str:
        return "452 no room"

    mailbox.handle_MAIL = refuses  # type: ignore[attr-defined]
    assert "refuses the sender no-reply@example.com (452)" in trouble(settings(mailbox))


def test_a_server_that_is_not_there_is_told_by_its_address(mailbox):
    port = str(free_port())
    assert f"nothing listens at 127.0.0.1:{port}" in trouble(settings(mailbox, smtp_port=port))
    assert "the name smtp.invalid is unknown" in trouble(settings(mailbox, smtp_host="smtp.invalid"))


def test_a_server_that_says_nothing_is_told(mailbox, monkeypatch):
    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        assert f"127.0.0.1:{port} does not answer" in trouble(settings(mailbox, smtp_port=port))
