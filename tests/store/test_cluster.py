"""What `ringbook distribute` refuses anywhere, and what it does on a cluster, where TEST_CITUS_URL names one."""

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from clusters import URL, Cluster
from servers import KEY, SEAL, Databases, application, installed_postgresql, migrate
from store.older import next_version

from ringbook import errors
from ringbook.core import charging
from ringbook.store import cluster, migrations, placement, sessions
from ringbook.store.cluster import _order, _steps
from ringbook.store.db import Database, at_coordinator, connect

needs_cluster = pytest.mark.skipif(not URL, reason="TEST_CITUS_URL names no cluster")
EMPTY_SCHEMA = "the database has no schema yet and this Ringbook needs"


def steps(**places: cluster._Place) -> dict[str, cluster.Step]:
    return {step.table: step for step in _steps(places, {"users": 8_000_000, "contacts": 50_000_000}, 2, 32)}


# ── without a cluster ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_table_goes_to_the_place_that_is_declared():
    done = steps()
    assert done.keys() == placement.TABLES.keys()
    assert done["users"].statements == (
        "SELECT create_reference_table('users')",
        "SELECT truncate_local_data_after_distributing_table('users')",
    )
    assert (
        done["books"].statements[0] == "SELECT create_distributed_table('books', 'owner_id', colocate_with => 'none')"
    )
    contacts = "SELECT create_distributed_table('contacts', 'owner_id', colocate_with => 'books')"
    assert done["contacts"].statements[0] == contacts
    assert done["codes"].statements == ("SELECT citus_add_local_table_to_metadata('codes')",)


def test_tables_to_which_foreign_keys_lead_come_first_and_books_before_what_lies_with_them():
    names = [name for name, _ in sorted(placement.TABLES.items(), key=_order)]
    kinds = [placement.TABLES[name].is_reference for name in names]
    assert kinds == sorted(kinds, reverse=True)
    assert names.index("applications") < names.index("users") < names.index("numbers")
    together = [name for name in names if placement.TABLES[name].is_with_books]
    assert together[0] == "books"


def test_what_lies_in_its_place_is_left_alone():
    done = steps(
        users=cluster._Place("n", "t", False, ""),
        contacts=cluster._Place("h", "s", False, "owner_id"),
        codes=cluster._Place("n", "s", False, ""),
        joined=cluster._Place("n", "s", True, ""),
        books=cluster._Place("n", "s", True, ""),
    )
    assert not done.keys() & {"users", "contacts", "codes"}
    assert {"joined", "books"} <= done.keys()  # Citus made them local by itself, for their foreign keys


def test_a_table_that_somebody_put_elsewhere_is_refused():
    with pytest.raises(errors.Unavailable, match="contacts lies by number and Ringbook needs it by owner_id"):
        steps(contacts=cluster._Place("h", "s", False, "number"))


def test_the_time_grows_with_the_bytes_and_with_the_copies():
    assert steps()["users"].seconds == 1
    assert steps()["contacts"].seconds == 1
    assert steps()["books"].seconds == 0


def test_a_server_without_citus_is_refused(databases: Databases):
    with databases.fresh("plain") as url, pytest.raises(errors.Unavailable, match="no extension citus"):
        cluster.distribute(url)


def test_without_a_cluster_there_is_no_trouble_with_one(db: Database):
    if not db.nodes():
        assert cluster.trouble(db) == ""


def test_an_address_with_several_hosts_that_are_no_cluster_stays_as_it_is(databases: Databases):
    with databases.fresh("plain") as url:
        assert at_coordinator(url) == url
        several = url.replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:")
        assert at_coordinator(several) == several


# ── on a cluster ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def nodes() -> Cluster:
    return Cluster()


@pytest.fixture
def empty(nodes: Cluster) -> Iterator[str]:
    """A database of the cluster without a schema, with every node as an entry."""
    with nodes.database() as url:
        yield url


