"""Texts that strangers have chosen, shown on a terminal by every command."""

import os
import pty
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import servers
from core.joining import ANN, BOB, CLEO, Play
from test_documents import COMMANDS

from ringbook import logs
from ringbook.store import db as store
from ringbook.terminal import safe, safe_json

# Sets the title, clears the screen, sets a colour by an 8-bit code, shows text backwards, begins lines of its own.
OBEYED = ["\x1b]0;owned", "\x07", "\x1b[2J", "\x9b31m", "\u202e", "\u2066", "\u2028", "\x7f", "\x08"]
LINE = "\r\nok   forged line\nok   forged line"
HOSTILE = "Ann" + "".join(OBEYED) + LINE
NAMES = ["José Ñandú", "Zoe\u0301", "王小明", "علی\u200cرضا", "שרה \u200fכהן", "क्षत्रिय", "👩\u200d🚀", "O'Neil  d’Arc"]  # noqa: RUF001

ARGUMENTS = {
    "ringbook app create": ["New"],
    "ringbook app list": [],
    "ringbook app show": ["1"],
    "ringbook app connect": ["1"],
    "ringbook app set": ["1", "contact_joined_template", "%s is here"],
    "ringbook app rotate-keys": ["1", "--yes"],
    "ringbook app delete": ["1", "--yes"],
    "ringbook admin create": ["second@example.com"],
    "ringbook admin list": [],
    "ringbook admin delete": ["second@example.com", "--yes"],
    "ringbook admin reset-password": ["second@example.com"],
    "ringbook users list": ["--app", "1"],
    "ringbook users find": ["Ann", "--app", "1"],
    "ringbook users import": ["{folder}/people.jsonl", "--app", "1"],
    "ringbook users export": ["{bob}"],
    "ringbook users erase": ["{bob}", "--yes"],
    "ringbook users reset-password": ["{bob}"],
    "ringbook users give-number": ["{bob}", CLEO, "--app", "1", "--yes"],
    "ringbook key create": ["{folder}/new.key"],
    "ringbook key show": [],
    "ringbook key rotate": ["{folder}/new.key"],
    "ringbook key forget": ["--yes"],
    "ringbook push trace": ["{bob}"],
    "ringbook push retry": ["--app", "1"],
    "ringbook push status": [],
    "ringbook migrate": [],
    "ringbook vacuum": [],
    "ringbook distribute": [],
    "ringbook check": [],
    "ringbook openapi": [],
    "ringbook why": ["{bob}", ANN],
    "ringbook backup": ["{folder}/backup.db"],
    "ringbook restore": ["{folder}/backup.db", "--overwrite"],
    "ringbook erase-again": [],
}
SHOWING = {"ringbook why", "ringbook users list", "ringbook users find", "ringbook users export"}
RUNNING = {"ringbook serve", "ringbook worker"}  # their log is tested below


@pytest.fixture(scope="module")
def spoiled(databases: servers.Databases) -> Iterator[tuple[Path, int]]:
    """A SQLite file with hostile texts in every column that is a text of users, and the id of Bob, who has them."""
    with databases.fresh("sqlite") as url:
        with closing(store.connect(url, seal=servers.SEAL)) as db:
            play = Play(db)
            bob, ann = play.person("bob", BOB).id, play.person("ann", ANN).id
            play.holds(bob, (ANN, HOSTILE), (CLEO, NAMES[0]), device=HOSTILE)
            play.holds(ann, (BOB, HOSTILE))
            play.device(bob, "fcm-token-0001", device=HOSTILE)
            play.tell()
        file = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(file)) as connection:
            for table, column in texts_of_users(connection):
                with suppress(sqlite3.IntegrityError):  # a column of a unique key
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} <> ''", (HOSTILE,))
            connection.execute("UPDATE users SET full_name = ?, login = ? WHERE id = ?", (HOSTILE, HOSTILE, bob))
            connection.commit()
        yield file, bob


def texts_of_users(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """The columns of texts in the tables that users write."""
    for table in ("users", "tags", "subscriptions", "pushes", "words"):
        for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
            if kind == "TEXT" and column not in ("channel", "environment", "platform", "outcome", "password_hash"):
                yield table, column


def shown(words: list[str], environment: dict[str, str]) -> str:
    """What a command writes to a terminal until it ends."""
    ours, theirs = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the end of a terminal
            while part := os.read(ours, 65536):
                parts.append(part)

    reading = threading.Thread(target=read)
    reading.start()
    with os.fdopen(theirs, "r+b", buffering=0) as terminal:
        servers.Forked(words, environment, None, terminal, terminal, terminal).wait()
    reading.join(servers.PATIENCE_SECONDS)
    os.close(ours)
    return b"".join(parts).decode()


def obeyed_in(text: str) -> list[str]:
    """The parts of HOSTILE that reached the terminal as they are."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [part for part in OBEYED if part in text] + [line for line in lines if line.startswith("ok   forged line")]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in RUNNING])
def test_no_command_sends_what_a_terminal_would_obey(name: str, as_json: bool, spoiled: Any, tmp_path: Path):
    takes_json = any("--json" in argument.names for argument in COMMANDS[name].assemble_argument_collection())
    if as_json and not takes_json:
        pytest.skip("the command has no --json")
    original, bob = spoiled
    file = tmp_path / "ringbook.db"
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
    (tmp_path / "people.jsonl").write_text('{"id": 7, "login": "\\u001b[2J\\u202e"}\n{"\\u001b]0;owned": 1}\n')
    environment = servers.environment(f"sqlite:///{file}")
    if name == "ringbook restore":
        shown(["ringbook", "backup", str(tmp_path / "backup.db")], environment)
    if name.startswith("ringbook admin"):
        shown(["ringbook", "admin", "create", "second@example.com"], environment)
    words = [word.format(folder=tmp_path, bob=bob) for word in ARGUMENTS[name]]
    text = shown([*name.split(), *words, *["--json"] * as_json], environment)
    assert "Traceback" not in text
    assert obeyed_in(text) == []
    if name in SHOWING:
        assert ("\\u001b" in text) if as_json or name == "ringbook users export" else ("\\x1b" in text)


def test_names_of_all_scripts_are_shown_as_they_are():
    for name in NAMES:
        assert safe(name) == name
        assert safe_json(f'"{name}"') == f'"{name}"'


def test_what_a_terminal_would_obey_is_made_visible_and_stays_the_same_in_json():
    assert safe("a\x1b[2J\r\n\u202e\U000e0041\ud800") == "a\\x1b[2J\\r\\n\\u202e\\U000e0041\\ud800"
    assert safe_json('{"a":\n "\x9b\u202e\U000e0041"}') == '{"a":\n "\\u009b\\u202e\\udb40\\udc41"}'
    assert obeyed_in(safe(HOSTILE)) == []


def test_the_log_on_a_terminal_shows_no_text_that_it_would_obey(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        logs.start("info")
        logs.log.info("refused", reason=HOSTILE)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    monkeypatch.undo()
    logs.start("error")
    assert "refused" in text and "\\x1b" in text
    assert obeyed_in(text) == []
