"""The totals of each application: exact after any history, and corrected when somebody has made them wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import pytest
from core.joining import DAY, NOW, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.config import Config, Limits
from ringbook.core import app_totals, applications, discovery, inactive, users
from ringbook.core.import_lines import Line
from ringbook.core.imports import import_users
from ringbook.model import Entry
from ringbook.store import app_totals as store
from ringbook.store.db import Database
from ringbook.worker import jobs

FREE = Limits(permits=0, address_permits_per_day=0, new_accounts_per_hour=0)


@pytest.fixture
def play(db: Database) -> Play:
    return Play(db)


def phone(n: int) -> str:
    return f"+1202555{n:04d}"


def shown(db: Database) -> dict[int, store.Counts]:
    """The totals that the overview shows, by application."""
    with db.read() as tx:
        return {app.id: store.of_app(tx, app.id) for app in applications.all_(db)}


def stored(db: Database) -> dict[int, store.Counts]:
    """The totals without the changes that are not collected yet."""
    with db.read() as tx:
        return {app.id: store.of_app(tx, app.id, 0) for app in applications.all_(db)}


def counted(db: Database) -> dict[int, store.Counts]:
    """The same, counted from the rows."""
    with db.read() as tx:
        members = dict(tx.tuples("SELECT app_id, COUNT(*) FROM users GROUP BY app_id"))
        contacts = dict(tx.tuples("SELECT app_id, COUNT(*) FROM contacts GROUP BY app_id"))
        filled = "SELECT DISTINCT app_id, owner_id, book FROM contacts"
        books = dict(tx.tuples(f"SELECT app_id, COUNT(*) FROM ({filled}) AS f GROUP BY app_id"))
    return {app.id: tuple(of.get(app.id, 0) for of in (members, books, contacts)) for app in applications.all_(db)}


def collect(db: Database) -> None:
    while app_totals.collect(db, NOW, 3):
        pass


def whole_pass(db: Database, now: int, batch: int = 2) -> None:
    """Take slices until a pass has ended."""
    for _ in range(100):
        app_totals.recount(db, now, batch)
        with db.read() as tx:
            if not tx.tuples("SELECT place FROM sweeps WHERE name = 'totals'")[0][0]:
                return
    raise AssertionError("the pass does not end")


# ── any history ──────────────────────────────────────────────────────────────────────────────────────────────────────


class World:
    """Two applications and what happens to their users; `step` ignores what does not apply any more."""

    ids = count(1_000_000, 10)

    def __init__(self, db: Database) -> None:
        self.db = db
        self.plays = [Play(db), Play(db)]
        self.people: list[tuple[Play, int]] = []

    def step(self, what: str, which: int, *given_: object) -> None:
        with suppress(errors.NotFound, errors.SessionGone):
            getattr(self, what)(which, *given_)

    def sign_up(self, which: int) -> None:
        play = self.plays[which % 2]
        self.people.append((play, play.person("").id))

    def guest(self, which: int) -> None:
        play = self.plays[which % 2]
        self.people.append((play, users.guest(self.db, FREE, play.app, "Guest", "192.0.2.1", NOW).id))

    def taken_login(self, which: int) -> None:
        play = self.plays[which % 2]
        with suppress(errors.Conflict):
            play.person("taken")
            play.person("taken")

    def upload(self, which: int, device: str, entries: list[Entry], force: bool) -> None:
        for play, user_id in self.people[which % len(self.people) :][:1] if self.people else []:
            discovery.upload(self.db, FREE, play.caller(user_id), entries, device=device, force=force, now=NOW)

    def refused_upload(self, which: int) -> None:
        for play, user_id in self.people[:1]:
            with pytest.raises(errors.Refused):
                few = Limits(max_user_bytes=1024, permits=0)
                entries = [Entry(phone(n), "😀" * 255) for n in (7, 8)]
                discovery.upload(self.db, few, play.caller(user_id), entries, device="other", now=NOW)

    def erase(self, which: int) -> None:
        for _, user_id in self.people[which % len(self.people) :][:1] if self.people else []:
            users.erase(self.db, user_id)

    def guests_end(self, which: int) -> None:
        users.erase_guests(self.db, NOW + 2 * DAY, 2)

    def idle(self, which: int) -> None:
        inactive.sweep(self.db, NOW + 100 * DAY, NOW + 50 * DAY)

    def bring(self, which: int) -> None:
        play = self.plays[which % 2]
        first = next(self.ids)
        lines = [Line(n, {"id": first + n, "login": f"imported-{first + n}"}) for n in range(3)]
        if import_users(self.db, play.app, lines, now=NOW).added:
            import_users(self.db, play.app, lines, now=NOW)  # changes nothing
            self.people += [(play, first + n) for n in range(3)]

    def delete_application(self, which: int) -> None:
        applications.delete(self.db, self.plays[which % 2].app_id)
        self.plays[which % 2] = Play(self.db)

    def collect(self, which: int) -> None:
        app_totals.collect(self.db, NOW, 1 + which)

    def recount(self, which: int) -> None:
        app_totals.recount(self.db, NOW + which * 3_600, 1 + which)


phones = st.sampled_from([phone(n) for n in range(5)])
lines = st.lists(st.builds(Entry, phones, st.sampled_from(["a", "b"]), st.booleans()), max_size=5)
number = st.integers(0, 4)
uploads = st.tuples(st.just("upload"), number, st.sampled_from(["", "a", "b"]), lines, st.booleans())
accounts = ["sign_up", "guest", "taken_login", "bring", "erase", "guests_end", "delete_application"]
jobs_ = ["idle", "collect", "recount"]
others = st.tuples(st.sampled_from([*accounts, "refused_upload", *jobs_]), number)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.just("sign_up"), number) | uploads | uploads | others, max_size=25))
def test_after_any_history_the_totals_are_what_there_is(db, history):
    world = World(db)
    for what in history:
        world.step(*what)
        assert shown(db) == counted(db)
    collect(db)
    assert stored(db) == counted(db)
    whole_pass(db, NOW + 9 * DAY)  # a pass finds nothing to correct
    assert stored(db) == counted(db)
    with db.read() as tx:
        assert not tx.tuples("SELECT 1 FROM total_changes")


def test_totals_are_exact_after_requests_and_jobs_at_once(db):
    plays = [Play(db), Play(db)]
    ended = threading.Event()
    corrected: list[store.Drift] = []

    def work(n: int) -> None:
        play = plays[n % 2]
        for turn in range(8):
            user = play.person("").id
            for size in (3, 1, 4):
                entries = [Entry(phone(i), "a") for i in range(size)]
                discovery.upload(db, FREE, play.caller(user), entries, device=f"{turn % 2}", force=True, now=NOW)
            if turn % 3 == n % 3:
                users.erase(db, user)

    def run_jobs() -> None:
        now = NOW
        while not ended.is_set():
            now += 3_600
            app_totals.collect(db, NOW, 5)
            with db.write() as tx:
                corrected.extend(store.recount(tx, now, 0, 3))

    with ThreadPoolExecutor(7) as threads:
        periodic = threads.submit(run_jobs)
        list(threads.map(work, range(6)))
        ended.set()
        periodic.result()
    assert shown(db) == counted(db)
    collect(db)
    assert stored(db) == counted(db)
    assert corrected == []


def test_an_erasure_and_a_first_upload_at_once_leave_the_totals_exact(db):
    play = Play(db)

    def erase_or_upload(user: int, what: str) -> None:
        if what == "erase":
            users.erase(db, user)
        else:
            with suppress(errors.SessionGone):
                discovery.upload(db, FREE, play.caller(user), [Entry(phone(1), "a")], device=what, now=NOW)

    for _ in range(10):
        user = play.person("").id
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(lambda what, user=user: erase_or_upload(user, what), ["", "erase", "phone"]))
    assert shown(db) == counted(db) == {play.app_id: (0, 0, 0)}


def test_an_erased_user_has_no_row_left_in_the_recorded_changes(play):
    user = play.person("").id
    play.holds(user, (phone(1), "a"))
    users.erase(play.db, user)
    with play.db.read() as tx:
        assert not tx.tuples("SELECT 1 FROM total_changes WHERE owner_id = :id", id=user)
    assert stored(play.db) == counted(play.db)


# ── drift ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def spoil(db: Database) -> None:
    with db.write() as tx:
        tx.run("UPDATE app_totals SET users = users + 70, books = 0, contacts = contacts - 5")


def test_wrong_totals_are_corrected_a_slice_at_a_time(play):
    db = play.db
    owners = [play.person("").id for _ in range(7)]
    for owner in owners:
        play.holds(owner, (phone(1), "a"), (phone(2), "b"))
    collect(db)
    right = counted(db)
    spoil(db)
    assert stored(db) != right
    app_totals.recount(db, NOW, 3)
    play.holds(owners[0], (phone(3), "c"))  # the pass has counted this user
    play.holds(owners[6], (phone(3), "c"))  # and not this one
    users.erase(db, owners[1])
    collect(db)
    app_totals.recount(db, NOW, 3)
    users.erase(db, owners[6])
    play.holds(owners[5], (phone(3), "c"))  # a change that is not collected when the slice of this user is counted
    assert shown(db) != counted(db)
    app_totals.recount(db, NOW, 3)
    assert shown(db) == counted(db) == {play.app_id: (5, 5, 12)}


def test_totals_that_are_missing_are_made(play):
    play.holds(play.person("").id, (phone(1), "a"))
    with play.db.write() as tx:
        tx.run("DELETE FROM total_changes")
    assert shown(play.db) == {play.app_id: (0, 0, 0)}
    whole_pass(play.db, NOW)
    assert shown(play.db) == {play.app_id: (1, 1, 1)}


def test_a_pass_is_followed_by_an_hour_of_rest_whatever_the_clock_does(play):
    play.person("")
    collect(play.db)
    app_totals.recount(play.db, NOW)
    for now, corrected in ((NOW + 60, False), (NOW + 3_599, False), (NOW + 3_600, True), (NOW, True)):
        spoil(play.db)
        app_totals.recount(play.db, now)
        assert (stored(play.db) == counted(play.db)) is corrected


def test_the_worker_keeps_and_corrects_totals(play):
    play.person("")
    parts = jobs.parts(Config())
    jobs.turn(play.db, parts, NOW, threading.Event())
    assert stored(play.db) == counted(play.db) == {play.app_id: (1, 0, 0)}
    spoil(play.db)
    jobs.turn(play.db, parts, NOW + 3_600, threading.Event())
    assert stored(play.db) == {play.app_id: (1, 0, 0)}
