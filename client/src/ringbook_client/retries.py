"""Decides how a call is sent, retried where that is safe, and repeated after a new sign-in.

    RetryPolicy                  how often and how long a client retries
    Send, Sleep, RenewSession    the steps of a call
    attempts(call, …)            a generator of the steps of one call; it returns the result
    drive, drive_async           run a generator, and perform each of its steps

This module uses no socket and no clock: `Client` and `AsyncClient` perform the steps, and tests can perform them
without a network.
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
    """How often and how long a client retries.

    retries            how often a failed request is sent again
    max_wait_seconds   the longest wait that a server may ask for; if it asks for more, the error is raised
    can_sign_in        the client has a `sign_in` callback, so it can replace an expired session
    """

    retries: int = 2
    max_wait_seconds: float = 60
    can_sign_in: bool = False

    def wait_seconds(self, call: Call[Any], error: errors.RingbookError, attempt: int) -> float | None:
        """How long to wait before the call is retried; None if it is not retried."""
        if attempt >= self.retries:
            return None
        backoff = FIRST_WAIT_SECONDS * 2**attempt * random.uniform(1, 1.5)
        if isinstance(error, errors.Later):
            # After a 429 nothing has changed. After a 5xx the server may have carried out the request.
            safe = call.repeatable or isinstance(error, errors.TooMany)
            wait_seconds = max(backoff, error.wait_seconds or 0)
            return wait_seconds if safe and wait_seconds <= self.max_wait_seconds else None
        if isinstance(error, errors.Unreachable):
            return backoff if call.repeatable or not error.sent else None
        return None


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; the result of this step is the `Answer`."""

    request: Request
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RenewSession:
    """Open a session in place of an expired one; the result of this step is the new token.

    stale_token   the token of the expired session; None if there was no session
    """

    stale_token: str | None = field(repr=False)


Step = Send | Sleep | RenewSession


def attempts(call: Call[T], token: str | None, policy: RetryPolicy) -> Generator[Step, Any, T]:
    """The steps of one call; returns its result. The session is renewed at most once: a second 401 is raised."""
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
    """Perform each step that the generator yields and send the outcome back; returns the generator's value."""
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
        return end.value  # type: ignore[no-any-return]  # StopIteration.value is Any


async def drive_async(steps: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
    """The same as `drive`, with steps that are awaited."""
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
        return end.value  # type: ignore[no-any-return]  # StopIteration.value is Any
