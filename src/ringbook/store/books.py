"""Address books and their contacts. `keyed` stands for keyed numbers, all others are numbers as `phone.py` makes them.

lock_book, lock_owner, lock_all       one row per book: the lock an upload takes
add_book, set_book, forget_book       and the sizes it checks
add_to_totals                         one row per owner: contacts and bytes over all books
doubt                                 a book that cannot be read
contacts_among, whole_book            what an upload compares with
contacts_and_removed                  the same for few numbers, with those that the owner removed lately
entries                               the same, only to find out which entries the book holds already
elsewhere                             which numbers the owner's other books hold
elsewhere_or_removed                  the same, and those that the owner removed lately
add, put, move, drop                  the net change, sorted by number
of_owner, page, registered_after      for admins
count_registered, holders_of          how many registered contacts an owner finds; who holds a user's number
found_users                           the registered contacts whom an owner finds
in_order, registered                  reading a book, and who of it is a user
holds                                 which of these users the owner finds in any of the books
HELD_NUMBER, holds_of                 the same of one user, within a statement that reads more
"""

import secrets
from collections.abc import Iterator, Sequence, Set
from itertools import chain
from typing import Any, NamedTuple, cast

from .. import errors
from ..model import GLOBAL_BOOK, SEQ_GAP, Contact, Held, Placed
from . import discoverable
from .db import Row, Rows, Tx
from .discoverable import Rules
from .numbers import spelled

LOCKED = "book, size, next_seq, version, reports, reported_version"
AT_ONCE = 2_000  # contacts deleted by one statement
SEALED_AT_ONCE = 2_000  # contacts that are sealed, then written by one statement
WORTH_TWO = 400  # contacts that are worth a second statement
INTO = "INSERT INTO contacts (owner_id, book, number, app_id, entry, seq, sealed)"
INSTEAD = (
    " ON CONFLICT (owner_id, book, number)"
    " DO UPDATE SET entry = excluded.entry, seq = excluded.seq, sealed = excluded.sealed"
)
ADD = f"{INTO} SELECT :owner_id, :book, r.number, :app_id, r.entry, r.seq, r.sealed FROM :contacts AS r WHERE 1 = 1"
PUT = f"{ADD}{INSTEAD}"
# With the row of the book, a cluster sends the list to the book's node, instead of gathering and spreading it.
PUT_AT_NODE = (
    f"{INTO} SELECT b.owner_id, b.book, r.number, :app_id, r.entry, r.seq, r.sealed FROM books AS b"
    f" CROSS JOIN :contacts AS r WHERE b.owner_id = :owner_id AND b.book = :book{INSTEAD}"
)
STORED: dict[str, type] = {"number": int, "entry": int, "seq": int, "sealed": bytes}
Found = tuple[int, str, str | None, int]  # a registered contact: user id, name in the book, phone, number
BEFORE_ALL = -(2**63)  # positions are any integers: contacts that are added in front get lower ones
HELD = "SELECT number, entry, seq, length(sealed) FROM contacts WHERE owner_id = :owner_id AND book = :book"


def lock_book(tx: Tx, owner_id: int, device: str, now: int) -> Row | None:
    """Lock an existing book until the transaction ends, and return it: see LOCKED."""
    return tx.one(
        f"UPDATE books SET synced_at = :now WHERE owner_id = :owner_id AND device = :device RETURNING {LOCKED}",
        owner_id=owner_id,
        device=device,
        now=now,
    )


def lock_owner(tx: Tx, app_id: int, owner_id: int) -> None:
    """Create the owner's global book if it is missing, and lock it. Others who add a book to this owner wait here.

    Its `synced_at` stays as it is, and is 0 in a book that is made here.
    """
    # DO UPDATE would watch one of the table's two unique keys, and two first uploads at once could meet in the other.
    tx.run(
        "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at, version)"
        " VALUES (:owner_id, :book, :app_id, '', 0, :seq, 0, :version) ON CONFLICT DO NOTHING",
        owner_id=owner_id,
        book=GLOBAL_BOOK,
        app_id=app_id,
        seq=SEQ_GAP,
        version=_first_version(),
    )
    locked = tx.run(
        "UPDATE books SET synced_at = synced_at WHERE owner_id = :owner_id AND book = :book",
        owner_id=owner_id,
        book=GLOBAL_BOOK,
    )
    if not locked:  # the owner was deleted while we waited
        raise errors.SessionGone


