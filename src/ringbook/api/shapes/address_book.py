"""Address books: uploads, contacts of a book, and registered contacts."""

from operator import attrgetter
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import fields

from ...model import Reason, Registered, RegisteredPhone, Report
from ...profile_fields import Profile
from .fields import ContactName, Cursor, Flag, Id, Phone
from .users import UserOut, stored_beside


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


OTHERS = [one for one in fields(UserOut) if one.name not in ("id", "phone")]
_other_values = attrgetter(*(one.name for one in fields(Profile) if one in OTHERS))
# A user, with the name from the caller's book. With `compact=1` it has only the first three fields.
RegisteredOut = defstruct(
    "RegisteredOut",
    [
        ("id", Id),
        ("phone", Phone | None),
        ("address_book_name", ContactName),
        *((one.name, one.type | UnsetType, UNSET) for one in OTHERS),
    ],
    gc=False,
    namespace={"__doc__": "A contact who is a user, with the name from the caller's book."},
    module=__name__,
)


class OneRegistered(Struct, gc=False):
    """An object with a registered contact."""

    user: RegisteredOut  # type: ignore[valid-type]


class RegisteredPage(Struct):
    """Registered contacts, in the book's order; with `compact=1` only id, phone and address_book_name of each."""

    items: list[OneRegistered]
    next: Cursor | UnsetType = UNSET


REASONS = {
    Reason.FIELDS: "Invalid fields set",
    Reason.PHONE_LENGTH: "Length of 'phone' field should be min: 10 and max: 15.",
    Reason.NAME_LENGTH: "Length of 'name' field should be min: 1 and max: 255.",
}


def report_out(report: Report) -> ReportOut:
    """The answer to an upload."""
    rejected = {str(position): [REASONS[reason] for reason in why] for position, why in report.rejected.items()}
    return ReportOut(report.deleted, rejected, report.created, report.updated)


def registered_out(found: Registered | RegisteredPhone) -> OneRegistered:
    """A registered contact for an answer."""
    if isinstance(found, RegisteredPhone):
        return OneRegistered(RegisteredOut(found.user_id, found.phone, found.contact_name))
    user = found.user
    others = (*_other_values(user), *stored_beside(user))
    return OneRegistered(RegisteredOut(user.id, user.phone, found.contact_name, *others))
