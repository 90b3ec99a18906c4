"""Registered contacts that were found before: their answer is kept in this process's memory and given again.

    keep(db, most_bytes)        lets a process keep answers
    registered(db, caller, …)   the answer with the registered contacts of a book, kept or made now

Apps ask at each start who of the address book is registered, and mostly nothing has changed since they last asked. An
answer is right while the book is as it was, no number in the book has got or lost a user, and the application's rules
are the same; `store/number_changes.py` tells that with one statement (decisions/0029). If some users want mutual
contacts only, a second statement asks which of them hold the owner's number. Answers with phones that only a profile
says are not kept.

Nothing is missed when an answer is dropped, so the oldest ones make room.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct

from ..model import Caller, RegisteredPhone
from ..store import number_changes
from ..store.db import Database, Tx
from ..store.discoverable import Rules, mutual
from ..store.number_changes import State
from . import discoverable, discovery

LARGEST = 16  # an answer takes at most this part of the memory
BESIDE_BYTES = 1024  # of memory for each answer, beside the answer itself; with the longest name of a device
ID_BYTES = 48  # of memory for the id of a user, in two tuples
_KEY = "kept answers"
Book = tuple[int, str]  # owner and device
Form = Callable[[Sequence[RegisteredPhone]], bytes]


class Kept(Struct):
    """One answer.

    state   of the book, as of which the answer is right; None: it is not to be kept
    rules   of the application, likewise
    form    what made the answer from the users
    users   how many users the answer has
    asked   the users with a number in the book who want mutual contacts only, sorted
    agreed  those of them who held a number of the owner
    """

    state: State | None
    rules: Rules
    form: Form
    answer: bytes
    users: int
    asked: tuple[int, ...] = ()
    agreed: tuple[int, ...] = ()


class Answers:
    """The answers of a process, those that were used last at the end. Any thread may use them.

    most_bytes   of memory for all of them
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._answers: OrderedDict[Book, Kept] = OrderedDict()
        self._turn = threading.Lock()

    @property
    def bytes(self) -> int:
        """The memory that the answers take."""
        return self._bytes

    def of(self, book: Book) -> Kept | None:
        """The answer of a book, which may be out of date."""
        with self._turn:
            if book in self._answers:
                self._answers.move_to_end(book)
            return self._answers.get(book)

    def put(self, book: Book, kept: Kept) -> None:
        """Keep an answer in place of the former one of the book. One that is too large is not kept."""
        size = _size(kept)
        with self._turn:
            self._drop(book)
            if size * LARGEST > self._most:
                return
            self._answers[book] = kept
            self._bytes += size
            while self._bytes > self._most:
                self._drop(next(iter(self._answers)))

    def drop(self, book: Book) -> None:
        """Forget the answer of a book."""
        with self._turn:
            self._drop(book)

    def _drop(self, book: Book) -> None:
        if former := self._answers.pop(book, None):
            self._bytes -= _size(former)


def keep(db: Database, most_bytes: int) -> None:
    """Let this process keep answers in so much memory, if the database tells of changes; 0: none."""
    if most_bytes and number_changes.kept(db):
        db.memory[_KEY] = Answers(most_bytes)


def registered(db: Database, caller: Caller, device: str, form: Form, *, now: int) -> bytes:
    """The registered contacts of a book, only with their phones, as `form` writes them. Counts them."""
    answers: Answers | None = db.memory.get(_KEY)
    if not answers:
        return form(discovery.registered_phones(db, caller, device, now=now))
    book = caller.user_id, device
    kept = answers.of(book)
    if kept and kept.form is form and _still_right(db, caller, device, kept):
        discovery.count_matches(caller, kept.users, now)
        return kept.answer
    answers.drop(book)
    made = _made(db, caller, device, form)
    discovery.count_matches(caller, made.users, now)
    if made.state:
        answers.put(book, made)
    return made.answer


def _made(db: Database, caller: Caller, device: str, form: Form) -> Kept:
    """The answer of now; without a state if it depends on more than that, or there is no book.

    The state is read before the book: a change that comes in between is then seen as a later one.
    """
    with db.read() as tx:
        state = number_changes.state(tx, caller.user_id, device)
    with discovery.reading(db, caller, device) as tx:
        looked = discovery.among_contacts(tx, caller, device)
        found = discovery.with_phones(tx, caller, looked.found)
    if any(phone is None for _, _, phone, _ in looked.found):
        state = None
    asked, agreed = tuple(sorted(looked.asked)), tuple(sorted(looked.agreed))
    return Kept(state, discoverable.rules(caller.app), form, form(found), len(found), asked, agreed)


def _still_right(db: Database, caller: Caller, device: str, kept: Kept) -> bool:
    """Is the answer right at this moment? It is then right as of this moment."""
    rules = discoverable.rules(caller.app)
    if not kept.state or kept.rules != rules:
        return False
    with db.read() as tx:
        state = number_changes.unchanged(tx, caller.user_id, device, kept.state, rules)
        if not state or not _still_agreed(tx, caller, kept):
            return False
    kept.state = state
    return True


def _still_agreed(tx: Tx, caller: Caller, kept: Kept) -> bool:
    """Do the same users as before hold a number of the caller?"""
    if not kept.asked:
        return True
    agreed = mutual(tx, caller.user_id, kept.asked, verified_only=kept.rules.verified_only)
    return agreed == set(kept.agreed)


def _size(kept: Kept) -> int:
    return len(kept.answer) + len(kept.asked) * ID_BYTES + BESIDE_BYTES
