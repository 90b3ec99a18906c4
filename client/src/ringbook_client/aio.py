"""The client for asyncio.

    async with AsyncClient("https://book.example.com", 1, "KEY", sign_in=ask) as client:
        await client.upload_address_book([Contact("Bob", "+1 202 555 0142")], force=True)

It has the methods of `Client`, whose docstrings it copies. `sign_in` may be a coroutine function.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from . import calls, errors, retries, sync, transport, uploads
from .base_client import BaseClient
from .calls import PAGE_SIZE, Call, Entry, FilterValue
from .client import Client
from .model import (
    CodeSent,
    Contact,
    JoinedPage,
    JoinedSettings,
    NewlyRegistered,
    Registered,
    Report,
    Session,
    Subscription,
    User,
    UserPage,
)
from .proofs import Proof
from .retries import RenewSession, RetryPolicy, Send, Step
from .sync import Plan, Synced
from .tokens import TokenStore
from .uploads import PART_SIZE, Progress

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .profile import JoinedChanges, Profile

T = TypeVar("T")
AsyncSignIn = Callable[[], Proof | Awaitable[Proof]]


class AsyncClient(BaseClient):
    """A server and one session, for the tasks of one event loop. The arguments are those of `Client`."""

    def __init__(
        self,
        url: str,
        app_id: int,
        auth_key: str,
        *,
        sign_in: AsyncSignIn | None = None,
        tokens: TokenStore | None = None,
        timeout: float = 30,
        retries: int = 2,
        patience: float = 60,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        super().__init__(url, app_id, auth_key, tokens, RetryPolicy(retries, patience, can_sign_in=sign_in is not None))
        self._sign_in = sign_in
        self._owns_http = http is None
        self._http = http or httpx2.AsyncClient(timeout=timeout)
        self._sign_in_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._owns_http:
            await self._http.aclose()

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_session(self, proof: Proof | None = None) -> Session:
        session = await self.call(calls.create_session(self.app, proof))
        self._store_token(session.token)
        return session

    async def send_code(self, phone: str) -> CodeSent:
        return await self.call(calls.send_code(self.app, phone))

    async def get_session(self) -> Session:
        return await self.call(calls.get_session())

    async def delete_session(self) -> None:
        await self.call(calls.delete_session())
        self._store_token(None)

    async def delete_other_sessions(self) -> None:
        await self.call(calls.delete_other_sessions())

    async def log_in(self, proof: Proof) -> User:
        return await self.call(calls.log_in(proof))

    async def log_out(self) -> None:
        await self.call(calls.log_out())

    # ── users ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def sign_up(self, **profile: Unpack[Profile]) -> User:
        return await self.call(calls.sign_up(self.app, profile))

    async def get_user(self, user_id: int) -> User:
        return await self.call(calls.get_user(user_id))

    async def find_user(
        self,
        *,
        login: str | None = None,
        email: str | None = None,
        phone: str | None = None,
        facebook_id: str | None = None,
        twitter_id: str | None = None,
        external_id: str | None = None,
    ) -> User | None:
        call = calls.find_user(
            login=login,
            email=email,
            phone=phone,
            facebook_id=facebook_id,
            twitter_id=twitter_id,
            external_id=external_id,
        )
        try:
            return await self.call(call)
        except errors.NotFound:
            return None

    async def get_users(
        self, filters: Mapping[str, FilterValue], *, limit: int = PAGE_SIZE, offset: int = 0, sort: str | None = None
    ) -> UserPage:
        return await self.call(calls.get_users(filters, limit=limit, offset=offset, sort=sort))

    async def update_user(self, user_id: int, *, proof: Proof | None = None, **profile: Unpack[Profile]) -> User:
        return await self.call(calls.update_user(user_id, profile, proof))

    async def send_password_reset(self, email: str) -> None:
        await self.call(calls.send_password_reset(email))

    async def delete_user(self, user_id: int) -> None:
        await self.call(calls.delete_user(user_id))
        self._store_token(None)

    # ── address books ────────────────────────────────────────────────────────────────────────────────────────────

    async def upload_address_book(
        self,
        contacts: Iterable[Entry],
        *,
        force: bool = False,
        device: str | None = None,
        progress: Progress | None = None,
        part: int = PART_SIZE,
    ) -> Report:
        return await self.run(uploads.upload(list(contacts), force=force, device=device, part=part, progress=progress))

    async def get_address_book(self, *, device: str | None = None) -> list[Contact]:
        return await self.call(calls.get_address_book(device))

    async def get_registered_users(self, *, compact: bool = True, device: str | None = None) -> list[Registered]:
        return await self.call(calls.get_registered_users(compact=compact, device=device))

    async def registered_since(
        self, cursor: str = "0", *, compact: bool = True, device: str | None = None
    ) -> NewlyRegistered:
        return await self.call(calls.registered_since(cursor, compact=compact, device=device))

    async def sync_address_book(
        self,
        contacts: Iterable[Contact],
        state: Path | str,
        *,
        device: str | None = None,
        check: bool = True,
        full: bool = False,
        keep: bool = False,
        allow_empty: bool = False,
        progress: Progress | None = None,
    ) -> Synced:
        steps = sync.sync_steps(
            contacts,
            Path(state),
            self.url,
            self.app,
            device=device,
            check=check,
            full=full,
            keep=keep,
            allow_empty=allow_empty,
            progress=progress,
        )
        return await self.run(steps)

    async def plan_sync(
        self,
        contacts: Iterable[Contact],
        state: Path | str,
        *,
        device: str | None = None,
        full: bool = False,
        keep: bool = False,
    ) -> Plan:
        steps = sync.plan_steps(contacts, Path(state), self.url, self.app, device=device, full=full, keep=keep)
        return await self.run(steps)

    # ── who joined ───────────────────────────────────────────────────────────────────────────────────────────────

    async def joined(
        self, *, limit: int = PAGE_SIZE, after: str | None = None, before: int | None = None
    ) -> JoinedPage:
        return await self.call(calls.joined(limit=limit, after=after, before=before))

    async def mark_seen(self, up_to: int) -> int:
        return await self.call(calls.mark_seen(up_to))

    async def joined_settings(self) -> JoinedSettings:
        return await self.call(calls.joined_settings())

    async def update_joined_settings(self, **changes: Unpack[JoinedChanges]) -> JoinedSettings:
        return await self.call(calls.update_joined_settings(changes))

    # ── subscriptions and pushes ─────────────────────────────────────────────────────────────────────────────────

    async def create_subscription(
        self,
        channel: str,
        token: str,
        *,
        device: str,
        platform: str,
        environment: str = "production",
        bundle: str | None = None,
    ) -> Subscription:
        call = calls.create_subscription(
            channel, token, device=device, platform=platform, environment=environment, bundle=bundle
        )
        return await self.call(call)

    async def create_web_subscription(
        self, endpoint: str, *, auth: str, p256dh: str, device: str, environment: str = "production"
    ) -> Subscription:
        return await self.call(
            calls.create_web_subscription(endpoint, auth=auth, p256dh=p256dh, device=device, environment=environment)
        )

    async def get_subscriptions(self) -> list[Subscription]:
        return await self.call(calls.get_subscriptions())

    async def delete_subscription(self, subscription_id: int) -> None:
        await self.call(calls.delete_subscription(subscription_id))

    async def send_push(
        self, user_ids: Sequence[int], message: Mapping[str, Any], *, environment: str = "production"
    ) -> None:
        await self.call(calls.send_push(user_ids, message, environment=environment))

    # ── sending calls ───────────────────────────────────────────────────────────────────────────────────────────────

    async def call(self, call: Call[T]) -> T:
        return await retries.drive_async(retries.attempts(call, self._token, self._policy), self._perform)

    async def run(self, steps: Generator[Call[Any], Any, T]) -> T:
        return await retries.drive_async(steps, self.call)

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._send(step)
        if isinstance(step, RenewSession):
            return await self._renew(step.stale_token)
        return await asyncio.sleep(step.seconds)

    async def _send(self, step: Send) -> Any:
        try:
            return transport.to_answer(await self._http.request(**transport.request_arguments(self.url, step)))
        except httpx2.RequestError as error:
            raise transport.to_error(error) from None

    async def _renew(self, stale_token: str | None) -> str | None:
        """The token of a new session. Only one task signs in; the others wait for its result."""
        assert self._sign_in is not None
        self._refuse_call_inside_sign_in()
        count_before = self._sign_in_count
        async with self._sign_in_lock:
            if self._needs_sign_in(stale_token, count_before):
                with self._signing_in():
                    proof = self._sign_in()
                    await self.create_session(await proof if inspect.isawaitable(proof) else proof)
            return self._token_after_sign_in(stale_token)


for _name, _method in vars(AsyncClient).items():
    if inspect.iscoroutinefunction(_method) and not _method.__doc__:
        _method.__doc__ = getattr(Client, _name, _method).__doc__
