"""The domain's data types, as frozen values.

    App                         an application; its settings are declared in `app_settings.py`
    Session, Caller             a session, and the user who makes a request
    User                        a user's account: the profile, and what Ringbook itself stores beside it
    Entry, Contact, Report      a line of an upload, a contact of an address book, the result of an upload
    Registered, RegisteredPhone a contact who is a user, with the whole profile or only the phone
    JoinedContact, JoinedPage   a contact who has joined, and a part of the list of them
    Subscription                the push token of a device

Times are UTC seconds since 1970; a `number` is the 64-bit integer of `phone.read`.
"""

from enum import Enum
from typing import Literal

from msgspec import Struct

from .app_settings import AppSettings
from .profile_fields import Profile

GLOBAL_BOOK = 0
SEQ_GAP = 2**20  # between two neighbours in a book, so that one can be moved without moving the others
GUEST_SECONDS = 24 * 3600


class App(Struct, frozen=True, kw_only=True):
    """An application: the keys its SDK carries and its settings."""

    id: int
    name: str
    auth_key: str
    auth_secret: str
    hash_key: bytes
    vapid_public_key: str
    settings: AppSettings
    created_at: int
    verified_since: int | None = None

    @property
    def verified_only(self) -> bool:
        """Whether only users with a verified number are found."""
        wanted = self.settings.require_verified_number
        return wanted == "on" or (wanted == "auto" and self.verified_since is not None)


class Session(Struct, frozen=True, kw_only=True):
    """An open session. `user_id` is None for a session of the application. Only a hash of the token is stored."""

    id: int
    app_id: int
    user_id: int | None
    nonce: int
    ts: int
    created_at: int
    last_used_at: int
    expires_at: int
    guest_until: int | None = None


class Caller(Struct, frozen=True, kw_only=True):
    """The user who makes a request, with the application and the address of the request."""

    app: App
    user_id: int
    is_guest: bool
    address: str


class User(Profile, frozen=True, gc=False):
    """A user's account, with all fields that the user may see. `profile_fields.py` declares the profile."""

    app_id: int
    is_guest: bool
    created_at: int
    updated_at: int
    last_request_at: int | None


class Reason(Enum):
    """Why an entry of an upload was rejected."""

    FIELDS = "a field is missing, of the wrong kind, or holds what cannot be stored"
    PHONE_LENGTH = "the number has fewer than 10 or more than 15 digits"
    NAME_LENGTH = "the name has no character or more than 255"


class Entry(Struct, frozen=True, gc=False):
    """An entry of an upload as the app sent it. `name` may be None only together with `destroy`."""

    phone: str
    name: str | None = None
    destroy: bool | Literal[0, 1] | None = False


class Contact(Struct, frozen=True, gc=False):
    """A contact of a book. `typed` is the typed number if it differs from the digits; `seq` orders the book."""

    number: int
    name: str
    typed: str | None
    seq: int


# A contact that an upload stores: keyed number, the keyed value of its entry (`Seal.entries`), its place in the book,
# and what is to be sealed: digits, name and spelling as one text (`seal.contact_texts`). A plain tuple, because an
# upload makes one for each contact that it stores.
Placed = tuple[int, int, int, bytes]
# A contact of a book as an upload compares it: keyed number, entry, seq, and the bytes of the sealed text. A plain
# tuple, because an upload reads one for each contact of the book.
Held = tuple[int, int, int, int]


class Report(Struct, frozen=True):
    """The result of an upload. `rejected` maps positions of entries in the upload to the reasons."""

    created: int
    updated: int
    deleted: int
    rejected: dict[int, list[Reason]]


class Registered(Struct, frozen=True):
    """A contact who is a user, with the name from the caller's own book."""

    user: User
    contact_name: str


class RegisteredPhone(Struct, frozen=True, gc=False):
    """The same, with nothing of the user but the phone."""

    user_id: int
    phone: str | None
    contact_name: str


class JoinedContact(Struct, frozen=True, kw_only=True):
    """A contact who has joined.

    place   in the list of the user who holds the contact
    name    the one in the user's own book now; None where the contact does not open
    at      when the user was told, or would have been
    seen    has the app shown it?
    """

    place: int
    user: User
    name: str | None
    at: int
    seen: bool


class JoinedPage(Struct, frozen=True):
    """A part of a user's list of who joined, the cursor to go on from, and how many items are not seen."""

    items: list[JoinedContact]
    next: str
    unseen: int


class Subscription(Struct, frozen=True, kw_only=True):
    """Where a push reaches a device. `token` is the push token, or the endpoint of a Web Push subscription.

    locale         the language of the device, as BCP 47 writes it
    answered_at    when a Web Push endpoint answered for the first time, or again; None = never
    silent_since   when it first gave no answer after that; None = it answers, or was not asked
    """

    id: int
    user_id: int
    device: str
    platform: str
    channel: str
    environment: str
    bundle: str | None
    token: str
    web_auth: str | None = None
    web_p256dh: str | None = None
    locale: str | None = None
    answered_at: int | None = None
    silent_since: int | None = None


class SentEvent(Struct, frozen=True, kw_only=True):
    """An event that a user has sent, without its text and recipients.

    channel      the only channel that it goes to; "" = every channel
    expires_at   after this time it is not delivered
    """

    id: int
    user_id: int
    environment: str
    channel: str
    created_at: int
    expires_at: int
