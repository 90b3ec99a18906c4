"""One-time codes: who reads a code that was sent to a number has that number.

    ask(db, limits, app, …)          send a code → Asked
    answer(db, app, request_id, …)   the number, as it was typed when the code was asked for
    forget_user(tx, user_id)         forget the codes to a user's proven numbers
    sweep(db, now)                   forget codes whose time is over
from . import charging, rate_limits

A number has one open code, the last one that was asked for; asking again ends the one before. What is answered tells
nobody whether a number has an account.
"""

import hmac
import re
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from .. import errors, metrics, phone
from ..config import Limits
from ..logs import log
from ..model import App
from ..outbound.requests import Outgoing
from ..store import applications, proofs
from ..store import codes as store
from ..store.db import Database, Tx
from ..verify import sms
from . import charging, rate_limits
from .charging import Bucket

LIFE_SECONDS = 600
RESEND_SECONDS = 30
REPEAT_SECONDS = 60  # an app whose answer was lost asks again with the same code
MOST_ATTEMPTS = 5
LONGEST_TYPED = 64
REQUEST_ID = re.compile(r"[0-9a-f]{32}")
OVER = "is no longer valid: ask for a new one"


@dataclass(frozen=True, slots=True)
class Asked:
    """A code is on its way; from `resend_at` another one may be asked for."""

    request_id: str
    expires_at: int
    resend_at: int


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(db: Database, limits: Limits, app: App, outgoing: Outgoing, typed: str, address: str, now: int) -> Asked:
    """Send a code to a number. The code that was sent to it before ends.

    Raises Invalid for a number that codes are not sent to and where sending is not set up, TooMany, and Unavailable
    when the gateway fails: then the code can be asked for again at once and has cost nothing, but of the application's
    day unless it is certain that nothing was sent. A gateway that was asked and is silent may have sent it: that is
    charged as if it had.

    Half of the day's codes are reserved for numbers that have signed in here before. When the other half is used up,
    a new number gets no message, and nobody can tell: known and new numbers get the same answer, and get it before the
    gateway is asked, so that neither its time nor its failure shows; what is stored and charged to number and address
    is the same, too.
    """
    if trouble := sms.trouble(app.settings):
        raise errors.Invalid(f"one-time codes are not set up for this application: {trouble}", field="provider")
    number = _allowed(app, typed)
    request_id, code = secrets.token_hex(16), f"{secrets.randbelow(10**6):06}"
    with db.write() as tx:
        charging.check_empty(tx, rate_limits.code_wait(app.id, app.hash_key, number, RESEND_SECONDS), now)
        _put(tx, app, number, typed, request_id, code, now)
        charged = _charge(tx, limits, app, number, address, now)
    message = _Message(app, outgoing, number, app.settings.sms_text.replace("%s", code))
    if not charged.scarce:
        _send(db, message, request_id, charged, now)
    elif charged.messages:
        _later.submit(_send_unobserved, db, message, charged, now)
    else:
        metrics.limit_reached("sms_daily_cap")
        log.info("code withheld", app=app.id, number=phone.masked(number), limit="sms_daily_cap")
    return Asked(request_id, now + LIFE_SECONDS, now + RESEND_SECONDS)


@dataclass(frozen=True, slots=True)
class _Message:
    """What the gateway is asked to send."""

    app: App
    outgoing: Outgoing
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Charged:
    """What asking for a code was charged to.

    tries      buckets of those who ask: the number, the address, its networks
    messages   buckets of the application's messages; none when no message is sent
    scarce     the half of the day for new numbers is used up
    """

    tries: list[Bucket]
    messages: list[Bucket]
    scarce: bool


def _charge(tx: Tx, limits: Limits, app: App, number: int, address: str, now: int) -> _Charged:
    """Charge a code, always in this order: two that wait for each other would wait for ever. TooMany.

    The application's day may be full for everybody: that says nothing about the number.
    """
    tries = [
        rate_limits.codes_to_number(limits, app, number),
        rate_limits.codes_for_address(limits, address),
        *rate_limits.codes_for_subnets(limits, address),
    ]
    for bucket in tries:
        charging.charge(tx, bucket, 1, now)
    of_new, of_day = rate_limits.codes_to_new_numbers(app, now), rate_limits.codes_of_day(app, now)
    scarce, known = not charging.has_room(tx, of_new, 1, now), proofs.is_verified(tx, app.id, number)
    if not known:
        with suppress(errors.TooMany):  # charged all the same, so that the alarm is raised
            charging.charge(tx, of_new, 1, now)
    charging.charge(tx, of_day, 1, now)
    if known:
        return _Charged(tries, [of_day], scarce)
    if not scarce:
        return _Charged(tries, [of_new, of_day], scarce)
    charging.give_back(tx, of_day, 1, now)
    return _Charged(tries, [], scarce)


def _send(db: Database, message: _Message, request_id: str, charged: _Charged, now: int) -> None:
    """Hand the message over, or undo what was charged and let the code be asked for again at once."""
    try:
        _hand_over(message)
    except Exception as error:
        with db.write() as tx:
            store.drop(tx, message.app.id, request_id)
            for bucket in _owed_to_nobody(error, charged):
                charging.give_back(tx, bucket, 1, now)
        raise