def lock_all(tx: Tx, owner_id: int) -> None:
    """Lock the owner's books until the transaction ends: no upload to them is under way, and none begins.

    The global book is locked first, as `lock_owner` does before an upload locks the book of its device. One statement
    for all books locks them in any order, and deadlocks with such an upload.
    """
    for books in ("book = :book", "book <> :book"):
        tx.run(
            f"UPDATE books SET synced_at = synced_at WHERE owner_id = :owner_id AND {books}",
            owner_id=owner_id,
            book=GLOBAL_BOOK,
        )


def numbers_of_books(tx: Tx, owner_id: int) -> list[int]:
    """The owner's books, by their number within the owner."""
    return [row[0] for row in tx.tuples("SELECT book FROM books WHERE owner_id = :owner_id", owner_id=owner_id)]


def of_owner(tx: Tx, owner_id: int) -> list[Row]:
    """The books that the owner has synced: book, device, size and synced_at, the one of all devices first."""
    return tx.all(
        "SELECT book, device, size, synced_at FROM books WHERE owner_id = :owner_id AND synced_at > 0 ORDER BY book",
        owner_id=owner_id,
    )


def page(tx: Tx, owner_id: int, book: int, after: int, limit: int) -> list[Contact]:
    """Up to `limit` contacts of a book after a position, in upload order. The first position is above BEFORE_ALL."""
    rows = tx.tuples(
        "SELECT app_id, number, sealed, seq FROM contacts WHERE owner_id = :owner_id AND book = :book AND seq > :after"
        " ORDER BY seq LIMIT :limit",
        owner_id=owner_id,
        book=book,
        after=after,
        limit=limit,
    )
    opened = tx.seal.open_contact
    return [Contact(*opened(app_id, owner_id, book, keyed, sealed), seq) for app_id, keyed, sealed, seq in rows]


def registered_after(
    tx: Tx, owner_id: int, book: int, after: int, limit: int, *, verified_only: bool
) -> dict[int, int]:
    """By place: one user who answers to the contact, of up to `limit` contacts after a place."""
    rows = tx.tuples(
        "SELECT c.seq, MIN(n.user_id) FROM (SELECT app_id, number, seq FROM contacts"
        " WHERE owner_id = :owner_id AND book = :book AND seq > :after ORDER BY seq LIMIT :limit) AS c"
        " CROSS JOIN numbers AS n WHERE n.app_id = c.app_id AND n.number = c.number"
        " AND (n.verified_at IS NOT NULL OR :verified_only = 0) GROUP BY c.seq",
        owner_id=owner_id,
        book=book,
        after=after,
        limit=limit,
        verified_only=int(verified_only),
    )
    return dict(rows)


def count_registered(tx: Tx, owner_id: int, rules: Rules) -> int:
    """How many users an owner finds by the contacts of all books. The owner does not count."""
    joined = (
        "FROM contacts AS c CROSS JOIN numbers AS n"
        " WHERE c.owner_id = :viewer AND n.app_id = c.app_id AND n.number = c.number AND n.user_id <> :viewer"
        f" AND {rules.condition()}"
    )
    params, codes = rules.params(owner_id), rules.codes("mutual")
    rows = tx.tuples(f"SELECT n.discoverable, COUNT(DISTINCT n.user_id) {joined} GROUP BY n.discoverable", **params)
    found = sum(count for code, count in rows if code not in codes)
    if not any(code in codes for code, _ in rows):
        return int(found)
    wanted = Rows.of("code", sorted(codes))
    ids = tx.tuples(f"SELECT DISTINCT n.user_id {joined} AND n.discoverable IN :codes", codes=wanted, **params)
    asked = [row[0] for row in ids]
    return int(found) + len(discoverable.mutual(tx, owner_id, asked, verified_only=rules.verified_only))


