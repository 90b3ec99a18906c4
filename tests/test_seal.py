"""Storage cryptography: known answers, what opens and what does not, and the key file."""

import hashlib
import hmac
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from ringbook import errors, seal
from ringbook.model import Entry
from ringbook.seal import Key, Seal

SECRET = bytes(range(32))
SEAL = Seal(SECRET)
NUMBER = 12025550142
LARGEST = 15 * 10**15  # phone.py: fifteen leading zeros

ids = st.integers(0, 2**63 - 1)
numbers = st.integers(0, LARGEST)
# Every text that UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
parts = st.one_of(texts, st.integers(-(2**63), 2**63 - 1))
places = st.lists(parts, max_size=5).map(tuple)


# ── known answers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_library_gives_the_answer_of_the_standard() -> None:
    # RFC 5297, A.1: deterministic authenticated encryption.
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    data = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    plain = bytes.fromhex("112233445566778899aabbccddee")
    sealed = bytes.fromhex("85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c")
    assert AESSIV(key).encrypt(plain, [data]) == sealed == siv(key, data, plain)


def test_values_never_change() -> None:
    # A change here makes every database unreadable. The answers come from the second implementation below.
    assert Key(SECRET).fingerprint == SEAL.fingerprint == "3702f20b39619ef1"
    assert SEAL.number(1, NUMBER) == 6_425_070_857_352_810_735
    assert SEAL.lookup("email", 1, "ann@example.com").hex() == "c9567e53055f102c580c1bb53255d584"
    assert SEAL.digits(NUMBER, "numbers", "digits", 7).hex() == "f8ff6c2c74c1cc765af5230d723ab5a6cf4c28c749c94cc2"
    assert (
        SEAL.text("Ann", "users", "phone", 7).hex()
        == "0afb1a063f62d1c4311bd27ba0d17cad3b1e9521d51a0c976af2bb8d0119a53e"
    )
    assert SEAL.contact(1, 7, 2, 99, NUMBER, "Ann", "+1 202 555 0142").hex() == (
        "6e3bd606ad199211bfd096f947282bd1002e6d69a0744dbbd406df88779622b5845e73a53ce787256c8d2edac69eb7b4"
    )


def test_a_second_implementation_gives_the_same_values() -> None:
    number = hashlib.blake2b(struct.pack(">Q", NUMBER), key=hkdf(place("number", 1), 32), digest_size=8).digest()
    assert SEAL.number(1, NUMBER) == int.from_bytes(number, "big") // 2
    lookup = hashlib.blake2b(b"ann@example.com", key=hkdf(place("lookup", "email", 1), 32), digest_size=16)
    assert SEAL.lookup("email", 1, "ann@example.com") == lookup.digest()
    where = place("numbers", "digits", 7)
    assert SEAL.digits(NUMBER, "numbers", "digits", 7) == siv(hkdf(place("digits"), 64), where, eight(NUMBER))
    padded = b"Ann\x80" + bytes(12)
    assert SEAL.text("Ann", "users", "phone", 7) == siv(hkdf(place("text"), 64), place("users", "phone", 7), padded)
    row = b"".join(map(eight, (1, 7, 2, 99)))
    plain = eight(NUMBER + 2 * 2**56) + b"Ann\xff+1 202 555 0142\x80"
    plain += bytes(-len(plain) % 16)
    sealed = siv(hkdf(place("contact"), 64), row, plain)
    assert SEAL.contact(1, 7, 2, 99, NUMBER, "Ann", "+1 202 555 0142") == sealed
    assert SEAL.fingerprint == hkdf(place("fingerprint"), 8).hex()
    of_book = b"".join(map(eight, (1, 7, 2)))
    key = hkdf(place("entry", "r 1"), 32)
    entry = hashlib.blake2b(key + of_book + "+1 202\0Änn".encode(), digest_size=8).digest()
    assert [*SEAL.entries("r 1", 1, 7, 2, [Entry("+1 202", "Änn")])] == [int.from_bytes(entry, "little", signed=True)]


def eight(value: int) -> bytes:
    return value.to_bytes(8, "big")


def place(*parts: str | int) -> bytes:
    return b"".join(
        b"i" + eight(part) if isinstance(part, int) else b"s" + eight(len(part)) + part.encode() for part in parts
    )


