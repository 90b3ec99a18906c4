"""Storage cryptography: what a stolen database, without the key, does not reveal.

    Key.create(file), Key.read(file)    the key file; key.fingerprint names a key and reveals nothing of it
    Seal(key.secret)                    everything below works under one key
    seal.number, numbers                the keyed number that tables hold and join on: 63 bits; of many numbers
    seal.lookup(purpose, app_id, text)  the keyed value by which a whole text is found: 16 bytes
    seal.digest(purpose, *parts)        the keyed value by which a large content is found again: 16 bytes
    seal.digits, open_digits            a number, sealed: 24 bytes
    seal.text, open                     a text, sealed and padded
    seal.content, open_content          a content that is no text, sealed and padded like one
    seal.contact, open_contact          number, name and spelling of one contact, sealed and padded as one text
    contact_texts, seal.contacts, open_contacts   the same for many contacts of one book, in less time and in two steps
    seal.entries                        keyed values by which a book knows the entries that it was made of
    seal.names                          the names of contacts of many books
    halves(keyed)                       a keyed value as a part of a place
    RowKey(secret).mac(table, *parts)   the MAC of a row that opens something: 16 bytes

Every sealed value is bound to its place: the table and the column as text, then the ids that the value belongs to. In
another row, book or application it does not open: `errors.Unreadable`. Sealing is deterministic: the same value in the
same place gives the same bytes, so that sealed values can be compared. The price: somebody who sees the database at two
times sees which values have changed.

All keys come from the one in the key file, by HKDF-SHA256 (RFC 5869) with the purpose as info. Numbers and look-ups are
keyed BLAKE2b (RFC 7693), entries BLAKE2b of a key and the entry. Sealing is AES-SIV with 256-bit keys and no nonce (RFC
5297); the place is its associated data. Texts are padded as in ISO/IEC 7816-4, with 80 and zeros, to a multiple of 16
bytes. The MACs of rows are keyed BLAKE2b under a random secret that the database holds sealed (`store/row_macs.py`), so
that a change of the key leaves them valid.
"""

import os
import re
import secrets
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import errors
from .siv import ManySiv

KEY_BYTES = 32
FINGERPRINT_BYTES = 8
LOOKUP_BYTES = 16
ENTRY_BYTES = 8
MAC_BYTES = 16
ROW_SECRET_BYTES = 32
BLOCK = 16
SEALED_BYTES = 16  # by which a sealed value is longer
CONTACTS = "contacts.sealed"  # what Unreadable names when it is a contact
SALT = b"ringbook storage 1"

Place = str | int


class Sent(Protocol):
    """An entry of an upload: the phone as it was typed, the name, and whether it removes the contact."""

    @property
    def phone(self) -> str:
        """The phone as it was typed."""

    @property
    def name(self) -> str | None:
        """The name; None in an entry that has none."""

    @property
    def destroy(self) -> bool | int | None:
        """Does it remove the contact?"""


KEY_FILE = """\
# The storage key of a Ringbook database. Without this file nobody can read the numbers, names and secrets in it.
# Keep a copy apart from the database and from its backups. The fingerprint of this key is {fingerprint}.
{secret}
"""
MISSING = "the key file {file} is not there"
OPEN_TO_OTHERS = "the key file {file} can be read by other users of this machine: chmod 600 {file}"
NO_KEY = (
    "the key file {file} must hold one line of 64 hexadecimal digits, and other lines only if they begin with #: put an"
    " intact copy of the key file there"
)
NO_FOLDER = (
    "the key file {file} cannot be written, because there is no folder {folder}: create the folder, or correct"
    " RINGBOOK_DATABASE or RINGBOOK_KEY_FILE"
)
EXISTS = "{file} is there already, and a key is never overwritten"


