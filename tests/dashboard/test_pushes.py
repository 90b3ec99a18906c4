"""The pages of pushes: the queue, deliveries by outcome and channel, and retries of parked pushes."""

import pytest
from asking import rows
from core.joining import ANN, BOB, NOW, Play
from dashboard.visiting import admin
from sealed import entries_behind
from servers import SEAL, serve

from ringbook.core import delivery
from ringbook.core.delivery import Attempt
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import db as store


@pytest.fixture
def play(databases, tmp_path):
    """Bob's Android phone got a push about Ann, and the push to his iPhone is parked. The server has no worker."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path, "--no-worker") as server:
        db = store.connect(url, seal=SEAL)
        play = Play(db)
        play.server, play.path = server, f"/apps/{play.app_id}/push"
        play.bob = play.person("bob", BOB).id
        play.device(play.bob, "fcm-token-of-bob")
        play.device(play.bob, "0f" * 32, platform="ios", channel="apns")
        play.holds(play.bob, (ANN, "Annie"))
        play.person("ann", ANN)
        play.tell()
        said = {"gcm": Receipt(Outcome.ACCEPTED, ""), "apns": Receipt(Outcome.REFUSED, "apns_key <b> is not set")}
        due = delivery.claim(db, NOW, 9)
        delivery.record(db, [Attempt(due=one, receipt=said[one.message.channel], began_at=NOW) for one in due], NOW)
        yield play
        db.close()


def test_deliveries_are_shown_with_their_reason_and_filtered(play):
    visitor = admin(play.server)
    page = visitor.get(play.path)
    assert "No push is waiting" in page.words and "apns_key &lt;b&gt; is not set" in page.html
    for secret in ("Annie", "2025550101", "fcm-token"):
        assert secret not in page.html
    assert sorted(badges(page)) == ["accepted", "parked"]  # both are of the same second
    assert badges(visitor.get(play.path + "?outcome=accepted")) == ["accepted"]
    assert badges(visitor.get(play.path + "?channel=apns")) == ["parked"]
    assert "No match" in visitor.get(play.path + "?outcome=gone").words
    assert badges(visitor.get(play.path + "?outcome=nonsense&channel='&before=x")) == badges(page)


def badges(page) -> list[str]:
    import re

    return re.findall(r'<td data-label="Outcome"><span class="badge[^"]*">(\w+)', page.html)


def outcomes(play) -> dict[str, str | None]:
    return {row["channel"]: row["outcome"] for row in rows(play.server, "SELECT channel, outcome FROM pushes")}


def test_a_parked_push_is_sent_again_and_that_is_written_down(play):
    visitor = admin(play.server)
    visitor.get(play.path)
    (parked,) = rows(play.server, "SELECT id FROM pushes WHERE outcome = 'parked'")
    said = visitor.follow(visitor.post(play.path + "/retry", id=parked["id"]))
    assert "One push was put into the queue again" in said.words
    assert outcomes(play) == {"gcm": "accepted", "apns": None}
    assert sorted(badges(visitor.get(play.path))) == ["accepted", "waiting"]
    again = visitor.follow(visitor.post(play.path + "/retry", id=parked["id"]))
    assert "These pushes are no longer parked" in again.words
    (entry,) = entries_behind(play.server, action="pushes retried")
    assert entry.app_id == play.app_id and entry.detail == "pushes: 1"


def test_all_that_are_parked_for_a_reason_are_sent_again(play):
    visitor = admin(play.server)
    visitor.get(play.path)
    other = visitor.post(play.path + "/retry", channel="apns", reason="another")
    assert "no longer parked" in visitor.follow(other).words
    nothing = visitor.post(play.path + "/retry", reason="apns_key <b> is not set")
    assert "No push was selected" in visitor.follow(nothing).words
    assert outcomes(play)["apns"] == "parked"
    done = visitor.post(play.path + "/retry", channel="apns", reason="apns_key <b> is not set")
    assert "One push was put into the queue again" in visitor.follow(done).words
    part = visitor.get(play.path + "/live")
    assert "apns" in part.words and "Parked" not in part.words and "<html" not in part.html
    rows = visitor.get(play.path + "/rows?channel=apns")
    assert badges(rows) == ["waiting"] and "<html" not in rows.html


def test_another_application_s_pushes_are_not_sent_again(play):
    other = Play(play.db)
    visitor = admin(play.server)
    visitor.get(play.path)
    (parked,) = rows(play.server, "SELECT id FROM pushes WHERE outcome = 'parked'")
    visitor.post(f"/apps/{other.app_id}/push/retry", id=parked["id"])
    assert outcomes(play)["apns"] == "parked"
    assert "No push yet" in visitor.get(f"/apps/{other.app_id}/push").words
