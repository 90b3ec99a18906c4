"""What can go wrong.

    RingbookError
    ├── Unreachable              there was no answer; the request may or may not have been carried out
    │   └── TimedOut             not in time
    ├── BadAnswer                it was no answer of a Ringbook server: a proxy's page, or cut short
    ├── Refused                  the server said no; except with 5xx it has changed nothing
    │   ├── Malformed            400  the request cannot be read, or is too large
    │   ├── Unauthorized         401  no session, or a wrong password
    │   │   └── SessionExpired        the session has ended
    │   ├── Forbidden            403  known, but not allowed
    │   ├── NotFound             404  there is no such thing, or not for this caller
    │   ├── Invalid              422  it can be read, but not accepted
    │   └── Later                     not now; perhaps after `wait_seconds`
    │       ├── TooMany          429  allowed, but not so often
    │       └── ServerTrouble    5xx  the server cannot, or not just now
    ├── Unreadable               a file of contacts cannot be read: that is not an empty one
    ├── EmptyBook                there is no contact at all, and nobody said that this is meant
    └── NothingAccepted          the server could read none of the contacts

No text here holds a number, a name, a password or a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model import Report


class RingbookError(Exception):
    """The root.

    applied   what earlier parts of the same upload had done already, if there were any
    """

    applied: Report | None = None


class Unreachable(RingbookError):
    """There was no answer.

    sent   the request may have reached the server, and may have been carried out
    """

    sent: bool = True


class TimedOut(Unreachable):
    """There was no answer in time."""


class BadAnswer(RingbookError):
    """The answer is none of a Ringbook server."""


class Refused(RingbookError):
    """The server said no.

    status    of the answer
    reasons   by field, "base" for the request as a whole
    """

    def __init__(self, status: int, reasons: Mapping[str, Sequence[str]]) -> None:
        self.status = status
        self.reasons = {field: tuple(why) for field, why in reasons.items()}
        super().__init__(self._text())

    def _text(self) -> str:
        told = [
            why if field == "base" else f"{field} {why}" for field, all_why in self.reasons.items() for why in all_why
        ]
        return f"{'; '.join(told) or 'no reason given'} ({self.status})"


class Malformed(Refused):
    """400: the request cannot be read, or is larger than the server reads."""


class Unauthorized(Refused):
    """401: there is no session, or the password is wrong."""


class SessionExpired(Unauthorized):
    """401: the session has ended, or never was."""


class Forbidden(Refused):
    """403: known, but not allowed."""


class NotFound(Refused):
    """404: there is no such thing, or not for this caller."""


class Invalid(Refused):
    """422: readable, but not acceptable."""


class Later(Refused):
    """Not now: the same request may be taken after `wait_seconds`, where the server has said so."""

    def __init__(self, status: int, reasons: Mapping[str, Sequence[str]], wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(status, reasons)

    def _text(self) -> str:
        return super()._text() + (f"; it asks to wait {self.wait_seconds:,.0f} seconds" if self.wait_seconds else "")


class TooMany(Later):
    """429: allowed, but not so often."""


class ServerTrouble(Later):
    """5xx: the server cannot, or not now. It may have carried the request out all the same.

    What asking again then leads to stands in docs/api.md, "After a 503"; where it is safe, that has been done already.
    """

    def _text(self) -> str:
        return f"the server cannot just now: {super()._text()}"


class Unreadable(RingbookError):
    """A file of contacts cannot be read as a whole. What it holds is unknown, which is not the same as nothing."""


class EmptyBook(RingbookError):
    """There is no contact at all: uploading that would empty the book on the server."""


class NothingAccepted(RingbookError):
    """The server could read none of the contacts, and left its book as it was."""

    def __init__(self, report: Report) -> None:
        self.applied = report
        super().__init__(f"the server accepted none of the {len(report.rejected)} contacts, and kept the book it had")
