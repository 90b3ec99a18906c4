"""No statement of a periodic job or of a page reads every row of a table, as SQLite's query planner shows."""

import re
import threading
from contextlib import closing
from typing import Any

import pytest
from core.joining import ANN, BOB, CLEO, DAY, NOW, Play
from servers import SEAL, Databases

from ringbook.config import Config
from ringbook.core import activity, announcing, delivery, joined_lists, overview, push_trace, user_list, user_record
from ringbook.core.audit import Actor
from ringbook.store import db as store
from ringbook.store.db import sqlite
from ringbook.worker import jobs

LATER = NOW + 100 * DAY
# Tables that do not grow with users, or that a job empties.
SMALL = {"admins", "app_totals", "applications", "erasures", "schema_state", "sweeps", "total_changes"}
# Reading waiting pushes by their index, up to a LIMIT.
BOUNDED = {"pushes USING INDEX pushes_due", "pushes USING COVERING INDEX pushes_due"}


class Traced:
    """Every statement that a database is asked, with the values of its parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        opened = sqlite.open_sqlite

        def traced(*given):
            connection, which = opened(*given)
            connection.set_trace_callback(self.statements.append)
            return connection, which

        monkeypatch.setattr(sqlite, "open_sqlite", traced)

    def scans(self, db: store.Database) -> dict[str, str]:
        """What is read from beginning to end, and a statement that does so."""
        found, tables = {}, db.tables()
        statements = [one for one in set(self.statements) if re.match(r"(SELECT|WITH|UPDATE|DELETE|INSERT)\b", one)]
        assert len(statements) > 10
        with db.read() as tx:
            for statement in statements:
                for row in tx.tuples(f"EXPLAIN QUERY PLAN {statement}"):
                    scan = re.fullmatch(r"SCAN (\w+)( USING .*)?", row[3])
                    name = named(scan[1], statement) if scan else ""
                    if scan and name in tables:  # it may also be a subquery, which the plan shows as well
                        found[name + (scan[2] or "")] = statement
        return found

    def owners_books(self, db: store.Database) -> list[str]:
        """The statements that read all contacts of an owner, whatever they look for."""
        plans = [(one, row[3]) for one in set(self.statements) if "contacts AS c" in one for row in self.plan(db, one)]
        assert plans
        return [one for one, step in plans if re.match(r"SEARCH c USING .*\(owner_id=\?\)", step)]

    def plan(self, db: store.Database, statement: str) -> list[tuple[Any, ...]]:
        """The steps of SQLite's plan."""
        with db.read() as tx:
            return tx.tuples(f"EXPLAIN QUERY PLAN {statement}")

    def sorts(self, db: store.Database, part: str) -> list[str]:
        """The statements with this part that sort rows, instead of reading them in the order of an index."""
        statements = [one for one in set(self.statements) if part in one and " ORDER BY " in one]
        assert statements
        with db.read() as tx:
            return [
                one
                for one in statements
                if any("USE TEMP B-TREE FOR ORDER BY" in row[3] for row in tx.tuples(f"EXPLAIN QUERY PLAN {one}"))
            ]


def named(alias: str, statement: str) -> str:
    """The table that has this alias in a statement."""
    table = re.search(rf"(\w+) AS {alias}\b", statement)
    return table[1] if table else alias


@pytest.fixture
def traced(databases: Databases, monkeypatch: pytest.MonkeyPatch):
    """An application in which something has happened, on SQLite, and the statements from now on."""
    with databases.fresh("sqlite") as url, closing(store.connect(url, seal=SEAL)) as first:
        play = Play(first)
        bob = play.person("bob", BOB).id
        play.device(bob, "fcm-token-of-bob")
        play.holds(bob, (ANN, "Ann"))
        play.person("ann", ANN)
        play.tell()
        trace = Traced(monkeypatch)
        with closing(store.connect(url, seal=SEAL)) as db:
            yield trace, db, play


def test_the_trace_finds_a_statement_that_reads_a_table(traced):
    trace, db, _ = traced
    jobs.turn(db, jobs.parts(Config()), LATER, threading.Event())
    with db.read() as tx:
        tx.all("SELECT COUNT(*) FROM users WHERE website = 'x'")
    assert set(trace.scans(db)) - SMALL - BOUNDED == {"users"}


def test_no_periodic_job_reads_a_table(traced):
    trace, db, _ = traced
    parts = jobs.parts(Config(books_kept_days=90, pushes_kept_days=1, audit_kept_days=1))
    for now in (NOW, LATER, LATER + DAY):
        jobs.turn(db, parts, now, threading.Event())
    scans = trace.scans(db)
    assert set(scans) - SMALL - BOUNDED == set(), scans


def test_neither_the_overview_nor_the_pages_of_pushes_nor_the_metrics_read_a_table(traced):
    trace, db, play = traced
    overview.of(db, play.app, NOW)
    overview.server(db, NOW)
    activity.of(db, play.app, NOW, 90)
    activity.by_day(db, play.app, NOW, 90)
    delivery.waiting(db)
    push_trace.state(db, NOW)
    push_trace.queue(db, play.app_id, NOW)
    push_trace.parked(db, play.app_id)
    scans = trace.scans(db)
    assert set(scans) - SMALL - BOUNDED == set(), scans


def test_neither_a_push_nor_a_list_of_who_joined_reads_whole_books(traced):
    trace, db, play = traced
    (bob,) = play.rows("SELECT owner_id FROM announced")
    assert delivery.claim(db, NOW, 9)
    found = joined_lists.page(db, play.caller(bob["owner_id"]), limit=9, after=None, before=None, now=NOW)
    assert [item.name for item in found.items] == ["Ann"]
    assert trace.owners_books(db) == []


def test_neither_the_list_of_users_nor_a_search_reads_or_sorts_a_table(traced):
    trace, db, play = traced
    for wanted in (
        *(user_list.Wanted(sort=sort) for sort in user_list.SORTS),
        user_list.Wanted(only=("verified", "book", "device"), since=1),
        user_list.Wanted(text="bob"),
        user_list.Wanted(text="bo ann", sort="name"),
    ):
        for after in (0, 1):
            user_list.page(db, play.app, wanted, after)
    list(user_list.csv_rows(db, play.app, user_list.Wanted(), Actor("op@example.com", "", NOW)))
    user_record.connected(db, play.app, 1)
    scans = trace.scans(db)
    assert set(scans) - SMALL - BOUNDED == set(), scans
    assert trace.sorts(db, "u.app_id") == []


def test_sending_pushes_reads_no_table(traced):
    trace, db, play = traced
    due = delivery.claim(db, NOW, 9)
    assert len(due) == 1
    delivery.claim(db, NOW, 9)
    play.person("cleo", CLEO)
    while announcing.expand(db, NOW, 9):
        pass
    scans = trace.scans(db)
    assert set(scans) - SMALL - BOUNDED == set(), scans
