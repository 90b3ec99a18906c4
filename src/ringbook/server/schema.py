"""Migrates a SQLite database when `ringbook serve` starts, in a child process that answers in values.

    migrate(url, key)   run the child; CannotServe with its reason when it failed
    main()              the child: reads an `Order` from stdin, writes an `Answer` to stdout

A child, because Alembic and SQLAlchemy would keep 40 MiB in the serving process for as long as it runs. The order goes
through a pipe, because other users of the machine can read arguments, and it holds the key and perhaps a password.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from .. import errors, logs
from ..seal import Key
from .sockets import CannotServe

INTERRUPTED = 130
CHILD = (sys.executable, "-m", __name__)


class Order(msgspec.Struct):
    """The address of the database, and its key."""

    url: str
    secret: bytes
    file: str


class Answer(msgspec.Struct):
    """What the child did.

    before    the revision that the database had; "" for a database that was empty
    copy      the file that holds the database as it was before; "" where no copy was made
    trouble   why nothing was changed, and what to do; "" after success
    """

    before: str = ""
    copy: str = ""
    trouble: str = ""


_answer = msgspec.json.Decoder(Answer)
_order = msgspec.json.Decoder(Order)


def migrate(url: str, key: Key) -> None:
    """Bring the database to the revision of this code and log what was done; CannotServe when it failed."""
    from ..store import migrations

    answer = _answer_of_child(url, key)
    if answer.trouble:
        raise CannotServe(answer.trouble)
    logs.log.info("migrated", before=answer.before or None, schema=migrations.HEAD, copy=answer.copy or None)


def main() -> None:
    """Carry out the order on stdin."""
    with suppress(KeyboardInterrupt):
        sys.stdout.buffer.write(msgspec.json.encode(_migrated(sys.stdin.buffer.read())))
        return
    sys.exit(INTERRUPTED)


def _answer_of_child(url: str, key: Key) -> Answer:
    order = msgspec.json.encode(Order(url, key.secret, str(key.file or "")))
    done = subprocess.run(CHILD, input=order, stdout=subprocess.PIPE)
    try:
        return _answer.decode(done.stdout)
    except msgspec.DecodeError:
        raise CannotServe(f"migrating the database ended with exit code {done.returncode}") from None


def _migrated(order: bytes) -> Answer:
    from ..store import migrations

    given = _order.decode(order)
    url, key = given.url, Key(given.secret, Path(given.file) if given.file else None)
    try:
        before = migrations.migrate(url, key)
    except errors.Unavailable as error:
        return Answer(trouble=error.explained())
    return Answer(before=before, copy=str(migrations.copy_made(url, before) or ""))


if __name__ == "__main__":
    main()
