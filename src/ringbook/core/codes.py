"""One-time codes: a user verifies a number with a code that was sent to it.

    send(db, limits, app, …)         sends a code to a number
    verify(db, app, request_id, …)   checks a code, and returns the number that it was sent to
    forget_user(tx, user_id)         deletes the codes to a user's verified numbers
    sweep(db, now)                   deletes expired codes

A number has one valid code. Whoever requests a code while it is valid gets the same code and the same request id: so a
stranger's request makes no message useless that the owner of the number has, and the owner can use the stranger's
messages. No answer shows whether a number has an account.
"""

import hmac
import re
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .. import errors, metrics, phone
from ..config import Limits
from ..logs import log
from ..model import App
from ..outbound.requests import Outgoing
from ..store import buckets, proofs
from ..store import codes as store
from ..store.db import Database, Row, Tx
from ..verify import sms
from . import charging, known, rate_limits
from .charging import Bucket

LIFE_SECONDS = 600
RESEND_SECONDS = 30
REPEAT_SECONDS = 60  # a verified code is accepted again for so long, for apps that did not receive the answer
MOST_ATTEMPTS = 5  # of one network
MOST_IN_ALL = 20
LEAST_LEFT_SECONDS = 120  # a code that ends earlier is replaced when it is requested again
LONGEST_TYPED = 64
REQUEST_ID = re.compile(r"[0-9a-f]{32}")
OVER = "is no longer valid: ask for a new one"


@dataclass(frozen=True, slots=True)
class Sent:
    """A code was sent. From `resend_at` on, another one can be requested."""

    request_id: str
    expires_at: int
    resend_at: int


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def send(db: Database, limits: Limits, app: App, outgoing: Outgoing, typed: str, address: str, now: int) -> Sent:
    """Send a code to a number: the code that is valid, if there is one.

    When the number may get no more messages in this hour, and its code is valid, nothing is sent, and the answer is the
    same: the owner of the number has the code.

    Raises Invalid when no gateway is set up or codes are not sent to such a number, TooMany, and Unavailable when the
    gateway fails. After a failure a code can be requested again at once. What was charged is refunded, except what the
    message may have cost: see `_refundable`.

    Half of the day's codes are reserved for numbers that have signed in here before (known numbers). When the other
    half is used up, a new number gets no message. The caller cannot tell known from new numbers then: all get the same
    answer before the gateway is called, so that neither its time nor its failure shows. The same is stored for both,
    and the same is charged to number and address.
    """
    if trouble := sms.trouble(app.settings):
        raise errors.Invalid(f"one-time codes are not set up for this application: {trouble}", field="provider")
    number = _allowed(app, typed)
    wait = rate_limits.code_wait(app, number, address, RESEND_SECONDS)
    with db.write() as tx:
        tx.lock(rate_limits.codes_name(app, number))
        live = store.live(tx, app.id, number, typed, now + LEAST_LEFT_SECONDS, MOST_IN_ALL)
        charging.charge(tx, wait, RESEND_SECONDS, now)
        request_id = live["request_id"] if live else secrets.token_hex(16)
        sent = Sent(request_id, live["expires_at"] if live else now + LIFE_SECONDS, now + RESEND_SECONDS)
        charged = _charge(tx, limits, app, number, address, now, may_withhold=live is not None)
        code = _code(app, request_id)
        if charged:
            buckets.forget(tx, rate_limits.code_attempts(request_id, address, MOST_ATTEMPTS, 0).name)
        if not live:
            _put(tx, app, number, typed, request_id, code, now)
    if not charged:
        log.info("code withheld", app=app.id, number=phone.masked(number), limit="codes_per_number_per_hour")
        return sent
    message = _Message(app, outgoing, number, app.settings.sms_text.replace("%s", code))
    if not charged.new_full:
        _deliver(db, message, "" if live else request_id, wait, charged, now)
    elif charged.messages:
        _later.submit(_deliver_after_answer, db, message, charged, now)
    else:
        metrics.limit_reached("sms_daily_cap")
        log.info("code withheld", app=app.id, number=phone.masked(number), limit="sms_daily_cap")
    return sent


def _code(app: App, request_id: str) -> str:
    """The code of a request: six digits that nobody can compute without the application's secret key."""
    digest = hmac.digest(app.hash_key, f"code of {request_id}".encode(), "sha256")
    return f"{int.from_bytes(digest[:16]) % 10**6:06}"


