"""An upload that was applied before is answered as it would be if it were read and applied again."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from core.joining import NOW, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from ringbook import errors, metrics
from ringbook.api import address_book, routes
from ringbook.api.endpoint import Call
from ringbook.api.wire import flag, named
from ringbook.config import Config, Limits
from ringbook.core import applications, discovery, rate_limits, reports, stats
from ringbook.exchange.bodies import SMALL_BYTES, InFlight
from ringbook.model import Session
from ringbook.store import books, buckets
from ringbook.store import reports as stored
from ringbook.store.db import Database
from ringbook.verify import Outside

ROUTE = address_book.ROUTES[0]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ANN, BOB, CAT = "+1 202 555 0101", "+44 7700 900123", "447700900456"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    applications._cache.clear()
    stats.forget()
    yield
    stats.forget()


@dataclass(frozen=True)
class Sent:
    """A request: its body and what else decides how it is read."""

    body: bytes
    content_type: str = JSON
    query: str = ""


@dataclass(frozen=True)
class Person:
    """A user who uploads, in an application of the user's own."""

    play: Play
    id: int
    address: str

    def call(self, sent: Sent, now: int, limits: Limits) -> Call:
        config = Config(limits=limits)
        times = {"created_at": now, "last_used_at": now, "expires_at": now}
        session = Session(id=1, app_id=self.play.app_id, user_id=self.id, nonce=0, ts=0, **times)
        scope = {
            "type": "http",
            "method": "POST",
            "query_string": sent.query.encode(),
            "headers": [(b"content-type", sent.content_type.encode())],
        }
        return Call(
            db=self.play.db,
            config=config,
            route=ROUTE,
            request=Request(scope),
            address=self.address,
            now=now,
            body=sent.body,
            outside=Outside.of(config),
            session=session,
        )

    def uploads(self, sent: Sent, now: int = NOW, limits: Limits | None = None) -> Any:
        """The answer to an upload, or its refusal."""
        return answer_of(lambda call: address_book.upload(call).body, self.call(sent, now, limits or Limits()))

    def uploads_unknown(self, sent: Sent, now: int = NOW, limits: Limits | None = None) -> Any:
        """The same, always read and applied, and without a report."""
        return answer_of(read_and_applied, self.call(sent, now, limits or Limits()))

    def stored(self) -> Any:
        """The user's books with all contacts, totals, removed numbers and permits."""
        with self.play.db.read() as tx:
            of_user = "WHERE owner_id = :id ORDER BY 1"
            rows = tx.all(f"SELECT book, device, size, next_seq FROM books {of_user}", id=self.id)
            contacts = [books.page(tx, self.id, row["book"], -(2**62), 100) for row in rows]
            totals = tx.all("SELECT contacts, bytes FROM totals WHERE owner_id = :id", id=self.id)
            removed = tx.tuples("SELECT COUNT(*) FROM removed WHERE owner_id = :id", id=self.id)
            permits = buckets.read(tx, rate_limits._permits_name(self.id))
        return rows, contacts, totals, removed, permits and (permits["used"], permits["at"])

    def loses_books(self) -> None:
        """The books are deleted, as those of an inactive user."""
        with self.play.db.write() as tx:
            books.lock_all(tx, self.id)
            books.delete_books(tx, self.id)
            books.delete_all(tx, self.id)

    def synced_at(self) -> list[int]:
        rows = self.play.rows("SELECT synced_at FROM books WHERE owner_id = :id ORDER BY book", id=self.id)
        return [row["synced_at"] for row in rows]

    def reports(self) -> int:
        """The bytes of the reports that hold."""
        with self.play.db.read() as tx:
            return sum(len(book.reports) for book in stored.of_owner(tx, self.id) if book.reports)


def read_and_applied(call: Call) -> Any:
    contacts, force, udid = address_book.upload_of(call)
    with named(address_book.NAMES):
        device, forced = address_book.device(udid), flag(force, "force")
        report = discovery.upload(
            call.db, call.config.limits, call.caller, contacts, device=device, force=forced, now=call.now
        )
    return address_book.report_out(report)


