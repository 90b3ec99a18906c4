"""The overview of an application: what is counted and when, and which steps are done."""

import pytest
from core.joining import ANN, BOB, DAY, NOW, Play

from ringbook import errors
from ringbook.core import app_totals, delivery, overview, preferences, stats
from ringbook.core.delivery import Attempt
from ringbook.push.transport import Cause, Outcome, Receipt
from ringbook.store import stats as store

TODAY = NOW // DAY


@pytest.fixture
def play(db):
    stats.forget()
    made = Play(db)
    stats.forget()
    yield made
    stats.forget()


def seen(play: Play) -> overview.Overview:
    stats.flush(play.db, play.now)
    return overview.of(play.db, play.app, play.now)


def done(play: Play) -> list[str]:
    return [step.name for step in seen(play).steps if step.done]


def test_steps_tick_themselves_as_things_happen(play):
    play.set(contact_joined_enabled="off")
    assert done(play) == []
    play.set(contact_joined_enabled="on")
    assert done(play) == ["card"]
    stats.add(play.app_id, "sessions", NOW)
    assert done(play) == ["call", "card"]
    bob = play.person("bob", BOB).id
    play.device(bob, "fcm-token-of-bob")
    play.holds(bob, (ANN, "Ann"))
    assert done(play) == ["call", "book", "card"]
    play.set(webhook_url="https://backend.example.com/joined", webhook_secret="a secret of the webhook")
    assert done(play) == ["call", "book", "provider", "card"]
    play.person("ann", ANN)
    play.tell()
    accepted = Receipt(Outcome.ACCEPTED, "")
    attempts = [Attempt(due=due, receipt=accepted, began_at=NOW) for due in delivery.claim(play.db, NOW, 9)]
    delivery.record(play.db, attempts, NOW)
    assert done(play) == ["call", "book", "provider", "card", "push"]


def test_no_step_claims_what_has_not_happened(play):
    """Imported users have not called, an upload without a contact is no book, and a printed push was not sent."""
    stats.add(play.app_id, "imported", NOW, 1)
    play.person("imported", BOB)
    stats.forget()
    stats.add(play.app_id, "imported", NOW, 1)
    stats.add(play.app_id, "uploads", NOW)
    play.set(push_console="on", webhook_url="https://backend.example.com/joined", webhook_secret="a secret")
    assert done(play) == ["card"]
    bob = play.person("bob", "+447700900124").id
    play.device(bob, "fcm-token-of-bob")
    play.holds(bob, (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    printed = Receipt(Outcome.ACCEPTED, "printed, not sent", cause=Cause.PRINTED)
    attempts = [Attempt(due=due, receipt=printed, began_at=NOW) for due in delivery.claim(play.db, NOW, 9)]
    delivery.record(play.db, attempts, NOW)
    assert "push" not in done(play) and "provider" not in done(play)
    found = seen(play).series
    assert sum(found["pushes printed"]) == len(attempts) and "pushes accepted" not in found
    assert (seen(play).joined.sent, seen(play).joined.printed) == (0, 1)


def test_users_who_were_there_before_anything_was_counted_are_a_call(play):
    play.person("bob", BOB)
    stats.forget()
    assert done(play) == ["call", "card"]


def test_the_counts_are_current_before_the_changes_are_collected_and_after(play):
    bob = play.person("bob", BOB).id
    play.holds(bob, (ANN, "Ann"), ("+12025550104", "Dan"))
    play.holds(bob, (ANN, "Ann"), device="phone")
    assert seen(play).counts == {"users": 1, "books": 2, "contacts": 3}
    assert app_totals.collect(play.db, NOW) == 1
    assert seen(play).counts == {"users": 1, "books": 2, "contacts": 3}
    play.person("ann")
    assert seen(play).counts == {"users": 2, "books": 2, "contacts": 3}
    other = Play(play.db)
    assert seen(other).counts == {"users": 0, "books": 0, "contacts": 0}


def test_the_counts_of_each_day_are_kept_also_of_days_without_a_change(play):
    play.person("bob", BOB)
    for day in range(3):
        app_totals.collect(play.db, NOW + day * DAY)
    assert overview.of(play.db, play.app, NOW + 2 * DAY).series["users"][-4:] == [0, 1, 1, 1]
    later = NOW + 2 * DAY
    play.person("ann")
    app_totals.collect(play.db, later)
    assert overview.of(play.db, play.app, later + DAY).series["users"][-5:] == [0, 1, 1, 2, 2]
    with play.db.read() as tx:
        assert [row for row in store.days(tx, play.app_id, TODAY, TODAY + 9) if row[1] == "users"] == [
            (TODAY, "users", 1),
            (TODAY + 1, "users", 1),
            (TODAY + 2, "users", 2),
        ]


def test_charts_have_thirty_days_and_keep_how_many_there_were(play):
    rows = [(TODAY - 2, "users", 5), (TODAY - 2, "uploads", 7), (TODAY, "uploads", 1)]
    days = [TODAY - 3, TODAY - 2, TODAY - 1, TODAY]
    assert overview.series(rows, days, {"users": 9}) == {"users": [0, 5, 5, 9], "uploads": [0, 7, 0, 1]}
    found = seen(play)
    assert len(found.days) == overview.DAYS and found.days[-1] == TODAY
    assert found.series["users"] == [0] * 30 and found.since is None
    stats.add(play.app_id, "uploads", NOW - DAY)
    assert (seen(play).since, seen(play).series["uploads"][-2:]) == (TODAY - 1, [1, 0])


def test_refusals_are_the_application_s_own_and_those_of_nobody_known(play):
    stats.refused(play.app_id, "GET /users", errors.Invalid("no"), NOW)
    stats.refused(0, "POST /session", errors.Invalid("No application found"), NOW)
    assert [row.reason for row in seen(play).refusals] == ["no"]
    assert [row.reason for row in overview.server(play.db, play.now).refusals] == ["No application found"]


def test_pushes_that_wait_are_told(play):
    bob = play.person("bob", BOB).id
    play.device(bob, "fcm-token-of-bob")
    play.holds(bob, (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    play.now += 90
    assert (seen(play).waiting, seen(play).late_seconds) == (1, 90)


def test_joined_pushes_are_split_by_what_their_recipients_have_chosen(play):
    chosen = [{}, {}, {"notify": False}, {"digest": 0}, {"quiet": ("22:00", "10:00"), "time_zone": "Europe/Berlin"}]
    users = [play.person(f"holder{n}").id for n in range(len(chosen))]
    for user, choice in zip(users, chosen, strict=True):
        play.holds(user, (ANN, "Ann"))
        play.device(user, f"fcm-token-of-{user}")
        preferences.change(play.db, play.caller(user), choice, now=play.now)
    play.person("ann", ANN)
    play.tell()
    preferences.change(play.db, play.caller(users[1]), {"notify": False}, now=play.now)
    due = delivery.claim(play.db, play.now, 10)
    accepted = Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)
    delivery.record(play.db, [Attempt(due=one, receipt=accepted, began_at=play.now) for one in due], play.now)
    assert seen(play).joined == overview.Joined(sent=1, printed=0, quiet=1, digests=1, withheld=2)
