"""Every table and column is declared, and every key would serve on a cluster."""

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from servers import SEAL, Databases

import ringbook
from ringbook.store import placement
from ringbook.store.db import Database, connect

SOURCE = Path(ringbook.__file__).parent
COLUMNS = {
    True: "SELECT m.name, c.name FROM sqlite_schema AS m CROSS JOIN pragma_table_info(m.name) AS c"
    " WHERE m.type = 'table'",
    False: "SELECT c.table_name::text, c.column_name::text FROM information_schema.columns AS c"
    " JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
    " WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'",
}
KEYS = (
    "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, i.indisprimary,"
    " (SELECT array_agg(a.attname::text) FROM pg_attribute AS a"
    " WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey))"
    " FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid"
    " WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace"
)
FOREIGN_KEYS = (
    "SELECT conname::text, conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
    " WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
)


@pytest.fixture
def postgres(databases: Databases) -> Iterator[Database]:
    with databases.fresh("plain") as url, closing(connect(url, seal=SEAL)) as db:
        yield db


def test_every_table_and_column_is_declared(db):
    """When this fails, add your table or column to store/placement.py."""
    with db.read() as tx:
        stored = set(tx.tuples(COLUMNS[db.file is not None]))
    tables = placement.of(sqlite=db.file is not None)
    assert stored == {(name, column) for name, table in tables.items() for column in table.columns}


def test_a_distributed_table_has_the_column_that_it_is_distributed_by():
    for name, table in placement.TABLES.items():
        assert not table.is_distributed or table.by in table.columns, name


def test_every_unique_key_of_a_distributed_table_has_the_column_that_it_is_distributed_by(postgres):
    with postgres.read() as tx:
        keys = tx.tuples(KEYS)
    assert {table for _, table, primary, _ in keys if primary} >= {
        name for name, table in placement.TABLES.items() if table.is_distributed
    }
    for key, name, _, columns in keys:
        table = placement.TABLES[name]
        assert not table.is_distributed or table.by in columns, key


def test_foreign_keys_lead_to_reference_tables_only(postgres):
    with postgres.read() as tx:
        found = tx.tuples(FOREIGN_KEYS)
    assert found
    for key, name, target in found:
        # From a reference or a local table to one of the coordinator's own kind, a cluster accepts it, too.
        assert placement.TABLES[target].is_reference, (key, name)


def test_no_default_draws_from_a_sequence(postgres):
    with postgres.read() as tx:
        assert tx.tuples("SELECT count(*) FROM pg_sequences WHERE schemaname = 'public'") == [(0,)]


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────────────


def texts() -> Iterator[tuple[str, str]]:
    """The file and the text of each constant statement of `store/`; what is put in by name stands as {}."""
    for file in sorted((SOURCE / "store").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                yield file.name, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield file.name, node.value


USUAL = {"u": "users", "n": "numbers"}  # what these aliases mean in a part of a statement


def correlated(sql: str) -> set[str]:
    """Aliases of reference tables that a subquery on a distributed table refers to from inside."""
    outer = USUAL | {alias: table for table, alias in re.findall(r"\b(?:FROM|JOIN) (\w+) AS (\w+)", sql)}
    found = set()
    for inner in subqueries(sql):
        own = {alias: table for table, alias in re.findall(r"\b(?:FROM|JOIN) (\w+) AS (\w+)", inner)}
        if not any(is_distributed(table) for table in re.findall(r"\b(?:FROM|JOIN) (\w+)", inner)):
            continue
        for alias in set(re.findall(r"\b(\w+)\.\w+", inner)) - own.keys():
            if alias in outer and placement.TABLES.get(outer[alias], placement.Table("local", {})).is_reference:
                found.add(alias)
    return found


def is_distributed(name: str) -> bool:
    return name in placement.TABLES and placement.TABLES[name].is_distributed


def subqueries(sql: str) -> Iterator[str]:
    """The text of each SELECT in parentheses."""
    for found in re.finditer(r"\(\s*SELECT\b", sql):
        depth = 0
        for place in range(found.start(), len(sql)):
            depth += {"(": 1, ")": -1}.get(sql[place], 0)
            if not depth:
                yield sql[found.start() + 1 : place]
                break


def mixed(sql: str) -> bool:
    """Does one query join a distributed table with one of the coordinator, or look one up for each row of the other?

    The parts of a UNION are queries of their own.
    """
    for part in re.split(r"\bUNION ALL\b", sql):
        tables = re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE) (\w+)", part)
        named = {placement.TABLES[name].by for name in tables if name in placement.TABLES}
        if "local" in named and named - {"local", ""}:
            return True
    return False


def test_a_join_of_a_distributed_table_with_one_of_the_coordinator_is_noticed():
    assert mixed("DELETE FROM events WHERE id NOT IN (SELECT p.event_id FROM pushes AS p)")
    assert not mixed("SELECT users FROM app_totals UNION ALL SELECT p.users FROM total_changes AS p")
    assert not mixed("SELECT j.id FROM joined AS j JOIN users AS u ON u.id = j.user_id")