def answer_of(work: Any, call: Call) -> Any:
    try:
        return msgspec.to_builtins(work(call))
    except errors.Refused as refused:
        wait = getattr(refused, "wait_seconds", None)
        return type(refused), refused.reason, refused.field, refused.limit, wait


def sent(*contacts: Any, **more: Any) -> Sent:
    """An upload as JSON; a contact as (phone, name)."""
    listed = [{"phone": one[0], "name": one[1]} if isinstance(one, tuple) else one for one in contacts]
    return Sent(json.dumps({"contacts": listed, **more}).encode())


def person(db: Database, login: str = "ann", address: str = "192.0.2.1") -> Person:
    play = Play(db)
    return Person(play, play.person(login).id, address)


@pytest.fixture
def ann(db: Database) -> Person:
    return person(db)


def is_known(one: Person, upload: Sent, now: int = NOW, limits: Limits | None = None) -> bool:
    """Is there a report for this upload?"""
    call = one.call(upload, now, limits or Limits())
    return reports.repeated(one.play.db, call.caller, address_book.digest_of(call, call.caller), now) is not None


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────────────────────

phones = st.sampled_from([f"1202555010{n}" for n in range(4)] + ["+1 202 555 0101", "0012025550102"])
good = st.fixed_dictionaries({"phone": phones, "name": st.sampled_from(["a", "b"])})
gone = st.fixed_dictionaries({"phone": phones, "destroy": st.just(1)})
bad = st.sampled_from([{"phone": "12", "name": "a"}, {"phone": "12025550101"}, {"phone": "x", "name": ""}, "no entry"])
contacts = st.lists(st.one_of(good, good, good, gone, bad), max_size=6)


@st.composite
def uploads(draw: Any) -> Sent:
    listed = draw(contacts)
    more = {"udid": draw(st.sampled_from(["", "", "a", "b"])), "force": draw(st.sampled_from([0, 1]))}
    kind = draw(st.sampled_from(["json", "json", "json", "form", "broken"]))
    if kind == "form":
        return Sent(urlencode({"contacts": json.dumps(listed)}).encode(), FORM, urlencode(more))
    text = json.dumps({"contacts": listed, **more}, indent=draw(st.sampled_from([None, 1])))
    if kind == "broken":
        text = text.replace('"a"', '"\\ud83d"')  # half of an emoji, as a name that was cut
    return Sent(text.encode())


LIMITS = [
    Limits(permits=0),
    Limits(permits=6, permits_per_hour=0),
    Limits(max_upload_contacts=4),
    Limits(max_book_contacts=3),
    Limits(max_user_contacts=4),
    Limits(max_user_bytes=160),
    Limits(max_books=2),
]
steps = st.one_of(
    *[st.tuples(st.just("upload"), st.integers(0, 2))] * 8,
    st.tuples(st.just("unknown"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, 3599, 3600, 40 * 86_400])),
    st.tuples(st.just("limits"), st.sampled_from(LIMITS)),
    st.tuples(st.just("lose books"), st.just(0)),
)


def outcomes() -> dict[str, float]:
    return {name: metrics.CONTACTS.labels(name)._value.get() for name in ("created", "updated", "deleted", "rejected")}


def counted(before: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in outcomes().items()}


def daily(one: Person) -> int:
    return sum(count for (app_id, _, _), count in stats._tally._sums.items() if app_id == one.play.app_id)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(uploads(), min_size=3, max_size=3), st.lists(steps, min_size=12, max_size=24))
