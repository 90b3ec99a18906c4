"""What requests and answers look like: a type each, from which requests are read, answers written, and OpenAPI made.

    …In, …Request    what apps send; read leniently by `wire.take`
    …Out             what apps receive
    user_out, …      our nouns → what apps receive

Sources: docs/wire.md §2 (sessions), §3 (users), §4 (address book), §5 (subscriptions).
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import asdict, fields

from ..model import Reason, Registered, Report, Session, Subscription, User
from .wire import Dialect, iso, iso_or_none

Id = Annotated[int, Meta(ge=1, le=2**31 - 1, examples=[271])]
Date = Annotated[str, Meta(description="ISO 8601, UTC", examples=["2018-12-05T11:58:02Z"])]
Login = Annotated[str, Meta(examples=["ann"])]
Email = Annotated[str, Meta(examples=["ann@example.com"])]
Password = Annotated[str, Meta(examples=["correct-horse"])]
Phone = Annotated[str, Meta(description="in any spelling", examples=["+44 7700 900123"])]
FullName = Annotated[str, Meta(examples=["Ann Example"])]
ContactName = Annotated[str, Meta(description="1 to 255 characters", examples=["Ann (climbing)"])]
Flag = Annotated[bool, Meta(description="also 0, 1, or the text of one", examples=[True])]

# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class UserIn(Struct, kw_only=True):
    """What an app may say about its user; anything else is ignored. Absent fields stay as they are."""

    login: Login | None | UnsetType = UNSET
    email: Email | None | UnsetType = UNSET
    password: Password | None | UnsetType = UNSET
    old_password: Annotated[str, Meta(description="the present one, to set a new `password`")] | None | UnsetType = (
        UNSET
    )
    phone: Phone | None | UnsetType = UNSET
    full_name: FullName | None | UnsetType = UNSET
    external_id: str | None | UnsetType = UNSET
    external_user_id: int | None | UnsetType = UNSET
    facebook_id: str | None | UnsetType = UNSET
    twitter_id: str | None | UnsetType = UNSET
    website: Annotated[str, Meta(description="gains http:// when it has no scheme")] | None | UnsetType = UNSET
    avatar: str | None | UnsetType = UNSET
    custom_data: str | None | UnsetType = UNSET
    timezone: Annotated[int, Meta(description="minutes")] | None | UnsetType = UNSET
    tag_list: Annotated[list[str], Meta(description="at most 5; also as a text with commas")] | None | UnsetType = UNSET


class UserRequest(Struct):
    """Sign-up, or a change of oneself."""

    user: UserIn


class ChangeRequest(Struct, kw_only=True):
    """A change of oneself; with a provider and its proof beside it, also of the number."""

    user: UserIn
    provider: Annotated[str, Meta(description="firebase_phone or phone")] | None = None
    firebase_phone: "FirebaseIn | None" = None
    phone: "PhoneIn | None" = None


class UserOut(Struct, kw_only=True):
    """A user. Of somebody else, `phone` and `email` are null unless the caller knows them already."""

    id: Id
    full_name: FullName | None
    email: Email | None
    login: Login | None
    phone: Phone | None
    website: str | None
    created_at: Date
    updated_at: Date
    last_request_at: Date | None
    external_user_id: int | None
    external_id: str | None
    facebook_id: str | None
    twitter_id: str | None
    blob_id: None = None
    custom_data: str | None
    avatar: str | None
    user_tags: Annotated[str, Meta(description="tags, separated by commas", examples=["vip,climbing"])] | None
    timezone: int | None
    is_guest: bool


class OneUser(Struct):
    """One user, wrapped."""

    user: UserOut


class UserPage(Struct):
    """Users, flat: the answer of /users/v2."""

    limit: Annotated[int, Meta(examples=[100])]
    skip: int
    total_entries: Annotated[int, Meta(examples=[1])]
    items: list[UserOut]


class OldUserPage(Struct):
    """Users, each wrapped: the answer of the V1 look-ups."""

    current_page: Annotated[int, Meta(examples=[1])]
    per_page: Annotated[int, Meta(examples=[10])]
    total_entries: Annotated[int, Meta(examples=[1])]
    items: list[OneUser]


def user_out(user: User) -> UserOut:
    """A user as apps see one."""
    return UserOut(
        id=user.id,
        full_name=user.full_name,
        email=user.email,
        login=user.login,
        phone=user.phone,
        website=user.website,
        created_at=iso(user.created_at),
        updated_at=iso(user.updated_at),
        last_request_at=iso_or_none(user.last_request_at),
        external_user_id=user.external_user_id,
        external_id=user.external_id,
        facebook_id=user.facebook_id,
        twitter_id=user.twitter_id,
        custom_data=user.custom_data,
        avatar=user.avatar,
        user_tags=user.user_tags,
        timezone=user.timezone,
        is_guest=user.is_guest,
    )


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class SignInIn(Struct, kw_only=True):
    """Who opens a session: login or email with the password, or a guest with a name."""

    login: Login | None = None
    email: Email | None = None
    password: Password | None = None
    guest: Annotated[bool, Meta(description="for a guest, who needs neither login nor password")] | None = None
    full_name: Annotated[str, Meta(description="of a guest")] | None = None


class FirebaseIn(Struct, kw_only=True):
    """A Firebase ID token."""

    project_id: Annotated[str, Meta(description="the application's Firebase project")] | None = None
    access_token: Annotated[str, Meta(description="the ID token")] | None = None


class PhoneIn(Struct, kw_only=True):
    """First `number`: a code is sent to it (202). Then `request_id` and `code`: they open the session."""

    number: Annotated[str, Meta(description="international, in any spelling", examples=["+44 7700 900123"])] | None = (
        None
    )
    request_id: Annotated[str, Meta(description="from the answer to the first step")] | None = None
    code: Annotated[str, Meta(description="six digits", examples=["123456"])] | None = None


class CodeOut(Struct):
    """A code is on its way."""

    request_id: Annotated[str, Meta(examples=["3f6c0d9a51be4c7e8a20"])]
    expires_at: Date
    resend_at: Annotated[str, Meta(description="when another code may be asked for", examples=["2018-12-05T11:58:32Z"])]


class CodeAsked(Struct):
    """A code that was asked for, wrapped."""

    verification: CodeOut


Provider = Annotated[
    str, Meta(description="firebase_phone, firebase_email or phone, with the object of that name", examples=["phone"])
]


class SessionRequest(Struct, kw_only=True):
    """Without `user` and `provider` this opens the application's own session."""

    application_id: Annotated[int, Meta(description="always needed", examples=[1])] | None = None
    auth_key: Annotated[str, Meta(description="always needed", examples=["d1f0c5b2a7e94c3b8d6f1a20"])] | None = None
    timestamp: Annotated[int, Meta(description="Unix seconds; with a signature, at most an hour off")] | None = None
    nonce: int | None = None
    signature: (
        Annotated[
            str,
            Meta(description="HMAC of the other parameters, SHA-1 or SHA-256, in hex; QuickBlox SDKs always send it"),
        ]
        | None
    ) = None
    user: SignInIn | None = None
    provider: Provider | None = None
    firebase_phone: FirebaseIn | None = None
    firebase_email: FirebaseIn | None = None
    phone: PhoneIn | None = None