# ── the key file ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Key:
    """The key of a database.

    secret   32 bytes
    file     where it was read; None for a key that comes from no file
    """

    secret: bytes = field(repr=False)
    file: Path | None = None

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ from key to key."""
        return derived(self.secret, "fingerprint", size=FINGERPRINT_BYTES).hex()

    @classmethod
    def create(cls, file: Path) -> "Key":
        """Make a new key and its file, which only its owner can read and which is on the disk when this returns.

        Invalid when the file exists, Unavailable when it cannot be written.
        """
        key = cls(secrets.token_bytes(KEY_BYTES), file)
        text = KEY_FILE.format(fingerprint=key.fingerprint, secret=key.secret.hex())
        try:
            _write_new(file, text.encode())
        except FileExistsError:
            raise errors.Invalid(EXISTS.format(file=file)) from None
        except FileNotFoundError:
            raise _unusable(NO_FOLDER.format(file=file, folder=file.parent)) from None
        except OSError as error:
            raise _unusable(f"the key file {file} cannot be written: {error.strerror}") from error
        return key

    @classmethod
    def read(cls, file: Path) -> "Key":
        """Read a key file. Unavailable when it is missing, malformed, or readable for other users of the machine."""
        try:
            with open(file, "rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                lines = opened.read(16 * 1024).decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            raise _unusable(MISSING.format(file=file)) from None
        except OSError as error:
            raise _unusable(f"the key file {file} cannot be read: {error.strerror}") from error
        # Container engines and systemd mount secrets there. They choose the mode and protect the folder.
        if mode & 0o077 and not file.resolve().is_relative_to("/run"):
            raise _unusable(OPEN_TO_OTHERS.format(file=file))
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if len(found) != 1 or not re.fullmatch(r"[0-9a-fA-F]{64}", found[0]):
            raise _unusable(NO_KEY.format(file=file))
        return cls(bytes.fromhex(found[0]), file)


def _unusable(why: str) -> errors.Unavailable:
    return errors.Unavailable(why, why=why)


def _write_new(file: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all. FileExistsError leaves an existing one as it is."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    opened = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(opened, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(opened)
        os.link(part, file)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    folder = os.open(file.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# ── sealing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# A contact's first 8 bytes: the number, which is below 2^54 (phone.py), and above it what stands for the spelling.
DIGITS, PLUS, WRITTEN = 0, 1 << 56, 2 << 56  # the number's digits alone; + and the digits; text after the name
NUMBER = (1 << 56) - 1
END = b"\xff"  # of the name, where a spelling follows: no byte of UTF-8
PADDING = [b"\x80" + bytes(BLOCK - 1 - length) for length in range(BLOCK)]  # for a text of so many bytes beyond blocks

_pack_number = struct.Struct(">Q").pack
_pack_signed = struct.Struct(">cq").pack
_unpack_number = struct.Struct(">Q").unpack
_unpack_first = struct.Struct(">Q").unpack_from
_unpack_halves = struct.Struct(">qq").unpack
_pack_contact = struct.Struct(">QQQQ").pack  # application, owner, book, keyed number
_pack_book = struct.Struct(">QQQ").pack  # the first three of these


class Seal:
    """Seals and opens under one key. Threads may share it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.fingerprint = Key(secret).fingerprint
        texts, digits, contacts = (AESSIV(derived(secret, use, size=64)) for use in ("text", "digits", "contact"))
        self._seal_text, self._open_text = texts.encrypt, texts.decrypt
        self._seal_digits, self._open_digits = digits.encrypt, digits.decrypt
        self._seal_contact, self._open_contact = contacts.encrypt, contacts.decrypt
        self._many_contacts = ManySiv(derived(secret, "contact", size=64))
        # Keyed hashes that have read nothing yet: a copy takes half the time of a new one.
        self._numbers: dict[int, Callable[[], blake2b]] = {}
        self._lookups: dict[tuple[str, int], Callable[[], blake2b]] = {}
        self._digests: dict[str, Callable[[], blake2b]] = {}
        self._entries: dict[str, Callable[[], blake2b]] = {}

    def __reduce__(self) -> tuple[type["Seal"], tuple[bytes]]:
        return Seal, (self._secret,)  # for a child process, which gets it through a pipe

    def number(self, app_id: int, number: int) -> int:
        """The keyed number: 63 bits, the same for the same number of the same application."""
        keyed = self._number_hash(app_id)()
        keyed.update(_pack_number(number))
        value: int = _unpack_number(keyed.digest())[0]
        return value >> 1

    def numbers(self, app_id: int, numbers: Sequence[int]) -> list[int]:
        """The keyed number of each number."""
        copied, pack = self._number_hash(app_id), _pack_number
        digests: list[bytes] = []
        for number in numbers:
            hashed = copied()
            hashed.update(pack(number))
            digests.append(hashed.digest())
        return [value >> 1 for value in struct.unpack(f">{len(digests)}Q", b"".join(digests))]

    def _number_hash(self, app_id: int) -> Callable[[], blake2b]:
        try:
            return self._numbers[app_id]
        except KeyError:
            self._numbers[app_id] = copy = self._keyed_hash(8, "number", app_id)
            return copy

    def lookup(self, purpose: str, app_id: int, text: str) -> bytes:
        """The keyed value of a whole text: 16 bytes. Different purposes give different values."""
        try:
            keyed = self._lookups[purpose, app_id]()
        except KeyError:
            self._lookups[purpose, app_id] = copy = self._keyed_hash(LOOKUP_BYTES, "lookup", purpose, app_id)
            keyed = copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return keyed.digest()

    def digest(self, purpose: str, *parts: bytes) -> bytes:
        """The keyed value of a content: 16 bytes. Each part but the last must show by itself where it ends."""
        try:
            keyed = self._digests[purpose]()
        except KeyError:
            self._digests[purpose] = copy = self._keyed_hash(LOOKUP_BYTES, "digest", purpose)
            keyed = copy()
        for part in parts:
            keyed.update(part)
        return keyed.digest()

    def digits(self, number: int, *place: Place) -> bytes:
        """A number, sealed: 24 bytes."""
        return self._seal_digits(_pack_number(number), [encoded(place)])

    def all_digits(self, numbers: Mapping[int, int], *place: Place) -> list[tuple[int, bytes]]:
        """Each key of the numbers with its number, sealed as by `digits` for the place that ends with the key."""
        seal, start, pack, signed = self._seal_digits, encoded(place), _pack_number, _pack_signed
        return [(key, seal(pack(number), [start + signed(b"i", key)])) for key, number in numbers.items()]

    def open_digits(self, sealed: bytes, *place: Place) -> int:
        """The number that was sealed for this place; Unreadable."""
        try:
            value: int = _unpack_number(self._open_digits(sealed, [encoded(place)]))[0]
        except (InvalidTag, struct.error):
            raise errors.Unreadable(named(place)) from None
        return value

    def text(self, text: str, *place: Place) -> bytes:
        """A text, sealed: 17 to 32 bytes longer than in UTF-8, and a multiple of 16."""
        plain = text.encode()
        return self._seal_text(plain + PADDING[len(plain) & 15], [encoded(place)])

    def open(self, sealed: bytes, *place: Place) -> str:
        """The text that was sealed for this place; Unreadable."""
        try:
            plain = self._open_text(sealed, [encoded(place)])
        except InvalidTag:
            raise errors.Unreadable(named(place)) from None
        return plain[: plain.rindex(b"\x80")].decode()

    def content(self, content: bytes, *place: Place) -> bytes:
        """A content that is no text, sealed and padded like one."""
        return self._seal_text(content + PADDING[len(content) & 15], [encoded(place)])

    def open_content(self, sealed: bytes, *place: Place) -> bytes:
        """The content that was sealed for this place; Unreadable."""
        try:
            plain = self._open_text(sealed, [encoded(place)])
        except InvalidTag:
            raise errors.Unreadable(named(place)) from None
        return plain[: plain.rindex(b"\x80")]

    def contact(
        self, app_id: int, owner_id: int, book: int, keyed: int, number: int, name: str, typed: str | None
    ) -> bytes:
        """A contact, sealed for its place in this book; `typed` is None where it is the number's digits."""
        (text,) = contact_texts([(number, name, typed)])
        assert text
        return self._seal_contact(text, [_pack_contact(app_id, owner_id, book, keyed)])

    def contacts(
        self, app_id: int, owner_id: int, book: int, keyed: Sequence[int], texts: Sequence[bytes]
    ) -> list[bytes]:
        """Each contact of a book, sealed: of its keyed number, and the text that `contact_texts` has made of it."""
        return self._many_contacts.seal((app_id, owner_id, book), keyed, texts)

    def entries(
        self, reading: str, app_id: int, owner_id: int, book: int, entries: Sequence[Sent | None]
    ) -> "array[int]":
        """The keyed value of each entry for a book: of the phone as it was typed, and the name. 64 bits, with a sign.

        reading   names the way in which numbers are read: after another one, every value is different

        An entry that removes a contact, or has no name, has the value of an empty text, as None has: no contact is
        stored with it.
        """
        try:
            of_book = self._entries[reading]()
        except KeyError:
            self._entries[reading] = copy = self._hash_after_key(ENTRY_BYTES, "entry", reading)
            of_book = copy()
        of_book.update(_pack_book(app_id, owner_id, book))
        copied, found = of_book.copy, array("q")
        # One after the other: where nothing is in the processor's cache, memory for a thousand texts takes longer than
        # the loop.
        for entry in entries:
            hashed = copied()
            if entry is not None and not entry.destroy and entry.name is not None:
                text = f"{entry.phone}\0{entry.name}"  # neither contains NUL in an entry that is stored
                try:
                    hashed.update(text.encode())
                except UnicodeEncodeError:  # half an emoji; with these arguments, each would take longer
                    hashed.update(text.encode("utf-8", "surrogatepass"))
            found.frombytes(hashed.digest())
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def open_contact(
        self, app_id: int, owner_id: int, book: int, keyed: int, sealed: bytes
    ) -> tuple[int, str, str | None]:
        """(number, name, typed) of a contact that was sealed for this place; Unreadable."""
        return self.open_contacts(app_id, owner_id, book, ((keyed, sealed),))[0]

    def open_contacts(
        self, app_id: int, owner_id: int, book: int, contacts: Iterable[tuple[int, bytes]]
    ) -> list[tuple[int, str, str | None]]:
        """(number, name, typed) for each (keyed number, sealed contact) of a book; Unreadable."""
        opened, pack, place = self._open_contact, _pack_number, _pack_book(app_id, owner_id, book)
        try:
            return [_contact_of(opened(sealed, [place + pack(keyed)])) for keyed, sealed in contacts]
        except InvalidTag:
            raise errors.Unreadable(CONTACTS) from None

    def names(self, contacts: Iterable[tuple[int, int, int, int, bytes]]) -> list[str | None]:
        """The name in each (application, owner, book, keyed number, sealed contact); None where one does not open."""
        opened, pack = self._open_contact, _pack_contact
        found: list[str | None] = []
        for app_id, owner_id, book, keyed, sealed in contacts:
            try:
                found.append(_contact_of(opened(sealed, [pack(app_id, owner_id, book, keyed)]))[1])
            except InvalidTag:
                found.append(None)
        return found

    def _keyed_hash(self, size: int, *purpose: Place) -> Callable[[], blake2b]:
        """Copies of a keyed hash that has read nothing yet."""
        return blake2b(key=derived(self._secret, *purpose, size=KEY_BYTES), digest_size=size).copy

    def _hash_after_key(self, size: int, *purpose: Place) -> Callable[[], blake2b]:
        """Copies of a hash that has read a key.

        BLAKE2's own key fills a block, so that a short content needs two of them, and twice the time. In front of the
        content a key of a fixed length is as good: nobody can extend what BLAKE2 has hashed.
        """
        hashed = blake2b(digest_size=size)
        hashed.update(derived(self._secret, *purpose, size=KEY_BYTES))
        return hashed.copy


