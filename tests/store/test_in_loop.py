"""Statements in the event loop: the rows that a thread reads, or none, and never a wait without end."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers import SEAL, Databases, Stoppable, eventually, frozen, is_cluster

from ringbook import errors
from ringbook.core import applications
from ringbook.store import sessions, users
from ringbook.store.db import Database, connect
from ringbook.store.db import in_loop as lines

VALUES = "SELECT :n + 1, :b, NULL"
SMALL = {"n": 6, "b": b"\0\xff"}
ROWS = [(7, b"\0\xff", None)]
WHO = "SELECT pg_backend_pid()"
LARGE = "SELECT n FROM generate_series(1, :n) AS _(n)"
TRIES = 200
NOW = 1_800_000_000


@pytest.fixture(params=["sqlite", "plain", "pgbouncer"])
def any_db(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Database]:
    """A database, also behind a pooler."""
    with databases.fresh(request.param) as url, closing(connect(url, seal=SEAL)) as db:
        yield db


@pytest.fixture
def hasty(stoppable: Stoppable) -> Iterator[Database]:
    """A database that waits one second for the answer to a statement."""
    with closing(connect(stoppable.url, seal=SEAL, seconds=1)) as db:
        yield db


class Late:
    """Connects to PostgreSQL, and can hold back that it is ready for the next statement."""

    READY = b"Z\0\0\0\5I"  # Source: PostgreSQL, "Message Formats", ReadyForQuery

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.is_late = self.was_told = False
        self.waits, self.go_on = threading.Event(), threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, server = self._listening.accept()[0], socket.create_connection(("127.0.0.1", self._server_port))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=ends, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with source, target, suppress(OSError):
            while content := source.recv(65536):
                if self.is_late and content.endswith(self.READY):
                    target.sendall(content.removesuffix(self.READY))
                    self.waits.set()
                    self.was_told = self.go_on.wait(10)
                    content = self.READY
                target.sendall(content)


def late(port: int) -> AbstractContextManager[Late]:
    """See `Late`."""
    return closing(Late(port))


def in_thread(db: Database) -> None:
    """What lets the loop have a connection: a thread that has used one, and knows whether it is a cluster."""
    with db.read() as tx:
        assert not tx.is_distributed
        tx.tuples("SELECT 1")


async def asked(db: Database, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    """The rows, from the first connection that the loop gets."""
    return list(await served(db, partial(db.query_in_loop, sql, **params)))


async def served(db: Database, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The first answer that a thread is not needed for."""
    for _ in range(TRIES):
        if (found := await ask()) is not None:
            return found
        await asyncio.to_thread(in_thread, db)
        await asyncio.sleep(0)
    raise AssertionError("the loop never gets a connection")


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_the_loop_reads_what_a_thread_reads(any_db: Database):
    async def often() -> list[Any]:
        return [await asked(any_db, VALUES, **SMALL | {"n": n}) for n in (6, 0, -1, 2**40)]

    assert run(often()) == [[(n + 1, b"\0\xff", None)] for n in (6, 0, -1, 2**40)]
    with any_db.read() as tx:
        assert tx.tuples(VALUES, **SMALL) == ROWS


def test_each_of_many_that_ask_at_once_gets_its_own_rows_or_none(any_db: Database):
    async def all_() -> list[Any]:
        await asked(any_db, VALUES, **SMALL)
        found = await asyncio.gather(*(any_db.query_in_loop(VALUES, n=n, b=b"") for n in range(50)))
        return [(n, rows) for n, rows in enumerate(found) if rows is not None]

    answered = run(all_())
    assert answered
    assert all(rows == [(n + 1, b"", None)] for n, rows in answered)


def test_every_loop_is_served_after_another_one_has_ended(any_db: Database):
    assert [run(asked(any_db, VALUES, **SMALL)) for _ in range(3)] == [ROWS] * 3


def test_a_statement_that_fails_leaves_the_answer_to_a_thread_and_the_next_one_works(any_db: Database):
    async def both() -> list[Any]:
        await asked(any_db, VALUES, **SMALL)
        wrong = [await any_db.query_in_loop("SELECT n FROM nowhere WHERE n = :n", n=1) for _ in range(3)]
        return [*wrong, await asked(any_db, VALUES, **SMALL)]

    assert run(both()) == [None, None, None, ROWS]


