"""What happens to a call: sent, sent again where that is safe, and once more after a new sign-in.

    Manners                      how patient a client is
    Send, Sleep, Renew           what it asks of whoever carries it out
    conversation(call, …)        one call, as a generator of such steps; it returns the result
    drive, drive_async           carry out a generator's steps

No socket and no clock is touched here: `Client` and `AsyncClient` do that, and tests need not.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import errors
from .calls import Call, Request

T = TypeVar("T")
S = TypeVar("S")
FIRST_WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is.

    retries            how often a failed request is sent again
    patience_seconds   the longest that it waits because the server says so; a longer wait is the caller's to decide
    renews             there is somebody to ask for a new sign-in
    """

    retries: int = 2
    max_wait_seconds: float = 60
    can_sign_in: bool = False

    def wait_seconds(self, call: Call[Any], error: errors.RingbookError, attempt: int) -> float | None:
        """How long to wait before `call` is sent again; None: it is not."""
        if attempt >= self.retries:
            return None
        backoff = FIRST_WAIT_SECONDS * 2**attempt * random.uniform(1, 1.5)
        if isinstance(error, errors.Later):
            # A 429 has changed nothing. A 5xx may come after the change.
            safe = call.repeatable or isinstance(error, errors.TooMany)
            wait_seconds = max(backoff, error.wait_seconds or 0)
            return wait_seconds if safe and wait_seconds <= self.max_wait_seconds else None
        if isinstance(error, errors.Unreachable):
            return backoff if call.repeatable or not error.sent else None
        return None


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request, and come back with the `Answer`."""

    request: Request
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RenewSession:
    """`stale` opens nothing any more (None: there was none): come back with a token that does."""

    stale_token: str | None = field(repr=False)


Step = Send | Sleep | RenewSession


def attempts(call: Call[T], token: str | None, policy: RetryPolicy) -> Generator[Step, Any, T]:
    """One call from its first try to its result. A session is renewed at most once: a second 401 is the caller's."""
    has_renewed = False
    if call.needs_session and token is None and policy.can_sign_in:
        token, has_renewed = (yield RenewSession(None)), True
    attempt = 0
    while True:
        try:
            return call.result((yield Send(call.request, token if call.needs_session else None)))
        except errors.SessionExpired:
            if has_renewed or not (call.needs_session and policy.can_sign_in):
                raise
        except (errors.Later, errors.Unreachable) as error:
            wait_seconds = policy.wait_seconds(call, error, attempt)
            if wait_seconds is None:
                raise
            attempt += 1
            yield Sleep(wait_seconds)
            continue
        token, has_renewed = (yield RenewSession(token)), True


def drive(steps: Generator[S, Any, T], perform: Callable[[S], Any]) -> T:
    """Take each step that a generator asks for, and hand it what came of that, failures too."""
    try:
        step = next(steps)
        while True:
            try:
                result = perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # the generator's return value


async def drive_async(steps: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
    """The same, where steps are awaited."""
    try:
        step = next(steps)
        while True:
            try:
                result = await perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # the generator's return value