class RowKey:
    """Makes the MACs of rows under a secret of the database. Threads may share it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._tables: dict[str, Callable[[], blake2b]] = {}  # keyed hashes that have read nothing yet

    def mac(self, table: str, *parts: int | bytes) -> bytes:
        """The MAC of a row: 16 bytes. `parts` are the values that only a holder of the key may write together."""
        try:
            keyed = self._tables[table]()
        except KeyError:
            key = derived(self._secret, "row", table, size=KEY_BYTES)
            self._tables[table] = copy = blake2b(key=key, digest_size=MAC_BYTES).copy
            keyed = copy()
        pack = _pack_signed
        keyed.update(
            b"".join([pack(b"i", part) if part.__class__ is int else pack(b"b", len(part)) + part for part in parts])  # type: ignore[arg-type, operator]
        )
        return keyed.digest()


def contact_texts(contacts: Iterable[tuple[int, str | None, str | None]]) -> list[bytes | None]:
    """What is sealed of each (number, name, typed), padded; None without a name. `typed` is None for the digits alone.

    When it is sealed, it is SEALED_BYTES longer.
    """
    pack, padding = _pack_number, PADDING
    found: list[bytes | None] = []
    for number, name, typed in contacts:
        if name is None:
            found.append(None)
            continue
        if typed is None:
            text = pack(number) + name.encode()
        elif typed[1:].isdigit() and typed == f"+{number}":
            text = pack(number | PLUS) + name.encode()
        else:
            text = pack(number | WRITTEN) + name.encode() + END + typed.encode()
        found.append(text + padding[len(text) & 15])
    return found


def _contact_of(padded: bytes) -> tuple[int, str, str | None]:
    """(number, name, typed) of a padded text."""
    (first,) = _unpack_first(padded)
    text = padded[8 : padded.rindex(b"\x80")]
    if first < PLUS:
        return first, text.decode(), None
    number = first & NUMBER
    if first < WRITTEN:
        return number, text.decode(), f"+{number}"
    name, _, typed = text.partition(END)
    return number, name.decode(), typed.decode()


def derived(secret: bytes, *purpose: Place, size: int) -> bytes:
    """A key for one purpose. Nobody can compute the secret, or the key for another purpose, from it."""
    return HKDF(SHA256(), size, SALT, encoded(purpose)).derive(secret)


def encoded(place: tuple[Place, ...]) -> bytes:
    """A place as bytes. Two places never give the same: each text carries its length, each number has 8 bytes."""
    return b"".join([_pack_signed(b"i", part) if part.__class__ is int else _encoded_text(part) for part in place])


@lru_cache(maxsize=1024)
def _encoded_text(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return b"s" + _pack_number(len(content)) + content


def halves(keyed: bytes) -> tuple[int, int]:
    """A keyed value of `Seal.lookup` as two numbers, to bind a sealed value to its row."""
    first, second = _unpack_halves(keyed)
    return first, second


def named(place: tuple[Place, ...]) -> str:
    """The table and the column of a place, for messages."""
    return ".".join(part for part in place[:2] if isinstance(part, str))
