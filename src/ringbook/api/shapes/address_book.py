"""Address books: uploads, contacts of a book, and registered contacts."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import asdict, fields

from ...model import Reason, Registered, Report
from .fields import ContactName, Flag, Id, Phone
from .users import UserOut, user_out


class ContactIn(Struct):
    """An entry of an upload. The name is optional only with `destroy`."""

    phone: (
        Annotated[str | int, Meta(description="10 to 15 digits, in any spelling", examples=["+44 7700 900123"])] | None
    ) = None
    name: ContactName | None = None
    destroy: Flag | None = None


class UploadRequest(Struct):
    """Contacts to create, rename or destroy; with `force` the book then contains exactly these."""

    contacts: list[ContactIn]
    force: Flag | None = None
    udid: (
        Annotated[str, Meta(max_length=64, description="the device; by default the book that all devices share")] | None
    ) = None


class ReportOut(Struct):
    """The result of an upload; `rejected` maps positions in the upload, from 0, to reasons."""

    deleted: Annotated[int, Meta(examples=[1])]
    rejected: Annotated[
        dict[str, list[str]],
        Meta(examples=[{"3": ["Length of 'phone' field should be min: 10 and max: 15."]}]),
    ]
    created: Annotated[int, Meta(examples=[25])]
    updated: Annotated[int, Meta(examples=[5])]


class ContactOut(Struct):
    """A contact, as it was uploaded."""

    phone: Phone
    name: ContactName


# A user, with the name from the caller's book. With `compact=1` it has only the first three fields.
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
    """An object with a registered contact."""

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
    """The answer to an upload."""
    rejected = {str(position): [REASONS[reason] for reason in why] for position, why in report.rejected.items()}
    return ReportOut(report.deleted, rejected, report.created, report.updated)


def registered_out(found: Registered, *, compact: bool) -> OneRegistered:
    """A registered contact for an answer."""
    if compact:
        kept: dict[str, Any] = {"id": found.user.id, "phone": found.user.phone}
    else:
        kept = asdict(user_out(found.user))
    return OneRegistered(RegisteredOut(address_book_name=found.contact_name, **kept))
