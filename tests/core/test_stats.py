"""Statistics: each event counts once, whatever happens to the database, and no value of a request is stored."""

import pytest
from core.joining import ANN, BOB, NOW, Play

from ringbook import errors
from ringbook.core import delivery, stats
from ringbook.outbound.requests import Answer
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import stats as store
from ringbook.verify import cidp

TODAY = NOW // stats.DAY


@pytest.fixture(autouse=True)
def nothing_counted():
    stats.forget()
    yield
    stats.forget()


@pytest.fixture
def play(db):
    made = Play(db)
    stats.forget()
    return made


def days(play: Play, app_id: int | None = None) -> dict[tuple[int, str], int]:
    """The stored statistics, by the number of days since today."""
    stats.flush(play.db, NOW)
    with play.db.read() as tx:
        found = store.days(tx, app_id or play.app_id, 1, TODAY + 9)
    return {(day - TODAY, name): value for day, name, value in found}


def totals(play: Play) -> dict[str, int]:
    with play.db.read() as tx:
        return store.totals(tx, play.app_id)


def test_sums_add_up_by_day_and_for_ever(play):
    stats.add(play.app_id, "uploads", NOW)
    assert days(play) == {(0, "uploads"): 1}
    stats.add(play.app_id, "uploads", NOW, 2)
    stats.add(play.app_id, "uploads", NOW + stats.DAY, 5)
    stats.add(play.app_id, "matches", NOW, 0)
    assert days(play) == {(0, "uploads"): 3, (1, "uploads"): 5}
    assert totals(play) == {"uploads": 8}
    with play.db.read() as tx:
        assert store.since(tx, play.app_id) == TODAY


def test_what_is_rolled_back_never_happened(play):
    with pytest.raises(ZeroDivisionError), play.db.write() as tx:
        stats.after(tx, play.app_id, "joined", NOW)
        raise ZeroDivisionError
    with play.db.write() as tx:
        stats.after(tx, play.app_id, "sign-ups", NOW)
    assert days(play) == {(0, "sign-ups"): 1}


