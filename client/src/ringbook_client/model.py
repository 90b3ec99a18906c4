"""What calls take and answer, as frozen values.

    Contact, Removal            a line of an upload
    Rejected, Report            what an upload did
    Registered                  a contact who is a user
    User, UserPage              people's accounts, as far as the caller may see them
    Session, CodeSent           proof of who asks; a one-time code that is on its way
    Subscription                where a push reaches a device

Times are aware datetimes in UTC. Tokens do not show when a value is printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody in an address book: a name of 1 to 255 characters, and a number in any spelling."""

    name: str
    phone: str


@dataclass(frozen=True, slots=True)
class Removal:
    """In an upload: whoever has this number is to leave the book."""

    phone: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that the server did not take, where it stood in the upload, and why."""

    entry: Contact | Removal
    position: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What an upload did. Entries count one by one; a contact that was there counts as updated, also if unchanged."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """A user. Of somebody else, `phone` and `email` are None unless the caller knows them already."""

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
    """Some of the users that a query found; `total` counts all."""

    users: tuple[User, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A contact who is a user.

    name   as the caller's own book has it
    user   the profile, None after a compact question
    """

    id: int
    name: str
    phone: str | None
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Proof of who asks. `user_id` is None for the application's own session."""

    id: int
    token: str = field(repr=False)
    app_id: int
    user_id: int | None
    user: User | None
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class CodeSent:
    """A one-time code is on its way; `request_id` goes back with it. Another may be asked for at `resend_at`."""

    request_id: str = field(repr=False)
    expires_at: datetime
    resend_at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A device's wish to receive pushes. Its push token is shown to nobody."""

    id: int
    channel: str
    device: str
    platform: str
    environment: str
    bundle: str | None
