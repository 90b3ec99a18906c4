"""Contact discovery: stores address books, and finds which of their contacts are users.

    upload        stores a whole address book, or changes of it
    retrieve      returns an address book as it was typed
    registered    the contacts who are users; registered_phones: only with their phones

    reading, among_contacts, with_profiles, with_phones, count_matches   the steps of these, for
                  `core/discovered.py` and `core/kept_answers.py`

The pure functions of `core/diff.py` decide what an upload changes. It is written in one transaction that holds the lock
of the book's row, so concurrent uploads to one book are applied one after the other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from .. import errors, metrics, phone
from ..config import Limits
from ..model import Caller, Entry, Held, Reason, Registered, RegisteredPhone, Report
from ..seal import CONTACTS, Seal
from ..store import app_totals, books, buckets, users
from ..store import reports as store_reports
from ..store.db import Database, Row, Tx
from . import charging, discoverable, joined, prepared, privacy, rate_limits, reports, stats
from .diff import Changes, diff
from .prepared import Prepared, Seen

DEVICE_CHARACTERS = 64
FREE_CHANGES = 20  # an upload that writes fewer contacts costs no more than any other request
Dropped = tuple[int, bytes]  # a removed contact: keyed number and sealed text


def upload(
    db: Database,
    limits: Limits,
    caller: Caller,
    entries: Sequence[Entry | None],
    *,
    device: str = "",
    force: bool = False,
    digest: bytes = b"",
    known: reports.Books | None = None,
    now: int,
) -> Report:
    """Apply the entries to the caller's address book of this device. Entries that cannot be read are rejected.

    entries   in the phone's order; None stands for an element that was not an entry
    device    the device's udid, at most 64 characters; "" is the book that all of the user's devices share
    force     the book then has exactly the accepted entries
    digest    names the upload for `core/reports.py`, which then answers it when it comes again; b"": it is not stored
    known     the caller's books, as `sessions.current_with_reports` has found them a moment ago; None: they are read

    Raises Invalid when the upload or a total is over its limit, TooMany when the caller has no permits left for new
    numbers; nothing is written then. When every entry of a non-empty `force` upload is rejected, nothing is changed:
    a formatting bug of an app must not delete a book.
    """
    if len(entries) > limits.max_upload_contacts:
        reason = f"has more than {limits.max_upload_contacts} entries"
        raise errors.Invalid(reason, field="contacts", limit="max_upload_contacts")
    if len(device) > DEVICE_CHARACTERS:
        raise errors.Invalid(f"is longer than {DEVICE_CHARACTERS} characters", field="device")
    seen = prepared.glanced(db, caller, device, len(entries), known, whole=force)
    changes, rejected = _apply(db, limits, caller, entries, seen, device=device, force=force, digest=digest, now=now)
    report = Report(changes.created, changes.updated, changes.deleted, rejected)
    metrics.uploaded(report)
    stats.add(caller.app.id, "uploads", now)
    return report


class _NothingToDo(Exception):
    """No entry of an upload is accepted, so nothing may be changed."""

    def __init__(self, sent: Prepared) -> None:
        super().__init__()
        self.rejected = sent.rejected


def _apply(
    db: Database,
    limits: Limits,
    caller: Caller,
    entries: Sequence[Entry | None],
    seen: Seen | None,
    *,
    device: str,
    force: bool,
    digest: bytes,
    now: int,
) -> tuple[Changes, dict[int, list[Reason]]]:
    """Write the accepted entries, all or none. Returns also the reasons to reject the others.

    seen   the book before it is locked here; None: it is read then
    """
    try:
        sent = _prepared(db.seal, caller, seen, entries, force=force) if seen else None
        with db.write() as tx:
            book = _locked(tx, limits, caller, device, now)
            if not seen or not sent or not seen.holds_for(book):
                seen = prepared.locked(tx, caller, book, len(entries), whole=force)
                sent = _prepared(tx.seal, caller, seen, entries, force=force)
            held, removed = _held(tx, caller, book, seen, sent, now, force=force)
            if again := sent.named_again(held.values()):
                seen = prepared.locked(tx, caller, book, len(entries), whole=force)
                sent = prepared.prepared(tx.seal, caller, seen, entries, whole=force, again=again)
            changes = diff(held, sent.entries, force=force, next_seq=book["next_seq"])
            changes.updated += sent.held
            _check_size(limits, book, changes)
            _count(tx, limits, caller, changes, now)
            written = len(changes.put) + len(changes.move) + len(changes.drop)
            if written > FREE_CHANGES:
                charging.charge(tx, rate_limits.contact_changes(limits, caller.user_id), written, now)
            unknown = _unknown(tx, caller, book, changes.new, removed, now)
            dropped = _write(tx, caller, book, device, changes, sent, digest)
            _remember(tx, limits, caller, book, dropped, now)
            # Last, because users behind one address share its bucket, which stays locked until the commit.
            privacy.pay(tx, limits, caller, unknown, now)
        return changes, sent.rejected
    except _NothingToDo as nothing:
        return Changes(), nothing.rejected


def _prepared(seal: Seal, caller: Caller, seen: Seen, entries: Sequence[Entry | None], *, force: bool) -> Prepared:
    """The upload as the book would apply it. Raises _NothingToDo."""
    sent = prepared.prepared(seal, caller, seen, entries, whole=force)
    if not sent.entries and not sent.held and (sent.rejected or not force):
        raise _NothingToDo(sent)
    return sent


def _held(
    tx: Tx, caller: Caller, book: Row, seen: Seen, sent: Prepared, now: int, *, force: bool
) -> tuple[dict[int, Held], set[int] | None]:
    """The contacts of the book that an upload names, with `force` all; and the named numbers that are free of permits.

    The latter are None where they are not known yet.
    """
    if seen.contacts is not None:
        return seen.contacts, None
    if not book["size"] or not (sent.entries or force):
        return {}, None
    if force:
        return books.whole_book(tx, caller.user_id, book["book"]), None
    keyed = sorted(set(sent.entries.numbers))
    if len(keyed) > privacy.FEW or sent.held:  # in a book that is uploaded again, most of them are no new numbers
        return books.contacts_among(tx, caller.user_id, book["book"], keyed), None
    since = now - rate_limits.REMEMBERED_SECONDS
    return books.contacts_and_removed(tx, caller.user_id, book["book"], keyed, since)


def _locked(tx: Tx, limits: Limits, caller: Caller, device: str, now: int) -> Row:
    """The book's row, locked. The first upload of a device adds it."""
    known = books.lock_book(tx, caller.user_id, device, now)
    if known:
        return known
    books.lock_owner(tx, caller.app.id, caller.user_id)
    # Another upload may have added the book while this one waited for the lock.
    known = books.lock_book(tx, caller.user_id, device, now)
    if known:
        return known
    taken = books.numbers_of_books(tx, caller.user_id)
    if len(taken) >= limits.max_books:
        reason = f"is one device too many: a user has at most {limits.max_books} books; emptying one frees its place"
        raise errors.Invalid(reason, field="device", limit="max_books")
    return books.add_book(tx, caller.app.id, caller.user_id, max(taken) + 1, device, now)


