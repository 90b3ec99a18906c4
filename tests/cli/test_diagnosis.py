"""`ringbook why`: its result as text, as JSON and as an exit code."""

import json

import pytest
from core.joining import ANN, BOB, Play
from noted import without_database
from servers import SEAL, Databases, key_file

from ringbook.cli import __main__
from ringbook.store import db as store


@pytest.fixture
def why(databases: Databases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command for Bob, whose book has Ann as Annie; its exit code and its output."""
    with databases.fresh("sqlite") as url:
        db = store.connect(url, seal=SEAL)
        play = Play(db)
        play.bob = play.person("bob", BOB).id
        play.holds(play.bob, (ANN, "Annie"))

        def ask(*words: str) -> tuple[int, str]:
            monkeypatch.setenv("RINGBOOK_DATABASE", url)
            monkeypatch.setenv("RINGBOOK_KEY_FILE", str(key_file()))
            monkeypatch.setattr("sys.argv", ["ringbook", "why", *words])
            with pytest.raises(SystemExit) as end:
                __main__.main()
            written = capsys.readouterr()
            return end.value.code, written.out + without_database(written.err)

        ask.play = play
        yield ask
        db.close()


def test_nobody_found_is_told_step_by_step_with_what_to_do(why):
    code, said = why(str(why.play.bob), ANN)
    assert code == 1
    assert "not found: no user of this application has the number" in said
    assert "ok   in an address book" in said and "as “Annie”" in said
    assert "NO   registered" in said and "→ the contact has to sign up" in said


def test_somebody_found_is_a_zero_and_json_holds_the_steps(why):
    why.play.person("ann", ANN)
    code, said = why("bob", ANN, "--app", str(why.play.app_id), "--json")
    answer = json.loads(said)
    assert code == 0 and answer["found"] is True and answer["user_id"] == why.play.bob
    assert [step["what"] for step in answer["steps"]][:4] == ["as typed", "as read", "in an address book", "registered"]
    assert {"finding", "what", "state", "seen", "todo"} == set(answer["steps"][0])


def test_wrong_use_is_one_line(why):
    assert why("bob", ANN) == (2, "ringbook: USER must be an id; a login, an e-mail or a phone needs --app ID\n")
    assert why("999", ANN) == (1, "ringbook: there is no user 999\n")
