"""Outgoing mail: hands one mail to the operator's SMTP server.

    send(config, to, subject, text)   one attempt; failures are results, not exceptions
    connected(config)                 a connection on which mails can be sent
    Outcome, Result                   what became of it

The server is a setting of the process, so the rules for addresses that users and applications name do not apply to it.
Source: RFC 5321 (SMTP, its replies), RFC 6531 (addresses beyond ASCII), RFC 3834 (Auto-Submitted).
"""

import re
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid, parseaddr
from enum import Enum

from msgspec import Struct

from ..config import Config

TIMEOUT_SECONDS = 20
# An address with any of these is written in quotes or means something else (RFC 5321 §4.1.2). None is sent to.
UNUSABLE = re.compile(r"[\x00-\x20\x7f<>()\[\],;:\\\"]")


class Outcome(Enum):
    """What became of a mail."""

    SENT = "sent"  # the server has it
    LATER = "later"  # a temporary failure: try again
    REFUSED = "refused"  # it will never be sent


class Result(Struct, frozen=True):
    """What became of a mail, and why. The reason holds no address and no text of the mail."""

    outcome: Outcome
    reason: str = ""


class NoStartTls(smtplib.SMTPNotSupportedError):
    """The server does not offer STARTTLS."""


def send(config: Config, to: str, subject: str, text: str) -> Result:
    """Hand one mail to the server. Blocks for several timeouts at most.

    An address beyond ASCII is sent as it is, where the server takes such addresses. Its domain is not rewritten: the
    older rules make `strasse` of `straße`, which is another domain.
    """
    if UNUSABLE.search(to) or to.count("@") != 1:
        return Result(Outcome.REFUSED, "the address cannot be written in a mail")
    try:
        with connected(config) as server:
            server.send_message(_message(config, to, subject, text), parseaddr(config.smtp_from)[1], [to])
    except smtplib.SMTPRecipientsRefused as refused:
        return _of_reply(next(iter(refused.recipients.values()))[0])
    except smtplib.SMTPAuthenticationError as refused:  # an operator has to act, and the mail waits meanwhile
        return Result(Outcome.LATER, f"the server refuses smtp_user and smtp_password ({refused.smtp_code})")
    except smtplib.SMTPResponseException as refused:
        return _of_reply(refused.smtp_code)
    except smtplib.SMTPNotSupportedError:
        return Result(Outcome.REFUSED, "the server lacks STARTTLS, log-ins, or addresses beyond ASCII")
    except (OSError, smtplib.SMTPException) as failed:
        return Result(Outcome.LATER, type(failed).__name__)
    except ValueError:  # a header that cannot be written
        return Result(Outcome.REFUSED, "the mail cannot be written")
    return Result(Outcome.SENT)


def _of_reply(code: int) -> Result:
    outcome = Outcome.REFUSED if code >= 500 else Outcome.LATER
    return Result(outcome, f"the server answers {code}")


def connected(config: Config) -> smtplib.SMTP:
    """A connection on which mails can be sent. Raises OSError, SMTPException; NoStartTls without STARTTLS."""
    where = config.smtp_host, config.smtp_port
    if config.smtp_tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=TIMEOUT_SECONDS, context=_trusted(config))
    else:
        server = smtplib.SMTP(*where, timeout=TIMEOUT_SECONDS)
    try:
        if config.smtp_tls == "starttls":
            _start_tls(server, config)
        if config.smtp_user:
            server.login(config.smtp_user, config.smtp_password)
    except BaseException:
        server.close()
        raise
    return server


def _start_tls(server: smtplib.SMTP, config: Config) -> None:
    server.ehlo_or_helo_if_needed()
    if not server.has_extn("starttls"):
        raise NoStartTls
    server.starttls(context=_trusted(config))


def _trusted(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if config.ca_file:
        context.load_verify_locations(config.ca_file)
    return context


def _message(config: Config, to: str, subject: str, text: str) -> EmailMessage:
    name, address = parseaddr(config.smtp_from)
    message = EmailMessage(policy=SMTP if to.isascii() and address.isascii() else SMTPUTF8)
    local, _, domain = to.rpartition("@")
    message["From"] = Address(name, *address.rsplit("@", 1))
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=address.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message
