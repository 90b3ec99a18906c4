"""Address books over HTTP (protocol §4): upload and download a book, find registered contacts."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from .. import errors
from ..core import charging, discovered, discovery, kept_answers, rate_limits, reports
from ..exchange.bodies import SMALL_BYTES
from ..exchange.turns import Kind
from ..model import Caller, Entry, Registered, RegisteredPhone, Report
from .endpoint import Answer, Call, Route
from .forms import from_body, refuse_many_values
from .json_counts import has_more_elements, has_more_values
from .json_faults import malformed
from .shapes.address_book import ContactOut, RegisteredPage, ReportOut, UploadRequest, registered_out, report_out
from .wire import flag, named, storable, text

NULL = msgspec.Raw(b"null")


class _Upload(msgspec.Struct):
    """The outermost object of an upload, with its values not yet decoded."""

    contacts: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    force: msgspec.Raw = NULL
    udid: msgspec.Raw = NULL


class _WellFormed(msgspec.Struct):
    """The same where all entries are well formed."""

    contacts: list[Entry]
    force: msgspec.Raw = NULL
    udid: msgspec.Raw = NULL


class _Contact(msgspec.Struct):
    """An entry with its values as the app has sent them."""

    phone: str | int | None = None
    name: str | None = None
    destroy: bool | int | float | str | None = None


_upload = msgspec.json.Decoder(_Upload)
_well_formed = msgspec.json.Decoder(_WellFormed)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_contact = msgspec.json.Decoder(_Contact)
NUL, ESCAPE = b"\\u0000", b"\\"
HEAVY_CONTACTS = 500  # work on more contacts of a book takes a turn of its own kind
HEAVY_BYTES = 16 * 1024  # of an upload: about as many entries
LEAST_BYTES = len(b'{"phone":""},')  # of a well-formed entry
NAMES = {"device": "udid"}  # of fields in requests, by their names in core
UDID = {"udid": "the device whose address book is used; by default the book that all devices of the user share"}


def upload(call: Call) -> Answer:
    """Upload contacts

    Entries are applied in order: a new number is created, a known number is renamed, and a number with `destroy` is
    deleted. Invalid entries are listed in `rejected`, by position from 0; the others are applied. With `force` the book
    then contains exactly the accepted entries, but if every entry of a non-empty upload is rejected, nothing changes.
    """
    if len(call.body) <= SMALL_BYTES:
        return _uploaded(call)
    bucket = rate_limits.refused_uploads(call.config.limits, call.user_id)
    with charging.charge_refusals(call.db, bucket, call.now):
        return _uploaded(call)


def _uploaded(call: Call) -> Answer:
    """Answers from the stored report of the same upload, if there is one; else reads the upload and applies it."""
    caller = call.caller
    digest = digest_of(call, caller)
    report = reports.repeated(call.db, caller, digest, call.now, call.books)
    if not report and len(call.body) > HEAVY_BYTES:
        call.needs(Kind.HEAVY)
    return Answer(report_out(report or _applied(call, caller, digest)))


def upload_in_loop(call: Call) -> Answer | None:
    """Answers from the stored report in the event loop, which has read the reports with the session."""
    if not call.books or not (caller := call.caller_in_loop):
        return None
    report = reports.repeated_in_loop(caller, digest_of(call, caller), call.now, call.books)
    return Answer(report_out(report)) if report else None


def digest_of(call: Call, caller: Caller) -> bytes:
    """The digest of all that decides how the upload is read."""
    if not call.digest or call.digest[0] != caller:
        content_type, query = call.headers.get("content-type", ""), call.request.scope["query_string"]
        digest = reports.digest_of(call.db.seal, call.config.limits, caller, call.body, content_type, query)
        call.digest = caller, digest
    return call.digest[1]


def _applied(call: Call, caller: Caller, digest: bytes) -> Report:
    contacts, given, udid = upload_of(call)
    force = flag(given, "force")
    if force:
        needs_turn(call, device(udid))
    with named(NAMES):
        return discovery.upload(
            call.db,
            call.config.limits,
            caller,
            contacts,
            device=device(udid),
            force=force,
            digest=digest,
            known=call.books,
            now=call.now,
        )


def upload_of(call: Call) -> tuple[Sequence[Entry | None], Any, Any]:
    """The entries, force and udid. An invalid entry is None, so that it does not affect the others."""
    most = call.config.limits.max_upload_contacts
    if call.body.lstrip()[:1] != b"{":
        values = call.values
        return of_form(values | {"contacts": []} if is_empty_list(call) else values, most)
    try:
        if whole := at_once(call.body, most):
            return whole.contacts, single(whole.force, "force"), single(whole.udid, "udid")
        body = _upload.decode(call.body)
        entries = one_by_one(call.body, body.contacts, most) if isinstance(body.contacts, msgspec.Raw) else None
        force, udid = single(body.force, "force"), single(body.udid, "udid")
    except msgspec.ValidationError:
        raise errors.Invalid("must be an array", field="contacts") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return of_form(with_cut_texts(call.body), most)
    if entries is None:
        return of_form(call.values, most)
    return entries, force, udid


def at_once(body: bytes, most: int) -> _WellFormed | None:
    """The whole body, decoded at once; None if that is not possible, or if it may have more entries than `most`."""
    if len(body) // LEAST_BYTES > most and body.count(b"{") > most + 1:
        return None
    # Most bodies have no escapes, and one byte is found much faster than six.
    if ESCAPE not in body or NUL not in body:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _well_formed.decode(body)
    return None


def one_by_one(body: bytes, contacts: msgspec.Raw, most: int) -> Sequence[Entry | None]:
    """The entries of a JSON array, decoded one by one. Raises Invalid if there are more than `most`.

    body   the JSON that contains the array; counting in it avoids a copy of the array

    Entries are counted before they are decoded. All but the last one are followed by a comma: only if there are as many
    of these as `most`, the entries themselves are counted.
    """
    if body.count(b",") >= most:
        refuse_more(contacts, most)
    return [entry(item) for item in _items.decode(contacts)]


def refuse_more(contacts: msgspec.Raw, most: int) -> None:
    """Raises Invalid for a JSON array of more than `most` elements."""
    if has_more_elements(memoryview(contacts), most):
        raise too_many(most)


def too_many(most: int) -> errors.Invalid:
    """The refusal of an upload of more than `most` entries."""
    return errors.Invalid(f"has more than {most} entries", field="contacts", limit="max_upload_contacts")


def single(value: msgspec.Raw, field: str) -> Any:
    """The value of force or udid. Raises Invalid for a large tree, which would be costly to decode."""
    if value is NULL:
        return None
    if has_more_values(bytes(value), 100):
        raise errors.Invalid("holds too many values", field=field)
    return msgspec.json.decode(value)


def with_cut_texts(body: bytes) -> dict[str, Any]:
    """Decodes JSON with half an emoji or invalid UTF-8 in a text. The usual decoder refuses the whole body.

    This slower decoder leaves a lone surrogate in the text, and `entry` rejects only that entry (protocol §4.1.9).
    """
    refuse_many_values(body)
    try:
        values = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise malformed(body, error) from None
    if not isinstance(values, dict):
        raise errors.Malformed("The body must be a JSON object")
    return values


def of_form(values: dict[str, Any], most: int) -> tuple[Sequence[Entry | None], Any, Any]:
    """The same for a form or JSON with flat keys, in which `contacts` may be JSON in a text."""
    contacts = values.get("contacts")
    if isinstance(contacts, str) and contacts:
        refuse_many_values(contacts.encode("utf-8", "surrogatepass"))
        try:
            contacts = msgspec.json.decode(contacts)
        except UnicodeEncodeError:
            raise errors.Malformed("contacts is not valid JSON") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(contacts.encode(), error, what="contacts") from None
    if contacts is None:
        raise errors.Invalid("is required", field="contacts")
    if not isinstance(contacts, list):
        raise errors.Invalid("must be an array", field="contacts")
    if len(contacts) > most:
        raise too_many(most)
    return [entry(item) for item in contacts], values.get("force"), values.get("udid")


def is_empty_list(call: Call) -> bool:
    """Whether the body is the form in which the Android SDK sends an empty list with `force`: `udid=&force=1`.

    Brackets cannot write an empty list, so the SDK leaves the contacts out. A form that names contacts in a wrong way
    must not empty a book.
    """
    if any(name.strip().lower().startswith("contact") for name in call.values):
        return False
    form = from_body(call.body, call.headers.get("content-type", ""))
    return "udid" in form and flag(form.get("force"), "force")


def entry(item: Any) -> Entry | None:
    """One entry; None if a field is missing, has the wrong type, or contains characters that cannot be stored."""
    try:
        contact = _contact.decode(item) if isinstance(item, msgspec.Raw) else msgspec.convert(item, _Contact)
        destroy = flag(contact.destroy, "destroy")
        phone = None if contact.phone is None else str(contact.phone)
    except (ValueError, RecursionError, errors.Invalid):  # msgspec's errors and bad UTF-8 are ValueErrors
        return None
    name = contact.name
    if phone is None:
        return None
    if name and ("\0" in name or not storable(name)):
        return None
    return Entry(phone, name, destroy)


def device(udid: Any) -> str:
    """The device's udid; null, "" and the words that SDKs write for null mean the shared book (protocol §4.4)."""
    return "" if udid in (None, "", "null", "undefined") else text(udid, "udid")


