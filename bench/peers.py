"""Sydent beside us: the identity server of Matrix, which answers "which of these numbers are registered" over HTTP.

    installed()                     Sydent in a folder of its own under build/; NotMeasured says why it cannot be had
    Peer(folder, world)             its database with every user of the world
    Peer.serve(way)                 Sydent in one of three ways, during a block
    Sydent.lookup(owner, book)      asks for the numbers of a book; returns the cost

shipped     as it is installed. SQLite then reads the whole table for each question
analysed    after an administrator has run ANALYZE once
tuned       also with a better statement and without a new table for each question. This is the one that is quoted

Sydent stores SHA-256 hashes with a pepper and no address books: the phone sends all numbers each time.
"""

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

from loading import Progress, counted
from processes import free_port, running, wait_until
from raw import Cost, expect
from timed_http import Client
from world import Contact, World

NAME, VERSION = "Sydent", "2.6.1"
PACKAGE = f"matrix-sydent[prometheus,sentry]=={VERSION}"  # it imports both extras when it starts
HOME = Path(__file__).parents[1] / "build" / f"sydent-{VERSION}"
INSTALL_SECONDS = 300
SHIPPED, ANALYSED, TUNED = "shipped", "analysed", "tuned"
TOKEN, ACCOUNT = "bench", "@ann:bench.invalid"
FOR_EVER = 32_503_680_000_000  # the year 3000 in ms
SETTINGS = """[general]
server.name = bench.invalid
log.level = ERROR
pidfile.path = {folder}/sydent.pid
templates.path = {folder}
[db]
db.file = {folder}/sydent.db
[http]
clientapi.http.bind_address = 127.0.0.1
clientapi.http.port = {port}
replication.https.certfile =
[email]
email.from = ann@bench.invalid
[crypto]
ed25519.signingkey =
"""
TUNED_PROGRAM = """
import time
from sydent.db import threepid_associations
from sydent.sydent import main

FOUND = '''SELECT g.lookup_hash, g.mxid FROM asked AS a CROSS JOIN global_threepid_associations AS g
 ON g.lookup_hash = a.hash WHERE g.notBefore < :now AND g.notAfter > :now ORDER BY g.ts'''

def found(store, hashes):
    cursor, now = store.sydent.db.cursor(), int(time.time() * 1000)
    cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS asked (hash TEXT)")
    cursor.execute("DELETE FROM asked")
    cursor.executemany("INSERT INTO asked VALUES (?)", [(one,) for one in hashes])
    return dict(cursor.execute(FOUND, {"now": now}).fetchall())

threepid_associations.GlobalAssociationStore.retrieveMxidsForHashes = found
main()
"""
INSERT = """INSERT INTO global_threepid_associations
 (medium, address, lookup_hash, mxid, ts, notBefore, notAfter, originServer, originId, sgAssoc)
 VALUES ('msisdn', ?, ?, ?, ?, 0, ?, 'bench.invalid', ?, '{}')"""


class NotMeasured(Exception):
    """Sydent cannot be measured here; the message says why."""


def installed() -> Path:
    """The Python with Sydent in it; installs it at the first call."""
    python = HOME / "bin" / "python"
    if (HOME / "complete").exists():
        return python
    words = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE)
    try:
        for command in ([sys.executable, "-m", "venv", "--clear", HOME], [python, *words]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise NotMeasured(f"{NAME} {VERSION} cannot be installed, so it is not measured: {said[-1]}") from error
    (HOME / "complete").touch()
    return python


class Sydent(Client):
    """One connection to Sydent."""

    pepper = ""

    def lookups(self, _owner_id: int, book: Sequence[Contact], times: int) -> Cost:
        """Ask so many times which numbers of a book are registered. The hashes are made before the time is measured."""
        asked = {"addresses": [hashed(one.number, self.pepper) for one in book], "algorithm": "sha256"}
        heads = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        body = json.dumps(asked | {"pepper": self.pepper}).encode()
        cost, answer = self.repeated("POST", "/_matrix/identity/v2/lookup", heads, body, times)
        expect(len(json.loads(answer)["mappings"]), sum(one.is_user for one in book), "numbers that Sydent found")
        return cost


class Peer:
    """Sydent's database with all users of a world."""

    def __init__(self, folder: Path, world: World, tell: Progress) -> None:
        self._python = installed()
        self._folder = folder / "sydent"
        self._folder.mkdir()
        with self.serve(SHIPPED):
            pass  # the first start creates the tables and the pepper
        with closing(sqlite3.connect(self._folder / "sydent.db")) as connection:
            (self._pepper,) = connection.execute("SELECT lookup_pepper FROM hashing_metadata").fetchone()
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("INSERT INTO accounts (user_id, created_ts) VALUES (?, 1)", (ACCOUNT,))
            connection.execute("INSERT INTO tokens (user_id, token) VALUES (?, ?)", (ACCOUNT, TOKEN))
            rows = associations(world, self._pepper)
            connection.executemany(INSERT, counted(rows, f"users of {NAME} loaded", world.users, tell))
            connection.commit()

    def analyse(self) -> None:
        """Let SQLite count, as an administrator may do. Sydent never does it by itself."""
        with closing(sqlite3.connect(self._folder / "sydent.db")) as connection:
            connection.execute("ANALYZE")

    @contextmanager
    def serve(self, way: str) -> Iterator[Sydent]:
        """Sydent on a free port."""
        port, log, settings = free_port(), self._folder / "sydent.log", self._folder / "sydent.conf"
        settings.write_text(SETTINGS.format(folder=self._folder, port=port))
        program = ["-c", TUNED_PROGRAM] if way == TUNED else ["-m", "sydent.sydent"]
        environment = os.environ | {"SYDENT_CONF": str(settings)}
        with running([self._python, *program], log, environment=environment) as process:
            versions = f"http://127.0.0.1:{port}/_matrix/identity/versions"
            wait_until(lambda: urlopen(versions, timeout=5).read(), OSError, process, log)
            with closing(Sydent(port, process.pid)) as sydent:
                sydent.pepper = getattr(self, "_pepper", "")
                yield sydent


def associations(world: World, pepper: str) -> Iterator[tuple[object, ...]]:
    """One row for each user's number."""
    now = int(time.time() * 1000)
    for user_id in range(1, world.users + 1):
        number = world.number_of(user_id)
        yield str(number), hashed(number, pepper), f"@user{user_id}:bench.invalid", now, FOR_EVER, user_id


def hashed(number: int, pepper: str) -> str:
    """The hash of a number as phones send it (Matrix, "Identity Service API", 3PID lookup)."""
    digest = hashlib.sha256(f"{number} msisdn {pepper}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