class LoginRequest(Struct, kw_only=True):
    """The user whom this session is to become."""

    login: Login | None = None
    email: Email | None = None
    password: Password | None = None
    provider: Provider | None = None
    firebase_phone: FirebaseIn | None = None
    firebase_email: FirebaseIn | None = None
    phone: PhoneIn | None = None


class SessionOut(Struct, kw_only=True):
    """A session. `token` goes into the CB-Token or QB-Token header of the requests that follow."""

    id: Id
    user_id: (
        Annotated[int, Meta(description="null (0 for QuickBlox SDKs) for the application's own", examples=[271])] | None
    )
    application_id: Annotated[int, Meta(examples=[1])]
    token: Annotated[str, Meta(examples=["83153a14fb2df777c2f866178902a4bb15000001"])]
    ts: Annotated[int, Meta(description="the timestamp that was sent, or now", examples=[1544010993])]
    nonce: Annotated[int, Meta(description="the nonce that was sent, or 0", examples=[0])]
    created_at: Date
    updated_at: Date
    user: UserOut | UnsetType = UNSET


class OneSession(Struct):
    """A session, wrapped."""

    session: SessionOut


def session_out(session: Session, token: str, user: User | None, dialect: Dialect) -> OneSession:
    """A session as apps see it, with the token only its bearer has."""
    nobody = 0 if dialect is Dialect.QUICKBLOX else None
    return OneSession(
        SessionOut(
            id=session.id,
            user_id=session.user_id or nobody,
            application_id=session.app_id,
            token=token,
            ts=session.ts,
            nonce=session.nonce,
            created_at=iso(session.created_at),
            updated_at=iso(session.last_used_at),
            user=user_out(user) if user else UNSET,
        )
    )


# ── address book ─────────────────────────────────────────────────────────────────────────────────────────────────────


class ContactIn(Struct):
    """A line of an upload. The name may be left out only with `destroy`."""

    phone: (
        Annotated[str | int, Meta(description="10 to 15 digits, in any spelling", examples=["+44 7700 900123"])] | None
    ) = None
    name: ContactName | None = None
    destroy: Flag | None = None