def hkdf(info: bytes, size: int) -> bytes:
    """RFC 5869 with SHA-256, step by step."""
    extracted = hmac.digest(b"ringbook storage 1", SECRET, "sha256")
    found, last = b"", b""
    for count in range(1, 3):
        last = hmac.digest(extracted, last + info + bytes([count]), "sha256")
        found += last
    return found[:size]


def siv(key: bytes, data: bytes, plain: bytes) -> bytes:
    """RFC 5297, 2.4 and 2.6, with one associated datum."""

    def cmac(text: bytes) -> int:
        made = CMAC(algorithms.AES(key[: len(key) // 2]))
        made.update(text)
        return int.from_bytes(made.finalize(), "big")

    def double(value: int) -> int:
        return (value << 1) % 2**128 ^ (0x87 if value >> 127 else 0)

    mixed = double(cmac(bytes(16))) ^ cmac(data)
    if len(plain) >= 16:
        last = int.from_bytes(plain[-16:], "big") ^ mixed
        tag = cmac(plain[:-16] + last.to_bytes(16, "big"))
    else:
        padded = int.from_bytes(plain + b"\x80" + bytes(15 - len(plain)), "big")
        tag = cmac((double(mixed) ^ padded).to_bytes(16, "big"))
    counter = tag & ~(1 << 63 | 1 << 31)
    cipher = Cipher(algorithms.AES(key[len(key) // 2 :]), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    return tag.to_bytes(16, "big") + cipher.update(plain)


def test_an_entry_has_another_value_for_every_difference() -> None:
    ann = Entry("12025550142", "Ann")
    values = [
        *SEAL.entries("r", 1, 7, 2, [ann, Entry("12025550142", "Anna"), Entry("+12025550142", "Ann"), Entry("\ud800")]),
        *(SEAL.entries(*where, [ann])[0] for where in (("s", 1, 7, 2), ("r", 2, 7, 2), ("r", 1, 8, 2), ("r", 1, 7, 3))),
        *Seal(bytes(32)).entries("r", 1, 7, 2, [ann]),
    ]
    assert len(set(values)) == len(values) == 9
    assert [*SEAL.entries("r", 1, 7, 2, [ann, ann])] == [values[0]] * 2
    assert [*SEAL.entries("r", 1, 7, 2, [])] == []


def test_entries_that_no_book_stores_share_one_value() -> None:
    none = [Entry("12025550142"), Entry("1202", "Ann", True), Entry("", None, 1), None]
    *found, one, other = SEAL.entries("r", 1, 7, 2, [*none, Entry("", ""), Entry("", "Ann", 0)])
    assert len(set(found)) == 1
    assert len({*found, one, other}) == 3


# ── sealing and opening ──────────────────────────────────────────────────────────────────────────────────────────────


@given(text=texts, where=places)
def test_a_text_comes_back(text: str, where: tuple[str | int, ...]) -> None:
    sealed = SEAL.text(text, *where)
    assert SEAL.open(sealed, *where) == text
    assert sealed == Seal(SECRET).text(text, *where)


@given(number=st.integers(0, 2**64 - 1), where=places)
def test_digits_come_back(number: int, where: tuple[str | int, ...]) -> None:
    sealed = SEAL.digits(number, *where)
    assert (len(sealed), SEAL.open_digits(sealed, *where)) == (24, number)


@given(app=ids, owner=ids, book=ids, keyed=ids, number=numbers, name=texts, typed=st.one_of(st.none(), texts))
def test_a_contact_comes_back(
    app: int, owner: int, book: int, keyed: int, number: int, name: str, typed: str | None
) -> None:
    sealed = SEAL.contact(app, owner, book, keyed, number, name, typed)
    assert SEAL.open_contact(app, owner, book, keyed, sealed) == (number, name, typed)


@pytest.mark.parametrize("typed", [None, f"+{NUMBER}", "", "+", f"{NUMBER}", f"+{NUMBER} ", "+1 (202) 555-0142"])
def test_every_spelling_comes_back(typed: str | None) -> None:
    sealed = SEAL.contact(1, 7, 0, 99, NUMBER, "Ann", typed)
    assert SEAL.open_contact(1, 7, 0, 99, sealed) == (NUMBER, "Ann", typed)


@given(data=st.data())
def test_a_changed_value_does_not_open(data: st.DataObject) -> None:
    text, digits = SEAL.text("Ann", "users", "phone", 7), SEAL.digits(NUMBER, "numbers", "digits", 7)
    contact = SEAL.contact(1, 7, 0, 99, NUMBER, "Ann", None)
    with pytest.raises(errors.Unreadable):
        SEAL.open(flipped(text, data), "users", "phone", 7)
    with pytest.raises(errors.Unreadable):
        SEAL.open_digits(flipped(digits, data), "numbers", "digits", 7)
    with pytest.raises(errors.Unreadable):
        SEAL.open_contact(1, 7, 0, 99, flipped(contact, data))


def flipped(sealed: bytes, data: st.DataObject) -> bytes:
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 23, 25, 33])
def test_a_cut_value_does_not_open(length: int) -> None:
    with pytest.raises(errors.Unreadable):
        SEAL.open(SEAL.text("Ann Example with a longer name", "users", "phone", 7)[:length], "users", "phone", 7)
    with pytest.raises(errors.Unreadable):
        SEAL.open_digits(SEAL.text("Ann", "users", "phone", 7)[:length], "users", "phone", 7)
    with pytest.raises(errors.Unreadable):
        SEAL.open_contact(1, 7, 0, 99, SEAL.contact(1, 7, 0, 99, NUMBER, "Ann Example", "x" * 40)[:length])


@given(here=places, there=places)
def test_a_moved_value_does_not_open(here: tuple[str | int, ...], there: tuple[str | int, ...]) -> None:
    if here == there:
        return
    assert seal.encoded(here) != seal.encoded(there)
    with pytest.raises(errors.Unreadable):
        SEAL.open(SEAL.text("Ann", *here), *there)
    with pytest.raises(errors.Unreadable):
        SEAL.open_digits(SEAL.digits(NUMBER, *here), *there)


@pytest.mark.parametrize("changed", range(4), ids=["application", "owner", "book", "row"])
def test_a_contact_moved_to_another_row_does_not_open(changed: int) -> None:
    here = [1, 7, 2, 99]
    sealed = SEAL.contact(*here, NUMBER, "Ann", None)
    here[changed] += 1
    with pytest.raises(errors.Unreadable) as refused:
        SEAL.open_contact(*here, sealed)
    assert "contacts.sealed" in refused.value.why


def test_a_value_opens_only_as_what_it_was_sealed_as() -> None:
    contact = SEAL.contact(1, 7, 0, 99, NUMBER, "Ann", None)
    with pytest.raises(errors.Unreadable):
        SEAL.open(contact, "contacts", "sealed", 1, 7, 0, 99)
    with pytest.raises(errors.Unreadable):
        SEAL.open(SEAL.digits(NUMBER, "numbers", "digits", 7), "numbers", "digits", 7)


def test_another_key_opens_nothing_and_finds_nothing() -> None:
    other = Seal(bytes(32))
    assert other.number(1, NUMBER) != SEAL.number(1, NUMBER)
    assert other.lookup("email", 1, "ann@example.com") != SEAL.lookup("email", 1, "ann@example.com")
    with pytest.raises(errors.Unreadable) as refused:
        other.open(SEAL.text("Ann", "users", "phone", 7), "users", "phone", 7)
    assert "users.phone" in refused.value.why and "7" not in refused.value.why


@given(numbers=st.lists(numbers, unique=True, max_size=30), apps=st.lists(ids, unique=True, max_size=3))
def test_keyed_numbers_differ_by_number_and_application(numbers: list[int], apps: list[int]) -> None:
    keyed = [SEAL.number(app, number) for app in apps for number in numbers]
    assert len(set(keyed)) == len(keyed)
    assert all(0 <= one < 2**63 for one in keyed)
    assert keyed == [Seal(SECRET).number(app, number) for app in apps for number in numbers]


def test_lookups_differ_by_purpose_application_and_text() -> None:
    found = {SEAL.lookup(*one) for one in [("a", 1, "x"), ("b", 1, "x"), ("a", 2, "x"), ("a", 1, "y"), ("a", 1, "")]}
    assert len(found) == 5
    assert {len(one) for one in found} == {16}


@given(text=texts, name=texts)
def test_padding_hides_the_length(text: str, name: str) -> None:
    sealed = SEAL.text(text, "users", "phone", 7)
    assert len(sealed) % 16 == 0
    assert len(sealed) == 16 + 16 * (len(text.encode()) // 16 + 1)
    contact = SEAL.contact(1, 7, 0, 99, NUMBER, name, None)
    assert len(contact) == 16 + 16 * ((8 + len(name.encode())) // 16 + 1)


# ── the key file ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_file_is_read_as_it_was_made(tmp_path: Path) -> None:
    file = tmp_path / "ringbook.key"
    key = Key.create(file)
    assert Key.read(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["ringbook.key"]
    lines = file.read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [key.secret.hex()]
    assert key.fingerprint in file.read_text()
    assert key.secret.hex() not in repr(key) and repr(key.secret) not in repr(key)


def test_two_keys_differ(tmp_path: Path) -> None:
    one, other = Key.create(tmp_path / "one"), Key.create(tmp_path / "other")
    assert one.secret != other.secret
    assert one.fingerprint != other.fingerprint


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "ringbook.key"
    key = Key.create(file)
    with pytest.raises(errors.Invalid, match="never overwritten"):
        Key.create(file)
    assert Key.read(file) == key
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "content", ["", "# only a comment", "ab" * 31, "ab" * 33, "xy" * 32, ("ab" * 32 + "\n") * 2, "é"]
)
def test_a_malformed_key_file_is_refused(tmp_path: Path, content: str) -> None:
    file = private(tmp_path / "ringbook.key", content)
    with pytest.raises(errors.Unavailable, match="64 hexadecimal digits"):
        Key.read(file)


def test_a_key_file_may_be_written_by_hand(tmp_path: Path) -> None:
    file = private(tmp_path / "ringbook.key", f"# mine\r\n\n  {SECRET.hex().upper()}  \r\n")
    assert Key.read(file).secret == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = private(tmp_path / "ringbook.key", SECRET.hex())
    file.chmod(mode)
    with pytest.raises(errors.Unavailable, match=f"chmod 600 {file}"):
        Key.read(file)


def test_a_missing_key_file_and_a_folder_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="nowhere is not there"):
        Key.read(tmp_path / "nowhere")
    with pytest.raises(errors.Unavailable, match="cannot be written, because there is no folder"):
        Key.create(tmp_path / "no folder" / "ringbook.key")
    with pytest.raises(errors.Unavailable, match="cannot be read: Is a directory"):
        Key.read(tmp_path)


def private(file: Path, content: str) -> Path:
    file.write_bytes(content.encode())
    os.chmod(file, 0o600)
    return file


@given(st.lists(st.tuples(numbers, st.none() | texts, st.none() | texts)))
def test_many_contacts_are_sealed_as_each_of_them(contacts: list[tuple[int, str | None, str | None]]) -> None:
    made = seal.contact_texts(contacts)
    assert [text is None for text in made] == [name is None for _, name, _ in contacts]
    named = [one for one in contacts if one[1] is not None]
    keyed = SEAL.numbers(1, [number for number, _, _ in named])
    texts = [text for text in made if text is not None]
    sealed = SEAL.contacts(1, 7, 2, keyed, texts)
    assert sealed == [SEAL.contact(1, 7, 2, key, *one) for key, one in zip(keyed, named, strict=True)]
    assert [len(one) for one in sealed] == [len(text) + seal.SEALED_BYTES for text in texts]
    assert SEAL.open_contacts(1, 7, 2, zip(keyed, sealed, strict=True)) == named


@given(st.lists(numbers))
def test_many_numbers_are_keyed_as_each_of_them(many: list[int]) -> None:
    assert SEAL.numbers(1, many) == [SEAL.number(1, number) for number in many]


def test_threads_key_numbers_at_the_same_time() -> None:
    many = list(range(NUMBER, NUMBER + 2_000))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: SEAL.numbers(1, many), range(40)))
    assert all(one == found[0] for one in found)