@dataclass(frozen=True, slots=True)
class _Message:
    """A message for the gateway."""

    app: App
    outgoing: Outgoing
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Charged:
    """The buckets that a code was charged to.

    tries      buckets of the number, the address, and its networks
    messages   buckets of the application's messages; empty when no message is sent
    new_full   the half of the day's codes for new numbers is used up
    """

    tries: list[Bucket]
    messages: list[Bucket]
    new_full: bool


def _charge(
    tx: Tx, limits: Limits, app: App, number: int, address: str, now: int, *, may_withhold: bool
) -> _Charged | None:
    """Charge a code. The order of the buckets is fixed, so that two transactions do not deadlock.

    may_withhold   when the number may get no more messages, return None and do not raise TooMany

    Raises TooMany. When the application's codes of the day are used up, known and new numbers are refused alike.
    """
    of_address = [rate_limits.codes_for_address(limits, address), *rate_limits.codes_for_subnets(limits, address)]
    for bucket in of_address:
        charging.charge(tx, bucket, 1, now)
    is_known = known.is_known(tx, rate_limits.codes_name(app, number), address, now)
    of_number = rate_limits.codes_to_number(limits, app, number, address, is_known=is_known)
    try:
        charging.charge_all(tx, [charging.Charge(bucket, 1) for bucket in of_number], now)
    except errors.TooMany:
        if may_withhold:
            return None
        raise
    tries = [*of_address, *of_number]
    of_new, of_day = rate_limits.codes_to_new_numbers(app, now), rate_limits.codes_of_day(app, now)
    new_full, is_verified = not charging.has_room(tx, of_new, 1, now), proofs.is_verified(tx, app.id, number)
    if not is_verified:
        charging.has_charged(tx, of_new, 1, now)  # also if there is no room, so that the operator is alarmed
    charging.charge(tx, of_day, 1, now)
    if is_verified:
        return _Charged(tries, [of_day], new_full)
    if not new_full:
        return _Charged(tries, [of_new, of_day], new_full)
    charging.refund(tx, of_day, 1, now)
    return _Charged(tries, [], new_full)


def _deliver(db: Database, message: _Message, new: str, wait: Bucket, charged: _Charged, now: int) -> None:
    """Give the message to the gateway. If that fails, refund the charges and delete the code of `new`.

    new   the request id of a new code; "" for a code that was sent before
    """
    try:
        _hand_over(message)
    except Exception as error:
        with db.write() as tx:
            store.drop(tx, message.app.id, new)
            charging.refund(tx, wait, RESEND_SECONDS, now)
            for bucket in _refundable(error, charged):
                charging.refund(tx, bucket, 1, now)
        raise


# Threads of this process. Each waits for the gateway at most as long as `Outgoing` does.
_later = ThreadPoolExecutor(4, "codes")


def _deliver_after_answer(db: Database, message: _Message, charged: _Charged, now: int) -> None:
    """Give the message to the gateway after the answer. A failure refunds only what no caller can observe."""
    try:
        _hand_over(message)
    except Exception as error:
        refundable = [bucket for bucket in _refundable(error, charged) if bucket in charged.messages]
        with db.write() as tx:
            for bucket in refundable:
                charging.refund(tx, bucket, 1, now)


def _hand_over(message: _Message) -> None:
    app, number = message.app, message.number
    try:
        sms.send(app.settings, message.outgoing, phone.digits(number), message.text)
    except Exception as error:
        # The text of a refusal is ours. The text of any other error may quote the message.
        why = str(error.__cause__ or error) if isinstance(error, errors.Refused) else type(error).__name__
        log.warning("code not sent", app=app.id, number=phone.masked(number), why=why)
        raise
    log.info("code sent", app=app.id, number=phone.masked(number))


def _allowed(app: App, typed: str) -> int:
    """The number. Raises Invalid when codes are not sent to such a number."""
    number = phone.dialled(typed, app.settings.default_region) if len(typed) <= LONGEST_TYPED else None
    if number is None:
        raise errors.Invalid("must be a whole phone number, + and country code first", field="number")
    if phone.region_of(number) not in app.settings.sms_regions.split(","):
        raise errors.Invalid("is in a country that this application sends no codes to (sms_regions)", field="number")
    if not phone.is_of_a_phone(number):
        raise errors.Invalid("is not one of a phone: premium rate, toll free or the like", field="number")
    return number


