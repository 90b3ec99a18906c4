"""A Citus cluster: spreads the tables over its nodes as `placement` declares, and checks that they lie so.

    plan(url, shards)                  what has to be done, without doing it
    distribute(url, shards, …)         do it, in one transaction under the lock of the migrations
    trouble(db)                        what keeps a cluster from serving at every node

Both commands can be repeated: tables that lie in their place already are left alone. So they follow each migration.
Sources: Citus, its functions create_reference_table, create_distributed_table, citus_add_local_table_to_metadata and
truncate_local_data_after_distributing_table, its setting citus.multi_shard_modify_mode.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import errors
from . import migrations, placement
from .db import Database
from .placement import Table

SHARDS, MOST_SHARDS = 32, 1_024
FIRST = "books"  # the other tables of a user are kept together with it
MODE = "citus.multi_shard_modify_mode"
# One connection to each node: a statement on all shards and a reference table may meet in one transaction.
SEQUENTIAL = "sequential"
LOCK_TIMEOUT = "10s"
# Bytes a second of a reference table, which goes to every node, and of a distributed one. Measured with two nodes.
REFERENCE_SPEED, DISTRIBUTED_SPEED = 8_000_000, 50_000_000

IS_CITUS = "SELECT to_regclass('pg_dist_node') IS NOT NULL"
NODES = (
    "SELECT count(*) FILTER (WHERE groupid = 0), count(*) FILTER (WHERE shouldhaveshards),"
    " count(*) FILTER (WHERE groupid <> 0 AND NOT (hasmetadata AND metadatasynced))"
    " FROM pg_dist_node WHERE isactive AND noderole = 'primary'"
)
# By table: h = distributed, n with t = reference, n with s = local; the column; was it made local by Citus itself?
PLACES = (
    "SELECT c.relname::text, p.partmethod::text, p.repmodel::text, p.autoconverted,"
    " CASE WHEN p.partmethod = 'h' THEN column_to_column_name(p.logicalrelid, p.partkey) ELSE '' END"
    " FROM pg_dist_partition AS p JOIN pg_class AS c ON c.oid = p.logicalrelid"
    " WHERE c.relnamespace = 'public'::regnamespace"
)
SHARDS_OF_BOOKS = "SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = to_regclass('books')"
SIZES = (
    "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend' AND application_name !~ '^citus_'"
    # Whoever waits for this command, or for a migration, does nothing meanwhile.
    f" AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {migrations.LOCK})"
)
MODES = (
    f"SELECT n.nodename || ':' || n.nodeport FROM run_command_on_all_nodes('SHOW {MODE}') AS r"
    f" JOIN pg_dist_node AS n ON n.nodeid = r.nodeid WHERE r.success AND r.result <> '{SEQUENTIAL}' ORDER BY 1"
)

NO_CITUS = (
    "the database has no extension citus: install Citus on every node, then CREATE EXTENSION citus in this database of"
    " each (Grow, in the guide that a server shows at /guide)"
)
NOT_SET = "the coordinator does not know its own address: SELECT citus_set_coordinator_host('HOST', PORT)"
NO_NODE = "the cluster has no node for rows: SELECT citus_add_node('HOST', PORT) on the coordinator, for each node"
OLD = "the database's schema is not the one of this Ringbook: {trouble}"
IN_USE = (
    "{count} other sessions use the database, and what they write meanwhile would be lost: stop every `ringbook serve`"
    " and `ringbook worker`, and close psql"
)
ELSEWHERE = (
    "the table {table} lies {found} and Ringbook needs it {wanted}: undo that (SELECT"
    " undistribute_table('{table}', cascade_via_foreign_keys => true)), then run this again"
)
OTHER_SHARDS = "the tables lie in {found} shards already: --shards counts only when they are distributed first"
DOING = "distribute"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One table that does not lie in its place yet.

    place     where it will lie, in words
    size      bytes that have to be moved
    seconds   how long that takes, about
    """

    table: str
    place: str
    size: int
    seconds: float
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done.

    nodes    how many nodes have rows
    others   how many other sessions use the database
    moving   have any of the tables rows, or are they distributed for the first time?
    """

    steps: tuple[Step, ...]
    nodes: int
    shards: int
    others: int
    moving: bool

    @property
    def size(self) -> int:
        """Bytes that have to be moved."""
        return sum(step.size for step in self.steps)

    @property
    def seconds(self) -> float:
        """How long that takes, about."""
        return sum(step.seconds for step in self.steps)

    @property
    def trouble(self) -> str:
        """Why nothing may be moved now; "" when it may be."""
        return IN_USE.format(count=self.others) if self.others and self.moving else ""


def plan(url: str, shards: int = 0) -> Plan:
    """What `distribute` would do now; Unavailable where it could do nothing."""
    with migrations.connection(url, DOING) as connected:
        return _plan(connected, shards)


def distribute(url: str, shards: int = 0, progress: Progress = lambda done, total: None) -> Plan:
    """Spread the tables over the nodes, and return what was done. All of it is done, or nothing.

    shards     into how many parts the distributed tables are cut; 0 = as they are, or SHARDS
    progress   is told how many bytes of how many are moved
    """
    with migrations.connection(url, DOING) as connected:
        found = _plan(connected, shards)
        if found.trouble:
            raise _refusal(found.trouble)
        _settings(connected, found.shards)
        done = 0
        for step in found.steps:
            for statement in step.statements:
                connected.exec_driver_sql(statement)
            done += step.size
            progress(done, found.size)
    return found


def trouble(db: Database) -> str:
    """What keeps a cluster from serving at every node, and what to do; "" when nothing does, or there is no cluster."""
    if not db.nodes():
        return ""
    with db.read() as tx:
        places = {row[0]: _Place(*row[1:]) for row in tx.tuples(PLACES)}
        elsewhere = tx.tuples(MODES)
    if lacking := [name for name, table in placement.TABLES.items() if not _lies(table, places.get(name))]:
        return f"these tables are not distributed yet ({', '.join(lacking)}): run `ringbook distribute`"
    if elsewhere:
        names = ", ".join(name for (name,) in elsewhere)
        return f"{MODE} is not {SEQUENTIAL} at {names}: run `ringbook distribute`"
    return ""


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a table lies: as Citus says it in pg_dist_partition."""

    method: str
    model: str
    autoconverted: bool
    column: str

    @property
    def text(self) -> str:
        if self.method == "h":
            return f"by {self.column}"
        return "on every node" if self.model == "t" else "on the coordinator"


