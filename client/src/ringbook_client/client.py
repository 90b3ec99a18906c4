"""A Ringbook server, as an object.

    from ringbook_client import Client, Contact, Login

    with Client("https://book.example.com", 1, "KEY", sign_in=lambda: Login("ann", "secret")) as client:
        client.upload_address_book([Contact("Bob", "+1 202 555 0142")], force=True)
        for friend in client.get_registered_users():
            print(friend.name, "is here")

`AsyncClient` in aio.py has the same methods, to be awaited. Both only carry out what `calls.py` describes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from . import calls, errors, retries, sync, transport, uploads
from .base_client import BaseClient
from .calls import PAGE_SIZE, Call, Entry, FilterValue
from .model import CodeSent, Contact, Registered, Report, Session, Subscription, User, UserPage
from .proofs import Proof
from .retries import RenewSession, RetryPolicy, Send, Step
from .sync import Plan, Synced
from .tokens import TokenStore
from .uploads import PART_SIZE, Progress

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .profile import Profile

T = TypeVar("T")
SignIn = Callable[[], Proof]


class Client(BaseClient):
    """A server and one session there; threads may share it.

    url, app_id, auth_key   as `ringbook app show ID --secrets` names them
    sign_in                 asked for a proof when there is no session yet, or it has expired: then a new one is
                            opened and the call goes on. Once for each call, and once for all that wait at the time
    tokens                  keeps the session's token between two runs
    timeout                 seconds for connecting, and for each pause while sending or receiving
    retries, patience       how often a failed request is sent again, where that is safe; and the longest wait, in
                            seconds, that a server may ask for
    http                    an HTTP client of yours, with its own timeouts, proxies and certificates; you close it
    """

    def __init__(
        self,
        url: str,
        app_id: int,
        auth_key: str,
        *,
        sign_in: SignIn | None = None,
        tokens: TokenStore | None = None,
        timeout: float = 30,
        retries: int = 2,
        patience: float = 60,
        http: httpx2.Client | None = None,
    ) -> None:
        super().__init__(url, app_id, auth_key, tokens, RetryPolicy(retries, patience, can_sign_in=sign_in is not None))
        self._sign_in = sign_in
        self._owns_http = http is None
        self._http = http or httpx2.Client(timeout=timeout)
        self._sign_in_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The session lives on."""
        if self._owns_http:
            self._http.close()

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def create_session(self, proof: Proof | None = None) -> Session:
        """Open a session for whoever the proof is about, without one for the application; later calls use it.

        An unknown login makes a new user, unless the application forbids it.
        """
        session = self.call(calls.create_session(self.app, proof))
        self._store_token(session.token)
        return session

    def send_code(self, phone: str) -> CodeSent:
        """Have a one-time code sent to a number; `create_session(Code(sent.request_id, "123456"))` goes on."""
        return self.call(calls.send_code(self.app, phone))

    def get_session(self) -> Session:
        """The session at hand."""
        return self.call(calls.get_session())

    def delete_session(self) -> None:
        """End the session."""
        self.call(calls.delete_session())
        self._store_token(None)

    def delete_other_sessions(self) -> None:
        """End the user's sessions elsewhere."""
        self.call(calls.delete_other_sessions())

    def log_in(self, proof: Proof) -> User:
        """Make the session at hand this user's."""
        return self.call(calls.log_in(proof))

    def log_out(self) -> None:
        """Make the session at hand the application's own again."""
        self.call(calls.log_out())

    # ── users ────────────────────────────────────────────────────────────────────────────────────────────────────

    def sign_up(self, **profile: Unpack[Profile]) -> User:
        """Make a user; it needs a login or an e-mail, and a password. It opens no session."""
        return self.call(calls.sign_up(self.app, profile))

    def get_user(self, user_id: int) -> User:
        """The user with this id."""
        return self.call(calls.get_user(user_id))

    def find_user(
        self,
        *,
        login: str | None = None,
        email: str | None = None,
        phone: str | None = None,
        facebook_id: str | None = None,
        twitter_id: str | None = None,
        external_id: str | None = None,
    ) -> User | None:
        """The user with this login, e-mail, phone (in any spelling) or id elsewhere; None if there is none."""
        call = calls.find_user(
            login=login,
            email=email,
            phone=phone,
            facebook_id=facebook_id,
            twitter_id=twitter_id,
            external_id=external_id,
        )
        try:
            return self.call(call)
        except errors.NotFound:
            return None

    def get_users(
        self, filters: Mapping[str, FilterValue], *, limit: int = PAGE_SIZE, offset: int = 0, sort: str | None = None
    ) -> UserPage:
        """Users by a query such as `{"id[in]": [1, 2]}`; at most 100 a page, `sort="-created_at"` the newest first."""
        return self.call(calls.get_users(filters, limit=limit, offset=offset, sort=sort))

    def update_user(self, user_id: int, *, proof: Proof | None = None, **profile: Unpack[Profile]) -> User:
        """Change oneself: what is given changes, None removes. A proof of a new number makes that one the user's."""
        return self.call(calls.update_user(user_id, profile, proof))

    def delete_user(self, user_id: int) -> None:
        """Delete oneself, with books, subscriptions and sessions."""
        self.call(calls.delete_user(user_id))
        self._store_token(None)

    # ── address books ────────────────────────────────────────────────────────────────────────────────────────────

    def upload_address_book(
        self,
        contacts: Iterable[Entry],
        *,
        force: bool = False,
        device: str | None = None,
        progress: Progress | None = None,
        part: int = PART_SIZE,
    ) -> Report:
        """Add, rename and remove contacts; with `force` the book is then exactly these.

        contacts   `Contact` to add or rename, `Removal` to remove
        device     a book of its own for this device; None: the one that all devices of the user share
        progress   called with (done, of how many) as parts of `part` entries are through; `force` is always one part

        Contacts that the server cannot take are in the report, with the reasons. If a part fails, the error's
        `applied` is the report on the parts before it.
        """
        return self.run(uploads.upload(list(contacts), force=force, device=device, part=part, progress=progress))

    def get_address_book(self, *, device: str | None = None) -> list[Contact]:
        """The book in upload order, with names and numbers as they were sent."""
        return self.call(calls.get_address_book(device))

    def get_registered_users(self, *, compact: bool = True, device: str | None = None) -> list[Registered]:
        """The contacts of a book who are users, in the book's order; with `compact=False` with their profiles."""
        return self.call(calls.get_registered_users(compact=compact, device=device))

    def sync_address_book(
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
        """Make the server's book what these contacts are now: a full upload the first time, then what has changed.

        state         a file, which remembers what the server holds; it has names and numbers, and mode 0600
        device        a book of its own for this device. Without it devices that sync one book undo each other's work
        check         compare the server's book with the state first, and upload all if somebody else has changed it
        full          upload all in any case
        keep          remove nobody: for a source that could be read only in part, or is one of several
        allow_empty   no contacts are no mistake: empty the server's book

        It may be killed at any moment; the next one makes good what is missing.
        """
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
        return self.run(steps)

    def plan_sync(
        self,
        contacts: Iterable[Contact],
        state: Path | str,
        *,
        device: str | None = None,
        full: bool = False,
        keep: bool = False,
    ) -> Plan:
        """What `sync_address_book` would do; nothing is changed."""
        steps = sync.plan_steps(contacts, Path(state), self.url, self.app, device=device, full=full, keep=keep)
        return self.run(steps)

    # ── subscriptions and pushes ─────────────────────────────────────────────────────────────────────────────────

    def create_subscription(
        self,
        channel: str,
        token: str,
        *,
        device: str,
        platform: str,
        environment: str = "production",
        bundle: str | None = None,
    ) -> Subscription:
        """Have pushes sent to a device: `gcm` or `apns` or `apns_voip`, and the token that it got there."""
        call = calls.create_subscription(
            channel, token, device=device, platform=platform, environment=environment, bundle=bundle
        )
        return self.call(call)

    def create_web_subscription(
        self, endpoint: str, *, auth: str, p256dh: str, device: str, environment: str = "production"
    ) -> Subscription:
        """Have pushes sent to a browser: the three values of its `PushSubscription`."""
        return self.call(
            calls.create_web_subscription(endpoint, auth=auth, p256dh=p256dh, device=device, environment=environment)
        )

    def get_subscriptions(self) -> list[Subscription]:
        """One's own subscriptions."""
        return self.call(calls.get_subscriptions())

    def delete_subscription(self, subscription_id: int) -> None:
        """End one of one's own subscriptions."""
        self.call(calls.delete_subscription(subscription_id))

    def send_push(
        self, user_ids: Sequence[int], message: Mapping[str, Any], *, environment: str = "production"
    ) -> None:
        """Push to other users: `{"message": "what devices show"}`, or keys of your app's own, or both."""
        self.call(calls.send_push(user_ids, message, environment=environment))

    # ── how a call is carried out ────────────────────────────────────────────────────────────────────────────────

    def call(self, call: Call[T]) -> T:
        """Carry out one call."""
        return retries.drive(retries.attempts(call, self._token, self._policy), self._perform)

    def run(self, steps: Generator[Call[Any], Any, T]) -> T:
        """Carry out a work of several calls."""
        return retries.drive(steps, self.call)

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self._send(step)
        if isinstance(step, RenewSession):
            return self._renew(step.stale_token)
        return time.sleep(step.seconds)

    def _send(self, step: Send) -> Any:
        try:
            return transport.to_answer(self._http.request(**transport.request_arguments(self.url, step)))
        except httpx2.RequestError as error:
            raise transport.to_error(error) from None

    def _renew(self, stale_token: str | None) -> str | None:
        """A token in place of a stale one; only one thread signs in, the others wait for it."""
        assert self._sign_in is not None
        self._refuse_call_inside_sign_in()
        count_before = self._sign_in_count
        with self._sign_in_lock:
            if self._needs_sign_in(stale_token, count_before):
                with self._signing_in():
                    self.create_session(self._sign_in())
            return self._token_after_sign_in(stale_token)