def _put(tx: Tx, app: App, number: int, typed: str, request_id: str, code: str, now: int) -> None:
    store.put(
        tx,
        app.id,
        number,
        request_id=request_id,
        typed=typed,
        code_hash=_digest(app, request_id, number, now, code),
        now=now,
        expires_at=now + LIFE_SECONDS,
    )


def _refundable(error: Exception, charged: _Charged) -> list[Bucket]:
    """The buckets to refund when the gateway did not take the message.

    All of them when nothing can have been sent. If the gateway may charge for the message, its buckets stay charged; if
    the message may arrive, all buckets stay charged.
    """
    if not isinstance(error, sms.NotTaken) or not error.may_cost:
        return charged.tries + charged.messages
    return [] if error.may_arrive else charged.tries


def _digest(app: App, request_id: str, number: int, created_at: int, code: str) -> bytes:
    """The stored form of a code. It is keyed, because plain hashes of a million possible codes are computed quickly.

    It is bound to the number and the time: in the row of another number, the hash of one's own code opens nothing.
    """
    message = f"{request_id} {number} {created_at} {code}".encode("utf-8", "surrogatepass")
    return hmac.digest(app.hash_key, message, "sha256")


# ── verifying ────────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(db: Database, app: App, request_id: str, code: str, now: int, *, address: str = "") -> str:
    """The number that the code was sent to, as it was typed in the request for the code.

    A code is valid once. It is accepted again within REPEAT_SECONDS, so that an app that did not receive the answer
    needs no second message. Each attempt is counted before the code is compared. Raises Invalid, and TooMany after
    MOST_ATTEMPTS from one network, or MOST_IN_ALL strangers.
    """
    if not REQUEST_ID.fullmatch(request_id):
        raise errors.Invalid(OVER, field="code")
    with db.write() as tx:
        row = store.try_(tx, app.id, request_id, now, now - REPEAT_SECONDS)
        attempts = rate_limits.code_attempts(request_id, address, MOST_ATTEMPTS, now + LIFE_SECONDS)
        left = row is not None and _may_try(tx, app, row, address, now) and charging.has_charged(tx, attempts, 1, now)
        right = left and row is not None and _is_code(app, request_id, row, code, now)
        if right:
            store.accept(tx, app.id, request_id, now)
            charging.refund(tx, attempts, 1, now)
            if row and address:
                known.remember(tx, rate_limits.codes_name(app, row["number"]), address, now)
    if row is None:
        raise errors.Invalid(OVER, field="code")
    if not left:
        seconds = max(1, int(row["created_at"]) + RESEND_SECONDS - now)
        raise errors.TooMany("Too many wrong codes: ask for a new one", wait_seconds=seconds)
    if not right:
        raise errors.Invalid("is wrong", field="code")
    return str(row["typed"])


def _may_try(tx: Tx, app: App, row: Row, address: str, now: int) -> bool:
    """Whether an attempt is left. Strangers share MOST_IN_ALL; a network where the number has signed in has its own."""
    who = rate_limits.codes_name(app, row["number"])
    return row["attempts"] <= MOST_IN_ALL or known.is_known(tx, who, address, now)


def _is_code(app: App, request_id: str, row: Row, code: str, now: int) -> bool:
    """Is this the code of the row? Not after its time, whatever `expires_at` says: the hash knows when it was made."""
    in_time = now - row["created_at"] <= LIFE_SECONDS + REPEAT_SECONDS
    right = _digest(app, request_id, row["number"], row["created_at"], _plain(code))
    return in_time and hmac.compare_digest(bytes(row["code_hash"]), right)


def _plain(code: str) -> str:
    """The code without blanks, in ASCII digits: some keyboards type other digits, such as Arabic ones."""
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in code if not sign.isspace())


def forget_user(tx: Tx, user_id: int) -> None:
    """Delete the codes to the user's verified numbers. The wait for the next code stays, under a keyed hash."""
    store.drop_of_user(tx, user_id)


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` codes that can no longer be verified. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, now - REPEAT_SECONDS, batch)
