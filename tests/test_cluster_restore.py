"""A physical backup of a cluster: base backups of all nodes while clients upload, and a restore to one restore point.

It needs TEST_CITUS_URL of a cluster on this machine whose `pg_hba.conf` lets its user make base backups. The restored
nodes run beside the cluster, at other ports. docs/how-to/grow.md shows the same steps.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from asking import line, person
from clusters import URL, Cluster
from crowd import crowd
from psycopg.conninfo import conninfo_to_dict
from sealed import contacts_behind
from servers import (
    SEAL,
    Process,
    as_nobody,
    eventually,
    free_port,
    migrate,
    name_in,
    nobody,
    postgresql_programs,
    private_folder,
    running,
    serve,
    wait_until,
)
from store.test_cluster import client_of

from ringbook.store import cluster, migrations
from ringbook.store.db import connect

POINT = "rehearsal"
# The folder of the socket is the one of the address. Without this line, PostgreSQL uses the folder that it was built
# with, if the original got its own on the command line, and ends if its user may not write there.
# The log goes to our file. Otherwise a copy inherits where the original logs, and ends without a word.
# 2PC recovery would look at the nodes of the original cluster until the addresses are the new ones.
SETTINGS = """
port = {port}
unix_socket_directories = '{sockets}'
log_destination = 'stderr'
logging_collector = off
log_min_messages = warning
restore_command = 'cp {wal}/%f %p'
recovery_target_name = '{point}'
recovery_target_action = 'promote'
citus.recover_2pc_interval = -1
"""


class Copy:
    """The base backup of one node and its WAL since."""

    def __init__(self, cluster: Cluster, place: int, folder: Path) -> None:
        self.url = cluster.at(place, "postgres")
        self.programs = client_of(self.url).parent
        self.data, self.wal, self.log = folder / f"data-{place}", folder / f"wal-{place}", folder / f"log-{place}"
        self.port = free_port()

    @contextmanager
    def archived(self) -> Iterator[None]:
        """The node's WAL is copied during a block, and all of it at the end of the block."""
        as_nobody(["mkdir", self.wal])
        with running([self.programs / "pg_receivewal", "-D", self.wal, "-d", self.url], self.log, user=nobody()):
            eventually(lambda: any(self.wal.iterdir()), "no WAL arrives")
            yield
            with psycopg.connect(self.url, autocommit=True) as connection:
                (last,) = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            eventually((self.wal / last).exists, "the last WAL does not arrive")

    def take(self) -> None:
        """Make the base backup, without WAL."""
        as_nobody([self.programs / "pg_basebackup", "-D", self.data, "-d", self.url, "-X", "none", "-c", "fast"])

    @contextmanager
    def restored(self) -> Iterator[Process]:
        """The node as it was at the restore point."""
        settings = settings_of(self.url, self.port, self.wal)
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(settings)
        as_nobody(["touch", self.data / "recovery.signal"])
        command = [self.programs / "postgres", "-D", self.data]
        with running(command, self.log, stop=signal.SIGINT, user=nobody()) as process:
            wait_until(self._writes, (psycopg.Error, AssertionError), process, self.log)
            yield process

    def _writes(self) -> None:
        with psycopg.connect(self.url, port=self.port) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


def settings_of(url: str, port: int, wal: Path) -> str:
    """The settings of the copy of a node that had this address."""
    host = str(conninfo_to_dict(url).get("host") or "")
    return SETTINGS.format(port=port, wal=wal, point=POINT, sockets=host if host.startswith("/") else "")


def new_addresses(nodes: Cluster, copies: list[Copy], name: str) -> Cluster:
    """The restored cluster, whose nodes know each other at their new ports."""
    restored = Cluster(nodes.url)
    restored.nodes = [(host, copy.port) for (host, _), copy in zip(nodes.nodes, copies, strict=True)]
    for (host, old), copy in zip(nodes.nodes, copies, strict=True):
        moved = f"SELECT citus_update_node(nodeid, '{host}', {copy.port}) FROM pg_dist_node WHERE nodeport = {old}"
        restored.run(0, moved, name)
    # Until a node knows the new addresses, it reads from the original cluster, if that is still there.
    restored.run(0, "SELECT start_metadata_sync_to_all_nodes()", name)
    return restored


@pytest.mark.skipif(not URL, reason="TEST_CITUS_URL names no cluster")
def test_each_node_is_restored_to_the_same_moment(tmp_path: Path):
    nodes = Cluster()
    with nodes.database() as url, private_folder() as folder, ExitStack() as until:
        migrate(url)
        copies = [Copy(nodes, place, folder) for place in range(len(nodes.nodes))]
        with ExitStack() as archives, serve(url, tmp_path) as server:
            for copy in copies:
                archives.enter_context(copy.archived())
            with crowd(server, 4) as people:
                for copy in copies:
                    copy.take()
                people.goes_on(20)
            before = contacts_behind(server)
            nodes.run(0, f"SELECT citus_create_restore_point('{POINT}')", name_in(url))
            assert person(server).upload([line(1)]).status == 200
        for copy in copies:
            until.enter_context(copy.restored())
        restored = new_addresses(nodes, copies, name_in(url)).everywhere(name_in(url))
        with closing(connect(restored, pool=1, seal=SEAL)) as db:
            assert (migrations.state(db).current, cluster.trouble(db)) == (True, "")
        with serve(restored, tmp_path) as again:
            assert contacts_behind(again) == before
            assert len(before) == people.answered
            assert person(again).upload([line(2)]).status == 200


# A folder for sockets that does not exist, and a log that says nothing, or elsewhere.
INHERITED = """
unix_socket_directories = '/nonexistent'
log_destination = 'csvlog'
logging_collector = on
log_min_messages = panic
"""


@pytest.mark.parametrize("sockets, said", [("", ""), ("/nonexistent", '"/nonexistent/.s.PGSQL.')])
def test_a_copy_starts_without_the_sockets_and_the_log_of_the_original_or_says_why_it_ends(sockets: str, said: str):
    """On plain PostgreSQL: what the copy inherits has nothing to do with Citus."""
    port = free_port()
    url = f"postgresql://postgres@{quote(sockets, safe='') or '127.0.0.1'}:{port}/postgres"
    with private_folder() as folder:
        initdb, postgres = postgresql_programs(folder)
        data, log = folder / "data", folder / "log"
        as_nobody([initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"])
        with (data / "postgresql.conf").open("a") as file:
            file.write(INHERITED)
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(settings_of(url, port, folder))
        ends = pytest.raises(RuntimeError, match=re.escape(said)) if said else nullcontext()
        with running([postgres, "-D", data], log, stop=signal.SIGINT, user=nobody()) as process, ends:
            wait_until(lambda: psycopg.connect(url).close(), psycopg.Error, process, log)