def found_users(tx: Tx, owner_id: int, rules: Rules) -> set[int]:
    """The users whom an owner finds by the contacts of all books, without the owner."""
    rows = tx.tuples(
        "SELECT DISTINCT n.user_id, n.discoverable FROM contacts AS c CROSS JOIN numbers AS n"
        " WHERE c.owner_id = :viewer AND n.app_id = c.app_id AND n.number = c.number AND n.user_id <> :viewer"
        f" AND {rules.condition()}",
        **rules.params(owner_id),
    )
    return {row[0] for row in _found(tx, owner_id, rows, 1, rules)[0]}


def holders_of(tx: Tx, user_id: int, limit: int) -> list[int]:
    """Ids of up to `limit` other users whose books contain a number of this user. Touches every shard of a cluster."""
    rows = tx.tuples("SELECT app_id, number FROM numbers WHERE user_id = :user_id", user_id=user_id)
    found: dict[int, None] = {}
    for app_id, number in rows:
        owners = tx.tuples(
            "SELECT DISTINCT owner_id FROM contacts WHERE app_id = :app_id AND number = :number"
            " ORDER BY owner_id LIMIT :limit",
            app_id=app_id,
            number=number,
            limit=limit,
        )
        found |= {row[0]: None for row in owners if row[0] != user_id}
    return list(found)[:limit]


def add_book(tx: Tx, app_id: int, owner_id: int, book: int, device: str, now: int) -> Row:
    """Add an empty book for a device, and return it like `lock_book`. The write also locks it."""
    row = tx.one(
        "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at, version)"
        f" VALUES (:owner_id, :book, :app_id, :device, 0, :seq, :now, :version) RETURNING {LOCKED}",
        owner_id=owner_id,
        book=book,
        app_id=app_id,
        device=device,
        seq=SEQ_GAP,
        now=now,
        version=_first_version(),
    )
    assert row
    return row


def _first_version() -> int:
    """The version of a new book: a random one, so that it is never taken for a book that was there before."""
    return secrets.randbits(60)


def set_book(tx: Tx, owner_id: int, book: int, size: int, next_seq: int, reports: bytes | None = None) -> None:
    """Store the number of contacts of a changed book, and the place of its next contact; raise its version.

    reports   those of the changed book (`store/reports.py`); None: those that are stored hold no longer
    """
    row: dict[str, Any] = {"owner_id": owner_id, "book": book, "size": size, "next_seq": next_seq}
    if reports is None:
        tx.run(
            "UPDATE books SET size = :size, next_seq = :next_seq, version = version + 1"
            " WHERE owner_id = :owner_id AND book = :book",
            **row,
        )
    else:
        tx.run(
            "UPDATE books SET size = :size, next_seq = :next_seq, version = version + 1,"
            " reports = :reports, reported_version = version + 1 WHERE owner_id = :owner_id AND book = :book",
            **row,
            reports=reports,
        )


def doubt(tx: Tx, owner_id: int, device: str) -> None:
    """Make the next upload store every contact of a device's book anew, because one of them does not open."""
    book = tx.one(
        "UPDATE books SET version = version + 1 WHERE owner_id = :owner_id AND device = :device RETURNING book",
        owner_id=owner_id,
        device=device,
    )
    if book:
        tx.run(
            "UPDATE contacts SET entry = 0 WHERE owner_id = :owner_id AND book = :book AND entry <> 0",
            owner_id=owner_id,
            book=book["book"],
        )


def forget_book(tx: Tx, owner_id: int, book: int) -> None:
    """Delete an empty book of a device, so that another device can have a book."""
    tx.run("DELETE FROM discovered WHERE owner_id = :owner_id AND book = :book", owner_id=owner_id, book=book)
    tx.run("DELETE FROM books WHERE owner_id = :owner_id AND book = :book", owner_id=owner_id, book=book)


def add_to_totals(tx: Tx, app_id: int, owner_id: int, contacts: int, text_bytes: int) -> Row:
    """Add to the owner's totals over all books, and return them: contacts, bytes. Changes may be negative.

    Also announce_until: until then, an upload announces the owner to those who have become mutual contacts (`joined`).

    The row is locked until the transaction ends: uploads to different books of one owner take turns from here on.
    Whoever takes this lock holds the lock of a book already, never the other way round.
    """
    row = tx.one(
        "INSERT INTO totals (owner_id, app_id, contacts, bytes) VALUES (:owner_id, :app_id, :contacts, :bytes)"
        " ON CONFLICT (owner_id) DO UPDATE SET contacts = totals.contacts + excluded.contacts,"
        " bytes = totals.bytes + excluded.bytes RETURNING contacts, bytes, announce_until",
        owner_id=owner_id,
        app_id=app_id,
        contacts=contacts,
        bytes=text_bytes,
    )
    assert row
    return row