def _check_size(limits: Limits, book: Row, changes: Changes) -> None:
    more = len(changes.new) - len(changes.drop)
    if more > 0 and book["size"] + more > limits.max_book_contacts:
        reason = f"would make a book of more than {limits.max_book_contacts} contacts"
        raise errors.Invalid(reason, field="contacts", limit="max_book_contacts")


def _count(tx: Tx, limits: Limits, caller: Caller, changes: Changes, now: int) -> None:
    """Add the change to the user's totals. Raises Invalid when a total grows beyond its limit.

    A total that is already above a lowered limit may stay or shrink. The totals also say whether mutual contacts of the
    user, who has joined lately, are to be notified when more contacts come.
    """
    more = len(changes.new) - len(changes.drop)
    if not more and not changes.text_bytes and not changes.new:
        return
    totals = books.add_to_totals(tx, caller.app.id, caller.user_id, more, changes.text_bytes)
    if changes.new and totals["announce_until"] > now:
        joined.contacts_added(tx, caller.user_id, now)
    if more > 0 and totals["contacts"] > limits.max_user_contacts:
        reason = f"would make more than {limits.max_user_contacts} contacts in all of the user's books"
        raise errors.Invalid(reason, field="contacts", limit="max_user_contacts")
    if changes.text_bytes > 0 and totals["bytes"] > limits.max_user_bytes:
        reason = f"would make more than {limits.max_user_bytes} bytes of stored contacts in all of the user's books"
        raise errors.Invalid(reason, field="contacts", limit="max_user_bytes")