def name_in(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


def counted(url: str, table: str) -> int:
    with closing(connect(url, pool=1, seal=SEAL)) as db, db.read() as tx:
        return int(tx.tuples(f"SELECT count(*) FROM {table}")[0][0])


@needs_cluster
def test_an_older_schema_is_refused(empty: str):
    with pytest.raises(errors.Unavailable, match=EMPTY_SCHEMA):
        cluster.plan(empty)


@needs_cluster
def test_distributing_twice_does_nothing_more_and_every_node_is_an_entry(nodes: Cluster, empty: str):
    migrations.migrate(empty)
    assert len(cluster.plan(empty, 4).steps) == len(placement.TABLES)
    done = cluster.distribute(empty, 4)
    assert (len(done.steps), done.shards, done.nodes) == (len(placement.TABLES), 4, len(nodes.nodes) - 1)
    again = cluster.distribute(empty)
    assert (again.steps, again.shards) == ((), 4)
    for place in range(len(nodes.nodes)):
        with closing(connect(nodes.at(place, name_in(empty)), pool=1, seal=SEAL)) as db:
            assert migrations.state(db).current
            assert cluster.trouble(db) == ""
            assert db.nodes().names == tuple(f"{host}:{port}" for host, port in sorted(nodes.nodes))


@needs_cluster
def test_a_change_of_the_number_of_shards_is_refused(empty: str):
    migrations.migrate(empty)
    cluster.distribute(empty, 4)
    with pytest.raises(errors.Unavailable, match="in 4 shards already"):
        cluster.distribute(empty, 8)


@needs_cluster
def test_rows_move_and_none_stays_behind_on_the_coordinator(nodes: Cluster, empty: str):
    at_one = at_coordinator(empty)
    migrate_only(at_one)
    made = application(at_one)
    cluster.distribute(empty, 4)
    assert counted(empty, "applications") == 1
    with psycopg.connect(nodes.at(1, name_in(empty))) as connection:
        found = connection.execute("SELECT id FROM applications").fetchall()
    assert found == [(made.application_id,)]
    with psycopg.connect(nodes.at(0, name_in(empty))) as connection:
        connection.execute("SET citus.override_table_visibility = off")
        for name, table in placement.TABLES.items():
            if table.is_distributed or table.is_reference:
                assert connection.execute(f"SELECT pg_relation_size('{name}')").fetchall() == [(0,)], name


def migrate_only(url: str) -> None:
    """The schema and the key, not distributed."""
    from ringbook.server import opening

    migrations.migrate(url)
    with closing(connect(url, pool=1)) as db:
        opening.unlock(db, KEY)


@needs_cluster
def test_rows_do_not_move_while_somebody_else_is_connected(empty: str):
    at_one = at_coordinator(empty)
    migrate_only(at_one)
    application(at_one)
    with psycopg.connect(at_one):
        assert "1 other sessions use the database" in cluster.plan(empty).trouble
        with pytest.raises(errors.Unavailable, match="1 other sessions use the database"):
            cluster.distribute(empty, 4)
    cluster.distribute(empty, 4)


@needs_cluster
def test_a_coordinator_without_nodes_is_refused(nodes: Cluster, empty: str):
    migrations.migrate(empty)
    for host, port in nodes.nodes[1:]:
        nodes.run(0, f"SELECT citus_remove_node('{host}', {port})", name_in(empty))
    with pytest.raises(errors.Unavailable, match="no node for rows"):
        cluster.distribute(nodes.at(0, name_in(empty)))


@needs_cluster
def test_an_address_without_the_coordinator_says_where_it_is(nodes: Cluster, empty: str):
    host, port = nodes.nodes[0]
    with pytest.raises(errors.Unavailable) as refused:
        migrations.migrate(nodes.at(1, name_in(empty)))
    assert f"use {host}:{port}" in refused.value.explained()


@needs_cluster
def test_two_at_once_wait_for_each_other(empty: str):
    migrations.migrate(empty)
    done: list[int] = []
    both = [threading.Thread(target=lambda: done.append(len(cluster.distribute(empty, 4).steps))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(done) == [0, len(placement.TABLES)]


@needs_cluster
def test_a_table_of_a_later_migration_follows_while_others_are_connected(nodes: Cluster, databases: Databases):
    with nodes.database() as url:
        migrate(url)
        for table in ("removed", "daily"):
            nodes.run(0, f"SELECT undistribute_table('{table}')", name_in(url))
        with closing(connect(url, pool=1, seal=SEAL)) as db:
            assert "not distributed yet (removed, daily)" in cluster.trouble(db)
            assert [step.table for step in cluster.distribute(url).steps] == ["removed", "daily"]
            assert cluster.trouble(db) == ""


@needs_cluster
def test_a_migration_of_a_distributed_schema_reaches_every_node(nodes: Cluster, monkeypatch, tmp_path):
    with nodes.database() as url:
        migrate(url)
        made, before = application(url), migrations.HEAD
        next_version(monkeypatch, tmp_path)
        assert migrations.migrate(url) == before
        for place in range(len(nodes.nodes)):
            with closing(connect(nodes.at(place, name_in(url)), pool=1, seal=SEAL)) as db, db.read() as tx:
                assert tx.tuples("SELECT of_next_version FROM users") == []
                assert tx.tuples("SELECT id FROM applications") == [(made.application_id,)]
                assert tx.tuples("SELECT revision FROM schema_state") == [(migrations.HEAD,)]
        assert cluster.distribute(url).steps == ()


@needs_cluster
def test_a_node_with_another_mode_is_named_and_distributing_sets_it(nodes: Cluster):
    with nodes.database() as url:
        migrate(url)
        host, port = nodes.nodes[1]
        with psycopg.connect(nodes.at(1, name_in(url)), autocommit=True) as node:
            node.execute("SET citus.enable_ddl_propagation = off")
            node.execute(f"ALTER DATABASE {name_in(url)} RESET citus.multi_shard_modify_mode")
        with closing(connect(nodes.at(0, name_in(url)), pool=1, seal=SEAL)) as db:
            assert f"is not sequential at {host}:{port}" in cluster.trouble(db)
        cluster.distribute(url)
        with closing(connect(nodes.at(0, name_in(url)), pool=1, seal=SEAL)) as db:
            assert cluster.trouble(db) == ""


def client_of(url: str) -> Path:
    """`pg_dump` of the server's own version, which knows what its build has added to the catalogue."""
    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10_000
    found = (one / "pg_dump" for one in installed_postgresql() if (one / "pg_dump").exists())
    return next(one for one in found if f" {version}." in subprocess.check_output([one, "--version"], text=True))


def dumped(url: str, file: Path) -> None:
    """A dump of a cluster, as the documentation shows it."""
    leave_out = ("--exclude-extension=*", "--exclude-schema=citus*", "--exclude-schema=columnar*")
    at_one = at_coordinator(url)
    subprocess.run([client_of(at_one), "--format=custom", *leave_out, f"--file={file}", at_one], check=True)


def restored(file: Path, url: str) -> None:
    words = ["--no-owner", "--exit-on-error", f"--dbname={url}", str(file)]
    subprocess.run([client_of(url).with_name("pg_restore"), *words], check=True)


@needs_cluster
def test_the_way_back_is_a_dump_of_the_coordinator(nodes: Cluster, databases: Databases, tmp_path):
    """`ringbook distribute --undo` says so."""
    with nodes.database() as url, databases.postgresql.database() as plain:
        migrate(url)
        made = application(url)
        dumped(url, tmp_path / "dump")
        restored(tmp_path / "dump", plain)
        with closing(connect(plain, pool=1, seal=SEAL)) as db:
            assert migrations.state(db).current
            assert not db.nodes()
            with db.read() as tx:
                assert tx.tuples("SELECT id FROM applications") == [(made.application_id,)]
                ends = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"
                assert tx.tuples(ends)[0][0] > 10


@needs_cluster
def test_a_dump_of_a_cluster_is_restored_into_an_empty_one(nodes: Cluster, tmp_path):
    with nodes.database() as url, nodes.database() as other:
        migrate(url)
        made = application(url)
        dumped(url, tmp_path / "dump")
        restored(tmp_path / "dump", at_coordinator(other))
        cluster.distribute(other, 4)
        with closing(connect(other, pool=1, seal=SEAL)) as db:
            assert migrations.state(db).current
            assert cluster.trouble(db) == ""
        assert counted(other, "applications") == 1
        assert application(other).application_id > made.application_id


# ── servers at several nodes are as one ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def entries(nodes: Cluster, databases: Databases) -> Iterator[list[Database]]:
    """One database, entered at each node by a process of its own."""
    with databases.fresh("citus") as url:
        opened = [connect(nodes.at(place, name_in(url)), pool=4, seal=SEAL) for place in range(len(nodes.nodes))]
        yield opened
        for db in opened:
            db.close()


@needs_cluster
def test_no_two_of_them_draw_the_same_id(entries: list[Database]):
    def draw(db: Database) -> list[int]:
        drawn = []
        for _ in range(150):  # more than a block
            with db.write() as tx:
                drawn.append(tx.next_id("user_ids"))
        return drawn

    with ThreadPoolExecutor(len(entries)) as threads:
        ids = [one for drawn in threads.map(draw, entries) for one in drawn]
    assert len(set(ids)) == len(ids) == 150 * len(entries)


@needs_cluster
def test_a_lock_at_one_node_holds_at_the_others_until_all_have_committed(entries: list[Database]):
    def add(db: Database) -> None:
        for _ in range(15):
            with db.write() as tx:
                tx.lock("counter")
                (value,) = tx.tuples("SELECT count(*) FROM nonces")[0]
                tx.run("INSERT INTO nonces (app_id, signature, expires_at) VALUES (1, :n, 0)", n=str(value))

    with ThreadPoolExecutor(len(entries)) as threads:
        list(threads.map(add, entries))
    with entries[0].read() as tx:
        assert tx.tuples("SELECT count(*) FROM nonces") == [(15 * len(entries),)]


@needs_cluster
def test_a_signature_is_used_once_at_whichever_node(entries: list[Database]):
    def use(db: Database) -> bool:
        with db.write() as tx:
            return sessions.remember_signature(tx, 1, "the same", 2_000_000_000)

    with ThreadPoolExecutor(len(entries)) as threads:
        assert sorted(threads.map(use, entries * 4)) == [False] * (4 * len(entries) - 1) + [True]


@needs_cluster
def test_a_limit_is_spent_once_at_whichever_node(entries: list[Database]):
    bucket = charging.Bucket("one for all", 10, 0.001, "too many", "max_books")

    def spend(db: Database) -> int:
        spent = 0
        for _ in range(8):
            with suppress(errors.TooMany), db.write() as tx:
                charging.charge(tx, bucket, 1, 1_800_000_000)
                spent += 1
        return spent

    with ThreadPoolExecutor(len(entries)) as threads:
        assert sum(threads.map(spend, entries)) == 10