def test_every_answer_and_every_book_is_as_without_reports(db, monkeypatch, pool, history):
    monkeypatch.setattr(reports, "FEW", 0)  # also small changes of a book are stored
    stats.forget()
    one, other = person(db, "one"), person(db, "other", "198.51.100.1")
    now, limits = NOW, Limits()
    for kind, what in history:
        if kind in ("upload", "unknown"):
            before = outcomes()
            got = (one.uploads_unknown if kind == "unknown" else one.uploads)(pool[what], now, limits)
            between, before = counted(before), outcomes()
            assert got == other.uploads_unknown(pool[what], now, limits)
            assert between == counted(before)
        elif kind == "wait":
            now += what
        elif kind == "limits":
            limits = what
        else:
            one.loses_books()
            other.loses_books()
        assert one.stored() == other.stored()
        assert daily(one) == daily(other)
        late = [b - a for a, b in zip(one.synced_at(), other.synced_at(), strict=True)]
        assert all(0 <= seconds < reports.SYNC_SECONDS for seconds in late)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uploads(), uploads())
def test_the_second_upload_of_a_body_changes_nothing_and_is_known_if_its_book_exists(db, monkeypatch, first, again):
    monkeypatch.setattr(reports, "FEW", 0)
    one = person(db, "one")
    free = Limits(permits=0)
    one.uploads(first, limits=free)
    answer = one.uploads(again, limits=free)
    before = one.stored()
    expected = one.uploads_unknown(again, limits=free)
    assert one.stored() == before
    if is_known(one, again, limits=free):
        assert one.uploads(again, limits=free) == expected
    else:
        # Nothing was applied, or the book is gone because it is empty.
        assert isinstance(answer, tuple) or not expected["updated"] or not has_book(one, again)


def has_book(one: Person, upload: Sent) -> bool:
    """Has the user a book of the device that this upload names?"""
    _, _, udid = address_book.upload_of(one.call(upload, NOW, Limits()))
    return address_book.device(udid) in {row["device"] for row in one.stored()[0]}


# ── what makes an upload another one ─────────────────────────────────────────────────────────────────────────────────

BOOK = sent((ANN, "Ann"), (BOB, "Bob"))


def test_the_second_upload_is_answered_from_the_report_and_needs_no_turn_to_write(ann):
    assert ann.uploads(BOOK) == {"created": 2, "updated": 0, "deleted": 0, "rejected": {}}
    answers: list[Any] = []
    with ann.play.db.write() as tx:
        books.lock_all(tx, ann.id)
        thread = threading.Thread(target=lambda: answers.append(ann.uploads(BOOK)))
        thread.start()
        thread.join(10)
        assert answers == [{"created": 0, "updated": 2, "deleted": 0, "rejected": {}}]


def test_a_change_of_the_book_by_another_upload_ends_a_report(ann):
    for n in range(8):  # in whatever slot the report of the change is
        ann.uploads(BOOK)
        ann.uploads(sent((ANN, f"Annie {n}")))
        assert ann.uploads(BOOK)["updated"] == 2
        assert discovery.retrieve(ann.play.db, ann.play.caller(ann.id)) == [(ANN, "Ann"), (BOB, "Bob")]


def test_a_book_that_was_emptied_and_made_anew_has_no_report_of_the_former_one(ann):
    for n in range(8):
        ann.uploads(sent((ANN, "Ann"), udid="a"))
        ann.uploads(sent(force=1, udid="a"))
        ann.uploads(sent((BOB, f"Bob {n}"), udid="a"))  # the new book has the version of the former one
        assert ann.uploads(sent((ANN, "Ann"), udid="a"))["created"] == 1
        ann.uploads(sent(force=1, udid="a"))


def test_a_book_that_was_deleted_has_no_report(ann):
    ann.uploads(BOOK)
    ann.loses_books()
    assert ann.uploads(BOOK)["created"] == 2


def test_what_decides_how_a_body_is_read_is_a_part_of_the_digest(ann):
    ann.uploads(BOOK)
    assert is_known(ann, BOOK)
    for other in (replace(BOOK, content_type="text/plain"), replace(BOOK, query="udid=a"), Sent(BOOK.body + b" ")):
        assert not is_known(ann, other)
    assert not is_known(ann, BOOK, limits=Limits(max_upload_contacts=1))


