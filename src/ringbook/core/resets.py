"""Password reset by mail: a user who forgot the password gets a link, and chooses a new one on a page of this server.

    trouble, check_set_up          what an operator must set before mails can be sent
    request(db, config, app, …)    queues a mail for the user with an e-mail
    claim(db, config, now)         the next mail to send, or None
    settle(db, mail, result, now)  records what became of it
    is_valid(db, token, now)       is this the token of a valid link?
    use_up(db, token, …)           sets the new password and ends the user's sessions
    sweep                          forgets links whose time is over

A user may have several links. Each is valid until it expires, or until a password was chosen: a request of somebody
else takes none of them away. Strangers and the networks from which the account has signed in have budgets of their own.
With the default limits, a request is left without a mail only while the user has a valid link or a mail that waits.

The mail goes to the stored e-mail, never to the one in the request: two spellings that are compared as equal, as
`ann@straße` and `ann@strasse`, may be two mailboxes. No answer shows whether a user has an e-mail. The token is made
when the mail is sent and stored as a hash only, so nothing in the queue opens an account.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from .. import errors, metrics
from ..config import Config
from ..logs import log
from ..model import App
from ..outbound.mail import Outcome, Result
from ..store import proofs, sessions, users
from ..store import resets as store
from ..store.db import Database, Row
from ..times import DAY, HOUR
from . import applications, charging, known, numbers, passwords, rate_limits
from .users import bucket_name, note_last_use

LIFE_SECONDS = HOUR
WAITING_SECONDS = DAY  # a mail that cannot be sent for so long is forgotten
LEASE_SECONDS = 180  # longer than a mail takes, with all timeouts
MOST_ATTEMPTS = 6
FIRST_WAIT_SECONDS = 60  # doubled after each attempt
LONGEST_HEADER = 500
NOBODY = 0  # is the id of no user
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
PATH = "/reset/"
OVER = "This link is no longer valid. Ask for a new one in the app."


class Mail(Struct, frozen=True, kw_only=True):
    """A mail to send. Its repr has no address and no link."""

    app_id: int
    user_id: int
    token_hash: bytes
    attempts: int
    to: str
    subject: str
    text: str

    def __repr__(self) -> str:
        return f"Mail(app_id={self.app_id}, user_id={self.user_id})"


# ── asking for a link ────────────────────────────────────────────────────────────────────────────────────────────────


def trouble(config: Config) -> str:
    """What an operator must set before mails can be sent; "" when nothing is missing."""
    return "" if config.smtp_host else "set RINGBOOK_SMTP_HOST, RINGBOOK_SMTP_FROM and RINGBOOK_PUBLIC_URL"


def check_set_up(config: Config) -> None:
    """Raises Invalid, with what the operator must set, when mails cannot be sent."""
    if missing := trouble(config):
        raise errors.Invalid(
            f"cannot be reset by mail: {missing}. An admin can reset it with `ringbook users reset-password ID`",
            field="password",
        )


def request(db: Database, config: Config, app: App, email: str, languages: str, address: str, now: int) -> None:
    """Queue a mail with a link for the user with this e-mail.

    languages   the header Accept-Language

    No answer shows whether there is such a user: both make the same charges and statements, and beyond the limits of an
    e-mail no mail is sent without a word. Raises Invalid when mails cannot be sent, TooMany for too many requests from
    the address or its networks.
    """
    check_set_up(config)
    folded, language, limits = users.fold(email), language_of(languages, texts_of(app)), config.limits
    with db.write() as tx:
        for bucket in rate_limits.resets_from_address(limits, address):
            charging.charge(tx, bucket, 1, now)
        is_known = known.is_known(tx, rate_limits.account_name(app.id, bucket_name("", email)), address, now)
        of_email = rate_limits.resets_of_email(limits, app, folded, address, is_known=is_known)
        try:
            charging.charge_all(tx, [charging.Charge(bucket, 1) for bucket in of_email], now)
            withheld = ""
        except errors.TooMany as full:
            withheld = full.limit
        user_id = store.user_with(tx, app.id, folded)
        links = store.live(tx, user_id or NOBODY, now)
        wanted = user_id is not None and not withheld and is_wanted(links, limits.max_reset_links_per_user, is_known)
        store.put(tx, app.id, user_id or NOBODY, language, now, known=is_known, wanted=wanted)
    if withheld:
        metrics.limit_reached(withheld)


def is_wanted(links: Sequence[Row], most: int, is_known: bool) -> bool:
    """Whether a further mail is queued for a user with these links.

    No second mail waits, except one of a known asker behind mails of strangers. Strangers fill at most `most` places,
    and known askers as many others, so that no link needs to end for another one.
    """
    waits = any(one["attempts"] == 0 and one["known"] >= is_known for one in links)
    return not waits and sum(one["known"] == is_known for one in links) < most


def texts_of(app: App) -> dict[str, str]:
    """The texts of the mail by language."""
    return msgspec.json.decode(app.settings.password_reset_mails, type=dict[str, str])


def language_of(header: str, texts: dict[str, str]) -> str:
    """The best language among those that there are texts for; the first one when none fits.

    Source: RFC 9110 §12.5.4 (the header); RFC 4647 §3.4 (look-up: the range loses its last part until it fits).
    """
    known = {language.lower(): language for language in texts}
    for range_ in _ranges(header[:LONGEST_HEADER]):
        parts = range_.split("-")
        for count in range(len(parts), 0, -1):
            if found := known.get("-".join(parts[:count])):
                return found
    return next(iter(texts))


def _ranges(header: str) -> list[str]:
    """The languages in the header that are accepted, the best first, in lower case."""
    found = []
    for part in header.lower().split(","):
        range_, _, weight = part.partition(";q=")
        quality = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight.strip()) else 1.0
        if quality > 0:
            found.append((-quality, range_.strip()))
    return [range_ for _, range_ in sorted(found, key=lambda one: one[0])]


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_due(db: Database, now: int) -> bool:
    """Is a mail to be sent?"""
    with db.read() as tx:
        return store.is_due(tx, now)


def claim(db: Database, config: Config, now: int) -> Mail | None:
    """The next mail to send, with a new token; None when nothing is to be sent now.

    Earlier links of the user stay valid. The mails of a user who has no e-mail any more are forgotten.
    """
    token = secrets.token_urlsafe(32)
    with db.write() as tx:
        row = store.claim(tx, _digest(token), now, now + LEASE_SECONDS, now + LIFE_SECONDS)
        if not row:
            return None
        app = applications.cached_within(db, tx, row["app_id"])
        user = users.by_id(tx, row["app_id"], row["user_id"])
        if not user or not user.email:
            store.drop(tx, row["user_id"])
            return None
    texts = texts_of(app)
    subject, _, text = texts.get(row["language"], next(iter(texts.values()))).partition("\n")
    return Mail(
        app_id=app.id,
        user_id=user.id,
        token_hash=_digest(token),
        attempts=row["attempts"],
        to=user.email,
        subject=subject.strip(),
        text=text.strip().replace("%s", f"{config.public_url}{PATH}{token}") + "\n",
    )


def settle(db: Database, mail: Mail, result: Result, now: int) -> None:
    """Record what became of a mail: sent, to be sent again later, or given up."""
    given_up = result.outcome is Outcome.REFUSED or mail.attempts >= MOST_ATTEMPTS
    with db.write() as tx:
        if result.outcome is Outcome.SENT:
            store.sent(tx, mail.token_hash)
        elif given_up:
            store.give_up(tx, mail.token_hash)
        else:
            store.later(tx, mail.token_hash, now + FIRST_WAIT_SECONDS * 2 ** (mail.attempts - 1))
    if result.outcome is Outcome.SENT:
        log.info("mail sent", app=mail.app_id, user=mail.user_id)
    else:
        log.warning("mail not sent", app=mail.app_id, user=mail.user_id, why=result.reason, again=not given_up)


# ── following a link ─────────────────────────────────────────────────────────────────────────────────────────────────


def is_valid(db: Database, token: str, now: int) -> bool:
    """Is this the token of a valid link? It stays valid: programs that scan mails follow links, too."""
    if not TOKEN.fullmatch(token):
        return False
    with db.read() as tx:
        return store.by_token(tx, _digest(token), now) is not None


def use_up(db: Database, token: str, password: str, now: int) -> None:
    """Set the password of the link's user, and end all of the user's links and sessions.

    Raises NotFound when the link is no longer valid, and Invalid for a password that is too short or too long; the link
    then stays valid.
    """
    if not is_valid(db, token, now):
        raise errors.NotFound(OVER)
    passwords.check(password)
    stored = passwords.hashed(password)
    with db.write() as tx:
        row = store.by_token(tx, _digest(token), now)
        if not row:
            raise errors.NotFound(OVER)
        numbers.lock_user(
            tx, row["user_id"]
        )  # a concurrent change of the password or the e-mail waits, or has ended it
        if not store.use_up(tx, _digest(token), now) or not users.set_password(tx, row["user_id"], stored, None):
            raise errors.NotFound(OVER)
        store.drop(tx, row["user_id"])
        # Whoever has the mailbox has the account: an imported number or e-mail no longer opens it.
        proofs.end_import_trust(tx, row["user_id"], verified=True)
        note_last_use(tx, sessions.end_others(tx, row["user_id"], b""))
    log.info("password reset by mail", app=row["app_id"], user=row["user_id"])


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` links and mails whose time is over. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, now, now - WAITING_SECONDS, batch)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
