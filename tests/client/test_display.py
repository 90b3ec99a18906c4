"""The output of the command on a terminal."""

import io
import sys
import time

import pytest
from ringbook_client import Contact, Synced
from ringbook_client import display as displays
from ringbook_client.display import Display, display_width, masked
from ringbook_client.reading import Problem
from ringbook_client.wire import printable


@pytest.mark.parametrize(
    "number, shown",
    [("+1 (202) 555-0142", "…42"), ("07700 900123", "…23"), ("٠٧٧٠٠٩٠٠١٢٣", "…٢٣"), ("123", "…"), ("call me", "…")],
)
def test_a_number_is_masked_except_its_last_two_digits(number, shown):
    assert masked(number) == shown


@pytest.mark.parametrize(
    "name, shown",
    [
        ("Ann", "Ann"),
        ("Agent 007", "Agent 007"),
        ("+1 202 555 0142", "…42"),
        ("Ann (202) 555-0142 home", "Ann …42 home"),
        ("07700900123", "…23"),
    ],
)
def test_a_number_inside_a_name_is_masked(name, shown):
    assert Display(as_json=False, show_numbers=False).name(name) == shown
    assert Display(as_json=False, show_numbers=True).name(name) == name


def test_control_characters_in_a_name_are_replaced():
    assert printable("Ann\x1b[31m\r\nBob\u202e") == "Ann?[31m??Bob?"


@pytest.mark.parametrize("name", ["Zoe\u0301", "王\u3000小明", "علی\u200cرضا", "שרה \u200fכהן", "👩\u200d🚀"])
def test_names_of_all_scripts_are_shown_as_they_are(name):
    assert printable(name) == name


def test_what_a_file_holds_cannot_move_the_cursor(capsys):
    display = Display(as_json=False, show_numbers=True)
    display.contacts([Contact("Ann\x1b[2J\x9b31m\u2066\nBob", "+12025550101\x07")])
    display.problems([Problem(3, "odd \x1b]0;owned\x07\u202e")])
    assert not set("\x1b\x9b\x07\u2066\u202e") & set(capsys.readouterr().out)


def test_columns_line_up_for_names_of_any_script(capsys):
    display = Display(as_json=False, show_numbers=False)
    display.contacts(
        [Contact("王小明", "+12025550101"), Contact("Zoe\u0301", "+12025550102"), Contact("Al", "+12025550103")]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len({display_width(line[: line.index("…")]) for line in lines[1:]}) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def still(monkeypatch):
    """The line moves only when the upload goes on."""
    monkeypatch.setattr(displays, "TICK_SECONDS", 3600)


@pytest.mark.usefixtures("still")
def test_progress_is_a_bar_for_parts_and_ends_with_a_summary(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    display = Display(as_json=False, show_numbers=False)
    for done in (0, 1000, 2000):
        display.progress(done, 2000)
    before, bar, summary = sys.stderr.getvalue().split("\r")[1:]
    assert "2,000" in before and "[" not in before
    assert "[###############...............] 1,000 of 2,000" in bar
    assert "2,000" in summary and summary.endswith("\n")


@pytest.mark.usefixtures("still")
def test_the_progress_line_of_a_failed_upload_is_ended_once(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    display = Display(as_json=False, show_numbers=False)
    display.progress(0, 2000)
    display.end_progress()
    display.end_progress()
    assert sys.stderr.getvalue().count("\n") == 1


def test_progress_moves_while_one_request_carries_the_whole_address_book(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(displays, "TICK_SECONDS", 0.01)
    display = Display(as_json=False, show_numbers=False)
    display.progress(0, 20_000)
    while len(frames := sys.stderr.getvalue().split("\r")) < 5:
        time.sleep(0.01)
    assert all("Uploading 20,000 contacts ..." in frame for frame in frames[1:-1])
    assert len({frame[0] for frame in frames[2:-1]}) > 1 and frames[2].rstrip().endswith(" 0 s")
    display.progress(20_000, 20_000)
    ended = sys.stderr.getvalue()
    time.sleep(0.05)
    assert sys.stderr.getvalue() == ended and ended.endswith("\n")
    assert ended.split("\r")[-1].rstrip() == "Uploaded 20,000 contacts."


def test_a_respelled_number_is_one_change_in_the_result(capsys):
    Display(as_json=False, show_numbers=False).synced(Synced("", 0, 0, 0, 2, (), respelled=1), [])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["added", "0"] in rows and ["removed", "0"] in rows and ["respelled", "1"] in rows


@pytest.mark.parametrize("as_json", [True, False])
def test_progress_is_shown_only_on_a_terminal_and_without_json(as_json, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal() if as_json else io.StringIO())
    Display(as_json=as_json, show_numbers=False).progress(1, 2)
    assert sys.stderr.getvalue() == ""
