"""Users: what apps say about theirs, and what they see of all."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from ...model import User
from ..wire import iso, iso_or_none
from .fields import Date, Email, FullName, Id, Login, Password, Phone
from .proofs import FirebaseIn, PhoneIn


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

    user: Annotated[UserIn, Meta(description="required, unless a provider is given")] | UnsetType = UNSET
    provider: Annotated[str, Meta(description="firebase_phone or phone")] | None = None
    firebase_phone: FirebaseIn | None = None
    phone: PhoneIn | None = None


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
