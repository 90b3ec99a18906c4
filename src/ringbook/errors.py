"""What Ringbook refuses, and why.

A refusal is an exception with a reason that is safe to show to whoever asked. Each kind below is one sort of answer;
only `api/wire.py` turns a kind into a status.

    Refused
    ├── Malformed      the request cannot be read at all
    ├── TooLarge       the request is larger than the server reads
    ├── Invalid        it can be read, but not accepted
    │   ├── Conflict   it would be accepted if somebody else had not been first
    │   └── TooSlow    the database was not done with it within the time that it was given
    ├── Unreached      a message that nobody can receive
    ├── Unauthorized   no proof of who is asking, or a wrong one
    ├── Forbidden      known, but not allowed
    ├── NotFound       there is no such thing, or not for this caller
    ├── TooMany        allowed, but not so often
    └── Unavailable    the server cannot just now; the same request may succeed later
"""


class Refused(Exception):
    """A refusal: the reason, and the field it is about ("" for the request as a whole).

    told    where reason or field quote what somebody sent: the same in words that can be kept
    limit   the setting whose limit was reached, for the metric; "" when the refusal comes from no limit
    """

    def __init__(self, reason: str, *, field: str = "", told: str = "", limit: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.told = told
        self.limit = limit


class Malformed(Refused):
    """The request cannot be read."""


class TooLarge(Refused):
    """The request is larger than the server reads."""


class Invalid(Refused):
    """Readable, but not acceptable."""


class Conflict(Invalid):
    """Somebody else holds what must be unique."""


class TooSlow(Invalid):
    """The database was not done within the time that it was given; the same request would take as long again."""


class Unreached(Refused):
    """There is nobody who could receive it."""


class Unauthorized(Refused):
    """No proof of who is asking, or a wrong one."""


class SessionGone(Unauthorized):
    """The session is unknown, has ended or has expired: the client opens a new one."""

    def __init__(self) -> None:
        super().__init__("Required session does not exist")


class Forbidden(Refused):
    """Known, but not allowed."""


class NeedUser(Forbidden):
    """A session without a user asks for something that belongs to a user."""

    def __init__(self) -> None:
        super().__init__("Forbidden. Need user.")


class NotFound(Refused):
    """There is no such thing, or not for this caller."""


class TooMany(Refused):
    """Allowed, but not so often: try again after `wait_seconds`."""

    def __init__(self, reason: str, *, wait_seconds: int, limit: str = "") -> None:
        super().__init__(reason, limit=limit)
        self.wait_seconds = wait_seconds


class Unavailable(Refused):
    """Not now: the database cannot be reached, or two requests stood in each other's way.

    why   for the operator: the cause and the next step, without a password, a host or a user's name, because /readyz
          shows it to everybody; "" when the reason says enough
    """

    def __init__(self, reason: str, *, field: str = "", told: str = "", limit: str = "", why: str = "") -> None:
        super().__init__(reason, field=field, told=told, limit=limit)
        self.why = why

    def explained(self) -> str:
        """For the console alone: the cause and the next step; where we do not know the cause, the driver's words."""
        said = str(self.__cause__ or "").partition("\n")[0]
        return self.why or (f"{self.reason} ({said})" if said else self.reason)