def test_each_user_application_region_and_version_of_the_code_has_digests_of_its_own(ann, monkeypatch):
    call = ann.call(BOOK, NOW, Limits())
    caller = call.caller
    region = msgspec.structs.replace(caller.app.settings, default_region="GB")
    callers = [
        caller,
        msgspec.structs.replace(caller, user_id=caller.user_id + 1),
        msgspec.structs.replace(caller, app=msgspec.structs.replace(caller.app, settings=region)),
    ]
    digests = {address_book.digest_of(call, one) for one in callers}
    monkeypatch.setattr(reports, "code", lambda: "of another version")
    digests.add(address_book.digest_of(call, caller))
    assert len(digests) == 4


def test_the_version_of_the_code_is_read_when_the_process_starts(ann):
    reports.code.cache_clear()
    routes.api(Config(), ann.play.db, InFlight(Limits()))
    assert reports.code.cache_info().currsize == 1


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_reports_of_a_book_have_a_kibibyte_and_the_latest_ones_hold(ann):
    ann.uploads(BOOK)
    spellings = [Sent(BOOK.body + b" " * n) for n in range(100)]
    for one in spellings:
        ann.uploads(one)
    assert 900 < ann.reports() <= reports.MOST_BYTES
    assert [is_known(ann, one) for one in spellings[-30:]] == [True] * 30
    assert not is_known(ann, spellings[0])


def test_a_report_that_is_longer_is_not_stored(ann):
    many = sent((ANN, "Ann"), *[("12", "too short")] * 500)
    ann.uploads(BOOK)
    ann.uploads(many)
    assert is_known(ann, BOOK) and not is_known(ann, many)


def test_reports_in_a_form_of_other_code_are_replaced(ann):
    ann.uploads(BOOK)
    with ann.play.db.write() as tx:
        tx.run("UPDATE books SET reports = :other", other=b"\xc1 of another version")
    assert ann.uploads(BOOK)["updated"] == 2
    assert is_known(ann, BOOK)


@pytest.mark.parametrize("place", ["after the digest", "a reason", "not UTF-8"])
def test_a_damaged_report_is_not_used_and_replaced(ann, place):
    upload = sent((ANN, "Ann"), ("12", "too short"))
    ann.uploads(upload)
    answer = ann.uploads(upload)
    with ann.play.db.write() as tx:
        ((intact,),) = tx.tuples("SELECT reports FROM books")
        named = intact.index(b"PHONE_LENGTH")
        damaged = {
            "after the digest": intact[:named],
            "a reason": intact.replace(b"PHONE", b"PHANE"),
            "not UTF-8": intact.replace(b"PHONE", b"PHON\xff"),
        }
        tx.run("UPDATE books SET reports = :damaged", damaged=damaged[place])
    assert not is_known(ann, upload)
    assert ann.uploads(upload) == answer
    assert is_known(ann, upload)


def test_rejected_entries_come_back_with_their_places_and_reasons(ann):
    upload = sent((ANN, "Ann"), ("12", ""), "no entry", (BOB, "n" * 256))
    first = ann.uploads(upload)
    assert is_known(ann, upload)
    assert ann.uploads(upload) == first | {"created": 0, "updated": 1}


def test_a_small_change_of_a_large_book_is_not_stored_and_leaves_the_books_report(ann):
    ann.uploads(sent(*[(f"1202555{n:04}", "x") for n in range(250)]))
    before = ann.play.rows("SELECT reports FROM books")
    ann.uploads(sent((ANN, "Ann")))
    assert ann.play.rows("SELECT reports FROM books") == before


def test_a_book_that_is_only_uploaded_again_notes_the_time_once_an_hour(ann):
    ann.uploads(BOOK)
    for later, noted in ((3599, 0), (3600, 3600), (7199, 3600), (7200, 7200)):
        ann.uploads(BOOK, NOW + later)
        assert ann.synced_at() == [NOW + noted]