def contacts_among(tx: Tx, owner_id: int, book: int, keyed: Sequence[int]) -> dict[int, Held]:
    """By keyed number: the contacts of a book that have one of these."""
    rows = tx.tuples(f"{HELD} AND number IN :keyed", owner_id=owner_id, book=book, keyed=Rows.of("number", keyed))
    return by_number(rows)


def contacts_and_removed(
    tx: Tx, owner_id: int, book: int, keyed: Sequence[int], removed_since: int
) -> tuple[dict[int, Held], set[int] | None]:
    """The same for few numbers; and which of them the owner has removed since a time.

    None instead of the latter if the owner has other books: they may contain numbers, too (`elsewhere_or_removed`).
    """
    # What has no contact has a length below 0.
    rows = tx.tuples(
        f"{HELD} AND number IN :keyed"
        " UNION ALL SELECT number, 0, 0, -1 FROM removed"
        " WHERE owner_id = :owner_id AND number IN :keyed AND at >= :since"
        " UNION ALL SELECT book, 0, 0, -2 FROM books WHERE owner_id = :owner_id AND book <> :book",
        owner_id=owner_id,
        book=book,
        keyed=Rows.of("number", keyed),
        since=removed_since,
    )
    others = [row for row in rows if row[3] < 0]
    has_books = any(row[3] == -2 for row in others)
    return by_number([row for row in rows if row[3] >= 0]), None if has_books else {row[0] for row in others}


def whole_book(tx: Tx, owner_id: int, book: int) -> dict[int, Held]:
    """By keyed number: every contact of a book, in any order."""
    return by_number(tx.tuples(HELD, owner_id=owner_id, book=book))


def entries(tx: Tx, owner_id: int, book: int) -> set[int]:
    """The keyed entries of a book's contacts."""
    sql = "SELECT entry AS value FROM contacts WHERE owner_id = :owner_id AND book = :book"
    return tx.integers(sql, owner_id=owner_id, book=book)


def by_number(rows: list[tuple[Any, ...]]) -> dict[int, Held]:
    """Rows of contacts, by keyed number."""
    return cast(dict[int, Held], {row[0]: row for row in rows})


def elsewhere(tx: Tx, app_id: int, owner_id: int, book: int, keyed: Sequence[int]) -> set[int]:
    """The keyed numbers among these that another book of the owner contains."""
    rows = tx.tuples(
        "SELECT number FROM contacts WHERE app_id = :app_id AND number IN :keyed"
        " AND owner_id = :owner_id AND book <> :book",
        app_id=app_id,
        owner_id=owner_id,
        book=book,
        keyed=Rows.of("number", keyed),
    )
    return {row[0] for row in rows}


def elsewhere_or_removed(
    tx: Tx, app_id: int, owner_id: int, book: int, keyed: Sequence[int], removed_since: int
) -> set[int]:
    """The same, and those that the owner has removed since a time. For few numbers, which it looks up one by one."""
    rows = tx.tuples(
        "SELECT number FROM contacts WHERE app_id = :app_id AND number IN :keyed"
        " AND owner_id = :owner_id AND book <> :book"
        " UNION ALL SELECT number FROM removed WHERE owner_id = :owner_id AND number IN :keyed AND at >= :since",
        app_id=app_id,
        owner_id=owner_id,
        book=book,
        since=removed_since,
        keyed=Rows.of("number", keyed),
    )
    return {row[0] for row in rows}


def put(tx: Tx, app_id: int, owner_id: int, book: int, contacts: Sequence[Placed]) -> None:
    """Seal and store new and changed contacts of a book that is there. They must be sorted by their keyed numbers."""
    _store(tx, PUT_AT_NODE if tx.is_distributed else PUT, app_id, owner_id, book, contacts)


