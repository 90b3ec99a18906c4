"""The client for a Ringbook server.

    from ringbook_client import Client, Contact, Login

    with Client("https://book.example.com", 1, "KEY", sign_in=lambda: Login("ann", "secret")) as client:
        client.upload_address_book([Contact("Bob", "+1 202 555 0142")], force=True)
        for friend in client.get_registered_users():
            print(friend.name, "is here")

`AsyncClient` in aio.py has the same methods as coroutines. Both send the requests that `calls.py` describes.
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
SignIn = Callable[[], Proof]


class Client(BaseClient):
    """A server and one session. Several threads can share a client.

    url                     the server's address
    app_id, auth_key        the application; on the server, `ringbook app show ID --secrets` shows both
    sign_in                 returns a proof of identity. The client calls it when there is no session or the session
                            has expired, opens a new session, and continues the call. It does so once per call;
                            concurrent calls share one sign-in
    tokens                  a store that keeps the session token between two runs
    timeout                 seconds to connect, and the longest pause in seconds while sending or receiving
    retries                 how often a failed request is sent again, where that is safe
    patience                the longest wait in seconds that the server may ask for; if it asks for more, the error is
                            raised
    http                    your own HTTP client, with its timeouts, proxies and certificates; you close it
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
        """Close the connections. The session stays open on the server."""
        if self._owns_http:
            self._http.close()

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def create_session(self, proof: Proof | None = None) -> Session:
        """Open a session and use it for later calls. Without a proof, it is a session of the application.

        An unknown login creates a new user, unless the application forbids it.
        """
        session = self.call(calls.create_session(self.app, proof))
        self._store_token(session.token)
        return session

    def send_code(self, phone: str) -> CodeSent:
        """Send a one-time code to a number; `create_session(Code(sent.request_id, "123456"))` then opens a session."""
        return self.call(calls.send_code(self.app, phone))

    def get_session(self) -> Session:
        """The current session."""
        return self.call(calls.get_session())

    def delete_session(self) -> None:
        """End the session."""
        self.call(calls.delete_session())
        self._store_token(None)

    def delete_other_sessions(self) -> None:
        """End all other sessions of the user."""
        self.call(calls.delete_other_sessions())

    def log_in(self, proof: Proof) -> User:
        """Make this user the user of the current session."""
        return self.call(calls.log_in(proof))

    def log_out(self) -> None:
        """Remove the user from the current session; it becomes a session of the application."""
        self.call(calls.log_out())

    # ── users ────────────────────────────────────────────────────────────────────────────────────────────────────

    def sign_up(self, **profile: Unpack[Profile]) -> User:
        """Create a user, with a login or an e-mail address and a password. Opens no session."""
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
        """The user with this login, e-mail, phone (in any spelling) or external id; None if there is none."""
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
        """A page of the users that match filters such as `{"id[in]": [1, 2]}`.

        limit   at most 100
        sort    a field name, such as `created_at`; a leading `-` sorts in descending order
        """
        return self.call(calls.get_users(filters, limit=limit, offset=offset, sort=sort))

    def update_user(self, user_id: int, *, proof: Proof | None = None, **profile: Unpack[Profile]) -> User:
        """Change the caller's profile: fields left out stay unchanged, None removes a value.

        proof   verifies a phone number, which becomes the user's
        """
        return self.call(calls.update_user(user_id, profile, proof))

    def send_password_reset(self, email: str) -> None:
        """Have the server mail a link to the user with this e-mail; its page takes a new password.

        Needs a session, such as one of the application: `create_session()`. Also succeeds if no user has the e-mail.
        Raises Invalid if the server sends no mails.
        """
        self.call(calls.send_password_reset(email))

    def delete_user(self, user_id: int) -> None:
        """Delete the caller's own user, with its address books, subscriptions and sessions."""
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
        """Add, rename and remove contacts. With `force`, these contacts replace the whole address book.

        contacts   `Contact` adds or renames, `Removal` removes
        device     the device whose address book this is; None is the address book that all devices of the user share
        progress   called with (entries done, entries in all) before the upload and after each part
        part       entries per request; with `force` there is always one request

        The report lists the contacts that the server rejected, with the reasons. If a part fails, the exception's
        `applied` is the report on the parts before it.
        """
        return self.run(uploads.upload(list(contacts), force=force, device=device, part=part, progress=progress))

    def get_address_book(self, *, device: str | None = None) -> list[Contact]:
        """The address book in upload order, with names and numbers as they were uploaded."""
        return self.call(calls.get_address_book(device))

    def get_registered_users(self, *, compact: bool = True, device: str | None = None) -> list[Registered]:
        """The contacts who are registered users, in address book order. `compact=False` adds their profiles."""
        return self.call(calls.get_registered_users(compact=compact, device=device))

    def registered_since(
        self, cursor: str = "0", *, compact: bool = True, device: str | None = None
    ) -> NewlyRegistered:
        """The registered contacts who are new since the call that returned this cursor as `next`.

        cursor   "0" returns all of them, and the first cursor. Keep `next` for the next call, one for each `device`

        A contact is new who has signed up, may be found now, has another number, or has entered the address book.
        After the server's database was restored, all of them are new once more.
        """
        return self.call(calls.registered_since(cursor, compact=compact, device=device))

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
        """Make the server's address book equal to these contacts: a full upload the first time, then only changes.

        state         a file that records what the server holds. It contains names and numbers and has mode 0600
        device        the device whose address book this is. Devices that sync a shared address book overwrite each
                      other's contacts
        check         first compare the server's address book with the state, and upload everything if another program
                      has changed it
        full          always upload everything
        keep          remove no contact: for a source that was read only in part, or is one of several sources
        allow_empty   if there are no contacts, empty the server's address book instead of raising EmptyBook

        The program can be killed at any moment: the next sync corrects the address book.
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
        """What `sync_address_book` would do. Changes nothing."""
        steps = sync.plan_steps(contacts, Path(state), self.url, self.app, device=device, full=full, keep=keep)
        return self.run(steps)

    # ── who joined ───────────────────────────────────────────────────────────────────────────────────────────────

    def joined(self, *, limit: int = PAGE_SIZE, after: str | None = None, before: int | None = None) -> JoinedPage:
        """The contacts who have joined, the newest first. It is complete also where pushes are off or were lost.

        limit    at most 100
        after    the `next` of an earlier page: only what came since, the oldest first. After a full page, call again
        before   the id of an item: only older ones. Keep the `next` of the first page then
        """
        return self.call(calls.joined(limit=limit, after=after, before=before))

    def mark_seen(self, up_to: int) -> int:
        """Mark the items of `joined` up to this id as seen. Returns how many are not, up to 100."""
        return self.call(calls.mark_seen(up_to))

    def joined_settings(self) -> JoinedSettings:
        """Who is told that the caller joins and finds the caller, and how the caller hears of others."""
        return self.call(calls.joined_settings())

    def update_joined_settings(self, **changes: Unpack[JoinedChanges]) -> JoinedSettings:
        """Change these settings: fields left out stay unchanged."""
        return self.call(calls.update_joined_settings(changes))

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
        """Subscribe a device to pushes.

        channel   `gcm`, `apns` or `apns_voip`
        token     the device's token of that push service
        """
        call = calls.create_subscription(
            channel, token, device=device, platform=platform, environment=environment, bundle=bundle
        )
        return self.call(call)

    def create_web_subscription(
        self, endpoint: str, *, auth: str, p256dh: str, device: str, environment: str = "production"
    ) -> Subscription:
        """Subscribe a browser to pushes, by the three values of its `PushSubscription`."""
        return self.call(
            calls.create_web_subscription(endpoint, auth=auth, p256dh=p256dh, device=device, environment=environment)
        )

    def get_subscriptions(self) -> list[Subscription]:
        """The caller's own subscriptions."""
        return self.call(calls.get_subscriptions())

    def delete_subscription(self, subscription_id: int) -> None:
        """Delete one of the caller's own subscriptions."""
        self.call(calls.delete_subscription(subscription_id))

    def send_push(
        self, user_ids: Sequence[int], message: Mapping[str, Any], *, environment: str = "production"
    ) -> None:
        """Send a push to other users: `{"message": "the text to show"}`, your own keys for the app, or both."""
        self.call(calls.send_push(user_ids, message, environment=environment))

    # ── sending calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, call: Call[T]) -> T:
        """Send one call, with retries, and return its result."""
        return retries.drive(retries.attempts(call, self._token, self._policy), self._perform)

    def run(self, steps: Generator[Call[Any], Any, T]) -> T:
        """Send the calls that a generator yields, and return the generator's value."""
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
        """The token of a new session. Only one thread signs in; the others wait for its result."""
        assert self._sign_in is not None
        self._refuse_call_inside_sign_in()
        count_before = self._sign_in_count
        with self._sign_in_lock:
            if self._needs_sign_in(stale_token, count_before):
                with self._signing_in():
                    self.create_session(self._sign_in())
            return self._token_after_sign_in(stale_token)