def _write(
    tx: Tx, caller: Caller, book: Row, device: str, changes: Changes, sent: Prepared, digest: bytes
) -> list[Dropped]:
    """Write the changes, and what is kept of the upload. Returns the removed contacts."""
    owner_id, place = caller.user_id, book["book"]
    if changes.put:
        put = books.add if len(changes.new) == len(changes.put) else books.put
        put(tx, caller.app.id, owner_id, place, changes.put)
    if changes.move:
        books.move(tx, owner_id, place, changes.move)
    dropped = books.drop(tx, owner_id, place, changes.drop) if changes.drop else []
    size = book["size"] + len(changes.new) - len(changes.drop)
    changed = bool(changes.put or changes.move or changes.drop or changes.next_seq != book["next_seq"])
    kept = reports.kept(book, sent, size, digest, new=len(changes.new), changed=changed) if digest else None
    if device and not size:
        books.forget_book(tx, owner_id, place)
    elif changed:
        books.set_book(tx, owner_id, place, size, changes.next_seq, kept)
    elif kept is not None:
        store_reports.put(tx, owner_id, place, kept)
    if more := size - book["size"]:
        used = (size > 0) - (book["size"] > 0)
        app_totals.change(tx, caller.app.id, owner_id, books=used, contacts=more)
    return dropped


def _remember(tx: Tx, limits: Limits, caller: Caller, book: Row, dropped: list[Dropped], now: int) -> None:
    """Remember the removed numbers, so that adding them back costs no permits.

    Without a limit of permits nothing is remembered, because the memory would grow without a limit, too.
    """
    if not dropped or not rate_limits.permits(limits, caller).capacity:
        return
    app_id, owner_id = caller.app.id, caller.user_id
    buckets.remember_removed(tx, app_id, owner_id, _numbers(tx, app_id, owner_id, book, dropped), now)


def _numbers(tx: Tx, app_id: int, owner_id: int, book: Row, sealed: list[Dropped]) -> dict[int, int]:
    """The numbers of contacts by keyed number, without those that do not open: a phone can replace a damaged book."""
    keys = [keyed for keyed, _ in sealed]
    try:
        opened = tx.seal.open_contacts(app_id, owner_id, book["book"], sealed)
        return {keyed: contact[0] for keyed, contact in zip(keys, opened, strict=True)}
    except errors.Unreadable:
        found = {}
        for keyed, text in sealed:
            with suppress(errors.Unreadable):
                found[keyed] = tx.seal.open_contact(app_id, owner_id, book["book"], keyed, text)[0]
        return found