class UploadRequest(Struct):
    """Contacts to create, rename or destroy; with `force` the book is then exactly these."""

    contacts: list[ContactIn]
    force: Flag | None = None
    udid: (
        Annotated[str, Meta(max_length=64, description="the device; without it, the book that all devices share")]
        | None
    ) = None


class ReportOut(Struct):
    """What an upload did; `rejected` maps positions in the upload, from 0, to reasons."""

    deleted: Annotated[int, Meta(examples=[1])]
    rejected: Annotated[
        dict[str, list[str]],
        Meta(examples=[{"3": ["Length of 'phone' field should be min: 10 and max: 15."]}]),
    ]
    created: Annotated[int, Meta(examples=[25])]
    updated: Annotated[int, Meta(examples=[5])]


class ContactOut(Struct):
    """A line of a book, as it was uploaded."""

    phone: Phone
    name: ContactName


# A user with the name from the caller's book. With `compact=1` the first three fields are all there is.
RegisteredOut = defstruct(
    "RegisteredOut",
    [
        ("id", Id),
        ("phone", Phone | None),
        ("address_book_name", ContactName),
        *((f.name, f.type | UnsetType, UNSET) for f in fields(UserOut) if f.name not in ("id", "phone")),
    ],
    namespace={"__doc__": "A contact who is a user, with the name from the caller's book."},
    module=__name__,
)


class OneRegistered(Struct):
    """A registered contact, wrapped."""

    user: RegisteredOut  # type: ignore[valid-type]


class RegisteredPage(Struct):
    """Registered contacts, in the book's order; with `compact=1` only id, phone and address_book_name of each."""

    items: list[OneRegistered]


REASONS = {
    Reason.FIELDS: "Invalid fields set",
    Reason.PHONE_LENGTH: "Length of 'phone' field should be min: 10 and max: 15.",
    Reason.NAME_LENGTH: "Length of 'name' field should be min: 1 and max: 255.",
}


def report_out(report: Report) -> ReportOut:
    """What an upload did, as apps see it."""
    rejected = {str(position): [REASONS[reason] for reason in why] for position, why in report.rejected.items()}
    return ReportOut(report.deleted, rejected, report.created, report.updated)


def registered_out(found: Registered, *, compact: bool) -> OneRegistered:
    """A registered contact as apps see one."""
    if compact:
        kept: dict[str, Any] = {"id": found.user.id, "phone": found.user.phone}
    else:
        kept = asdict(user_out(found.user))
    return OneRegistered(RegisteredOut(address_book_name=found.contact_name, **kept))


# ── push subscriptions ───────────────────────────────────────────────────────────────────────────────────────────────


class PushTokenIn(Struct, kw_only=True):
    """Where pushes go: a token, or for `web` the three values of the browser's subscription."""

    environment: Annotated[str, Meta(description="development or production", examples=["production"])] | None = None
    client_identification_sequence: (
        Annotated[str, Meta(description="the push token; not for web", examples=["fcm-token-of-this-device"])] | None
    ) = None
    bundle_identifier: str | None = None
    web_endpoint: str | None = None
    web_auth: str | None = None
    web_p256dh: str | None = None


class DeviceIn(Struct, kw_only=True):
    """The device that subscribes."""

    platform: Annotated[str, Meta(description="ios, android or web", examples=["android"])] | None = None
    udid: Annotated[str, Meta(examples=["BFE36393"])] | None = None
    client_identification_sequence: str | None = None
    bundle_identifier: str | None = None


class SubscriptionRequest(Struct, kw_only=True):
    """A device's wish to receive pushes."""

    notification_channel: (
        Annotated[list[str], Meta(description="apns, apns_voip, gcm, web", examples=["gcm"])] | None
    ) = None
    notification_channels: Annotated[list[str], Meta(description="the same, in the plural")] | None = None
    push_token: PushTokenIn | None = None
    device: DeviceIn | None = None


class Name(Struct):
    """A name, wrapped."""

    name: str


class DeviceOut(Struct):
    """The device that subscribed."""

    udid: str
    platform: Name


class SubscriptionOut(Struct, kw_only=True):
    """A stored subscription; its push token is shown to nobody."""

    id: Id
    notification_channel: Name
    device: DeviceOut
    environment: str
    bundle_identifier: str | None = None


class OneSubscription(Struct):
    """A subscription, wrapped."""

    subscription: SubscriptionOut


def subscription_out(subscription: Subscription) -> OneSubscription:
    """A subscription as apps see it."""
    return OneSubscription(
        SubscriptionOut(
            id=subscription.id,
            notification_channel=Name(subscription.channel),
            device=DeviceOut(subscription.device, Name(subscription.platform)),
            environment=subscription.environment,
            bundle_identifier=subscription.bundle,
        )
    )