# Of a process; each waits for the gateway at most as long as `Outgoing` does.
_later = ThreadPoolExecutor(4, "codes")


def _send_unobserved(db: Database, message: _Message, charged: _Charged, now: int) -> None:
    """Hand the message over after the answer. A failure changes nothing that whoever asked could see."""
    try:
        _hand_over(message)
    except Exception as error:
        owed = [bucket for bucket in _owed_to_nobody(error, charged) if bucket in charged.messages]
        with db.write() as tx:
            for bucket in owed:
                charging.give_back(tx, bucket, 1, now)


def _hand_over(message: _Message) -> None:
    app, number = message.app, message.number
    try:
        sms.send(app.settings, message.outgoing, phone.digits(number), message.text)
    except Exception as error:
        # What refuses is told in words of ours; what any other error says may quote the message.
        why = str(error.__cause__ or error) if isinstance(error, errors.Refused) else type(error).__name__
        log.warning("code not sent", app=app.id, number=phone.masked(number), why=why)
        raise
    log.info("code sent", app=app.id, number=phone.masked(number))


def _allowed(app: App, typed: str) -> int:
    """The number, if codes may be sent to it."""
    number = phone.dialled(typed, app.settings.default_region) if len(typed) <= LONGEST_TYPED else None
    if number is None:
        raise errors.Invalid("must be a whole phone number, + and country code first", field="number")
    if phone.region_of(number) not in app.settings.sms_regions.split(","):
        raise errors.Invalid("is in a country that this application sends no codes to (sms_regions)", field="number")
    if not phone.is_of_a_phone(number):
        raise errors.Invalid("is not one of a phone: premium rate, toll free or the like", field="number")
    return number


def _put(tx: Tx, app: App, number: int, typed: str, request_id: str, code: str, now: int) -> None:
    last_at = store.put(
        tx,
        app.id,
        number,
        request_id=request_id,
        typed=typed,
        code_hash=_digest(app, request_id, code),
        now=now,
        expires_at=now + LIFE_SECONDS,
        asked_before=now - RESEND_SECONDS,
    )
    if last_at is not None:
        seconds = max(1, last_at + RESEND_SECONDS - now)
        reason = "A code has just been sent to this number"
        raise errors.TooMany(reason, wait_seconds=seconds, limit="code_resend_seconds")


def _owed_to_nobody(error: Exception, charged: _Charged) -> list[Bucket]:
    """What is given back when a message was not taken."""
    if not isinstance(error, sms.NotTaken) or not error.may_cost:
        return charged.tries + charged.messages
    return [] if error.may_arrive else charged.tries


def _digest(app: App, request_id: str, code: str) -> bytes:
    """What is stored of a code. Keyed: there are only a million, and a plain hash of each is soon made."""
    message = f"{request_id} {code}".encode("utf-8", "surrogatepass")
    return hmac.digest(app.hash_key, message, "sha256")


# ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(db: Database, app: App, request_id: str, code: str, now: int) -> str:
    """The number that the code was sent to, as it was typed when the code was asked for.

    A code is good once; the same right answer is taken again for REPEAT_SECONDS, so that one that was lost on its way
    costs no second message. Each wrong one counts before it is looked at: Invalid, and TooMany after MOST_ATTEMPTS.
    """
    if not REQUEST_ID.fullmatch(request_id):
        raise errors.Invalid(OVER, field="code")
    given = _digest(app, request_id, _plain(code))
    with db.write() as tx:
        row = store.try_(tx, app.id, request_id, now, now - REPEAT_SECONDS)
        left = row is not None and row["attempts"] <= MOST_ATTEMPTS
        right = left and row is not None and hmac.compare_digest(bytes(row["code_hash"]), given)
        if right:
            store.accept(tx, app.id, request_id, now)
    if row is None:
        raise errors.Invalid(OVER, field="code")
    if not left:
        seconds = max(1, int(row["created_at"]) + RESEND_SECONDS - now)
        raise errors.TooMany("Too many wrong codes: ask for a new one", wait_seconds=seconds)
    if not right:
        raise errors.Invalid("is wrong", field="code")
    return str(row["typed"])


def _plain(code: str) -> str:
    """The code without blanks, in ASCII: keyboards have digits of their own, such as Arabic ones."""
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in code if not sign.isspace())


def forget_user(tx: Tx, user_id: int) -> None:
    """Forget the codes to the user's proven numbers. The wait for the next one stays, under a keyed hash."""
    for row in store.drop_of_user(tx, user_id):
        app = applications.by_id(tx, row["app_id"])
        assert app
        wait = rate_limits.code_wait(app["id"], bytes(app["hash_key"]), row["number"], RESEND_SECONDS)
        charging.fill(tx, wait, row["created_at"])


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Forget up to `batch` codes that nothing can be answered to any more; how many that were."""
    with db.write() as tx:
        return store.sweep(tx, now - REPEAT_SECONDS, batch)
