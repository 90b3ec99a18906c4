"""A real SMTP server on the loopback that keeps the mails it gets.

listening()   the server, while the context lasts
Mailbox       what it got, and how it answers
"""

import email
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from servers import free_port

LINK = re.compile(r"http\S*/reset/([A-Za-z0-9_-]+)")


@dataclass
class Mailbox:
    """What the server got.

    replies   answers to the next recipients, before it takes mails again
    """

    port: int
    got: list[tuple[list[str], Any]] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)

    @property
    def config(self) -> dict[str, str]:
        """The settings of a process that sends mails here."""
        return {
            "smtp_host": "127.0.0.1",
            "smtp_port": str(self.port),
            "smtp_tls": "none",
            "smtp_from": "Friends <no-reply@example.com>",
            "public_url": "https://contacts.example.com",
        }

    @property
    def recipients(self) -> list[str]:
        """The recipients of all mails."""
        return [one for to, _ in self.got for one in to]

    def text(self, place: int = -1) -> str:
        """The text of a mail, by default the last one."""
        return str(self.got[place][1].get_content()).replace("\r\n", "\n")

    def token(self, place: int = -1) -> str:
        """The token of the link in a mail."""
        (token,) = LINK.findall(self.text(place))
        return token

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """Take a recipient, or answer as the test says."""
        if self.replies:
            return self.replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep a mail."""
        self.got.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=default)))
        return "250 OK"


def allows(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
    """The one user who may log in."""
    right = isinstance(given, LoginPassword) and (given.login, given.password) == (b"friends", b"sesame")
    return AuthResult(success=right, handled=False)


@contextmanager
def listening(**options: Any) -> Iterator[Mailbox]:
    """The server, until the context ends.

    options   of aiosmtpd: tls_context, require_starttls, auth_required …
    """
    mailbox = Mailbox(free_port())
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=mailbox.port, enable_SMTPUTF8=True, authenticator=allows, **options
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