def _unknown(tx: Tx, caller: Caller, book: Row, new: Sequence[int], removed: set[int] | None, now: int) -> int:
    """How many of the new numbers were in none of the caller's books lately, and so cost a permit each.

    removed   those that the caller has removed lately, if the caller has no other book; None: it is read now

    What other books contain is only read while the caller's totals are locked: uploads to them wait for that lock, and
    two of them at once would otherwise both pay for a number.
    """
    if not new:
        return 0
    if removed is not None:
        return len(new) - len(removed.intersection(new))
    app_id, owner_id = caller.app.id, caller.user_id
    if len(new) <= privacy.FEW:
        since = now - rate_limits.REMEMBERED_SECONDS
        return len(new) - len(books.elsewhere_or_removed(tx, app_id, owner_id, book["book"], new, since))
    has_others = len(books.numbers_of_books(tx, owner_id)) > 1  # most users have one book
    others = books.elsewhere(tx, app_id, owner_id, book["book"], new) if has_others else set()
    unknown = [number for number in new if number not in others]
    return len(unknown) - len(privacy.removed_lately(tx, caller, unknown, now))


def retrieve(db: Database, caller: Caller, device: str = "") -> list[tuple[str, str]]:
    """(phone, name) of each contact in a book, in upload order, spelled as it was uploaded.

    Unreadable when a contact is damaged. The next upload of the book then repairs it.
    """
    with reading(db, caller, device) as tx:
        rows = books.in_order(tx, caller.user_id, device)
    return [(typed or phone.digits(number), name) for number, name, typed in rows]


@contextmanager
def reading(db: Database, caller: Caller, device: str) -> Iterator[Tx]:
    """Reads a book, and who of it is a user, as of one moment.

    Otherwise a contact who changes the number between two statements is shown with the new phone, which the caller does
    not hold. If a contact does not open, the next upload stores all of the book's contacts anew.
    """
    try:
        with reports.doubted(db, caller.user_id), db.read(snapshot=True) as tx:
            yield tx
    except errors.Unreadable as damaged:
        if CONTACTS in damaged.why:
            with suppress(errors.Unavailable), db.write() as tx:
                books.doubt(tx, caller.user_id, device)
        raise


def registered(db: Database, caller: Caller, device: str = "", *, now: int) -> list[Registered]:
    """The users among a book's contacts, each once, in the book's order, with the name from the book. Counts them."""
    with reading(db, caller, device) as tx:
        found = with_profiles(tx, caller, among_contacts(tx, caller, device).found)
    count_matches(caller, len(found), now)
    return found


def registered_phones(db: Database, caller: Caller, device: str = "", *, now: int) -> list[RegisteredPhone]:
    """The same users, only with their phones. Reads and opens no profile in which the phone is spelled as usual."""
    with reading(db, caller, device) as tx:
        found = with_phones(tx, caller, among_contacts(tx, caller, device).found)
    count_matches(caller, len(found), now)
    return found


def among_contacts(tx: Tx, caller: Caller, device: str) -> books.Lookup:
    """The users among a book's contacts, without their profiles."""
    return books.registered(tx, caller.app.id, caller.user_id, device, discoverable.rules(caller.app))


def with_profiles(tx: Tx, caller: Caller, found: Sequence[books.Found]) -> list[Registered]:
    """These users with their profiles, without those who were deleted just now."""
    phones = {user_id: phone for user_id, _, phone, _ in found}
    profiles = users.by_ids(tx, caller.app.id, list(phones), phones) if found else {}
    return [Registered(profiles[user_id], name) for user_id, name, *_ in found if user_id in profiles]


def with_phones(tx: Tx, caller: Caller, found: Sequence[books.Found]) -> list[RegisteredPhone]:
    """These users with their phones, without those who were deleted just now."""
    unusual = [user_id for user_id, _, phone, _ in found if phone is None]
    phones = users.phones(tx, caller.app.id, unusual) if unusual else {}
    return [
        RegisteredPhone(user_id, phone or phones[user_id], name)
        for user_id, name, phone, _ in found
        if phone or user_id in phones
    ]


def count_matches(caller: Caller, users: int, now: int) -> None:
    """Count registered contacts that an answer has."""
    metrics.matched(users)
    stats.add(caller.app.id, "matches", now, users)