def needs_turn(call: Call, udid: str) -> None:
    """Work on a whole book needs a turn of its own kind, unless the book is small."""
    if any(book.device == udid and book.size > HEAVY_CONTACTS for book in call.books or ()):
        call.needs(Kind.HEAVY)


def show(call: Call) -> Answer:
    """Download an address book

    In the order of the upload, with phone and name as they were uploaded.
    """
    book = device(call.values.get("udid"))
    needs_turn(call, book)
    rows = discovery.retrieve(call.db, call.caller, book)
    return Answer([ContactOut(phone, name) for phone, name in rows])


def show_registered(call: Call) -> Answer:
    """Find registered contacts

    In the order of the address book, each user once, with the name from the caller's address book. With `since`, only
    those who are new since the answer that had this cursor as `next`: they have joined, may be found now, have entered
    the book, or have another number. Who is gone is not in the answer. A cursor that the server does not know acts as
    0, the beginning.
    """
    compact, since = flag(call.values.get("compact"), "compact"), call.values.get("since")
    book = device(call.values.get("udid"))
    needs_turn(call, book)
    if since is not None:
        return _newly_registered(call, text(since, "since"), book, compact=compact)
    if compact:
        return Answer(msgspec.Raw(kept_answers.registered(call.db, call.caller, book, _written, now=call.now)))
    return Answer(_page(discovery.registered(call.db, call.caller, book, now=call.now)))


