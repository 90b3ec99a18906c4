"""A stolen database, log, journal, backup or dump reveals no number, no e-mail, no contact's name and no secret.

A world is played through a real server and the commands (stolen/world.py). Then everything that a thief could take is
searched byte for byte, while the server runs and after it has stopped, for all its secrets in every form
(stolen/needles.py). The same search must find what is stored in clear in each place: it cannot pass by not looking.
"""

import base64
import hashlib
import os
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from push.listener import push_service
from push.providers import Providers
from servers import Databases, Postgresql, Stoppable, application, migrate, private_folder, serve
from stolen.needles import Needle, Search, Secrets, forms_of_number, forms_of_text, national, written
from stolen.places import Known, dumps, files, sqlite
from stolen.world import OPEN_DATA, OPEN_NAME, World, play
from verify.gateway import listening

from ringbook.core import backups
from ringbook.store import db as databases_

CLEAR, LAST = f"{OPEN_DATA} 990", f"{OPEN_DATA} 991"  # of the two users who signed up last
IN_LOG = "/address_book"
HEAD_OF_SHM = (3_007_000).to_bytes(4, sys.byteorder)


@dataclass(frozen=True)
class Loot:
    """What was taken: the content of each place by its name, and what each place must hold in clear."""

    world: World
    places: dict[str, bytes]
    clear: dict[str, bytes]


