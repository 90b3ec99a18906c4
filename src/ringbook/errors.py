"""Refusals: what Ringbook does not do for a caller, and why.

A refusal is an exception. Its reason is safe to show to the caller. Each class is one kind of answer; the API
(`exchange/statuses.py`) and the dashboard each have one table that turns a class into an HTTP status.

    Refused
    ├── Malformed      the request cannot be parsed
    │   └── Late       its body did not arrive in time
    ├── TooLarge       the request is larger than the server reads
    ├── Invalid        the request is parsed, but its values are not accepted
    │   ├── Conflict   the values would be accepted if another user did not have them
    │   └── TooSlow    the database did not finish within the time limit
    ├── Unreached      a message that has no recipient
    ├── Unauthorized   the caller has no credentials, or wrong ones
    ├── Forbidden      the caller is known, but is not allowed to do this
    ├── NotFound       it does not exist, or not for this caller
    ├── TooMany        it is allowed, but not so often
    └── Unavailable    the server cannot do it now; the same request may succeed later
        ├── Busy       another transaction changed the same rows
        └── Unreadable a sealed value of the database does not open
"""

from collections.abc import Iterator
from contextlib import contextmanager

BUSY = "Another request is changing the same thing. Try again."
UNREADABLE = "Something that is stored cannot be read. Only the server's operator can help."
WHY_UNREADABLE = (
    "a sealed value in {place} does not open with this key: the row was damaged, or changed by something other than"
    " Ringbook. Run `ringbook check`; if the key fits, restore a backup"
)


class Refused(Exception):
    """A refusal: the reason, and the field it is about ("" for the request as a whole).

    told    the reason without what the caller sent, where reason or field quote that: only this is stored
    limit   the setting whose limit was reached, for the metric; "" when the refusal comes from no limit
    cause   the key of the class, for statistics; a class without its own has that of its base class
    others  refusals of other fields of the same request, which the caller hears of together with this one
    """

    cause = "refused"
    others: "tuple[Refused, ...]" = ()

    def __init__(self, reason: str, *, field: str = "", told: str = "", limit: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.told = told
        self.limit = limit


class Malformed(Refused):
    """The request cannot be parsed."""

    cause = "malformed"


class Late(Malformed):
    """The body of the request did not arrive in time."""

    cause = "late"


class TooLarge(Refused):
    """The request is larger than the server reads."""

    cause = "too large"


class Invalid(Refused):
    """The request is parsed, but its values are not accepted."""

    cause = "invalid"


class Conflict(Invalid):
    """Another user has a value that must be unique."""

    cause = "conflict"


class TooSlow(Invalid):
    """The database did not finish within the time limit; the same request would take as long again."""

    cause = "too slow"


class Unreached(Refused):
    """The message has no recipient."""

    cause = "unreached"


class Unauthorized(Refused):
    """The caller has no credentials, or wrong ones."""

    cause = "unauthorized"


class SessionGone(Unauthorized):
    """The session is unknown, has ended or has expired. The client opens a new one."""

    cause = "session gone"

    def __init__(self) -> None:
        super().__init__("Required session does not exist")


class Forbidden(Refused):
    """The caller is known, but is not allowed to do this."""

    cause = "forbidden"


class NeedUser(Forbidden):
    """A session without a user was used for something that belongs to a user."""

    cause = "need user"

    def __init__(self) -> None:
        super().__init__("Forbidden. Need user.")


class NotFound(Refused):
    """It does not exist, or not for this caller."""

    cause = "not found"


class TooMany(Refused):
    """It is allowed, but not so often: the client tries again after `wait_seconds`."""

    cause = "too many"

    def __init__(self, reason: str, *, wait_seconds: int, limit: str = "") -> None:
        super().__init__(reason, limit=limit)
        self.wait_seconds = wait_seconds


class Unavailable(Refused):
    """The server cannot do it now, for one because the database cannot be reached.

    why   for the operator: the cause and the next step; "" when the reason says enough. It holds no password, host or
          user name, because /readyz shows it to everybody.
    """

    cause = "unavailable"

    def __init__(self, reason: str, *, field: str = "", told: str = "", limit: str = "", why: str = "") -> None:
        super().__init__(reason, field=field, told=told, limit=limit)
        self.why = why

    def explained(self) -> str:
        """The cause and the next step, for the console only: an unknown cause is given in the driver's words."""
        driver = str(self.__cause__ or "").partition("\n")[0]
        return self.why or (f"{self.reason} ({driver})" if driver else self.reason)


class Busy(Unavailable):
    """Another transaction changed the same rows: a deadlock, or a lock that was not free in time."""

    cause = "busy"

    def __init__(self) -> None:
        super().__init__(BUSY)


class Unreadable(Unavailable):
    """A sealed value does not open: it was changed, it stands in another place, or the key is another one.

    place   its table and column
    """

    cause = "unreadable"

    def __init__(self, place: str) -> None:
        super().__init__(UNREADABLE, why=WHY_UNREADABLE.format(place=place))


class Faults:
    """Collects the refusals of the fields of one request, so that the caller hears of all together."""

    def __init__(self) -> None:
        self.found: list[Invalid] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps an Invalid that is raised inside, instead of raising it."""
        try:
            yield
        except Invalid as refused:
            self.found += [refused, *(other for other in refused.others if isinstance(other, Invalid))]

    def has(self, *fields: str) -> bool:
        """Is one of the fields refused already?"""
        return any(refused.field in fields for refused in self.found)

    def refuse(self) -> None:
        """Raises the first refusal with the others in `others`; nothing if there is none."""
        if self.found:
            first, *others = self.found
            first.others = tuple(others)
            raise first


def by_cause(cause: str) -> type[Refused]:
    """The class with this key; `Refused` for the key of another version."""
    return _BY_CAUSE.get(cause, Refused)


_BY_CAUSE = {kind.cause: kind for kind in list(vars().values()) if isinstance(kind, type) and issubclass(kind, Refused)}