def test_the_day_of_an_app_is_counted(play):
    bob = play.person("bob", BOB).id
    play.device(bob, "fcm-token-of-bob")
    play.device(bob, "fcm-token-of-bobs-old-phone")
    play.holds(bob, (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    due = delivery.claim(play.db, NOW, 10)
    receipts = [Receipt(Outcome.ACCEPTED, ""), Receipt(Outcome.REFUSED, "no")]
    attempts = [
        delivery.Attempt(due=one, receipt=receipt, began_at=NOW) for one, receipt in zip(due, receipts, strict=True)
    ]
    delivery.record(play.db, attempts, NOW)
    assert days(play) == {
        (0, "sign-ups"): 2,
        (0, "joined"): 2,
        (0, "uploads"): 1,
        (0, "pushes accepted"): 1,
        (0, "joined pushes accepted"): 1,
        (0, "pushes parked"): 1,
    }


class Away:
    """A database that cannot be reached, or whose answer to a commit is lost."""

    def __init__(self, db, *, lost: bool = False) -> None:
        self._db, self._lost = db, lost

    def write(self):
        if not self._lost:
            raise errors.Unavailable("away")
        return Lost(self._db.write())


class Lost:
    def __init__(self, inner) -> None:
        self._inner = inner

    def __enter__(self):
        return self._inner.__enter__()

    def __exit__(self, *raised):
        self._inner.__exit__(*raised)
        raise errors.Unavailable("the answer was lost")


def test_while_the_database_is_away_sums_wait_and_are_neither_lost_nor_doubled(play):
    stats.add(play.app_id, "uploads", NOW)
    for lost in (False, False, True):
        with pytest.raises(errors.Unavailable):
            stats.flush(Away(play.db, lost=lost), NOW)
        stats.add(play.app_id, "uploads", NOW)
        stats.refused(play.app_id, "GET /users", errors.SessionGone(), NOW)
    assert days(play) == {(0, "uploads"): 4}
    assert [row["count"] for row in refusals(play)] == [3]
    assert days(play) == {(0, "uploads"): 4}


def test_two_processes_add_to_the_same_sums(play):
    for _ in range(2):
        stats.add(play.app_id, "uploads", NOW)
        stats.flush(play.db, NOW)
        stats.forget()  # another process
    assert days(play) == {(0, "uploads"): 2}


def test_a_deleted_application_leaves_nothing_behind(play):
    stats.add(99, "uploads", NOW)
    stats.refused(99, "GET /users", errors.SessionGone(), NOW)
    assert days(play, 99) == {} and refusals(play, 99) == []


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def refusals(play: Play, app_id: int | None = None):
    stats.flush(play.db, NOW)
    with play.db.read() as tx:
        return store.refusals(tx, play.app_id if app_id is None else app_id, 99)


def test_refusals_are_counted_by_request_cause_and_reason_the_latest_first(play):
    gone, taken = errors.SessionGone(), errors.Conflict("has already been taken", field="login")
    stats.refused(play.app_id, "GET /users", gone, NOW)
    stats.refused(play.app_id, "POST /users", taken, NOW + 1)
    stats.flush(play.db, NOW)
    stats.refused(play.app_id, "GET /users", gone, NOW + 2)
    found = refusals(play)
    assert [(row["request"], row["cause"], row["reason"], row["count"]) for row in found] == [
        ("GET /users", "session gone", "Required session does not exist", 2),
        ("POST /users", "conflict", "login: has already been taken", 1),
    ]
    assert (found[0]["first_at"], found[0]["last_at"]) == (NOW, NOW + 2)


def test_old_refusals_are_forgotten(play):
    for age in (6, 8):
        refused = errors.Invalid(f"{age} days ago")
        stats.refused(play.app_id, "GET /users", refused, NOW - age * stats.DAY)
    refusals(play)
    assert stats.sweep(play.db, NOW) == 1
    assert [row["reason"] for row in refusals(play)] == ["6 days ago"]


def test_so_many_kinds_of_refusal_are_remembered_at_once_and_no_more(play):
    for number in range(stats.MOST_REFUSALS + 5):
        stats.refused(play.app_id, f"GET /{number}", errors.Invalid("no"), NOW)
    stats.refused(play.app_id, "GET /0", errors.Invalid("no"), NOW)
    with play.db.read() as tx:
        assert tx.tuples("SELECT COUNT(*) FROM refusals") == [(0,)]
    refusals(play)
    with play.db.read() as tx:
        assert tx.tuples("SELECT COUNT(*), SUM(count) FROM refusals") == [
            (stats.MOST_REFUSALS, stats.MOST_REFUSALS + 1)
        ]


@pytest.mark.parametrize(
    "refused, words",
    [
        (errors.Invalid("is required", field="contacts"), "contacts: is required"),
        (errors.Invalid("users cannot be sorted by ann", told="by this field"), "by this field"),
        (errors.Invalid("is no field", field="+1 202 555 0101", told="a field is none"), "a field is none"),
        (errors.Invalid("+1 (202) 555-0101 is not registered"), "… is not registered"),
        (errors.Invalid("12025550101 and ann@example.com are"), "… and … are"),
        (errors.Invalid("has more than 50000 entries"), "has more than 50000 entries"),
        (errors.Invalid("x" * 500), "x" * stats.LONGEST_REASON),
        (errors.Invalid("a\0b"), "a b"),
    ],
)
def test_a_reason_is_kept_without_what_somebody_sent(refused, words):
    assert stats.plain(refused) == words


def test_what_an_identity_provider_says_of_somebody_is_not_kept():
    with pytest.raises(errors.Invalid, match="Annie") as refused:
        cidp.read_answer(Answer(403, b'{"error": "Annie is locked"}'), {"uid": "#{uid}"})
    assert stats.plain(refused.value) == (
        "the identity provider said no, with status 403; what it said is in the answer"
    )
