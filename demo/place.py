"""The demo's database: where it is, what is in it, and how it is made.

Place.of(environment, …)   the database that RINGBOOK_DATABASE names, else a file in demo/data
Place.state()              has it the demo, a part of it, or nothing?
Place.make(until, …)       makes the demo's application, plays the history, and creates an admin of the dashboard;
                           Refused where other applications have users
Place.found()              the demo's application, and what there is in it
Place.remove()             deletes the demo
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import player
from history import History
from people import CAST, JONAS

from ringbook import config
from ringbook.config import Config
from ringbook.core import admins, applications, overview, user_lookup
from ringbook.core.audit import COMMAND_LINE, Actor
from ringbook.model import App
from ringbook.seal import Key
from ringbook.server import opening
from ringbook.store import db as databases
from ringbook.store import migrations
from ringbook.store.db import Database, copies
from ringbook.times import HOUR

DATA = Path(__file__).with_name("data")
NAME = "Saunter (demo)"
UNFINISHED = "Saunter (demo, not finished)"
MEMORY = Path("/dev/shm")  # where the system has it, the history is made there: a disk takes longer
ADMIN = "demo@example.com"
PUSHES = "pushes.txt"  # what the worker printed
NAMES_DATABASE = {"RINGBOOK_DATABASE", "RINGBOOK_DATABASE_FILE"}
OF_A_DATABASE = NAMES_DATABASE | {"RINGBOOK_KEY_FILE", "RINGBOOK_ERASURES_FOLDER"}
TEMPLATES = {
    "en": {"digest": {"one": "%s and %d other joined.", "other": "%s and %d others joined."}},
    "de": {
        "joined": "%s ist jetzt auch dabei.",
        "digest": {"one": "%s und %d weitere Person sind dabei.", "other": "%s und %d weitere sind dabei."},
    },
}
SETTINGS = {
    "default_region": "GB",
    "contact_joined_enabled": "on",
    "contact_joined_delay_seconds": str(player.DELAY_SECONDS),
    "contact_joined_templates": json.dumps(TEMPLATES, ensure_ascii=False),
    "push_console": "on",
    "sms_gateway": "console",
    "sms_regions": "GB,DE,US,IE,FR,SE,AU",
}
OTHERS = """\
{database} has users of other applications: {names}.
The demo makes its history on a database of its own only. Unset RINGBOOK_DATABASE, or name an empty database."""
Progress = Callable[[int, int], None]


class Refused(Exception):
    """The demo cannot go on; the text says why and what to do."""


class State(Enum):
    """What is in the database."""

    NOTHING = "nothing"
    UNFINISHED = "unfinished"
    READY = "ready"


@dataclass(frozen=True)
class Found:
    """The demo in a database.

    bob, jonas   ids of Bob, who has a password, and of Jonas, whose pushes wait for the end of his quiet hours
    password     of the admin; "" when only its hash is known
    """

    app: App
    users: int
    bob: int
    jonas: int
    password: str


@dataclass(frozen=True)
class Place:
    """The demo's database.

    environment   of the commands that use it
    folder        the demo's own folder with its database; None: the database is somewhere else
    """

    environment: dict[str, str]
    config: Config
    folder: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str], folder: Path = DATA) -> Place:
        """The database that RINGBOOK_DATABASE names, else a file in the folder with a key of its own."""
        values, own = dict(environment), None
        if not NAMES_DATABASE & values.keys():
            own = folder
            own.mkdir(exist_ok=True)
            values = without_database(values) | {"RINGBOOK_DATABASE": f"sqlite:///{own / 'demo.db'}"}
        found = config.load(values, None, {})
        return cls(values, found, own)

    @property
    def name(self) -> str:
        """The database, for people."""
        return databases.named(self.config.database)

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────────────────

    def state(self) -> State:
        """What is in the database. Unavailable when this version cannot open it."""
        if databases.is_sqlite(self.config.database) and not databases.sqlite_file(self.config.database).exists():
            return State.NOTHING
        with self.opened() as db:
            own = {app.name for app in applications.all_(db)} & {NAME, UNFINISHED}
            return State.READY if NAME in own else State.UNFINISHED if own else State.NOTHING

    def found(self) -> Found:
        """The demo, which is ready."""
        with self.opened() as db:
            app = next(one for one in applications.all_(db) if one.name == NAME)
            bob, jonas = (user_lookup.one_user(db, app, text).id for text in ("bob", CAST[JONAS - 1][1]))
            return Found(app, overview.counts(db, app)["users"], bob, jonas, self._password())

    @contextmanager
    def opened(self) -> Iterator[Database]:
        """The open database; a SQLite file is made when there is none."""
        opening.create_files(self.config)

        def upgrade(state: migrations.State, key: Key) -> None:
            if databases.is_sqlite(self.config.database) and not state.revision:
                migrations.migrate(self.config.database, key)

        with closing(opening.opened(self.config, pool=4, upgrade=upgrade)) as db:
            yield db

    # ── making and deleting ──────────────────────────────────────────────────────────────────────────────────────────

    def make(self, until: int, progress: Progress, *, history: History | None = None) -> player.Player:
        """Make the demo in an empty database: its application, its history until this time, and an admin."""
        history = history or History(until)
        if not self.folder:
            return self._made(until, progress, history)
        with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else self.folder.parent) as scratch:
            apart = Place.of(without_database(self.environment), Path(scratch, "data"))
            played = apart._made(until, progress, history)
            (Path(scratch, "data") / PUSHES).write_text("\n".join(played.printed.pushes) + "\n", encoding="utf-8")
            if databases.sqlite_file(self.config.database).exists():
                raise Refused(f"Another `make demo` has made {self.name} meanwhile.")
            shutil.rmtree(self.folder)
            shutil.move(Path(scratch, "data"), self.folder)
        return played

    def _made(self, until: int, progress: Progress, history: History) -> player.Player:
        start = until - history.seconds
        with self.opened() as db:
            self._check_empty(db)
            applications.first(db, start)  # the tutorials use it
            app = self._app(db, start)
            played = player.play(
                db, self.config, app, history, player.Clock(start), until, lambda at: progress(at, until - start)
            )
            applications.rename(db, app.id, NAME)
            self._admin(db, start)
        return played

    def _check_empty(self, db: Database) -> None:
        """Refuse a database in which other applications have users: the worker would send their pushes, too."""
        others = [one.name for one in applications.all_(db) if applications.has_more_users(db, one.id, 0)]
        if others:
            raise Refused(OTHERS.format(database=self.name, names=", ".join(others)))

    def _app(self, db: Database, at: int) -> App:
        app = applications.create(db, UNFINISHED, at)
        return applications.change_all(db, app.id, SETTINGS, by=Actor(ADMIN, "192.0.2.7", at + 9 * HOUR))

    def _admin(self, db: Database, at: int) -> None:
        """Create an admin. The password is kept beside the demo's own database, for the next start."""
        if any(one.email == ADMIN for one in admins.all_(db)):
            return
        password = admins.create(db, ADMIN, at, by=Actor(COMMAND_LINE, "", at))
        if self.folder:
            file = self.folder / "password"
            file.touch(0o600)
            file.write_text(password)

    def _password(self) -> str:
        file = self.folder / "password" if self.folder else None
        return file.read_text() if file and file.exists() else ""

    def remove(self) -> None:
        """Delete the demo: its folder, or from another database its application."""
        if self.folder:
            with copies.lock(databases.sqlite_file(self.config.database)):
                shutil.rmtree(self.folder)
            self.folder.mkdir()
            return
        with self.opened() as db:
            for app in applications.all_(db):
                if app.name in (NAME, UNFINISHED):
                    applications.delete(db, app.id)


def without_database(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings that belong to a database."""
    return {name: value for name, value in environment.items() if name not in OF_A_DATABASE}
