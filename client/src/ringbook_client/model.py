"""The values that calls take and return. All are frozen dataclasses.

    Contact, Removal            the entries of an upload
    Rejected, Report            the result of an upload
    Registered                  a contact who is a user
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