def _lies(table: Table, place: _Place | None) -> bool:
    """Does a table lie where it belongs?"""
    if place is None or (place.autoconverted and not table.is_distributed and not table.is_reference):
        return False
    return place.text == _wanted(table)


def _wanted(table: Table) -> str:
    if table.is_distributed:
        return f"by {table.by}"
    return "on every node" if table.is_reference else "on the coordinator"


def _plan(connected: Any, shards: int) -> Plan:
    nodes = _checked(connected)
    found = _rows(connected, PLACES)
    places = {row[0]: _Place(*row[1:]) for row in found}
    existing = _rows(connected, SHARDS_OF_BOOKS)[0][0] if FIRST in places and places[FIRST].method == "h" else 0
    if shards and existing and shards != existing:
        raise _refusal(OTHER_SHARDS.format(found=existing))
    sizes = dict(_rows(connected, SIZES))
    steps = tuple(_steps(places, sizes, nodes, existing or shards or SHARDS))
    # A process looks once whether the tables are distributed, so none may run when they become so.
    moving = any(step.table == FIRST or _has_rows(connected, step.table) for step in steps if step.size)
    return Plan(steps, nodes, existing or shards or SHARDS, _rows(connected, OTHERS)[0][0], moving)


def _has_rows(connected: Any, table: str) -> bool:
    return bool(_rows(connected, f"SELECT EXISTS (SELECT 1 FROM {table})")[0][0])


def _checked(connected: Any) -> int:
    """The number of nodes that have rows; Unavailable where nothing can be distributed."""
    if not _rows(connected, IS_CITUS)[0][0]:
        raise _refusal(NO_CITUS)
    coordinators, nodes, _ = _rows(connected, NODES)[0]
    if not coordinators:
        raise _refusal(NOT_SET)
    if not nodes:
        raise _refusal(NO_NODE)
    revision = migrations.revision(connected)
    if revision != migrations.HEAD:
        raise _refusal(OLD.format(trouble=migrations.State(revision, revision).trouble))
    return int(nodes)


def _steps(places: dict[str, _Place], sizes: dict[str, int], nodes: int, shards: int) -> Iterator[Step]:
    """The tables that do not lie in their place: those to which foreign keys lead first, local ones last."""
    order = sorted(placement.TABLES.items(), key=_order)
    for name, table in order:
        place = places.get(name)
        if _lies(table, place):
            continue
        if place and place.text != "on the coordinator":
            raise _refusal(ELSEWHERE.format(table=name, found=place.text, wanted=_wanted(table)))
        yield _step(name, table, sizes.get(name, 0), nodes, shards)


def _order(item: tuple[str, Table]) -> tuple[bool, bool, bool]:
    name, table = item
    return not table.is_reference, not table.is_distributed, name != FIRST


def _step(name: str, table: Table, size: int, nodes: int, shards: int) -> Step:
    cleared = f"SELECT truncate_local_data_after_distributing_table('{name}')"  # else the rows stay here, unseen
    if table.is_reference:
        made = f"SELECT create_reference_table('{name}')"
        return Step(name, "a copy on every node", size, size * (nodes + 1) / 3 / REFERENCE_SPEED, (made, cleared))
    if not table.is_distributed:
        made = f"SELECT citus_add_local_table_to_metadata('{name}')"
        return Step(name, "on the coordinator, for every node", 0, 0, (made,))
    together = table.is_with_books and name != FIRST
    others = FIRST if together else "none"
    made = f"SELECT create_distributed_table('{name}', '{table.by}', colocate_with => '{others}')"
    place = f"by {table.by}, with {FIRST}" if together else f"by {table.by}, in {shards} shards"
    return Step(name, place, size, size / DISTRIBUTED_SPEED, (made, cleared))


def _settings(connected: Any, shards: int) -> None:
    """The settings of this transaction, and of every later one at each node."""
    for setting in (
        "client_min_messages = warning",
        f"lock_timeout = '{LOCK_TIMEOUT}'",
        f"{MODE} = {SEQUENTIAL}",
        f"citus.shard_count = {shards}",
    ):
        connected.exec_driver_sql(f"SET LOCAL {setting}")
    (name,) = _rows(connected, "SELECT quote_ident(current_database())")[0]
    connected.exec_driver_sql(f"ALTER DATABASE {name} SET {MODE} = {SEQUENTIAL}")


def _rows(connected: Any, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connected.exec_driver_sql(sql).fetchall()]


def _refusal(why: str) -> errors.Unavailable:
    return errors.Unavailable(why, why=why)
