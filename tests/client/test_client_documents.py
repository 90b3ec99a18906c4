"""The client's documentation: the reference is up to date, and the tutorial works as it is written."""

import importlib.util
import re
from pathlib import Path

import ringbook_client
from ringbook_client import Client

from client import tutorial

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "docs" / "client"


def test_the_reference_is_up_to_date():
    """If this fails, run `make docs`."""
    spec = importlib.util.spec_from_file_location("client_reference", ROOT / "scripts" / "client_reference.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert (PAGES / "reference.md").read_text("utf-8") == maker.page()


def test_every_public_name_is_in_the_reference():
    headings = re.findall(r"^###? (\w+)$", (PAGES / "reference.md").read_text("utf-8"), re.MULTILINE)
    elsewhere = {"AsyncClient", "Proof", "RingbookError"}  # the text mentions them
    assert {name for name in ringbook_client.__all__ if not name.startswith("_")} - elsewhere <= set(headings)


def test_every_function_on_the_page_for_flutter_exists():
    rows = re.findall(r"^\| .*? \| (.*) \|$", (PAGES / "from-flutter.md").read_text("utf-8"), re.MULTILINE)
    named = {name for row in rows for code in re.findall(r"`([^`]+)`", row) for name in re.findall(r"(\w+)\(", code)}
    assert len(named) > 30
    assert [name for name in named if not (hasattr(Client, name) or hasattr(ringbook_client, name))] == []


# ── the tutorial ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_tutorial_works(server, tmp_path, monkeypatch, capsys):
    tutorial.at_home(tmp_path, monkeypatch)
    assert tutorial.play(server, monkeypatch, capsys) == (5, 8)
