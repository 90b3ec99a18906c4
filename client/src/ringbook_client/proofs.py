"""Who somebody is, and how they prove it: what opens a session.

    Login, Email                    a name and a password
    FirebasePhone, FirebaseEmail    an ID token of Firebase
    Code                            a number, proven by the code that was sent to it
    Guest                           nobody in particular, for a day

Secrets do not show when a proof is printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Login:
    """A login and its password. Where the server asks an identity provider, the login is that one's token."""

    login: str
    password: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"user": {"login": self.login, "password": self.password}}


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail address and the password."""

    email: str
    password: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"user": {"email": self.email, "password": self.password}}


@dataclass(frozen=True, slots=True)
class FirebasePhone:
    """An ID token of Firebase that holds a phone number; the server believes only its own project's."""

    id_token: str = field(repr=False)
    project_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"provider": "firebase_phone", "firebase_phone": _token(self.project_id, self.id_token)}


@dataclass(frozen=True, slots=True)
class FirebaseEmail:
    """An ID token of Firebase that holds a verified e-mail address."""

    id_token: str = field(repr=False)
    project_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"provider": "firebase_email", "firebase_email": _token(self.project_id, self.id_token)}


@dataclass(frozen=True, slots=True)
class Code:
    """The code in the message, and the `request_id` of the `CodeSent` that announced it."""

    request_id: str = field(repr=False)
    code: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"provider": "phone", "phone": {"request_id": self.request_id, "code": self.code}}


@dataclass(frozen=True, slots=True)
class Guest:
    """A user for a day, deleted afterwards."""

    full_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        name = {"full_name": self.full_name} if self.full_name else {}
        return {"user": {"guest": "1", **name}}


Proof = Login | Email | FirebasePhone | FirebaseEmail | Code | Guest


def _token(project_id: str | None, id_token: str) -> dict[str, str]:
    project = {"project_id": project_id} if project_id else {}
    return {**project, "access_token": id_token}
