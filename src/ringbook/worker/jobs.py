"""Runs the periodic jobs every minute, in any number of workers at once, and sends pushes and mails all the time.

    run(db, config, stop)             until told to stop
    parts(config)                     what there is to do
    turn(db, parts, now, stop)        all of it that is due now

A part that fails is logged, does not keep the others from their turn, and gets its own next turn a minute later.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import times
from ..config import Config
from ..core import (
    admin_answers,
    admins,
    announcing,
    app_totals,
    audit,
    backups,
    ceiling,
    codes,
    delivery,
    erasures,
    events,
    inactive,
    rate_limits,
    resets,
    sessions,
    stats,
)
from ..logs import log
from . import courier, mailer

if TYPE_CHECKING:
    from ..store.db import Database

    Part = Callable[[Database, int], int]

EVERY_SECONDS = 60
TROUBLE_SECONDS = 5
MOST_BATCHES = 1_000  # per turn, so that no job delays the others too long
HOUR, DAY = 3_600, 86_400
COPIES_KEPT_DAYS = 30
ALARM_SECONDS = 600
# For pushes and mails that are being sent when the worker is told to stop; less than a server's grace period.
LAST_SECONDS = max(courier.LAST_SECONDS * 2, mailer.LAST_SECONDS)


def parts(config: Config) -> "dict[str, Part]":
    """The periodic jobs. Each processes one batch and returns its size."""
    kept = config.pushes_kept_days * DAY
    audit_kept, books_kept = config.audit_kept_days * DAY, config.books_kept_days * DAY
    journal_kept = config.erasures_kept_days * DAY
    found = {
        "sessions and guests": sessions.sweep,
        "admins' sessions": admins.sweep,
        "answers to admins": admin_answers.sweep,
        "limits": rate_limits.sweep,
        "one-time codes": codes.sweep,
        "links to new passwords": resets.sweep,
        "old events": events.sweep,
        "old pushes": lambda db, now: delivery.sweep(db, now - kept),
        "old facts": lambda db, now: announcing.sweep(db, now - kept),
        "old refusals": stats.sweep,
        "alarm of sign-ups": once_in(ALARM_SECONDS, lambda db, now: stats.check_sign_ups(db, config.limits, now)),
        "audit log": lambda db, now: audit.sweep(db, now - audit_kept),
        "journal of erasures": lambda db, now: erasures.sweep(db, now - journal_kept),
        "copies of the database": lambda db, now: backups.sweep(db, now - COPIES_KEPT_DAYS * DAY),
        "traces of those who were erased": once_in(DAY, lambda db, _now: erasures.rewrite_small(db)),
        "what is left of deleted rows": _scrub,
        "established users": ceiling.count_established,
        "totals": app_totals.collect,
        "recount of totals": app_totals.recount,
    }
    if books_kept:
        found["books of users who left them"] = lambda db, now: inactive.sweep(
            db, now, now - books_kept, rest_seconds=HOUR
        )
    return found


def once_in(seconds: int, part: "Part") -> "Part":
    """A job that is expensive also without work: after it found no work it pauses for so many seconds."""
    rested_at = -seconds

    def rested(db: "Database", now: int) -> int:
        nonlocal rested_at
        if rested_at <= now < rested_at + seconds:  # a clock that is set back ends the pause
            return 0
        done = part(db, now)
        if not done:
            rested_at = now
        return done

    return rested


def _scrub(db: "Database", _now: int) -> int:
    db.scrub()
    return 0


def run(db: "Database", config: Config, stop: threading.Event) -> None:
    """Take a turn about every minute, at random intervals, so that several workers do not run in step."""
    sending = threading.Thread(target=_send, args=(db, config, stop), name="courier", daemon=True)
    sending.start()
    mailing = threading.Thread(target=mailer.run, args=(db, config, stop), name="mailer", daemon=True)
    mailing.start()
    due = parts(config)
    while not stop.wait(EVERY_SECONDS * random.uniform(0.5, 1.5)):
        turn(db, due, times.now(), stop)
    deadline = time.monotonic() + LAST_SECONDS
    for thread in (sending, mailing):
        thread.join(max(0.0, deadline - time.monotonic()))


def _send(db: "Database", config: Config, stop: threading.Event) -> None:
    """Send pushes; start again after an unexpected end."""
    while not stop.is_set():
        try:
            courier.run(db, config, stop)
        except Exception:
            log.exception("work failed", part="pushes")
            stop.wait(TROUBLE_SECONDS)


def turn(db: "Database", parts: "dict[str, Part]", now: int, stop: threading.Event) -> None:
    """Run every job once."""
    for name, part in parts.items():
        try:
            _drain(name, part, db, now, stop)
        except Exception:  # the database may be away; the next turn tries again
            log.exception("work failed", part=name)


def _drain(name: str, part: "Part", db: "Database", now: int, stop: threading.Event) -> None:
    """Process batches until one is empty."""
    done = 0
    for _ in range(MOST_BATCHES):
        batch = 0 if stop.is_set() else part(db, now)
        done += batch
        if not batch:
            break
    if done:
        log.info("work done", part=name, count=done)
