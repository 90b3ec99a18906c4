"""Changes of the key that a database is sealed with.

    rotate(db, file, …)   a new key: everything is sealed anew
    forget(db, file, …)   start over after the key was lost: delete whatever only the lost key could open

While the key is changed, the database holds two fingerprints, and every other process refuses it: `serve`, `worker` and
`backup` say to finish with `ringbook key rotate`. The steps of a rotation are such that it can be killed at any moment,
and be finished by starting it again:

1. The new key is in `FILE.next`, on the disk.
2. The database holds its fingerprint. Wait until nobody else uses the database.
3. The former key is kept as `FILE.<fingerprint>`; the new one takes its place as `FILE`.
4. All tables are sealed anew, in batches. Each batch stores how far it got.
5. One transaction makes the new fingerprint the only one.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from .. import errors
from ..seal import Key, Seal
from ..store import keys, resealing, row_macs
from ..store.db import Database, Tx, copies
from ..store.db.contract import GUARD_SECONDS
from ..store.keys import Recorded
from . import applications, audit
from .audit import Actor

Progress = Callable[[int, int], None]

BATCH = 20_000  # nobody else works meanwhile; a larger batch writes fewer pages of an index
SETTLE_SECONDS = GUARD_SECONDS + 0.5  # after that, every process knows that the key is being changed
OTHERS_SECONDS = 60
LOCK = "change of the key"

NO_FILE = "there is no key file: name it with RINGBOOK_KEY_FILE"
NO_SEAL = "the database has no key yet: `ringbook migrate` gives it one"
MISSING = (
    "the key {fingerprint} is in none of the files {files}: put a copy of its file at {place}; if there is none any"
    " more, `ringbook key forget` starts over without it"
)
OTHER = "the key in {file} is {fingerprint}, but the database is sealed with {current}: put the file of that key there"
IN_USE = "another process uses the database and has an open transaction: stop it, and start again"
ENDED = "another process has just ended the change of the key"
CANNOT_WRITE = (
    "cannot write in {folder}: {why}. The new key is written beside the key file: copy that file to a folder that you"
    " can write to, and name it with RINGBOOK_KEY_FILE"
)
FITS = (
    "the key in {file} opens the database, so nothing is lost; `ringbook key rotate` changes the key, or finishes a"
    " change"
)
ELSEWHERE = (
    "the key in {usual} opens the database, so nothing is lost: name that file with RINGBOOK_KEY_FILE, which names"
    " {file} now"
)
PUT_ASIDE = (
    "the key in {file} opens only a part of the database, because the key {next}, to which it was being changed, is"
    " lost: move that file elsewhere, and start again"
)


class Rotated(Struct, frozen=True):
    """What a rotation did.

    unreadable   values that neither key opens, by table; they are left as they are
    """

    former: str
    fingerprint: str
    file: Path
    former_file: Path
    rows: int
    unreadable: dict[str, int]


class Forgotten(Struct, frozen=True):
    """The new key, and how many rows were deleted, by table."""

    fingerprint: str
    file: Path
    deleted: dict[str, int]


# ── a new key ────────────────────────────────────────────────────────────────────────────────────────────────────────


def rotate(db: Database, file: Path, progress: Progress, now: int, *, by: Actor) -> Rotated:
    """Seal everything in the database anew under a new key; a rotation that was interrupted goes on.

    file   the key file: it holds the new key in the end
    """
    found = _recorded(db)
    old, new = _keys(file, found)
    with db.read() as tx:
        secret = keys.row_secret(tx, Seal(old.secret))
    db.seal = Seal(new.secret)
    _exclude_others(db, found, secret, now)
    _put_in_place(file, old, new)
    rows, unreadable = _reseal_all(db, Seal(old.secret), progress)
    with db.write() as tx:
        _check(tx, old.fingerprint, new.fingerprint)
        resealing.drop(tx)
        keys.finish(tx)
        audit.record(tx, by, "key changed", detail=f"{old.fingerprint} → {new.fingerprint}")
    db.scrub()
    kept = keys.kept_file(file, old.fingerprint)
    return Rotated(old.fingerprint, new.fingerprint, file, kept, rows, unreadable)


def _recorded(db: Database) -> Recorded:
    found = keys.recorded(db)
    if not found.current:
        raise _refusal(NO_SEAL)
    return found


def _keys(file: Path, found: Recorded) -> tuple[Key, Key]:
    """The key that the database is sealed with, and the next one, which is made if there is none."""
    held = _held(file, found)
    if found.current not in held:
        raise _lost(file, found.current, found)
    if found.next:
        if found.next not in held:
            raise _lost(file, found.next, found)
        return held[found.current], held[found.next]
    if keys.exists(file) and held[found.current].file != file:
        raise _refusal(OTHER.format(file=file, fingerprint=Key.read(file).fingerprint, current=found.current))
    return held[found.current], _next_key(file, held[found.current])


def _held(file: Path, found: Recorded) -> dict[str, Key]:
    """The keys in the key file and beside it, by their fingerprints."""
    read = (Key.read(one) for one in reversed(_files(file, found)) if keys.exists(one))
    return {key.fingerprint: key for key in read}


def _files(file: Path, found: Recorded) -> list[Path]:
    return [file, keys.next_file(file), keys.kept_file(file, found.current)]


def _next_key(file: Path, old: Key) -> Key:
    """The new key, on the disk; one that an interrupted rotation has left is used."""
    next_ = keys.next_file(file)
    if keys.exists(next_):
        return Key.read(next_)
    with _writing(file):
        key = Key.create(next_)
        copies.owned_like(next_, old.file or file)
    return key


def _exclude_others(db: Database, found: Recorded, secret: bytes, now: int) -> None:
    """Record that the key is being changed, and wait until every other process has noticed and is done.

    secret   the secret of the MACs of rows, for the next key
    """
    if not found.next:
        with db.write() as tx:
            keys.begin(tx, db.seal, secret, now)
    time.sleep(SETTLE_SECONDS)
    since, until = db.clock(), time.monotonic() + OTHERS_SECONDS
    while db.others_since(since):
        if time.monotonic() > until:
            raise _refusal(IN_USE)
        time.sleep(0.2)


def _put_in_place(file: Path, old: Key, new: Key) -> None:
    """Keep the former key under another name, and put the new one in its place. Both are on the disk at any moment."""
    kept, next_ = keys.kept_file(file, old.fingerprint), keys.next_file(file)
    with _writing(file):
        if not keys.exists(kept):
            os.link(file, kept)
        if keys.exists(next_):
            copies.sync(file.parent)
            os.replace(next_, file)
        copies.sync(file.parent)


class _writing:
    """Turns an error of the disk into a refusal that says what to do."""

    def __init__(self, file: Path) -> None:
        self._folder = file.parent

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise _refusal(CANNOT_WRITE.format(folder=self._folder, why=error.strerror)) from error


def _reseal_all(db: Database, old: Seal, progress: Progress) -> tuple[int, dict[str, int]]:
    """Seal every table anew, from the stored place on; how many rows were read, and how many no key opens."""
    done, total = _amounts(db)
    rows, unreadable = 0, dict.fromkeys(resealing.RESEALED, 0)
    progress(done, total)
    while True:
        with db.write() as tx:
            _check(tx, old.fingerprint, db.seal.fingerprint)
            table, after = _place(keys.place(tx))
            if not table:
                return rows, {name: count for name, count in unreadable.items() if count}
            batch = resealing.reseal(tx, table, after, old, db.seal, BATCH)
            keys.set_place(tx, _place_text(table, batch.last))
        rows += batch.rows
        unreadable[table] += batch.unreadable
        progress(min(done + rows, total), total)


def _check(tx: Tx, current: str, next_: str) -> None:
    """Take turns with another rotation that was started, and refuse to go on after its end."""
    tx.lock(LOCK)
    if keys.in_table(tx) != Recorded(current, next_):
        raise _refusal(ENDED)


def _amounts(db: Database) -> tuple[int, int]:
    """How many rows are sealed anew already, about, and how many there are."""
    with db.read() as tx:
        table, after = _place(keys.place(tx))
        counts = {name: resealing.count(tx, name) for name in resealing.RESEALED}
        before = list(counts)[: list(counts).index(table)] if table else list(counts)
        within = resealing.count(tx, table, after) if table and after else 0
    return sum(counts[name] for name in before) + within, sum(counts.values())


def _place(text: str) -> tuple[str, resealing.Place | None]:
    """The table and the key of the last row that is done; "" when all tables are."""
    tables = list(resealing.RESEALED)
    table, after = msgspec.json.decode(text, type=tuple[str, list[str | int] | None]) if text else (tables[0], None)
    if not table or after is None:
        return table, None
    kinds = resealing.RESEALED[table].key.values()
    return table, tuple(
        bytes.fromhex(str(value)) if kind is bytes else value for kind, value in zip(kinds, after, strict=True)
    )


def _place_text(table: str, last: resealing.Place | None) -> str:
    """The same as text: the next table after the last row of one."""
    if last is None:
        tables = [*resealing.RESEALED, ""]
        return msgspec.json.encode((tables[tables.index(table) + 1], None)).decode()
    values = [value.hex() if isinstance(value, bytes) else value for value in last]
    return msgspec.json.encode((table, values)).decode()


# ── a lost key ───────────────────────────────────────────────────────────────────────────────────────────────────────


def check_lost(db: Database, file: Path, *, usual: Path | None = None) -> Recorded:
    """The fingerprints in the database, if a key of them is lost; else Invalid.

    usual   where the key file is without RINGBOOK_KEY_FILE: the key may still be there
    """
    found = _recorded(db)
    if usual and _fits(usual, found):
        raise errors.Invalid(ELSEWHERE.format(usual=usual, file=file))
    held = _held(file, found)
    if all(one in held for one in (found.current, found.next) if one):
        raise errors.Invalid(FITS.format(file=held[found.current].file))
    return found


def forget(db: Database, file: Path, now: int, *, by: Actor) -> Forgotten:
    """Delete whatever only the lost key could open, in one transaction, and give the database a new key.

    The passwords and sessions that stay get new MACs. Nobody can tell whether they were changed: the key is lost.

    file   the key file: a key in it that is not the database's is used, else one is made
    """
    found = check_lost(db, file)
    if not keys.exists(file):
        with _writing(file):
            Key.create(file)
    new = Key.read(file)
    if new.fingerprint == found.current:
        raise errors.Invalid(PUT_ASIDE.format(file=file, next=found.next))
    db.seal = Seal(new.secret)
    if found.next not in ("", new.fingerprint):
        with db.write() as tx:
            keys.give_up(tx)
        found = Recorded(found.current)
    _exclude_others(db, found, keys.new_secret(), now)
    with db.write() as tx:
        _check(tx, found.current, new.fingerprint)
        row_macs.forget(tx)
        deleted = resealing.forget(tx)
        row_macs.renew(tx)
        applications.start_over(tx)
        keys.finish(tx)
        audit.record(tx, by, "key forgotten", detail=f"{found.current} → {new.fingerprint}")
    db.scrub()
    return Forgotten(new.fingerprint, file, deleted)


def _fits(file: Path, found: Recorded) -> bool:
    """Does this file hold the key of the database? False for a file that cannot be read."""
    with suppress(errors.Unavailable):
        return Key.read(file).fingerprint == found.current and not found.next
    return False


def _lost(file: Path, fingerprint: str, found: Recorded) -> errors.Unavailable:
    files = ", ".join(str(one) for one in _files(file, found))
    place = file
    if found.next:  # the key file may hold the other key: a copy must not overwrite it
        place = keys.kept_file(file, fingerprint) if fingerprint == found.current else keys.next_file(file)
    return _refusal(MISSING.format(fingerprint=fingerprint, files=files, place=place))


def _refusal(why: str) -> errors.Unavailable:
    return errors.Unavailable(why, why=why)
