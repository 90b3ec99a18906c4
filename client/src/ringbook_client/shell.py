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
from .conversation import Manners
from .tokens import TokenStore

# The clients that are just signing in, in this thread or task.
_signing_in: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("ringbook_signing_in", default=())


class Shell:
    """The common part of `Client` and `AsyncClient`."""

    def __init__(self, url: str, app_id: int, auth_key: str, tokens: TokenStore | None, manners: Manners) -> None:
        self.url = transport.address(url)
        self.app = App(app_id, transport.key(auth_key))
        self._manners = manners
        self._tokens = tokens
        kept = tokens.load() if tokens else None
        self._token = kept if kept and transport.can_be_sent(kept) else None  # a damaged one opens nothing
        self._sign_ins = 0
        self._failed: Exception | None = None

    def _keep(self, token: str | None) -> None:
        """Later calls use this token."""
        self._token = token
        if self._tokens:
            self._tokens.save(token)

    def _nobody_else_was_here(self, stale: str | None, seen: int) -> bool:
        """The token is still the stale one, and nobody has tried to sign in since `seen`."""
        return self._token == stale and self._sign_ins == seen

    @contextmanager
    def _signing_in(self) -> Iterator[None]:
        """Note what comes of a sign-in; its failure is raised to all that waited for it, by `_fresh`."""
        mark = _signing_in.set((*_signing_in.get(), id(self)))
        try:
            yield
        except Exception as error:
            self._failed = error
        finally:
            _signing_in.reset(mark)
        self._sign_ins += 1

    def _fresh(self, stale: str | None) -> str | None:
        """The token that came in place of a stale one, or why none did."""
        if self._token != stale or self._failed is None:
            return self._token
        raise self._failed

    def _check_not_signing_in(self) -> None:
        """Whoever is asked for a proof must not need a session for it: that would ask again, without end."""
        if id(self) in _signing_in.get():
            raise errors.SessionExpired(401, {"base": ["the sign_in callback made a call that needs a session"]})
