"""The check of the operator's SMTP server, which sends no mail.

    trouble(config)   why mails cannot be sent, and what to change; "" when they can

It connects, speaks TLS, logs in, and asks whether the server takes the sender. Source: RFC 5321 (MAIL, RSET).
"""

import smtplib
import socket
import ssl
from email.utils import parseaddr

from ..config import Config
from . import mail

NAME = "the name {host} is unknown: correct RINGBOOK_SMTP_HOST, or this machine's name server"
CLOSED = "nothing listens at {where}: check RINGBOOK_SMTP_HOST and RINGBOOK_SMTP_PORT, and that the server runs"
SILENT = (
    "{where} does not answer. A firewall may block the port (many providers block port 25), or the server speaks TLS"
    " from the start: port 465 needs RINGBOOK_SMTP_TLS=tls"
)
UNREACHED = "{where} cannot be reached ({why}): check the network of this machine"
HUNG_UP = "{where} closes the connection: port 465 needs RINGBOOK_SMTP_TLS=tls, port 587 needs starttls"
PLAIN = "{where} does not speak TLS from the start: set RINGBOOK_SMTP_TLS=starttls, which is usual at port 587"
UNTRUSTED = (
    "the certificate of {where} is not accepted ({why}): RINGBOOK_SMTP_HOST must be the name in the certificate, and"
    " the certificate of your own authority needs RINGBOOK_CA_FILE"
)
TLS = "{where} and this server do not agree on TLS ({why})"
NO_STARTTLS = "{where} offers no STARTTLS: set RINGBOOK_SMTP_TLS=tls if the port is for TLS, which is usual at port 465"
NO_LOG_IN = (
    "{where} offers no log-in on this connection: set RINGBOOK_SMTP_TLS, because many servers offer it with TLS only,"
    " or remove RINGBOOK_SMTP_USER"
)
LOG_IN = "{where} refuses the log-in ({why}): correct RINGBOOK_SMTP_USER and RINGBOOK_SMTP_PASSWORD"
SENDER = (
    "{where} refuses the sender {sender} ({why}): set RINGBOOK_SMTP_FROM to an address that this user may send from"
)
ANSWER = "{where} answers {why}: look into the log of the SMTP server"


def trouble(config: Config) -> str:
    """Connect and log in, and ask whether the server takes the sender; no mail is sent."""
    where = {"where": f"{config.smtp_host}:{config.smtp_port}", "host": config.smtp_host}
    sender = parseaddr(config.smtp_from)[1]
    try:
        with mail.connected(config) as server:
            server.ehlo_or_helo_if_needed()
            code, _ = server.mail(sender, () if sender.isascii() else ("SMTPUTF8",))
            server.rset()
    except (OSError, smtplib.SMTPException) as failed:
        text, why = _of(failed)
        return text.format(why=why, **where)
    return "" if code == 250 else SENDER.format(sender=sender, why=code, **where)


def _of(failed: BaseException) -> tuple[str, object]:
    """The sentence for a failure, and its detail."""
    if isinstance(failed, smtplib.SMTPServerDisconnected) and isinstance(failed.__context__, OSError):
        failed = failed.__context__  # smtplib says no more than "unexpectedly closed", also after a timeout
    if isinstance(failed, ssl.SSLError) and failed.reason == "WRONG_VERSION_NUMBER":
        return PLAIN, ""
    text = next(text for kind, text in SENTENCES if isinstance(failed, kind))
    details = (getattr(failed, name, None) for name in ("smtp_code", "verify_message", "reason", "strerror"))
    return text, next(filter(None, details), type(failed).__name__)


# By the first class that fits.
SENTENCES: list[tuple[type[BaseException], str]] = [
    (mail.NoStartTls, NO_STARTTLS),
    (smtplib.SMTPNotSupportedError, NO_LOG_IN),
    (smtplib.SMTPAuthenticationError, LOG_IN),
    (smtplib.SMTPResponseException, ANSWER),
    (smtplib.SMTPException, HUNG_UP),
    (ssl.SSLCertVerificationError, UNTRUSTED),
    (ssl.SSLError, TLS),
    (socket.gaierror, NAME),
    (TimeoutError, SILENT),
    (ConnectionRefusedError, CLOSED),
    (ConnectionResetError, HUNG_UP),
    (OSError, UNREACHED),
]
