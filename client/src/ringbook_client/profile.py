"""What one may say about oneself, at sign-up and later. What is absent stays as it is, None removes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Profile(TypedDict, total=False):
    """The fields of a user that the user decides.

    password        8 characters or more; a new one needs `old_password` beside it
    phone           any text; one that reads as a number is what contacts find
    tags            at most 5
    timezone        minutes
    custom_data     up to 20,000 characters that every user may read
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
