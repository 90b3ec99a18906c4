"""Nodes of a cluster on this machine, for tests in which one dies, freezes or is added.

    Node            one node: kill(), start(), frozen()
    can_fail        skips a test unless TEST_CITUS_START is set
    can_grow        skips a test unless TEST_CITUS_SPARE is set
    SPARE           host and port of a server that can become a node

TEST_CITUS_START is a shell command that starts the node whose data directory is in $DATA and whose port is in $PORT. It
ends when the node accepts connections. The tests must be allowed to send signals to the node's processes.
TEST_CITUS_SPARE=HOST:PORT is a server with Citus's library that is no node yet.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from clusters import URL, Cluster
from servers import children, eventually, frozen

START = os.environ.get("TEST_CITUS_START", "")
SPARE = os.environ.get("TEST_CITUS_SPARE", "")
can_fail = pytest.mark.skipif(not (URL and START), reason="TEST_CITUS_URL or TEST_CITUS_START is not set")
can_grow = pytest.mark.skipif(not (URL and SPARE), reason="TEST_CITUS_URL or TEST_CITUS_SPARE is not set")


class Node:
    """The node at one place of a cluster; 0 is the coordinator."""

    def __init__(self, cluster: Cluster, place: int) -> None:
        self.host, self.port = cluster.nodes[place]
        self.has_rows = place > 0
        with psycopg.connect(cluster.at(place, "postgres")) as connection:
            asked = "SELECT current_setting('data_directory'), split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"
            self._data, pid = connection.execute(asked).fetchone()
            self._pid = int(pid)

    @property
    def name(self) -> str:
        """As Ringbook names it."""
        return f"{self.host}:{self.port}"

    @property
    def _processes(self) -> list[int]:
        return [self._pid, *children(self._pid)]

    @contextmanager
    def killed(self) -> Iterator[None]:
        """All its processes are gone during a block, without a word, as after a power failure."""
        killed = self._processes
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            yield
        finally:
            eventually(lambda: not any(map(is_there, killed)), "its processes are not gone")
            subprocess.run(START, shell=True, env=os.environ | {"DATA": self._data, "PORT": str(self.port)}, check=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All its processes stand still during a block, with their connections open."""
        with frozen(*self._processes):
            yield


def is_there(pid: int) -> bool:
    """Is there a process with this id?"""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