def add(tx: Tx, app_id: int, owner_id: int, book: int, contacts: Sequence[Placed]) -> None:
    """The same for contacts of which the locked book has none, in less time: nothing need be ready for a conflict."""
    _store(tx, PUT_AT_NODE if tx.is_distributed else ADD, app_id, owner_id, book, contacts)


def _store(tx: Tx, statement: str, app_id: int, owner_id: int, book: int, contacts: Sequence[Placed]) -> None:
    """Seals contacts while PostgreSQL stores those before. At first fewer, because it waits until these are sealed."""

    def sealed(some: Sequence[Placed]) -> Rows:
        numbers, entries, seqs, texts = zip(*some, strict=True)
        ciphered = tx.seal.contacts(app_id, owner_id, book, numbers, texts)
        return Rows(STORED, list(zip(numbers, entries, seqs, ciphered, strict=True)))

    first = min(len(contacts) // 4, SEALED_AT_ONCE) if len(contacts) >= WORTH_TWO else len(contacts)
    parts = map(sealed, filter(len, chain([contacts[:first]], slices(contacts, SEALED_AT_ONCE, first))))
    tx.run_each(statement, "contacts", parts, app_id=app_id, owner_id=owner_id, book=book)


def slices(rows: Sequence[Any], size: int = AT_ONCE, start: int = 0) -> Iterator[Sequence[Any]]:
    """The rows of one statement after the other.

    SQLite keeps in memory what each page was before the statement that changes it, and each contact changes a page of
    its own in the index by number: 50,000 at once took up to 200 MB.
    """
    return (rows[at : at + size] for at in range(start, len(rows), size))


def move(tx: Tx, owner_id: int, book: int, places: Sequence[tuple[int, int]]) -> None:
    """Store new places of contacts: (keyed number, seq), sorted."""
    tx.run(
        "UPDATE contacts SET seq = r.seq FROM :places AS r"
        " WHERE contacts.owner_id = :owner_id AND contacts.book = :book AND contacts.number = r.number",
        owner_id=owner_id,
        book=book,
        places=Rows({"number": int, "seq": int}, places),
    )


def drop(tx: Tx, owner_id: int, book: int, keyed: Sequence[int]) -> list[tuple[int, bytes]]:
    """Delete the contacts with these keyed numbers. Returns keyed number and sealed text of each."""
    found: list[tuple[Any, ...]] = []
    for some in slices(keyed):
        found += tx.tuples(
            "DELETE FROM contacts WHERE owner_id = :owner_id AND book = :book AND number IN :keyed"
            " RETURNING number, sealed",
            owner_id=owner_id,
            book=book,
            keyed=Rows.of("number", some),
        )
    return cast(list[tuple[int, bytes]], found)


def in_order(tx: Tx, owner_id: int, device: str) -> list[tuple[int, str, str | None]]:
    """(number, name, typed) of a device's book, in upload order; nothing for an unknown device."""
    rows = tx.tuples(
        "SELECT c.number, c.sealed, c.app_id, c.book FROM books AS b"
        " JOIN contacts AS c ON c.owner_id = b.owner_id AND c.book = b.book"
        " WHERE b.owner_id = :owner_id AND b.device = :device ORDER BY c.seq, c.number",
        owner_id=owner_id,
        device=device,
    )
    if not rows:
        return []
    app_id, book = rows[0][2:]  # one device has one book
    return tx.seal.open_contacts(app_id, owner_id, book, [row[:2] for row in rows])


class Lookup(NamedTuple):
    """The users whom an owner finds by a book's contacts.

    asked    the users with a number in the book who want mutual contacts only
    agreed   those of them who hold a number of the owner
    """

    found: list[Found]
    asked: Set[int]
    agreed: Set[int]


def registered(tx: Tx, app_id: int, owner_id: int, device: str, rules: Rules) -> Lookup:
    """The users whom the owner finds by a contact, each once, in the book's order.

    The phone is the one in the user's profile; None when only the profile says it (`numbers.spelled`).
    """
    rows = tx.tuples(
        "SELECT n.user_id, n.spelling, c.number, c.sealed, n.discoverable, c.book"
        " FROM books AS b CROSS JOIN contacts AS c CROSS JOIN numbers AS n"
        " WHERE b.owner_id = :viewer AND b.device = :device AND c.owner_id = b.owner_id AND c.book = b.book"
        f" AND n.app_id = c.app_id AND n.number = c.number AND {rules.condition()}"
        " ORDER BY c.seq, c.number, n.user_id",
        device=device,
        **rules.params(owner_id),
    )
    rows, asked, agreed = _found(tx, owner_id, rows, 4, rules)
    if not rows:
        return Lookup([], asked, agreed)
    book = rows[0][5]  # one device has one book
    first: dict[int, tuple[Any, ...]] = {}
    for row in rows:
        first.setdefault(row[0], row)
    opened = tx.seal.open_contacts(app_id, owner_id, book, [row[2:4] for row in first.values()])
    found = [
        (user_id, name, spelled(number, spelling), number)
        for (user_id, spelling, *_), (number, name, _) in zip(first.values(), opened, strict=True)
    ]
    return Lookup(found, asked, agreed)


def _found(
    tx: Tx, owner_id: int, rows: list[tuple[Any, ...]], place: int, rules: Rules
) -> tuple[list[tuple[Any, ...]], Set[int], Set[int]]:
    """The rows of users whom the owner finds; `asked` and `agreed` as in `Lookup`.

    rows    of users whose numbers the owner has: the user's id first, the column `discoverable` at `place`
    """
    codes = rules.codes("mutual")
    asked = {row[0] for row in rows if row[place] in codes and row[0] != owner_id}
    if not asked:
        return rows, asked, asked
    agreed = discoverable.mutual(tx, owner_id, asked, verified_only=rules.verified_only)
    return [row for row in rows if row[0] not in asked or row[0] in agreed], asked, agreed


VERIFIED = 64  # more than the codes of `discoverable`
# For one user: the user's code of `discoverable`, plus VERIFIED if a verified number of the user is in a book of the
# owner; NULL if no number is. All numbers of a user have the same code.
HELD_NUMBER = (
    f"(SELECT max(n.discoverable + CASE WHEN n.verified_at IS NULL THEN 0 ELSE {VERIFIED} END)"
    " FROM numbers AS n CROSS JOIN contacts AS c WHERE n.user_id = {user_id}"
    " AND c.app_id = n.app_id AND c.number = n.number AND c.owner_id = {owner_id})"
)


def holds(tx: Tx, owner_id: int, user_ids: Sequence[int], rules: Rules) -> set[int]:
    """The users among these whom the owner finds: they have a number in any of the owner's books, and permit it."""
    rows = tx.tuples(
        "SELECT DISTINCT n.user_id, n.discoverable FROM numbers AS n CROSS JOIN contacts AS c"
        " WHERE n.user_id IN :user_ids"
        f" AND c.app_id = n.app_id AND c.number = n.number AND c.owner_id = :viewer AND {rules.condition()}",
        user_ids=Rows.of("id", user_ids),
        **rules.params(owner_id),
    )
    return {row[0] for row in _found(tx, owner_id, rows, 1, rules)[0]}


def holds_of(held: int | None, rules: Rules) -> bool | None:
    """Does an owner find another user, by the value of `HELD_NUMBER`? None if it depends on the user's books, too."""
    if held is None:
        return False
    verified, code = divmod(held, VERIFIED)
    if rules.verified_only and not verified:
        return False
    audience = rules.audience(code)
    return None if audience == "mutual" else audience != "nobody"


def delete_books(tx: Tx, owner_id: int) -> tuple[int, int]:
    """Delete an owner's books, what is kept beside them, and the totals, but not the contacts: `delete_all` does that.

    Returns how many of the books had contacts, and the number of these contacts.
    """
    rows = tx.tuples("DELETE FROM books WHERE owner_id = :owner_id RETURNING size", owner_id=owner_id)
    tx.run("DELETE FROM discovered WHERE owner_id = :owner_id", owner_id=owner_id)
    tx.run("DELETE FROM totals WHERE owner_id = :owner_id", owner_id=owner_id)
    return sum(size > 0 for (size,) in rows), sum(size for (size,) in rows)


def delete_all(tx: Tx, owner_id: int) -> None:
    """Delete every contact of an owner whose books are deleted already."""
    tx.run("DELETE FROM contacts WHERE owner_id = :owner_id", owner_id=owner_id)