def test_while_the_guard_has_a_reason_a_thread_refuses(any_db: Database):
    async def asked_again() -> Any:
        await asked(any_db, VALUES, **SMALL)
        any_db.guard.watch(lambda tx: "a newer version is here")
        return await any_db.query_in_loop(VALUES, **SMALL)

    assert run(asked_again()) is None
    with pytest.raises(errors.Unavailable), any_db.read():
        pass


def test_on_a_cluster_threads_read(database_url: str):
    if not is_cluster(database_url):
        return
    with closing(connect(database_url, seal=SEAL)) as db, db.read() as tx:
        assert tx.is_distributed
        assert run(db.query_in_loop(VALUES, **SMALL)) is None


def test_a_session_and_its_user_are_those_that_a_thread_reads(any_db: Database):
    app_id = applications.create(any_db, "tests", NOW).id
    with any_db.write() as tx:
        ann, bob = (users.insert(tx, app_id, {"login": login}, NOW) for login in ("ann", "bob"))
        for name, user_id in (("a", ann), ("nobody", None)):
            given = {"nonce": 0, "ts": NOW, "now": NOW, "expires_at": NOW + 10, "guest_until": None}
            sessions.insert(tx, name.encode(), app_id=app_id, user_id=user_id, **given)

    async def in_both(name: bytes, user_id: int | None) -> None:
        with any_db.read() as tx:
            session, user = sessions.by_token_with_user(tx, name, NOW, user_id)
        ask = partial(sessions.by_token_with_user_in_loop, any_db, name, NOW, user_id)
        assert await served(any_db, ask) == (session, user, None)

    async def all_() -> None:
        await asked(any_db, VALUES, **SMALL)
        for name in (b"a", b"nobody"):
            for user_id in (None, ann, bob, 0, 2**31 - 1):
                await in_both(name, user_id)
        for name, now in ((b"unknown", NOW), (b"a", NOW + 10)):
            assert await sessions.by_token_with_user_in_loop(any_db, name, now) is None

    run(all_())


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def file(databases: Databases) -> Iterator[Path]:
    with databases.fresh("sqlite") as url:
        yield Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def in_file(file: Path) -> Iterator[Database]:
    with closing(connect(f"sqlite:///{file}", seal=SEAL)) as db:
        yield db


def test_after_a_statement_that_took_long_threads_read_for_a_while(in_file: Database):
    count = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :n) SELECT max(n) FROM c"

    async def slow_then_quick() -> list[Any]:
        return [await asked(in_file, count, n=2_000_000), await in_file.query_in_loop(VALUES, **SMALL)]

    assert run(slow_then_quick()) == [[(2_000_000,)], None]


def test_a_removed_file_is_noticed_in_the_loop_too(in_file: Database, file: Path):
    async def removed() -> None:
        await asked(in_file, VALUES, **SMALL)
        file.unlink()
        await asyncio.sleep(0.01)
        await in_file.query_in_loop(VALUES, **SMALL)

    with pytest.raises(errors.Unavailable) as refused:
        run(removed())
    assert "was removed" in refused.value.why


def test_the_loop_waits_for_no_lock_of_another_program(in_file: Database, file: Path):
    async def locked() -> Any:
        await asked(in_file, VALUES, **SMALL)
        with closing(in_file._opened()) as other:  # type: ignore[attr-defined]
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            return await in_file.query_in_loop("PRAGMA busy_timeout")

    assert run(locked()) == [(0,)]


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_statement_without_an_answer_is_given_up_and_another_connection_serves(hasty: Database):
    async def given_up() -> list[Any]:
        ((pid,),) = await asked(hasty, WHO)
        with frozen(pid):
            with pytest.raises(errors.Unavailable) as refused:
                while await hasty.query_in_loop(VALUES, **SMALL) is None:
                    raise AssertionError("the connection was not lent any more")
            assert "RINGBOOK_DATABASE_SECONDS" in refused.value.explained()
            return await asked(hasty, VALUES, **SMALL)

    assert run(given_up()) == ROWS


