"""The open connections of one process: counts them per client address, and chooses which one to close for a new one.

    Connections      counts connections from the moment they are accepted, handshakes included
    Connection       one of them
    limits_of(...)   the limit per address and the last file handle that connections may take

A connection waits while no request of its is under way: nothing has arrived yet, a head is incomplete, or it is kept
alive. When file handles run short, the connection that has waited longest is closed for a new one.
"""

import resource
from collections import OrderedDict
from collections.abc import Callable, Iterable

from ..config import Limits
from ..core.networks import LOOPBACK, Groups
from .reached import reached

MOST_PER_ADDRESS = 2_500


class Connection:
    """An accepted connection.

    group   the client address that it counts for; None when the limit per address does not apply
    end     closes it at once, whatever its state
    """

    __slots__ = ("end", "group")

    def __init__(self, group: str | None, end: Callable[[], object]) -> None:
        self.group = group
        self.end = end


class Connections:
    """All connections of one process.

    per_address   the most that one client address may have (IPv6: one /64)
    last_handle   the first file handle that connections leave to everything else
    exempt        networks to which `per_address` does not apply
    """

    def __init__(self, per_address: int, last_handle: int, exempt: Iterable[str] = LOOPBACK) -> None:
        self._per_address = per_address
        self._last_handle = last_handle
        self._most = last_handle
        self._groups = Groups(exempt)
        self._of_group: dict[str, int] = {}
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, address: str, handle: int, end: Callable[[], object]) -> Connection | None:
        """The new connection, which waits; None when a limit is reached and it must be closed.

        handle   its file handle. The system gives the lowest free one, so a high number means that few are left.
        end      closes the connection at once
        """
        group = self._groups.of(address)
        if group is not None and self._of_group.get(group, 0) >= self._per_address:
            reached("connections_per_address")
            return None
        if handle >= self._last_handle:
            # What others use is known now. Handles that are freed are taken again, so from here on the count decides.
            self._most = min(self._most, len(self._open))
        if len(self._open) >= self._most and not self._make_room():
            return None
        connection = Connection(group, end)
        if group is not None:
            self._of_group[group] = self._of_group.get(group, 0) + 1
        self._open.add(connection)
        self._waiting[connection] = None
        return connection

    def waits(self, connection: Connection) -> None:
        """The connection's request has ended: it is idle, and the last of the idle ones to be closed."""
        self._waiting.pop(connection, None)
        if connection in self._open:
            self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """A request has begun: the connection is not closed in favour of another."""
        self._waiting.pop(connection, None)

    def relax(self) -> None:
        """Called twice a second: allow one connection more, because others may have freed a handle."""
        self._most = min(self._most + 1, self._last_handle)

    def leave(self, connection: Connection) -> None:
        """Remove an ended connection. Calling this again has no effect."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._waiting.pop(connection, None)
        if connection.group is not None:
            left = self._of_group[connection.group] - 1
            if left:
                self._of_group[connection.group] = left
            else:
                del self._of_group[connection.group]

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; False when none is idle."""
        reached("reserved_handles")
        if not self._waiting:
            return False
        longest, _ = self._waiting.popitem(last=False)
        longest.end()
        self.leave(longest)
        return True


def limits_of(limits: Limits) -> tuple[int, int]:
    """The limit per address, and the first file handle that connections may not use."""
    handles = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    per_address = limits.connections_per_address or max(1, min(MOST_PER_ADDRESS, handles // 2))
    return per_address, handles - min(limits.reserved_handles, handles // 4)