def _written(found: Sequence[RegisteredPhone]) -> bytes:
    """Registered contacts as the body of an answer."""
    return msgspec.json.encode(_page(found))


def _page(
    found: Sequence[Registered | RegisteredPhone], following: str | msgspec.UnsetType = msgspec.UNSET
) -> RegisteredPage:
    return RegisteredPage([registered_out(one) for one in found], following)


def _newly_registered(call: Call, since: str, book: str, *, compact: bool) -> Answer:
    found, following = discovered.since(call.db, call.caller, book, since, compact=compact, now=call.now)
    return Answer(_page(found, following))


ROUTES = [
    Route(
        method="POST",
        path="/address_book",
        handler=upload,
        in_loop=upload_in_loop,
        request=UploadRequest,
        answer=ReportOut,
        refusals=(422, 429),
        large=True,
        repeats=True,
    ),
    Route(
        method="GET",
        path="/address_book",
        handler=show,
        query=UDID,
        answer=list[ContactOut],
        refusals=(422,),
        repeats=True,
    ),
    Route(
        method="GET",
        path="/address_book/registered_users",
        handler=show_registered,
        query=UDID
        | {
            "compact": "1: only id, phone and address_book_name of each user",
            "since": "a cursor: only those who are new since then, and `next`; 0: all of them, and a first cursor",
        },
        answer=RegisteredPage,
        refusals=(422,),
        repeats=True,
    ),
]
