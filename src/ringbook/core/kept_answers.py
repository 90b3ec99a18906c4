"""Registered contacts that were found before: their answer is kept in this process's memory and given again.

    keep(db, most_bytes)        lets a process keep answers
    registered(db, caller, …)   the answer with the registered contacts of a book, kept or made now

Apps ask at each start who of the address book is registered, and mostly nothing has changed since they last asked. An
answer is right while the book is as it was, no number in the book has got or lost a user, and the application's rules
are the same; `store/number_changes.py` tells that with one statement (decisions/0029). Answers that depend on more are
not kept: those with users who want mutual contacts only, and those with phones that only a profile says.

Nothing is missed when an answer is dropped, so the oldest ones make room.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct

from ..model import Caller, RegisteredPhone
from ..store import number_changes
from ..store.books import Lookup
from ..store.db import Database
from ..store.discoverable import Rules
from ..store.number_changes import State
from . import discoverable, discovery

LARGEST = 16  # an answer takes at most this part of the memory
BESIDE_BYTES = 512  # of memory for each answer, beside the answer itself
_KEY = "kept answers"
Book = tuple[int, str]  # owner and device
Form = Callable[[Sequence[RegisteredPhone]], bytes]


class Kept(Struct):
    """One answer.

    state   of the book, as of which the answer is right
    rules   of the application, likewise
    form    what made the answer from the users
    users   how many users the answer has
    """

    state: State
    rules: Rules
    form: Form
    answer: bytes
    users: int


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
    book = caller.user_id, device
    if answers and (kept := _still_right(db, caller, answers.of(book), device, form)):
        discovery.count_matches(caller, kept.users, now)
        return kept.answer
    state = _state(db, caller, device) if answers else None
    with discovery.reading(db, caller, device) as tx:
        looked = discovery.among_contacts(tx, caller, device)
        found = discovery.with_phones(tx, caller, looked.found)
    discovery.count_matches(caller, len(found), now)
    answer = form(found)
    if answers and state and _depends_on_numbers_alone(looked):
        answers.put(book, Kept(state, discoverable.rules(caller.app), form, answer, len(found)))
    return answer


def _still_right(db: Database, caller: Caller, kept: Kept | None, device: str, form: Form) -> Kept | None:
    """The kept answer if it is right at this moment; it is then right as of this moment."""
    if not kept or kept.form is not form or kept.rules != discoverable.rules(caller.app):
        return None
    with db.read() as tx:
        state = number_changes.unchanged(tx, caller.user_id, device, kept.state)
    if not state:
        return None
    kept.state = state
    return kept


def _state(db: Database, caller: Caller, device: str) -> State | None:
    """The state of a book before it is read: a change that comes in between is then seen as a later one."""
    with db.read() as tx:
        return number_changes.state(tx, caller.user_id, device)


def _depends_on_numbers_alone(looked: Lookup) -> bool:
    return not looked.asked_others and all(phone is not None for _, _, phone, _ in looked.found)


def _size(kept: Kept) -> int:
    return len(kept.answer) + BESIDE_BYTES
