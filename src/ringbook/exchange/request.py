"""One request and its row in the table of routes, as far as the API and the dashboard agree on them.

Route    a path, a method and a handler
Call     one request, as a handler gets it
Once     a property that is computed at its first use
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from starlette.requests import Request

from .. import errors
from ..config import Config
from ..store.db import Database
from .turns import Kind, NeedsTurn

LARGEST_ID = 2**31 - 1
Found = TypeVar("Found")


class Once(Generic[Found]):
    """A property that is computed at its first use.

    As functools.cached_property, which before Python 3.12 takes a lock, and with it five times as long.
    """

    def __init__(self, compute: Callable[[Any], Found]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, of: Any, _kind: type | None = None) -> Found:
        found = of.__dict__[self._name] = self._compute(of)
        return found


@dataclass(frozen=True, kw_only=True)
class Route:
    """A row of a table of routes. The edges add who may call it, and what they document.

    path   below the root of the edge
    slow   the handler may hash a password or call another server
    """

    method: str
    path: str
    handler: Callable[[Any], Any]
    slow: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of turn that a request needs first."""
        return Kind.SLOW if self.slow else Kind.SMALL


@dataclass(kw_only=True)
class Call:
    """One request.

    address      the client's IP address; behind a trusted proxy, the address that the proxy reports
    body         empty until the body has been read
    log_fields   further fields of the request's log line
    kind         of the turn that the request has; None: it was not sent over HTTP and needs none
    """

    db: Database
    config: Config
    route: Any  # the edge's own kind of Route; each edge declares it
    request: Request
    address: str
    now: int
    body: bytes = b""
    log_fields: dict[str, Any] = field(default_factory=dict)
    kind: Kind | None = None
    not_found: ClassVar[str] = "Not found"

    def needs(self, kind: Kind) -> None:
        """Raises NeedsTurn unless the request has a turn of this kind. To be called before anything is changed."""
        if self.kind not in (None, kind):
            raise NeedsTurn(kind)

    def path_id(self, name: str = "id") -> int:
        """An id from the path. Raises NotFound for a text that is no id."""
        text = self.request.path_params[name]
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
        if not 0 < number <= LARGEST_ID:
            raise errors.NotFound(self.not_found)
        return number
