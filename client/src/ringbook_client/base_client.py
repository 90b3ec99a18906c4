"""What both clients know: the server, the application, the token at hand, and whose turn it is to sign in.

Several calls may find at the same moment that their session has expired. The first signs in anew, the others wait and
get what came of it: the new token, or the same failure. So a wrong password is tried once, not once for each.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

from . import errors, transport
from .calls import App
from .retries import RetryPolicy
from .tokens import TokenStore

# The clients that are just signing in, in this thread or task.
_signing_in: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("ringbook_signing_in", default=())


class BaseClient:
    """The common part of `Client` and `AsyncClient`."""

    def __init__(self, url: str, app_id: int, auth_key: str, tokens: TokenStore | None, policy: RetryPolicy) -> None:
        self.url = transport.checked_url(url)
        self.app = App(app_id, transport.checked_key(auth_key))
        self._policy = policy
        self._tokens = tokens
        saved_token = tokens.load() if tokens else None
        self._token = (
            saved_token if saved_token and transport.is_valid_token(saved_token) else None
        )  # a damaged one opens nothing
        self._sign_in_count = 0
        self._sign_in_error: Exception | None = None

    def _store_token(self, token: str | None) -> None:
        """Later calls use this token."""
        self._token = token
        if self._tokens:
            self._tokens.save(token)

    def _needs_sign_in(self, stale_token: str | None, count_before: int) -> bool:
        """The token is still the stale one, and nobody has tried to sign in since `seen`."""
        return self._token == stale_token and self._sign_in_count == count_before

    @contextmanager
    def _signing_in(self) -> Iterator[None]:
        """Note what comes of a sign-in; its failure is raised to all that waited for it, by `_fresh`."""
        reset = _signing_in.set((*_signing_in.get(), id(self)))
        try:
            yield
        except Exception as error:
            self._sign_in_error = error
        finally:
            _signing_in.reset(reset)
        self._sign_in_count += 1

    def _token_after_sign_in(self, stale_token: str | None) -> str | None:
        """The token that came in place of a stale one, or why none did."""
        if self._token != stale_token or self._sign_in_error is None:
            return self._token
        raise self._sign_in_error

    def _refuse_call_inside_sign_in(self) -> None:
        """Whoever is asked for a proof must not need a session for it: that would ask again, without end."""
        if id(self) in _signing_in.get():
            raise errors.SessionExpired(401, {"base": ["the sign_in callback made a call that needs a session"]})
