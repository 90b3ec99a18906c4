"""The proofs of identity that open a session.

    Login, Email                    a login or e-mail address, and the password
    FirebasePhone, FirebaseEmail    a Firebase ID token
    Code                            the one-time code that was sent to a phone number
    Guest                           no proof: a temporary user

`repr` leaves secrets out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Login:
    """A login and its password. If the application uses an identity provider, `login` is the provider's token."""

    login: str
    password: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"user": {"login": self.login, "password": self.password}}


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail address and the user's password."""

    email: str
    password: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"user": {"email": self.email, "password": self.password}}


@dataclass(frozen=True, slots=True)
class FirebasePhone:
    """A Firebase ID token with a phone number. The server accepts only tokens of its own Firebase project."""

    id_token: str = field(repr=False)
    project_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"provider": "firebase_phone", "firebase_phone": _token(self.project_id, self.id_token)}


@dataclass(frozen=True, slots=True)
class FirebaseEmail:
    """A Firebase ID token with a verified e-mail address."""

    id_token: str = field(repr=False)
    project_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"provider": "firebase_email", "firebase_email": _token(self.project_id, self.id_token)}


@dataclass(frozen=True, slots=True)
class Code:
    """A one-time code, and the `request_id` of the `CodeSent` that `send_code` returned."""

    request_id: str = field(repr=False)
    code: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"provider": "phone", "phone": {"request_id": self.request_id, "code": self.code}}


@dataclass(frozen=True, slots=True)
class Guest:
    """A temporary user, which the server deletes after a day."""

    full_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        name = {"full_name": self.full_name} if self.full_name else {}
        return {"user": {"guest": "1", **name}}


Proof = Login | Email | FirebasePhone | FirebaseEmail | Code | Guest


def _token(project_id: str | None, id_token: str) -> dict[str, str]:
    project = {"project_id": project_id} if project_id else {}
    return {**project, "access_token": id_token}