# ── refusals and trouble ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_upload_that_was_refused_leaves_no_report(ann):
    few = Limits(permits=1, permits_per_hour=0)
    refusal = ann.uploads(BOOK, limits=few)
    assert refusal[0] is errors.TooMany
    assert (ann.reports(), ann.uploads(BOOK, limits=few)) == (0, refusal)
    assert ann.uploads(BOOK)["created"] == 2


def test_while_too_many_large_uploads_were_refused_a_known_one_is_refused_too(ann):
    large = Sent(sent((ANN, "Ann")).body + b" " * SMALL_BYTES)
    one = Limits(refused_uploads_per_hour=1)
    ann.uploads(large, limits=one)
    assert ann.uploads(large, limits=one)["updated"] == 1
    assert ann.uploads(Sent(b"[" + b" " * SMALL_BYTES), limits=one)[0] is not errors.TooMany
    assert ann.uploads(large, limits=one)[0] is errors.TooMany


@pytest.mark.parametrize("read", [discovery.retrieve, lambda db, caller: discovery.registered(db, caller, now=NOW)])
def test_a_damaged_contact_is_replaced_by_the_upload_after_it_was_noticed(ann, read):
    caller = ann.play.caller(ann.id)
    ann.play.person("a contact", ANN)
    ann.uploads(BOOK)
    with ann.play.db.write() as tx:
        tx.run("UPDATE contacts SET sealed = :other", other=b"x" * 32)
    with pytest.raises(errors.Unreadable):
        read(ann.play.db, caller)
    ann.uploads(BOOK)
    assert discovery.retrieve(ann.play.db, caller) == [(ANN, "Ann"), (BOB, "Bob")]


# ── at the same time ─────────────────────────────────────────────────────────────────────────────────────────────────

Operation = tuple[float, float, str, dict[str, Any]]  # began, ended, the contact that the book then has, the answer


def fits(before: str, operation: Operation) -> bool:
    """Is this the answer to a `force` upload of one contact, to a book that has one contact?"""
    same = int(before == operation[2])
    return operation[3] == {"created": 1 - same, "updated": same, "deleted": 1 - same, "rejected": {}}


def has_an_order(operations: list[Operation], before: str) -> bool:
    """Could the uploads have been applied one after the other, each between its begin and its end?"""
    if not operations:
        return True
    first_end = min(ended for _, ended, _, _ in operations)
    return any(
        fits(before, one) and has_an_order(operations[:place] + operations[place + 1 :], one[2])
        for place, one in enumerate(operations)
        if one[0] <= first_end
    )


def test_an_order_that_is_none_is_noticed():
    created = {"created": 1, "updated": 0, "deleted": 1, "rejected": {}}
    updated = {"created": 0, "updated": 1, "deleted": 0, "rejected": {}}
    assert has_an_order([(0, 1, "B", created), (2, 3, "A", created)], "A")
    assert not has_an_order([(0, 1, "B", created), (2, 3, "A", updated)], "A")
    assert has_an_order([(0, 1, "B", created), (0.5, 3, "A", updated)], "A")


def test_answers_to_uploads_at_once_are_as_if_each_was_applied_at_one_moment(ann):
    pair = {name: sent((phone, "x"), force=1) for name, phone in (("A", ANN), ("B", BOB))}
    free = Limits(permits=0)
    before = "A"
    ann.uploads(pair[before], limits=free)
    for _ in range(12):
        operations: list[Operation] = []
        together = threading.Barrier(3)

        def work(names: str, together: Any = together, operations: Any = operations) -> None:
            together.wait(10)
            for name in names:
                began = time.monotonic()
                answer = ann.uploads(pair[name], limits=free)
                operations.append((began, time.monotonic(), name, answer))

        threads = [threading.Thread(target=work, args=(names,)) for names in ("ABAB", "AAAA", "BBAA")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(operations) == 12
        assert has_an_order(operations, before)
        ann.uploads(pair["A"], limits=free)
        before = "A"
