"""The fields that users set at sign-up and later. A field left out stays unchanged; None removes its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class JoinedChanges(TypedDict, total=False):
    """The fields of `JoinedSettings` that a user can set. None removes `quiet`, `time_zone` or `locale`."""

    announce: str
    discoverable: str
    notify: bool
    quiet: tuple[str, str] | None
    time_zone: str | None
    digest: int
    locale: str | None


class Profile(TypedDict, total=False):
    """The profile fields that a user can set.

    password        8 characters or more; a change also needs `old_password`
    phone           any text; if it is a phone number, contacts can find the user by it
    tags            at most 5
    timezone        in minutes
    custom_data     up to 20,000 characters, which every user can read
    contact_joined  what the user decides about joined pushes; given at sign-up, it holds before any push is sent
    """

    login: str | None
    email: str | None
    password: str
    old_password: str
    phone: str | None
    full_name: str | None
    website: str | None
    avatar: str | None
    custom_data: str | None
    timezone: int | None
    tags: Sequence[str] | None
    external_id: str | None
    external_user_id: int | None
    facebook_id: str | None
    twitter_id: str | None
    contact_joined: JoinedChanges
