"""What a Citus cluster says about itself, on one open connection of the driver.

    is_cluster(connection)      is the database one of a cluster whose nodes this user may ask?
    is_distributed(connection)  do Ringbook's tables lie on a cluster?
    nodes(connection)           its nodes, and which of them do not answer
    on_coordinator(connect, …)  a connection to the coordinator, of an address that names several nodes

Source: Citus, its tables pg_dist_node and pg_dist_local_group and its function citus_check_connection_to_node.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ... import errors
from .contract import Nodes

IS_CLUSTER = (
    "SELECT to_regclass('pg_dist_node') IS NOT NULL AND COALESCE(has_function_privilege("
    "to_regprocedure('citus_check_connection_to_node(text, integer)'), 'EXECUTE'), false)"
)
NODES = (
    "SELECT nodename || ':' || nodeport, citus_check_connection_to_node(nodename, nodeport)"
    " FROM pg_dist_node WHERE isactive AND noderole = 'primary' ORDER BY 1"
)
# A node whose machine vanished is given up after 0.9 s; with more than three of them the look ends after 3 s.
PATIENCE = "SET LOCAL citus.node_connection_timeout = 900; SET LOCAL statement_timeout = '3s'"
IS_DISTRIBUTED = "SELECT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('locks'))"
# pg_stat_activity knows the transactions of one node only. The clocks of the nodes may differ by so many seconds.
SKEW_SECONDS = 5
OLDER = (
    "SELECT count(*) FROM citus_stat_activity WHERE datname = current_database() AND NOT is_worker_query"
    " AND backend_type = 'client backend' AND global_pid <> citus_backend_gpid()"
    f" AND extract(epoch FROM xact_start) < :at + {SKEW_SECONDS}"
)
# An error of Citus's own, of a statement that needed a node which died during its transaction.
NODE_LOST = "failure on connection marked as essential"
COORDINATOR = "SELECT nodename::text, nodeport FROM pg_dist_node WHERE groupid = 0 AND noderole = 'primary'"
NO_COORDINATOR = (
    "RINGBOOK_DATABASE names nodes of a cluster and not the coordinator, which alone can do this: use {place}, or name"
    " it beside the others"
)


def is_cluster(connection: Any) -> bool:
    """Is the database one of a cluster whose nodes this user may ask?"""
    return bool(connection.execute(IS_CLUSTER).fetchone()[0])


def is_distributed(connection: Any) -> bool:
    """Do Ringbook's tables lie on a cluster?"""
    found = connection.execute("SELECT to_regclass('pg_dist_partition') IS NOT NULL").fetchone()[0]
    return bool(found and connection.execute(IS_DISTRIBUTED).fetchone()[0])


def nodes(connection: Any) -> Nodes:
    """Ask every node of the cluster whether it answers this one; no nodes when there is no cluster."""
    if not is_cluster(connection):
        return Nodes()
    with connection.transaction():
        connection.execute(PATIENCE)
        found = connection.execute(NODES).fetchall()
    return Nodes(tuple(name for name, _ in found), tuple(name for name, answers in found if not answers))


def is_worker(connection: Any) -> bool:
    """Is this a node other than the coordinator?"""
    found = connection.execute("SELECT to_regclass('pg_dist_local_group') IS NOT NULL").fetchone()[0]
    return bool(found and connection.execute("SELECT bool_or(groupid <> 0) FROM pg_dist_local_group").fetchone()[0])


def on_coordinator(connect: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """A connection to the coordinator where the address names nodes of a cluster; else to the server that it names.

    connect   opens a connection; it takes a host and a port in place of the address's own
    given     the parts of the address

    Unavailable when the address names no coordinator.
    """
    connection = connect()
    if not is_worker(connection):
        return connection
    for place in places(given):
        connection.close()
        connection = connect(**place)
        if not is_worker(connection):
            return connection
    name, port = connection.execute(COORDINATOR).fetchone() or ("unknown", 0)
    connection.close()
    raise errors.Unavailable(NO_COORDINATOR, why=NO_COORDINATOR.format(place=f"{name}:{port}"))


def places(given: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each host of an address with its port."""
    hosts, ports = (str(given.get(part) or "").split(",") for part in ("host", "port"))
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [{"host": host, "port": port} for host, port in zip(hosts, ports, strict=True)]
