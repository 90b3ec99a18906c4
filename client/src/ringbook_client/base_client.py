"""The common part of both clients: the server, the application, the current token and the coordination of sign-ins.

Several concurrent calls may find that the session has expired. The first one signs in; the others wait for it and get
the same result: the new token, or the same exception. So a wrong password is sent once, not once per call.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

from . import errors, transport
from .calls import App
from .retries import RetryPolicy
from .tokens import TokenStore

# The ids of the clients that are signing in, in this thread or task.
_signing_in: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("ringbook_signing_in", default=())


class BaseClient:
    """The common part of `Client` and `AsyncClient`."""

    def __init__(self, url: str, app_id: int, auth_key: str, tokens: TokenStore | None, policy: RetryPolicy) -> None:
        self.url = transport.checked_url(url)
        self.app = App(app_id, transport.checked_key(auth_key))
        self._policy = policy
        self._tokens = tokens
        saved_token = tokens.load() if tokens else None
        # A damaged token counts as none: it could not be sent in a header.
        self._token = saved_token if saved_token and transport.is_valid_token(saved_token) else None
        self._sign_in_count = 0
        self._sign_in_error: Exception | None = None

    def _store_token(self, token: str | None) -> None:
        """Use this token for later calls, and save it in the token store."""
        self._token = token
        if self._tokens:
            self._tokens.save(token)

    def _needs_sign_in(self, stale_token: str | None, count_before: int) -> bool:
        """Whether this call has to sign in: no other call has tried to since the sign-in count was `count_before`."""
        return self._token == stale_token and self._sign_in_count == count_before

    @contextmanager
    def _signing_in(self) -> Iterator[None]:
        """Record the outcome of a sign-in. `_token_after_sign_in` raises a recorded exception in every waiting call."""
        reset = _signing_in.set((*_signing_in.get(), id(self)))
        try:
            yield
        except Exception as error:
            self._sign_in_error = error
        finally:
            _signing_in.reset(reset)
        self._sign_in_count += 1

    def _token_after_sign_in(self, stale_token: str | None) -> str | None:
        """The token that replaced the expired one; raises the exception of the sign-in if it failed."""
        if self._token != stale_token or self._sign_in_error is None:
            return self._token
        raise self._sign_in_error

    def _refuse_call_inside_sign_in(self) -> None:
        """Refuse a call of the `sign_in` callback that needs a session: it would call `sign_in` again, endlessly."""
        if id(self) in _signing_in.get():
            raise errors.SessionExpired(401, {"base": ["the sign_in callback made a call that needs a session"]})
