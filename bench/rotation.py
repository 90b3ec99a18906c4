"""What a change of the key takes: `ringbook key rotate` on a database with many contacts, on both databases.

    python bench/rotation.py                1,000,000 contacts; writes bench/results/
    python bench/rotation.py 100000         fewer, writes nothing

The contacts are in books of 500, with names of 12 characters. The disk is flushed as in production. Measured is the
sealing itself, without the 2.5 seconds in which other processes notice that the key is being changed.
"""

import datetime
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from databases import KINDS, place
from keyed import KEY, SEAL, migrate
from machine import facts
from report import pipes

from ringbook.core import applications, key_changes, users
from ringbook.core.audit import Actor
from ringbook.core.profile import columns
from ringbook.store import db as databases
from ringbook.store.db import Database, Rows

CONTACTS, BOOK = 1_000_000, 500
FIRST = 999_000_000_000  # an unassigned country code: these numbers belong to nobody
KINDS_OF = {"owner_id": int, "number": int, "sealed": bytes, "seq": int}
INDEX = "CREATE INDEX contacts_number ON contacts (app_id, number, owner_id)"  # made when its table is full
RESULTS = Path(__file__).parent / "results"
HEAD = ("", "rows", "seconds", "rows a second", "processor seconds", "longest batch", "size before", "size after")


def main() -> None:
    """Measure, print the table, and write it for the usual number of contacts."""
    contacts = int(sys.argv[1]) if len(sys.argv) > 1 else CONTACTS
    lines = []
    for kind in KINDS:
        lines.append(measured(kind, contacts))
        print(lines[-1], file=sys.stderr)
    head = facts() | {"load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included"}
    text = f"# A change of the key, {datetime.date.today()}\n\n" + pipes(
        ("", ""), [list(pair) for pair in head.items()]
    )
    text += f"\n\n{contacts:,} contacts in books of {BOOK}.\n\n" + pipes(HEAD, lines)
    if contacts == CONTACTS:
        (RESULTS / "rotation.md").write_text(text)
    print(text)


def measured(kind: str, contacts: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, place(kind, Path(folder)) as where:
        url, key_file = where.empty(), Path(folder, "ringbook.key")
        migrate(url)
        key_file.touch(0o600)
        key_file.write_text(KEY.secret.hex())
        with closing(databases.connect(url, seal=SEAL, pool=2)) as db:
            fill(db, contacts)
            before = size(db)
            key_changes.SETTLE_SECONDS = 0
            clock, cpu = time.monotonic(), time.process_time()
            steps = [clock]

            def step(done: int, total: int) -> None:
                steps.append(time.monotonic())

            done = key_changes.rotate(db, key_file, step, 1, by=Actor("bench", "", 1))
            clock, cpu = time.monotonic() - clock, time.process_time() - cpu
            assert done.rows >= contacts and not done.unreadable
            longest = max(later - earlier for earlier, later in zip(steps, steps[1:], strict=False))
            return [
                kind,
                f"{done.rows:,}",
                f"{clock:.1f}",
                f"{done.rows / clock:,.0f}",
                f"{cpu:.1f}",
                f"{1000 * longest:.0f} ms",
                before,
                size(db),
            ]


def fill(db: Database, contacts: int) -> None:
    """Users, each with a book."""
    app = applications.create(db, "bench", 1)
    with db.write() as tx:
        tx.run("DROP INDEX contacts_number")
    for n in range(contacts // BOOK):
        with db.write() as tx:
            owner = users.add(tx, app, columns({"login": f"login-{n}", "email": f"login-{n}@example.org"}), 1).id
            sealed = [
                (
                    owner,
                    keyed := SEAL.number(app.id, number),
                    SEAL.contact(app.id, owner, 0, keyed, number, name, None),
                    seq,
                )
                for seq in range(BOOK)
                for number, name in [(FIRST + n * 37 + seq * 104_729, f"Friend {seq:05}")]
            ]
            tx.run(
                "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at)"
                f" VALUES (:owner, 0, {app.id}, '', {BOOK}, 1000000000, 1)",
                owner=owner,
            )
            tx.run(
                "INSERT INTO contacts (owner_id, book, number, app_id, entry, seq, sealed)"
                f" SELECT r.owner_id, 0, r.number, {app.id}, 0, r.seq, r.sealed FROM :rows AS r WHERE 1 = 1",
                rows=Rows(KINDS_OF, sealed),
            )
    with db.write() as tx:
        tx.run(INDEX)


def size(db: Database) -> str:
    """The size of the database."""
    if db.file:
        db.scrub()
        return f"{db.size_bytes() / 2**20:.0f} MiB"
    with db.read() as tx:
        (found,) = tx.tuples("SELECT pg_database_size(current_database())")[0]
    return f"{found / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
