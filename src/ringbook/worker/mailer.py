"""Sends waiting mails, one after the other; any number of workers share the queue.

run(db, config, stop)         until told to stop
send_next(db, config, now)    one mail
"""

import threading
from typing import TYPE_CHECKING

from .. import times
from ..core import resets
from ..logs import log
from ..outbound import mail

if TYPE_CHECKING:
    from ..config import Config
    from ..store.db import Database

EVERY_SECONDS = 1
TROUBLE_SECONDS = 5
LAST_SECONDS = 5  # for a mail that is being sent when the worker stops; afterwards it is sent again


def run(db: "Database", config: "Config", stop: threading.Event) -> None:
    """Send what waits, every second. Ends at once when no SMTP server is set."""
    if resets.trouble(config):
        return
    while not stop.wait(EVERY_SECONDS):
        try:
            while not stop.is_set() and send_next(db, config, times.now()):
                pass
        except Exception:  # the database may be away
            log.exception("work failed", part="mails")
            stop.wait(TROUBLE_SECONDS)


def send_next(db: "Database", config: "Config", now: int) -> bool:
    """Send one mail that is due; False when there is none. No transaction is open while it is sent."""
    if not resets.is_due(db, now):
        return False
    if one := resets.claim(db, config, now):
        resets.settle(db, one, mail.send(config, one.to, one.subject, one.text), now)
    return True
