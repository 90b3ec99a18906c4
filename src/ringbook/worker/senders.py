"""The senders of a process: one for each lane (a channel of an application), replaced when its settings change.

Senders(config, …)        `async with` closes their connections
Senders.of(due)           the sender for a push; NotSetUp
Senders.known(due)        the same without waiting, if it is at hand
lane_of(due)              the name of the lane of a push
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ..app_settings import AppSettings
from ..config import Config
from ..core import applications
from ..core.delivery import Due
from ..push import providers
from ..push.transport import NotSetUp, Sender, SenderContext

if TYPE_CHECKING:
    from ..push.connections import Connections


class Asked(Protocol):
    """Runs a function that uses the database in a thread."""

    async def __call__(self, work: Any, *values: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Made:
    """The sender of a lane, or why there is none, with the settings that it was made from."""

    sender: Sender | NotSetUp
    settings: AppSettings
    looked_at: float

    def is_fresh(self) -> bool:
        """Were the settings read a moment ago?"""
        return time.monotonic() - self.looked_at < applications.CACHE_SECONDS


class Senders:
    """All senders share one set of connections, opened for the first push because its library takes memory."""

    def __init__(self, config: Config, asked: Asked) -> None:
        self._config = config
        self._asked = asked
        self._lanes: dict[str, _Made] = {}
        self._making = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._connections: Connections | None = None

    async def __aenter__(self) -> "Senders":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    def known(self, due: Due) -> Sender | None:
        """The sender for a push, if it is at hand and its settings were read a moment ago."""
        made = self._lanes.get(lane_of(due))
        if not made or isinstance(made.sender, NotSetUp) or not made.is_fresh():
            return None
        return made.sender

    async def of(self, due: Due) -> Sender:
        """The sender for a push; NotSetUp says which setting is missing."""
        lane = lane_of(due)
        if not self._is_fresh(lane):
            async with self._making:
                if not self._is_fresh(lane):
                    self._lanes[lane] = await self._made(due, self._lanes.get(lane))
        made = self._lanes[lane].sender
        if isinstance(made, NotSetUp):
            raise made
        return made

    def _is_fresh(self, lane: str) -> bool:
        return lane in self._lanes and self._lanes[lane].is_fresh()

    async def _made(self, due: Due, before: _Made | None) -> _Made:
        app = await self._asked(applications.get, due.app_id)
        now = time.monotonic()
        if before and before.settings == app.settings:
            return _Made(before.sender, app.settings, now)
        key = await self._asked(applications.vapid_private_key, app.id)
        context = SenderContext(config=self._config, connections=await self._connected(), vapid_private_key=key)
        try:
            return _Made(providers.sender(due.message.channel, app, context), app.settings, now)
        except NotSetUp as missing:
            return _Made(missing, app.settings, now)

    async def _connected(self) -> "Connections":
        if not self._connections:
            from ..push.connections import Connections

            made = Connections.of(self._config)
            self._connections = await self._opened.enter_async_context(made)
        return self._connections


def lane_of(due: Due) -> str:
    """The lane of a push, `app_id:channel`."""
    return f"{due.app_id}:{due.message.channel}"
