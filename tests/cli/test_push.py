"""`ringbook push …` as an operator or a script runs it."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import structlog
from core.joining import ANN, BOB, Play
from noted import without_database
from servers import SEAL, Databases, key_file

from ringbook.cli import __main__
from ringbook.core import delivery
from ringbook.core.delivery import Attempt
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import db as store

REASON = "fcm_service_account is not set"


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture(params=["sqlite", "postgresql"])
def play(request: pytest.FixtureRequest, databases: Databases):
    """Bob holds Ann's number and has a device; Ann joins, and a push to Bob is due."""
    with databases.fresh(request.param) as url:
        db = store.connect(url, seal=SEAL)
        play = Play(db, now=int(time.time()))
        play.url = url
        play.bob = play.person("bob", BOB).id
        play.holds(play.bob, (ANN, "Ann of the secret name"))
        play.device(play.bob, "fcm-token-secret")
        play.ann = play.person("ann", ANN).id
        play.tell()
        yield play
        db.close()


@pytest.fixture
def ringbook(play: Play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `ringbook push …` on the database, in this process."""

    def run(*words: object) -> Ended:
        for name in [name for name in os.environ if name.startswith("RINGBOOK_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("RINGBOOK_DATABASE", play.url)
        monkeypatch.setenv("RINGBOOK_KEY_FILE", str(key_file()))
        monkeypatch.setattr(sys, "argv", ["ringbook", "push", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            __main__.main()
        written = capsys.readouterr()
        return Ended(end.value.code or 0, written.out, without_database(written.err))

    yield run
    structlog.reset_defaults()  # a command says for the whole process what is logged


def park(play: Play) -> int:
    """Park the push; its id."""
    (due,) = delivery.claim(play.db, play.now, 10)
    attempt = Attempt(due=due, receipt=Receipt(Outcome.REFUSED, REASON), began_at=play.now)
    delivery.record(play.db, [attempt], play.now)
    return due.message.id


def test_a_trace_tells_what_why_and_what_to_do(play, ringbook):
    push = park(play)
    done = ringbook("trace", play.bob)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"user {play.bob} of application {play.app_id}: 1 gcm production subscriptions"
    assert any(line.startswith(f"push {push}, 20") for line in lines)
    for name, value in (
        ("why", f"contact joined: user {play.ann}"),
        ("outcome", "parked"),
        ("reason", REASON),
        ("attempts", "1"),
        ("do", f"`ringbook push retry --app {play.app_id} {push}`"),
    ):
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert value in line
    assert "secret" not in done.stdout


def test_a_trace_of_the_one_who_joined_counts_who_was_told(play, ringbook):
    park(play)
    words = ringbook("trace", play.ann).stdout
    assert "gained an unverified number" in words and ": told; pushes: 1 parked" in words
    assert "! the user has no subscription" in words
    assert "no push has been recorded for this user" in words


def test_a_trace_takes_a_login_or_a_phone_of_an_application(play, ringbook):
    park(play)
    of_id = ringbook("trace", play.bob).stdout
    assert ringbook("trace", "bob", "--app", play.app.id).stdout == of_id
    assert ringbook("trace", f"+{BOB}", "--app", play.app.id).stdout == of_id
    assert "needs --app ID" in ringbook("trace", "bob").stderr


def test_a_trace_is_json_for_programs(play, ringbook):
    push = park(play)
    of_user = json.loads(ringbook("trace", play.bob, "--json").stdout)
    of_push = json.loads(ringbook("trace", "--push", push, "--json").stdout)
    assert of_user["pushes"] == [of_push]
    assert (of_push["id"], of_push["outcome"], of_push["reason"]) == (push, "parked", REASON)
    assert of_user["subscriptions"] == {"gcm production": 1} and of_user["hints"] == []


@pytest.mark.parametrize("words", [(), ("1", "--push", "1")])
def test_a_trace_is_of_a_user_or_of_a_push(ringbook, words):
    done = ringbook("trace", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the id of a user, or --push" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("trace", 2**63),
        ("trace", 0),
        ("trace", "--push", 2**63),
        ("trace", 1, "--last", 0),
        ("retry", 2**63, "--app", 1),
    ],
)
def test_what_can_be_no_id_or_count_is_wrong_use(ringbook, words):
    done = ringbook(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ringbook: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (("trace", "999"), "there is no user 999"),
        (("trace", "--push", "999"), "there is no push 999"),
        (("retry", "--app", "999"), "there is no application 999; `ringbook app list`"),
    ],
)
def test_what_is_not_there_is_one_line_on_stderr(ringbook, words, said):
    done = ringbook(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_parked_pushes_go_out_again_all_or_by_id(play, ringbook):
    push = park(play)
    done = ringbook("retry", push, "--app", play.app_id, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"application_id": play.app_id, "retried": 1})
    assert json.loads(ringbook("trace", "--push", push, "--json").stdout)["outcome"] == "waiting"
    play.now += 5
    assert park(play) == push
    assert "retried         1" in ringbook("retry", "--app", play.app_id).stdout
    assert "retried         0" in ringbook("retry", "--app", play.app_id).stdout


def test_a_push_that_cannot_be_retried_is_not_passed_over_in_silence(play, ringbook):
    push = park(play)
    done = ringbook("retry", push, 999, "--app", play.app_id)
    assert done.returncode == 1 and "retried         1" in done.stdout
    assert f"1 of 2 are not parked in application {play.app_id}" in done.stderr
    assert "ringbook push trace --push ID" in done.stderr


def test_a_push_of_another_application_stays_as_it_is(play, ringbook):
    push, other = park(play), Play(play.db)
    assert ringbook("retry", push, "--app", other.app_id).returncode == 1
    assert json.loads(ringbook("trace", "--push", push, "--json").stdout)["outcome"] == "parked"


def test_status_shows_what_waits_and_what_is_parked(play, ringbook):
    found = json.loads(ringbook("status", "--json").stdout)
    (lane,) = found["waiting"]
    assert lane.pop("late_seconds") >= 0
    assert lane == {"application_id": play.app_id, "channel": "gcm", "waiting": 1, "due": 1}
    assert found["parked"] == [] and "parked" not in ringbook("status").stdout
    park(play)
    words = ringbook("status").stdout
    assert words.startswith("no push waits\n\nparked:\n") and REASON in words and "ringbook push retry" in words


def test_status_says_when_nobody_sends(play, ringbook):
    with play.db.write() as tx:
        tx.run("UPDATE pushes SET due_at = due_at - 100")
    assert "pushes are late: is a worker running?" in ringbook("status").stdout


def test_status_of_an_empty_queue_is_a_line(play, ringbook):
    with play.db.write() as tx:
        tx.run("DELETE FROM pushes")
    assert ringbook("status").stdout == "no push waits\n"
    assert json.loads(ringbook("status", "--json").stdout) == {"waiting": [], "parked": []}
