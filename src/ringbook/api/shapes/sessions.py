"""Sessions: requests that open one, and sessions in answers."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from ...model import Session, User
from ..wire import Dialect, SignInLogin, iso
from .fields import Date, Email, Id, Password
from .proofs import FirebaseIn, PhoneIn, Provider
from .users import UserOut, user_out


class SignInIn(Struct, kw_only=True):
    """The user of a new session: login or email with the password, or a guest with a name."""

    login: Annotated[SignInLogin, Meta(examples=["ann"])] | None = None
    email: Email | None = None
    password: Password | None = None
    guest: Annotated[bool, Meta(description="opens a session for a guest, without login and password")] | None = None
    full_name: Annotated[str, Meta(description="the name of a guest")] | None = None


class SessionRequest(Struct, kw_only=True):
    """Without `user` and `provider` this opens an application session."""

    application_id: Annotated[int, Meta(description="required", examples=[1])] | None = None
    auth_key: Annotated[str, Meta(description="required", examples=["d1f0c5b2a7e94c3b8d6f1a20"])] | None = None
    timestamp: (
        Annotated[int, Meta(description="Unix seconds; with a signature, within an hour of the server's time")] | None
    ) = None
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
    """The user who signs in."""

    login: Annotated[SignInLogin, Meta(examples=["ann"])] | None = None
    email: Email | None = None
    password: Password | None = None
    provider: Provider | None = None
    firebase_phone: FirebaseIn | None = None
    firebase_email: FirebaseIn | None = None
    phone: PhoneIn | None = None


class SessionOut(Struct, kw_only=True):
    """A session. Further requests carry `token` in the header CB-Token or QB-Token."""

    id: Id
    user_id: (
        Annotated[int, Meta(description="null (0 for QuickBlox SDKs) for an application session", examples=[271])]
        | None
    )
    application_id: Annotated[int, Meta(examples=[1])]
    token: Annotated[str, Meta(examples=["83153a14fb2df777c2f866178902a4bb15000001"])]
    ts: Annotated[int, Meta(description="the timestamp that was sent, or now", examples=[1544010993])]
    nonce: Annotated[int, Meta(description="the nonce that was sent, or 0", examples=[0])]
    created_at: Date
    updated_at: Date
    user: UserOut | UnsetType = UNSET


class OneSession(Struct):
    """An object with a session."""

    session: SessionOut


def session_out(session: Session, token: str, user: User | None, dialect: Dialect) -> OneSession:
    """A session for an answer, with its token."""
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


class SessionInList(Struct, kw_only=True):
    """One of the user's sessions, without its token. `ip`, `user_agent` and `location` are empty: they are not kept."""

    session_id: Id
    ip: str = ""
    user_agent: str = ""
    location: str = ""
    last_activity: Date
    created_at: Date
    expires_at: Date


def session_in_list(session: Session) -> SessionInList:
    """A session for the list of a user's sessions."""
    return SessionInList(
        session_id=session.id,
        last_activity=iso(session.last_used_at),
        created_at=iso(session.created_at),
        expires_at=iso(session.expires_at),
    )
