"""A Citus cluster for the tests, when TEST_CITUS_URL names its coordinator.

    CITUS       ("citus",) with a cluster, else (): a kind of database beside "sqlite" and "postgresql"
    ONLY        is every test of a database to run on the cluster, in place of PostgreSQL and SQLite?
    Cluster     its nodes; `database()` is a new, empty database on all of them, `distributed()` one with the schema
    Pooled      a distributed database of a pool: emptied between tests

TEST_CITUS_URL=postgresql://USER@HOST:PORT/postgres is a database of the coordinator that has the extension and knows
the nodes. USER may create databases and connect to each node without a password. With TEST_CITUS_ONLY=1 as well, tests
for PostgreSQL run on the cluster, and tests for every database run there alone.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import psycopg

URL = os.environ.get("TEST_CITUS_URL", "")
CITUS = ("citus",) if URL else ()
ONLY = bool(URL and os.environ.get("TEST_CITUS_ONLY"))
SHARDS = 4  # few, because each of them takes time to empty


class Cluster:
    """The cluster that a URL of its coordinator names."""

    def __init__(self, url: str = URL) -> None:
        self.url = url

    @cached_property
    def nodes(self) -> list[tuple[str, int]]:
        """Host and port of each node, the coordinator first."""
        with psycopg.connect(self.url) as connection:
            return connection.execute("SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid").fetchall()

    @contextmanager
    def database(self, encoding: str = "UTF8") -> Iterator[str]:
        """A new database on every node, whose coordinator knows the nodes: its URL with all nodes as entries."""
        name = f"ringbook_test_{uuid.uuid4().hex}"
        try:
            for place in range(len(self.nodes)):
                self.run(place, f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
                self.run(place, "CREATE EXTENSION citus", name)
            (host, port), *others = self.nodes
            self.run(0, f"SELECT citus_set_coordinator_host('{host}', {port})", name)
            for host, port in others:
                self.run(0, f"SELECT citus_add_node('{host}', {port})", name)
            yield self.everywhere(name)
        finally:
            for place in reversed(range(len(self.nodes))):
                self.run(place, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def at(self, place: int, name: str) -> str:
        """The URL of a database at one node."""
        host, port = self.nodes[place]
        return f"postgresql://{self._user}{host}:{port}/{name}"

    def everywhere(self, name: str) -> str:
        """The URL of a database with every node as an entry."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.nodes)
        return f"postgresql://{self._user}{hosts}/{name}?load_balance_hosts=random"

    def run(self, place: int, statement: str, name: str = "postgres") -> None:
        """Run one statement at one node."""
        with psycopg.connect(self.at(place, name), autocommit=True) as connection:
            connection.execute(statement)

    @property
    def _user(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[0] + "@"


class Pooled:
    """One distributed database of a pool. `dropped` drops it when it is closed."""

    OTHERS = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        " AND application_name NOT LIKE '%%gpid=' || %s"
    )
    SHAPE = (
        "SELECT c.relname, (SELECT string_agg(attname || atttypid || attnotnull, ' ' ORDER BY attnum)"
        " FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0), c.relacl::text, c.relowner::text,"
        " (SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid)"
        " FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind <> 'S' AND"
        " NOT relation_is_a_known_shard(c.oid) UNION ALL SELECT setconfig::text, '', '', '', '' FROM pg_db_role_setting"
        " JOIN pg_database AS d ON d.oid = setdatabase AND d.datname = current_database() ORDER BY 1, 2"
    )

    def __init__(self, cluster: Cluster, url: str, dropped: ExitStack) -> None:
        self.url = url
        self.dropped = dropped
        self.uses = 0
        name = urlsplit(url).path.lstrip("/")
        places = range(len(cluster.nodes))
        self._nodes = [
            dropped.enter_context(psycopg.connect(cluster.at(place, name), autocommit=True)) for place in places
        ]
        self._coordinator = self._nodes[0]
        self._gpid = str(self._rows("SELECT citus_backend_gpid()")[0][0])
        self._shape = self._rows(self.SHAPE)
        self._tables = self._ordered()
        whole = {table: self._rows(f"SELECT * FROM {table}") for table in self._tables}
        self._seeds = {table: rows for table, rows in whole.items() if rows}

    def emptied(self, most_rows: int) -> bool:
        """Restore the database to its new state; False if that is not possible."""
        try:
            self._end_others()
            if self._rows(self.SHAPE) != self._shape:
                return False
            return self._delete() <= most_rows
        except psycopg.Error:
            return False

    def _end_others(self) -> None:
        for _ in range(1_000):
            if not any(node.execute(self.OTHERS, [self._gpid]).fetchall() for node in self._nodes):
                return
            time.sleep(0.002)

    def _delete(self) -> int:
        counts = {table: self._rows(f"SELECT count(*) FROM {table}")[0][0] for table in self._tables}
        with self._coordinator.transaction():
            for table in [table for table in self._tables if counts[table]]:
                self._coordinator.execute(f"DELETE FROM {table}")
            for table, rows in self._seeds.items():
                marks = ", ".join(["%s"] * len(rows[0]))
                self._coordinator.cursor().executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        return sum(counts.values())

    def _ordered(self) -> list[str]:
        """The tables, those with foreign keys before those to which they lead."""
        from ringbook.store import placement

        reference = [name for name, table in placement.TABLES.items() if table.is_reference]
        return [name for name in placement.TABLES if name not in reference] + reference[::-1]

    def _rows(self, sql: str) -> list[Any]:
        return self._coordinator.execute(sql).fetchall()