@contextmanager
def played(url: str, folder: Path, providers: Providers) -> Iterator[World]:
    """The world on this database, while its server runs."""
    settings = {name: str(value) for name, value in providers.config.items()}
    providers.forget()
    with (
        push_service(folder) as browsers,
        listening() as gateway,
        serve(url, folder, erasures_folder=str(folder / "erasures"), **settings) as server,
    ):
        yield play(server, application(url, "stolen"), providers, browsers, gateway, folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def loot(
    request: pytest.FixtureRequest,
    databases: Databases,
    push_providers: Providers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Loot]:
    folder = tmp_path_factory.mktemp("stolen")
    taken = of_sqlite if request.param == "sqlite" else of_postgresql
    yield taken(databases, folder, push_providers)


def of_sqlite(databases: Databases, folder: Path, providers: Providers) -> Loot:
    with databases.fresh("sqlite") as url:
        file = databases_.sqlite_file(url)
        with played(url, folder, providers) as world:
            checkpoint(file)
            world.write_last()
            places = {f"{name}, while the server runs": content for name, content in sqlite(file).items()}
            backups.back_up(file, folder / "backup.db", lambda done, total: None)
            places["backup"] = (folder / "backup.db").read_bytes()
            log = world.server.log
        places |= {f"{name}, after the server": content for name, content in sqlite(file).items()}
        places |= beside(folder, log)
    kinds = {"-shm": HEAD_OF_SHM, "-wal": LAST.encode()}
    clear = {name: kinds.get(name[:4], CLEAR.encode()) for name in places} | clear_beside(world)
    return Loot(world, places, clear)


def checkpoint(file: Path) -> None:
    """Move what the write-ahead log holds to the database file, as the server does from time to time."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def of_postgresql(_: Databases, folder: Path, providers: Providers) -> Loot:
    with private_folder() as home:
        server = Stoppable(home)
        server.start()
        migrate(server.url)
        Postgresql(server.url).run("CHECKPOINT")
        known = Known(home)
        with played(server.url, folder, providers) as world:
            world.write_last()
            Postgresql(server.url).run("CHECKPOINT")
            places = {f"{name}, while the server runs": content for name, content in known.changed().items()}
            places |= dumps(server.url)
            log = world.server.log
        server.stop()
        places |= {f"{name}, after the server": content for name, content in known.changed().items()}
    rows = [name for name in places if name.startswith(("data/base", "data/pg_wal", "pg_dump"))]
    assert len(rows) == 6, list(places)
    return Loot(world, places | beside(folder, log), dict.fromkeys(rows, CLEAR.encode()) | clear_beside(world))


def beside(folder: Path, log: Path) -> dict[str, bytes]:
    """The server's log and the journal of erasures."""
    journal = b"".join(one.read_bytes() for one in files(folder / "erasures"))
    return {"log": log.read_bytes(), "journal of erasures": journal}


def clear_beside(world: World) -> dict[str, bytes]:
    """What the log and the journal hold in clear."""
    erased = f" {world.app.application_id} {world.users[5].id}\n"
    return {"log": IN_LOG.encode(), "journal of erasures": erased.encode()}


# ── what the thief finds ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_search_finds_what_is_stored_in_clear(loot):
    """Each place holds a text that is not a secret. If this fails, the next test proves nothing about that place."""
    for name, content in loot.clear.items():
        assert list(Search([Needle(content, "in clear", "as bytes")]).hits(loot.places[name])), name


def test_no_secret_is_found(loot):
    needles = list(loot.world.secrets.needles.values())
    assert len(needles) > 10_000
    search, found = Search(needles), defaultdict(list)
    for name, content in loot.places.items():
        for hit in search.hits(content):
            found[name, hit.needle.origin].append((hit.needle.form, hit.offset, hit.around))
    assert not found, "\n".join(f"{name}: {origin}: {hits[:2]}" for (name, origin), hits in found.items())


def test_what_is_open_is_no_secret(loot):
    """No needle is part of a text that is stored in clear on purpose."""
    for needle in loot.world.secrets.needles.values():
        assert needle.content not in OPEN_NAME.encode() and needle.content not in OPEN_DATA.encode(), needle


# ── the search itself ────────────────────────────────────────────────────────────────────────────────────────────────

TEXT, NUMBER, CODE = "Zoë Example-Miller, Jr.", "447700900123", "407293"


def hidden(content: bytes, before: int) -> bytes:
    """Random bytes around it, at an odd or even offset; no digit stands beside it."""
    return os.urandom(50_000) + b"z" * (4 + before) + content + b"z" * 4 + os.urandom(50_000)


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize(
    "form",
    [
        *forms_of_text(TEXT).items(),
        *forms_of_number(NUMBER).items(),
        *national(NUMBER).items(),
        *written(CODE).items(),
        ("a bigint of PostgreSQL", int(NUMBER).to_bytes(8, "little")),
        ("a bigint as it is sent", int(NUMBER).to_bytes(8, "big")),
        ("an integer of SQLite", int(NUMBER).to_bytes(6, "big")),
        ("base64 of a longer text", base64.b64encode(f"x{TEXT}y".encode())),
        ("base64 of a number in a longer text", base64.b64encode(f"to +{NUMBER}.".encode())),
        ("a number with a zero", b"07700900123"),
    ],
    ids=lambda form: form[0],
)
def test_a_secret_is_found_in_every_form(form, before):
    secrets = Secrets()
    secrets.text(TEXT, "text")
    secrets.number(NUMBER, "number")
    secrets.code(CODE, "code")
    search = Search(list(secrets.needles.values()))
    assert {hit.needle.origin.split()[0] for hit in search.hits(hidden(form[1], before))}
    assert not list(search.hits(hidden(b"", before)))


def test_a_hash_without_a_key_is_found_whole_and_cut():
    secrets = Secrets()
    secrets.guessable("Ann@Example.com", 3, "e-mail")
    search = Search(list(secrets.needles.values()))
    for text in ("ann@example.com", "3:ann@example.com"):
        whole = hashlib.sha256(text.encode())
        for content in (whole.digest(), whole.hexdigest().encode(), whole.hexdigest()[:24].encode()):
            assert list(search.hits(hidden(content, 1)))


def test_digits_of_a_longer_number_are_no_code():
    secrets = Secrets()
    secrets.code(CODE, "code")
    search = Search(list(secrets.needles.values()))
    for longer in (f"1{CODE}", f"{CODE}5"):
        for content in written(longer).values():
            assert not list(search.hits(hidden(content, 0)))
