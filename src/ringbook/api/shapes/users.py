"""Users: what apps say about theirs, and what they see of all. The profile is declared in `profile_fields.py`."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import astuple

from ...model import User
from ...profile_fields import FIELDS, Field, Profile
from ..wire import iso, iso_or_none
from .contact_joined import PreferencesIn
from .fields import Date, Password
from .proofs import FirebaseIn, PhoneIn

NO_NUMBER = "is stored, but is not a phone number: contacts do not find this user by it"
OldPassword = Annotated[str, Meta(description="the present one, to set a new `password`")]


def _requested(field: Field) -> tuple[str, Any, Any]:
    described: Any = Annotated[field.requested_type, field.request_meta]
    return field.requested_as, described | None | UnsetType, UNSET


UserIn = defstruct(
    "UserIn",
    [
        *(_requested(field) for field in FIELDS.values()),
        ("password", Password | None | UnsetType, UNSET),
        ("old_password", OldPassword | None | UnsetType, UNSET),
        ("contact_joined", PreferencesIn | None | UnsetType, UNSET),
    ],
    kw_only=True,
    namespace={"__doc__": "What an app may say about its user; other fields are ignored. Absent fields do not change."},
    module=__name__,
)


class UserRequest(Struct):
    """Sign-up, or a change of oneself."""

    user: UserIn  # type: ignore[valid-type]  # made from the declarations


class ResetRequest(Struct):
    """The account whose password was forgotten."""

    email: Annotated[str, Meta(description="of the account", examples=["ann@example.com"])]


class ChangeRequest(Struct, kw_only=True):
    """A change of oneself; with a provider and its proof beside it, also of the number."""

    user: (
        Annotated[UserIn, Meta(description="required, unless a provider is given")]  # type: ignore[valid-type]
        | UnsetType
    ) = UNSET
    provider: Annotated[str, Meta(description="firebase_phone or phone")] | None = None
    firebase_phone: FirebaseIn | None = None
    phone: PhoneIn | None = None


class UserOut(Profile, frozen=True, gc=False):
    """A user. Of somebody else, `phone` and `email` are null unless the caller knows them already."""

    created_at: Date
    updated_at: Date
    last_request_at: Date | None
    blob_id: None
    is_guest: bool


class OneUser(Struct):
    """One user, wrapped."""

    user: UserOut


class StoredUser(Struct):
    """The user after sign-up or a change, wrapped."""

    user: UserOut
    hints: (
        Annotated[
            dict[str, list[str]],
            Meta(description="of accepted fields that will not work as intended", examples=[{"phone": [NO_NUMBER]}]),
        ]
        | UnsetType
    ) = UNSET


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


class OnlineUsers(Struct):
    """The answer of /users/online: the users, flat, or their count."""

    users: list[UserOut] | UnsetType = UNSET
    count: Annotated[int, Meta(examples=[3])] | UnsetType = UNSET


PROFILE = len(Profile.__struct_fields__)


def stored_beside(user: User) -> tuple[str, str, str | None, None, bool]:
    """The fields of `UserOut` that follow the profile, in their order."""
    last_request_at = iso_or_none(user.last_request_at)
    return iso(user.created_at), iso(user.updated_at), last_request_at, None, user.is_guest


def user_out(user: User) -> UserOut:
    """A user as apps see one."""
    values: tuple[Any, ...] = (*astuple(user)[:PROFILE], *stored_beside(user))
    return UserOut(*values)
