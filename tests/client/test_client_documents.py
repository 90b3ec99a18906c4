"""The client's documentation: the reference is up to date, and the tutorial works as it is written."""

import importlib.util
import io
import re
import sys
from pathlib import Path

import pytest
import ringbook_client
from ringbook_client import Client, cli

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "docs" / "client"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


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


def normalised(text: str) -> str:
    """The text with numbers and column widths normalised, since they differ between servers."""
    return re.sub(r" +", " ", re.sub(r"\d+", "N", text)).strip()


def test_the_tutorial_works(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    values = {
        "http://127.0.0.1:8080": server.url,
        '"KEY"': f'"{server.app.auth_key}"',
        "--key KEY": f"--key {server.app.auth_key}",
        ", 1, ": f", {server.app.application_id}, ",
        "--app 1 ": f"--app {server.app.application_id} ",
    }
    shown = commands = 0
    page = (PAGES / "tutorial.md").read_text("utf-8")
    for kind, block in BLOCK.findall(page):
        text = block
        for on_page, actual in values.items():
            text = text.replace(on_page, actual)
        if kind == "vcf":
            Path("contacts.vcf").write_text(text)
        elif kind == "python":
            exec(compile(text, "tutorial.md", "exec"), {})
        elif kind == "sh":
            for line in re.findall(r"^ringbook-contacts (.*)$", text, re.MULTILINE):
                run(line.split(), monkeypatch)
                commands += 1
        elif not block.startswith("15 * "):  # the crontab line
            assert normalised(capsys.readouterr().out) == normalised(text)
            shown += 1
    assert (commands, shown) == (5, 7)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command, with a password on standard input."""
    more = ["--password-file", "-"] if words[0] == "login" else []
    monkeypatch.setattr(sys, "stdin", io.StringIO("ann-12345\n"))
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, *more])
    assert ended.value.code == 0
