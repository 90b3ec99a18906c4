"""The time of an upload before the database: each pure step, measured in this process.

python bench/reading.py [--json]

figures()      the seconds of each step per contact
"""

import argparse
import json
import time
import timeit
from collections.abc import Callable, Sequence
from typing import Any

from keyed import SEAL
from raw import expect
from world import Steps, World

from ringbook import phone
from ringbook.api import address_book
from ringbook.api.endpoint import Call
from ringbook.app_settings import AppSettings
from ringbook.config import Config
from ringbook.core import diff, prepared
from ringbook.model import App, Caller, Placed
from ringbook.seal import SEALED_BYTES, contact_texts
from ringbook.store.books import SEALED_AT_ONCE, slices

REPEATS, CONTACTS = 15, 1_000
APP = App(
    id=1,
    name="bench",
    auth_key="",
    auth_secret="",
    hash_key=b"",
    vapid_public_key="",
    settings=AppSettings(),
    created_at=0,
)
CALLER = Caller(app=APP, user_id=1, is_guest=False, address="192.0.2.1")
SPELLINGS = (
    ("digits", "12025550142", ""),
    ("international, formatted", "+1 (202) 555-0142", ""),
    ("international, bare", "+12025550142", ""),
    ("no country has it", "+999123456789", ""),
    ("national, with region US", "(202) 555-0142", "US"),
    ("national, with region GB", "07700 900123", "GB"),
)


def figures() -> dict[str, float]:
    """Seconds per contact: reading each spelling of a number, then each step of an upload of 1,000."""
    return {f"read a number: {name}": reading(typed, region) for name, typed, region in SPELLINGS} | upload_steps()


def reading(typed: str, region: str) -> float:
    """Seconds to read one number, with many different numbers as in a real address book."""
    return best(lambda: [phone.read(typed, region) for _ in range(CONTACTS)])


def upload_steps() -> dict[str, float]:
    """Each step, for the mixture of spellings that the benchmark uploads."""
    world = World(100_000)
    body = Steps(world, world.book(1, CONTACTS)).new.body
    marred = body.replace(b'"contacts":[', b'"contacts":[7,', 1)
    entries = address_book.upload_of(call(body))[0]
    accepted, _ = diff.check(entries, "")
    seen = prepared.Seen(0)
    found = prepared.prepared(SEAL, CALLER, seen, entries, whole=False).entries
    put = diff.diff({}, found, force=False).put
    book = {number: (number, entry, seq, len(text) + SEALED_BYTES) for number, entry, seq, text in put}
    expect(len(book), CONTACTS, "contacts accepted")
    stored = {entry for _, entry, _, _ in put}

    def again(*, whole: bool) -> prepared.Prepared:
        return prepared.prepared(SEAL, CALLER, prepared.Seen(0, 0, set(stored), book), entries, whole=whole)

    known = again(whole=True).entries
    expect(again(whole=False).held, CONTACTS, "contacts that the book holds")
    expect(address_book.upload_of(call(marred))[0], [None, *entries], "entries beside a malformed one")
    return {
        "decode the body": best(lambda: address_book.upload_of(call(body))),
        "decode the body, one entry malformed": best(lambda: address_book.upload_of(call(marred))),
        "check the entries (numbers included)": best(lambda: diff.check(entries, "")),
        "key the numbers": best(lambda: SEAL.numbers(1, [number for number, *_ in accepted])),
        "make the texts": best(lambda: contact_texts(accepted)),
        "keyed values of the entries": best(lambda: SEAL.entries(phone.reading(), 1, 1, 0, entries)),
        "prepare all: the last four steps": best(lambda: prepared.prepared(SEAL, CALLER, seen, entries, whole=False)),
        "prepare, nothing new": best(lambda: again(whole=False)),
        "prepare, nothing new, `force`": best(lambda: again(whole=True)),
        "diff, all new": best(lambda: diff.diff({}, found, force=False)),
        "seal": best(lambda: sealed(put)),
        "diff, nothing new, `force`": best(lambda: diff.diff(book, known, force=True)),
    }


def sealed(put: list[Placed]) -> list[bytes]:
    """The contacts, sealed as `store/books.py` does it."""
    return [one for some in slices(put, SEALED_AT_ONCE) for one in SEAL.contacts(1, 1, 0, *columns(some))]


def columns(some: Sequence[Placed]) -> tuple[list[int], list[bytes]]:
    return [one[0] for one in some], [one[3] for one in some]


def call(body: bytes) -> Call:
    """A request with this body."""
    nothing: Any = None
    beside = {"db": nothing, "outside": nothing, "route": nothing, "request": nothing}
    return Call(config=Config(), body=body, now=0, address="", **beside)


def best(work: Callable[[], object]) -> float:
    """Processor seconds per contact, for work on 1,000. The minimum of several tries: other programs only add time."""
    work()
    return min(timeit.repeat(work, timer=time.process_time, number=3, repeat=REPEATS)) / 3 / CONTACTS


def main() -> None:
    parser = argparse.ArgumentParser(description="What the steps of an upload cost before the database.")
    parser.add_argument("--json", action="store_true", help="print seconds for one contact as JSON")
    found = figures()
    if parser.parse_args().json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"{seconds * 1e6:8.2f} us  {name}" for name, seconds in found.items()))


if __name__ == "__main__":
    main()