def test_a_request_that_is_cancelled_leaves_the_connection_usable(hasty: Database):
    async def cancelled() -> Any:
        ((pid,),) = await asked(hasty, WHO)
        task = asyncio.ensure_future(hasty.query_in_loop(VALUES, **SMALL))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asked(hasty, VALUES, **SMALL)

    assert run(cancelled()) == ROWS


def test_a_connection_that_the_server_has_ended_is_replaced(stoppable: Stoppable, hasty: Database):
    async def ended() -> tuple[int, int]:
        ((before,),) = await asked(hasty, WHO)
        await asyncio.to_thread(end, before)
        ((after,),) = await asked(hasty, WHO)
        return before, after

    def end(pid: int) -> None:
        with psycopg.connect(stoppable.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    before, after = run(ended())
    assert before != after


def test_a_connection_that_ends_within_a_statement_leaves_the_loop_at_once(hasty: Database):
    """Its descriptor is closed by then, and may be the next connection's."""

    async def ended() -> list[Any]:
        await asked(hasty, VALUES, **SMALL)
        (line,) = hasty._lines._lent  # type: ignore[attr-defined]
        assert await hasty.query_in_loop("SELECT pg_terminate_backend(pg_backend_pid())") is None
        assert not hasty._lines._lent  # type: ignore[attr-defined]
        with pytest.raises(KeyError):
            asyncio.get_running_loop()._selector.get_key(line._handle)  # type: ignore[attr-defined]
        return await asked(hasty, VALUES, **SMALL)

    assert run(ended()) == ROWS


def test_the_loop_goes_on_until_the_server_is_ready_for_the_next_statement(stoppable: Stoppable):
    """The rows may come before the last six bytes of the answer, which say so."""

    async def goes_on(db: Database, server: "Late") -> Any:
        await asked(db, VALUES, **SMALL)
        server.is_late = True
        asking = asyncio.ensure_future(db.query_in_loop(VALUES, **SMALL))
        await asyncio.to_thread(server.waits.wait)
        await asyncio.sleep(0)
        server.go_on.set()
        return await asking

    with late(stoppable.port) as server:
        url = stoppable.url.replace(str(stoppable.port), str(server.port))
        with closing(connect(url, seal=SEAL)) as db:
            assert run(goes_on(db, server)) == ROWS
    assert server.was_told


def test_a_parameter_that_does_not_fit_leaves_the_connection_usable(hasty: Database):
    async def both() -> list[Any]:
        await asked(hasty, VALUES, **SMALL)
        assert await hasty.query_in_loop(VALUES, n=2**63, b=b"") is None
        return await asked(hasty, VALUES, **SMALL)

    assert run(both()) == ROWS


def test_an_answer_in_many_parts_is_one_answer(hasty: Database):
    assert run(asked(hasty, LARGE, n=200_000)) == [(n,) for n in range(1, 200_001)]


def test_an_idle_connection_goes_back_to_the_pool(hasty: Database):
    async def idle() -> bool:
        await asked(hasty, VALUES, **SMALL)
        for _ in range(TRIES):
            await asyncio.sleep(lines.TICK_SECONDS)
            gauges = hasty.gauges()
            if gauges["idle"] == gauges["open"]:
                return True
        return False

    assert run(idle())


def test_a_small_pool_lends_nothing(stoppable: Stoppable):
    async def never(db: Database) -> list[Any]:
        found = []
        for _ in range(5):
            found.append(await db.query_in_loop(VALUES, **SMALL))
            await asyncio.to_thread(in_thread, db)
        return found

    with closing(connect(stoppable.url, seal=SEAL, pool=3)) as db:
        assert run(never(db)) == [None] * 5


def test_a_loop_that_ends_before_it_takes_a_connection_keeps_none(stoppable: Stoppable):
    with closing(connect(stoppable.url, seal=SEAL, pool=4)) as db:
        in_thread(db)
        for _ in range(10):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(db.query_in_loop(VALUES, **SMALL)) is None
            in_thread(db)
            loop.close()
        assert run(asked(db, VALUES, **SMALL)) == ROWS
        assert db.gauges()["open"] <= 4


def test_no_more_connections_are_lent_than_a_quarter_of_the_pool(stoppable: Stoppable):
    async def lent(db: Database) -> set[int]:
        pids: set[int] = set()
        for _ in range(20):
            found = await asyncio.gather(*(db.query_in_loop(WHO) for _ in range(10)))
            pids |= {rows[0][0] for rows in found if rows}
            await asyncio.to_thread(in_thread, db)
        return pids

    with closing(connect(stoppable.url, seal=SEAL, pool=8)) as db:
        assert len(run(lent(db))) == 2


def test_after_the_connections_of_the_pool_were_replaced_the_loop_has_a_new_one(hasty: Database):
    async def drained() -> tuple[int, int]:
        ((before,),) = await asked(hasty, WHO)
        hasty._drain()  # type: ignore[attr-defined]
        ((after,),) = await asked(hasty, WHO)
        return before, after

    before, after = run(drained())
    assert before != after


def test_a_connection_that_a_thread_used_while_all_were_replaced_is_not_lent(stoppable: Stoppable):
    async def drained(db: Database) -> tuple[int, int]:
        await asyncio.to_thread(in_thread, db)
        with db.read() as tx:
            ((before,),) = tx.tuples(WHO)
            assert await db.query_in_loop(WHO) is None  # the loop wants the next connection
            db._drain()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        ((after,),) = await asked(db, WHO)
        return before, after

    with closing(connect(stoppable.url, seal=SEAL, pool=4)) as db:
        before, after = run(drained(db))
    assert before != after


@pytest.mark.parametrize("limit", ["LENT_SECONDS", "PLANNED_SECONDS"])
def test_a_connection_goes_back_after_some_time_and_is_replaced_after_more(
    hasty: Database, monkeypatch: pytest.MonkeyPatch, limit: str
):
    async def again() -> int:
        ((pid,),) = await asked(hasty, WHO)
        monkeypatch.setattr(lines, "LENT_SECONDS", 0)
        monkeypatch.setattr(lines, limit, 0)
        assert await hasty.query_in_loop(WHO) is None
        monkeypatch.undo()
        assert await asked(hasty, VALUES, **SMALL) == ROWS
        return int(pid)

    def is_there() -> bool:
        with hasty.read() as tx:
            return bool(tx.tuples("SELECT 1 FROM pg_stat_activity WHERE pid = :pid", pid=pid))

    pid = run(again())
    if limit == "LENT_SECONDS":
        assert is_there()
    else:
        eventually(lambda: not is_there(), "the connection is still open")


def test_a_statement_is_prepared_once_under_a_name_made_of_its_text(stoppable: Stoppable, hasty: Database):
    names = "SELECT count(*), count(DISTINCT name) FROM pg_prepared_statements WHERE name LIKE 'ringbook_%'"

    async def prepared() -> list[tuple[int, int]]:
        for _ in range(3):
            await asked(hasty, VALUES, **SMALL)
        return await asked(hasty, names)

    assert run(prepared()) == [(2, 2)]  # VALUES, and this statement itself
    assert lines.prepared_name(b"SELECT 1", ()) != lines.prepared_name(b"SELECT 2", ())
    assert lines.prepared_name(b"SELECT $1", (17,)) != lines.prepared_name(b"SELECT $1", (20,))


def test_where_prepared_statements_are_lost_others_are_used(hasty: Database):
    async def lost() -> list[Any]:
        await asked(hasty, VALUES, **SMALL)
        await asked(hasty, "DEALLOCATE ALL")
        return [await hasty.query_in_loop(VALUES, **SMALL), await asked(hasty, VALUES, **SMALL)]

    assert run(lost()) == [None, ROWS]


def test_columns_that_have_changed_are_read_as_they_are_now(hasty: Database):
    things = "SELECT t FROM things WHERE n = :n"

    async def changed() -> list[Any]:
        found = [await asked(hasty, things, n=1)]
        await asyncio.to_thread(change, "ALTER TABLE things ALTER COLUMN t TYPE TEXT USING 'two'")
        return [*found, await hasty.query_in_loop(things, n=1), await asked(hasty, things, n=1)]

    def change(*statements: str) -> None:
        with hasty.write() as tx:
            for statement in statements:
                tx.run(statement)

    change("CREATE TABLE things (n BIGINT, t BIGINT)", "INSERT INTO things (n, t) VALUES (1, 2)")
    assert run(changed()) == [[(2,)], None, [("two",)]]