def test_no_statement_joins_a_distributed_table_with_one_of_the_coordinator():
    """A cluster refuses it."""
    assert {(file, sql) for file, sql in texts() if mixed(sql)} == set()


def test_no_query_is_recursive():
    """A cluster refuses it on a distributed table."""
    assert {(file, sql) for file, sql in texts() if "RECURSIVE" in sql} == set()


# Nobody counts the rows of these.
UNCOUNTED = {"INSERT INTO tags", "INSERT INTO pushes", "INSERT INTO words"}


def test_rows_of_an_insert_from_a_list_are_counted_by_what_comes_back():
    """A cluster also counts the rows that conflict with others and are not inserted."""
    statements = {
        (file, sql)
        for file, sql in texts()
        if sql.startswith("INSERT") and "SELECT" in sql and "DO NOTHING" in sql and "RETURNING" not in sql
    }
    assert {" ".join(sql.split()[:3]) for _, sql in statements} <= UNCOUNTED


def test_a_conflict_is_decided_by_the_column_by_which_a_table_is_distributed():
    for file, sql in texts():
        for table, conflict in re.findall(r"INSERT INTO (\w+) .*?ON CONFLICT \(([^)]*)\)", sql, re.DOTALL):
            if is_distributed(table):
                assert placement.TABLES[table].by in conflict.replace(" ", "").split(","), (file, sql)


def test_no_statement_changes_the_column_by_which_a_table_is_distributed():
    """A cluster refuses it: the row would have to move."""
    for file, sql in texts():
        for table, changes in re.findall(r"UPDATE (\w+)(?: AS \w+)? SET (.*?)(?: WHERE | FROM |$)", sql, re.DOTALL):
            if is_distributed(table):
                assert not re.search(rf"(^|, ){placement.TABLES[table].by} =", changes), (file, sql)


def test_only_migrations_and_the_limit_of_searches_use_advisory_locks():
    """They hold at one node only."""
    files = [file for file in SOURCE.rglob("*.py") if "advisory_xact_lock" in file.read_text("utf-8")]
    assert {f"{file.relative_to(SOURCE)}" for file in files} == {"store/db/postgres.py", "store/migrations/__init__.py"}


def test_a_correlated_subquery_of_a_reference_table_is_noticed():
    bad = "SELECT u.id FROM users AS u WHERE EXISTS (SELECT 1 FROM books AS b WHERE b.owner_id = u.id)"
    assert correlated(bad) == {"u"}
    assert correlated("u.name, (SELECT s.last_request_at FROM seen AS s WHERE s.user_id = u.id)") == {"u"}
    assert not correlated(
        "SELECT b.book FROM books AS b WHERE EXISTS (SELECT 1 FROM numbers AS n WHERE n.user_id = b.owner_id)"
    )
    assert not correlated("SELECT u.id FROM users AS u WHERE u.id IN (SELECT s.user_id FROM sessions AS s)")


def test_no_subquery_on_a_distributed_table_refers_to_a_reference_table_outside():
    """A cluster refuses correlated subqueries whose outer table is a reference table."""
    assert {(file, sql) for file, sql in texts() if correlated(sql)} == set()


def locks_tables(sql: str) -> str:
    """The distributed table that a cluster locks as a whole for this statement; "" for none.

    It does so for a change of rows that may lie on several nodes.
    """
    found = re.match(r"(?:UPDATE|DELETE FROM) (\w+)", sql)
    if not found or not is_distributed(found[1]):
        return ""
    return "" if re.search(rf"\b{placement.TABLES[found[1]].by} = :", sql) else found[1]


LOCKING = {
    # the worker and its jobs
    ("app_totals.py", "total_changes"),
    ("buckets.py", "buckets"),
    ("buckets.py", "removed"),
    ("joined.py", "joined_lists"),
    ("pushes.py", "pushes"),
    ("sessions.py", "nonces"),
    # commands, and what an admin does
    ("applications.py", "sessions"),
    ("imports.py", "seen"),
    ("reports.py", "books"),
    ("resealing.py", "total_changes"),
    ("row_macs.py", "sessions"),
    ("words.py", "words"),
    # a user is erased whom others were told about
    ("joined_lists.py", "announced"),
    # a restore
    ("discovered.py", "discovered"),
    ("joined_lists.py", "joined_lists"),
    # several sessions end, or one by its id; a sign-in beyond the limit of sessions
    ("sessions.py", "sessions"),
}


def test_few_statements_lock_a_whole_table_on_a_cluster():
    """None of these is on the path of a sign-in, an upload or a list. Add none that is."""
    assert {(file, locks_tables(sql)) for file, sql in texts() if locks_tables(sql)} == LOCKING
