"""Proofs of identity: a Firebase ID token, or a number with the code that was sent to it."""

from typing import Annotated

from msgspec import Meta, Struct

from .fields import Date


class FirebaseIn(Struct, kw_only=True):
    """A Firebase ID token."""

    project_id: Annotated[str, Meta(description="the application's Firebase project")] | None = None
    access_token: Annotated[str, Meta(description="the ID token")] | None = None


class PhoneIn(Struct, kw_only=True):
    """In the first request `number`: a code is sent to it (202). In the second request `request_id` and `code`."""

    number: Annotated[str, Meta(description="international, in any spelling", examples=["+44 7700 900123"])] | None = (
        None
    )
    request_id: Annotated[str, Meta(description="from the answer to the first step")] | None = None
    code: Annotated[str, Meta(description="six digits", examples=["123456"])] | None = None


class CodeOut(Struct):
    """A code that was sent."""

    request_id: Annotated[str, Meta(examples=["3f6c0d9a51be4c7e8a20d4b17c95e2f8"])]
    expires_at: Date
    resend_at: Annotated[str, Meta(description="when another code can be requested", examples=["2018-12-05T11:58:32Z"])]


class CodeAsked(Struct):
    """An object with a code that was sent."""

    verification: CodeOut


Provider = Annotated[
    str, Meta(description="firebase_phone, firebase_email or phone, with the object of that name", examples=["phone"])
]
