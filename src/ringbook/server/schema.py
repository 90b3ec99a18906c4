"""Migrates a SQLite database when `ringbook serve` starts, in a child process that answers in values.

    migrate(url)    run the child; CannotServe with its reason when it failed
    main()          the child: reads the address from stdin, writes an `Answer` to stdout

A child, because Alembic and SQLAlchemy would keep 40 MiB in the serving process for as long as it runs. The address
goes through a pipe, because other users of the machine can read arguments and it may hold a password.
"""

import subprocess
import sys
from contextlib import suppress

import msgspec

from .. import errors, logs
from .sockets import CannotServe

INTERRUPTED = 130
CHILD = (sys.executable, "-m", __name__)


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


def migrate(url: str) -> None:
    """Bring the database to the revision of this code and log what was done; CannotServe when it failed."""
    from ..store import migrations

    answer = _answer_of_child(url)
    if answer.trouble:
        raise CannotServe(answer.trouble)
    logs.log.info("migrated", before=answer.before or None, schema=migrations.HEAD, copy=answer.copy or None)


def main() -> None:
    """Migrate the database whose address is on stdin."""
    with suppress(KeyboardInterrupt):
        sys.stdout.buffer.write(msgspec.json.encode(_migrated(sys.stdin.read())))
        return
    sys.exit(INTERRUPTED)


def _answer_of_child(url: str) -> Answer:
    done = subprocess.run(CHILD, input=url.encode(), stdout=subprocess.PIPE)
    try:
        return _answer.decode(done.stdout)
    except msgspec.DecodeError:
        raise CannotServe(f"migrating the database ended with exit code {done.returncode}") from None


def _migrated(url: str) -> Answer:
    from ..store import migrations

    try:
        before = migrations.migrate(url)
    except errors.Unavailable as error:
        return Answer(trouble=error.explained())
    return Answer(before=before, copy=str(migrations.copy_made(url, before) or ""))


if __name__ == "__main__":
    main()
