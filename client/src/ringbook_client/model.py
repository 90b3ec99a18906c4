"""The values that calls take and return. All are frozen dataclasses.

    Contact, Removal            the entries of an upload
    Rejected, Report            the result of an upload
    Registered, NewlyRegistered a contact who is a user; those who are new since a cursor
    Joined, JoinedPage          a contact who has joined; a part of the list of them
    JoinedSettings              what a user has decided about joined pushes
    User, UserPage              the profile of a user; a page of users
    Session, CodeSent           a session; the receipt for a one-time code
    Subscription                a device that receives pushes

Times are aware datetimes in UTC. `repr` leaves tokens out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Contact:
    """An entry of an address book: a name of 1 to 255 characters and a phone number in any spelling."""

    name: str
    phone: str


@dataclass(frozen=True, slots=True)
class Removal:
    """In an upload: remove the contact with this number from the address book."""

    phone: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that the server rejected, its position in the upload from 0, and the reasons."""

    entry: Contact | Removal
    position: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an upload. Each entry counts once; a contact that existed counts as updated, even if unchanged."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """The profile of a user. `phone` and `email` of another user are None unless the caller already knows them."""

    id: int
    login: str | None = None
    email: str | None = None
    full_name: str | None = None
    phone: str | None = None
    website: str | None = None
    avatar: str | None = None
    custom_data: str | None = None
    tags: tuple[str, ...] = ()
    timezone: int | None = None
    external_id: str | None = None
    external_user_id: int | None = None
    facebook_id: str | None = None
    twitter_id: str | None = None
    is_guest: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_request_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of the users that match a query; `total` counts all of them."""

    users: tuple[User, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A contact who is a user.

    name   the contact's name in the caller's address book
    user   the profile; None if the call was made with `compact=True`
    """

    id: int
    name: str
    phone: str | None
    user: User | None = None


@dataclass(frozen=True, slots=True)
class NewlyRegistered:
    """The registered contacts who are new since a cursor, and the cursor for the next call."""

    contacts: tuple[Registered, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A contact who has joined.

    id     its place in the caller's list of who joined
    name   the contact's name in the caller's address book now; None if the stored contact is damaged
    seen   the app has shown it
    """

    id: int
    user_id: int
    name: str | None
    phone: str | None
    full_name: str | None
    created_at: datetime
    seen: bool


@dataclass(frozen=True, slots=True)
class JoinedPage:
    """A part of the list of who joined.

    next     a cursor for `after`
    unseen   how many items the app has not shown, up to 100
    """

    items: tuple[Joined, ...]
    next: str
    unseen: int


@dataclass(frozen=True, slots=True)
class JoinedSettings:
    """What holds for the caller: the caller's own choice, or else the application's.

    announce       who is told that the caller has joined: `everyone`, `mutual` or `nobody`
    discoverable   who finds the caller by the number: the same
    notify         are pushes sent to the caller when contacts join?
    quiet          the hours in which these pushes wait, such as `("22:00", "08:00")`
    time_zone      an IANA name, such as `Europe/Berlin`
    digest         after so many of these pushes within 24 hours, the others come together
    locale         a language, such as `de`
    """

    announce: str
    discoverable: str
    notify: bool
    quiet: tuple[str, str] | None
    time_zone: str | None
    digest: int
    locale: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `user_id` is None if the session belongs to the application, not to a user."""

    id: int
    token: str = field(repr=False)
    app_id: int
    user_id: int | None
    user: User | None
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class CodeSent:
    """A one-time code was sent. Send `request_id` back with the code; from `resend_at` on, another can be requested."""

    request_id: str = field(repr=False)
    expires_at: datetime
    resend_at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A device that receives pushes. The server never returns its push token."""

    id: int
    channel: str
    device: str
    platform: str
    environment: str
    bundle: str | None
