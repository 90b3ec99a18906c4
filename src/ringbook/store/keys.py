"""Which key a database is sealed with: the key file, the fingerprint in the database, and whether the two fit.

file_of(url, key_file)            where the key file of a database is
holds(file, key)                  whether it holds this key
read(db, url, key_file)           the key in that file
recorded(db), record(db, key)     the fingerprints in the database; write the first one
for_backup(backup, found, file)   the key that restores a backup
trouble(found, fingerprint)       why a key must not be used with these fingerprints
begin, place, set_place           a change of the key: both fingerprints, and how far it has got
finish, give_up                   its end; its end when the next key is lost
kept_file, next_file              where the former key and the next one are kept
row_secret(tx)                    the secret of the MACs of rows (`row_macs.py`)
sealed_secret(seal, secret)       that secret for the row of the seal's key

The table `keys` holds one row, `current`. While `ringbook key rotate` seals everything anew it holds a second one,
`next`, and the database cannot be used for anything else. Each row holds the secret of the MACs of rows, sealed with
the key of the row: a change of the key does not change the secret.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from .. import errors
from ..seal import ROW_SECRET_BYTES, Key, Seal
from . import db as databases
from .db import Database, Tx

CURRENT, NEXT = "current", "next"

NOT_SET = (
    "the database needs a key: `ringbook key create FILE` makes one, and RINGBOOK_KEY_FILE=FILE names it, the same key"
    " on every machine"
)
NOT_SET_SEALED = (
    "the database is sealed with the key {current}: name the file of that key with RINGBOOK_KEY_FILE, a copy of the one"
    " that another machine uses"
)
MISSING = (
    "the key file {file} is not there: `ringbook key create {file}` makes a key, and RINGBOOK_KEY_FILE names another"
    " file"
)
MISSING_SEALED = (
    "the key file {file} is not there, and the database is sealed with the key {current}: put a copy of that key's file"
    " there, or name it with RINGBOOK_KEY_FILE"
)
WRONG = (
    "{source} is {fingerprint}, but the database is sealed with the key {current}: name the file of that key with"
    " RINGBOOK_KEY_FILE"
)
ROTATING = "the key of the database is being changed from {current} to {next}: finish that with `ringbook key rotate`"
BACKUP_MISSING = (
    "{backup} needs the key {current}, and the key file {file} is not there: put a copy of that key's file there, or"
    " name it with RINGBOOK_KEY_FILE"
)
BACKUP_WRONG = (
    "{backup} needs the key {current}, but the key in {file} is {fingerprint}: name the file of that key with"
    " RINGBOOK_KEY_FILE"
)
BEGUN_ELSEWHERE = "another `ringbook key rotate` has just begun: let it end, then look with `ringbook key show`"
ENDED_ELSEWHERE = "another `ringbook key rotate` has ended this change of the key: look with `ringbook key show`"
NO_SECRET = (
    "the secret in the table keys of the database is missing or was changed, which no version of Ringbook does: restore"
    " a backup"
)
EMPTY = "the table keys of the database is empty, which no version of Ringbook leaves behind: restore a backup"


class Recorded(Struct, frozen=True):
    """The fingerprints in a database: of its key, and of the next one while a rotation runs; "" for none."""

    current: str = ""
    next: str = ""


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def file_of(url: str, key_file: str) -> Path | None:
    """The key file: as it was set, else beside a SQLite file; None for PostgreSQL where none is set."""
    if key_file:
        return Path(key_file).absolute()
    if not databases.is_sqlite(url):
        return None
    file = databases.sqlite_file(url).absolute()
    return file.with_suffix(".key") if file.suffix != ".key" else file.with_name(f"{file.name}.key")


def holds(file: Path, key: Key) -> bool:
    """Whether a file holds this key; False for a file that is not a key file."""
    try:
        return Key.read(file).fingerprint == key.fingerprint
    except errors.Unavailable:
        return False


def read(db: Database, url: str, key_file: str) -> Key:
    """The key in the key file of a database; Unavailable says what to do when there is none."""
    file = file_of(url, key_file)
    if file and exists(file):
        return Key.read(file)
    why = missing(file, recorded(db))
    raise errors.Unavailable(why, why=why)


def exists(file: Path) -> bool:
    """Is there a key file? Also True where that cannot be seen, so that reading it says why."""
    try:
        file.stat()
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def missing(file: Path | None, found: Recorded) -> str:
    """What to do when the key file does not exist, or none is set, for a database that holds these fingerprints."""
    if not file:
        return NOT_SET_SEALED.format(current=found.current) if found.current else NOT_SET
    return (MISSING_SEALED if found.current else MISSING).format(file=file, current=found.current)


def next_file(file: Path) -> Path:
    """The file of the next key, until it takes the place of this key file."""
    return file.with_name(f"{file.name}.next")


def kept_file(file: Path, fingerprint: str) -> Path:
    """Where a change of the key keeps the former key, which opens the backups that were made under it."""
    return file.with_name(f"{file.name}.{fingerprint}")


# ── the database ─────────────────────────────────────────────────────────────────────────────────────────────────────


def recorded(db: Database) -> Recorded:
    """The fingerprints in the database; empty for a database without a schema."""
    if "keys" not in db.tables():
        return Recorded()
    with db.read() as tx:
        return in_table(tx)


def in_table(tx: Tx) -> Recorded:
    """The fingerprints in the database."""
    return of_rows({row["state"]: row["fingerprint"] for row in tx.all("SELECT fingerprint, state FROM keys")})


def of_rows(rows: Mapping[str, str]) -> Recorded:
    """The fingerprints by their state."""
    return Recorded(rows.get(CURRENT, ""), rows.get(NEXT, ""))


def record(db: Database, key: Key, now: int) -> None:
    """Write down with which key a new database is sealed; one that has been used, or has a key, is left as it is."""
    with db.write() as tx:
        tx.run(
            "INSERT INTO keys (fingerprint, state, created_at, row_secret)"
            " SELECT :fingerprint, 'current', :now, :row_secret WHERE NOT EXISTS (SELECT 1 FROM keys)"
            " AND NOT EXISTS (SELECT 1 FROM applications) AND NOT EXISTS (SELECT 1 FROM admins)",
            fingerprint=key.fingerprint,
            now=now,
            row_secret=sealed_secret(Seal(key.secret), new_secret()),
        )


def new_secret() -> bytes:
    """A random secret for the MACs of rows."""
    return secrets.token_bytes(ROW_SECRET_BYTES)


def sealed_secret(seal: Seal, secret: bytes) -> bytes:
    """The secret of the MACs of rows, as the row of this seal's key holds it."""
    return seal.content(secret, "keys", "row_secret", seal.fingerprint)


