"""The exceptions of the client.

    RingbookError
    ├── Unreachable              no answer came; the request may or may not have been carried out
    │   └── TimedOut             no answer came in time
    ├── BadAnswer                the answer is not one of a Ringbook server: a proxy's page, or a truncated answer
    ├── Refused                  the server refused the request; except with 5xx, nothing has changed
    │   ├── Malformed            400  the server cannot parse the request, or it is too large
    │   ├── Unauthorized         401  there is no session, or the password is wrong
    │   │   └── SessionExpired        the session has ended
    │   ├── Forbidden            403  the caller is known, but not allowed to do this
    │   ├── NotFound             404  the object does not exist, or this caller may not see it
    │   ├── Invalid              422  the server can parse the request, but does not accept its values
    │   │   └── UnknownApplication    no application has this id and auth key
    │   └── Later                     not now; retry, after `wait_seconds` if the server gave them
    │       ├── TooMany          429  a rate limit was reached
    │       └── ServerTrouble    5xx  the server failed or is overloaded
    ├── Unreadable               a file of contacts cannot be read; that is not an empty file
    ├── EmptyBook                there are no contacts, and the caller has not confirmed that this is intended
    └── NothingAccepted          the server rejected every contact

No text of an exception contains a phone number, a name, a password or a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model import Report


class RingbookError(Exception):
    """The base class of all exceptions of this package.

    applied   the report on the earlier parts of the same upload, if there were any
    """

    applied: Report | None = None


class Unreachable(RingbookError):
    """No answer came.

    sent   the request may have reached the server, and may have been carried out
    """

    sent: bool = True


class TimedOut(Unreachable):
    """No answer came in time."""


class BadAnswer(RingbookError):
    """The answer is not one of a Ringbook server."""


class Refused(RingbookError):
    """The server refused the request.

    status    the HTTP status
    reasons   texts by field; "base" is the request as a whole
    """

    def __init__(self, status: int, reasons: Mapping[str, Sequence[str]]) -> None:
        self.status = status
        self.reasons = {field: tuple(texts) for field, texts in reasons.items()}
        super().__init__(self._text())

    def _text(self) -> str:
        sentences = [
            text if field == "base" else f"{field} {text}" for field, texts in self.reasons.items() for text in texts
        ]
        return f"{'; '.join(sentences) or 'no reason given'} ({self.status})"


class Malformed(Refused):
    """400: the server cannot parse the request, or it is too large."""


class Unauthorized(Refused):
    """401: there is no session, or the password is wrong."""


class SessionExpired(Unauthorized):
    """401: the session has ended or never existed."""


class Forbidden(Refused):
    """403: the caller is known, but not allowed to do this."""


class NotFound(Refused):
    """404: the object does not exist, or this caller may not see it."""


class Invalid(Refused):
    """422: the server can parse the request, but does not accept its values."""


class UnknownApplication(Invalid):
    """422: no application of this server has this id and auth key."""


class Later(Refused):
    """The server does not carry out the request now. Retry later, after `wait_seconds` if the server gave them."""

    def __init__(self, status: int, reasons: Mapping[str, Sequence[str]], wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(status, reasons)

    def _text(self) -> str:
        return super()._text() + (f"; retry after {self.wait_seconds:,.0f} seconds" if self.wait_seconds else "")


class TooMany(Later):
    """429: a rate limit was reached."""


class ServerTrouble(Later):
    """5xx: the server failed or is overloaded. It may have carried out the request all the same.

    docs/api.md, "After a 503", says what a second request then leads to. The client has already retried where that is
    safe.
    """

    def _text(self) -> str:
        return f"the server is not available: {super()._text()}"


class Unreadable(RingbookError):
    """A file of contacts cannot be read at all. Its contents are unknown, so it must not count as an empty file."""


class EmptyBook(RingbookError):
    """There are no contacts. Uploading them would empty the address book on the server."""


class NothingAccepted(RingbookError):
    """The server rejected every contact and did not change the address book."""

    def __init__(self, report: Report) -> None:
        self.applied = report
        super().__init__(f"the server rejected all {len(report.rejected)} contacts and did not change the address book")