def row_secret(tx: Tx, seal: Seal | None = None) -> bytes:
    """The secret of the MACs of rows; Unavailable when it is missing or was changed.

    seal   made of the key whose row is read; None: the one in use
    """
    seal = seal or tx.seal
    rows = tx.tuples("SELECT row_secret FROM keys WHERE fingerprint = :fingerprint", fingerprint=seal.fingerprint)
    try:
        if rows and rows[0][0] is not None:
            return seal.open_content(rows[0][0], "keys", "row_secret", seal.fingerprint)
    except errors.Unreadable:
        pass
    raise errors.Unavailable(NO_SECRET, why=NO_SECRET)


def begin(tx: Tx, seal: Seal, secret: bytes, now: int) -> None:
    """Record to which key the database is being changed. From now on nothing else can use it.

    seal     made of the next key
    secret   the secret of the MACs of rows under that key

    Unavailable when another process has just begun to change it.
    """
    begun = tx.run(
        "INSERT INTO keys (fingerprint, state, created_at, row_secret) VALUES (:fingerprint, 'next', :now, :row_secret)"
        " ON CONFLICT DO NOTHING",
        fingerprint=seal.fingerprint,
        now=now,
        row_secret=sealed_secret(seal, secret),
    )
    if not begun:
        raise errors.Unavailable(BEGUN_ELSEWHERE, why=BEGUN_ELSEWHERE)


def place(tx: Tx) -> str:
    """How far the change of the key has got; "" at its beginning. Unavailable when another process has finished it."""
    rows = tx.tuples("SELECT place FROM keys WHERE state = 'next'")
    if not rows:
        raise errors.Unavailable(ENDED_ELSEWHERE, why=ENDED_ELSEWHERE)
    return str(rows[0][0])


def set_place(tx: Tx, text: str) -> None:
    """Store how far the change of the key has got, in the transaction that got there."""
    tx.run("UPDATE keys SET place = :text WHERE state = 'next'", text=text)


def give_up(tx: Tx) -> None:
    """Forget to which key the database was being changed, because that key is lost."""
    tx.run("DELETE FROM keys WHERE state = 'next'")


def finish(tx: Tx) -> None:
    """End the change of the key: the next key is the current one. Unavailable when another process has finished it."""
    place(tx)
    tx.run("DELETE FROM keys WHERE state = 'current'")
    tx.run("UPDATE keys SET state = 'current', place = ''")


def for_backup(backup: Path, found: Recorded, file: Path) -> Key:
    """The key with which this backup can be restored, from the key file; Unavailable when that holds another one."""
    if found.next or not found.current:
        why = trouble(found, found.current)
        raise errors.Unavailable(why, why=why)
    if not exists(file):
        why = BACKUP_MISSING.format(backup=backup, current=found.current, file=file)
        raise errors.Unavailable(why, why=why)
    key = Key.read(file)
    if key.fingerprint != found.current:
        why = BACKUP_WRONG.format(backup=backup, current=found.current, file=file, fingerprint=key.fingerprint)
        raise errors.Unavailable(why, why=why)
    return key


def trouble(found: Recorded, fingerprint: str, source: str = "the key in use") -> str:
    """Why this key must not be used with a database that holds these fingerprints; "" when it fits.

    source   where the key comes from, in words
    """
    if found.next:
        return ROTATING.format(current=found.current, next=found.next)
    if not found.current:
        return EMPTY
    if fingerprint != found.current:
        return WRONG.format(source=source, fingerprint=fingerprint, current=found.current)
    return ""
